//! Retention: what is removed, and what is kept whatever its age.

use super::data::Data;
use bytes::Bytes;
use postrider_core::attempt::Attempt;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::id::*;
use postrider_core::ports::{Counters, PruneRequest, Pruned, RequestKey};
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use std::collections::BTreeSet;

impl Data {
    /// One slice. What goes with a delivery is counted where it belongs: its attempts as attempts, its closed dead letters as closed.
    pub fn prune(&mut self, request: PruneRequest) -> Pruned {
        // A slice of nothing would never end.
        let limit = u64::from(request.limit.max(1));
        let mut pruned = Pruned::default();
        self.prune_erased(limit, &mut pruned);
        self.prune_requests(request, limit, &mut pruned);
        self.dismiss_orphans();
        self.prune_attempts(request, limit, &mut pruned);
        self.prune_bodies(request, limit, &mut pruned);
        self.prune_deliveries(request, limit, &mut pruned);
        self.prune_events(request, limit, &mut pruned);
        self.prune_closed(request, limit, &mut pruned);
        self.prune_configuration(request, &mut pruned);
        pruned.more = total(&pruned) >= limit;
        pruned.erasing = self.endpoints.values().any(Endpoint::is_erased);
        pruned
    }

    /// Whatever its age and its state; what is claimed belongs to an engine.
    fn prune_erased(&mut self, limit: u64, pruned: &mut Pruned) {
        let erased = self.deliveries.iter().filter(|(_, row)| row.claim.is_none() && self.is_erased(row.delivery.endpoint));
        let erased: BTreeSet<DeliveryId> = erased.map(|(id, _)| *id).take(left(limit, pruned)).collect();
        self.remove_deliveries(&erased, pruned);
    }

    /// Nobody can reach what was left open of a subscription that was deleted.
    fn dismiss_orphans(&mut self) {
        let orphans: Vec<(DeadLetterId, Timestamp)> = self
            .open_dead_letters
            .iter()
            .filter_map(|(delivery, id)| {
                let deleted_at = self.abandoned_at(self.deliveries.get(delivery)?.delivery.subscription)?;
                Some((*id, deleted_at.max(self.dead_letters.get(id)?.dead_letter.failed_at)))
            })
            .collect();
        for (id, at) in orphans {
            self.close_dead_letter(id, DeadLetterStatus::Dismissed, at);
        }
    }

    /// An attempt that is under way stays: its delivery is still being made.
    fn prune_attempts(&mut self, request: PruneRequest, limit: u64, pruned: &mut Pruned) {
        let is_old = |attempt: &Attempt| attempt.outcome.is_some() && attempt.id.uuid() < floor_at(request.attempts_before);
        let old = self.attempts.iter().filter(|(key, attempt)| is_old(attempt) && !self.keeps_rows(key.0));
        let old: Vec<(DeliveryId, u32)> = old.map(|(key, _)| *key).take(left(limit, pruned)).collect();
        pruned.attempts += old.len() as u64;
        old.into_iter().for_each(|key| self.remove_attempt(key));
    }

    /// What an attempt says stays without its bodies.
    fn prune_bodies(&mut self, request: PruneRequest, limit: u64, pruned: &mut Pruned) {
        let has_old_bodies = |key: &(DeliveryId, u32), attempt: &Attempt| {
            attempt.outcome.is_some() && attempt.id.uuid() < floor_at(request.bodies_before) && !self.bodies_removed.contains(key)
        };
        let old = self.attempts.iter().filter(|(key, attempt)| has_old_bodies(key, attempt)).map(|(key, _)| *key);
        let old: Vec<(DeliveryId, u32)> = old.take(left(limit, pruned)).collect();
        pruned.bodies += old.len() as u64;
        for key in old {
            if let Some(outcome) = self.attempts.get_mut(&key).and_then(|attempt| attempt.outcome.as_mut()) {
                (outcome.request_body, outcome.response_body, outcome.response_headers) = (None, Bytes::new(), None);
            }
            self.bodies_removed.insert(key);
        }
    }

    /// Dead letters go with their delivery, for without it there is nothing to show of them.
    fn prune_deliveries(&mut self, request: PruneRequest, limit: u64, pruned: &mut Pruned) {
        let old = self.deliveries.iter().filter(|(id, row)| {
            let (made, tried) = (row.delivery.created_at, row.delivery.last_attempt_at);
            let is_old = if row.keeps_rows { tried.unwrap_or(made) < request.rows_before } else { made < request.events_before };
            is_old && row.delivery.progress.state.kind().is_resting() && !self.open_dead_letters.contains_key(id)
        });
        let old: BTreeSet<DeliveryId> = old.map(|(id, _)| *id).take(left(limit, pruned)).collect();
        self.remove_deliveries(&old, pruned);
    }

    fn remove_deliveries(&mut self, ids: &BTreeSet<DeliveryId>, pruned: &mut Pruned) {
        pruned.deliveries += ids.len() as u64;
        for &id in ids {
            if let Some(open) = self.open_dead_letters.get(&id) {
                self.close_dead_letter(*open, DeadLetterStatus::Dismissed, Timestamp::MIN);
            }
            self.take_delivery(id);
            let attempts: Vec<(DeliveryId, u32)> = self.attempts.range((id, 0)..=(id, u32::MAX)).map(|(key, _)| *key).collect();
            pruned.attempts += attempts.len() as u64;
            attempts.into_iter().for_each(|key| self.remove_attempt(key));
        }
        let before = self.dead_letters.len();
        self.dead_letters.retain(|_, row| !ids.contains(&row.dead_letter.delivery));
        pruned.closed += (before - self.dead_letters.len()) as u64;
    }

    /// An event whose fan-out is not complete stays: deliveries of it are still to come.
    fn prune_events(&mut self, request: PruneRequest, limit: u64, pruned: &mut Pruned) {
        let old = self.events.iter().filter(|(seq, row)| {
            let is_old = row.event.id.uuid() < floor_at(request.events_before);
            is_old && row.fan_out_after.is_none() && self.deliveries_of(**seq).next().is_none()
        });
        let old: Vec<EventSeq> = old.map(|(seq, _)| *seq).take(left(limit, pruned)).collect();
        pruned.events += old.len() as u64;
        old.into_iter().for_each(|seq| self.remove_event(seq));
    }

    fn prune_closed(&mut self, request: PruneRequest, limit: u64, pruned: &mut Pruned) {
        let closed = self.dead_letters.iter().filter(|(_, row)| row.closed_at.is_some_and(|at| at < request.closed_before));
        let closed: Vec<DeadLetterId> = closed.map(|(id, _)| *id).take(left(limit, pruned)).collect();
        pruned.closed += closed.len() as u64;
        closed.iter().for_each(|id| drop(self.dead_letters.remove(id)));

        let has_ended = |row: &Scheduled| row.status != ScheduledStatus::Pending && row.updated_at < request.closed_before;
        let ended = self.scheduled.values().filter(|row| has_ended(row));
        let ended: Vec<ScheduledId> = ended.map(|row| row.id).take(left(limit, pruned)).collect();
        pruned.closed += ended.len() as u64;
        ended.iter().for_each(|id| drop(self.scheduled.remove(id)));

        let ended = self.jobs.values().filter(|job| job.ended_at.is_some_and(|at| at < request.closed_before));
        let ended: Vec<JobId> = ended.map(|job| job.id).take(left(limit, pruned)).collect();
        pruned.closed += ended.len() as u64;
        ended.iter().for_each(|id| drop(self.jobs.remove(id)));

        let old = self.old_batches(&request, left(limit, pruned));
        pruned.closed += old.len() as u64;
        old.iter().for_each(|id| drop(self.batches.remove(id)));
    }

    fn prune_requests(&mut self, request: PruneRequest, limit: u64, pruned: &mut Pruned) {
        let old = self.requests.iter().filter(|(_, row)| row.created_at < request.requests_before);
        let old: Vec<RequestKey> = old.map(|(key, _)| key.clone()).take(left(limit, pruned)).collect();
        pruned.requests += old.len() as u64;
        old.iter().for_each(|key| drop(self.requests.remove(key)));
    }

    /// Deleted configuration of which nothing is left. There is never much of it, so that it counts for no slice.
    fn prune_configuration(&mut self, request: PruneRequest, pruned: &mut Pruned) {
        let is_old = |at: Option<Timestamp>, before| at.is_some_and(|at| at < before);
        let is_bare = |counters: Option<&Counters>| counters.is_none_or(|counters| counters.deliveries.iter().all(|n| *n == 0));
        let keys: Vec<KeyId> = self
            .keys
            .values()
            .filter(|key| key.may_be_forgotten() && is_old(key.revoked_at, request.closed_before))
            .map(|key| key.id)
            .collect();
        keys.iter().for_each(|id| drop(self.keys.remove(id)));
        let subscriptions = self.subscriptions.values().filter(|s| is_old(s.deleted_at, request.configuration_before));
        let subscriptions: Vec<SubscriptionId> = subscriptions.map(|s| s.id).filter(|id| is_bare(self.counters.get(id))).collect();
        for id in &subscriptions {
            self.subscriptions.remove(id);
            self.counters.remove(id);
        }
        let has_deliveries = |id: EndpointId| self.deliveries.values().any(|row| row.delivery.endpoint == id);
        let is_named = |id: EndpointId| self.subscriptions.values().any(|s| s.endpoint == id);
        let endpoints = self.endpoints.values().filter(|e| is_old(e.deleted.map(Deletion::at), request.configuration_before));
        let endpoints: Vec<EndpointId> =
            endpoints.filter(|e| !has_deliveries(e.id) && (e.is_erased() || !is_named(e.id))).map(|e| e.id).collect();
        endpoints.iter().for_each(|id| drop(self.endpoints.remove(id)));
        let gone = keys.len() + subscriptions.len() + endpoints.len();
        if gone > 0 {
            pruned.configuration += gone as u64;
            self.configuration_version += 1;
        }
    }
}

fn total(pruned: &Pruned) -> u64 {
    pruned.attempts + pruned.bodies + pruned.deliveries + pruned.events + pruned.closed + pruned.requests + pruned.configuration
}

/// How many rows this slice may still remove.
fn left(limit: u64, pruned: &Pruned) -> usize {
    usize::try_from(limit.saturating_sub(total(pruned))).unwrap_or(usize::MAX)
}
