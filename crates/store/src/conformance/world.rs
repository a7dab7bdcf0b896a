//! The store under test, with what a case needs around it.

use super::{Fixtures, Harness, Route};
use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::delivery::{Progress, State};
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A store under test. It remembers what went in through it, so that the counters can be compared with a recount.
pub struct World<H: Harness> {
    // Before the harness, which may own the directory that the store lives in.
    store: Option<H::Store>,
    harness: H,
    /// Builds what goes in.
    pub make: Fixtures,
    deliveries: BTreeSet<DeliveryId>,
    subscriptions: BTreeSet<SubscriptionId>,
    /// Attempts that succeeded and that failed, over the lifetime.
    attempts: BTreeMap<SubscriptionId, (u64, u64)>,
}

/// Puts configuration over the newest version; answers the version that it makes. Nobody else is to write meanwhile.
pub async fn put_configuration(store: &impl Store, changes: Vec<ConfigChange>) -> Result<i64, StoreError> {
    let before = store.configuration_version().await?;
    match store.configure(before, changes).await? {
        Configured::Stored { version } => Ok(version),
        Configured::Conflict => panic!("nobody else changes the configuration, and version {before} is not the newest one"),
    }
}

impl<H: Harness> World<H> {
    /// With an empty store.
    pub async fn fresh(harness: H) -> Self {
        World {
            store: Some(harness.fresh().await),
            harness,
            make: Fixtures::new(7),
            deliveries: BTreeSet::new(),
            subscriptions: BTreeSet::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// The store.
    pub fn store(&self) -> &H::Store {
        self.store.as_ref().expect("it is gone only while it is reopened")
    }

    /// Crashes and restarts it.
    pub async fn reopen(&mut self) {
        if let Some(store) = self.store.take() {
            self.store = Some(self.harness.reopen(store).await);
        }
    }

    /// Puts an empty store with a budget in the place of what there was.
    pub async fn restart_with_budget(&mut self, bytes: u64) {
        assert!(self.deliveries.is_empty(), "nothing is remembered of what was in it");
        drop(self.store.take());
        self.store = Some(self.harness.fresh_with_budget(bytes).await);
    }

    /// Remembers deliveries that a case has stored past the book-keeping.
    pub fn know(&mut self, deliveries: &[NewDelivery]) {
        self.remember(deliveries);
    }

    // ---- verbs, with book-keeping --------------------------------------------------------------------------------

    /// Publishes.
    pub async fn publish(&mut self, events: Vec<NewEvent>) -> Vec<Published> {
        let deliveries: Vec<Vec<NewDelivery>> = events.iter().map(|event| event.deliveries.clone()).collect();
        let answers = self.store().publish(events).await.expect("publish");
        assert_eq!(answers.len(), deliveries.len(), "one answer for each event");
        for (answer, deliveries) in answers.iter().zip(deliveries) {
            if matches!(answer, Published::Stored(_)) {
                self.remember(&deliveries);
            }
        }
        answers
    }

    /// Publishes one event that must be stored.
    pub async fn publish_one(&mut self, event: NewEvent) -> EventSeq {
        match self.publish(vec![event]).await[..] {
            [Published::Stored(seq)] => seq,
            ref other => panic!("the event should be stored, but: {other:?}"),
        }
    }

    /// A route that is configured: an active endpoint, and a subscription to it of the Tasks API.
    pub async fn configured(&mut self) -> Route {
        let endpoint = self.make.endpoint();
        let subscription = self.make.subscription(&endpoint);
        let route = Route { subscription: subscription.id, endpoint: endpoint.id };
        self.configure(vec![ConfigChange::Endpoint(endpoint), ConfigChange::Subscription(subscription)]).await.expect("configure");
        route
    }

    /// Publishes an event with one claimed delivery for the route.
    pub async fn claimed(&mut self, route: Route) -> DeliveryId {
        let event = self.make.claimed_event_for(&[route]);
        let id = event.deliveries[0].id;
        self.publish_one(event).await;
        id
    }

    /// Publishes an event with one unclaimed delivery for the route.
    pub async fn unclaimed(&mut self, route: Route) -> DeliveryId {
        let event = self.make.event_for(&[route]);
        let id = event.deliveries[0].id;
        self.publish_one(event).await;
        id
    }

    /// Stores slices of fan-outs that must be stored.
    pub async fn fan_out(&mut self, slices: Vec<FanOutSlice>) {
        let answers = self.offer(slices).await;
        assert!(answers.iter().all(|answer| *answer == Sliced::Stored), "{answers:?}");
    }

    /// Has slices of fan-outs stored, or not.
    pub async fn offer(&mut self, slices: Vec<FanOutSlice>) -> Vec<Sliced> {
        let deliveries: Vec<Vec<NewDelivery>> = slices.iter().map(|slice| slice.deliveries.clone()).collect();
        let answers = self.store().fan_out(slices).await.expect("fan_out");
        assert_eq!(answers.len(), deliveries.len(), "one answer for each slice");
        for (_, deliveries) in answers.iter().zip(&deliveries).filter(|(answer, _)| **answer == Sliced::Stored) {
            self.remember(deliveries);
        }
        answers
    }

    /// Settles.
    pub async fn settle(&mut self, settlements: Vec<Settlement>) -> Vec<Settled> {
        let answers = self.store().settle(settlements.as_slice().into()).await.expect("settle");
        assert_eq!(answers.len(), settlements.len(), "one answer for each settlement");
        for (settlement, _) in settlements.iter().zip(&answers).filter(|(_, answer)| **answer != Settled::Fenced) {
            if let Some(outcome) = settlement.attempt.as_ref().and_then(|attempt| attempt.outcome.as_ref()) {
                let (succeeded, failed) = self.attempts.entry(settlement.subscription).or_default();
                *(if outcome.error.is_none() { succeeded } else { failed }) += 1;
            }
            if let Some(event) = &settlement.follow_up {
                self.remember(&event.deliveries);
            }
        }
        answers
    }

    /// Settles one that must be stored.
    pub async fn settle_one(&mut self, settlement: Settlement) {
        let answers = self.settle(vec![settlement.clone()]).await;
        assert_eq!(answers, [Settled::Stored], "{settlement:?}");
    }

    /// Claims for one endpoint whatever is due by then.
    pub async fn claim(&self, endpoint: EndpointId, due_by: Timestamp) -> ClaimBatch {
        self.claim_some(ClaimRequest { endpoint, due_by, limit: 10_000, max_bytes: u64::MAX }).await
    }

    /// Claims for one endpoint.
    pub async fn claim_some(&self, request: ClaimRequest) -> ClaimBatch {
        let mut batches = self.store().claim(vec![request]).await.expect("claim");
        assert_eq!(batches.len(), 1, "one batch for each request");
        let batch = batches.remove(0);
        assert_eq!(batch.endpoint, request.endpoint);
        batch
    }

    /// Replays one.
    pub async fn replay(&mut self, target: ReplayTarget, claim: bool) -> Replayed {
        self.replay_one(Replay { target, keep_dead_letter: false, claim, at: self.make.now() }).await
    }

    /// Replays one delivery, whose dead letter stays open.
    pub async fn replay_keeping(&mut self, id: DeliveryId) -> Replayed {
        let target = ReplayTarget::Delivery(id);
        self.replay_one(Replay { target, keep_dead_letter: true, claim: true, at: self.make.now() }).await
    }

    async fn replay_one(&mut self, replay: Replay) -> Replayed {
        let mut answers = self.store().replay(vec![replay]).await.expect("replay");
        assert_eq!(answers.len(), 1, "one answer for each replay");
        let answer = answers.remove(0);
        self.deliveries.extend(answer.delivery());
        answer
    }

    /// Fires.
    pub async fn fire(&mut self, firings: Vec<Firing>) -> Vec<Fired> {
        let deliveries: Vec<Vec<NewDelivery>> =
            firings.iter().map(|firing| firing.event.as_ref().map(|event| event.deliveries.clone()).unwrap_or_default()).collect();
        let answers = self.store().fire(firings).await.expect("fire");
        assert_eq!(answers.len(), deliveries.len(), "one answer for each firing");
        for (answer, deliveries) in answers.iter().zip(deliveries) {
            if matches!(answer, Fired::Stored(_)) {
                self.remember(&deliveries);
            }
        }
        answers
    }

    /// Puts configuration over the newest version.
    pub async fn configure(&self, changes: Vec<ConfigChange>) -> Result<i64, StoreError> {
        put_configuration(self.store(), changes).await
    }

    /// Prunes slice by slice until there is no more, and answers the sum.
    pub async fn prune(&self, request: PruneRequest) -> Pruned {
        let mut sum = Pruned::default();
        for _ in 0..10_000 {
            let slice = self.store().prune(request).await.expect("prune");
            sum.attempts += slice.attempts;
            sum.bodies += slice.bodies;
            sum.deliveries += slice.deliveries;
            sum.events += slice.events;
            sum.closed += slice.closed;
            sum.requests += slice.requests;
            sum.configuration += slice.configuration;
            sum.erasing = slice.erasing;
            if !slice.more {
                return sum;
            }
        }
        panic!("10,000 slices did not bring retention to an end; so far {sum:?}");
    }

    /// Leaves a subscription out of the recount: its counters are gone, or hidden.
    pub fn forget(&mut self, subscription: SubscriptionId) {
        self.subscriptions.remove(&subscription);
        self.attempts.remove(&subscription);
    }

    fn remember(&mut self, deliveries: &[NewDelivery]) {
        for delivery in deliveries {
            self.deliveries.insert(delivery.id);
            self.subscriptions.insert(delivery.subscription);
        }
    }

    // ---- a delivery's way ----------------------------------------------------------------------------------------

    /// A delivery that must be there.
    pub async fn view(&self, id: DeliveryId) -> DeliveryView {
        self.store().delivery(id).await.expect("delivery").expect("the delivery is there")
    }

    /// Where it stands.
    pub async fn state(&self, id: DeliveryId) -> State {
        self.view(id).await.delivery.progress.state
    }

    /// What an engine would settle when the delivery comes to that state with that outcome of its open or next attempt.
    pub async fn settlement(&mut self, id: DeliveryId, state: State, outcome: Option<Outcome>) -> Settlement {
        let view = self.view(id).await;
        let from = view.delivery.progress;
        let open = view.attempts.into_iter().find(|attempt| attempt.outcome.is_none());
        let attempt_recorded = open.is_some();
        let attempt = open.unwrap_or_else(|| self.make.attempt(&view.delivery));
        let progress = Progress { state, attempts: attempt.number, spent: attempt.number, expires_at: from.expires_at };
        Settlement {
            delivery: id,
            namespace: view.delivery.namespace.clone(),
            subscription: view.delivery.subscription,
            from: from.state.kind(),
            progress,
            attempt: Some(Attempt { outcome, ..attempt }),
            attempt_recorded,
            keep_claim: true,
            dead_letter: None,
            follow_up: None,
        }
    }

    /// Begins an attempt of a claimed delivery and records it as under way.
    pub async fn begin(&mut self, id: DeliveryId) -> Attempt {
        let settlement = self.settlement(id, State::Sending, None).await;
        self.settle_one(settlement.clone()).await;
        settlement.attempt.expect("a settlement with an attempt")
    }

    /// Ends a claimed delivery in success.
    pub async fn succeed(&mut self, id: DeliveryId) {
        let outcome = self.make.success();
        let settlement = self.settlement(id, State::Succeeded, Some(outcome)).await;
        self.settle_one(settlement).await;
    }

    /// Fails an attempt of a claimed delivery; another is due at that time.
    pub async fn retry(&mut self, id: DeliveryId, due_at: Timestamp, keep_claim: bool) {
        let outcome = self.make.failure();
        let settlement = self.settlement(id, State::Retrying { due_at }, Some(outcome)).await;
        self.settle_one(Settlement { keep_claim, ..settlement }).await;
    }

    /// Ends a claimed delivery in failure, with a dead letter.
    pub async fn fail(&mut self, id: DeliveryId) -> DeadLetterId {
        let new = DeadLetterId::new(self.make.uuid());
        self.fail_as(id, new).await;
        new
    }

    /// Ends a claimed delivery in failure, with a dead letter of that id.
    pub async fn fail_as(&mut self, id: DeliveryId, new: DeadLetterId) {
        let outcome = self.make.failure();
        let code = ErrorCode::ConnectionRefused;
        let settlement = self.settlement(id, State::Failed(code), Some(outcome)).await;
        let dead_letter = NewDeadLetter { id: new, code, message: "maximum retries exceeded".to_owned(), at: self.make.now() };
        self.settle_one(Settlement { dead_letter: Some(dead_letter), ..settlement }).await;
    }

    // ---- checks --------------------------------------------------------------------------------------------------

    /// Counters of one subscription.
    pub async fn counters(&self, of: SubscriptionId) -> Counters {
        self.store().counters(vec![of]).await.expect("counters")[0]
    }

    /// Compares the kept counters with what is there (deliveries, dead letters) and what was ever settled (attempts).
    pub async fn assert_counted(&self) {
        let mut expected: BTreeMap<SubscriptionId, Counters> = self.subscriptions.iter().map(|id| (*id, Counters::default())).collect();
        for &id in &self.deliveries {
            if let Some(view) = self.store().delivery(id).await.expect("delivery") {
                let counters = expected.entry(view.delivery.subscription).or_default();
                counters.deliveries[view.delivery.progress.state.kind() as usize] += 1;
            }
        }
        for (id, counters) in &mut expected {
            (counters.attempts_succeeded, counters.attempts_failed) = self.attempts.get(id).copied().unwrap_or_default();
            let letters = self.store().dead_letters(*id, true, PageRequest::first(u32::MAX)).await.expect("dead_letters");
            counters.dead_letters = letters.items.len() as u64;
        }
        let ids: Vec<SubscriptionId> = expected.keys().copied().collect();
        let kept = self.store().counters(ids.clone()).await.expect("counters");
        let kept: BTreeMap<SubscriptionId, Counters> = ids.into_iter().zip(kept).collect();
        assert_eq!(kept, expected, "kept counters (left) and a recount (right)");
        self.assert_listed().await;
    }

    /// Compares the lists of all deliveries and of all attempts with what is there, and every total with its list.
    async fn assert_listed(&self) {
        let (mut expected, mut there) = (Vec::new(), Vec::new());
        for &id in &self.deliveries {
            let view = self.store().delivery(id).await.expect("delivery");
            there.extend(view.is_some().then_some(id));
            expected.extend(view.into_iter().flat_map(|view| view.attempts).map(|attempt| attempt.id));
        }
        expected.sort_by_key(|id| std::cmp::Reverse(*id));
        let found = self.find_attempts(AttemptFilter::default(), Window::first(u32::MAX)).await;
        let listed: Vec<AttemptId> = found.page.items.iter().map(|row| row.id).collect();
        assert_eq!((found.total, listed), (expected.len() as u64, expected), "the list of attempts (left) and a recount (right)");
        there.reverse();
        let found = self.find_deliveries(DeliveryFilter::default(), Window::first(u32::MAX)).await;
        let listed: Vec<DeliveryId> = found.page.items.iter().map(|row| row.delivery.id).collect();
        assert_eq!((found.total, listed), (there.len() as u64, there), "the list of deliveries (left) and a recount (right)");
        let found = self.find_dead_letters(DeadLetterFilter::default(), Window::first(u32::MAX)).await;
        assert_eq!(found.total, found.page.items.len() as u64, "open dead letters");
        let found = self.find_events(EventFilter::default(), PageRequest::first(u32::MAX)).await;
        assert_eq!(found.total, found.page.items.len() as u64, "events");
    }

    // ---- lists ---------------------------------------------------------------------------------------------------

    /// Attempts.
    pub async fn find_attempts(&self, filter: AttemptFilter, window: Window<AttemptId>) -> Found<AttemptRow, AttemptId> {
        self.store().find_attempts(filter, window).await.expect("find_attempts")
    }

    /// Deliveries.
    pub async fn find_deliveries(&self, filter: DeliveryFilter, window: Window<DeliveryId>) -> Found<DeliveryRow, DeliveryId> {
        self.store().find_deliveries(filter, window).await.expect("find_deliveries")
    }

    /// Open dead letters.
    pub async fn find_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> Found<DeadLetterRow, DeadLetterPlace> {
        self.store().find_dead_letters(filter, window).await.expect("find_dead_letters")
    }

    /// Events.
    pub async fn find_events(&self, filter: EventFilter, page: PageRequest<EventPlace>) -> Found<EventRow, EventPlace> {
        self.store().find_events(filter, page).await.expect("find_events")
    }
}
