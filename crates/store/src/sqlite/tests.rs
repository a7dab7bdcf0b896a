//! What cannot be seen from outside: how connections are set, on which the promises to publishers and readers rest, and what reads cost.

use super::readers::Readers;
use super::session::Session;
use super::{SqliteOptions, SqliteStore, attempts, config, files, find, prune, publish, settle, sorting};
use crate::conformance::Fixtures;
use postrider_core::attempt::{Attempt, HeadBlock, Outcome};
use postrider_core::delivery::{Delivery, Progress, State};
use postrider_core::error::ErrorCode as Code;
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, DeadLetterId, EventSeq};
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, StatementStatus};
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use tempfile::TempDir;

fn database() -> (TempDir, PathBuf, Connection) {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = files::database(directory.path());
    let writer = files::open_database(&file).expect("a new database");
    (directory, file, writer)
}

fn pragma<T: FromSql>(conn: &Connection, name: &str) -> T {
    conn.pragma_query_value(None, name, |row| row.get(0)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A killed process loses nothing that the system holds for it, so no test that kills one would see these settings go.
#[test]
fn an_acknowledged_commit_is_on_the_disk() {
    let (_directory, file, writer) = database();
    for conn in [writer, files::connect_writer(&file).expect("one that is opened again")] {
        assert_eq!(pragma::<i64>(&conn, "synchronous"), 2, "FULL: the log is synced at every commit");
        assert_eq!(pragma::<String>(&conn, "journal_mode"), "wal");
        assert_eq!(pragma::<i64>(&conn, "wal_autocheckpoint"), 0, "checkpoints have a thread of their own");
    }
}

#[test]
fn readers_cannot_write() {
    let (_directory, file, _writer) = database();
    let reader = files::connect_reader(&file).expect("a reader");
    assert!(reader.is_readonly("main").expect("there is one"));
    assert_eq!(pragma::<i64>(&reader, "query_only"), 1);
    let refused = reader.execute("UPDATE meta SET value = value + 1", []).expect_err("a reader that writes");
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::ReadOnly));
}

/// Left to itself, SQLite plans a statement anew whenever another small number is bound to it, which costs many times what running it does.
#[test]
fn a_statement_is_planned_once() {
    let (_directory, file, writer) = database();
    let reader = files::connect_reader(&file).expect("a reader");
    for conn in [writer, reader] {
        for sql in ["SELECT id FROM attempts WHERE delivery = ?1 AND number = ?2", "SELECT id FROM deliveries WHERE id = ?1 LIMIT ?2"] {
            let mut statement = conn.prepare_cached(sql).expect("a statement");
            for number in 1..=3 {
                assert!(!statement.exists(rusqlite::params![b"none", number]).expect("an answer"));
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_read_of_several_steps_sees_one_moment() {
    let (_directory, file, writer) = database();
    let readers = Readers::new(file, 1);
    let (before, after) = readers
        .read(move |conn| {
            let before = config::version(conn)?;
            config::put(&writer, &[])?;
            Ok((before, config::version(conn)?))
        })
        .await
        .expect("a read");
    assert_eq!(after, before, "what is committed meanwhile is not mixed in");
    assert_eq!(readers.read(config::version).await, Ok(before + 1));
    readers.close();
    assert_eq!(readers.read(config::version).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
}

/// However many lists are being read, the engine goes on.
#[tokio::test]
async fn the_engine_does_not_wait_for_lists() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let store = SqliteStore::open(SqliteOptions { readers: 1, ..SqliteOptions::new(directory.path()) }).expect("the store opens");
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let mut list = Box::pin(store.readers.read(move |_| Ok(wait.recv().is_ok())));
    let mut another = store.find_events(EventFilter::default(), PageRequest::first(1));
    for poll in [once(&mut list).await.is_pending(), once(&mut another).await.is_pending()] {
        assert!(poll, "there is one connection for lists");
    }
    assert_eq!(store.next_expiry().await, Ok(None));
    assert_eq!(store.running_jobs().await, Ok(Vec::new()));
    assert!(store.health().await.is_ok());
    go_on.send(()).expect("the list waits");
    assert_eq!(list.await, Ok(true));
    assert_eq!(another.await.map(|found| found.total), Ok(0));
}

/// Looks once whether it has answered.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// What an engine settles when a claimed delivery of a new event ended.
fn ended(make: &mut Fixtures, event: &NewEvent, new: &NewDelivery, outcome: Outcome) -> Settlement {
    let (at, error) = (make.now(), outcome.error.as_ref().map(|error| error.code));
    let progress = Progress::new(at, None);
    let delivery = Delivery {
        id: new.id,
        event: EventSeq(0),
        namespace: event.namespace.clone(),
        subscription: new.subscription,
        endpoint: new.endpoint,
        progress,
        created_at: at,
        last_attempt_at: None,
    };
    let attempt = Attempt { outcome: Some(outcome), ..make.attempt(&delivery) };
    let letter = |code| NewDeadLetter { id: DeadLetterId::new(make.uuid()), code, message: String::new(), at };
    Settlement {
        delivery: new.id,
        namespace: delivery.namespace,
        subscription: new.subscription,
        from: progress.state.kind(),
        progress: Progress { state: error.map_or(State::Succeeded, State::Failed), attempts: 1, spent: 1, ..progress },
        attempt: Some(attempt),
        attempt_recorded: false,
        keep_claim: false,
        dead_letter: error.map(letter),
        follow_up: None,
    }
}

/// Events of so many tenants, each with a delivery that succeeded and one that failed. Answers an attempt besides: the first one.
fn tenants(count: usize) -> (TempDir, Connection, AttemptId) {
    let (directory, file, writer) = database();
    let (mut s, mut make) = (Session::start(&file, writer, Default::default()).expect("a session"), Fixtures::new(1));
    let mut first = None;
    s.begin().expect("begins");
    for n in 0..count {
        let routes = [make.route(), make.route()];
        let namespace = Namespace::new(&format!("tenant-{n}")).expect("a name by the rule");
        let event = NewEvent { namespace, ..make.claimed_event_for(&routes) };
        publish::publish(&mut s, std::slice::from_ref(&event)).expect("publishes");
        let outcomes = [make.success(), make.failure()];
        let settlements: Vec<_> =
            event.deliveries.iter().zip(outcomes).map(|(new, outcome)| ended(&mut make, &event, new, outcome)).collect();
        assert_eq!(settle::settle(&mut s, &settlements).expect("settles"), [Settled::Stored; 2]);
        first = first.or(settlements[0].attempt.as_ref().map(|attempt| attempt.id));
        make.advance_secs(1);
    }
    sorting::sort_in(&mut s).expect("sorts in");
    s.commit().expect("commits");
    drop(s);
    (directory, files::connect_reader(&file).expect("a reader"), first.expect("there is one"))
}

/// How many steps SQLite's machine makes for each read of the master view.
fn steps_of_master_view(tenants_in_all: usize) -> Vec<(&'static str, u64)> {
    let (_directory, mut conn, first) = tenants(tenants_in_all);
    let counted = Arc::new(AtomicU64::new(0));
    let steps = Arc::clone(&counted);
    let count = move || {
        steps.fetch_add(1, Ordering::Relaxed);
        false
    };
    conn.progress_handler(1, Some(count)).expect("it counts");
    let mut costs = Vec::new();
    let mut cost = |what, read: &dyn Fn(&Connection) -> usize, found| {
        counted.store(0, Ordering::Relaxed);
        assert_eq!(read(&conn), found, "{what}");
        costs.push((what, counted.load(Ordering::Relaxed)));
    };
    let outcomes = [
        ("attempts", OutcomeFilter::Any, 2),
        ("those that succeeded", OutcomeFilter::Succeeded, 1),
        ("those that failed", OutcomeFilter::Failed, 1),
        ("those that failed like this", OutcomeFilter::Code(Code::ConnectionRefused), 1),
    ];
    for (what, outcome, each) in outcomes {
        let filter = AttemptFilter { outcome, ..AttemptFilter::default() };
        let window = Window { skip: 3, ..Window::first(10) };
        let read = |conn: &Connection| {
            let found = attempts::find(conn, &filter, window).expect("a list");
            let after = Window { after: found.page.next, ..Window::first(5) };
            assert_eq!(found.total, each * tenants_in_all as u64);
            found.page.items.len() + attempts::find(conn, &filter, after).expect("a list").page.items.len()
        };
        cost(what, &read, 15);
    }
    let one = |conn: &Connection| usize::from(attempts::detail(conn, first, None).expect("a read").is_some());
    cost("one attempt", &one, 1);
    let letters = |conn: &Connection| {
        let found = find::dead_letters(conn, &DeadLetterFilter::default(), Window::first(10)).expect("a list");
        assert_eq!(found.total, tenants_in_all as u64);
        found.page.items.len()
    };
    cost("dead letters", &letters, 10);
    costs
}

/// A page over all tenants, its total, and one attempt out of all that there are: none of them costs more where there are more tenants.
#[test]
fn the_master_view_costs_the_page_and_not_the_tenants() {
    let few = steps_of_master_view(30);
    let many = steps_of_master_view(1_000);
    for ((what, few), (_, many)) in few.into_iter().zip(many) {
        assert!(few > 0 && many <= few + few / 2, "{what}: {few} steps with 60 parts, {many} with 2,000");
    }
}

/// What retention is asked for when only deliveries of events made before this go.
fn deliveries_before(events_before: Timestamp) -> PruneRequest {
    let never = Timestamp::from_secs(0);
    PruneRequest {
        attempts_before: never,
        rows_before: never,
        bodies_before: never,
        events_before,
        closed_before: never,
        requests_before: never,
        configuration_before: never,
        limit: 10_000,
    }
}

/// How many deliveries go, and how many steps SQLite's machine makes for that.
fn prune_all(s: &mut Session, request: &PruneRequest) -> (u64, u64) {
    let counted = Arc::new(AtomicU64::new(0));
    let steps = Arc::clone(&counted);
    let count = move || {
        steps.fetch_add(1, Ordering::Relaxed);
        false
    };
    s.conn.progress_handler(1, Some(count)).expect("it counts");
    let mut gone = 0;
    loop {
        let pruned = prune::prune(s, request).expect("prunes");
        gone += pruned.deliveries;
        if !pruned.more {
            break;
        }
    }
    s.deltas.flush(&s.conn).expect("flushes");
    s.conn.progress_handler(1, None::<fn() -> bool>).expect("it counts no more");
    (gone, counted.load(Ordering::Relaxed))
}

/// Deliveries that stay for good are passed once; those that could not go yet, and those that come late, go all the same.
#[test]
fn retention_passes_what_stays_once_and_forgets_nothing() {
    const KEPT: usize = 3_000;
    let (_directory, file, writer) = database();
    let (mut s, mut make) = (Session::start(&file, writer, Default::default()).expect("a session"), Fixtures::new(1));
    let route = [make.route()];
    let late = make.claimed_event_for(&route);
    let mut kept = make.claimed_event_for(&vec![route[0]; KEPT]);
    kept.deliveries.iter_mut().for_each(|delivery| delivery.keeps_rows = true);
    let [succeeds, fails, lasts] = [(); 3].map(|()| make.claimed_event_for(&route));
    let mut settle_one = |s: &mut Session, event: &NewEvent, fails: bool| {
        let outcome = if fails { make.failure() } else { make.success() };
        let settlement = ended(&mut make, event, &event.deliveries[0], outcome);
        assert_eq!(settle::settle(s, &[settlement]).expect("settles"), [Settled::Stored]);
        make.advance_secs(60)
    };
    publish::publish(&mut s, &[kept, succeeds.clone(), fails.clone(), lasts.clone()]).expect("publishes");
    settle_one(&mut s, &succeeds, false);
    let now = settle_one(&mut s, &fails, true);
    let left = |s: &Session| s.conn.query_row("SELECT count(*) FROM deliveries_left", [], |row| row.get::<_, i64>(0)).expect("a count");
    let (gone, first) = prune_all(&mut s, &deliveries_before(now));
    assert_eq!((gone, left(&s)), (1, 2), "one has an open dead letter, one is under way");
    settle_one(&mut s, &lasts, false);
    drop(s);

    let mut s =
        Session::start(&file, files::connect_writer(&file).expect("one that is opened again"), Default::default()).expect("a session");
    publish::publish(&mut s, std::slice::from_ref(&late)).expect("publishes");
    let now = settle_one(&mut s, &late, false);
    let (gone, second) = prune_all(&mut s, &deliveries_before(now));
    assert_eq!((gone, left(&s)), (2, 1), "the open dead letter keeps its delivery");
    assert!(second < KEPT as u64 && first > KEPT as u64, "{first} steps, then {second}");
}

/// The head that most servers answer with costs no second row, and no row becomes so long that SQLite writes a page for its end.
#[test]
fn the_head_of_a_response_stays_in_its_attempts_row_while_that_fits_into_its_page() {
    let (_directory, file, writer) = database();
    let (mut s, mut make) = (Session::start(&file, writer, Default::default()).expect("a session"), Fixtures::new(1));
    let mut beside = |head: usize, body: usize| {
        let routes = [make.route()];
        let event = make.claimed_event_for(&routes);
        publish::publish(&mut s, std::slice::from_ref(&event)).expect("publishes");
        let head = HeadBlock::from_lines("h".repeat(head));
        let outcome = Outcome { response_headers: Some(head), response_body: vec![b'b'; body].into(), ..make.success() };
        let settlement = ended(&mut make, &event, &event.deliveries[0], outcome);
        assert_eq!(settle::settle(&mut s, &[settlement]).expect("settles"), [Settled::Stored]);
        let sql = "SELECT count(*) FROM attempt_bodies WHERE delivery = ?1";
        s.conn.query_row(sql, [event.deliveries[0].id.bytes()], |row| row.get::<_, i64>(0)).expect("a count")
    };
    assert_eq!([beside(0, 500), beside(700, 2), beside(400, 300)], [0, 0, 0]);
    assert_eq!([beside(0, 501), beside(900, 2), beside(4_096, 0), beside(600, 400)], [1, 1, 1, 1]);
}
