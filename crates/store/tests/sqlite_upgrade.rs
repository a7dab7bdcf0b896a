//! Files of earlier releases are brought up to date, and say then what they said before.

use postrider_core::delivery::StateKind;
use postrider_core::event::Namespace;
use postrider_core::health::HealthTally;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{SqliteOptions, SqliteStore};
use rusqlite::Connection;
use std::path::Path;
use uuid::Uuid;

const T: i64 = 1_700_000_000_000_000;

/// A database as the release with schema 1 left it.
fn of_schema_1(directory: &Path) {
    let conn = database(directory);
    conn.execute_batch(include_str!("../src/sqlite/schema_1.sql")).expect("the schema");
    conn.execute_batch(include_str!("old/schema_1_rows.sql")).expect("the rows");
}

fn database(directory: &Path) -> Connection {
    Connection::open(directory.join("postrider.db")).expect("a database")
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(SqliteOptions::new(directory)).expect("the store opens")
}

fn subscription(n: u128) -> SubscriptionId {
    SubscriptionId::new(Uuid::from_u128(n))
}

fn delivery(n: u128) -> DeliveryId {
    DeliveryId::new(Uuid::from_u128(n))
}

fn acme() -> Namespace {
    Namespace::new("acme").expect("a name")
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(T + micros)
}

fn lines(conn: &Connection, sql: &str) -> Vec<String> {
    let mut select = conn.prepare(sql).expect("a statement");
    select.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("texts")
}

#[test]
fn it_has_the_schema_of_a_new_one() {
    let (old, new) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    of_schema_1(old.path());
    [&old, &new].iter().for_each(|directory| open(directory.path()).close());
    let sql = "SELECT name || ' ' || coalesce(sql, '') FROM sqlite_schema \
               UNION ALL SELECT CAST(user_version AS TEXT) FROM pragma_user_version ORDER BY 1";
    let [old, new] = [&old, &new].map(|directory| lines(&database(directory.path()), sql));
    assert_eq!(old, new);
    assert!(new.iter().any(|line| line.starts_with("health ")), "{new:?}");
}

#[test]
fn counters_are_what_a_recount_says() {
    let dir = tempfile::tempdir().expect("a directory");
    of_schema_1(dir.path());
    block_on(async {
        let store = open(dir.path());
        let counters = store.counters(vec![subscription(0x51), subscription(0x52)]).await.expect("a read");
        let one = Counters { deliveries: [0, 0, 1, 1, 1, 0, 0], attempts_succeeded: 7, attempts_failed: 9, dead_letters: 1 };
        let two = Counters { deliveries: [1, 0, 0, 0, 0, 1, 1], attempts_succeeded: 0, attempts_failed: 3, dead_letters: 0 };
        assert_eq!(counters, [one, two]);
        assert_eq!(store.delivery_counts(Some(acme())).await, Ok(two.deliveries));
        store.close();
    });
    let conn = database(dir.path());
    let row = "hex(substr(subscription, 16)) || ' to ' || hex(substr(endpoint, 16)) || ' in ' || namespace || ':'";
    let counted = format!(
        "SELECT {row} || pending || sending || retrying || succeeded || failed || expired || cancelled || dead_letters FROM counters ORDER BY 1"
    );
    let recount = format!(
        "SELECT {row} || sum(state = 0) || sum(state = 1) || sum(state = 2) || sum(state = 3) || sum(state = 4) || sum(state = 5) || sum(state = 6) \
         || (SELECT count(*) FROM dead_letters l WHERE l.subscription = d.subscription AND l.endpoint = d.endpoint AND status = 0) \
         FROM (SELECT d.*, e.namespace FROM deliveries d JOIN events e ON e.seq = d.event) d GROUP BY subscription, endpoint ORDER BY 1"
    );
    let counted = lines(&conn, &counted);
    assert_eq!(counted, lines(&conn, &recount));
    assert_eq!(counted, ["51 to E1 in default:00101001", "51 to E2 in default:00010000", "52 to E4 in acme:10000110"]);
    let attempts = "SELECT hex(substr(endpoint, 16)) || ' ' || attempts_succeeded || ' ' || attempts_failed FROM counters ORDER BY 1";
    assert_eq!(lines(&conn, attempts), ["E1 7 9", "E2 0 0", "E4 0 3"], "of its endpoint now");
}

#[test]
fn endpoints_are_of_unknown_health() {
    let dir = tempfile::tempdir().expect("a directory");
    of_schema_1(dir.path());
    block_on(async {
        let store = open(dir.path());
        assert_eq!(store.health_summary(None).await, Ok([2, 0, 0, 0]));
        assert_eq!(store.health_summary(Some(acme())).await, Ok([1, 0, 0, 0]));
        let of = [0xe1, 0xe2, 0xe4].map(|n| EndpointId::new(Uuid::from_u128(n)));
        let known = Some(HealthTally::default());
        assert_eq!(store.endpoint_health(of.to_vec()).await, Ok(vec![known.clone(), None, known]), "one is deleted");
    });
}

#[test]
fn events_keep_what_they_have_and_are_found_by_their_labels() {
    let dir = tempfile::tempdir().expect("a directory");
    of_schema_1(dir.path());
    block_on(async {
        let store = open(dir.path());
        let find = |filter: EventFilter| store.find_events(filter, PageRequest::first(10));
        let seqs = |found: &Found<EventRow, EventPlace>| found.page.items.iter().map(|row| row.event.seq.0).collect::<Vec<_>>();
        let labels = |of: &[(&str, &str)]| of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        for (filter, expected) in [
            (EventFilter::default(), vec![4, 3, 2, 1]),
            (EventFilter { labels: labels(&[("env", "prod")]), ..EventFilter::default() }, vec![3, 1]),
            (EventFilter { labels: labels(&[("team", "a \"b\" é"), ("env", "prod")]), ..EventFilter::default() }, vec![1]),
            (EventFilter { event_type: Some("order.created".into()), namespace: Some(acme()), ..EventFilter::default() }, vec![4]),
            (EventFilter { schema_valid: Some(true), ..EventFilter::default() }, vec![4, 3, 2, 1]),
            (EventFilter { schema_valid: Some(false), ..EventFilter::default() }, vec![]),
        ] {
            let found = find(filter.clone()).await.expect("a list");
            assert_eq!((seqs(&found), found.total), (expected.clone(), expected.len() as u64), "{filter:?}");
        }
        let large = store.event_by_seq(EventSeq(2), None).await.expect("a read").expect("it is there").event;
        assert_eq!((large.payload.len(), large.ttl.map(|ttl| ttl.as_secs()), large.created_at), (9_008, Some(3_600), at(2)));
        let mut make = Fixtures::new(1);
        let again = NewEvent { namespace: acme(), idempotency_key: Some("first".into()), ..make.event(1) };
        let published = store.publish(vec![again, make.event(1)]).await.expect("an answer");
        assert!(matches!(published[..], [Published::Duplicate { seq: EventSeq(3), .. }, Published::Stored(EventSeq(5))]), "{published:?}");
    });
}

#[test]
fn deliveries_are_listed_and_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    of_schema_1(dir.path());
    block_on(async {
        let store = open(dir.path());
        let of_one = DeliveryFilter { subscription: Some(subscription(0x51)), ..DeliveryFilter::default() };
        let states = |states: &[StateKind]| DeliveryFilter { states: states.iter().copied().collect(), ..DeliveryFilter::default() };
        for (filter, expected) in [
            (DeliveryFilter::default(), vec![0xd6, 0xd5, 0xd4, 0xd3, 0xd2, 0xd1]),
            (of_one, vec![0xd3, 0xd2, 0xd1]),
            (states(&[StateKind::Failed, StateKind::Cancelled]), vec![0xd6, 0xd2]),
            (states(&[StateKind::Succeeded]), vec![0xd1]),
        ] {
            let found = store.delivery_ids(filter.clone(), Window::first(10)).await.expect("a list");
            let expected: Vec<DeliveryId> = expected.into_iter().map(delivery).collect();
            assert_eq!((found.total, found.page.items), (expected.len() as u64, expected), "{filter:?}");
        }
        assert_eq!(store.next_expiry().await, Ok(Some(at(3_600_000_002))));
        let rescued: Vec<DeliveryId> = store.rescue(10).await.expect("a takeover").into_iter().map(|claimed| claimed.delivery.id).collect();
        assert_eq!(rescued, [delivery(0xd4)]);
        store.close();
    });
    let placed = "SELECT hex(substr(delivery, 16)) FROM deliveries_by_subscription ORDER BY 1";
    assert_eq!(lines(&database(dir.path()), placed), ["D1", "D2", "D3", "D4", "D5"], "all but the newest");
}
