//! Commits whose answers do not come, places that the server still holds, and a server that crashes under load.

use crate::own::Own;
use crate::proxy::{Cut, Proxy};
use crate::{Database, SCHEMA, number, pg, stored, until};
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOptions, PgStore};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// How many places there are where there is one lane and one other writer.
const PLACES: usize = 8;

/// Longer than any test goes on.
const HOUR: Duration = Duration::from_secs(3_600);

/// A store whose way leads by the proxy.
async fn by(proxy: &Proxy, database: &Database, options: PgOptions) -> PgStore {
    let url = database.url_of("postgres", &format!("127.0.0.1:{}", proxy.port()));
    PgStore::open(PgOptions { url, ..options }).await.expect("the store opens")
}

#[test]
fn a_commit_is_found_out_whatever_comes_instead_of_its_answer() {
    block_on(async {
        let database = Database::new("d").await;
        let proxy = Proxy::start(database.place()).await;
        let options = PgOptions { write_timeout: Duration::from_secs(3), ..database.options() };
        let (store, client) = (by(&proxy, &database, options).await, database.client().await);
        let mut make = Fixtures::new(1);
        let route = make.route();
        for (there, cut) in (1_i64..).zip([Cut::Panic, Cut::Stall, Cut::Silence]) {
            let event = make.event_for(&[route]);
            proxy.arm(cut);
            let seq = stored(store.publish(vec![event.clone()]).await);
            assert!(proxy.has_cut(), "{cut:?}: something was committed on the way");
            assert_eq!(number(&client, "SELECT count(*) FROM events").await, there, "{cut:?}");
            let view = store.event(event.id).await.expect("a read").expect("it was acknowledged");
            assert_eq!((view.event.seq, view.deliveries.len()), (seq, 1), "{cut:?}");
        }
        assert!(!store.is_lost());
    });
}

#[test]
fn a_node_that_does_not_learn_what_became_of_a_commit_leaves() {
    block_on(async {
        let database = Database::new("d").await;
        let proxy = Proxy::start(database.place()).await;
        let options = PgOptions { doubt: Duration::from_millis(500), ..database.options() };
        let (store, client) = (by(&proxy, &database, options).await, database.client().await);
        proxy.arm_and_leave(Cut::AfterCommit);
        let answer = store.publish(vec![Fixtures::new(1).event(1)]).await;
        assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::Unknown));
        assert!(proxy.has_cut() && store.is_lost());
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, 1);
    });
}

#[test]
fn who_stops_waiting_for_what_became_of_a_commit_leaves_the_place_to_others() {
    block_on(async {
        let database = Database::new("d").await;
        let proxy = Proxy::start(database.place()).await;
        let options = PgOptions { lanes: 1, writers: 1, lease: HOUR, doubt: HOUR, ..database.options() };
        let store = by(&proxy, &database, options).await;
        let mut make = Fixtures::new(1);
        let request = ClaimRequest { endpoint: make.route().endpoint, due_by: make.now(), limit: 1, max_bytes: u64::MAX };
        for _ in 0..PLACES + 2 {
            proxy.arm_and_leave(Cut::AfterCommit);
            let looked_up = async {
                until("its commit is cut off", async || proxy.has_cut()).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            tokio::select! {
                answer = store.claim(vec![request]) => panic!("nobody can know it: {answer:?}"),
                () = looked_up => {}
            }
            proxy.come_back();
        }
        assert!(store.claim(vec![request]).await.expect("claims")[0].deliveries.is_empty());
    });
}

#[test]
fn nobody_waits_for_a_place_that_the_server_still_holds() {
    block_on(async {
        let database = Database::new("d").await;
        let give_up = Duration::from_secs(1);
        let options = PgOptions { lanes: 1, writers: 1, lock_timeout: HOUR, write_timeout: HOUR, give_up, ..database.options() };
        let (store, client) = (PgStore::open(options).await.expect("the store opens"), database.client().await);
        let mut make = Fixtures::new(1);
        client.batch_execute("BEGIN").await.expect("a transaction");
        for held in 1..=PLACES {
            stored(store.publish(vec![make.event(1)]).await);
            let rows = client.query("SELECT place FROM marks FOR UPDATE", &[]).await.expect("locks");
            assert_eq!(rows.len(), held, "a place has a row once it is used");
        }
        let answer = store.publish(vec![make.event(1)]).await;
        assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable), "all of them are held");
        client.batch_execute("ROLLBACK").await.expect("it ends");
        stored(store.publish(vec![make.event(1)]).await);
        assert_eq!(number(&client, "SELECT count(*) FROM marks").await, PLACES as i64);
    });
}

#[test]
fn a_place_moves_to_a_new_row_before_the_old_one_grows_dear() {
    const EVENTS: i64 = 300;
    const USES: i64 = 256;
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let mut make = Fixtures::new(1);
        for _ in 0..EVENTS {
            stored(store.publish(vec![make.event(1)]).await);
        }
        assert_eq!(number(&client, "SELECT count(*) FROM marks").await, 1, "the one that has just ended is used again");
        assert_eq!(number(&client, "SELECT n FROM marks").await, EVENTS - USES);
    });
}

#[test]
fn a_node_whose_marks_are_gone_leaves() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let mut make = Fixtures::new(1);
        stored(store.publish(vec![make.event(1)]).await);
        client.batch_execute("DELETE FROM marks").await.expect("they go");
        let answer = store.publish(vec![make.event(1)]).await;
        assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert!(store.is_lost());
    });
}

#[test]
fn without_its_mark_nobody_says_that_a_commit_has_failed() {
    block_on(async {
        let database = Database::new("d").await;
        let proxy = Proxy::start(database.place()).await;
        let (store, client) = (by(&proxy, &database, database.options()).await, database.client().await);
        proxy.arm_and_leave(Cut::AfterCommit);
        let forget = async {
            until("its commit is cut off", async || proxy.has_cut()).await;
            let gone = client.execute("DELETE FROM marks", &[]).await.expect("they go");
            proxy.come_back();
            gone
        };
        let (answer, gone) = tokio::join!(store.publish(vec![Fixtures::new(1).event(1)]), forget);
        assert_eq!((answer.map_err(|e| e.kind), gone), (Err(StoreErrorKind::Unknown), 1));
        assert!(store.is_lost());
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, 1);
    });
}

/// What marks are for: a server that comes back gives numbers of transactions out again, of which nothing had reached its disk.
#[test]
fn no_answer_is_untrue_where_the_server_crashes_under_load() {
    const PUBLISHERS: u64 = 8;
    const CRASHES: usize = 5;
    const BETWEEN: usize = 100;
    block_on(async {
        let mut own = Own::start().await;
        let store = Arc::new(PgStore::open(PgOptions::new(own.url())).await.expect("the store opens"));
        let route = Fixtures::new(1).route();
        let ((acknowledged, mut progress), is_over) = (watch::channel(0), Arc::new(AtomicBool::new(false)));
        let mut publishers = tokio::task::JoinSet::new();
        for seed in 0..PUBLISHERS {
            let (store, acknowledged, is_over) = (store.clone(), acknowledged.clone(), is_over.clone());
            publishers.spawn(async move {
                let (mut make, mut answers) = (Fixtures::new(100 + seed), Vec::new());
                while !is_over.load(Ordering::Relaxed) {
                    let event = make.event_for(&[route]);
                    let id = event.id.uuid();
                    let answer = store.publish(vec![event]).await.map(drop).map_err(|e| e.kind);
                    if answer.is_ok() {
                        acknowledged.send_modify(|n| *n += 1);
                    }
                    answers.push((id, answer));
                }
                answers
            });
        }
        for _ in 0..CRASHES {
            let enough = *progress.borrow() + BETWEEN;
            progress.wait_for(|n| *n >= enough).await.expect("they publish");
            own.crash().await;
        }
        let enough = *progress.borrow() + BETWEEN;
        progress.wait_for(|n| *n >= enough).await.expect("they publish again");
        is_over.store(true, Ordering::Relaxed);
        let answers = publishers.join_all().await.concat();
        let client = pg::connect(&own.url()).await;
        let rows = client.query(&format!("SELECT id FROM {SCHEMA}.events"), &[]).await.expect("a read");
        let there: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        for (id, answer) in &answers {
            match answer {
                Ok(()) => assert!(there.contains(id), "an event was acknowledged, and is not there"),
                Err(StoreErrorKind::Unknown) => {}
                Err(kind) => assert!(!there.contains(id), "an event is there, and the answer was {kind:?}"),
            }
        }
        for table in ["deliveries", "queue"] {
            let sql = format!("SELECT count(*) FROM {SCHEMA}.{table}");
            assert_eq!(number(&client, &sql).await, there.len() as i64, "{table}");
        }
    });
}
