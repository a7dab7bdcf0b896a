//! Random sequences of verbs on a store and on the model beside it: every answer must be the same, and in the end every read.
//!
//! Where the port leaves an order open (backlog, rescue, configuration) answers are sorted first; where it leaves open how
//! much a slice of retention takes, retention runs to its end and what was removed is compared.

/// Calls one verb on both and compares what they answer.
macro_rules! both {
    ($pair:expr, $verb:ident($($argument:expr),*)) => {{
        let model = $pair.model.$verb($($argument.clone()),*).await.map_err(failed)?;
        let store = $pair.store.$verb($($argument.clone()),*).await.map_err(failed)?;
        same(stringify!($verb), &model, &store)?;
        model
    }};
}

mod build;
mod filters;
mod jobs;
mod lookup;
mod plan;

use super::world::put_configuration;
use super::{Harness, block_on};
use crate::memory::MemoryStore;
use build::Builder;
use plan::Op;
use postrider_core::event::Namespace;
use postrider_core::health::Health;
use postrider_core::id::SubscriptionId;
use postrider_core::ports::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// How many sequences [`behaves_like_the_model`] tries.
pub const CASES: u32 = 64;

/// How many operations its longest sequences have.
pub const STEPS: usize = 60;

/// More slices than the rows of any sequence.
const MAX_SLICES: usize = 10_000;

type Checked<T = ()> = Result<T, TestCaseError>;

/// Compares the harness's stores with the model, over its [`Harness::SEQUENCES`] of up to [`STEPS`] operations.
pub fn behaves_like_the_model<H: Harness>(harness: H) {
    compare(&harness, H::SEQUENCES, STEPS);
}

/// Compares over that many sequences of up to that many operations. Panics with the shortest sequence that it finds to differ.
pub fn compare<H: Harness>(harness: &H, cases: u32, steps: usize) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&plan::sequences(steps), |ops| {
        block_on(async {
            let mut pair = Pair { model: MemoryStore::new(), store: harness.fresh().await, builder: Builder::new() };
            pair.configure(&plan::EVERY_ROUTE).await?;
            for op in ops {
                pair = pair.step(harness, op).await?;
                pair.same_counters().await?;
            }
            pair.same_everything().await
        })
    });
    if let Err(failure) = outcome {
        panic!("the store and the model differ: {failure}");
    }
}

/// The model and the store, in the same state.
struct Pair<S> {
    model: MemoryStore,
    store: S,
    builder: Builder,
}

impl<S: Store> Pair<S> {
    async fn step<H: Harness<Store = S>>(mut self, harness: &H, op: Op) -> Checked<Self> {
        match op {
            Op::Advance(secs) => self.builder.advance(secs),
            Op::Publish(plans) => {
                let events = self.builder.events(&plans);
                both!(self, publish(events));
            }
            Op::FanOut { event, deliveries, more } => {
                let slices = self.builder.slices(&self.model.dump(), event, &deliveries, more);
                both!(self, fan_out(slices));
            }
            Op::Settle(plans) => {
                let settlements: Arc<[_]> = self.builder.settlements(&self.model.dump(), &plans).into();
                both!(self, settle(settlements));
            }
            Op::Claim(plans) => {
                let requests = self.builder.claims(&plans);
                both!(self, claim(requests));
            }
            Op::Restart => {
                self.model = self.model.new_incarnation();
                self.store = harness.reopen(self.store).await;
            }
            Op::Rescue { limit } => same("rescue", &rescue(&self.model, limit).await?, &rescue(&self.store, limit).await?)?,
            Op::Replay(plans) => {
                let replays = self.builder.replays(&self.model.dump(), &plans);
                both!(self, replay(replays));
            }
            Op::Retry(picks, force) => self.retry(&picks, force).await?,
            Op::Cancel(picks) => {
                for id in self.builder.some_deliveries(&picks) {
                    both!(self, cancel(id));
                }
            }
            Op::Expired(limit) => self.expired(limit).await?,
            Op::Dismiss(picks) => {
                let (ids, now) = (self.builder.dead_letters(&self.model.dump(), &picks), self.builder.now());
                both!(self, dismiss(ids, now));
            }
            Op::Job(plan) => self.job(&plan).await?,
            Op::BeginRequest(plan) => {
                let request = self.builder.request(plan);
                both!(self, begin_request(request));
            }
            Op::EndRequest(plan) => {
                let (key, response) = self.builder.response(plan);
                both!(self, end_request(key, response));
            }
            Op::Schedule(plans) => {
                let rows = self.builder.occurrences(&plans);
                both!(self, schedule(rows));
            }
            Op::Unschedule(pick) => {
                let id = self.builder.scheduled(pick);
                for only_pending in [true, false] {
                    both!(self, unschedule(id, only_pending));
                }
            }
            Op::Fire(plans) => {
                let firings = self.builder.firings(&plans);
                both!(self, fire(firings));
            }
            Op::Prune(plan) => self.prune(plan).await?,
            Op::Configure(plans) => self.configure(&plans).await?,
            Op::Age { hours, limit } => self.age(hours, limit).await?,
            Op::Look { limit } => self.same_lists(limit).await?,
        }
        Ok(self)
    }

    async fn retry(&self, picks: &[u8], force: bool) -> Checked {
        let (ids, now) = (self.builder.some_deliveries(picks), self.builder.now());
        both!(self, retry(ids, force, now));
        Ok(())
    }

    async fn expired(&self, limit: u32) -> Checked {
        let now = self.builder.now();
        both!(self, claim_expired(now, limit, u64::MAX));
        Ok(())
    }

    async fn age(&self, hours: u8, limit: u32) -> Checked {
        let at = self.builder.now().after(Duration::from_secs(3_600 * u64::from(hours)));
        both!(self, age_health(at, limit));
        Ok(())
    }

    async fn prune(&self, plan: plan::PrunePlan) -> Checked {
        let request = self.builder.prune(plan);
        let (model, store) = (prune(&self.model, request).await?, prune(&self.store, request).await?);
        same("prune (deliveries, events, configuration, erasing)", &model, &store)
    }

    async fn configure(&mut self, plans: &[plan::ConfigPlan]) -> Checked {
        let changes = self.builder.changes(plans);
        let before = self.store.configuration_version().await.map_err(failed)?;
        // Each has versions of its own.
        put_configuration(&self.model, changes.clone()).await.map_err(failed)?;
        put_configuration(&self.store, changes).await.map_err(failed)?;
        let after = self.store.configuration_version().await.map_err(failed)?;
        if after <= before {
            return Err(TestCaseError::fail(format!("configuration_version went from {before} to {after}")));
        }
        same("configuration", &configuration(&self.model).await?, &configuration(&self.store).await?)
    }

    async fn same_counters(&self) -> Checked {
        let subscriptions = self.builder.subscriptions();
        both!(self, counters(subscriptions));
        let endpoints = self.builder.endpoints();
        both!(self, endpoint_health(endpoints));
        for namespace in self.builder.namespaces() {
            both!(self, health_summary(namespace));
            both!(self, delivery_counts(namespace));
        }
        Ok(())
    }

    /// Two pages of each list, so that the second one begins in the middle.
    async fn same_dead_letters(&self, of: SubscriptionId, limit: u32) -> Checked {
        for open_only in [false, true] {
            let first = PageRequest::first(limit);
            let page = both!(self, dead_letters(of, open_only, first));
            let second = PageRequest { after: page.next, max_bytes: 40, ..first };
            both!(self, dead_letters(of, open_only, second));
        }
        Ok(())
    }

    async fn same_scheduled(&self, namespace: Option<Namespace>, of: Option<SubscriptionId>, limit: u32) -> Checked {
        let first = PageRequest::first(limit);
        let page = both!(self, scheduled(namespace, of, first));
        let second = PageRequest { after: page.next, max_bytes: 40, ..first };
        both!(self, scheduled(namespace, of, second));
        Ok(())
    }

    /// Every list with a filter: its first page, what comes after that, and a piece that is skipped to.
    async fn same_finds(&self, limit: u32) -> Checked {
        for filter in self.builder.attempt_filters(&self.model.dump()) {
            let first = Window::first(limit);
            let found = both!(self, find_attempts(filter, first));
            let (second, skipped) = (Window { after: found.page.next, ..first }, Window { skip: 2, ..first });
            both!(self, find_attempts(filter, second));
            both!(self, find_attempts(filter, skipped));
        }
        for filter in self.builder.delivery_filters(&self.model.dump()) {
            let first = Window::first(limit);
            let found = both!(self, find_deliveries(filter, first));
            let (second, skipped) = (Window { after: found.page.next, ..first }, Window { skip: 2, ..first });
            both!(self, find_deliveries(filter, second));
            both!(self, find_deliveries(filter, skipped));
            both!(self, delivery_ids(filter, skipped));
            both!(self, page_of_deliveries(filter, second));
        }
        for filter in self.builder.event_filters() {
            let first = PageRequest::first(limit);
            let found = both!(self, find_events(filter, first));
            let second = PageRequest { after: found.page.next, max_bytes: 40, ..first };
            both!(self, find_events(filter, second));
            both!(self, page_of_events(filter, second));
        }
        for filter in self.builder.dead_letter_filters() {
            let first = Window::first(limit);
            let found = both!(self, find_dead_letters(filter, first));
            let second = Window { after: found.page.next, skip: 1, ..first };
            both!(self, find_dead_letters(filter, second));
            both!(self, page_of_dead_letters(filter, second));
        }
        Ok(())
    }

    async fn same_last(&self) -> Checked {
        let (endpoints, subscriptions) = (LastOf::Endpoints(self.builder.endpoints()), LastOf::Subscriptions(self.builder.subscriptions()));
        both!(self, last_ended(endpoints));
        both!(self, last_ended(subscriptions));
        Ok(())
    }

    async fn same_health(&self, limit: u32) -> Checked {
        for (namespace, health) in self.builder.namespaces().into_iter().flat_map(|of| Health::ALL.map(|health| (of.clone(), health))) {
            let first = Window::first(limit);
            let found = both!(self, endpoints_by_health(namespace, health, first));
            let (second, skipped) = (Window { after: found.page.next, ..first }, Window { skip: 1, ..first });
            both!(self, endpoints_by_health(namespace, health, second));
            both!(self, endpoints_by_health(namespace, health, skipped));
        }
        Ok(())
    }

    async fn same_lists(&self, limit: u32) -> Checked {
        self.same_last().await?;
        for subscription in self.builder.subscriptions() {
            both!(self, attempts(subscription, limit));
            self.same_dead_letters(subscription, limit).await?;
            for namespace in self.builder.namespaces() {
                self.same_scheduled(namespace.clone(), Some(subscription), limit).await?;
                self.same_scheduled(namespace, None, limit).await?;
            }
        }
        self.same_finds(limit).await?;
        self.same_lookups(limit).await?;
        self.same_jobs(limit).await?;
        self.same_health(limit).await?;
        let max_bytes = if limit == u32::MAX { u64::MAX } else { u64::from(limit) * 64 };
        both!(self, unfinished_fan_outs(SlotSet::ALL, limit, max_bytes));
        let some: SlotSet = Slot::all().filter(|slot| slot.0 % 3 == 0).collect();
        both!(self, unfinished_fan_outs(some, limit, max_bytes));
        let now = self.builder.now();
        both!(self, due_scheduled(now, limit, max_bytes));
        same("backlog", &backlog(&self.model).await?, &backlog(&self.store).await?)
    }

    /// Everything that can be read about everything that ever was.
    async fn same_everything(&self) -> Checked {
        for limit in [1, 3, u32::MAX] {
            self.same_lists(limit).await?;
        }
        for id in &self.builder.known.events {
            both!(self, event(id));
        }
        for id in &self.builder.known.deliveries {
            both!(self, delivery(id));
            for namespace in self.builder.namespaces() {
                both!(self, delivery_row(id, namespace));
                both!(self, attempts_of(id, namespace, 2));
                both!(self, whole_attempts(id, namespace, 2, 3));
            }
        }
        both!(self, next_expiry());
        for id in &self.builder.known.attempts {
            for namespace in self.builder.namespaces() {
                both!(self, attempt(id, namespace));
            }
        }
        let seqs: Vec<_> = self.model.dump().events.iter().map(|event| event.seq).collect();
        both!(self, event_counts(seqs));
        for event in self.model.dump().events {
            for namespace in self.builder.namespaces() {
                let seq = event.seq;
                both!(self, event_by_seq(seq, namespace));
            }
        }
        for id in &self.builder.known.dead_letters {
            both!(self, dead_letter(id));
        }
        for namespace in self.builder.namespaces() {
            let ids = &self.builder.known.dead_letters;
            both!(self, open_letters(ids, namespace));
        }
        for id in &self.builder.known.scheduled {
            both!(self, scheduled_one(id));
        }
        same("configuration", &configuration(&self.model).await?, &configuration(&self.store).await?)
    }
}

async fn rescue(store: &impl Store, limit: u32) -> Checked<Vec<Claimed>> {
    let mut rescued = Vec::new();
    for _ in 0..MAX_SLICES {
        let slice = store.rescue(limit).await.map_err(failed)?;
        if slice.is_empty() {
            rescued.sort_by_key(|claimed: &Claimed| claimed.delivery.id);
            return Ok(rescued);
        }
        if slice.len() > limit as usize {
            return Err(TestCaseError::fail(format!("rescue answered {} deliveries, more than {limit}", slice.len())));
        }
        rescued.extend(slice);
    }
    Err(TestCaseError::fail("rescue did not come to an end"))
}

/// Deliveries, events and configuration removed, and whether there is more to erase. Whether attempts count that go with their delivery is
/// each store's own matter.
async fn prune(store: &impl Store, request: PruneRequest) -> Checked<(u64, u64, u64, bool)> {
    let mut sum = (0, 0, 0, false);
    for _ in 0..MAX_SLICES {
        let slice = store.prune(request).await.map_err(failed)?;
        sum = (sum.0 + slice.deliveries, sum.1 + slice.events, sum.2 + slice.configuration, slice.erasing);
        if !slice.more {
            return Ok(sum);
        }
    }
    Err(TestCaseError::fail("prune did not come to an end"))
}

async fn backlog(store: &impl Store) -> Checked<Vec<Backlog>> {
    let mut backlog = store.backlog().await.map_err(failed)?;
    backlog.sort_by_key(|entry| entry.endpoint);
    Ok(backlog)
}

/// Without the version, whose steps are each store's own matter.
async fn configuration(store: &impl Store) -> Checked<Configuration> {
    let mut configuration = store.configuration().await.map_err(failed)?;
    let Configuration { version, endpoints, subscriptions, keys, event_types } = &mut configuration;
    *version = 0;
    endpoints.sort_by_key(|endpoint| endpoint.id);
    subscriptions.sort_by_key(|subscription| subscription.id);
    keys.sort_by_key(|key| key.id);
    event_types.sort_by_key(|of| (of.namespace.clone(), of.name.clone()));
    Ok(configuration)
}

fn failed(error: StoreError) -> TestCaseError {
    TestCaseError::fail(format!("a verb failed: {error} ({})", error.cause))
}

/// Compares what is printed: most answers are no `PartialEq`, and their `Debug` shows every field.
fn same<T: Debug>(what: &str, model: &T, store: &T) -> Checked {
    let (model, store) = (format!("{model:?}"), format!("{store:?}"));
    if model == store {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{what} differs\nmodel: {model}\nstore: {store}")))
}
