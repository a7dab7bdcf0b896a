//! Retention where it goes by partitions, and where several nodes do it.

use crate::schema::{day, is_there};
use crate::{Database, number, settlement, stored};
use postrider_core::delivery::{State, StateKind};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use postrider_store::PgStore;
use postrider_store::conformance::{Fixtures, Route, block_on};
use std::time::Duration;
use tokio_postgres::Client;
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(86_400);

/// A partition of nine days ago, and its first id.
async fn partition_of_long_ago(client: &Client, table: &str) -> (String, Uuid) {
    partition_of(client, table, -9).await
}

async fn partition_of(client: &Client, table: &str, from_now: i64) -> (String, Uuid) {
    let (name, from, to) = day(client, table, from_now).await;
    let made = format!("CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{from}') TO ('{to}')");
    client.batch_execute(&made).await.expect("a partition");
    (name, from)
}

/// Fixtures of noon of the day that begins with this id.
fn noon(first: Uuid) -> Fixtures {
    let mut make = Fixtures::new(1);
    let midnight = Timestamp::from_micros(i64::try_from(first.as_u128() >> 80).expect("a time") * 1_000);
    make.advance(midnight.after(DAY / 2).since(make.now()));
    make
}

/// A partition of nine days ago, fixtures of that day's noon, and a route of theirs.
pub(crate) async fn long_ago(client: &Client, table: &str) -> (String, Fixtures, Route) {
    let (name, first) = partition_of_long_ago(client, table).await;
    let mut make = noon(first);
    let route = make.route();
    (name, make, route)
}

/// What is past its age after five days; nothing is for its configuration.
fn after_five_days(now: Timestamp) -> PruneRequest {
    let before = now.before(5 * DAY);
    PruneRequest {
        attempts_before: before,
        rows_before: Timestamp::MIN,
        bodies_before: Timestamp::MIN,
        events_before: before,
        closed_before: before,
        requests_before: now.before(REQUEST_MEMORY),
        configuration_before: Timestamp::MIN,
        limit: 1_000,
    }
}

/// The same, as it is asked for on the day of a test whose rows are of a partition of long ago.
pub(crate) fn nine_days_after(make: &Fixtures) -> PruneRequest {
    after_five_days(make.now().after(9 * DAY))
}

pub(crate) async fn prune(store: &PgStore, request: PruneRequest) -> Pruned {
    let mut sum = Pruned::default();
    for _ in 0..10_000 {
        let slice = store.prune(request).await.expect("prune");
        sum.attempts += slice.attempts;
        sum.deliveries += slice.deliveries;
        sum.events += slice.events;
        if !slice.more {
            return sum;
        }
    }
    panic!("retention comes to no end: {sum:?}");
}

/// An event with the `n`th key and a label, and without deliveries.
fn keyed(make: &mut Fixtures, n: u32) -> NewEvent {
    let labels = [("colour".to_owned(), "red".to_owned())].into();
    NewEvent { idempotency_key: Some(format!("key {n}")), labels, ..make.event(0) }
}

/// How many partitions have it noted that somebody changes them.
async fn watched(client: &Client) -> i64 {
    number(client, "SELECT count(*) FROM pg_trigger WHERE tgname = 'noted' AND tgenabled <> 'D'").await
}

/// Stores so many events in one go, each with a delivery that succeeds.
pub(crate) async fn sent_together(store: &PgStore, make: &mut Fixtures, route: Route, number: usize) {
    let events: Vec<NewEvent> = (0..number).map(|_| make.claimed_event_for(&[route])).collect();
    store.publish(events.clone()).await.expect("publishes");
    let to = (StateKind::Pending, State::Succeeded);
    let settled: Vec<Settlement> =
        events.iter().map(|event| settlement(event, AttemptId::new(make.uuid()), to, Some(make.success()))).collect();
    let answers = store.settle(settled.into()).await.expect("settles");
    assert!(answers.iter().all(|answer| *answer == Settled::Stored), "{answers:?}");
}

/// Stores an event with one delivery, and what became of that by an attempt.
async fn sent(store: &PgStore, make: &mut Fixtures, route: Route, (keeps_rows, to): (bool, State)) -> NewEvent {
    let mut event = make.claimed_event_for(&[route]);
    event.deliveries[0].keeps_rows = keeps_rows;
    stored(store.publish(vec![event.clone()]).await);
    let outcome = (to == State::Succeeded).then(|| make.success());
    let settled = settlement(&event, AttemptId::new(make.uuid()), (StateKind::Pending, to), outcome);
    assert_eq!(store.settle([settled].into()).await, Ok(vec![Settled::Stored]));
    event
}

/// Kept numbers are what is there.
pub(crate) async fn assert_counted(client: &Client) {
    for (kinds, counted) in [
        ("9", "SELECT count(*) FROM attempts WHERE finished_at IS NOT NULL"),
        ("11", "SELECT count(*) FROM events"),
        ("0, 1, 2, 3, 4, 5, 6", "SELECT count(*) FROM deliveries"),
        (
            "13",
            "SELECT ((SELECT coalesce(sum(1024 + octet_length(payload) + 2 * coalesce(octet_length(labels), 0) \
             + coalesce(octet_length(metadata), 0)), 0) FROM events) + (SELECT 512 * count(*) FROM deliveries) \
             + (SELECT coalesce(sum(512 + coalesce(octet_length(request), 0) + coalesce(octet_length(response), 0) \
             + coalesce(octet_length(response_head), 0)), 0) FROM attempts))::int8",
        ),
    ] {
        let kept = format!("SELECT coalesce(sum(n), 0)::int8 FROM tallies WHERE namespace = '' AND kind IN ({kinds})");
        assert_eq!(number(client, &kept).await, number(client, counted).await, "kinds {kinds}");
    }
}

#[test]
fn what_is_past_its_age_goes_with_its_partition() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let ((attempts, first), (events, _)) =
            (partition_of_long_ago(&client, "attempts").await, partition_of_long_ago(&client, "events").await);
        let mut make = noon(first);
        let (goes, stays) = (make.route(), make.route());
        for _ in 0..20 {
            sent(&store, &mut make, goes, (false, State::Succeeded)).await;
        }
        let kept = sent(&store, &mut make, stays, (true, State::Succeeded)).await;
        let under_way = sent(&store, &mut make, goes, (false, State::Sending)).await;
        for n in 0..5 {
            let event = keyed(&mut make, n);
            stored(store.publish(vec![event]).await);
        }
        for (table, rows) in [(&attempts, 22), (&events, 27)] {
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
        }
        assert_counted(&client).await;

        let now = make.now().after(9 * DAY);
        let pruned = prune(&store, after_five_days(now)).await;
        assert!(!is_there(&client, &attempts).await && !is_there(&client, &events).await);
        assert_eq!((pruned.attempts, pruned.deliveries, pruned.events), (20, 20, 25));
        for (table, left) in
            [("attempts_default", 2), ("events_default", 2), ("deliveries", 2), ("bare_events", 0), ("event_keys", 0), ("event_labels", 0)]
        {
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, left, "{table}");
        }
        assert_counted(&client).await;
        for event in [&kept, &under_way] {
            let view = store.delivery(event.deliveries[0].id).await.expect("a read").expect("it is there");
            assert_eq!((view.event.id, view.attempts.len()), (event.id, 1));
        }
        let again = keyed(&mut make, 0);
        stored(store.publish(vec![again]).await);
    });
}

/// Events have deliveries until these are past their age, which they are in the same run: still they go with their partition, and not row by row.
#[test]
fn events_go_with_their_partition_however_many_deliveries_they_had() {
    const EVENTS: usize = 300;
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let (events, mut make, route) = long_ago(&client, "events").await;
        sent_together(&store, &mut make, route, EVENTS).await;
        assert_eq!(number(&client, &format!("SELECT count(*) FROM {events}")).await, EVENTS as i64);
        let pruned = prune(&store, nine_days_after(&make)).await;
        assert_eq!((pruned.deliveries, pruned.events), (EVENTS as u64, EVENTS as u64));
        assert!(!is_there(&client, &events).await);
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, 0);
        assert_counted(&client).await;
    });
}

/// Somebody changes a row of it when it has been begun to count it: it is the next run's, and nothing of it goes row by row.
#[test]
fn a_partition_that_somebody_changes_is_dropped_by_the_next_run() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let (attempts, mut make, route) = long_ago(&client, "attempts").await;
        for _ in 0..3 {
            sent(&store, &mut make, route, (false, State::Succeeded)).await;
        }
        let request = PruneRequest { events_before: Timestamp::MIN, ..nine_days_after(&make) };
        let slice = store.prune(request).await.expect("prune");
        assert!(slice.more && slice.attempts == 0, "{slice:?}");
        assert_eq!(number(&client, "SELECT count(*) FROM pg_trigger WHERE tgname = 'noted'").await, 1);
        assert_eq!(client.execute("UPDATE attempts SET target_url = 'http://127.0.0.1:9/other' WHERE number = 1", &[]).await.ok(), Some(3));
        assert_eq!(prune(&store, request).await.attempts, 0);
        assert!(is_there(&client, &attempts).await);
        assert_counted(&client).await;
        assert_eq!(prune(&store, request).await.attempts, 3);
        assert!(!is_there(&client, &attempts).await);
        assert_counted(&client).await;
    });
}

/// Whoever reads in it for longer than it is waited for keeps it, and all that is in it, until the next run.
#[test]
fn a_partition_that_somebody_reads_is_dropped_by_the_next_run() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client, reader) = (database.open().await, database.client().await, database.client().await);
        let (events, mut make, route) = long_ago(&client, "events").await;
        sent_together(&store, &mut make, route, 19).await;
        let keyed = keyed(&mut make, 0);
        stored(store.publish(vec![keyed.clone()]).await);
        let request = nine_days_after(&make);
        reader.batch_execute(&format!("BEGIN; SELECT count(*) FROM {events}")).await.expect("a read");
        let pruned = prune(&store, request).await;
        assert_eq!((pruned.deliveries, pruned.events), (19, 0));
        assert!(is_there(&client, &events).await);
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, 20, "none of them goes by itself");
        assert_eq!(number(&client, "SELECT count(*) FROM event_labels").await, 1, "and nothing of them");
        let again = store.publish(vec![NewEvent { idempotency_key: keyed.idempotency_key, ..make.event(0) }]).await.expect("an answer");
        assert!(matches!(again[..], [Published::Duplicate { id, .. }] if id == keyed.id), "{again:?}");
        assert_counted(&client).await;
        reader.batch_execute("COMMIT").await.expect("the read ends");
        assert_eq!(prune(&store, request).await.events, 20);
        assert!(!is_there(&client, &events).await);
        assert_counted(&client).await;
    });
}

/// There is always somebody who reads the table: the others of it are not even begun with, and after a day their rows go one by one.
#[test]
fn partitions_of_a_table_that_is_always_read_go_row_by_row_in_the_end() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client, reader) = (database.open().await, database.client().await, database.client().await);
        let mut last = Timestamp::MIN;
        for day in [-11, -10, -9] {
            let (_, first) = partition_of(&client, "events", day).await;
            let mut make = noon(first);
            let event = make.event(0);
            stored(store.publish(vec![event]).await);
            last = make.now();
        }
        reader.batch_execute("BEGIN; SELECT count(*) FROM events").await.expect("a read");
        let now = last.after(9 * DAY);
        for run in 0..2 {
            assert_eq!(prune(&store, after_five_days(now)).await.events, 0);
            assert_eq!(watched(&client).await, 1, "run {run}");
        }
        assert_eq!(prune(&store, after_five_days(now.after(DAY))).await.events, 3);
        assert_eq!(watched(&client).await, 0);
        let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass AND pg_relation_size(inhrelid) > 0";
        assert_eq!(number(&client, partitions).await, 3);
        assert_counted(&client).await;
    });
}

/// What was begun with and is needed after all has nobody noted who changes it.
#[test]
fn a_partition_that_stays_is_not_watched() {
    const ATTEMPTS: usize = 300;
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let (attempts, mut make, route) = long_ago(&client, "attempts").await;
        sent_together(&store, &mut make, route, ATTEMPTS).await;
        let request = PruneRequest { events_before: Timestamp::MIN, ..nine_days_after(&make) };
        assert!(store.prune(request).await.expect("prune").more);
        assert_eq!(watched(&client).await, 1);
        assert_eq!(client.execute("UPDATE attempts SET keeps_rows = true", &[]).await.ok(), Some(ATTEMPTS as u64));
        assert_eq!(prune(&store, request).await.attempts, 0);
        assert!(is_there(&client, &attempts).await);
        assert_eq!(watched(&client).await, 0);
        assert_eq!(number(&client, "SELECT count(*) FROM meta WHERE key LIKE 'watched %' OR key LIKE 'touched %'").await, 0);
    });
}

/// Whoever comes after a node that died in between goes on.
#[test]
fn what_is_left_of_a_partition_goes_however_far_it_had_come() {
    block_on(async {
        let database = Database::new("d").await;
        let (a, b, client) = (database.open().await, database.open().await, database.client().await);
        let (events, first) = partition_of_long_ago(&client, "events").await;
        let mut make = noon(first);
        let first = keyed(&mut make, 0);
        stored(a.publish(vec![first]).await);
        let request = nine_days_after(&make);
        let is_part = format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{events}') AND relispartition");
        while number(&client, &is_part).await > 0 {
            assert!(a.prune(request).await.expect("prune").more);
        }
        assert!(is_there(&client, &events).await);
        assert_eq!(number(&client, "SELECT count(*) FROM event_keys").await, 1);
        drop(a);
        let mut now = Fixtures::new(2);
        now.advance(make.now().after(9 * DAY).since(now.now()));
        let again = keyed(&mut now, 0);
        stored(b.publish(vec![again.clone()]).await);
        prune(&b, request).await;
        assert!(!is_there(&client, &events).await);
        for table in ["event_keys", "event_labels", "events"] {
            assert_eq!(number(&client, &format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
        }
        assert_eq!(number(&client, "SELECT count(*) FROM meta WHERE key LIKE 'leaving %'").await, 0);
        assert_counted(&client).await;
    });
}

/// What was changed between the counts of two nodes is missing from the first one's, which must not drop it by that.
#[test]
fn of_two_that_count_the_same_partition_the_last_one_drops_it() {
    block_on(async {
        let database = Database::new("d").await;
        let (a, b, client) = (database.open().await, database.open().await, database.client().await);
        let (attempts, mut make, route) = long_ago(&client, "attempts").await;
        sent_together(&a, &mut make, route, 3).await;
        let request = PruneRequest { events_before: Timestamp::MIN, ..nine_days_after(&make) };
        // It is watched, and counted.
        for _ in 0..2 {
            assert!(a.prune(request).await.expect("prune").more);
        }
        let kept = "UPDATE attempts SET keeps_rows = true WHERE id = (SELECT min(id::text)::uuid FROM attempts)";
        assert_eq!(client.execute(kept, &[]).await.ok(), Some(1));
        assert!(b.prune(request).await.expect("prune").more);
        assert_eq!(prune(&a, request).await.attempts, 0);
        assert!(is_there(&client, &attempts).await);
        assert_eq!(prune(&b, request).await.attempts, 2);
        assert!(!is_there(&client, &attempts).await);
        assert_eq!(number(&client, "SELECT count(*) FROM attempts WHERE keeps_rows").await, 1);
        assert_counted(&client).await;
    });
}

/// Nobody waits for more than a little to be read and written again.
#[test]
fn what_stays_moves_unless_it_is_large() {
    const MIB: usize = 1 << 20;
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let ((moves, older), (stays, newer)) = (partition_of(&client, "events", -10).await, partition_of(&client, "events", -9).await);
        for (first, large) in [(older, 3), (newer, 5)] {
            let mut make = noon(first);
            for _ in 0..large {
                let payload = format!("{{\"a\":\"{}\"}}", "x".repeat(MIB)).into();
                let event = NewEvent { payload, ..make.event(1) };
                stored(store.publish(vec![event]).await);
            }
            stored(store.publish(vec![make.event(0)]).await);
        }
        let pruned = prune(&store, after_five_days(noon(newer).now().after(9 * DAY))).await;
        assert_eq!(pruned.events, 2);
        assert!(!is_there(&client, &moves).await && is_there(&client, &stays).await);
        for (table, rows) in [("events_default", 3), (stays.as_str(), 5)] {
            let whole = format!("SELECT count(*) FROM {table} WHERE octet_length(payload) > {MIB}");
            assert_eq!(number(&client, &whole).await, rows, "{table}");
        }
        assert_counted(&client).await;
    });
}

/// Nobody hears anything of it who publishes, settles or reads meanwhile.
#[test]
fn whoever_works_beside_a_drop_goes_on() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, other, client) = (database.open().await, database.open().await, database.client().await);
        let (events, first) = partition_of_long_ago(&client, "events").await;
        let mut make = noon(first);
        let route = make.route();
        sent_together(&store, &mut make, route, 300).await;
        let request = nine_days_after(&make);
        let mut later = noon(first);
        later.advance(9 * DAY);
        let is_done = std::cell::Cell::new(false);
        let retention = async {
            // Somebody may be in the way in each try of a run.
            let mut removed = 0;
            while is_there(&client, &events).await {
                removed += prune(&store, request).await.events;
            }
            is_done.set(true);
            removed
        };
        let work = async {
            let (route, mut sent_meanwhile) = (later.route(), 0);
            while !is_done.get() {
                let event = sent(&other, &mut later, route, (false, State::Succeeded)).await;
                assert!(other.event(event.id).await.expect("a read").is_some());
                sent_meanwhile += 1;
            }
            sent_meanwhile
        };
        let (removed, sent_meanwhile) = tokio::join!(retention, work);
        assert_eq!(removed, 300);
        assert!(sent_meanwhile > 0);
        assert_eq!(number(&client, "SELECT count(*) FROM events").await, sent_meanwhile);
        assert_counted(&client).await;
    });
}

#[test]
fn one_node_at_a_time_does_it() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let mut make = Fixtures::new(1);
        let event = make.event(0);
        stored(store.publish(vec![event.clone()]).await);
        let request = nine_days_after(&make);
        let lock = |name: &str| format!("SELECT {name}(hashtextextended('postrider retention ' || current_schema(), 0))");
        client.batch_execute(&lock("pg_advisory_lock")).await.expect("a lock");
        assert_eq!(store.prune(request).await, Ok(Pruned { busy: true, ..Pruned::default() }));
        assert!(store.event(event.id).await.expect("a read").is_some());
        client.batch_execute(&lock("pg_advisory_unlock")).await.expect("the lock goes");
        assert_eq!(prune(&store, request).await.events, 1);
    });
}

/// Numbers that nodes have kept apart are put together, and what has come to nothing is not kept.
#[test]
fn numbers_are_put_together_again() {
    block_on(async {
        let database = Database::new("d").await;
        let (a, b, client) = (database.open().await, database.open().await, database.client().await);
        let mut make = Fixtures::new(1);
        let routes = [make.route(), make.route()];
        for _ in 0..5 {
            for (store, route) in [(&a, routes[0]), (&b, routes[0]), (&b, routes[1])] {
                sent(store, &mut make, route, (false, State::Succeeded)).await;
            }
        }
        let sums = "SELECT string_agg(concat_ws(' ', namespace, subscription, endpoint, kind, code, n), ', ' \
                    ORDER BY namespace, subscription, endpoint, kind, code) FROM (SELECT namespace, subscription, endpoint, kind, code, sum(n) AS n \
                    FROM tallies GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0) t";
        let sums = async || client.query_one(sums, &[]).await.expect("sums").get::<_, String>(0);
        let shards = "SELECT max(shards) FROM (SELECT count(*) AS shards FROM tallies WHERE subscription <> '00000000-0000-0000-0000-000000000000' \
                      GROUP BY namespace, subscription, endpoint, kind, code) t";
        let of_namespace =
            "SELECT count(*) FROM tallies WHERE namespace <> '' AND subscription = '00000000-0000-0000-0000-000000000000' AND kind = 11";
        assert!(number(&client, shards).await > 1);
        let written_all_the_time = number(&client, of_namespace).await;
        assert!(written_all_the_time > 1, "{written_all_the_time}");
        // What transactions leave behind that were undone, and nodes that have gone.
        let left = "INSERT INTO tallies SELECT '', id, id, 11, '', -n, 1 FROM generate_series(1, 100) AS n, \
                    CAST('00000000-0000-0000-0000-000000000000' AS uuid) AS id";
        assert_eq!(client.execute(left, &[]).await.ok(), Some(100));
        let before = sums().await;
        let request = PruneRequest {
            attempts_before: Timestamp::MIN,
            events_before: Timestamp::MIN,
            closed_before: Timestamp::MIN,
            ..after_five_days(make.now())
        };
        assert_eq!(prune(&a, request).await, Pruned::default());
        assert_eq!(number(&client, shards).await, 1);
        assert_eq!(number(&client, "SELECT count(*) FROM tallies WHERE namespace = '' AND kind = 11").await, 1);
        let nothing = "SELECT count(*) FROM tallies WHERE subscription <> '00000000-0000-0000-0000-000000000000' AND n = 0";
        assert_eq!(number(&client, nothing).await, 0);
        assert_eq!(number(&client, of_namespace).await, written_all_the_time, "few are left as they are: whoever writes them would wait");
        assert_eq!(sums().await, before);
        // They go on from there.
        sent(&b, &mut make, routes[0], (false, State::Succeeded)).await;
        assert_eq!(a.counters(vec![routes[0].subscription]).await.expect("counters")[0].deliveries[StateKind::Succeeded as usize], 11);
    });
}

/// Whoever writes such a number waits until it is committed.
#[test]
fn of_numbers_that_are_written_all_the_time_no_more_than_a_page_is_put_together_at_once() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let made = "INSERT INTO tallies SELECT namespace, id, id, 11, '', n, 1 FROM generate_series(1, 100) AS n, \
                    unnest(ARRAY['one', 'two']) AS namespace, CAST('00000000-0000-0000-0000-000000000000' AS uuid) AS id";
        assert_eq!(client.execute(made, &[]).await.ok(), Some(200));
        let now = Fixtures::new(1).now();
        let request = PruneRequest { attempts_before: Timestamp::MIN, events_before: Timestamp::MIN, limit: 1, ..after_five_days(now) };
        let shards =
            async |namespace: &str| number(&client, &format!("SELECT count(*) FROM tallies WHERE namespace = '{namespace}'")).await;
        while shards("one").await > 1 {
            assert!(store.prune(request).await.expect("prune").more);
        }
        assert_eq!(shards("two").await, 100);
        prune(&store, request).await;
        assert_eq!(shards("two").await, 1);
    });
}

/// As where a node has dropped their partition, and has not come to remove their keys yet.
#[test]
fn a_key_whose_event_is_gone_is_free() {
    block_on(async {
        let database = Database::new("d").await;
        let (store, client) = (database.open().await, database.client().await);
        let mut make = Fixtures::new(1);
        let mut keyed = async || {
            let event = NewEvent { idempotency_key: Some("key".to_owned()), ..make.event(0) };
            store.publish(vec![event]).await.expect("an answer")
        };
        assert!(matches!(keyed().await[..], [Published::Stored(_)]));
        client.batch_execute("DELETE FROM events").await.expect("the event goes");
        assert!(matches!(keyed().await[..], [Published::Stored(_)]));
        assert!(matches!(keyed().await[..], [Published::Duplicate { .. }]));
    });
}
