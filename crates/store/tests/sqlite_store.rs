//! What the embedded store promises beyond the port: groups, ownership of its directory, an orderly end, the second door.

use bytes::Bytes;
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{OpenError, SqliteAdmin, SqliteOptions, SqliteStore};
use std::future::{Future, poll_fn};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(SqliteOptions::new(directory)).expect("the store opens")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

/// Keeps the writer waiting with the first group that it takes, until this is rolled back: who comes meanwhile waits together.
fn lock_out(directory: &Path) -> rusqlite::Connection {
    let locked = rusqlite::Connection::open(directory.join("postrider.db")).expect("the database");
    locked.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    locked
}

/// Polls once, so that the command is with the writer when this returns.
async fn queued<F: Future + Unpin>(mut command: F) -> F {
    // A task that goes on for too long is asked to wait by what it polls, whatever that is ready for.
    tokio::task::yield_now().await;
    let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut command).poll(cx).is_pending())).await;
    assert!(pending, "the writer cannot have answered");
    command
}

#[test]
fn concurrent_publishers_share_commits() {
    const PUBLISHERS: u64 = 400;
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let locked = lock_out(dir.path());
        let mut publishers = Vec::new();
        for _ in 0..PUBLISHERS {
            let event = make.event(1);
            let id = event.id;
            publishers.push((id, queued(store.publish(vec![event])).await));
        }
        locked.execute_batch("ROLLBACK").expect("the lock is given back");
        for (id, publisher) in publishers {
            let answer = publisher.await;
            assert!(matches!(answer.as_deref(), Ok([Published::Stored(_)])), "{answer:?}");
            assert!(store.event(id).await.expect("a read").is_some());
        }
        assert!(store.commits() <= 2, "{} commits for {PUBLISHERS} publishers, of whom only the first met an idle writer", store.commits());
    });
}

#[test]
fn a_settlement_rides_with_urgent_work() {
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        // Fenced, for there is no such delivery; the commit happens all the same.
        let unknown = make.event(1).deliveries[0];
        let settlement = Settlement {
            delivery: unknown.id,
            namespace: postrider_core::event::Namespace::default_namespace(),
            subscription: unknown.subscription,
            from: postrider_core::delivery::StateKind::Pending,
            progress: postrider_core::delivery::Progress::new(make.now(), None),
            attempt: None,
            attempt_recorded: false,
            keep_claim: false,
            dead_letter: None,
            follow_up: None,
        };
        let locked = lock_out(dir.path());
        let first = queued(store.publish(vec![make.event(1)])).await;
        let settled = queued(store.settle([settlement].into())).await;
        let published = queued(store.publish(vec![make.event(1)])).await;
        locked.execute_batch("ROLLBACK").expect("the lock is given back");
        assert!(first.await.is_ok());
        assert_eq!(settled.await, Ok(vec![Settled::Fenced]));
        assert!(published.await.is_ok());
        assert!(store.commits() <= 2, "{} commits: the settlement had one of its own", store.commits());
    });
}

#[test]
fn one_command_that_cannot_be_done_takes_no_other_with_it() {
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let (first, good, other) = (make.event(1), make.event(1), make.event(1));
        store.publish(vec![first.clone()]).await.expect("publishes");
        // Its id is there already, which no generator of ids does.
        let bad = NewEvent { created_at: make.now(), ..first };
        let goods = [good.id, other.id];
        let (a, b, c) = tokio::join!(store.publish(vec![good]), store.publish(vec![bad]), store.publish(vec![other]));
        assert!(a.is_ok() && c.is_ok(), "{a:?} {c:?}");
        assert_eq!(b.map_err(|e| e.kind), Err(StoreErrorKind::Internal));
        for id in goods {
            let event = store.event(id).await.expect("a read").expect("it was acknowledged");
            let counters = store.counters(vec![event.deliveries[0].subscription]).await.expect("a read");
            assert_eq!(counters[0].deliveries[0], 1);
        }
    });
}

#[test]
fn one_process_owns_the_directory() {
    let dir = directory();
    let store = open(dir.path());
    let refused = SqliteStore::open(SqliteOptions::new(dir.path())).expect_err("it is in use");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    let advice = format!("another postrider is using {}: stop it, or give this one its own --data-dir", dir.path().display());
    assert_eq!(refused.to_string(), advice);
    let first = store.incarnation();
    store.close();
    assert_eq!(open(dir.path()).incarnation(), first + 1);
}

#[test]
fn nobody_else_can_read_the_files() {
    let dir = directory();
    let data = dir.path().join("a").join("data");
    block_on(async {
        let (store, mut make) = (open(&data), Fixtures::new(1));
        store.publish(vec![make.event(1)]).await.expect("publishes");
        assert_eq!(mode(&data), 0o700);
        for file in ["postrider.db", "postrider.db-wal", "postrider.lock"] {
            assert_eq!(mode(&data.join(file)), 0o600, "{file}");
        }
    });
}

#[test]
fn closing_finishes_what_was_begun_and_refuses_the_rest() {
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let event = make.event(1);
        let id = event.id;
        let mut publishing = store.publish(vec![event]);
        // One poll puts it into the queue.
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(publishing.as_mut().poll(cx))).await;
        store.close();
        let answer = match polled {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => publishing.await,
        };
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(store.publish(vec![make.event(1)]).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert_eq!(store.event(id).await.map(drop).map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        let left = std::fs::metadata(dir.path().join("postrider.db-wal")).map_or(0, |wal| wal.len());
        assert_eq!(left, 0, "the write-ahead log is empty after an orderly end");
        assert!(open(dir.path()).event(id).await.expect("a read").is_some());
    });
}

#[test]
fn the_write_ahead_log_stays_bounded() {
    const PAYLOAD: usize = 1 << 20;
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let mut largest = 0;
        for n in 0..160u8 {
            let event = NewEvent { payload: Bytes::from(vec![n; PAYLOAD]), ..make.event(1) };
            store.publish(vec![event]).await.expect("publishes");
            largest = largest.max(std::fs::metadata(dir.path().join("postrider.db-wal")).expect("a log").len());
        }
        assert!(largest < 72 << 20, "160 MiB went through a log that grew to {} MiB", largest >> 20);
    });
}

#[test]
fn the_writers_panic_leaves_nobody_waiting() {
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let event = make.event(1);
        let id = event.id;
        store.publish(vec![event]).await.expect("publishes");
        let (panicked, beside) = tokio::join!(store.panic_in_writer(), store.publish(vec![make.event(1)]));
        assert_eq!(panicked.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert!(beside.is_ok() || beside.is_err_and(|e| e.kind == StoreErrorKind::Unavailable));
        assert_eq!(store.publish(vec![make.event(1)]).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert_eq!(store.health().await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert!(store.event(id).await.expect("reads go on").is_some());
    });
}

#[test]
fn the_second_door_works_beside_a_running_server() {
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let before = store.configuration_version().await.expect("a read");
        let admin = SqliteAdmin::open(dir.path()).expect("no ownership is needed");
        let key = make.key();
        admin.revise(|_| (vec![ConfigChange::Key(key.clone())], ())).expect("configures");
        assert!(store.configuration_version().await.expect("a read") > before);
        assert_eq!(store.configuration().await.expect("a read").keys, std::slice::from_ref(&key));
        let endpoint = make.endpoint();
        let newer = store.configuration_version().await.expect("a read");
        let put = |version| store.configure(version, vec![ConfigChange::Endpoint(endpoint.clone())]);
        assert_eq!(put(before).await, Ok(Configured::Conflict), "it was made from what the other door has changed since");
        assert!(matches!(put(newer).await, Ok(Configured::Stored { .. })));
        let seen = admin.configuration().expect("a read");
        assert_eq!((seen.endpoints, seen.keys), (vec![endpoint], vec![key]));
        assert_eq!(seen.version, store.configuration_version().await.expect("a read"));
    });
}

#[test]
fn the_second_door_and_the_server_write_in_turns() {
    const EACH: usize = 40;
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let admin = SqliteAdmin::open(dir.path()).expect("opens");
        let keys: Vec<_> = (0..EACH).map(|_| ConfigChange::Key(make.key())).collect();
        let door = tokio::task::spawn_blocking(move || keys.into_iter().try_for_each(|key| admin.revise(|_| (vec![key], ()))));
        for _ in 0..EACH {
            store.publish(vec![make.event(1)]).await.expect("publishes");
        }
        door.await.expect("no panic").expect("configures");
        let configuration = store.configuration().await.expect("a read");
        assert_eq!((configuration.keys.len(), configuration.version), (EACH, EACH as i64));
    });
}

#[test]
fn the_second_door_makes_the_database_before_the_first_start() {
    let dir = directory();
    let data = dir.path().join("data");
    let key = Fixtures::new(1).key();
    SqliteAdmin::open(&data).expect("opens").revise(|_| (vec![ConfigChange::Key(key.clone())], ())).expect("configures");
    assert_eq!((mode(&data), mode(&data.join("postrider.db"))), (0o700, 0o600));
    block_on(async { assert_eq!(open(&data).configuration().await.expect("a read").keys, [key]) });
}
