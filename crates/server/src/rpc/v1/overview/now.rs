//! How it does right now. Every open page asks for it every few seconds: what was told is told again for a moment.

use super::failing;
use super::series::percentiles;
use crate::http::{App, Problem};
use crate::rpc::access::timestamp;
use crate::rpc::v1::summary::{endpoint_label, long, state_counts};
use parking_lot::Mutex;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::event::Namespace;
use postrider_core::health::Health;
use postrider_core::ports::{DeadLetterFilter, Late, Window};
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::v1;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// For how long an overview is told again.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Of how many namespaces overviews are kept at the most: each takes a few kilobytes.
const MAX_KEPT: usize = 1_000;

/// Over how much time rates are.
const MINUTE: Duration = Duration::from_secs(60);

/// How long after something happened it is among the numbers at the latest: engines add them every two seconds.
const WRITTEN_AFTER: Duration = Duration::from_secs(3);

/// What was told last of one namespace, or of everything, or why that could not be told, and when. Whoever asks while somebody looks waits for what that
/// one finds.
type Place = tokio::sync::Mutex<Option<(Instant, Result<v1::GetOverviewResponse, Problem>)>>;

/// What was told last.
#[derive(Default)]
pub(super) struct Kept(Mutex<BTreeMap<Option<Namespace>, Arc<Place>>>);

impl Kept {
    /// How a namespace does right now, or everything: as it was a second ago at the most.
    pub(super) async fn overview(&self, app: &App, of: Option<Namespace>) -> Result<v1::GetOverviewResponse, Problem> {
        let place = self.place(&of);
        let mut last = place.lock().await;
        if let Some((at, told)) = &*last
            && at.elapsed() < KEPT_FOR
        {
            return told.clone();
        }
        // A failure is told again too: each look at a store that does not answer takes seconds, and others wait for it.
        let told = look(app, of).await;
        *last = Some((Instant::now(), told.clone()));
        told
    }

    fn place(&self, of: &Option<Namespace>) -> Arc<Place> {
        let mut places = self.0.lock();
        if let Some(place) = places.get(of) {
            return Arc::clone(place);
        }
        if places.len() >= MAX_KEPT {
            // Nobody is asking for the others at this moment.
            places.retain(|_, place| Arc::strong_count(place) > 1);
        }
        let place = Arc::new(Place::default());
        if places.len() < MAX_KEPT {
            places.insert(of.clone(), Arc::clone(&place));
        }
        place
    }
}

async fn look(app: &App, of: Option<Namespace>) -> Result<v1::GetOverviewResponse, Problem> {
    let (store, now) = (app.engine.store(), app.engine.now());
    let before = Step::TenSeconds.begin(now.before(WRITTEN_AFTER));
    let letters = DeadLetterFilter { namespace: of.clone(), ..DeadLetterFilter::default() };
    let read = tokio::try_join!(
        store.delivery_counts(of.clone()),
        store.event_total(of.clone()),
        store.find_dead_letters(letters, Window::first(1)),
        store.most_late(of.clone()),
        store.health_summary(of.clone()),
        store.series(of.clone(), Step::TenSeconds, before.before(MINUTE), before),
    );
    let (deliveries, events, letters, late, healths, minute) = read.map_err(Problem::of_read)?;
    let routes = app.engine.routes();
    let failing = failing::worst(app, &routes, of.as_ref(), now).await?;
    Ok(v1::GetOverviewResponse {
        at: timestamp(now).into(),
        rates: rates(&minute).into(),
        deliveries: state_counts(deliveries).into(),
        events: long(events),
        open_dead_letters: long(letters.total),
        oldest_overdue: late.map(|late| overdue(&routes, &late)).into(),
        endpoints: endpoints(&routes, of.as_ref(), healths).into(),
        failing,
    })
}

/// How much happened in a minute.
fn rates(minute: &[(Timestamp, Numbers)]) -> v1::Rates {
    let mut sum = Numbers::default();
    minute.iter().for_each(|(_, numbers)| sum.add(numbers));
    let attempts = sum.attempts_succeeded.saturating_add(sum.attempts_failed);
    let per_second = |n: u64| n as f64 / MINUTE.as_secs_f64();
    v1::Rates {
        events_per_second: per_second(sum.events),
        deliveries_per_second: per_second(sum.deliveries),
        attempts_per_second: per_second(attempts),
        success_rate: (attempts > 0).then(|| sum.attempts_succeeded as f64 / attempts as f64),
        delivered_after: percentiles(&sum.delivered_after).into(),
        answered_in: percentiles(&sum.answered_in).into(),
    }
}

fn overdue(routes: &Routes, late: &Late) -> v1::Overdue {
    v1::Overdue {
        endpoint_id: late.endpoint.to_string(),
        endpoint_name: endpoint_label(routes, late.endpoint),
        due_at: timestamp(late.due_at).into(),
    }
}

fn endpoints(routes: &Routes, of: Option<&Namespace>, healths: [u64; Health::ALL.len()]) -> v1::EndpointCounts {
    let (mut total, mut paused, mut disabled) = (0_i64, 0, 0);
    for endpoint in routes.endpoints().filter(|endpoint| of.is_none_or(|of| endpoint.namespace == *of)) {
        total += 1;
        match endpoint.status {
            EndpointStatus::Active => {}
            EndpointStatus::Paused { .. } => paused += 1,
            EndpointStatus::Disabled { .. } => disabled += 1,
        }
    }
    let with = |health: Health| long(healths[health as usize]);
    v1::EndpointCounts {
        total,
        healthy: with(Health::Healthy),
        degraded: with(Health::Degraded),
        unhealthy: with(Health::Unhealthy),
        idle: with(Health::Unknown),
        paused,
        disabled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_a_minute() {
        let at = Timestamp::from_secs(0);
        let mut first = Numbers { events: 60, deliveries: 120, attempts_succeeded: 90, attempts_failed: 29, ..Numbers::default() };
        first.answered_in.record(2_000);
        let second = Numbers { attempts_failed: 1, ..Numbers::default() };
        let told = rates(&[(at, first), (at, second)]);
        assert_eq!((told.events_per_second, told.deliveries_per_second, told.attempts_per_second), (1.0, 2.0, 2.0));
        assert_eq!((told.success_rate, told.delivered_after.is_set()), (Some(0.75), false));
        assert!((1.8..2.2).contains(&told.answered_in.p50), "{}", told.answered_in.p50);
        let nothing = rates(&[]);
        assert_eq!((nothing.success_rate, nothing.answered_in.is_set(), nothing.events_per_second), (None, false, 0.0));
    }

    #[test]
    fn of_many_namespaces_not_everything_is_kept() {
        let kept = Kept::default();
        let name = |n: usize| Namespace::new(&format!("n{n}")).ok();
        let in_use = kept.place(&name(0));
        (1..MAX_KEPT).for_each(|n| drop(kept.place(&name(n))));
        assert_eq!(kept.0.lock().len(), MAX_KEPT);
        assert!(Arc::ptr_eq(&in_use, &kept.place(&name(0))));
        drop(kept.place(&None));
        assert_eq!(kept.0.lock().len(), 2, "what nobody asks for makes room");
        assert!(Arc::ptr_eq(&in_use, &kept.place(&name(0))));
    }
}
