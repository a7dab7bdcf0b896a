//! The endpoints that do worst.

use crate::http::{App, Problem};
use crate::rpc::page::count;
use crate::rpc::v1::summary::health_reasons;
use crate::rpc::v1::words::ago;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::health::{Health, HealthTally};
use postrider_core::ports::Window;
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::v1;
use std::cmp::Reverse;
use std::sync::Arc;

/// How many are shown.
const SHOWN: usize = 10;

/// How many of one health are looked at, the newest: the worst of these are shown.
const LOOKED_AT: u32 = 200;

/// Those of a namespace, or of all, that the server disabled, the last one first, then the unhealthy and the degraded ones that are sent to, those
/// first that failed the most often in a row, of equal ones those with more deliveries that failed.
pub(super) async fn worst(app: &App, routes: &Routes, of: Option<&Namespace>, now: Timestamp) -> Result<Vec<v1::FailingEndpoint>, Problem> {
    let disabled = with_tallies(app, disabled(routes, of), now).await?;
    let mut worst: Vec<v1::FailingEndpoint> = disabled.iter().map(|(endpoint, tally)| shown(endpoint, "disabled", tally, now)).collect();
    for (health, problem) in [(Health::Unhealthy, "unhealthy"), (Health::Degraded, "degraded")] {
        if worst.len() >= SHOWN {
            break;
        }
        let found =
            app.engine.store().endpoints_by_health(of.cloned(), health, Window::first(LOOKED_AT)).await.map_err(Problem::of_read)?;
        let endpoints = found.page.items.into_iter().filter_map(|id| routes.endpoint(id));
        let mut failing = with_tallies(app, endpoints.filter(|endpoint| endpoint.status == EndpointStatus::Active).collect(), now).await?;
        failing.sort_by_key(|(_, tally)| badness(tally));
        worst.extend(failing.iter().map(|(endpoint, tally)| shown(endpoint, problem, tally, now)));
    }
    worst.truncate(SHOWN);
    Ok(worst)
}

/// Endpoints with how they did, as lists of endpoints show it: without what is a day old by now.
async fn with_tallies<'e>(
    app: &App,
    endpoints: Vec<&'e Arc<Endpoint>>,
    now: Timestamp,
) -> Result<Vec<(&'e Arc<Endpoint>, HealthTally)>, Problem> {
    let ids = endpoints.iter().map(|endpoint| endpoint.id).collect();
    let tallies = app.engine.store().endpoint_health(ids).await.map_err(Problem::of_read)?;
    let aged = tallies.into_iter().map(|tally| {
        // One that was deleted a moment ago has none.
        let mut tally = tally.unwrap_or_default();
        tally.age(now);
        tally
    });
    Ok(endpoints.into_iter().zip(aged).collect())
}

/// The worst come first by it.
fn badness(tally: &HealthTally) -> Reverse<(u32, u64)> {
    Reverse((tally.failures_in_a_row(), tally.window().deliveries().failed))
}

fn disabled_at(endpoint: &Endpoint) -> Option<Timestamp> {
    match endpoint.status {
        EndpointStatus::Disabled { at, .. } => Some(at),
        EndpointStatus::Active | EndpointStatus::Paused { .. } => None,
    }
}

fn disabled<'r>(routes: &'r Routes, of: Option<&Namespace>) -> Vec<&'r Arc<Endpoint>> {
    let is_wanted = |endpoint: &&Arc<Endpoint>| of.is_none_or(|of| endpoint.namespace == *of) && disabled_at(endpoint).is_some();
    let mut disabled: Vec<&Arc<Endpoint>> = routes.endpoints().filter(is_wanted).collect();
    disabled.sort_unstable_by_key(|endpoint| Reverse((disabled_at(endpoint), endpoint.id)));
    disabled.truncate(SHOWN);
    disabled
}

fn shown(endpoint: &Endpoint, problem: &str, tally: &HealthTally, now: Timestamp) -> v1::FailingEndpoint {
    let reason = match endpoint.status {
        EndpointStatus::Disabled { reason, at } => format!("disabled {}: {}", ago(now, at), why(reason)),
        EndpointStatus::Active | EndpointStatus::Paused { .. } => health_reasons(tally, now).into_iter().next().unwrap_or_default(),
    };
    v1::FailingEndpoint {
        endpoint_id: endpoint.id.to_string(),
        namespace: endpoint.namespace.to_string(),
        name: endpoint.name.clone(),
        url: endpoint.url.clone(),
        problem: problem.to_owned(),
        reason,
        success_rate: tally.window().deliveries().rate(),
        failures_in_a_row: count(tally.failures_in_a_row()),
    }
}

/// Why the server disabled an endpoint.
fn why(reason: ErrorCode) -> String {
    match reason {
        ErrorCode::EndpointGone => String::from("the receiver answered 410 Gone, so it wants no more"),
        ErrorCode::AuthFailed => String::from("the receiver answered that the credentials are wrong"),
        ErrorCode::SsrfBlocked => String::from("its address is one that may not be called"),
        ErrorCode::ConsecutiveFailures => String::from("too many deliveries in a row failed for good"),
        other => other.to_string(),
    }
}
