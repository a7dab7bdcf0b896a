//! Nodes that share a database.

use crate::{Database, claim_all, number, settlement, stored, until};
use postrider_core::delivery::{State, StateKind};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_store::conformance::world::put_configuration;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{NodeRow, PgOptions, PgStore};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn what_one_node_stores_all_read() {
    block_on(async {
        let database = Database::new("d").await;
        let (a, b) = (database.open().await, database.open().await);
        let mut make = Fixtures::new(1);
        let (first, second) = (make.event(2), make.event(1));
        let seq = stored(a.publish(vec![first.clone()]).await);
        let next = stored(b.publish(vec![second.clone()]).await);
        assert!(next > seq, "{next:?} follows {seq:?}");
        for store in [&a, &b] {
            let view = store.event(first.id).await.expect("a read").expect("it is there");
            assert_eq!((view.event.seq, view.deliveries.len()), (seq, 2));
            assert!(store.event(second.id).await.expect("a read").is_some());
        }
        let endpoint = make.endpoint();
        let version = put_configuration(&a, vec![ConfigChange::Endpoint(endpoint.clone())]).await.expect("configures");
        assert_eq!(b.configuration_version().await, Ok(version));
        assert_eq!(b.configuration().await.expect("a read").endpoints, std::slice::from_ref(&endpoint));
        let again = b.configure(version - 1, vec![ConfigChange::Endpoint(endpoint)]).await;
        assert_eq!(again, Ok(Configured::Conflict), "it was made from what the other node has changed since");
    });
}

#[test]
fn nodes_claim_nothing_twice() {
    const DELIVERIES: usize = 300;
    block_on(async {
        let database = Database::new("d").await;
        let (a, b) = (database.open().await, database.open().await);
        let mut make = Fixtures::new(1);
        let route = make.route();
        let events: Vec<NewEvent> = (0..DELIVERIES).map(|_| make.event_for(&[route])).collect();
        let mut expected: Vec<DeliveryId> = events.iter().map(|event| event.deliveries[0].id).collect();
        a.publish(events).await.expect("publishes");
        let (to, by) = (route.endpoint, make.now());
        let (one, two, three, four) =
            tokio::join!(claim_all(&a, to, by), claim_all(&b, to, by), claim_all(&a, to, by), claim_all(&b, to, by));
        let mut claimed = [one, two, three, four].concat();
        claimed.sort();
        expected.sort();
        assert_eq!(claimed, expected, "each delivery is claimed, and once");
    });
}

#[test]
fn of_one_key_on_two_nodes_one_event_is_stored() {
    const ROUNDS: i64 = 25;
    block_on(async {
        let database = Database::new("d").await;
        let (a, b) = (database.open().await, database.open().await);
        let mut make = Fixtures::new(1);
        for round in 0..ROUNDS {
            let mut event = || vec![NewEvent { idempotency_key: Some(format!("order-{round}")), ..make.event(1) }];
            let (one, two, three, four) = (event(), event(), event(), event());
            let (one, two, three, four) = tokio::join!(a.publish(one), b.publish(two), b.publish(three), a.publish(four));
            let answers: Vec<Published> = [one, two, three, four].into_iter().flat_map(|answer| answer.expect("publishes")).collect();
            let mut seqs = Vec::new();
            for answer in &answers {
                match answer {
                    Published::Stored(seq) => seqs.push(*seq),
                    Published::Duplicate { first, .. } => assert!(first.is_some(), "{answers:?}"),
                }
            }
            assert_eq!(seqs.len(), 1, "{answers:?}");
            assert!(answers.iter().all(|answer| !matches!(answer, Published::Duplicate { seq, .. } if *seq != seqs[0])), "{answers:?}");
        }
        let client = database.client().await;
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, ROUNDS);
        assert_eq!(number(&client, "SELECT count(*) FROM deliveries").await, ROUNDS);
    });
}

#[test]
fn a_node_that_was_taken_for_dead_stores_nothing_more() {
    block_on(async {
        let database = Database::new("d").await;
        let a = PgStore::open(PgOptions { heartbeat: Duration::from_millis(100), ..database.options() }).await.expect("the store opens");
        let mut make = Fixtures::new(1);
        let route = make.route();
        let event = make.claimed_event_for(&[route]);
        stored(a.publish(vec![event.clone()]).await);
        let client = database.client().await;
        let ended = client.execute("UPDATE nodes SET ended_at = clock_timestamp() WHERE ended_at IS NULL", &[]).await;
        assert_eq!(ended.expect("an update"), 1);
        let b = database.open().await;
        let rescued = b.rescue(10).await.expect("rescue");
        assert_eq!(rescued.iter().map(|claimed| claimed.delivery.id).collect::<Vec<_>>(), [event.deliveries[0].id]);

        let (of_a, of_b) = (AttemptId::new(make.uuid()), AttemptId::new(make.uuid()));
        let done = |attempt| -> Arc<[Settlement]> {
            Arc::from([settlement(&event, attempt, (StateKind::Pending, State::Succeeded), Some(make.success()))])
        };
        until("the node knows that it is none any more", async || match a.settle(done(of_a)).await {
            Ok(answers) => {
                assert_eq!(answers, [Settled::Fenced]);
                false
            }
            Err(error) => {
                assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error:?}");
                true
            }
        })
        .await;
        let late = Fixtures::new(2).event(1);
        assert_eq!(a.publish(vec![late.clone()]).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert_eq!(a.health().await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert!(b.event(late.id).await.expect("a read").is_none());

        assert_eq!(b.settle(done(of_b)).await, Ok(vec![Settled::Stored]));
        let view = b.delivery(event.deliveries[0].id).await.expect("a read").expect("it is there");
        assert_eq!(view.delivery.progress.state, State::Succeeded);
        assert_eq!(view.attempts.iter().map(|attempt| attempt.id).collect::<Vec<_>>(), [of_b]);
        assert_eq!(b.counters(vec![route.subscription]).await.expect("a read")[0].attempts_succeeded, 1);
    });
}

/// Both go on with the same fan-out from the same place: one slice is stored, of either node.
#[test]
fn of_one_slice_on_two_nodes_one_is_stored() {
    const ROUNDS: usize = 25;
    block_on(async {
        let database = Database::new("d").await;
        let (a, b) = (database.open().await, database.open().await);
        let mut make = Fixtures::new(1);
        for _ in 0..ROUNDS {
            let from = make.route().subscription;
            let event = NewEvent { fan_out_after: Some(from), ..make.event(0) };
            let seq = stored(a.publish(vec![event.clone()]).await);
            let mut slice = || {
                let made = make.event(2);
                let (namespace, deliveries) = (made.namespace, made.deliveries);
                FanOutSlice { event: seq, namespace, created_at: made.created_at, from, deliveries, fan_out_after: None }
            };
            let (one, other) = (slice(), slice());
            let (of_a, of_b) = tokio::join!(a.fan_out(vec![one.clone()]), b.fan_out(vec![other.clone()]));
            let answers = [of_a.expect("fan_out"), of_b.expect("fan_out")].concat();
            let winner = match answers[..] {
                [Sliced::Stored, Sliced::Gone] => one,
                [Sliced::Gone, Sliced::Stored] => other,
                _ => panic!("one of them should be stored: {answers:?}"),
            };
            let view = b.event(event.id).await.expect("a read").expect("it is there");
            let ids = |deliveries: &[NewDelivery]| deliveries.iter().map(|d| d.id).collect::<Vec<_>>();
            assert_eq!(view.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), ids(&winner.deliveries));
            assert!(!view.fan_out_pending);
        }
    });
}

#[test]
fn of_nodes_that_have_ended_few_are_kept_and_their_marks_for_minutes() {
    const KEPT: i64 = 100;
    block_on(async {
        let database = Database::new("d").await;
        let a = database.open().await;
        stored(a.publish(vec![Fixtures::new(1).event(1)]).await);
        let client = database.client().await;
        // A crash loop: a minute from one start to the next, and a mark of each; and one of a node that nobody knows any more.
        let past = "INSERT INTO nodes (incarnation, name, release, ended_at) \
                        SELECT 1000 + n, 'x', 'y', clock_timestamp() - n * interval '1 minute' FROM generate_series(1, 150) n; \
                    INSERT INTO marks (place, incarnation, n) SELECT 1000 + n, 1000 + n, 0 FROM generate_series(1, 150) n; \
                    INSERT INTO marks (place, incarnation, n) VALUES (2000, 2000, 0)";
        client.batch_execute(past).await.expect("nodes of the past");
        let newest: Vec<i64> = (1..=KEPT).rev().map(|n| 1000 + n).collect();
        let shown = |nodes: Vec<NodeRow>| -> Vec<i64> { nodes.iter().map(|node| node.incarnation).collect() };
        let expected = [newest.as_slice(), &[a.incarnation()]].concat();
        assert_eq!(shown(a.nodes().await.expect("a read")), expected, "all of them are there, and few are shown");
        let b = database.open().await;
        assert_eq!(number(&client, "SELECT count(*) FROM nodes WHERE ended_at IS NOT NULL").await, KEPT);
        let expected = [newest.as_slice(), &[b.incarnation(), a.incarnation()]].concat();
        assert_eq!(shown(b.nodes().await.expect("a read")), expected);
        let rows = client.query("SELECT DISTINCT incarnation FROM marks ORDER BY incarnation", &[]).await.expect("a read");
        let marked: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let expected: Vec<i64> = [a.incarnation()].into_iter().chain(1001..1010).collect();
        assert_eq!(marked, expected, "those that are alive or have ended within ten minutes may look them up");
        stored(a.publish(vec![Fixtures::new(2).event(1)]).await);
    });
}
