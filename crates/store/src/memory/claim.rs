//! Who has which delivery in memory.

use super::data::Data;
use postrider_core::delivery::{Delivery, State};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

impl Data {
    pub fn claim(&mut self, request: ClaimRequest, me: u64) -> ClaimBatch {
        let mut batch = ClaimBatch { endpoint: request.endpoint, deliveries: Vec::new(), next_due: None };
        if self.is_erased(request.endpoint) {
            return batch;
        }
        let mut bytes = 0;
        while let Some((due_at, id)) = self.first_unclaimed(request.endpoint) {
            let is_full = batch.deliveries.len() >= request.limit as usize || (bytes >= request.max_bytes && !batch.deliveries.is_empty());
            if due_at > request.due_by || is_full {
                batch.next_due = Some(due_at);
                break;
            }
            let claimed = self.claim_one(id, me).expect("the index names rows that are there");
            bytes += claimed.event.payload.len() as u64;
            batch.deliveries.push(claimed);
        }
        batch
    }

    pub fn claim_expired(&mut self, by: Timestamp, limit: u32, max_bytes: u64, me: u64) -> Vec<Claimed> {
        let expired: Vec<DeliveryId> = self.seen_expiring().filter(|(at, _)| *at <= by).map(|(_, id)| id).take(limit as usize).collect();
        let (mut claimed, mut bytes) = (Vec::new(), 0);
        for id in expired {
            let Some(one) = self.claim_one(id, me) else { continue };
            bytes += one.event.payload.len() as u64;
            claimed.push(one);
            if bytes >= max_bytes {
                break;
            }
        }
        claimed
    }

    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.seen_expiring().next().map(|(at, _)| at)
    }

    fn seen_expiring(&self) -> impl Iterator<Item = (Timestamp, DeliveryId)> {
        self.expiring.iter().copied().filter(|(_, id)| self.seen(*id).is_some())
    }

    pub fn rescue(&mut self, limit: u32, me: u64) -> Vec<Claimed> {
        let is_orphan =
            |id: &&DeliveryId| self.deliveries.get(id).and_then(|row| row.claim).is_some_and(|claim| self.is_orphaned(claim, me));
        let orphans: Vec<DeliveryId> = self.claimed.iter().filter(is_orphan).take(limit as usize).copied().collect();
        orphans.into_iter().filter_map(|id| self.claim_one(id, me)).collect()
    }

    pub fn backlog(&self) -> Vec<Backlog> {
        let mut backlog: Vec<Backlog> = Vec::new();
        for &(endpoint, first_due, _) in self.unclaimed.iter().filter(|(endpoint, ..)| !self.is_erased(*endpoint)) {
            if backlog.last().is_none_or(|last| last.endpoint != endpoint) {
                backlog.push(Backlog { endpoint, first_due });
            }
        }
        backlog
    }

    /// What an engine gets of a delivery: with its event, and with the attempt that is under way.
    pub fn hand_over(&self, delivery: &Delivery) -> Claimed {
        let open = match delivery.progress.state {
            State::Sending => self.attempts.get(&(delivery.id, delivery.progress.attempts)).filter(|attempt| attempt.outcome.is_none()),
            _ => None,
        };
        Claimed { delivery: delivery.clone(), event: self.event_of(delivery), open_attempt: open.cloned() }
    }

    fn claim_one(&mut self, id: DeliveryId, me: u64) -> Option<Claimed> {
        let mut row = self.take_delivery(id)?;
        row.claim = Some(me);
        let claimed = self.hand_over(&row.delivery);
        self.put_delivery(row);
        Some(claimed)
    }

    fn first_unclaimed(&self, endpoint: EndpointId) -> Option<(Timestamp, DeliveryId)> {
        let from = (endpoint, Timestamp::MIN, DeliveryId::new(uuid::Uuid::nil()));
        let &(of, due_at, id) = self.unclaimed.range(from..).next()?;
        (of == endpoint).then_some((due_at, id))
    }
}
