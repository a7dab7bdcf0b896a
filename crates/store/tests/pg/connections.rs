//! Connections that break.

use crate::proxy::{Cut, Proxy};
use crate::{Database, claim_all, number, stored};
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOptions, PgStore};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_postgres::Client;

/// Ends all connections of the database but this one; answers how many there were.
async fn kill_connections(client: &Client) -> i64 {
    let sql = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    number(client, sql).await
}

#[test]
fn connections_that_are_killed_lose_nothing_and_store_nothing_twice() {
    const PUBLISHERS: u64 = 4;
    const EACH: usize = 60;
    const KILL_AFTER: [usize; 5] = [5, 50, 100, 150, 200];
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (Arc::new(database.open().await), database.client().await);
        let route = Fixtures::new(1).route();
        let (acknowledged, mut progress) = watch::channel(0);
        let mut publishers = tokio::task::JoinSet::new();
        for seed in 0..PUBLISHERS {
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            publishers.spawn(async move {
                let mut make = Fixtures::new(100 + seed);
                for _ in 0..EACH {
                    stored(store.publish(vec![make.event_for(&[route])]).await);
                    acknowledged.send_modify(|n| *n += 1);
                }
            });
        }
        for after in KILL_AFTER {
            progress.wait_for(|n| *n >= after).await.expect("they publish");
            assert!(kill_connections(&client).await > 0);
        }
        while let Some(ended) = publishers.join_next().await {
            ended.expect("all that was published was acknowledged");
        }
        let all = PUBLISHERS as i64 * EACH as i64;
        for table in ["events", "deliveries", "queue"] {
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, all, "{table}");
        }
        // Nothing is under way now: whoever asks next finds every connection lost.
        assert!(kill_connections(&client).await > 0);
        assert_eq!(store.counters(vec![route.subscription]).await.expect("a read")[0].deliveries[0], all as u64);
        kill_connections(&client).await;
        let mut make = Fixtures::new(1_000);
        stored(store.publish(vec![make.event_for(&[route])]).await);
        let claimed = claim_all(&store, route.endpoint, make.now()).await;
        assert_eq!(claimed.len() as i64, all + 1);
        assert_eq!(store.health().await, Ok(()));
    });
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_out() {
    block_on(async {
        let database = Database::new("d").await;
        let proxy = Proxy::start(database.place()).await;
        let url = database.url_of("postgres", &format!("127.0.0.1:{}", proxy.port()));
        let store = PgStore::open(PgOptions { url, ..database.options() }).await.expect("the store opens");
        let (client, mut make) = (database.client().await, Fixtures::new(1));
        let route = make.route();
        stored(store.publish(vec![make.event_for(&[route])]).await);
        let mut there = 1;
        for cut in [Cut::AfterCommit, Cut::BeforeCommit, Cut::AfterCommit] {
            let event = make.event_for(&[route]);
            proxy.arm(cut);
            let seq = stored(store.publish(vec![event.clone()]).await);
            assert!(proxy.has_cut(), "{cut:?}: something was committed on the way");
            there += 1;
            assert_eq!(number(&client, "SELECT count(*) FROM events").await, there, "{cut:?}");
            let view = store.event(event.id).await.expect("a read").expect("it was acknowledged");
            assert_eq!((view.event.seq, view.deliveries.len()), (seq, 1), "{cut:?}");
            assert_eq!(store.counters(vec![route.subscription]).await.expect("a read")[0].deliveries[0], there as u64, "{cut:?}");
        }
    });
}
