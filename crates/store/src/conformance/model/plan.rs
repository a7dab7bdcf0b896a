//! What random sequences are made of. Plans name things by small numbers, which the driver turns into what is there at the time.

use proptest::collection::vec;
use proptest::prelude::*;

/// One call of a verb, or something that happens to the store.
#[derive(Clone, Debug)]
pub enum Op {
    /// Seconds pass.
    Advance(u8),
    Publish(Vec<EventPlan>),
    FanOut {
        event: u8,
        deliveries: Vec<DeliveryPlan>,
        more: bool,
    },
    Settle(Vec<SettlePlan>),
    Claim(Vec<ClaimPlan>),
    /// A crash and a restart.
    Restart,
    /// Until there is nothing left to rescue.
    Rescue {
        limit: u32,
    },
    Replay(Vec<ReplayPlan>),
    Retry(Vec<u8>, bool),
    Cancel(Vec<u8>),
    /// Claims what expired, so many.
    Expired(u32),
    Dismiss(Vec<u8>),
    Job(JobPlan),
    BeginRequest(RequestPlan),
    /// With an answer, or to be forgotten.
    EndRequest(RequestPlan),
    Schedule(Vec<SchedulePlan>),
    Unschedule(u8),
    Fire(Vec<FirePlan>),
    /// Until there is no more; bounds in seconds before now.
    Prune(PrunePlan),
    Configure(Vec<ConfigPlan>),
    /// What is so many hours old leaves the health of endpoints.
    Age {
        hours: u8,
        limit: u32,
    },
    /// Every list, with this limit.
    Look {
        limit: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct PrunePlan {
    pub attempts: u8,
    pub rows: u8,
    pub bodies: u8,
    pub events: u8,
    pub closed: u8,
    pub requests: u8,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct EventPlan {
    pub namespace: u8,
    pub key: Option<u8>,
    pub payload: usize,
    pub deliveries: Vec<DeliveryPlan>,
    pub skips: bool,
    pub more: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct DeliveryPlan {
    pub route: u8,
    pub claimed: bool,
    pub expires: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct SettlePlan {
    pub delivery: u8,
    pub end: End,
    pub keep_claim: bool,
    /// Names another state than the delivery is in.
    pub mistaken: bool,
}

/// What becomes of a delivery, as far as its state allows.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Begin,
    Succeed,
    Retry { after: u8 },
    Fail,
    Expire,
    Cancel,
}

#[derive(Clone, Copy, Debug)]
pub struct ClaimPlan {
    pub route: u8,
    pub ahead: u8,
    pub limit: u32,
    pub max_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct ReplayPlan {
    pub pick: u8,
    pub dead_letter: bool,
    pub keep: bool,
    pub claim: bool,
}

/// Something that happens to a job.
#[derive(Clone, Debug)]
pub enum JobPlan {
    Put {
        filter: u8,
        rate: Option<u32>,
    },
    /// The one of that number again.
    PutAgain(u8),
    Set {
        pick: u8,
        from: u8,
        to: u8,
    },
    Fail {
        pick: u8,
    },
    Advance {
        pick: u8,
        letters: Vec<u8>,
        /// The new cursor: the place of a dead letter.
        to: u8,
        completed: bool,
        /// Names another cursor than the job is at.
        mistaken: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct RequestPlan {
    pub key: u8,
    /// Another content, or another answer; none at all if it is 0.
    pub content: u8,
    /// More than a day later.
    pub late: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct SchedulePlan {
    pub route: u8,
    pub namespace: u8,
    pub ahead: u8,
}

#[derive(Clone, Debug)]
pub struct FirePlan {
    pub pick: u8,
    pub deliveries: Vec<DeliveryPlan>,
    pub next: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
pub struct ConfigPlan {
    /// 0 changes an endpoint (and brings it back), 1 deletes a subscription, 2 revokes a key, 3 deletes an endpoint, 4 erases one, 5 puts a
    /// subscription (and brings it back).
    pub kind: u8,
    pub pick: u8,
}

/// Puts every endpoint and every subscription.
pub const EVERY_ROUTE: [ConfigPlan; 6] = [
    ConfigPlan { kind: 0, pick: 0 },
    ConfigPlan { kind: 0, pick: 1 },
    ConfigPlan { kind: 0, pick: 2 },
    ConfigPlan { kind: 5, pick: 0 },
    ConfigPlan { kind: 5, pick: 1 },
    ConfigPlan { kind: 5, pick: 2 },
];

/// Sequences of up to `steps` operations.
pub fn sequences(steps: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), steps / 2..=steps)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u8..20).prop_map(Op::Advance),
        8 => vec(event(), 1..4).prop_map(Op::Publish),
        2 => (any::<u8>(), vec(delivery(), 0..3), any::<bool>()).prop_map(|(event, deliveries, more)| Op::FanOut { event, deliveries, more }),
        12 => vec(settle(), 1..5).prop_map(Op::Settle),
        6 => vec(claim(), 1..4).prop_map(Op::Claim),
        1 => Just(Op::Restart),
        2 => (1u32..4).prop_map(|limit| Op::Rescue { limit }),
        4 => vec(replay(), 1..4).prop_map(Op::Replay),
        3 => (vec(any::<u8>(), 1..4), any::<bool>()).prop_map(|(picks, force)| Op::Retry(picks, force)),
        3 => vec(any::<u8>(), 1..4).prop_map(Op::Cancel),
        2 => (0u32..4).prop_map(Op::Expired),
        2 => vec(any::<u8>(), 1..4).prop_map(Op::Dismiss),
        2 => vec((any::<u8>(), 0u8..2, 0u8..30).prop_map(|(route, namespace, ahead)| SchedulePlan { route, namespace, ahead }), 1..3)
            .prop_map(Op::Schedule),
        1 => any::<u8>().prop_map(Op::Unschedule),
        2 => vec(fire(), 1..4).prop_map(Op::Fire),
        3 => job().prop_map(Op::Job),
        2 => request().prop_map(Op::BeginRequest),
        1 => request().prop_map(Op::EndRequest),
        3 => (0u8..40, 0u8..40, 0u8..40, 0u8..40, 0u8..40, 0u8..40, 1u32..20).prop_map(|(attempts, rows, bodies, events, closed, requests, limit)| {
            Op::Prune(PrunePlan { attempts, rows, bodies, events, closed, requests, limit })
        }),
        1 => vec((0u8..6, 0u8..3).prop_map(|(kind, pick)| ConfigPlan { kind, pick }), 1..4).prop_map(Op::Configure),
        1 => (20u8..28, 0u32..4).prop_map(|(hours, limit)| Op::Age { hours, limit }),
        3 => (1u32..8).prop_map(|limit| Op::Look { limit }),
    ]
}

fn event() -> impl Strategy<Value = EventPlan> {
    let rare = || prop::bool::weighted(0.15);
    (0u8..2, prop::option::weighted(0.3, 0u8..4), 0usize..40, vec(delivery(), 0..4), rare(), rare())
        .prop_map(|(namespace, key, payload, deliveries, skips, more)| EventPlan { namespace, key, payload, deliveries, skips, more })
}

fn delivery() -> impl Strategy<Value = DeliveryPlan> {
    (any::<u8>(), any::<bool>(), any::<bool>()).prop_map(|(route, claimed, expires)| DeliveryPlan { route, claimed, expires })
}

fn settle() -> impl Strategy<Value = SettlePlan> {
    let end = prop_oneof![
        4 => Just(End::Begin),
        4 => Just(End::Succeed),
        4 => (0u8..60).prop_map(|after| End::Retry { after }),
        3 => Just(End::Fail),
        1 => Just(End::Expire),
        1 => Just(End::Cancel),
    ];
    (any::<u8>(), end, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(delivery, end, keep_claim, mistaken)| SettlePlan {
        delivery,
        end,
        keep_claim,
        mistaken,
    })
}

fn claim() -> impl Strategy<Value = ClaimPlan> {
    let max_bytes = prop_oneof![Just(0), 1u64..100, Just(u64::MAX)];
    (any::<u8>(), 0u8..60, 0u32..6, max_bytes).prop_map(|(route, ahead, limit, max_bytes)| ClaimPlan { route, ahead, limit, max_bytes })
}

fn job() -> impl Strategy<Value = JobPlan> {
    let advance = (any::<u8>(), vec(any::<u8>(), 0..4), any::<u8>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    prop_oneof![
        3 => (0u8..18, prop::option::of(1u32..9)).prop_map(|(filter, rate)| JobPlan::Put { filter, rate }),
        1 => any::<u8>().prop_map(JobPlan::PutAgain),
        1 => any::<u8>().prop_map(|pick| JobPlan::Fail { pick }),
        2 => (any::<u8>(), 0u8..4, 0u8..4).prop_map(|(pick, from, to)| JobPlan::Set { pick, from, to }),
        4 => advance.prop_map(|(pick, letters, to, completed, mistaken)| JobPlan::Advance { pick, letters, to, completed, mistaken }),
    ]
}

fn request() -> impl Strategy<Value = RequestPlan> {
    (0u8..3, 0u8..3, prop::bool::weighted(0.1)).prop_map(|(key, content, late)| RequestPlan { key, content, late })
}

fn replay() -> impl Strategy<Value = ReplayPlan> {
    (any::<u8>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(pick, dead_letter, keep, claim)| ReplayPlan {
        pick,
        dead_letter,
        keep,
        claim,
    })
}

fn fire() -> impl Strategy<Value = FirePlan> {
    (any::<u8>(), vec(delivery(), 0..3), prop::option::of(0u8..30)).prop_map(|(pick, deliveries, next)| FirePlan { pick, deliveries, next })
}
