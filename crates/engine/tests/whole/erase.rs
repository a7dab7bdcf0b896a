//! Destinations that are deleted with everything that was ever sent there.

use crate::harness::{BEGINNING, Hand, event, pass, run};
use crate::items::{binding, destination, of_type, start};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::id::{EventSeq, idempotency_key};
use postrider_core::ports::{ConfigChange, Store, StoreError, StoreErrorKind};
use postrider_core::subscription::Subscription;
use postrider_engine::Engine;
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// More than a store may wait for what is being published by configuration that was deleted.
const MINUTES: Duration = Duration::from_secs(200);

async fn erase(engine: &Engine, endpoint: &Endpoint, of: &Subscription) {
    let now = engine.now();
    let endpoint = Endpoint { deleted: Some(Deletion::Erased { erased_at: now }), ..endpoint.clone() };
    let subscription = Subscription { deleted_at: Some(now), ..of.clone() };
    let changes = vec![ConfigChange::Subscription(subscription), ConfigChange::Endpoint(endpoint)];
    engine.edit(|_| Ok::<_, StoreError>((changes.clone(), ()))).await.expect("stored");
}

/// Long before the next regular retention, whatever came of the deliveries, and however long the last exchange takes.
#[test]
fn everything_goes_at_once_and_the_destination_after_it() {
    run(async {
        let hand = Hand::new();
        let (gone, stays) = (destination(1), destination(3));
        let (of_gone, of_other) = (binding(2, &gone, "a.b"), binding(4, &stays, "a.b"));
        let engine = start(&hand, vec![gone.clone(), stays.clone()], vec![of_gone.clone(), of_other]).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        *hand.status.lock() = 500;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        // Some exchanges of each destination are under way, the others wait in memory for their end.
        *hand.status.lock() = 200;
        *hand.takes.lock() = 20 * SECOND;
        for _ in 0..50 {
            engine.publish(of_type("a.b", "{}")).await.expect("stored");
        }
        pass(SECOND).await;
        let keys: BTreeSet<String> = (1..=52).map(|seq| idempotency_key(of_gone.id, EventSeq(seq))).collect();
        let sent = || hand.requests.lock().iter().filter(|key| keys.contains(*key)).count();
        let pruned = hand.verbs("prune");
        erase(&engine, &gone, &of_gone).await;
        let begun = sent();
        pass(SECOND).await;
        assert!(hand.verbs("prune") > pruned, "at once");
        let left = || {
            let dump = hand.store.dump();
            let left = dump.deliveries.into_iter().filter(|d| d.endpoint == gone.id);
            left.map(|d| (dump.claims.contains_key(&d.id), d.id)).collect::<Vec<_>>()
        };
        assert!(left().iter().all(|(is_claimed, _)| *is_claimed), "what nobody has in memory is gone: {:?}", left());
        assert!(!left().is_empty());
        pass(MINUTES).await;
        assert_eq!(left(), []);
        let dump = hand.store.dump();
        assert!(dump.attempts.iter().all(|a| a.endpoint == stays.id));
        assert_eq!((dump.events.len(), dump.deliveries.len()), (52, 52), "events stay, and what went elsewhere");
        let configuration = hand.store.configuration().await.expect("the model never fails");
        assert_eq!(configuration.endpoints.iter().map(|e| e.id).collect::<Vec<_>>(), [stays.id]);
        assert_eq!(configuration.subscriptions.len(), 1);
        assert_eq!(sent(), begun, "nothing more is sent there");
        assert_eq!(engine.stats().unsettled, 0);
        let pruned = hand.verbs("prune");
        pass(MINUTES).await;
        assert_eq!(hand.verbs("prune"), pruned, "then it is left alone until the next regular retention");
    });
}

/// What was to be erased when the server ended, or was erased by somebody else, is erased all the same.
#[test]
fn what_was_left_by_an_earlier_engine_goes_too() {
    run(async {
        let hand = Hand::new();
        let (gone, stays) = (destination(1), destination(3));
        let of_gone = binding(2, &gone, "a.b");
        let engine = start(&hand, vec![gone.clone(), stays], vec![of_gone.clone()]).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        hand.fail(Some(("prune", StoreErrorKind::Unavailable)));
        erase(&engine, &gone, &of_gone).await;
        pass(SECOND).await;
        engine.shutdown(SECOND).await;
        assert_eq!(hand.store.dump().deliveries.len(), 1);
        hand.fail(None);
        let engine = hand.start(Default::default(), Default::default()).await;
        pass(SECOND).await;
        assert_eq!(hand.store.dump().deliveries.len(), 0);
        // By somebody else.
        let (other, of_other) = (destination(5), binding(6, &destination(5), "c.d"));
        let changes = vec![ConfigChange::Endpoint(other.clone()), ConfigChange::Subscription(of_other.clone())];
        engine.edit(|_| Ok::<_, StoreError>((changes.clone(), ()))).await.expect("stored");
        engine.publish(of_type("c.d", "{}")).await.expect("stored");
        pass(SECOND).await;
        let erased = Endpoint { deleted: Some(Deletion::Erased { erased_at: BEGINNING }), ..other };
        hand.configure(vec![ConfigChange::Endpoint(erased)]).await;
        pass(3 * SECOND).await;
        assert_eq!(hand.store.dump().deliveries.len(), 0);
        engine.publish(event(1)).await.expect("nobody gets it, and nothing is in the way");
    });
}
