//! One that has not heard yet of what another has configured.

use super::*;
use postrider_core::delivery::StateKind;

/// Stores these through one of them; nobody can read what is configured from then on.
async fn configured_unseen(hand: &Arc<Hand>, engine: &Engine, changes: Vec<ConfigChange>) {
    hand.fail(Some(("configuration", StoreErrorKind::Unavailable)));
    engine.edit(|_| Ok::<_, StoreError>((changes.clone(), ()))).await.expect("stored");
}

/// A delivery that leads nowhere as far as its owner knows waits, and is made once its owner knows better.
#[test]
fn a_delivery_is_not_given_up_because_its_subscription_was_not_heard_of() {
    run(async {
        let hand = hand();
        let [_, other] = shares().await;
        let mut numbers = numbers_in(other);
        let mut next = || numbers.next().expect("there are many");
        let (known, new) = (next(), next());
        subscribe(&hand, known, |to| to).await;
        let (first, second) = two(&hand).await;
        // One more to an endpoint that both know, and one to an endpoint that only the first one knows.
        let to = |n: u128| EndpointId::new(Uuid::from_u128(n));
        let created_at = hand.now();
        let changes = vec![
            ConfigChange::Subscription(Subscription { id: of(new + 1), endpoint: to(known), created_at, ..subscription() }),
            ConfigChange::Endpoint(Endpoint { id: to(new), url: format!("https://r{new}.test/hook"), ..endpoint(EndpointStatus::Active) }),
            ConfigChange::Subscription(Subscription { id: of(new), endpoint: to(new), created_at, ..subscription() }),
        ];
        configured_unseen(&hand, &first, changes).await;
        publish(&first, new + 1, 2).await;
        publish(&first, new, 2).await;
        pass(3 * SECOND).await;
        assert!(second.routes().endpoint(to(new)).is_none(), "it cannot know");
        assert_eq!(hand.requests(), 0);
        let states: Vec<_> = hand.store.dump().deliveries.iter().map(|delivery| delivery.progress.state.kind()).collect();
        assert!(states.len() == 4 && states.iter().all(|state| *state == StateKind::Pending), "{states:?}");
        hand.fail(None);
        pass(3 * SECOND).await;
        assert_eq!((by(&hand, &got(&hand, known)), by(&hand, &got(&hand, new))), ([0, 2], [0, 2]));
    });
}
