//! The embedded store on small file systems of its own that fill up and become read-only.
//!
//! Mounting needs rights, so each test runs itself again in a mount namespace of its own: as root, or as root of a user namespace,
//! which needs no rights. Where neither is allowed the tests fail and say what to do; `POSTRIDER_NO_MOUNTS=1` leaves them out.

use bytes::Bytes;
use postrider_core::id::EventId;
use postrider_core::ports::*;
use postrider_store::conformance::{Fixtures, block_on};
use postrider_store::{OpenError, SqliteOptions, SqliteStore};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Set in the process in which mounting is allowed.
const INSIDE: &str = "POSTRIDER_INSIDE_MOUNTS";

/// Runs the body of the test of that name in a mount namespace of its own.
fn with_mounts(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if std::env::var("POSTRIDER_NO_MOUNTS").is_ok_and(|value| value == "1") {
        eprintln!("left out, as POSTRIDER_NO_MOUNTS=1 asks: {test}");
        return;
    }
    let namespace = ["-m", "-Urm"].into_iter().find(|flags| can_mount(flags)).expect(
        "mounting is not allowed here: install util-linux for `unshare`, and run this as root or allow user namespaces; \
         POSTRIDER_NO_MOUNTS=1 leaves these tests out",
    );
    // A write beyond the limit of a file's size is to be an error and not the end of the process.
    let run = Command::new("unshare")
        .args([namespace, "sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("the test's own program"))
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare starts");
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

fn can_mount(namespace: &str) -> bool {
    let dir = directory();
    run("unshare", &[namespace, "mount", "-t", "tmpfs", "tmpfs", text(dir.path())])
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// A small file system, unmounted when it goes.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn new(size: &str) -> Self {
        let dir = directory();
        assert!(run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs", text(dir.path())]), "mounting");
        Disk { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// With its source named, for without it `mount` repeats the options of before, with an owner that a user namespace does not know.
    fn remount(&self, options: &str) {
        assert!(run("mount", &["-o", &format!("remount,{options}"), "tmpfs", text(self.path())]), "remounting with {options}");
    }

    /// Makes everything that is opened from now on read-only. What is open stays as it is, which no file system does that became so.
    fn cover(&self) {
        let path = text(self.path());
        assert!(run("mount", &["--bind", path, path]) && run("mount", &["-o", "remount,bind,ro", path]), "mounting over it");
    }

    fn uncover(&self) {
        assert!(run("mount", &["-o", "remount,bind,rw", text(self.path())]), "what lies over it becomes writable");
    }

    /// Fills it up but for so many bytes.
    fn fill(&self, but: u64) -> PathBuf {
        let ballast = self.path().join("ballast");
        let disk = rustix::fs::statvfs(self.path()).expect("the disk's size");
        let free = disk.f_bavail * disk.f_frsize;
        let size = usize::try_from(free.checked_sub(but).expect("so much is free")).expect("a small disk");
        std::fs::write(&ballast, vec![0; size]).expect("there is room");
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        while run("umount", &["-l", text(self.path())]) {}
    }
}

/// How large a file of this process may become, in bytes; `None` as large as it likes.
fn limit_files(to: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: to.or(maximum), maximum }).expect("a limit may be lowered");
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(SqliteOptions::new(directory)).expect("the store opens")
}

fn event(make: &mut Fixtures, bytes: usize) -> NewEvent {
    NewEvent { payload: Bytes::from(vec![b'x'; bytes]), ..make.event(1) }
}

async fn publish(store: &SqliteStore, event: NewEvent) -> (EventId, Result<(), StoreError>) {
    (event.id, store.publish(vec![event]).await.map(drop))
}

/// Publishes until the store refuses, at most `tries` times; what was acknowledged, and the refusal.
async fn publish_until_refused(store: &SqliteStore, make: &mut Fixtures, tries: usize) -> (Vec<EventId>, Option<StoreError>) {
    let mut acknowledged = Vec::new();
    for _ in 0..tries {
        match publish(store, event(make, 20_000)).await {
            (id, Ok(())) => acknowledged.push(id),
            (_, Err(error)) => return (acknowledged, Some(error)),
        }
    }
    (acknowledged, None)
}

async fn is_stored(store: &SqliteStore, id: EventId) -> bool {
    store.event(id).await.expect("reads go on").is_some()
}

async fn assert_stored(store: &SqliteStore, ids: &[EventId]) {
    for id in ids {
        assert!(is_stored(store, *id).await, "it was acknowledged");
    }
}

fn length(directory: &Path, file: &str) -> u64 {
    std::fs::metadata(directory.join(file)).expect("the file").len()
}

/// What a crash leaves.
fn copy_of(directory: &Path) -> TempDir {
    let copy = self::directory();
    for file in ["postrider.db", "postrider.db-wal"] {
        std::fs::copy(directory.join(file), copy.path().join(file)).expect("copies");
    }
    copy
}

#[test]
fn a_disk_that_is_full() {
    with_mounts("a_disk_that_is_full", || {
        let disk = Disk::new("6m");
        block_on(async {
            let (store, mut make) = (open(disk.path()), Fixtures::new(1));
            let (acknowledged, refused) = publish_until_refused(&store, &mut make, 1_000).await;
            assert_eq!(refused.as_ref().map(|e| e.kind), Some(StoreErrorKind::Full), "{refused:?}");
            assert!(!acknowledged.is_empty());
            assert_stored(&store, &acknowledged).await;

            disk.remount("size=40m");
            let (more, refused) = publish_until_refused(&store, &mut make, 50).await;
            assert_eq!((more.len(), refused), (50, None), "room is all it needs");
            assert_stored(&store, &acknowledged).await;
            assert_stored(&store, &more).await;
            store.close();
            assert_stored(&open(disk.path()), &acknowledged).await;
        });
    });
}

#[test]
fn a_disk_that_is_full_at_the_start() {
    with_mounts("a_disk_that_is_full_at_the_start", || {
        let disk = Disk::new("16k");
        let refused = SqliteStore::open(SqliteOptions::new(disk.path())).expect_err("there is no room for the schema");
        assert!(matches!(refused, OpenError::Full { .. }), "{refused:?}");
        disk.remount("size=8m");
        drop(open(disk.path()));
    });
}

#[test]
fn a_disk_that_is_mounted_read_only() {
    with_mounts("a_disk_that_is_mounted_read_only", || {
        let disk = Disk::new("8m");
        drop(open(disk.path()));
        disk.remount("ro");
        let refused = SqliteStore::open(SqliteOptions::new(disk.path())).expect_err("it cannot be written");
        assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused:?}");
    });
}

/// No test can make a file system read-only under an open file. So its two halves are made: writes to open files fail, for they may
/// not grow, and whatever is opened is read-only.
#[test]
fn a_disk_that_becomes_read_only_and_writable_again() {
    with_mounts("a_disk_that_becomes_read_only_and_writable_again", || {
        let disk = Disk::new("8m");
        block_on(async {
            let (store, mut make) = (open(disk.path()), Fixtures::new(1));
            let (before, answer) = publish(&store, event(&mut make, 20_000)).await;
            assert_eq!(answer, Ok(()));

            disk.cover();
            limit_files(Some(length(disk.path(), "postrider.db-wal")));
            let (first, answer) = publish(&store, event(&mut make, 20_000)).await;
            assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::ReadOnly), "a write fails");
            limit_files(None);
            let (second, answer) = publish(&store, event(&mut make, 20_000)).await;
            assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::ReadOnly), "the file was opened anew");
            assert!(is_stored(&store, before).await);

            disk.uncover();
            let (after, answer) = publish(&store, event(&mut make, 20_000)).await;
            assert_eq!(answer, Ok(()), "to be writable is all it needs");
            for (id, is_there) in [(before, true), (first, false), (second, false), (after, true)] {
                assert_eq!(is_stored(&store, id).await, is_there);
            }
        });
    });
}

/// The frames of a large commit are on disk, mark and all, when there is no room to grow the index of the log: what is refused then
/// must not be there after a crash.
#[test]
fn a_commit_that_failed_late_does_not_come_back() {
    const FIRST: usize = 8_400_000;
    const SECOND: usize = 8_800_000;
    /// Frames that the first piece of the index has room for, and the size of a frame with its head.
    const FRAMES: u64 = 4_062;
    const FRAME: u64 = 4_120;

    with_mounts("a_commit_that_failed_late_does_not_come_back", || {
        block_on(async {
            let log = "postrider.db-wal";
            let plain = directory();
            let (store, mut make) = (open(plain.path()), Fixtures::new(1));
            assert_eq!(publish(&store, event(&mut make, FIRST)).await.1, Ok(()));
            let before = length(plain.path(), log);
            assert_eq!(publish(&store, event(&mut make, SECOND)).await.1, Ok(()));
            let after = length(plain.path(), log);
            assert!(before < FRAMES * FRAME && after > FRAMES * FRAME, "the second one needs another piece of the index");

            let disk = Disk::new("32m");
            let (store, mut make) = (open(disk.path()), Fixtures::new(1));
            let (stored, answer) = publish(&store, event(&mut make, FIRST)).await;
            assert_eq!((answer, length(disk.path(), log)), (Ok(()), before));
            let ballast = disk.fill(after - before + 12_288);
            let (refused, answer) = publish(&store, event(&mut make, SECOND)).await;
            assert_eq!(answer.map_err(|e| e.kind), Err(StoreErrorKind::Full));
            assert_eq!(length(disk.path(), log), after, "all of it was written");
            assert!(!is_stored(&store, refused).await);

            let copy = copy_of(disk.path());
            let restarted = open(copy.path());
            assert!(is_stored(&restarted, stored).await && !is_stored(&restarted, refused).await);

            std::fs::remove_file(ballast).expect("it is there");
            disk.remount("size=64m");
            let (next, answer) = publish(&store, event(&mut make, SECOND)).await;
            assert_eq!(answer, Ok(()));
            assert_stored(&store, &[stored, next]).await;
        });
    });
}
