//! Batches of events and of deliveries, a piece at a time.

use super::data::Data;
use postrider_core::id::BatchId;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

impl Data {
    pub fn open_batches(&self) -> Vec<Batch> {
        self.batches.values().map(|(batch, _)| batch).filter(|batch| !batch.state.has_ended()).cloned().collect()
    }

    pub fn batch_piece(&self, id: BatchId, from: u32, limit: u32) -> Option<BatchEntries> {
        Some(match &self.batches.get(&id)?.1 {
            BatchEntries::Events(events) => BatchEntries::Events(piece(events, from, limit)),
            BatchEntries::Deliveries(ids) => BatchEntries::Deliveries(piece(ids, from, limit)),
        })
    }

    pub fn set_batch_state(&mut self, id: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> bool {
        let found = self.batches.get(&id).map(|(batch, _)| batch);
        let Some(batch) = found.filter(|batch| batch.state == from && from.may_become(to)).cloned() else { return false };
        self.put_changed(batch.in_state(to, at));
        true
    }

    pub fn advance_batch(&mut self, step: BatchStep, me: u64) -> BatchStepped {
        let found = self.batches.get(&step.id).map(|(batch, _)| batch);
        let Some(batch) = found.filter(|batch| batch.takes(&step)).cloned() else { return BatchStepped::Fenced };
        let answers = match &step.work {
            BatchWork::Publish(events) => {
                for event in events {
                    self.publish(event.clone(), me);
                }
                Vec::new()
            }
            BatchWork::Retry(ids) => ids.iter().map(|id| self.retry(*id, false, step.at)).collect(),
        };
        let batch = batch.after(&step, &answers);
        self.put_changed(batch.clone());
        BatchStepped::Done(batch, answers)
    }

    /// What has ended needs its entries no more.
    fn put_changed(&mut self, batch: Batch) {
        if let Some((stored, entries)) = self.batches.get_mut(&batch.id) {
            if batch.state.has_ended() {
                *entries = match batch.kind {
                    BatchKind::Repush => BatchEntries::Events(Vec::new()),
                    BatchKind::Retry => BatchEntries::Deliveries(Vec::new()),
                };
            }
            *stored = batch;
        }
    }

    /// Up to so many batches that ended long ago, or were never started in time.
    pub fn old_batches(&self, request: &PruneRequest, most: usize) -> Vec<BatchId> {
        let is_old = |batch: &Batch| match batch.ended_at {
            Some(at) => at < request.closed_before,
            None => batch.state == BatchState::Pending && batch.created_at < request.requests_before,
        };
        self.batches.values().map(|(batch, _)| batch).filter(|batch| is_old(batch)).map(|batch| batch.id).take(most).collect()
    }
}

fn piece<T: Copy>(of: &[T], from: u32, limit: u32) -> Vec<T> {
    of.iter().skip(from as usize).take(limit as usize).copied().collect()
}
