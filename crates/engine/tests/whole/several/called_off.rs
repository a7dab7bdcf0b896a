//! Deliveries that are called off through another engine than the one that has them in memory.

use super::*;
use postrider_core::delivery::{State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::id::DeliveryId;

const CALLED_OFF: State = State::Cancelled(ErrorCode::CancelledByHand);

/// Two engines, the first of which has a delivery in memory that waits for its retry.
async fn waiting(hand: &Arc<Hand>) -> (Engine, Engine, DeliveryId) {
    let [one, _] = shares().await;
    let n = numbers_in(one).next().expect("there are many");
    subscribe(hand, n, |to| to).await;
    let (first, second) = two(hand).await;
    *hand.status.lock() = 500;
    publish(&first, n, 1).await;
    pass(SECOND).await;
    let delivery = hand.store.dump().deliveries[0].id;
    assert_eq!((hand.requests(), hand.store.dump().claims.get(&delivery)), (1, Some(&hand.engine(0))), "its retry waits in memory");
    (first, second, delivery)
}

fn state(hand: &Hand) -> State {
    hand.store.dump().deliveries[0].progress.state
}

#[test]
fn a_delivery_is_called_off_wherever_it_waits() {
    run(async {
        let hand = hand();
        let (first, second, delivery) = waiting(&hand).await;
        let answer = second.cancel_delivery(delivery).await.expect("the model never fails");
        assert!(matches!(answer, Cancelled::AtOnce(_)), "{answer:?}");
        assert_eq!((state(&hand), hand.store.dump().claims.len(), first.stats().load.held), (CALLED_OFF, 0, 0));
        pass(3_600 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand)), (1, CALLED_OFF));
        let again = first.cancel_delivery(delivery).await.expect("the model never fails");
        assert_eq!(again, Cancelled::Ended(StateKind::Cancelled));
    });
}

/// That costs one attempt, and no more.
#[test]
fn what_nobody_tells_ends_after_the_next_attempt() {
    run(async {
        let hand = hand();
        let (_first, second, delivery) = waiting(&hand).await;
        hand.store.lose_news(true);
        let answer = second.cancel_delivery(delivery).await.expect("the model never fails");
        assert_eq!((answer, state(&hand).kind()), (Cancelled::AfterAttempt, StateKind::Retrying));
        pass(3_600 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand), hand.store.dump().claims.len()), (2, CALLED_OFF, 0));
    });
}

/// Its owner has died since: whoever takes over ends it.
#[test]
fn a_delivery_is_called_off_over_the_death_of_its_engine() {
    run(async {
        let hand = hand();
        let (_first, second, delivery) = waiting(&hand).await;
        hand.store.lose_news(true);
        let answer = second.cancel_delivery(delivery).await.expect("the model never fails");
        assert_eq!(answer, Cancelled::AfterAttempt);
        hand.store.end(hand.engine(0));
        pass(3 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand), hand.store.dump().claims.len()), (1, CALLED_OFF, 0));
    });
}
