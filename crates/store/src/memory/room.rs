//! How much the model has in it, were it on a disk: about what a database would take.

use super::data::Data;
use crate::room::{self, DELIVERY, ROW};
use postrider_core::attempt::{Attempt, HeadBlock, Outcome};
use postrider_core::ports::*;

impl Data {
    pub fn usage(&self) -> Usage {
        Usage { used_bytes: self.used(), budget_bytes: self.budget }
    }

    /// The answer to new work of about so many bytes if there is no room for it.
    pub fn refuses(&self, bytes: u64) -> Option<StoreError> {
        let left = room::accepted(self.budget?).saturating_sub(self.used());
        (bytes > left).then(|| room::refusal(bytes, left))
    }

    fn used(&self) -> u64 {
        let events = self.events.values().map(|row| 2 * ROW + row.event.payload.len() as u64).sum::<u64>();
        let bodies = |attempt: &Attempt| {
            let head = |o: &Outcome| o.response_headers.as_ref().map_or(0, HeadBlock::len);
            let size = |o: &Outcome| o.request_body.as_ref().map_or(0, |body| body.len()) + o.response_body.len() + head(o);
            attempt.outcome.as_ref().map_or(0, size) as u64
        };
        let attempts = self.attempts.values().map(|attempt| ROW + bodies(attempt)).sum::<u64>();
        let scheduled = self.scheduled.values().map(room::occurrence).sum::<u64>();
        let rows = self.dead_letters.len() + self.jobs.len() + self.requests.len() + self.configured();
        let batches = self.batches.values().map(|(_, entries)| room::batch(entries)).sum::<u64>();
        events + attempts + scheduled + batches + DELIVERY * self.deliveries.len() as u64 + ROW * rows as u64
    }

    /// Whether all of these are duplicates of what is stored.
    pub fn are_known(&self, events: &[NewEvent]) -> bool {
        let is_known = |event: &NewEvent| {
            let key = event.idempotency_key.clone().map(|key| (event.namespace.clone(), key));
            key.is_some_and(|key| self.idempotency_keys.contains_key(&key))
        };
        events.iter().all(is_known)
    }

    /// Whether none of these is new: each replaces what is there, or is gone.
    pub fn is_configured(&self, changes: &[ConfigChange]) -> bool {
        let is_known = |change: &ConfigChange| match change {
            ConfigChange::Endpoint(endpoint) => endpoint.deleted.is_some() || self.endpoints.contains_key(&endpoint.id),
            ConfigChange::Subscription(subscription) => {
                subscription.deleted_at.is_some() || self.subscriptions.contains_key(&subscription.id)
            }
            ConfigChange::Key(key) => key.may_be_forgotten() || self.keys.contains_key(&key.id),
            ConfigChange::EventType(new) => self.event_types.contains_key(&(new.namespace.clone(), new.name.clone())),
            ConfigChange::NoEventType { .. } => true,
        };
        changes.iter().all(is_known)
    }

    fn configured(&self) -> usize {
        self.endpoints.len() + self.subscriptions.len() + self.keys.len() + self.event_types.len()
    }
}
