//! Statements that take longer than they may.

use crate::retention::assert_counted;
use crate::{Database, number, stored};
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOptions, PgStore};
use std::time::Duration;
use tokio::time::Instant;

/// So long a statement may take.
const LIMIT: Duration = Duration::from_secs(2);

/// By then it was cut off. A store that got no answer would give up later than this.
const MOST: Duration = Duration::from_secs(6);

/// Longer than any test goes on.
const HOUR: Duration = Duration::from_secs(3_600);

/// A store whose statements may take so long, and may wait for locks all that time.
async fn open(database: &Database) -> PgStore {
    let options = PgOptions { read_timeout: LIMIT, write_timeout: LIMIT, lock_timeout: HOUR, ..database.options() };
    PgStore::open(options).await.expect("the store opens")
}

/// A verb that waits for somebody's lock is cut off by the server, in time, and says that it may come through later.
async fn assert_cut_off<T>(verb: BoxFuture<'_, Result<T, StoreError>>) {
    let began = Instant::now();
    let error = verb.await.map(drop).expect_err("somebody has the lock");
    let took = began.elapsed();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error:?}");
    assert!(error.cause.contains("57014"), "the server has cut it off: {}", error.cause);
    assert!(took >= LIMIT && took < MOST, "{took:?}");
}

#[test]
fn a_publish_that_takes_too_long_stores_nothing_and_comes_through_later() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client, locking) = (open(&database).await, database.client().await, database.client().await);
        let mut make = Fixtures::new(1);
        stored(store.publish(vec![make.event(1)]).await);
        let event = NewEvent { idempotency_key: Some("key".to_owned()), ..make.event(2) };
        locking.batch_execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
        assert_cut_off(store.publish(vec![event.clone()])).await;
        locking.batch_execute("ROLLBACK").await.expect("the lock is free");
        for (table, rows) in [("events", 1), ("deliveries", 1), ("queue", 1), ("event_keys", 0)] {
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
        }
        assert_counted(&client).await;
        let seq = stored(store.publish(vec![event.clone()]).await);
        let view = store.event(event.id).await.expect("a read").expect("it was acknowledged");
        assert_eq!((view.event.seq, view.deliveries.len()), (seq, 2));
        assert_counted(&client).await;
        assert!(!store.is_lost());
    });
}

#[test]
fn a_read_that_takes_too_long_is_given_up_and_comes_through_later() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, locking) = (open(&database).await, database.client().await);
        let event = Fixtures::new(1).event(1);
        stored(store.publish(vec![event.clone()]).await);
        locking.batch_execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
        assert_cut_off(store.event_by_id(event.id, None)).await;
        locking.batch_execute("ROLLBACK").await.expect("the lock is free");
        let row = store.event_by_id(event.id, None).await.expect("a read").expect("it is there");
        assert_eq!(row.event.id, event.id);
        assert!(!store.is_lost());
    });
}
