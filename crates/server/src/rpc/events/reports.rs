//! Events that were published, and what became of them.

use super::super::access::{Scope, id, span, timestamp};
use super::super::batches;
use super::super::page::{Page, count};
use crate::auth::Access;
use crate::http::{App, Problem};
use postrider_core::delivery::StateKind;
use postrider_core::event::Event;
use postrider_core::filter::check_labels;
use postrider_core::id::EventId;
use postrider_core::key;
use postrider_core::ports::{EventFilter, EventRow, PageRequest, Window};
use postrider_proto::{Object, webhook as w};
use std::collections::BTreeMap;

/// What the payloads of one page may sum up to, in bytes: gRPC clients read messages of 4 MiB, and in binary a payload may be longer than its
/// text. The page ends there, and says so by its limit.
const MAX_PAGE_BYTES: u64 = 2 << 20;

/// Which deliveries of an event count as what.
const FAILED: [StateKind; 3] = [StateKind::Failed, StateKind::Expired, StateKind::Cancelled];
const PENDING: [StateKind; 3] = [StateKind::Pending, StateKind::Sending, StateKind::Retrying];

pub(super) async fn list(app: &App, access: &Access, request: w::ListEventReportsRequest) -> Result<w::ListEventReportsResponse, Problem> {
    if request.prepare_repush {
        // Who prepares makes something.
        access.allow(key::Scope::Write)?;
    }
    let page = Page::of(&request.pagination);
    let filter = match filter(access, &request)? {
        Some(filter) => filter,
        None => return Ok(w::ListEventReportsResponse { pagination: page.answer(0, None).into(), ..Default::default() }),
    };
    let (total, rows, is_cut) = rows(app, &filter, page).await?;
    let events = reports(app, &rows).await?;
    let pagination = page.answer(total, is_cut.then_some(events.len()));
    let repush_id = if request.prepare_repush { batches::prepared(app.engine.prepare_repush(filter).await)? } else { String::new() };
    Ok(w::ListEventReportsResponse { events, pagination: pagination.into(), repush_id })
}

pub(super) async fn record(app: &App, access: &Access, event_id: &str) -> Result<w::GetEventRecordResponse, Problem> {
    let row = find(app, access, event_id).await?;
    let labels = row.event.labels.clone().into_iter().collect();
    let expires_at = row.event.ttl.map(|ttl| timestamp(row.event.created_at.after(ttl)));
    let event = reports(app, &[row]).await?.pop();
    Ok(w::GetEventRecordResponse { event: event.into(), labels, expires_at: expires_at.into() })
}

/// An event that exists for the caller.
pub(super) async fn find(app: &App, access: &Access, event_id: &str) -> Result<EventRow, Problem> {
    let id = id(event_id, "event_id", "event", EventId::parse)?;
    let found = app.engine.store().event_by_id(id, access.namespace.clone()).await.map_err(Problem::of_read)?;
    found.ok_or_else(|| Problem::not_found("there is no event with this ID"))
}

/// Which events a request is about; `None` where it is about a namespace that the caller does not see.
fn filter(access: &Access, request: &w::ListEventReportsRequest) -> Result<Option<EventFilter>, Problem> {
    let scope = Scope::of(access, &request.namespace)?;
    if request.event_name.as_deref() == Some("") {
        return Err(Problem::bad_request("event_name must not be empty: leave it out for all event types"));
    }
    let labels: BTreeMap<String, String> = request.labels.clone().into_iter().collect();
    check_labels(&labels).map_err(|rule| Problem::bad_request(format!("labels: {rule}")))?;
    let (created_from, created_before) = span(request.created_after.as_option(), request.created_before.as_option())?;
    let Some(namespace) = scope.narrowed() else { return Ok(None) };
    Ok(Some(EventFilter {
        namespace,
        event_type: request.event_name.clone(),
        labels,
        schema_valid: request.schema_valid,
        created_from,
        created_before,
    }))
}

/// How many events there are, those of the page, and whether the page has fewer than it might for their size.
async fn rows(app: &App, filter: &EventFilter, page: Page) -> Result<(u64, Vec<EventRow>, bool), Problem> {
    let (skip, limit) = page.window()?;
    let store = app.engine.store();
    let request = |after| PageRequest { after, limit, max_bytes: MAX_PAGE_BYTES };
    let (total, page) = if skip == 0 {
        let found = store.find_events(filter.clone(), request(None)).await.map_err(Problem::of_read)?;
        (found.total, found.page)
    } else {
        // The last one that is left out, and whether any follows it.
        let window = Window { after: None, skip: skip - 1, limit: 1 };
        let left_out = store.event_numbers(filter.clone(), window).await.map_err(Problem::of_read)?;
        let Some(last) = left_out.page.next else { return Ok((left_out.total, Vec::new(), false)) };
        (left_out.total, store.page_of_events(filter.clone(), request(Some(last))).await.map_err(Problem::of_read)?)
    };
    let is_cut = page.next.is_some() && page.items.len() < limit as usize;
    Ok((total, page.items, is_cut))
}

async fn reports(app: &App, rows: &[EventRow]) -> Result<Vec<w::EventReport>, Problem> {
    let of = rows.iter().map(|row| row.event.seq).collect();
    let counts = app.engine.store().event_counts(of).await.map_err(Problem::of_read)?;
    Ok(rows.iter().zip(counts).map(|(row, counts)| report(&row.event, &counts)).collect())
}

fn report(event: &Event, deliveries: &[u64; 7]) -> w::EventReport {
    let sum = |states: &[StateKind]| count(states.iter().map(|state| deliveries[*state as usize]).sum::<u64>());
    w::EventReport {
        event_id: event.id.to_string(),
        namespace: event.namespace.to_string(),
        event_name: event.event_type.to_string(),
        // The Tasks API takes other payloads than objects: this contract has no place for these.
        payload: Object::parse(&event.payload).ok().into(),
        metadata: event.metadata.clone().into_iter().collect(),
        created_at: timestamp(event.created_at).into(),
        ttl_seconds: event.ttl.map_or(0, |ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        webhook_count: count(deliveries.iter().sum::<u64>()),
        successful_deliveries: sum(&[StateKind::Succeeded]),
        failed_deliveries: sum(&FAILED),
        pending_deliveries: sum(&PENDING),
        schema_valid: event.schema_check.is_valid(),
    }
}
