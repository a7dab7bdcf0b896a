//! A disk that is full, a database that is locked or damaged: clear errors, nothing acknowledged that is not stored, reads go on.

use crate::common;

use crate::common::{Client, Receiver, Server, keys};
use serde_json::json;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// Set where a test runs in a mount namespace of its own.
const INSIDE: &str = "POSTRIDER_TEST_MOUNTS";

/// Runs the rest of a test in a mount namespace of its own, where it may mount, as root or as anybody: it is called again there, by its
/// name, and answers true. Outside it answers false, once that has gone well. `POSTRIDER_NO_MOUNTS=1` leaves the test out.
fn mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if std::env::var("POSTRIDER_NO_MOUNTS").is_ok_and(|value| value == "1") {
        eprintln!("left out, as POSTRIDER_NO_MOUNTS=1 asks: {test}");
        return false;
    }
    let may_mount = |flags: &&str| {
        let mut try_it = Command::new("unshare");
        try_it.arg(flags).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
        try_it.output().is_ok_and(|output| output.status.success())
    };
    let flags = ["-m", "-Urm"].into_iter().find(may_mount).expect(
        "mounting is not allowed here: install util-linux for `unshare`, and run this as root or allow user namespaces; \
         POSTRIDER_NO_MOUNTS=1 leaves this test out",
    );
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.arg(flags).arg(this).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let output = command.output().expect("unshare runs");
    let (out, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Without the number a misspelt name, for which nothing runs, would pass.
    assert!(output.status.success() && out.contains("1 passed"), "in a mount namespace (unshare {flags}): {out}{talk}");
    false
}

fn mount_tmpfs(at: &Path, size: &str) {
    let output = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(at).output().expect("mount runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_and_reads_go_on() {
    if !mounts("store_faults::on_a_full_disk_nothing_is_acknowledged_and_reads_go_on") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let disk = directory.path().join("data");
    std::fs::create_dir(&disk).expect("a directory");
    mount_tmpfs(&disk, "size=12m,mode=0700");
    // Room that is given back later.
    let spare = disk.join("spare");
    std::fs::write(&spare, vec![1; 4 << 20]).expect("it fits");
    let server = Server::start(directory, &["--dev"], &[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let payload = format!("[\"{}\"]", "x".repeat(256 << 10));
    let mut accepted = Vec::new();
    let refused = loop {
        assert!(accepted.len() < 100, "the disk never gets full");
        let answer = server.ingest(&id, payload.as_bytes());
        match answer.status {
            202 => accepted.push(answer.json()["delivery_task_id"].as_str().expect("an id").to_owned()),
            _ => break answer,
        }
    };
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert!(refused.error().contains("full") && !refused.text().contains("SQL"), "{}", refused.text());
    assert!(!accepted.is_empty());
    for task in &accepted {
        let shown = server.get(&format!("/deliveries/{task}"));
        assert_eq!((shown.status, shown.json()["task"]["payload"].as_str()), (200, Some(payload.as_str())));
    }
    std::fs::remove_file(spare).expect("room");
    // The server finds out by trying, and so does its client.
    let begun = tokio::time::Instant::now();
    loop {
        let answer = server.ingest(&id, payload.as_bytes());
        if answer.status == 202 {
            accepted.push(answer.json()["delivery_task_id"].as_str().expect("an id").to_owned());
            break;
        }
        assert_eq!(answer.status, 507, "{}", answer.text());
        assert!(begun.elapsed() < common::PATIENCE, "it does not notice that there is room");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    for task in &accepted {
        server.task_with_status(task, "delivered");
    }
    server.value_when("/healthz", |v| *v == json!({ "status": "healthy" }));
    // What was refused was not stored: it never arrives.
    let tasks: std::collections::BTreeSet<_> =
        receiver.wait_for(accepted.len()).into_iter().map(|r| r.headers["x-postrider-delivery-id"].clone()).collect();
    assert_eq!(tasks, accepted.into_iter().collect());
    assert!(server.stop().0.success());
}

#[test]
fn while_the_database_is_locked_publishers_are_asked_to_come_again() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let before = server.accepted(&id, b"\"before\"");
    server.task_with_status(&before, "delivered");
    let locker = rusqlite::Connection::open(server.data_dir().join("postrider.db")).expect("the database");
    locker.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    // Longer than a health check's answer is good for, so that it is found out anew.
    let (refused, (health, detailed)) = std::thread::scope(|scope| {
        let client = Client::new(server.address);
        let health = scope.spawn(move || {
            let begun = tokio::time::Instant::now();
            loop {
                let answer = client.call("GET", "/healthz", &[], b"");
                if answer.status != 200 || begun.elapsed() > common::PATIENCE {
                    return (answer, client.call("GET", "/health", &[], b""));
                }
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            }
        });
        let refused = server.ingest(&id, b"\"refused\"");
        // Reads go on meanwhile.
        assert_eq!(server.get(&format!("/deliveries/{before}")).json()["task"]["status"], "delivered");
        (refused, health.join().expect("it answers"))
    });
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    assert!(refused.error().contains("try again"), "{}", refused.error());
    assert_eq!((health.status, health.json()), (503, json!({ "status": "unhealthy" })));
    let expected = json!({"status": "unhealthy", "type": "sqlite", "error": "the store cannot be used: see the server's log"});
    assert_eq!(
        (detailed.status, &detailed.json()["status"], &detailed.json()["checks"]["database"]),
        (503, &expected["status"], &expected)
    );
    locker.execute_batch("ROLLBACK").expect("the lock is given back");
    let after = server.accepted(&id, b"\"after\"");
    server.task_with_status(&after, "delivered");
    server.value_when("/healthz", |v| *v == json!({ "status": "healthy" }));
    let (_, directory) = server.stop();
    let server = Server::start(directory, &["--dev"], &[]);
    server.value_when(&format!("/subscriptions/{id}/deliveries"), |v| v.as_array().is_some_and(|logs| logs.len() == 2));
    let bodies: Vec<_> = receiver.wait_for(2).into_iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    assert_eq!(bodies, ["\"before\"", "\"after\""]);
}

#[test]
fn a_damaged_database_is_a_500_that_gives_nothing_away() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let task = server.accepted(&id, b"{}");
    server.task_with_status(&task, "delivered");
    // A stop leaves everything in one file.
    let (status, directory) = server.stop();
    assert!(status.success());
    let server = Server::start(directory, &["--dev"], &[]);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(server.data_dir().join("postrider.db")).expect("the database");
    let length = file.metadata().expect("its size").len();
    let page = 4_096;
    assert!(length > page, "there is nothing beyond the first page");
    // The first page stays: with it damaged nothing could tell a database from any other file.
    file.write_all_at(&vec![0xff; usize::try_from(length - page).expect("a small file")], page).expect("damage");
    let answer = server.get(&format!("/deliveries/{task}"));
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(keys(&answer.json()), ["error"]);
    let text = answer.text().to_lowercase();
    for secret in ["sqlite", "malformed", "deliveries", "select", "postrider.db"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(answer.error().contains("damaged"), "{text}");
}
