//! How deliveries go on.

use super::{Harness, World};
use bytes::Bytes;
use postrider_core::attempt::{AttemptError, HeadBlock, MAX_HEAD_BLOCK_BYTES, Outcome, Phases};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

/// A success ends the delivery; nobody has it any more.
pub async fn success_ends_and_lets_go<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let begun = w.make.advance_secs(1);
    w.succeed(id).await;
    let view = w.view(id).await;
    assert_eq!(view.delivery.progress, Progress { state: State::Succeeded, attempts: 1, spent: 1, expires_at: None });
    assert_eq!(view.delivery.last_attempt_at, Some(begun));
    assert_eq!(view.attempts.len(), 1);
    let counters = w.counters(route.subscription).await;
    assert_eq!((counters.deliveries[StateKind::Succeeded as usize], counters.attempts_succeeded, counters.attempts_failed), (1, 1, 0));
    w.reopen().await;
    assert!(w.store().rescue(10).await.expect("rescue").is_empty());
    assert_eq!(w.state(id).await, State::Succeeded);
}

/// A retry that stays in memory is not claimed by anybody.
pub async fn a_retry_that_is_kept_is_not_claimed_again<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let due_at = w.make.now();
    w.retry(id, due_at, true).await;
    let batch = w.claim(route.endpoint, Timestamp::MAX).await;
    assert_eq!((batch.deliveries.len(), batch.next_due), (0, None));
    assert_eq!(w.state(id).await, State::Retrying { due_at });
    w.succeed(id).await;
}

/// A retry that was let go waits in the store until its time.
pub async fn a_retry_that_is_let_go_is_claimed_when_due<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let early = w.make.now();
    let due_at = w.make.advance_secs(30);
    w.retry(id, due_at, false).await;
    let batch = w.claim(route.endpoint, early).await;
    assert_eq!((batch.deliveries.len(), batch.next_due), (0, Some(due_at)));
    let refused = w.settlement(id, State::Succeeded, None).await;
    assert_eq!(w.settle(vec![refused]).await, [Settled::Fenced], "it is nobody's");
    let batch = w.claim(route.endpoint, due_at).await;
    assert_eq!((batch.deliveries[0].delivery.id, batch.deliveries[0].delivery.progress.attempts), (id, 1));
    w.succeed(id).await;
    assert_eq!(w.view(id).await.attempts.len(), 2);
}

/// An attempt is recorded as under way and then, the same one, with its outcome.
pub async fn an_attempt_begins_and_ends<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let open = w.begin(id).await;
    let view = w.view(id).await;
    assert_eq!((view.delivery.progress.state, view.delivery.progress.attempts), (State::Sending, 1));
    assert_eq!(view.attempts, std::slice::from_ref(&open));
    assert_eq!(view.delivery.last_attempt_at, Some(open.started_at));
    let counters = w.counters(route.subscription).await;
    assert_eq!((counters.attempts_succeeded, counters.attempts_failed), (0, 0), "an attempt counts when it ends");

    w.make.advance_secs(2);
    w.succeed(id).await;
    let view = w.view(id).await;
    assert_eq!(view.attempts.len(), 1, "it is the same attempt");
    assert_eq!((view.attempts[0].id, view.attempts[0].started_at), (open.id, open.started_at));
    assert_eq!(view.attempts[0].outcome, Some(w.make.success()));
    assert_eq!(view.delivery.last_attempt_at, Some(open.started_at), "when the attempt began, not when it ended");
    assert_eq!(w.counters(route.subscription).await.attempts_succeeded, 1);
}

/// An attempt that was never recorded as under way is stored whole, from pending and from retrying.
pub async fn an_attempt_is_stored_in_one_go<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let due_at = w.make.advance_secs(1);
    w.retry(id, due_at, true).await;
    w.make.advance_secs(1);
    w.succeed(id).await;
    let attempts = w.view(id).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert!(attempts.iter().all(|attempt| attempt.outcome.is_some()));
}

/// What is being sent is in somebody's memory, even if a settlement says that it is let go.
pub async fn what_is_being_sent_stays_claimed<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let begins = w.settlement(id, State::Sending, None).await;
    w.settle_one(Settlement { keep_claim: false, ..begins }).await;
    assert!(w.claim(route.endpoint, Timestamp::MAX).await.deliveries.is_empty());
    assert!(w.store().backlog().await.expect("backlog").is_empty());
    w.succeed(id).await;
}

/// A delivery that rests is let go even if the settlement keeps it.
pub async fn what_rests_is_let_go_whatever_is_asked<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let ends = w.settlement(id, State::Succeeded, None).await;
    assert!(ends.keep_claim);
    w.settle_one(Settlement { attempt: None, ..ends }).await;
    let again = Settlement { attempt: None, ..w.settlement(id, State::Succeeded, None).await };
    assert_eq!(w.settle(vec![again]).await, [Settled::Fenced]);
    w.reopen().await;
    assert!(w.store().rescue(10).await.expect("rescue").is_empty());
}

/// Every field of an outcome comes back, however small or large.
pub async fn keeps_every_field_of_an_outcome<H: Harness>(w: &mut World<H>) {
    let now = w.make.now();
    let body = |length: usize| Bytes::from((0..length).map(|i| (i % 256) as u8).collect::<Vec<u8>>());
    let none = Outcome {
        finished_at: now,
        http_status: None,
        error: None,
        phases: Phases::default(),
        request_body: None,
        request_truncated: false,
        response_body: body(0),
        response_truncated: false,
        response_headers: None,
    };
    let all = Phases { dns: Some(0), tcp: Some(1), tls: Some(u32::MAX), first_byte: Some(3), total: u32::MAX };
    let mut outcomes = vec![none.clone(), Outcome { http_status: Some(u16::MAX), phases: all, response_truncated: true, ..none.clone() }];
    outcomes.extend([1, 499, 500, 501, 4_096, 1 << 20].map(|length| Outcome { response_body: body(length), ..none.clone() }));
    for (request, response) in [(0, 0), (1, 499), (1, 500), (500, 0), (501, 0), (499, 1), (10_240, 10_240)] {
        let request_truncated = request > 1_000;
        outcomes.push(Outcome { request_body: Some(body(request)), request_truncated, response_body: body(response), ..none.clone() });
    }
    let heads = [(0, 0), (1, 499), (300, 200), (301, 200), (500, 0), (501, 0), (700, 2), (700, 501), (MAX_HEAD_BLOCK_BYTES, 4_096)];
    for (head, response) in heads {
        let response_headers = Some(HeadBlock::from_lines("ü'\u{f0000}\n".repeat(head / 8) + &"x".repeat(head % 8)));
        outcomes.push(Outcome { response_headers, response_body: body(response), ..none.clone() });
    }
    let long = "ü'\u{0}\n".repeat(100);
    for (code, message) in [(ErrorCode::Interrupted, ""), (ErrorCode::TlsError, long.as_str())] {
        outcomes.push(Outcome { error: Some(AttemptError { code, message: message.to_owned() }), ..none.clone() });
    }
    for begun_before in [false, true] {
        for outcome in &outcomes {
            let route = w.make.route();
            let id = w.claimed(route).await;
            if begun_before {
                w.begin(id).await;
            }
            let settlement = w.settlement(id, State::Succeeded, Some(outcome.clone())).await;
            let sent = settlement.attempt.clone();
            w.settle_one(settlement).await;
            assert!(w.view(id).await.attempts.first() == sent.as_ref(), "{:?} with {} bytes", outcome.error, outcome.response_body.len());
            let listed = w.store().attempts(route.subscription, 10).await.expect("attempts");
            assert!(listed.first().map(|view| &view.attempt) == sent.as_ref(), "the list shows it too");
        }
    }
}

/// Every way to end, with every reason, comes back as it was; from pending and without an attempt too.
pub async fn keeps_every_resting_state<H: Harness>(w: &mut World<H>) {
    let mut states = vec![State::Succeeded, State::Expired];
    states.extend(ErrorCode::ALL.iter().flat_map(|code| [State::Failed(*code), State::Cancelled(*code)]));
    let route = w.make.route();
    let mut ended = Vec::new();
    for state in states {
        let id = w.claimed(route).await;
        let ends = w.settlement(id, state, None).await;
        let progress = Progress { state, attempts: 0, spent: 0, expires_at: Some(w.make.now()) };
        ended.push((id, progress, Settlement { attempt: None, progress, ..ends }));
    }
    let answers = w.settle(ended.iter().map(|(_, _, settlement)| settlement.clone()).collect()).await;
    assert!(answers.iter().all(|answer| *answer == Settled::Stored));
    for (id, progress, _) in ended {
        assert_eq!(w.view(id).await.delivery.progress, progress);
    }
}

/// Without an attempt no attempt is stored and the time of the last one stays.
pub async fn without_an_attempt_nothing_is_attempted<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let began_at = w.make.advance_secs(10);
    w.retry(id, began_at, true).await;
    w.make.advance_secs(60);
    let expires = w.settlement(id, State::Expired, None).await;
    let progress = Progress { attempts: 1, ..expires.progress };
    w.settle_one(Settlement { attempt: None, progress, ..expires }).await;
    let view = w.view(id).await;
    assert_eq!((view.attempts.len(), view.delivery.last_attempt_at), (1, Some(began_at)));
}

/// An unknown delivery, an unclaimed one, a wrong state and a second time are fenced.
pub async fn fences_what_does_not_apply<H: Harness>(w: &mut World<H>) {
    let (route, other) = (w.make.route(), w.make.route());
    let (id, free) = (w.claimed(route).await, w.unclaimed(other).await);
    let good = w.settlement(id, State::Succeeded, None).await;
    let unclaimed = w.settlement(free, State::Succeeded, None).await;
    let unknown = Settlement { delivery: DeliveryId::new(w.make.uuid()), ..good.clone() };
    let mut bad = vec![unclaimed, unknown];
    bad.extend(StateKind::ALL.into_iter().filter(|kind| *kind != StateKind::Pending).map(|from| Settlement { from, ..good.clone() }));
    let answers = w.settle(bad).await;
    assert!(answers.iter().all(|answer| *answer == Settled::Fenced), "{answers:?}");
    assert_eq!(w.view(id).await.attempts.len(), 0);
    let outcome = w.make.success();
    let good = w.settlement(id, State::Succeeded, Some(outcome)).await;
    assert_eq!(w.settle(vec![good.clone(), good]).await, [Settled::Stored, Settled::Fenced]);
}

/// After a restart nothing is claimed by the new engine until it is rescued: settlements of the old one's deliveries are fenced.
pub async fn fences_an_older_incarnation<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (pending, sending) = (w.claimed(route).await, w.claimed(route).await);
    w.begin(sending).await;
    let outcome = w.make.success();
    let late = [
        w.settlement(pending, State::Succeeded, Some(outcome.clone())).await,
        w.settlement(sending, State::Succeeded, Some(outcome)).await,
    ];
    w.reopen().await;
    assert_eq!(w.settle(late.to_vec()).await, [Settled::Fenced, Settled::Fenced]);
    assert_eq!((w.state(pending).await.kind(), w.state(sending).await), (StateKind::Pending, State::Sending));
    assert_eq!(w.store().rescue(10).await.expect("rescue").len(), 2);
    assert_eq!(w.settle(late.to_vec()).await, [Settled::Stored, Settled::Stored]);
}

/// A fenced item leaves no attempt, no dead letter and no count, and the others of its batch are stored.
pub async fn fenced_items_store_nothing_and_harm_nobody<H: Harness>(w: &mut World<H>) {
    let (route, other) = (w.make.route(), w.make.route());
    let (good, free) = (w.claimed(route).await, w.unclaimed(other).await);
    let (success, failure) = (w.make.success(), w.make.failure());
    let code = ErrorCode::ConnectionRefused;
    let dead_letter = DeadLetterId::new(w.make.uuid());
    let opened = NewDeadLetter { id: dead_letter, code, message: String::new(), at: w.make.now() };
    let fenced = w.settlement(free, State::Failed(code), Some(failure)).await;
    let fenced = Settlement { dead_letter: Some(opened), ..fenced };
    let stored = w.settlement(good, State::Succeeded, Some(success)).await;
    let before = w.counters(other.subscription).await;
    assert_eq!(w.settle(vec![fenced.clone(), stored, fenced]).await, [Settled::Fenced, Settled::Stored, Settled::Fenced]);
    assert_eq!(w.counters(other.subscription).await, before);
    assert!(w.store().dead_letter(dead_letter).await.expect("dead_letter").is_none());
    let view = w.view(free).await;
    assert_eq!((view.attempts.len(), view.delivery.last_attempt_at, view.delivery.progress.state.kind()), (0, None, StateKind::Pending));
    assert_eq!(w.claim(other.endpoint, Timestamp::MAX).await.deliveries.len(), 1, "it can still be claimed");
}

/// A delivery that ends without success opens its dead letter in the same piece.
pub async fn opens_a_dead_letter<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let due_at = w.make.advance_secs(1);
    w.retry(id, due_at, true).await;
    let at = w.make.advance_secs(1);
    let opened = w.fail(id).await;
    let view = w.store().dead_letter(opened).await.expect("dead_letter").expect("it is there");
    let letter = view.dead_letter;
    assert_eq!((letter.id, letter.delivery, letter.code, letter.attempts), (opened, id, ErrorCode::ConnectionRefused, 2));
    assert_eq!((letter.message.as_str(), letter.failed_at, letter.status), ("maximum retries exceeded", at, DeadLetterStatus::Open));
    assert_eq!(w.counters(route.subscription).await.dead_letters, 1);
    w.reopen().await;
    assert_eq!(w.store().dead_letters(route.subscription, true, PageRequest::first(10)).await.expect("dead_letters").items.len(), 1);
}
