//! What the embedded store does when the disk, the files or their owner are not as they should be.

use bytes::Bytes;
use postrider_core::id::EventId;
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{OpenError, SqliteAdmin, SqliteOptions, SqliteStore};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::TempDir;

const PAGE: u64 = 4_096;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(SqliteOptions::new(directory)).expect("the store opens")
}

fn large_event(make: &mut Fixtures) -> NewEvent {
    NewEvent { payload: Bytes::from(vec![b'x'; 20_000]), ..make.event(1) }
}

/// Publishes until the store refuses, at most `tries` times; what was acknowledged, and the refusal.
async fn publish_until_refused(store: &SqliteStore, make: &mut Fixtures, tries: usize) -> (Vec<EventId>, Option<StoreError>) {
    let mut acknowledged = Vec::new();
    for _ in 0..tries {
        let event = large_event(make);
        let id = event.id;
        match store.publish(vec![event]).await {
            Ok(_) => acknowledged.push(id),
            Err(error) => return (acknowledged, Some(error)),
        }
    }
    (acknowledged, None)
}

async fn assert_stored(store: &SqliteStore, ids: &[EventId]) {
    for id in ids {
        let event = store.event(*id).await.expect("reads go on").expect("it was acknowledged");
        assert_eq!((event.event.payload.len(), event.deliveries.len()), (20_000, 1));
    }
}

/// Overwrites pages of the database, the first one being 0.
fn damage(directory: &Path, pages: std::ops::Range<u64>) {
    let file = OpenOptions::new().write(true).open(directory.join("postrider.db")).expect("the file");
    for page in pages {
        file.write_all_at(&[0xab; PAGE as usize], page * PAGE).expect("writes");
    }
}

/// The pages with the rows of events, as [`damage`] counts them.
fn leaves_of_events(directory: &Path) -> Vec<u64> {
    let conn = rusqlite::Connection::open(directory.join("postrider.db")).expect("opens");
    let sql = "SELECT pageno - 1 FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY pageno";
    let mut select = conn.prepare(sql).expect("a statement");
    select.query_map([], |row| row.get::<_, u32>(0).map(u64::from)).expect("pages").collect::<rusqlite::Result<_>>().expect("numbers")
}

fn pages(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("postrider.db")).expect("the file").len() / PAGE
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_when_there_is_room() {
    let dir = directory();
    block_on(async {
        let options = SqliteOptions { max_pages: Some(200), ..SqliteOptions::new(dir.path()) };
        let (store, mut make) = (SqliteStore::open(options).expect("opens"), Fixtures::new(1));
        let (acknowledged, refused) = publish_until_refused(&store, &mut make, 200).await;
        assert_eq!(refused.map(|e| e.kind), Some(StoreErrorKind::Full));
        assert!(!acknowledged.is_empty());
        assert_stored(&store, &acknowledged).await;

        let route = make.route();
        let (refused, event) = (large_event(&mut make), make.event_for(&[route]));
        let id = refused.id;
        assert!(store.publish(vec![event, refused]).await.is_err());
        assert!(store.event(id).await.expect("reads go on").is_none(), "nothing of a refused batch is stored");
        assert_eq!(store.counters(vec![route.subscription]).await.expect("reads go on"), [Counters::default()]);

        store.set_max_pages(10_000).await.expect("the disk has room again");
        let (more, refused) = publish_until_refused(&store, &mut make, 20).await;
        assert_eq!((more.len(), refused), (20, None));
        assert_stored(&store, &acknowledged).await;
        store.health().await.expect("healthy");
    });
}

#[test]
fn after_a_full_disk_a_restart_finds_what_was_acknowledged() {
    let dir = directory();
    block_on(async {
        let options = SqliteOptions { max_pages: Some(150), ..SqliteOptions::new(dir.path()) };
        let (store, mut make) = (SqliteStore::open(options).expect("opens"), Fixtures::new(1));
        let (acknowledged, refused) = publish_until_refused(&store, &mut make, 200).await;
        assert!(refused.is_some());
        drop(store);
        let store = open(dir.path());
        assert_stored(&store, &acknowledged).await;
        assert!(publish_until_refused(&store, &mut make, 5).await.1.is_none());
    });
}

#[test]
fn a_file_where_the_directory_should_be() {
    let dir = directory();
    let path = dir.path().join("file");
    std::fs::write(&path, "not a directory").expect("writes");
    for path in [path.clone(), path.join("below")] {
        let refused = SqliteStore::open(SqliteOptions::new(&path)).expect_err("it is no directory");
        assert!(matches!(refused, OpenError::NotADirectory { .. }), "{refused:?}");
    }
}

#[test]
fn a_file_that_is_no_database() {
    let dir = directory();
    std::fs::write(dir.path().join("postrider.db"), "this is a letter to my aunt, and not a database".repeat(200)).expect("writes");
    let refused = SqliteStore::open(SqliteOptions::new(dir.path())).expect_err("it is no database");
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
    let refused = SqliteAdmin::open(dir.path()).expect_err("it is no database");
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
}

#[test]
fn a_database_whose_first_page_is_damaged() {
    let dir = directory();
    drop(open(dir.path()));
    damage(dir.path(), 0..1);
    let refused = SqliteStore::open(SqliteOptions::new(dir.path())).expect_err("it is damaged");
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
}

#[test]
fn a_database_whose_tables_are_damaged() {
    let dir = directory();
    drop(open(dir.path()));
    damage(dir.path(), 2..pages(dir.path()));
    let refused = SqliteStore::open(SqliteOptions::new(dir.path())).expect_err("it is damaged");
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
    assert!(refused.to_string().contains("restore the data directory from a backup"), "{refused}");
}

#[test]
fn damage_that_shows_only_later_is_an_error_and_not_a_wrong_answer() {
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let events: Vec<NewEvent> = (0..300).map(|_| NewEvent { payload: Bytes::from(vec![7; 1_500]), ..make.event(1) }).collect();
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        store.publish(events).await.expect("publishes");
        drop(store);
        // What is read at the start is elsewhere.
        for page in leaves_of_events(dir.path()).into_iter().skip(20).take(8) {
            damage(dir.path(), page..page + 1);
        }

        let store = open(dir.path());
        let (mut good, mut corrupt) = (0, 0);
        for id in &ids {
            match store.event(*id).await {
                Ok(view) => {
                    assert_eq!(view.expect("its index is whole").event.payload, vec![7; 1_500]);
                    good += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind, StoreErrorKind::Corrupt, "{error:?}");
                    corrupt += 1;
                }
            }
        }
        assert!(good > 0 && corrupt > 0, "{good} good, {corrupt} damaged");
        let event = make.event(1);
        let id = event.id;
        store.publish(vec![event]).await.expect("what is whole can be written to");
        assert!(store.event(id).await.expect("a read").is_some());
    });
}

#[test]
fn damage_that_a_write_meets_refuses_it_and_mended_it_goes_on() {
    let dir = directory();
    block_on(async {
        let (store, mut make) = (open(dir.path()), Fixtures::new(1));
        let events: Vec<NewEvent> = (0..300).map(|_| NewEvent { payload: Bytes::from(vec![7; 1_500]), ..make.event(1) }).collect();
        let first = events[0].id;
        store.publish(events).await.expect("publishes");
        drop(store);

        let file = dir.path().join("postrider.db");
        let store = open(dir.path());
        let whole = std::fs::read(&file).expect("the file");
        // The tops of the trees were read at the start; what a new row goes under was not.
        damage(dir.path(), 1..pages(dir.path()));
        let event = make.event(1);
        let refused = event.id;
        let error = store.publish(vec![event]).await.expect_err("the new row goes onto a damaged page");
        assert_eq!(error.kind, StoreErrorKind::Corrupt, "{error:?}");

        OpenOptions::new().write(true).open(&file).expect("the file").write_all_at(&whole, 0).expect("writes");
        let event = make.event(1);
        let accepted = event.id;
        store.publish(vec![event]).await.expect("the damaged pages are not remembered");
        for (id, is_there) in [(first, true), (refused, false), (accepted, true)] {
            assert_eq!(store.event(id).await.expect("a read").is_some(), is_there);
        }
    });
}

#[test]
fn a_database_of_a_newer_release() {
    let dir = directory();
    drop(open(dir.path()));
    let conn = rusqlite::Connection::open(dir.path().join("postrider.db")).expect("opens");
    conn.pragma_update(None, "user_version", 99).expect("writes");
    drop(conn);
    for refused in [SqliteStore::open(SqliteOptions::new(dir.path())).map(drop), SqliteAdmin::open(dir.path()).map(drop)] {
        let refused = refused.expect_err("this release does not know that schema");
        assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused:?}");
        assert!(refused.to_string().contains("was made by a newer postrider"), "{refused}");
    }
}
