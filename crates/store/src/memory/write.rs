//! The verbs that carry an event on its way. `me` is the incarnation of the handle that asks.

use super::data::{Data, DeliveryRow, EventRow};
use postrider_core::attempt::Attempt;
use postrider_core::deadletter::{DeadLetter, DeadLetterStatus};
use postrider_core::delivery::{self, Delivery, Progress, State, StateKind, Step};
use postrider_core::error::ErrorCode;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use std::sync::Arc;

impl Data {
    pub fn publish(&mut self, new: NewEvent, me: u64) -> Published {
        let key = new.idempotency_key.clone().map(|key| (new.namespace.clone(), key));
        if let Some(&seq) = key.and_then(|key| self.idempotency_keys.get(&key)) {
            let id = self.events.get(&seq).expect("a key goes with its event").event.id;
            return Published::Duplicate { id, seq, first: self.first_delivery(seq) };
        }
        let seq = self.next_seq();
        self.add_deliveries(seq, &new.namespace, new.created_at, &new.deliveries, me);
        let event = Arc::new(Event {
            seq,
            id: new.id,
            namespace: new.namespace,
            event_type: new.event_type,
            payload: new.payload,
            labels: new.labels,
            metadata: new.metadata,
            idempotency_key: new.idempotency_key,
            ttl: new.ttl,
            schema_check: new.schema_check,
            created_at: new.created_at,
        });
        self.put_event(EventRow { event, skipped: new.skipped, fan_out_after: new.fan_out_after });
        Published::Stored(seq)
    }

    fn first_delivery(&self, of: EventSeq) -> Option<FirstDelivery> {
        let delivery = self.deliveries_of(of).find_map(|id| self.seen(id))?;
        Some(FirstDelivery { id: delivery.id, subscription: delivery.subscription, state: delivery.progress.state.kind() })
    }

    pub fn fan_out(&mut self, slice: FanOutSlice, me: u64) -> Sliced {
        let Some(row) = self.events.get_mut(&slice.event).filter(|row| row.fan_out_after == Some(slice.from)) else { return Sliced::Gone };
        row.fan_out_after = slice.fan_out_after;
        self.add_deliveries(slice.event, &slice.namespace, slice.created_at, &slice.deliveries, me);
        Sliced::Stored
    }

    fn add_deliveries(&mut self, event: EventSeq, namespace: &Namespace, created_at: Timestamp, new: &[NewDelivery], me: u64) {
        for new in new {
            // Planned before its endpoint was erased: nobody may see it any more.
            if self.is_erased(new.endpoint) {
                continue;
            }
            let delivery = Delivery {
                id: new.id,
                event,
                namespace: namespace.clone(),
                subscription: new.subscription,
                endpoint: new.endpoint,
                progress: Progress::new(created_at, new.expires_at),
                created_at,
                last_attempt_at: None,
            };
            let claim = new.claimed.then_some(me);
            self.put_delivery(DeliveryRow { delivery, claim, cancel_wanted: false, keeps_rows: new.keeps_rows });
        }
    }

    pub fn settle(&mut self, settlement: &Settlement, me: u64) -> Settled {
        let is_ours = |row: &&DeliveryRow| row.claim == Some(me) && row.delivery.progress.state.kind() == settlement.from;
        let Some(row) = self.deliveries.get(&settlement.delivery).filter(is_ours) else { return Settled::Fenced };
        match Some(settlement).filter(|_| row.cancel_wanted).and_then(Settlement::called_off) {
            Some(ended) => {
                self.settle_as_it_is(&ended, me);
                Settled::CalledOff
            }
            None => {
                self.settle_as_it_is(settlement, me);
                Settled::Stored
            }
        }
    }

    fn settle_as_it_is(&mut self, settlement: &Settlement, me: u64) {
        let mut row = self.take_delivery(settlement.delivery).expect("it was there a moment ago");
        let subscription = row.delivery.subscription;
        let state = settlement.progress.state;
        row.delivery.progress = settlement.progress;
        // What is being sent is in somebody's memory by definition.
        let keep = !state.kind().is_resting() && (settlement.keep_claim || state == State::Sending);
        row.claim = row.claim.filter(|_| keep);
        if let Some(attempt) = &settlement.attempt {
            row.delivery.last_attempt_at = Some(attempt.started_at);
            if let Some(outcome) = &attempt.outcome {
                let counters = self.counters_of(subscription);
                match outcome.error {
                    None => counters.attempts_succeeded += 1,
                    Some(_) => counters.attempts_failed += 1,
                }
            }
            self.observe(settlement.delivery, attempt);
            self.put_attempt(Attempt { delivery: settlement.delivery, ..attempt.clone() });
        }
        self.put_delivery(row);
        if settlement.closes_dead_letter() {
            self.retry_open_dead_letter(settlement.delivery, settlement.at());
        }
        if let Some(new) = &settlement.dead_letter {
            let dead_letter = DeadLetter {
                id: new.id,
                delivery: settlement.delivery,
                code: new.code,
                message: new.message.clone(),
                attempts: settlement.progress.attempts,
                failed_at: new.at,
                status: DeadLetterStatus::Open,
            };
            self.open_dead_letter(dead_letter, subscription);
        }
        if let Some(event) = &settlement.follow_up {
            self.publish(NewEvent::clone(event), me);
        }
    }

    pub fn cancel(&mut self, id: DeliveryId) -> Cancelled {
        let Some(&Delivery { endpoint, progress, .. }) = self.seen(id) else { return Cancelled::NotFound };
        if progress.state.kind().is_resting() {
            return Cancelled::Ended(progress.state.kind());
        }
        let is_held = self.claimed.contains(&id);
        let ended = delivery::transition(progress, Step::Cancel(ErrorCode::CancelledByHand)).ok().filter(|_| !is_held);
        let mut row = self.take_delivery(id).expect("it was there a moment ago");
        row.cancel_wanted = ended.is_none();
        row.delivery.progress = ended.unwrap_or(progress);
        self.put_delivery(row);
        if ended.is_some() { Cancelled::AtOnce(endpoint) } else { Cancelled::AfterAttempt }
    }

    pub fn replay(&mut self, replay: Replay, me: u64) -> Replayed {
        let claim = replay.claim.then_some(me);
        match replay.target {
            ReplayTarget::Delivery(id) => {
                // Nothing is changed of a delivery whose endpoint was erased.
                if !replay.keep_dead_letter && self.seen(id).is_some() {
                    self.retry_open_dead_letter(id, Some(replay.at));
                }
                self.replay_delivery(id, claim, replay.at)
            }
            ReplayTarget::DeadLetterAsNew { dead_letter, new } => self.replay_dead_letter(dead_letter, new, claim, replay.at),
        }
    }

    /// The open dead letter of a delivery, if it has one, was retried as that delivery.
    fn retry_open_dead_letter(&mut self, of: DeliveryId, at: Option<Timestamp>) {
        let Some(&open) = self.open_dead_letters.get(&of) else { return };
        let Some(at) = at.or_else(|| Some(self.dead_letters.get(&open)?.dead_letter.failed_at)) else { return };
        self.close_dead_letter(open, DeadLetterStatus::Retried(of), at);
    }

    fn replay_delivery(&mut self, id: DeliveryId, claim: Option<u64>, at: Timestamp) -> Replayed {
        let Some(seen) = self.seen(id) else { return Replayed::NotFound };
        let progress = match delivery::transition(seen.progress, Step::Replay { at }) {
            Ok(progress) => progress,
            Err(refused) => return Replayed::NotResting(refused.from),
        };
        let mut row = self.take_delivery(id).expect("it was there a moment ago");
        row.delivery.progress = progress;
        row.claim = claim;
        row.cancel_wanted = false;
        self.queue(row, at)
    }

    /// Puts a delivery that is pending again, and hands it over where it is claimed.
    fn queue(&mut self, row: DeliveryRow, at: Timestamp) -> Replayed {
        let Delivery { id, endpoint, ref progress, .. } = row.delivery;
        let again = Requeued { delivery: id, endpoint, due_at: progress.state.due_at().unwrap_or(at) };
        let claimed = row.claim.map(|_| self.hand_over(&row.delivery));
        self.put_delivery(row);
        claimed.map_or(Replayed::Queued(again), |claimed| Replayed::Claimed(Box::new(claimed)))
    }

    /// Makes the delivery of an open dead letter again, if that rests.
    pub fn replay_letter(&mut self, id: DeadLetterId, at: Timestamp) -> Replayed {
        let delivery = match self.delivery_of_open(id) {
            Ok(delivery) => delivery,
            Err(answer) => return answer,
        };
        let kind = delivery.progress.state.kind();
        if !kind.is_resting() {
            return Replayed::NotResting(kind);
        }
        self.close_dead_letter(id, DeadLetterStatus::Retried(delivery.id), at);
        self.replay_delivery(delivery.id, None, at)
    }

    fn delivery_of_open(&self, id: DeadLetterId) -> Result<Delivery, Replayed> {
        let letter = &self.dead_letters.get(&id).ok_or(Replayed::NotFound)?.dead_letter;
        match letter.status {
            DeadLetterStatus::Open => self.seen(letter.delivery).cloned().ok_or(Replayed::NotFound),
            DeadLetterStatus::Retried(as_delivery) => Err(Replayed::AlreadyClosed(Some(as_delivery))),
            DeadLetterStatus::Dismissed => Err(Replayed::AlreadyClosed(None)),
        }
    }

    fn replay_dead_letter(&mut self, id: DeadLetterId, new: DeliveryId, claim: Option<u64>, at: Timestamp) -> Replayed {
        let ended = match self.delivery_of_open(id) {
            Ok(delivery) => delivery,
            Err(answer) => return answer,
        };
        // Like a replay of the delivery itself it has a fresh budget and no time to live.
        let keeps_rows = self.keeps_rows(ended.id);
        let delivery = Delivery { id: new, progress: Progress::new(at, None), created_at: at, last_attempt_at: None, ..ended };
        self.close_dead_letter(id, DeadLetterStatus::Retried(new), at);
        self.queue(DeliveryRow { delivery, claim, cancel_wanted: false, keeps_rows }, at)
    }

    pub fn retry(&mut self, id: DeliveryId, force: bool, at: Timestamp) -> Retried {
        let Some(&Delivery { endpoint, subscription, progress, .. }) = self.seen(id) else { return Retried::NotFound };
        let state = progress.state;
        let is_wanted = match state {
            State::Sending => return Retried::Held { delivery: id, endpoint, state: StateKind::Sending },
            State::Cancelled(code) => code == ErrorCode::CancelledByHand,
            State::Succeeded => force,
            State::Pending { .. } | State::Retrying { .. } | State::Failed(_) | State::Expired => true,
        };
        if !is_wanted || !self.has_receiver(subscription, endpoint, state.kind()) {
            return Retried::Refused(state.kind());
        }
        let Some(due_at) = state.due_at() else {
            self.retry_open_dead_letter(id, Some(at));
            return match self.replay_delivery(id, None, at) {
                Replayed::Queued(again) => Retried::Queued(again),
                // It was there and at rest a line ago, and nobody claims it.
                _ => Retried::NotFound,
            };
        };
        let is_held = self.claimed.contains(&id);
        self.hasten_row(id, at);
        if is_held {
            return Retried::Held { delivery: id, endpoint, state: state.kind() };
        }
        Retried::Queued(Requeued { delivery: id, endpoint, due_at: due_at.min(at) })
    }

    /// Whether there is still somebody to send a delivery in this state to: as an engine finds its route.
    fn has_receiver(&self, subscription: SubscriptionId, endpoint: EndpointId, state: StateKind) -> bool {
        let has_endpoint = self.endpoints.get(&endpoint).is_some_and(|endpoint| endpoint.deleted.is_none());
        // What waits for a deleted binding is still delivered.
        let delivers = |s: &Subscription| s.deleted_at.is_none() || (s.origin == Origin::Items && !state.is_resting());
        has_endpoint && self.subscriptions.get(&subscription).is_some_and(delivers)
    }

    pub fn hasten(&mut self, id: DeliveryId, at: Timestamp) -> Option<EndpointId> {
        self.seen(id)?;
        if self.claimed.contains(&id) {
            return None;
        }
        self.hasten_row(id, at)
    }

    /// Makes a delivery that waits due by then, whoever has it; its endpoint, if it waits.
    fn hasten_row(&mut self, id: DeliveryId, at: Timestamp) -> Option<EndpointId> {
        let progress = delivery::transition(self.deliveries.get(&id)?.delivery.progress, Step::Hasten { at }).ok()?;
        let mut row = self.take_delivery(id)?;
        row.delivery.progress = progress;
        row.cancel_wanted = false;
        let endpoint = row.delivery.endpoint;
        self.put_delivery(row);
        Some(endpoint)
    }

    pub fn dismiss(&mut self, id: DeadLetterId, at: Timestamp) -> bool {
        let is_seen = self.dead_letters.get(&id).is_some_and(|row| self.seen(row.dead_letter.delivery).is_some());
        is_seen && self.close_dead_letter(id, DeadLetterStatus::Dismissed, at)
    }

    pub fn schedule(&mut self, rows: Vec<Scheduled>) {
        self.scheduled.extend(rows.into_iter().map(|row| (row.id, row)));
    }

    pub fn unschedule(&mut self, id: ScheduledId, only_pending: bool) -> bool {
        let goes = |row: &Scheduled| !only_pending || row.status == ScheduledStatus::Pending;
        self.scheduled.get(&id).is_some_and(goes) && self.scheduled.remove(&id).is_some()
    }

    pub fn fire(&mut self, firing: Firing, me: u64) -> Fired {
        let is_pending = |row: &Scheduled| row.status == ScheduledStatus::Pending;
        if !self.scheduled.get(&firing.id).is_some_and(is_pending) {
            return Fired::Gone;
        }
        let seq = firing.event.map(|event| match self.publish(event, me) {
            Published::Stored(seq) | Published::Duplicate { seq, .. } => seq,
        });
        // An event without any delivery leaves nothing that the occurrence could name.
        let status = match seq.and_then(|seq| self.first_delivery(seq)) {
            Some(delivery) => ScheduledStatus::Completed(delivery.id),
            None => ScheduledStatus::Failed,
        };
        if let Some(row) = self.scheduled.get_mut(&firing.id) {
            row.status = status;
            row.updated_at = firing.at;
        }
        self.schedule(firing.next.into_iter().collect());
        seq.map_or(Fired::Failed, Fired::Stored)
    }
}
