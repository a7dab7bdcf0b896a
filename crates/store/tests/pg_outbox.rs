//! The outbox of the store on PostgreSQL: what applications publish in their own transactions, what becomes of it, and that nothing of it is passed
//! over.

#[path = "pg/database.rs"]
mod database;
#[path = "pg/own.rs"]
#[expect(dead_code, reason = "other tests crash it")]
mod own;
mod pg;

use bytes::Bytes;
use database::{Database, SCHEMA, client, number};
use own::Own;
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{PgOptions, PgStore};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;

/// So much at once, of everything.
const ALL: (u32, u64) = (512, 8 << 20);

impl Database {
    async fn store(&self) -> PgStore {
        PgStore::open(options(&self.url)).await.expect("the store opens")
    }
}

fn options(url: &str) -> PgOptions {
    PgOptions { schema: SCHEMA.to_owned(), lanes: 2, writers: 3, readers: 1, own_readers: 2, ..PgOptions::new(url) }
}

/// What stands beside a row that was put aside.
async fn why(client: &Client, id: i64) -> String {
    client.query_one("SELECT refused FROM outbox WHERE id = $1", &[&id]).await.expect("it is there").get(0)
}

/// Publishes so many events with payloads of about so many bytes; answers their numbers.
async fn publish(client: &Client, count: i64, bytes: i64) -> Vec<i64> {
    let sql = "SELECT publish('default', 'a.b', json_build_object('x', repeat('y', $2::int8::int4))) FROM generate_series(1, $1::int8)";
    client.query(sql, &[&count, &bytes]).await.expect("they are published").iter().map(|row| row.get(0)).collect()
}

async fn waiting(store: &PgStore) -> Vec<OutboxEntry> {
    store.outbox(ALL.0, ALL.1).await.expect("a look")
}

async fn nothing_waits(store: &PgStore) {
    let found = waiting(store).await;
    assert!(found.is_empty(), "{found:?}");
}

fn ids(entries: &[OutboxEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.id).collect()
}

/// Events without deliveries of these.
fn events(make: &mut Fixtures, entries: &[OutboxEntry]) -> Vec<(i64, Relay)> {
    let event = |entry: &OutboxEntry| NewEvent { payload: entry.payload.clone(), ..make.event(0) };
    entries.iter().map(event).zip(entries).map(|(event, entry)| (entry.id, Relay::Publish(Box::new(event)))).collect()
}

fn refusals(ids: &[i64]) -> Vec<(i64, Relay)> {
    ids.iter().map(|id| (*id, Relay::Refuse(format!("{id} is not wanted")))).collect()
}

fn is_published(relayed: &Relayed) -> bool {
    matches!(relayed, Relayed::Published(Published::Stored(_)))
}

/// Somebody replicates everything: what changes and goes is told by its key.
#[test]
fn a_publication_of_all_tables_stops_nothing() {
    block_on(async {
        let database = Database::new("o").await;
        let (store, client) = (database.store().await, database.client().await);
        client.batch_execute("CREATE PUBLICATION everything FOR ALL TABLES").await.expect("a publication");
        let keyless = "SELECT count(*) FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
                       AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
        assert_eq!(number(&client, keyless).await, 0, "tables without a key");
        publish(&client, 2, 1).await;
        let found = waiting(&store).await;
        let mut entries = events(&mut Fixtures::new(1), &found[..1]);
        entries.extend(refusals(&[found[1].id]));
        let relayed = store.relay(entries).await.expect("it is relayed");
        assert!(is_published(&relayed[0]) && relayed[1] == Relayed::Refused, "{relayed:?}");
        assert_eq!(store.forget_refused(Duration::ZERO, 10).await, Ok(1));
        assert_eq!(number(&client, "SELECT count(*) FROM outbox").await, 0);
    });
}

/// While it is the highest transaction that was begun, and nothing has ended above it, a snapshot does not know of it.
#[test]
fn a_transaction_that_begins_last_and_ends_late_is_not_passed_over() {
    const LOOKS: usize = 5;
    const MOST: Duration = Duration::from_secs(10);
    block_on(async {
        // Nobody else makes transactions there, nor does the node for the time being.
        let server = Own::start().await;
        let (heartbeat, lease) = (Duration::from_secs(120), Duration::from_secs(600));
        let store = PgStore::open(PgOptions { heartbeat, lease, ..options(&server.url()) }).await.expect("the store opens");
        let (slow, client) = (client(&server.url()).await, client(&server.url()).await);
        // Which would make some.
        client.batch_execute("ALTER SYSTEM SET autovacuum = off").await.expect("a setting");
        client.batch_execute("SELECT pg_reload_conf()").await.expect("it is read");
        let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8";
        let (mut before, begun) = (0, Instant::now());
        while before != number(&client, next).await {
            assert!(begun.elapsed() < MOST * 3, "somebody makes transactions all the time");
            before = number(&client, next).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        slow.batch_execute("BEGIN; SELECT publish('default', 'a.b', '{}')").await.expect("it is published");
        let own = number(&slow, "SELECT pg_current_xact_id()::text::int8").await;
        assert_eq!(number(&client, next).await, own, "somebody else has made transactions: this proves nothing");
        for _ in 0..LOOKS {
            nothing_waits(&store).await;
            tokio::time::sleep(Duration::from_millis(1_050)).await;
        }
        slow.batch_execute("COMMIT").await.expect("it is committed");
        let since = Instant::now();
        // Long before everything is looked at again.
        while waiting(&store).await.is_empty() {
            assert!(since.elapsed() < MOST, "what was committed is passed over");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

/// Looks go on behind what was relayed while somebody keeps the floor down, and not behind what was only looked at.
#[test]
fn what_was_looked_at_and_not_relayed_comes_again() {
    block_on(async {
        let database = Database::new("o").await;
        let (store, old, client) = (database.store().await, database.client().await, database.client().await);
        old.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.expect("a transaction");
        let numbers = publish(&client, 6, 1).await;
        // What was given out longer ago than this is looked at once.
        for _ in 0..3 {
            assert_eq!(ids(&waiting(&store).await), numbers);
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        let found = waiting(&store).await;
        let relayed = store.relay(events(&mut Fixtures::new(1), &found[..2])).await.expect("it is relayed");
        assert!(relayed.iter().all(is_published), "{relayed:?}");
        assert_eq!(ids(&waiting(&store).await), numbers[2..]);
        assert_eq!(ids(&waiting(&store).await), numbers[2..]);
        let more = publish(&client, 1, 1).await;
        assert_eq!(ids(&waiting(&store).await), [&numbers[2..], &more[..]].concat());
    });
}

#[test]
fn looks_are_bounded_by_rows_and_by_bytes() {
    block_on(async {
        let database = Database::new("o").await;
        let (store, client) = (database.store().await, database.client().await);
        let numbers = publish(&client, 10, 100_000).await;
        let look = async |limit, bytes| ids(&store.outbox(limit, bytes).await.expect("a look"));
        assert_eq!(look(512, 250_000).await, numbers[..3], "it ends with the one that goes beyond");
        assert_eq!(look(512, 1).await, numbers[..1], "there is one at the least");
        assert_eq!(look(4, u64::MAX).await, numbers[..4]);
        assert_eq!(look(512, u64::MAX).await, numbers);
    });
}

#[test]
fn of_two_that_relay_the_same_each_event_comes_once() {
    const COUNT: i64 = 200;
    block_on(async {
        let database = Database::new("o").await;
        let (one, two, client) = (database.store().await, database.store().await, database.client().await);
        publish(&client, COUNT, 1).await;
        let (of_one, of_two) = (waiting(&one).await, waiting(&two).await);
        assert_eq!(ids(&of_one), ids(&of_two));
        let (first, second) = (events(&mut Fixtures::new(1), &of_one), events(&mut Fixtures::new(2), &of_two));
        let again = first.clone();
        let (first, second) = tokio::join!(one.relay(first), two.relay(second));
        for (at, pair) in first.expect("one relays").iter().zip(second.expect("so does the other")).enumerate() {
            let (one, two) = (pair.0, &pair.1);
            assert!((is_published(one) && *two == Relayed::Gone) || (*one == Relayed::Gone && is_published(two)), "{at}: {pair:?}");
        }
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, COUNT);
        nothing_waits(&one).await;
        nothing_waits(&two).await;
        // Who comes too late stores nothing, and puts nothing aside.
        let late: Vec<Relayed> = one.relay(again).await.expect("an answer");
        assert!(late.iter().all(|relayed| *relayed == Relayed::Gone), "{late:?}");
        assert_eq!(two.relay(refusals(&ids(&of_two)[..1])).await, Ok(vec![Relayed::Gone]));
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, COUNT);
    });
}

#[test]
fn what_was_refused_is_forgotten_by_its_age_and_piece_by_piece() {
    block_on(async {
        let database = Database::new("o").await;
        let (store, client) = (database.store().await, database.client().await);
        let numbers = publish(&client, 4, 1).await;
        let relayed = store.relay(refusals(&numbers[..3])).await;
        assert_eq!(relayed, Ok(vec![Relayed::Refused; 3]));
        assert_eq!(why(&client, numbers[1]).await, format!("{} is not wanted", numbers[1]));
        assert_eq!(ids(&waiting(&store).await), numbers[3..]);
        assert_eq!(store.forget_refused(Duration::from_secs(3_600), 10).await, Ok(0), "it is not so long ago");
        for gone in [2, 1, 0] {
            assert_eq!(store.forget_refused(Duration::ZERO, 2).await, Ok(gone));
        }
        assert_eq!(number(&client, "SELECT count(*) FROM outbox").await, 1, "what waits stays");
    });
}

/// What there is no room for waits; what there never would be any for is put aside, and nothing waits for it.
#[test]
fn a_budget_holds_up_what_could_fit_and_refuses_what_could_not() {
    const BUDGET: u64 = 1 << 20;
    block_on(async {
        let database = Database::new("o").await;
        let options = PgOptions { budget_bytes: Some(BUDGET), ..options(&database.url) };
        let store = PgStore::open(options).await.expect("the store opens");
        let (client, mut make) = (database.client().await, Fixtures::new(1));
        let numbers = publish(&client, 2, 700_000).await;
        let large = publish(&client, 1, 2_000_000).await[0];
        let small = publish(&client, 1, 1).await[0];
        let found = waiting(&store).await;
        assert_eq!(found.len(), 4);
        let refused = store.relay(events(&mut make, &found)).await.expect_err("two of them are too much at once");
        assert_eq!(refused.kind, StoreErrorKind::OverBudget);
        assert_eq!(ids(&waiting(&store).await), ids(&found), "nothing of it is stored, and nothing put aside");
        let mut one = async |entry: &OutboxEntry| store.relay(events(&mut make, std::slice::from_ref(entry))).await;
        assert!(is_published(&one(&found[0]).await.expect("there is room")[0]));
        assert_eq!(one(&found[1]).await.expect_err("there is no room").kind, StoreErrorKind::OverBudget);
        assert_eq!(one(&found[2]).await, Ok(vec![Relayed::Refused]), "there never is");
        assert!(is_published(&one(&found[3]).await.expect("there is room for this")[0]));
        assert_eq!((found[2].id, found[3].id), (large, small));
        assert!(why(&client, large).await.contains("--max-store-bytes"), "{}", why(&client, large).await);
        assert_eq!(ids(&waiting(&store).await), numbers[1..]);
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, 2);
    });
}

/// Somebody has put them there past the checks.
#[test]
fn rows_that_nobody_can_read_are_put_aside_and_keep_nothing_back() {
    block_on(async {
        let database = Database::new("o").await;
        let (store, client) = (database.store().await, database.client().await);
        let broken = "ALTER TABLE outbox DISABLE TRIGGER outbox_check; \
                      INSERT INTO outbox (namespace, type, payload, labels, ttl) VALUES ('a b', 'a.b', '{}', '{}', NULL), \
                      ('d', 'a.b', '{}', '{\"a\": 1}', NULL), ('d', 'a.b', '{}', '[1]', NULL), ('d', 'a.b', '{}', '{}', '-170000000 years'), \
                      ('d', 'a.b', '{}', '{}', '-5 seconds'); ALTER TABLE outbox ENABLE TRIGGER outbox_check";
        client.batch_execute(broken).await.expect("they are there");
        nothing_waits(&store).await;
        assert_eq!(number(&client, "SELECT count(*) FROM outbox WHERE refused LIKE '%cannot be read%'").await, 5);
        client.batch_execute(broken).await.expect("they are there");
        let good = publish(&client, 1, 1).await;
        let found = waiting(&store).await;
        assert_eq!(ids(&found), good);
        assert_eq!((&found[0].payload, found[0].ttl), (&Bytes::from_static(b"{\"x\" : \"y\"}"), None));
        let aside: BTreeSet<i64> = client
            .query("SELECT id FROM outbox WHERE refused_at IS NOT NULL", &[])
            .await
            .expect("a list")
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(aside.len(), 10);
        assert!(!aside.contains(&good[0]));
    });
}
