//! Retention whose session, or whose node, is ended in the middle of a slice: nothing of that slice is gone, and somebody else goes on.

use crate::retention::{assert_counted, long_ago, nine_days_after, prune, sent_together};
use crate::schema::is_there;
use crate::{Database, WAIT, number, until};
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOptions, PgStore};
use std::time::Duration;

/// So many deliveries there are, each with its event and its attempt.
const ROWS: u64 = 300;

/// Who waits right before a COMMIT, which is where it is looked whether a node is alive.
const IS_COMMITTING: &str =
    "datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'SELECT 1 / count(*) FROM living WHERE %'";

/// What ends a slice.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The server ends its session.
    Session,
    /// Others take its node for dead.
    Node,
}

/// What a slice has done, by the lock that it has on the attempts.
#[derive(Clone, Copy, Debug)]
enum Done {
    /// It has removed some, one by one.
    Rows,
    /// It has dropped a partition of theirs.
    Partition,
}

impl Done {
    fn lock(self) -> &'static str {
        match self {
            Done::Rows => "RowExclusiveLock",
            Done::Partition => "AccessExclusiveLock",
        }
    }
}

/// One that tries nothing again, and one that does. No heartbeat tells them anything.
async fn two(database: &Database) -> (PgStore, PgStore) {
    let (heartbeat, hour) = (Duration::from_secs(600), Duration::from_secs(3_600));
    let options = PgOptions { heartbeat, lease: hour, lock_timeout: hour, give_up: WAIT, ..database.options() };
    let impatient = PgOptions { give_up: Duration::ZERO, ..options.clone() };
    let open = async |options| PgStore::open(options).await.expect("the store opens");
    (open(impatient).await, open(options).await)
}

/// Ends the next slice of this node when it has done this and is about to be committed; answers what the node says of it.
async fn cut(database: &Database, node: &PgStore, request: PruneRequest, (done, end): (Done, End)) -> Result<Pruned, StoreError> {
    let (client, locking) = (database.client().await, database.client().await);
    locking.batch_execute("BEGIN; LOCK TABLE living IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    let ending = async {
        let has_done = format!(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE relation = 'attempts'::regclass AND granted \
             AND mode = '{}' AND {IS_COMMITTING}",
            done.lock()
        );
        until("the slice is about to be committed", async || number(&client, &has_done).await == 1).await;
        match end {
            End::Session => {
                let ended = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 60000)) FROM pg_stat_activity";
                assert_eq!(number(&client, &format!("{ended} WHERE {IS_COMMITTING}")).await, 1);
            }
            End::Node => {
                let ended = format!("UPDATE nodes SET ended_at = clock_timestamp() WHERE incarnation = {}", node.incarnation());
                locking.batch_execute(&ended).await.expect("it is ended");
            }
        }
        locking.batch_execute("COMMIT").await.expect("the lock is free");
    };
    let (answer, ()) = tokio::join!(node.prune(request), ending);
    answer
}

/// The node whose slice was cut off has removed nothing by it, and goes on as it should: at the next call, or never.
async fn assert_next(node: &PgStore, request: PruneRequest, end: End) {
    match end {
        End::Session => assert_eq!(prune(node, request).await, Pruned::default(), "nothing is left"),
        End::Node => {
            assert_eq!(node.prune(request).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
            assert!(node.is_lost());
        }
    }
}

#[test]
fn rows_of_a_slice_that_is_cut_off_stay_until_another_node_removes_them() {
    const LIMIT: u32 = 40;
    block_on(async {
        for end in [End::Session, End::Node] {
            let database = Database::new("d").await;
            let ((a, b), client, mut make) = (two(&database).await, database.client().await, Fixtures::new(1));
            let route = make.route();
            sent_together(&b, &mut make, route, ROWS as usize).await;
            let request = PruneRequest { limit: LIMIT, ..nine_days_after(&make) };
            let begun = a.prune(request).await.expect("prune");
            assert!(begun.more && begun.attempts > 0, "{begun:?}");
            let answer = cut(&database, &a, request, (Done::Rows, end)).await;
            assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable), "{end:?}");
            let left = (ROWS - begun.attempts) as i64;
            assert_eq!(number(&client, "SELECT count(*) FROM attempts").await, left, "{end:?}");
            assert_counted(&client).await;

            let rest = prune(&b, request).await;
            assert_eq!((begun.attempts + rest.attempts, rest.deliveries, rest.events), (ROWS, ROWS, ROWS), "{end:?}");
            for table in ["attempts", "deliveries", "events"] {
                assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, 0, "{end:?}: {table}");
            }
            assert_counted(&client).await;
            assert_next(&a, request, end).await;
        }
    });
}

#[test]
fn a_partition_whose_drop_is_cut_off_stays_until_another_node_drops_it() {
    block_on(async {
        for end in [End::Session, End::Node] {
            let database = Database::new("d").await;
            let ((a, b), client) = (two(&database).await, database.client().await);
            let (attempts, mut make, route) = long_ago(&client, "attempts").await;
            sent_together(&b, &mut make, route, ROWS as usize).await;
            let request = PruneRequest { events_before: Timestamp::MIN, ..nine_days_after(&make) };
            // It is watched, and counted.
            for _ in 0..2 {
                assert!(a.prune(request).await.expect("prune").more);
            }
            let answer = cut(&database, &a, request, (Done::Partition, end)).await;
            assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable), "{end:?}");
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {attempts}")).await, ROWS as i64, "{end:?}");
            assert_eq!(number(&client, "SELECT count(*) FROM attempts").await, ROWS as i64, "{end:?}: it is a part of the table");
            assert_counted(&client).await;

            assert_eq!(prune(&b, request).await.attempts, ROWS, "{end:?}");
            assert!(!is_there(&client, &attempts).await, "{end:?}");
            assert_eq!(number(&client, "SELECT count(*) FROM attempts").await, 0, "{end:?}");
            assert_counted(&client).await;
            assert_next(&a, request, end).await;
        }
    });
}

#[test]
fn a_slice_whose_session_is_ended_is_done_again_and_counts_once() {
    block_on(async {
        let database = Database::new("d").await;
        let ((_, store), client) = (two(&database).await, database.client().await);
        let (attempts, mut make, route) = long_ago(&client, "attempts").await;
        sent_together(&store, &mut make, route, ROWS as usize).await;
        let request = PruneRequest { events_before: Timestamp::MIN, ..nine_days_after(&make) };
        for _ in 0..2 {
            assert!(store.prune(request).await.expect("prune").more);
        }
        let pruned = cut(&database, &store, request, (Done::Partition, End::Session)).await.expect("it tries again");
        assert_eq!(pruned.attempts, ROWS);
        assert!(!is_there(&client, &attempts).await);
        assert_counted(&client).await;
        assert_eq!(prune(&store, request).await.attempts, 0);
        assert_counted(&client).await;
    });
}
