//! Endpoints in a list.

use super::{find, health, missing};
use crate::auth::Access;
use crate::http::json::clip;
use crate::http::{App, Problem};
use crate::rpc::access::{Scope, timestamp};
use crate::rpc::page::count;
use crate::rpc::v1::page;
use crate::rpc::v1::summary::{long, state_counts};
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::health::{Health, HealthTally};
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::{AttemptRow, Counters, LastOf, Window};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::service::Answer;
use postrider_proto::v1;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How many endpoints of one health, and how many subscriptions' counters, are asked for at a time.
const PIECE: u32 = 1_000;

/// The words for a status: what it is, why, and since when.
pub(super) fn status(status: EndpointStatus) -> (&'static str, &'static str, Option<Timestamp>) {
    match status {
        EndpointStatus::Active => ("active", "", None),
        EndpointStatus::Paused { at } => ("paused", "", Some(at)),
        EndpointStatus::Disabled { reason, at } => ("disabled", reason.as_str(), Some(at)),
    }
}

/// Whether a text has this in it, which is not empty and in lower case. Most texts are plain, and nothing is allocated for them.
fn has(part: &str, text: &str) -> bool {
    if part.is_ascii() {
        return part.as_bytes().windows(text.len()).any(|some| some.eq_ignore_ascii_case(text.as_bytes()));
    }
    part.to_lowercase().contains(text)
}

/// Answers the endpoints. All of them are in memory, but for their health: whoever asks for one has the store walk over those of that health, which
/// costs some microseconds for each.
pub(super) async fn list(app: &App, access: &Access, request: &v1::ListEndpointsRequest) -> Answer<v1::ListEndpointsResponse> {
    let scope = Scope::of(access, &request.namespace)?;
    if !["", "active", "paused", "disabled"].contains(&request.status.as_str()) {
        let message = format!("status must be \"active\", \"paused\" or \"disabled\", not {:?}", clip(&request.status));
        return Err(Problem::bad_request(message).into());
    }
    let (size, after) = (page::size(request.page_size), page::after::<EndpointId>(&request.page_token)?);
    let of_health = of_health(app, &scope, &request.health).await?;
    let (routes, text) = (app.engine.routes(), request.text.to_lowercase());
    let may_be_id = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let has_text = |endpoint: &Endpoint| {
        let is_in = |part: &str| has(part, &text);
        text.is_empty() || is_in(&endpoint.name) || is_in(&endpoint.url) || (may_be_id && is_in(&endpoint.id.to_string()))
    };
    let is_listed = |endpoint: &Endpoint| {
        scope.has(&endpoint.namespace)
            && (request.status.is_empty() || status(endpoint.status).0 == request.status)
            && of_health.as_ref().is_none_or(|ids| ids.contains(&endpoint.id))
            && has_text(endpoint)
    };
    let mut all: Vec<&Arc<Endpoint>> = routes.endpoints().filter(|endpoint| is_listed(endpoint)).collect();
    all.sort_unstable_by_key(|endpoint| std::cmp::Reverse(endpoint.id));
    let begin = after.map_or(0, |after| all.partition_point(|endpoint| endpoint.id >= after));
    let end = all.len().min(begin.saturating_add(size as usize));
    let shown = &all[begin..end];
    let next = shown.last().map(|endpoint| endpoint.id).filter(|_| end < all.len());
    let endpoints = summaries(app, &routes, shown).await?;
    Ok(v1::ListEndpointsResponse { endpoints, next_page_token: page::next(next), total: long(all.len()) })
}

/// The endpoints of the health with this name; `None` where none is named.
async fn of_health(app: &App, scope: &Scope, name: &str) -> Result<Option<HashSet<EndpointId>>, Problem> {
    if name.is_empty() {
        return Ok(None);
    }
    let wanted = health::of_word(name).ok_or_else(|| {
        let known = Health::ALL.map(health::word).join(", ");
        Problem::bad_request(format!("health must be one of {known}, not {:?}", clip(name)))
    })?;
    let Some(namespace) = scope.clone().narrowed() else { return Ok(Some(HashSet::new())) };
    let (mut ids, mut after) = (HashSet::new(), None);
    loop {
        let window = Window { after, skip: 0, limit: PIECE };
        let found = app.engine.store().endpoints_by_health(namespace.clone(), wanted, window).await.map_err(Problem::of_read)?;
        ids.extend(found.page.items);
        after = found.page.next;
        if after.is_none() {
            return Ok(Some(ids));
        }
    }
}

/// One endpoint as lists show it.
pub(super) async fn summary(app: &App, access: &Access, id: EndpointId) -> Result<v1::EndpointSummary, Problem> {
    let routes = app.engine.routes();
    let made = summaries(app, &routes, &[find(&routes, access, id)?]).await?;
    made.into_iter().next().ok_or_else(missing)
}

/// Endpoints as lists show them, in their order.
pub(super) async fn summaries(app: &App, routes: &Routes, endpoints: &[&Arc<Endpoint>]) -> Result<Vec<v1::EndpointSummary>, Problem> {
    let (store, now) = (app.engine.store(), app.engine.now());
    let tallies = store.endpoint_health(endpoints.iter().map(|endpoint| endpoint.id).collect()).await.map_err(Problem::of_read)?;
    let aged = |tally: Option<HealthTally>| {
        // One that was deleted a moment ago has none.
        let mut tally = tally.unwrap_or_default();
        tally.age(now);
        tally
    };
    let tallies: Vec<HealthTally> = tallies.into_iter().map(aged).collect();
    let worst = endpoints.iter().zip(&tallies).filter(|(_, tally)| health::names_last(tally));
    let worst: Vec<EndpointId> = worst.map(|(endpoint, _)| endpoint.id).collect();
    let last = match worst.is_empty() {
        true => Vec::new(),
        false => store.last_ended(LastOf::Endpoints(worst.clone())).await.map_err(Problem::of_read)?,
    };
    let last: HashMap<EndpointId, AttemptRow> = worst.into_iter().zip(last).filter_map(|(id, row)| Some((id, row?))).collect();
    let own: Vec<Vec<SubscriptionId>> = endpoints.iter().map(|endpoint| subscriptions_of(routes, endpoint.id)).collect();
    let mut counters = counters(app, &own.concat()).await?.into_iter();
    let shown = endpoints.iter().zip(&tallies).zip(&own).map(|((endpoint, tally), own)| {
        let theirs: Vec<Counters> = counters.by_ref().take(own.len()).collect();
        made(endpoint, (tally, last.get(&endpoint.id)), &theirs, now)
    });
    Ok(shown.collect())
}

fn subscriptions_of(routes: &Routes, endpoint: EndpointId) -> Vec<SubscriptionId> {
    routes.subscriptions_of(endpoint).map(|subscription| subscription.id).collect()
}

/// The counters of these subscriptions, in their order.
pub(super) async fn counters(app: &App, of: &[SubscriptionId]) -> Result<Vec<Counters>, Problem> {
    let mut all = Vec::with_capacity(of.len());
    for some in of.chunks(PIECE as usize) {
        all.extend(app.engine.store().counters_of(some.to_vec()).await.map_err(Problem::of_read)?);
    }
    Ok(all)
}

fn made(endpoint: &Endpoint, (tally, last): (&HealthTally, Option<&AttemptRow>), own: &[Counters], now: Timestamp) -> v1::EndpointSummary {
    let (word, reason, since) = status(endpoint.status);
    let window = tally.window();
    let mut deliveries = [0_u64; 7];
    for counters in own {
        deliveries.iter_mut().zip(counters.deliveries).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }
    let hour = |hour: postrider_core::health::Counts| v1::HourOfEndpoint { succeeded: long(hour.succeeded), failed: long(hour.failed) };
    v1::EndpointSummary {
        endpoint_id: endpoint.id.to_string(),
        namespace: endpoint.namespace.to_string(),
        name: endpoint.name.clone(),
        url: endpoint.url.clone(),
        status: word.to_owned(),
        status_reason: reason.to_owned(),
        status_since: since.map(timestamp).into(),
        health: health::word(tally.health()).to_owned(),
        health_reasons: health::reasons(tally, last, now),
        success_rate: window.deliveries().rate(),
        failures_in_a_row: count(tally.failures_in_a_row()),
        mean_response_ms: window.mean_response_us().unwrap_or_default() as f64 / 1_000.0,
        hours: tally.hours(now).map(hour).to_vec(),
        last_success_at: tally.last_success_at().map(timestamp).into(),
        last_failure_at: tally.last_failure_at().map(timestamp).into(),
        subscriptions: count(own.len()),
        deliveries: state_counts(deliveries).into(),
        open_dead_letters: long(own.iter().map(|counters| counters.dead_letters).sum::<u64>()),
        created_at: timestamp(endpoint.created_at).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_whatever_their_case() {
        for (part, text) in [("Orders", "order"), ("Größe", "grö"), ("GRÖSSE", "grö"), ("https://A.example/x", "a.example")] {
            assert!(has(part, text), "{text} in {part}");
        }
        for (part, text) in [("Orders", "orders2"), ("", "a"), ("Größe", "gross"), ("plain", "ü")] {
            assert!(!has(part, text), "{text} in {part}");
        }
    }
}
