//! How well endpoints do: a tally for each that is configured and not deleted.

use super::MemoryStore;
use super::data::Data;
use super::find::found;
use postrider_core::attempt::Attempt;
use postrider_core::endpoint::Endpoint;
use postrider_core::event::Namespace;
use postrider_core::health::{Earlier, Health, HealthTally, Observation};
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::cmp::Reverse;

impl Data {
    /// An endpoint was put: it has a tally until it is deleted.
    pub fn keep_health(&mut self, of: &Endpoint) {
        if of.deleted.is_some() {
            self.health.remove(&of.id);
        } else {
            self.health.entry(of.id).or_insert_with(|| (of.namespace.clone(), HealthTally::default()));
        }
    }

    /// An attempt of a delivery ended, if it has an outcome.
    pub fn observe(&mut self, delivery: DeliveryId, attempt: &Attempt) {
        let Some(seen) = attempt.outcome.as_ref().and_then(Observation::of) else { return };
        let before = self.attempts.range((delivery, 0)..(delivery, attempt.number)).rev();
        let earlier = before.filter_map(|(_, attempt)| attempt.outcome.as_ref()).find_map(|outcome| {
            let code = outcome.error.as_ref().map(|error| error.code);
            Earlier::of(outcome.finished_at, code)
        });
        if let Some((_, tally)) = self.health.get_mut(&attempt.endpoint) {
            tally.observe(&Observation { earlier, ..seen });
        }
    }

    fn health_of(&self, namespace: Option<&Namespace>, health: Health) -> impl Iterator<Item = EndpointId> {
        let in_scope = move |of: &Namespace| namespace.is_none_or(|wanted| wanted == of);
        self.health.iter().filter(move |(_, (of, tally))| in_scope(of) && tally.health() == health).map(|(id, _)| *id)
    }

    fn age_health(&mut self, now: Timestamp, limit: u32) -> u32 {
        let due = self.health.iter().filter_map(|(id, (_, tally))| Some((tally.ages_at()?, *id)));
        let mut due: Vec<(Timestamp, EndpointId)> = due.filter(|(at, _)| *at <= now).collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        for (_, id) in &due {
            if let Some((_, tally)) = self.health.get_mut(id) {
                tally.age(now);
            }
        }
        u32::try_from(due.len()).unwrap_or(u32::MAX)
    }
}

impl HealthStore for MemoryStore {
    fn endpoint_health(&self, of: Vec<EndpointId>) -> BoxFuture<'_, Result<Vec<Option<HealthTally>>, StoreError>> {
        self.answer(|data, _| of.into_iter().map(|id| data.health.get(&id).map(|(_, tally)| tally.clone())).collect())
    }

    fn endpoints_by_health(
        &self,
        namespace: Option<Namespace>,
        health: Health,
        window: Window<EndpointId>,
    ) -> BoxFuture<'_, Result<Found<EndpointId, EndpointId>, StoreError>> {
        self.answer(move |data, _| {
            let places = data.health_of(namespace.as_ref(), health).map(|id| (Reverse(id), id)).collect();
            found(places, window, Reverse, |place| place.0)
        })
    }

    fn health_summary(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; Health::ALL.len()], StoreError>> {
        self.answer(move |data, _| Health::ALL.map(|health| data.health_of(namespace.as_ref(), health).count() as u64))
    }

    fn age_health(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        self.answer(move |data, _| data.age_health(now, limit))
    }
}
