//! Events to be published again, a piece at a time.

use super::data::Data;
use postrider_core::id::{EventSeq, RepushId};
use postrider_core::ports::{PruneRequest, Repush, RepushState, RepushStep, Repushed};
use postrider_core::time::Timestamp;

impl Data {
    pub fn open_repushes(&self) -> Vec<Repush> {
        self.repushes.values().map(|(batch, _)| batch).filter(|batch| !batch.state.has_ended()).cloned().collect()
    }

    pub fn repush_piece(&self, id: RepushId, from: u32, limit: u32) -> Vec<EventSeq> {
        let events = self.repushes.get(&id).map(|(_, events)| events.iter()).unwrap_or_default();
        events.skip(from as usize).take(limit as usize).copied().collect()
    }

    pub fn set_repush_state(&mut self, id: RepushId, from: RepushState, to: RepushState, at: Timestamp) -> bool {
        let found = self.repushes.get(&id).map(|(batch, _)| batch);
        let Some(batch) = found.filter(|batch| batch.state == from && from.may_become(to)).cloned() else { return false };
        self.put_changed(batch.in_state(to, at));
        true
    }

    pub fn advance_repush(&mut self, step: RepushStep, me: u64) -> Repushed {
        let found = self.repushes.get(&step.id).map(|(batch, _)| batch);
        let Some(batch) = found.filter(|batch| batch.takes(&step)).cloned() else { return Repushed::Fenced };
        let batch = batch.after(&step);
        for event in step.events {
            self.publish(event, me);
        }
        self.put_changed(batch.clone());
        Repushed::Done(batch)
    }

    /// What has ended needs its events no more.
    fn put_changed(&mut self, batch: Repush) {
        let events = self.repushes.remove(&batch.id).map(|(_, events)| events).unwrap_or_default();
        let events = if batch.state.has_ended() { Vec::new() } else { events };
        self.repushes.insert(batch.id, (batch, events));
    }

    /// Up to so many batches that ended long ago, or were never started in time.
    pub fn old_repushes(&self, request: &PruneRequest, most: usize) -> Vec<RepushId> {
        let is_old = |batch: &Repush| match batch.ended_at {
            Some(at) => at < request.closed_before,
            None => batch.state == RepushState::Pending && batch.created_at < request.requests_before,
        };
        self.repushes.values().map(|(batch, _)| batch).filter(|batch| is_old(batch)).map(|batch| batch.id).take(most).collect()
    }
}
