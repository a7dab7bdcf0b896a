//! One that has not heard yet of what another has configured.

use super::*;
use crate::items::{binding, destination, of_type};
use postrider_core::delivery::StateKind;
use postrider_core::error::ErrorCode;
use postrider_core::id::JobId;
use postrider_core::retry::RetryPolicy;
use postrider_engine::NewJob;

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

fn to(n: u128) -> EndpointId {
    EndpointId::new(Uuid::from_u128(n))
}

/// One more subscription to an endpoint, made now.
fn another(hand: &Hand, n: u128, endpoint: u128) -> ConfigChange {
    ConfigChange::Subscription(Subscription { id: of(n), endpoint: to(endpoint), created_at: hand.now(), ..subscription() })
}

fn states(hand: &Hand) -> Vec<StateKind> {
    hand.store.dump().deliveries.iter().map(|delivery| delivery.progress.state.kind()).collect()
}

/// Two engines, and numbers of endpoints that are the second one's and that both know.
async fn two_with<const N: usize>(hand: &Arc<Hand>) -> (Engine, Engine, [u128; N]) {
    let [_, other] = shares().await;
    let mut numbers = numbers_in(other);
    let known = [(); N].map(|()| numbers.next().expect("there are many"));
    for n in known {
        subscribe(hand, n, |to| to).await;
    }
    let (first, second) = two(hand).await;
    (first, second, known)
}

#[test]
fn who_is_known_is_sent_to_while_nobody_can_say_who_somebody_else_is() {
    run(async {
        let hand = hand();
        let (first, _second, [known]) = two_with::<1>(&hand).await;
        let [_, other] = shares().await;
        let new = numbers_in(other).nth(1).expect("there are many");
        let made = Endpoint { id: to(new), url: format!("https://r{new}.test/hook"), ..endpoint(EndpointStatus::Active) };
        configured_unseen(&hand, &first, vec![ConfigChange::Endpoint(made), another(&hand, new, new)]).await;
        publish(&first, new, 2).await;
        pass(SECOND).await;
        publish(&first, known, 3).await;
        pass(500 * MILLIS).await;
        assert_eq!((by(&hand, &got(&hand, known)), got(&hand, new).len()), ([0, 3], 0));
        hand.fail(None);
        pass(3 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, new)), [0, 2]);
    });
}

/// Nor does it hold up what else there is for its endpoint.
#[test]
fn a_delivery_that_leads_nobody_knows_where_is_looked_at_once_a_second() {
    run(async {
        let hand = hand();
        let (first, _second, [known]) = two_with::<1>(&hand).await;
        let unseen = another(&hand, known + 1, known);
        configured_unseen(&hand, &first, vec![unseen]).await;
        let calls = || ["claim", "settle"].map(|verb| hand.verbs(verb));
        let before = calls();
        publish(&first, known + 1, 2).await;
        pass(3 * SECOND).await;
        let after = calls();
        assert!((0..2).all(|verb| after[verb] - before[verb] <= 12), "{before:?} and then {after:?}");
        publish(&first, known, 2).await;
        pass(500 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, known)), [0, 2]);
        hand.fail(None);
        pass(3 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, known)), [0, 4]);
    });
}

#[test]
fn what_is_gone_is_looked_for_once_for_many_deliveries() {
    run(async {
        const MANY: usize = 200;
        let hand = hand();
        let (first, _second, [known]) = two_with::<1>(&hand).await;
        hand.hold(Some("claim"));
        publish(&first, known, MANY).await;
        let gone = Subscription { id: of(known), endpoint: to(known), deleted_at: Some(hand.now()), ..subscription() };
        hand.configure(vec![ConfigChange::Subscription(gone)]).await;
        pass(2 * SECOND).await;
        let before = hand.verbs("configuration_version");
        hand.hold(None);
        pass(500 * MILLIS).await;
        let looked = hand.verbs("configuration_version") - before;
        let states = states(&hand);
        assert!(states.len() == MANY && states.iter().all(|state| *state == StateKind::Cancelled), "{states:?}");
        assert!(looked <= MANY / 10, "{looked} times");
    });
}

/// Whoever waited for it knows no more than before.
#[test]
fn a_look_that_breaks_off_proves_nothing() {
    run(async {
        let hand = hand();
        let (first, _second, [one, other]) = two_with::<2>(&hand).await;
        hand.store.lose_news(true);
        let changes = [one, other].map(|n| another(&hand, n << 8, n)).to_vec();
        first.edit(|_| Ok::<_, StoreError>((changes.clone(), ()))).await.expect("stored");
        hand.hold(Some("configuration_version"));
        pass(1_500 * MILLIS).await;
        publish(&first, one << 8, 1).await;
        publish(&first, other << 8, 1).await;
        // By now each waits for the look that is under way, to begin one of its own.
        pass(3 * SECOND).await;
        *hand.panics.lock() = Some("configuration");
        hand.hold(None);
        pass(500 * MILLIS).await;
        assert_eq!((states(&hand), hand.requests()), (vec![StateKind::Pending; 2], 0));
        *hand.panics.lock() = None;
        pass(3 * SECOND).await;
        assert_eq!([one, other].map(|n| by(&hand, &got(&hand, n))), [[0, 1]; 2]);
    });
}

#[test]
fn what_was_parked_for_long_is_not_given_up_if_somebody_has_enabled_its_endpoint() {
    run(async {
        let hand = hand();
        let [_, other] = shares().await;
        let n = numbers_in(other).next().expect("there are many");
        let since = EndpointStatus::Disabled { reason: ErrorCode::EndpointGone, at: hand.now() };
        subscribe(&hand, n, |to| Endpoint { status: since, ..to }).await;
        let retention = Retention { parked: 60 * SECOND, every: SECOND, ..Retention::default() };
        let first = hand.start(Limits::default(), retention).await;
        let _second = hand.start(Limits::default(), retention).await;
        pass(100 * MILLIS).await;
        publish(&first, n, 3).await;
        pass(50 * SECOND).await;
        let enabled = Endpoint { id: to(n), url: format!("https://r{n}.test/hook"), ..endpoint(EndpointStatus::Active) };
        configured_unseen(&hand, &first, vec![ConfigChange::Endpoint(enabled)]).await;
        pass(30 * SECOND).await;
        assert_eq!((states(&hand), hand.requests()), (vec![StateKind::Pending; 3], 0));
        hand.fail(None);
        pass(40 * SECOND).await;
        assert_eq!((by(&hand, &got(&hand, n)), hand.store.dump().dead_letters.len()), ([0, 3], 0));
    });
}

#[test]
fn a_bulk_replay_waits_for_the_configuration_however_long_that_takes() {
    run(async {
        const LETTERS: usize = 20;
        let hand = hand();
        subscribe(&hand, 1, |to| to).await;
        let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::tasks() };
        hand.configure(vec![ConfigChange::Subscription(Subscription { id: of(1), retry, ..subscription() })]).await;
        let engine = start(&hand).await;
        *hand.status.lock() = 400;
        publish(&engine, 1, LETTERS).await;
        pass(20 * SECOND).await;
        assert_eq!((hand.requests(), hand.store.dump().dead_letters.len()), (LETTERS, LETTERS));
        *hand.status.lock() = 200;
        hand.fail(Some(("configuration", StoreErrorKind::Internal)));
        hand.configure(vec![another(&hand, 2, 1)]).await;
        let id = JobId::new(Uuid::from_u128(7));
        let new = NewJob { id, namespace: Namespace::default_namespace(), filter: DeadLetterFilter::default(), rate: 10 };
        engine.start_job(new).await.expect("stored");
        let job = async || hand.store.job(id).await.expect("the model never fails").expect("it is there");
        pass(600 * SECOND).await;
        assert_eq!((job().await.state, job().await.replayed), (JobState::Running, 0));
        hand.fail(None);
        pass(60 * SECOND).await;
        assert_eq!((job().await.state, job().await.replayed), (JobState::Completed, LETTERS as u64));
    });
}

#[test]
fn a_batch_reaches_whoever_has_subscribed_through_another_engine_before_it_began() {
    run(async {
        const EVENTS: usize = 10;
        let hand = hand();
        let [_, other] = shares().await;
        let target = destination(1);
        hand.configure(vec![ConfigChange::Endpoint(target.clone()), ConfigChange::Subscription(binding(2, &target, "a.b"))]).await;
        let (first, _second) = two(&hand).await;
        for n in 0..EVENTS {
            first.publish(of_type("a.b", &format!("{{\"n\":{n}}}"))).await.expect("stored");
        }
        pass(SECOND).await;
        let prepare = async || first.prepare_repush(EventFilter::default()).await.expect("stored").expect("something matches");
        let mut batch = prepare().await;
        while !other.contains(Slot::of(batch.id.uuid())) {
            batch = prepare().await;
        }
        let late = Subscription { created_at: hand.now(), ..binding(3, &target, "a.b") };
        configured_unseen(&hand, &first, vec![ConfigChange::Subscription(late)]).await;
        first.start_batch(&batch).await.expect("stored");
        pass(3 * SECOND).await;
        assert_eq!(hand.store.dump().events.len(), EVENTS, "nobody knows who wants them");
        hand.fail(None);
        pass(10 * SECOND).await;
        let found = hand.store.batch(batch.id).await.expect("the model never fails").expect("it is there");
        assert_eq!((found.state, found.failed), (BatchState::Completed, 0));
        assert_eq!((hand.store.dump().events.len(), hand.requests()), (2 * EVENTS, 3 * EVENTS));
    });
}

/// Also where the answer would be that there is nothing to do.
#[test]
fn an_edit_finds_what_another_engine_has_configured_a_moment_ago() {
    run(async {
        let hand = hand();
        let (first, second) = two(&hand).await;
        hand.store.lose_news(true);
        let new = Endpoint { id: to(1), ..endpoint(EndpointStatus::Active) };
        first.edit(|_| Ok::<_, StoreError>((vec![ConfigChange::Endpoint(new.clone())], ()))).await.expect("stored");
        let missing = || StoreError { kind: StoreErrorKind::Corrupt, cause: "it is not there".to_owned() };
        let renamed = second.edit(|routes| {
            let found = routes.endpoint(to(1)).ok_or_else(missing)?;
            Ok::<_, StoreError>((vec![ConfigChange::Endpoint(Endpoint { name: "renamed".to_owned(), ..Endpoint::clone(found) })], ()))
        });
        assert_eq!(renamed.await, Ok(()));
        let restored = first.edit(|routes| {
            let found = routes.endpoint(to(1)).filter(|found| found.name == "renamed");
            let change = found.map(|found| ConfigChange::Endpoint(Endpoint { name: String::new(), ..Endpoint::clone(found) }));
            Ok::<_, StoreError>((change.into_iter().collect(), ()))
        });
        assert_eq!(restored.await, Ok(()));
        let name = first.routes().endpoint(to(1)).map(|endpoint| endpoint.name.clone());
        assert_eq!(name.as_deref(), Some(""));
        // What nobody has configured is not there.
        let refused = second.edit(|routes| {
            routes.endpoint(to(2)).ok_or_else(missing)?;
            Ok::<_, StoreError>((Vec::new(), ()))
        });
        assert_eq!(refused.await, Err(missing()));
    });
}
