//! Turns plans into arguments that make sense at the time, most of them; some are refused, and must be refused alike.

use super::super::{Fixtures, Route};
use super::plan::*;
use crate::memory::Dump;
use bytes::Bytes;
use postrider_core::attempt::{Attempt, AttemptError, Outcome};
use postrider_core::delivery::{Delivery, Progress, State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::event::{Namespace, SchemaCheck, SkipReason, Skipped};
use postrider_core::id::*;
use postrider_core::key::ApiKey;
use postrider_core::ports::*;
use postrider_core::schedule::Scheduled;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Builds arguments, and remembers the ids of everything that it ever built.
pub struct Builder {
    make: Fixtures,
    pub(super) routes: Vec<Route>,
    endpoints: Vec<Endpoint>,
    configured: Vec<Subscription>,
    keys: Vec<ApiKey>,
    pub known: Known,
}

#[derive(Default)]
pub struct Known {
    pub attempts: Vec<AttemptId>,
    pub events: Vec<EventId>,
    pub deliveries: Vec<DeliveryId>,
    pub dead_letters: Vec<DeadLetterId>,
    pub scheduled: Vec<ScheduledId>,
    pub jobs: Vec<JobId>,
}

impl Builder {
    /// Three subscriptions on two endpoints.
    pub fn new() -> Self {
        let mut make = Fixtures::new(11);
        let endpoints: Vec<Endpoint> = (0..3).map(|_| make.endpoint()).collect();
        let mut configured: Vec<Subscription> = endpoints.iter().map(|endpoint| make.subscription(endpoint)).collect();
        // What waits for a binding is delivered though it was deleted.
        configured[1].origin = Origin::Items;
        let keys = (0..3).map(|_| make.key()).collect();
        let routes = configured.iter().zip([0, 1, 1]).map(|(s, endpoint)| Route { subscription: s.id, endpoint: endpoints[endpoint].id });
        Builder { routes: routes.collect(), make, endpoints, configured, keys, known: Known::default() }
    }

    pub fn now(&self) -> Timestamp {
        self.make.now()
    }

    pub fn uuid(&mut self) -> uuid::Uuid {
        self.make.uuid()
    }

    pub fn advance(&mut self, secs: u8) {
        self.make.advance_secs(secs.into());
    }

    pub fn subscriptions(&self) -> Vec<SubscriptionId> {
        self.routes.iter().map(|route| route.subscription).collect()
    }

    pub fn endpoints(&self) -> Vec<EndpointId> {
        self.routes.iter().map(|route| route.endpoint).collect()
    }

    /// What lists can be narrowed to: any namespace, and each.
    pub fn namespaces(&self) -> [Option<Namespace>; 3] {
        [None, Some(namespace(0)), Some(namespace(1))]
    }

    pub fn events(&mut self, plans: &[EventPlan]) -> Vec<NewEvent> {
        plans.iter().map(|plan| self.event(plan)).collect()
    }

    fn event(&mut self, plan: &EventPlan) -> NewEvent {
        let of = namespace(plan.namespace);
        let deliveries = self.deliveries(&of, &plan.deliveries);
        let skipped = Skipped { subscription: self.routes[0].subscription, reason: SkipReason::EndpointPaused };
        let event = NewEvent {
            namespace: of,
            event_type: if plan.payload.is_multiple_of(3) { "order.deleted" } else { "order.created" }.into(),
            payload: Bytes::from(vec![b'p'; plan.payload]),
            labels: labels(plan.payload),
            schema_check: [SchemaCheck::Unchecked, SchemaCheck::Passed, SchemaCheck::Failed][plan.payload / 3 % 3],
            idempotency_key: plan.key.map(|key| key.to_string()),
            deliveries,
            fan_out_after: plan.more.then_some(self.routes[0].subscription),
            skipped: if plan.skips { vec![skipped] } else { Vec::new() },
            ..self.make.event(0)
        };
        self.known.events.push(event.id);
        event
    }

    fn deliveries(&mut self, of: &Namespace, plans: &[DeliveryPlan]) -> Vec<NewDelivery> {
        plans.iter().map(|plan| self.delivery(of, *plan)).collect()
    }

    /// A subscription is of one namespace: the first one of the one, the others of the other. Now and then it has moved to another endpoint.
    fn delivery(&mut self, of: &Namespace, plan: DeliveryPlan) -> NewDelivery {
        let own = if *of == namespace(0) { &self.routes[..1] } else { &self.routes[1..] };
        let own = own[usize::from(plan.route) % own.len()];
        let route = if plan.route.is_multiple_of(5) { Route { endpoint: self.route(plan.route / 5).endpoint, ..own } } else { own };
        let expires_at = plan.expires.then(|| self.now().after(Duration::from_secs(30)));
        // One of the three subscriptions keeps its rows, wherever it goes to.
        let keeps_rows = route.subscription == self.routes[1].subscription;
        let delivery = NewDelivery { claimed: plan.claimed, keeps_rows, expires_at, ..self.make.delivery(route) };
        self.known.deliveries.push(delivery.id);
        delivery
    }

    fn route(&self, pick: u8) -> Route {
        self.routes[usize::from(pick) % self.routes.len()]
    }

    /// The next slice of an unfinished fan-out, if there is one, and another that begins at the same place. Now and then the fan-out is elsewhere.
    pub fn slices(&mut self, dump: &Dump, event: u8, plans: &[DeliveryPlan], more: bool) -> Vec<FanOutSlice> {
        let unfinished: Vec<EventSeq> = dump.unfinished_fan_outs.keys().copied().collect();
        let Some(seq) = pick(&unfinished, event) else { return Vec::new() };
        let stored = dump.events.iter().find(|stored| stored.seq == seq);
        let Some(namespace) = stored.map(|stored| stored.namespace.clone()) else { return Vec::new() };
        let deliveries = self.deliveries(&namespace, plans);
        let fan_out_after = more.then_some(self.routes[1].subscription);
        let is_late = event.is_multiple_of(5);
        let after = dump.unfinished_fan_outs.get(&seq).copied().filter(|_| !is_late);
        let from = after.unwrap_or(self.routes[2].subscription);
        let slice = FanOutSlice { event: seq, namespace, created_at: self.now(), from, deliveries, fan_out_after };
        let again = FanOutSlice { deliveries: self.deliveries(&slice.namespace, plans), ..slice.clone() };
        vec![slice, again]
    }

    /// Each delivery at most once: an engine has one settlement of a delivery under way.
    pub fn settlements(&mut self, dump: &Dump, plans: &[SettlePlan]) -> Vec<Settlement> {
        // Mostly what can be settled; sometimes anything at all.
        let claimed: Vec<&Delivery> = dump.deliveries.iter().filter(|delivery| dump.claims.contains_key(&delivery.id)).collect();
        let all: Vec<&Delivery> = dump.deliveries.iter().collect();
        let mut seen = BTreeSet::new();
        let mut settlements = Vec::new();
        for plan in plans {
            let among = if plan.delivery % 8 == 0 || claimed.is_empty() { &all } else { &claimed };
            let Some(delivery) = pick(among, plan.delivery / 8) else { continue };
            if seen.insert(delivery.id) {
                let open = dump.attempts.iter().find(|attempt| attempt.delivery == delivery.id && attempt.outcome.is_none());
                settlements.push(self.settlement(delivery, open.cloned(), *plan));
            }
        }
        settlements
    }

    fn settlement(&mut self, delivery: &Delivery, open: Option<Attempt>, plan: SettlePlan) -> Settlement {
        let now = self.now();
        let code = ErrorCode::Connector5xx;
        let sending = delivery.progress.state == State::Sending;
        let (state, outcome) = match plan.end {
            End::Begin if !sending => (State::Sending, None),
            End::Succeed => (State::Succeeded, Some(self.make.success())),
            End::Fail => (State::Failed(code), Some(self.failure(plan))),
            End::Expire if !sending => (State::Expired, None),
            End::Cancel if !sending => (State::Cancelled(ErrorCode::EndpointDeleted), None),
            End::Retry { after } => (State::Retrying { due_at: now.after(Duration::from_secs(after.into())) }, Some(self.make.failure())),
            End::Begin | End::Expire | End::Cancel => (State::Retrying { due_at: now }, Some(self.make.failure())),
        };
        let attempt_recorded = open.is_some();
        let has_attempt = outcome.is_some() || state == State::Sending;
        let outcome = outcome.map(|outcome| with_bodies(outcome, plan));
        let attempt = has_attempt.then(|| Attempt { outcome, ..open.unwrap_or_else(|| self.make.attempt(delivery)) });
        self.known.attempts.extend(attempt.as_ref().map(|attempt| attempt.id));
        let attempts = attempt.as_ref().map_or(delivery.progress.attempts, |attempt| attempt.number);
        let is_dead = matches!(state, State::Failed(_) | State::Expired);
        let dead_letter = is_dead.then(|| self.dead_letter(state));
        let from = delivery.progress.state.kind();
        let mistaken = StateKind::ALL[(from as usize + 1) % StateKind::ALL.len()];
        Settlement {
            delivery: delivery.id,
            namespace: delivery.namespace.clone(),
            subscription: delivery.subscription,
            from: if plan.mistaken { mistaken } else { from },
            progress: Progress { state, attempts, spent: delivery.progress.spent + 1, expires_at: delivery.progress.expires_at },
            attempt,
            attempt_recorded,
            keep_claim: plan.keep_claim,
            dead_letter,
            follow_up: None,
        }
    }

    /// One of two failures.
    fn failure(&self, plan: SettlePlan) -> Outcome {
        let timed_out = AttemptError { code: ErrorCode::DeliveryTimeout, message: "no answer within 10 s".to_owned() };
        let refused = self.make.failure();
        if plan.delivery.is_multiple_of(2) { Outcome { error: Some(timed_out), ..refused } } else { refused }
    }

    fn dead_letter(&mut self, state: State) -> NewDeadLetter {
        let id = DeadLetterId::new(self.make.uuid());
        self.known.dead_letters.push(id);
        NewDeadLetter { id, code: state.reason().unwrap_or(ErrorCode::Interrupted), message: "it ended".to_owned(), at: self.now() }
    }

    pub fn claims(&self, plans: &[ClaimPlan]) -> Vec<ClaimRequest> {
        let request = |plan: &ClaimPlan| ClaimRequest {
            endpoint: self.route(plan.route).endpoint,
            due_by: self.now().after(Duration::from_secs(plan.ahead.into())),
            limit: plan.limit,
            max_bytes: plan.max_bytes,
        };
        plans.iter().map(request).collect()
    }

    pub fn replays(&mut self, dump: &Dump, plans: &[ReplayPlan]) -> Vec<Replay> {
        let mut replays = Vec::new();
        for plan in plans {
            let target = if plan.dead_letter {
                let Some(letter) = pick(&dump.dead_letters.iter().collect::<Vec<_>>(), plan.pick) else { continue };
                let new = DeliveryId::new(self.make.uuid());
                self.known.deliveries.push(new);
                ReplayTarget::DeadLetterAsNew { dead_letter: letter.id, new }
            } else {
                let Some(id) = pick(&self.known.deliveries, plan.pick) else { continue };
                ReplayTarget::Delivery(id)
            };
            replays.push(Replay { target, keep_dead_letter: plan.keep, claim: plan.claim, at: self.now() });
        }
        replays
    }

    /// Ids of deliveries that were made once.
    pub fn some_deliveries(&self, picks: &[u8]) -> Vec<DeliveryId> {
        picks.iter().filter_map(|n| pick(&self.known.deliveries, *n)).collect()
    }

    pub fn dead_letters(&self, dump: &Dump, picks: &[u8]) -> Vec<DeadLetterId> {
        let ids: Vec<DeadLetterId> = dump.dead_letters.iter().map(|letter| letter.id).collect();
        picks.iter().filter_map(|n| pick(&ids, *n)).collect()
    }

    pub fn occurrences(&mut self, plans: &[SchedulePlan]) -> Vec<Scheduled> {
        plans.iter().map(|plan| self.occurrence(plan.route, plan.namespace, plan.ahead)).collect()
    }

    fn occurrence(&mut self, route: u8, of: u8, ahead: u8) -> Scheduled {
        let subscription = self.route(route).subscription;
        let due_at = self.now().after(Duration::from_secs(ahead.into()));
        let row = Scheduled { namespace: namespace(of), ..self.make.scheduled(subscription, due_at) };
        self.known.scheduled.push(row.id);
        row
    }

    /// An id that was scheduled once, or one that never was.
    pub fn scheduled(&mut self, n: u8) -> ScheduledId {
        pick(&self.known.scheduled, n).unwrap_or_else(|| ScheduledId::new(self.make.uuid()))
    }

    /// A plan without deliveries is a firing without an event.
    pub fn firings(&mut self, plans: &[FirePlan]) -> Vec<Firing> {
        let mut firings = Vec::new();
        for plan in plans {
            let id = self.scheduled(plan.pick);
            let event = EventPlan { namespace: 0, key: None, payload: 9, deliveries: plan.deliveries.clone(), skips: false, more: false };
            let event = (!plan.deliveries.is_empty()).then(|| self.event(&event));
            let next = plan.next.map(|ahead| self.occurrence(plan.pick, 0, ahead));
            firings.push(Firing { id, event, next, at: self.now() });
        }
        firings
    }

    pub fn request(&mut self, plan: RequestPlan) -> NewRequest {
        let at = if plan.late { self.now().after(REQUEST_MEMORY) } else { self.now() };
        NewRequest { key: request_key(plan), fingerprint: [plan.content / 2; 32], seed: self.make.uuid(), at }
    }

    pub fn response(&self, plan: RequestPlan) -> (RequestKey, Option<StoredResponse>) {
        let n = plan.content;
        let response = StoredResponse { status: 200 + u16::from(n), headers: vec![("n".into(), n.to_string())], body: vec![n; 3].into() };
        (request_key(plan), (n > 0).then_some(response))
    }

    pub fn prune(&self, plan: PrunePlan) -> PruneRequest {
        let ago = |secs: u8| self.now().before(Duration::from_secs(secs.into()));
        PruneRequest {
            attempts_before: ago(plan.attempts),
            rows_before: ago(plan.rows),
            bodies_before: ago(plan.bodies),
            events_before: ago(plan.events),
            closed_before: ago(plan.closed),
            requests_before: ago(plan.requests),
            configuration_before: ago(plan.closed),
            limit: plan.limit,
        }
    }

    pub fn changes(&mut self, plans: &[ConfigPlan]) -> Vec<ConfigChange> {
        let now = self.now();
        let mut changes = Vec::new();
        for plan in plans {
            let n = usize::from(plan.pick) % self.keys.len();
            let endpoint = |deleted| ConfigChange::Endpoint(Endpoint { deleted, updated_at: now, ..self.endpoints[n].clone() });
            changes.push(match plan.kind {
                0 => endpoint(None),
                3 => endpoint(Some(Deletion::Kept(now))),
                4 => endpoint(Some(Deletion::Erased { erased_at: now })),
                1 => ConfigChange::Subscription(Subscription { deleted_at: Some(now), ..self.configured[n].clone() }),
                5 => ConfigChange::Subscription(self.configured[n].clone()),
                _ => ConfigChange::Key(ApiKey { revoked_at: Some(now), ..self.keys[n].clone() }),
            });
        }
        changes
    }
}

/// With the event's payload as the request, with a small one of its own, or with one that is too large for the attempt's row.
fn with_bodies(outcome: Outcome, plan: SettlePlan) -> Outcome {
    match plan.delivery % 3 {
        0 => outcome,
        1 => Outcome { request_body: Some(Bytes::from_static(b"{}")), ..outcome },
        _ => Outcome { request_body: Some(Bytes::from(vec![b'r'; 600])), request_truncated: true, ..outcome },
    }
}

/// None, one or two.
fn labels(n: usize) -> BTreeMap<String, String> {
    let all = [("n".to_owned(), (n % 5).to_string()), ("half".to_owned(), (n % 2).to_string())];
    all.into_iter().take(n % 3).collect()
}

fn request_key(plan: RequestPlan) -> RequestKey {
    RequestKey { owner: "owner".to_owned(), scope: format!("scope {}", plan.key / 2), key: format!("key {}", plan.key % 2) }
}

pub(super) fn namespace(n: u8) -> Namespace {
    Namespace::new(if n == 0 { "default" } else { "other" }).expect("both names follow the rule")
}

pub(super) fn pick<T: Clone>(among: &[T], n: u8) -> Option<T> {
    among.get(usize::from(n) % among.len().max(1)).cloned()
}
