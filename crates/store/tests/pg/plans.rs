//! What people look over and look for is found by indexes, however much there is of other things.

use crate::{Database, number, until};
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, DeliveryId};
use postrider_core::ports::*;
use postrider_core::series::Step;
use postrider_core::time::Timestamp;
use postrider_store::PgStore;
use postrider_store::conformance::{Fixtures, block_on};
use uuid::Uuid;

/// Numbers of other kinds, dead letters, keys and numbers over time, ten thousand of each.
const MUCH: &str = "INSERT INTO tallies SELECT 'default', gen_random_uuid(), gen_random_uuid(), 3, '', 0, 1 FROM generate_series(1, 10000); \
     INSERT INTO tallies SELECT 'default', gen_random_uuid(), gen_random_uuid(), 10, 'dns_error', 0, 1 FROM generate_series(1, 5); \
     INSERT INTO dead_letters (id, delivery, namespace, subscription, endpoint, event, code, message, attempts, failed_at, status) \
     SELECT gen_random_uuid(), gen_random_uuid(), 'default', gen_random_uuid(), gen_random_uuid(), n, 'dns_error', '', 1, n, 0 \
     FROM generate_series(1, 10000) n; \
     INSERT INTO event_keys SELECT 'default', 'k' || n, gen_random_uuid() FROM generate_series(1, 10000) n; \
     INSERT INTO series SELECT 0, 'n' || n % 50, n, 1, 9000000000000000, '\\x00'::bytea FROM generate_series(1, 10000) n; ANALYZE";

/// Rows of large tables that were read from end to end.
const WALKED: &str = "SELECT coalesce(sum(seq_tup_read), 0)::int8 FROM pg_stat_user_tables WHERE n_live_tup >= 1000";

/// The indexes that the statements are written for.
const INDEXES: [&str; 5] = ["tallies_dead_letters", "dead_letters_delivery", "dead_letters_pkey", "event_keys_pkey", "series_pkey"];

async fn look(store: &PgStore) {
    let own = Some(Namespace::default_namespace());
    let (nobody, none) = (DeliveryId::new(Uuid::from_u128(7)), DeadLetterId::new(Uuid::from_u128(7)));
    for namespace in [None, own.clone()] {
        store.dead_letter_groups(namespace.clone(), 10).await.expect("dead_letter_groups");
        store.delivery_keys(namespace.clone(), None, 10).await.expect("delivery_keys");
        store.open_letters(vec![none], namespace.clone()).await.expect("open_letters");
        store.whole_attempts(nobody, namespace, 5, 100).await.expect("whole_attempts");
    }
    store.open_dead_letter(nobody).await.expect("open_dead_letter");
    store.events_by_key(own.clone().into_iter().collect(), String::from("k7")).await.expect("events_by_key");
    store.series(own, Step::TenSeconds, Timestamp::from_secs(0), Timestamp::from_secs(60)).await.expect("series");
    store.counted_namespaces(None).await.expect("counted_namespaces");
    store.forget_series(Timestamp::from_secs(0), 100).await.expect("forget_series");
}

/// The statements are planned once while nothing is there, and again when there is much.
#[test]
fn what_is_looked_over_is_read_by_its_indexes() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, mut make) = (database.open().await, Fixtures::new(1));
        look(&store).await;
        let routes = [make.route()];
        for _ in 0..10 {
            let events = (0..200).map(|_| make.event_for(&routes)).collect();
            store.publish(events).await.expect("publishes");
        }
        let client = database.client().await;
        client.batch_execute(MUCH).await.expect("rows");
        until("the tables are known to be large", async || {
            number(&client, "SELECT count(*) FROM pg_stat_user_tables WHERE n_live_tup >= 1000").await >= 5
        })
        .await;
        let before = number(&client, WALKED).await;
        for _ in 0..10 {
            look(&store).await;
        }
        // What its connections have read is told when they end, at the latest.
        store.close().await;
        for index in INDEXES {
            let used = format!("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
            until(index, async || number(&client, &used).await >= 10).await;
        }
        let walked = number(&client, WALKED).await - before;
        assert!(walked < 1_000, "{walked} rows were read from end to end");
    });
}
