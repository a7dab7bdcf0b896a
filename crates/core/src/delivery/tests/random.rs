//! Random sequences of steps, and what holds whatever they are.

use super::*;
use crate::retry::Schedule;
use proptest::prelude::*;

/// [`Step`] without borrows, so that proptest can make and print it.
#[derive(Clone, Debug)]
enum Move {
    Start,
    Finish { wait: u32, verdict: Verdict, seed: u64 },
    Interrupt,
    Expire,
    Cancel,
    GiveUp,
    Replay,
}

fn any_move() -> impl Strategy<Value = Move> {
    let code = prop::sample::select(ErrorCode::ALL);
    let span = prop::option::of((0u64..200_000).prop_map(Duration::from_secs));
    let verdict = prop_oneof![
        1 => Just(Verdict::Success),
        6 => (code.clone(), span, prop::bool::weighted(0.3)).prop_map(|(code, retry_after, free)| Verdict::Retry { code, retry_after, free }),
        1 => (code, any::<bool>()).prop_map(|(code, disable)| Verdict::Permanent { code, disable }),
    ];
    prop_oneof![
        8 => Just(Move::Start),
        8 => (0u32..100_000, verdict, any::<u64>()).prop_map(|(wait, verdict, seed)| Move::Finish { wait, verdict, seed }),
        1 => Just(Move::Interrupt),
        1 => Just(Move::Expire),
        1 => Just(Move::Cancel),
        1 => Just(Move::GiveUp),
        2 => Just(Move::Replay),
    ]
}

fn any_policy() -> impl Strategy<Value = RetryPolicy> {
    let list =
        prop::collection::vec(0u64..1_000, 0..6).prop_map(|secs| Schedule::List(secs.into_iter().map(Duration::from_secs).collect()));
    let doubling = (0u64..1_000, 0u64..100_000)
        .prop_map(|(base, cap)| Schedule::Exponential { base: Duration::from_secs(base), cap: Duration::from_secs(cap) });
    (1u32..8, prop_oneof![list, doubling], 0u8..=100).prop_map(|(max_attempts, schedule, jitter_percent)| RetryPolicy {
        max_attempts,
        schedule,
        jitter_percent,
    })
}

fn to_step<'a>(a_move: &'a Move, policy: &'a RetryPolicy, now: Timestamp) -> Step<'a> {
    match a_move {
        Move::Start => Step::Start,
        Move::Finish { verdict, seed, .. } => Step::Finish { at: now, verdict, policy, seed: *seed },
        Move::Interrupt => Step::Interrupt { at: now },
        Move::Expire => Step::Expire,
        Move::Cancel => Step::Cancel(ErrorCode::EndpointDeleted),
        Move::GiveUp => Step::GiveUp(ErrorCode::DestinationDisabled),
        Move::Replay => Step::Replay { at: now },
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_promises_hold(
        policy in any_policy(), ttl in prop::option::of(0u64..1_000_000), moves in prop::collection::vec(any_move(), 1..120),
    ) {
        let mut now = T0;
        let mut p = Progress::new(T0, ttl.map(|secs| T0.after(Duration::from_secs(secs))));
        let mut paid = 0;
        for m in &moves {
            now = if let Move::Finish { wait, .. } = m { now.after(Duration::from_secs(u64::from(*wait))) } else { now };
            let step = to_step(m, &policy, now);
            let from = p;
            let Ok(to) = transition(from, step) else { continue };
            p = to;
            let replay = matches!(m, Move::Replay);
            paid = match m {
                Move::Replay => 0,
                Move::Finish { verdict: Verdict::Retry { free: true, .. }, .. } => paid,
                Move::Finish { .. } => paid + 1,
                _ => paid,
            };
            prop_assert_eq!(to.attempts - from.attempts, u32::from(matches!(m, Move::Start)), "attempts never go back");
            prop_assert!(!from.state.kind().is_resting() || replay, "only a replay leaves a resting state");
            prop_assert!(replay || to.spent >= from.spent);
            prop_assert_eq!(to.spent, paid, "what is spent is what ended and was not free");
            prop_assert!(to.spent <= policy.max_attempts);
            prop_assert!(to.spent < policy.max_attempts || to.state.kind().is_resting(), "nothing waits without an attempt left");
            prop_assert_eq!(to.state.due_at().is_some(), matches!(to.state.kind(), StateKind::Pending | StateKind::Retrying));
            prop_assert_eq!(to.expires_at, if replay { None } else { from.expires_at });
            if let (Move::Finish { .. }, State::Retrying { due_at }) = (m, to.state) {
                prop_assert!(to.expires_at.is_none_or(|at| due_at <= at), "it wakes to expire");
                prop_assert!(due_at >= now || to.is_expired(now));
            }
            prop_assert_eq!(to.state.reason().is_some(), matches!(to.state.kind(), StateKind::Failed | StateKind::Expired | StateKind::Cancelled));
        }
    }
}
