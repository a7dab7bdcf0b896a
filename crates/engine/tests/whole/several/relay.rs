//! What applications publish through the database.

use super::*;
use std::collections::BTreeMap;

/// The one of which nothing can be stored.
const BAD: i64 = 7;

fn payload(id: i64) -> Bytes {
    Bytes::from(format!("{{\"id\":{id}}}"))
}

/// Entries that were committed, numbered from 1 on.
fn entries(count: i64) -> Vec<OutboxEntry> {
    let entry = |id| OutboxEntry {
        id,
        namespace: Namespace::default_namespace(),
        event_type: "a.b".into(),
        payload: payload(id),
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        idempotency_key: None,
        ttl: None,
    };
    (1..=count).map(entry).collect()
}

/// The payloads of what was published, in its order.
fn published(hand: &Hand) -> Vec<Bytes> {
    hand.store.dump().events.iter().map(|event| event.payload.clone()).collect()
}

fn all_but_the_bad_one(count: i64) -> Vec<Bytes> {
    (1..=count).filter(|id| *id != BAD).map(payload).collect()
}

#[test]
fn an_entry_that_cannot_be_stored_is_put_aside_and_the_others_go_on() {
    run(async {
        let hand = hand();
        *hand.unstorable.lock() = Some(payload(BAD));
        let _engine = start(&hand).await;
        *hand.outbox.lock() = entries(20);
        pass(5 * SECOND).await;
        assert_eq!(published(&hand), all_but_the_bad_one(20));
        assert_eq!((hand.refused.lock().clone(), hand.outbox.lock().len()), (vec![BAD], 0));
        let tries = hand.verbs("relay");
        assert!(tries < 20, "{tries}");
    });
}

/// It may be the store that is unwell: who waits loses nothing.
#[test]
fn while_the_store_is_not_well_nothing_is_put_aside() {
    run(async {
        let hand = hand();
        let _engine = start(&hand).await;
        hand.fail(Some(("relay", StoreErrorKind::Unavailable)));
        *hand.outbox.lock() = entries(20);
        pass(30 * SECOND).await;
        assert_eq!((hand.refused.lock().len(), hand.outbox.lock().len()), (0, 20));
        let tries = hand.verbs("relay");
        assert!((20..=40).contains(&tries), "{tries}: once a second");
        *hand.unstorable.lock() = Some(payload(BAD));
        hand.fail(Some(("health", StoreErrorKind::Unavailable)));
        pass(30 * SECOND).await;
        assert_eq!((hand.refused.lock().len(), hand.outbox.lock().first().map(|entry| entry.id)), (0, Some(BAD)));
        hand.fail(None);
        pass(5 * SECOND).await;
        assert_eq!(published(&hand), all_but_the_bad_one(20));
        assert_eq!(hand.refused.lock().clone(), [BAD]);
    });
}

/// A table that is not what it should be, say: what everybody writes fails, and putting aside does not.
#[test]
fn while_the_store_takes_no_event_at_all_none_is_put_aside() {
    run(async {
        let hand = hand();
        let _engine = start(&hand).await;
        *hand.unwilling.lock() = true;
        *hand.outbox.lock() = entries(20);
        pass(30 * SECOND).await;
        assert_eq!((hand.refused.lock().len(), hand.outbox.lock().len()), (0, 20));
        *hand.unwilling.lock() = false;
        pass(5 * SECOND).await;
        assert_eq!((published(&hand).len(), hand.refused.lock().len()), (20, 0));
    });
}

/// Nobody can say of one that is alone whether the fault is its own. It holds up nobody.
#[test]
fn several_that_cannot_be_stored_are_put_aside_once_another_one_is() {
    run(async {
        let hand = hand();
        *hand.unstorable.lock() = Some(payload(BAD));
        let _engine = start(&hand).await;
        let bad = |id| OutboxEntry { id, payload: payload(BAD), ..entries(1).remove(0) };
        *hand.outbox.lock() = (1..=3).map(bad).collect();
        pass(10 * SECOND).await;
        assert_eq!((hand.refused.lock().len(), hand.outbox.lock().len()), (0, 3));
        hand.outbox.lock().extend(entries(9).split_off(7));
        pass(10 * SECOND).await;
        assert_eq!(published(&hand), [8, 9].map(payload));
        assert_eq!((hand.refused.lock().clone(), hand.outbox.lock().len()), (vec![1, 2], 1), "nothing says so of the last one yet");
        hand.outbox.lock().extend(entries(12).split_off(9));
        pass(10 * SECOND).await;
        assert_eq!((published(&hand).len(), hand.refused.lock().clone(), hand.outbox.lock().len()), (5, vec![1, 2, 3], 0));
    });
}
