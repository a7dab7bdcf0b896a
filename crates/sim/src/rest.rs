//! The end of the last life: all faults are over, and everything must come to rest in the time that it was promised.

use crate::Checker;
use crate::world::World;
use postrider_core::delivery::{Delivery, State};
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::id::EndpointId;
use postrider_core::ports::{Configuration, Store};
use postrider_core::schedule::ScheduledStatus;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::Engine;
use postrider_store::memory::Dump;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is due is done within this time when nothing else waits. It covers the safety nets of the engine, which look every 30 s.
const PROMPT: Duration = Duration::from_secs(60);

/// The most attempts that any policy of a plan has.
const TRIES: u32 = 7;

/// How often it is looked whether everything rests.
const LOOK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));

/// What was found since the rest began.
struct Outlook {
    /// When the rest began: what was due before is due then.
    since: Timestamp,
    /// The most deliveries that waited at once, by endpoint and over all.
    crowd: BTreeMap<EndpointId, u32>,
    all: u32,
    /// When the next thing is due, if something is still to be done.
    next: Option<Timestamp>,
    /// What should have been done by now.
    late: Vec<String>,
}

impl Outlook {
    fn waits(&mut self, due: Timestamp) {
        self.next = Some(self.next.map_or(due, |n| n.min(due)));
    }
}

/// Waits until everything rests, or is late. The engines are those that live, each with the number that its claims carry.
pub(crate) async fn rested(world: &World, engines: &[(u64, Engine)]) {
    // Outcomes, slices and claims that are on their way when the last delivery is made.
    tokio::time::sleep(LOOK.0).await;
    let mut outlook = Outlook { since: world.now(), crowd: BTreeMap::new(), all: 0, next: None, late: Vec::new() };
    loop {
        outlook.next = None;
        look(world, engines, &mut outlook).await;
        if let Some(late) = outlook.late.first() {
            let what = format!("{late} (and {} more)", outlook.late.len() - 1);
            world.violated(Checker::NoForgottenDelivery, what);
            return;
        }
        let Some(next) = outlook.next else { break };
        let wait = next.since(world.now()).clamp(LOOK.0, LOOK.1);
        tokio::time::sleep(wait).await;
    }
    claims(world, engines);
}

async fn look(world: &World, engines: &[(u64, Engine)], outlook: &mut Outlook) {
    let dump = world.store.dump();
    let configuration = world.store.configuration().await.expect("the model never fails");
    let now = world.now();
    deliveries(world, &dump, &configuration, now, outlook);
    for row in &dump.scheduled {
        // What comes after the day is for another run.
        if row.status == ScheduledStatus::Pending && row.due_at <= now {
            outlook.waits(now);
            if row.due_at.max(outlook.since).after(PROMPT) < now {
                outlook.late.push(format!("scheduled webhook {} was due at {:?}", row.id, row.due_at));
            }
        }
    }
    for (event, after) in &dump.unfinished_fan_outs {
        outlook.waits(now);
        if outlook.since.after(PROMPT * 10) < now {
            outlook.late.push(format!("the fan-out of {event} stopped after {after}"));
        }
    }
    if engines.iter().any(|(_, engine)| engine.stats().unsettled > 0) {
        outlook.waits(now);
    }
}

fn deliveries(world: &World, dump: &Dump, configuration: &Configuration, now: Timestamp, outlook: &mut Outlook) {
    let endpoints: BTreeMap<EndpointId, &Endpoint> = configuration.endpoints.iter().map(|e| (e.id, e)).collect();
    let waiting = || dump.deliveries.iter().filter(|d| !d.progress.state.kind().is_resting());
    let mut crowd: BTreeMap<EndpointId, u32> = BTreeMap::new();
    waiting().for_each(|d| *crowd.entry(d.endpoint).or_default() += 1);
    outlook.all = outlook.all.max(crowd.values().sum());
    for (endpoint, count) in crowd {
        let most = outlook.crowd.entry(endpoint).or_default();
        *most = count.max(*most);
    }
    for delivery in waiting() {
        let endpoint = endpoints.get(&delivery.endpoint).copied().filter(|e| e.deleted.is_none());
        if endpoint.is_some_and(|e| is_parked(delivery, e, &configuration.subscriptions)) {
            continue;
        }
        let each = endpoint.map_or(Duration::ZERO, |e| time_of_each(world, e));
        let crowd = outlook.crowd[&delivery.endpoint];
        // Retries that came into memory first keep their room until they are due, and each neighbour may be tried as often as its
        // policy says before a delivery gets its turn.
        let turns = TRIES * crowd;
        let slack = PROMPT + world.plan.limits.near + Duration::from_millis(200) * outlook.all + each * turns;
        let due = due(delivery, endpoint).max(outlook.since);
        outlook.waits(due.max(now));
        if due.after(slack) < now {
            let state = delivery.progress.state;
            let id = delivery.id;
            let claim = dump.claims.get(&id);
            outlook.late.push(format!("delivery {id} to {} is {state:?}, due at {due:?}, claim {claim:?}", delivery.endpoint));
        }
    }
}

/// How long one delivery may hold up the next one to the same endpoint.
fn time_of_each(world: &World, endpoint: &Endpoint) -> Duration {
    let number = world.plan.endpoints.iter().position(|e| e.id == endpoint.id);
    let is_sick = world.plan.healthy.is_some() && number.is_some_and(|n| !world.plan.receivers[n].moods.is_empty());
    let limit = endpoint.rate_limit.map_or(Duration::ZERO, |r| r.interval);
    limit.max(if is_sick { endpoint.http.timeout } else { Duration::ZERO })
}

fn due(delivery: &Delivery, endpoint: Option<&Endpoint>) -> Timestamp {
    match (delivery.progress.state, endpoint) {
        // What waits for an endpoint that is gone ends at once, whenever it was due.
        (State::Pending { due_at } | State::Retrying { due_at }, Some(_)) => due_at,
        (State::Sending, Some(endpoint)) => {
            let began = delivery.last_attempt_at.unwrap_or(delivery.created_at);
            began.after(endpoint.http.timeout)
        }
        (_, None) => delivery.created_at,
        _ => Timestamp::MAX,
    }
}

/// Whether it waits because its endpoint takes nothing at the moment; what is being sent does not. Nor does what was made for a webhook of the
/// RPC API before that was paused, unless others use the same endpoint, or a deleted binding still may.
fn is_parked(delivery: &Delivery, endpoint: &Endpoint, subscriptions: &[Subscription]) -> bool {
    if delivery.progress.state == State::Sending {
        return false;
    }
    let of_it = || subscriptions.iter().filter(|s| s.endpoint == endpoint.id && (s.deleted_at.is_none() || s.origin == Origin::Items));
    match endpoint.status {
        EndpointStatus::Active => false,
        EndpointStatus::Paused { .. } => of_it().next().is_none() || of_it().any(|s| s.origin != Origin::Rpc),
        EndpointStatus::Disabled { .. } => true,
    }
}

/// After a shutdown without any trouble nothing belongs to anybody.
pub(crate) fn given_back(world: &World) {
    if let Some((id, of)) = world.store.dump().claims.first_key_value() {
        let what = format!("after a shutdown in good order {id} is claimed by {of}");
        world.violated(Checker::NoForgottenDelivery, what);
    }
}

/// At rest, each engine has in memory what the store says that it has, and nothing belongs to the dead.
fn claims(world: &World, engines: &[(u64, Engine)]) {
    let dump = world.store.dump();
    for (incarnation, engine) in engines {
        let claimed = dump.claims.values().filter(|of| *of == incarnation).count();
        let held = engine.stats().load.held;
        if claimed != held {
            let what = format!("at rest {claimed} deliveries are claimed by {incarnation} and {held} in memory");
            world.violated(Checker::NoForgottenDelivery, what);
        }
    }
    let is_dead = |of: u64| engines.iter().all(|(incarnation, _)| *incarnation != of);
    if let Some((id, of)) = dump.claims.iter().find(|(_, of)| is_dead(**of)) {
        let what = format!("at rest {id} is claimed by the dead engine {of}");
        world.violated(Checker::NoForgottenDelivery, what);
    }
}
