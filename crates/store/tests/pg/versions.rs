//! What it costs to write while somebody holds an old snapshot, so that no version of a row is cleaned up: hardly more than without.

use crate::{Database, number, until};
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use tokio_postgres::{Client, SimpleQueryMessage};

/// How many buffers a statement uses. What it does is undone.
async fn buffers(client: &Client, sql: &str) -> i64 {
    let said = client.simple_query(&format!("BEGIN; EXPLAIN (ANALYZE, BUFFERS) {sql}; ROLLBACK")).await.expect("a plan");
    let plan: Vec<&str> = said
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    // The first one is the whole plan's.
    let line = plan.iter().find(|line| line.contains("Buffers: shared")).unwrap_or_else(|| panic!("no buffers: {plan:?}"));
    let of = |what: &str| -> i64 {
        let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
        line.split_once(what).map_or(0, |(_, rest)| digits(rest).parse().expect("a number"))
    };
    of("hit=") + of("read=")
}

#[test]
fn numbers_move_from_their_old_versions() {
    const WRITES: i64 = 5_000;
    /// Of a number that was changed so often in one row it takes about 260.
    const MOST: i64 = 130;
    block_on(async {
        let database = Database::new("d").await;
        let (store, client, old) = (database.open().await, database.client().await, database.client().await);
        let mut make = Fixtures::new(1);
        old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM nodes").await.expect("a snapshot");
        for _ in 0..WRITES {
            store.publish(vec![make.event(0)]).await.expect("publishes");
        }
        let events = "FROM tallies WHERE namespace = '' AND kind = 11";
        assert_eq!(number(&client, &format!("SELECT sum(n)::int8 {events}")).await, WRITES);
        let rows = number(&client, &format!("SELECT count(*) {events}")).await;
        assert!(rows <= 4, "it moves, and leaves nothing behind: {rows} rows");
        let shard = number(&client, &format!("SELECT max(shard) {events}")).await;
        let write = format!(
            "INSERT INTO tallies AS t VALUES ('', '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', 11, '', {shard}, 1) \
             ON CONFLICT (namespace, subscription, endpoint, kind, code, shard) DO UPDATE SET n = t.n + excluded.n"
        );
        let used = buffers(&client, &write).await;
        assert!(used <= MOST, "{used} buffers");
        old.batch_execute("COMMIT").await.expect("the snapshot goes");
    });
}

/// The look before every COMMIT does not pass the versions that heartbeats make.
#[test]
fn who_is_alive_is_said_by_rows_that_heartbeats_do_not_change() {
    const HEARTBEATS: usize = 2_000;
    block_on(async {
        let database = Database::new("d").await;
        let (store, client, old) = (database.open().await, database.client().await, database.client().await);
        let node = store.incarnation();
        old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM nodes").await.expect("a snapshot");
        let heartbeat = format!("UPDATE nodes SET heartbeat_at = clock_timestamp() WHERE incarnation = {node}; ");
        client.batch_execute(&heartbeat.repeat(HEARTBEATS)).await.expect("heartbeats");
        let of = |table: &str| format!("SELECT count(*) FROM {table} WHERE incarnation = {node}");
        let (all, fence) = (buffers(&client, &of("nodes")).await, buffers(&client, &of("living")).await);
        assert!(fence <= 4 && all > 10 * fence, "{fence} buffers, and {all} of the nodes");
        old.batch_execute("COMMIT").await.expect("the snapshot goes");

        // They are alive exactly as long as they have not ended.
        let different = "SELECT count(*) FROM (SELECT incarnation FROM nodes WHERE ended_at IS NULL) n \
                         FULL JOIN living l ON l.incarnation = n.incarnation WHERE n.incarnation IS NULL OR l.incarnation IS NULL";
        assert_eq!((number(&client, different).await, number(&client, "SELECT count(*) FROM living").await), (0, 1));
        store.close().await;
        assert_eq!((number(&client, different).await, number(&client, "SELECT count(*) FROM living").await), (0, 0));
        let again = database.open().await;
        client.batch_execute("UPDATE nodes SET ended_at = clock_timestamp() WHERE ended_at IS NULL").await.expect("it is ended");
        assert_eq!(number(&client, "SELECT count(*) FROM living").await, 0);
        until("the node knows it", async || again.is_lost()).await;
    });
}
