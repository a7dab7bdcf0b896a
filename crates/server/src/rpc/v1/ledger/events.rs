//! Lists of events.

use super::filter::{bounds, event_type};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::{Scope, id, timestamp};
use crate::rpc::page::count;
use crate::rpc::v1::page;
use crate::rpc::v1::summary::long;
use postrider_core::delivery::StateKind;
use postrider_core::filter::check_labels;
use postrider_core::id::EventId;
use postrider_core::ports::{EventFilter, EventPlace, EventRow, PageRequest};
use postrider_proto::service::Answer;
use postrider_proto::v1;
use std::collections::BTreeMap;

/// What the payloads of a page may sum up to, in bytes: they are read with their events, though the list shows how long they are and no more.
const MAX_PAGE_BYTES: u64 = 16 << 20;

/// After how many deliveries no more of a page are counted, a microsecond or so each; and of how many events they are counted at a time.
const MAX_COUNTED: u64 = 100_000;
const COUNTED_AT_A_TIME: usize = 50;

/// How much of a payload is shown, in bytes.
pub(super) const MAX_PAYLOAD: usize = 1 << 20;

/// What an event's payload is where nothing else is said of it.
const JSON: &str = "application/json";

pub(super) async fn list(app: &App, access: &Access, request: v1::ListEventsRequest) -> Answer<v1::ListEventsResponse> {
    let (limit, after) = (page::size(request.page_size), page::after::<EventPlace>(&request.page_token)?);
    let Some(filter) = filter(access, request)? else { return Ok(v1::ListEventsResponse::default()) };
    let wanted = PageRequest { after, limit, max_bytes: MAX_PAGE_BYTES };
    let found = app.engine.store().page_of_events(filter, wanted).await.map_err(Problem::of_read)?;
    Ok(v1::ListEventsResponse { events: summaries(app, &found.items).await?, next_page_token: page::next(found.next) })
}

/// Which events a request is about; `None` where it is about a namespace that the caller does not see.
fn filter(access: &Access, request: v1::ListEventsRequest) -> Result<Option<EventFilter>, Problem> {
    let scope = Scope::of(access, &request.namespace)?;
    let (created_from, created_before) = bounds(request.created_from.as_option(), request.created_before.as_option(), "")?;
    let event_type = event_type(&request.event_type, "")?;
    let labels: BTreeMap<String, String> = request.labels.into_iter().collect();
    check_labels(&labels).map_err(|rule| Problem::bad_request(format!("labels: {rule}")))?;
    let Some(namespace) = scope.narrowed() else { return Ok(None) };
    Ok(Some(EventFilter { namespace, event_type, labels, schema_valid: request.schema_valid, created_from, created_before }))
}

/// An event that exists for the caller.
pub(super) async fn find(app: &App, access: &Access, event_id: &str) -> Result<EventRow, Problem> {
    let id = id(event_id, "event_id", "event", EventId::parse)?;
    let found = app.engine.store().event_by_id(id, access.namespace.clone()).await.map_err(Problem::of_read)?;
    found.ok_or_else(|| Problem::not_found("there is no event with this ID"))
}

/// Events as lists show them.
async fn summaries(app: &App, rows: &[EventRow]) -> Result<Vec<v1::EventSummary>, Problem> {
    let (mut shown, mut counted) = (Vec::with_capacity(rows.len()), 0);
    for some in rows.chunks(COUNTED_AT_A_TIME) {
        if counted >= MAX_COUNTED {
            shown.extend(some.iter().map(|row| summary(row, None)));
            continue;
        }
        let of = some.iter().map(|row| row.event.seq).collect();
        let counts = app.engine.store().event_counts(of).await.map_err(Problem::of_read)?;
        counted += counts.iter().flatten().sum::<u64>();
        shown.extend(some.iter().zip(&counts).map(|(row, counts)| summary(row, Some(counts))));
    }
    Ok(shown)
}

fn state_counts(of: &[u64; 7]) -> v1::StateCountsOfEvent {
    let sum = |states: &[StateKind]| long(states.iter().map(|state| of[*state as usize]).sum::<u64>());
    v1::StateCountsOfEvent {
        waiting: sum(&[StateKind::Pending, StateKind::Sending, StateKind::Retrying]),
        succeeded: sum(&[StateKind::Succeeded]),
        given_up: sum(&[StateKind::Failed, StateKind::Expired, StateKind::Cancelled]),
    }
}

fn summary(row: &EventRow, deliveries: Option<&[u64; 7]>) -> v1::EventSummary {
    let event = &row.event;
    v1::EventSummary {
        event_id: event.id.to_string(),
        number: event.seq.0,
        namespace: event.namespace.to_string(),
        event_type: event.event_type.to_string(),
        created_at: timestamp(event.created_at).into(),
        labels: event.labels.clone().into_iter().collect(),
        idempotency_key: event.idempotency_key.clone().unwrap_or_default(),
        payload_bytes: long(event.payload.len()),
        schema_valid: event.schema_check.is_valid(),
        deliveries: deliveries.map(state_counts).into(),
        skipped: count(row.skipped.len()),
    }
}

/// An event with everything that belongs to it, the beginning of a long payload.
pub(super) async fn detail(app: &App, row: &EventRow) -> Result<v1::EventDetail, Problem> {
    let event = &row.event;
    let shown = &event.payload[..event.payload.len().min(MAX_PAYLOAD)];
    let payload = v1::Content {
        bytes: shown.to_vec(),
        truncated: shown.len() < event.payload.len(),
        removed: false,
        media_type: if event.payload.is_empty() { String::new() } else { JSON.to_owned() },
    };
    Ok(v1::EventDetail {
        event: summaries(app, std::slice::from_ref(row)).await?.pop().into(),
        payload: payload.into(),
        metadata: event.metadata.clone().into_iter().collect(),
        expires_at: event.ttl.map(|ttl| timestamp(event.created_at.after(ttl))).into(),
    })
}
