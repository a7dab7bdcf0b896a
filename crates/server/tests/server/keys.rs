//! `postrider keys`.

use crate::common;

use crate::common::{Server, run};
use serde_json::Value;
use std::path::Path;

fn keys(directory: &Path, arguments: &[&str]) -> (bool, String, String) {
    let all: Vec<&str> = std::iter::once("keys").chain(arguments.iter().copied()).chain(["--data-dir", "data"]).collect();
    let (status, out, talk) = run(&all, directory, &[]);
    (status.success(), out, talk)
}

fn listed(directory: &Path) -> Vec<Value> {
    let (done, out, talk) = keys(directory, &["list", "--json"]);
    assert!(done, "{talk}");
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn the_wrong_directory_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    for arguments in [&["list"][..], &["revoke", "pr_12345678"]] {
        let (done, _, talk) = keys(directory.path(), arguments);
        assert!(!done && talk.contains("no database in data"), "{talk}");
    }
    assert!(!directory.path().join("data").exists(), "looking makes nothing");
    let (done, _, talk) = keys(directory.path(), &["create"]);
    assert!(done && talk.contains("in the database in data"), "{talk}");
}

#[test]
fn keys_are_made_before_the_first_start_and_open_the_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let (done, out, talk) = keys(directory.path(), &["create", "--namespace", "default", "--scopes", "read,write", "--name", "first"]);
    assert!(done, "{talk}");
    let secret = out.trim();
    assert!(out.ends_with('\n') && out.lines().count() == 1 && secret.starts_with("pr_") && secret.len() == 46, "{out}");
    assert!(!talk.contains(secret));
    let all = listed(directory.path());
    assert_eq!((all.len(), &all[0]["namespace"], &all[0]["name"]), (1, &Value::from("default"), &Value::from("first")));
    assert!(secret.starts_with(all[0]["prefix"].as_str().expect("a prefix")));
    assert!(!all[0].to_string().contains(secret));
    let (_, table, _) = keys(directory.path(), &["list"]);
    assert!(table.contains("first") && table.contains("active") && !table.contains(secret), "{table}");

    let server = Server::start(directory, &[], &[]);
    let with = |key: &str| server.call("GET", "/subscriptions", &[("x-api-key", key)], b"").status;
    assert_eq!((with(secret), server.get("/subscriptions").status), (200, 401));

    // Revoked while the server runs, by the prefix that the list shows.
    let (done, _, talk) = keys(server.directory.path(), &["revoke", &secret[..11]]);
    assert!(done && talk.contains("revoked"), "{talk}");
    let begun = tokio::time::Instant::now();
    while with(secret) != 401 {
        assert!(begun.elapsed() < common::PATIENCE, "a revoked key goes on working");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let (done, _, talk) = keys(server.directory.path(), &["revoke", &secret[..11]]);
    assert!(!done && talk.contains("revoked already"), "{talk}");
    assert!(listed(server.directory.path())[0]["revoked_at"].is_string());
}

#[test]
fn a_key_without_namespace_is_a_master_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, out, talk) = keys(directory.path(), &["create", "--scopes", "read"]);
    assert!(talk.contains("master view") && out.starts_with("pr_"), "{talk}");
    assert_eq!(listed(directory.path())[0]["namespace"], Value::Null);
}

#[test]
fn the_data_directory_of_the_configuration_file_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("postrider.toml"), "data_dir = 'elsewhere'\n").expect("a file");
    let (status, _, talk) = run(&["keys", "create"], directory.path(), &[]);
    assert!(status.success(), "{talk}");
    assert!(directory.path().join("elsewhere/postrider.db").exists() && !directory.path().join("postrider-data").exists());
}

#[test]
fn bad_requests_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for (arguments, words) in [
        (&["create", "--namespace", "a b"][..], "a namespace is"),
        (&["create", "--scopes", "read,rite"], "\"rite\" is no scope"),
        (&["create", "--scopes", ""], "may do nothing"),
        (&["create", "--name", "dev"], "neither dev nor bootstrap"),
        (&["revoke", "pr_nothing"], "there is no key"),
    ] {
        let (done, out, talk) = keys(directory.path(), arguments);
        assert!(!done && out.is_empty() && talk.contains(words), "{arguments:?}: {talk}");
    }
    assert!(listed(directory.path()).is_empty());
}

#[test]
fn a_key_may_end_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    for bad in ["soon", "2020-01-01T00:00:00Z", "0s"] {
        let (done, _, talk) = keys(directory.path(), &["create", "--namespace", "default", "--expires", bad]);
        assert!(!done && talk.contains("--expires"), "{bad}: {talk}");
    }
    let (done, _, talk) = keys(directory.path(), &["create", "--expires", "90d"]);
    assert!(done, "{talk}");
    let (_, out, _) = keys(directory.path(), &["create", "--namespace", "default", "--expires", "2100-01-01T00:00:00Z"]);
    let secret = out.trim().to_owned();
    let all = listed(directory.path());
    assert!(all[0]["expires_at"].is_string());
    assert_eq!(all[1]["expires_at"], "2100-01-01T00:00:00Z");
    let server = Server::start(directory, &[], &[]);
    assert_eq!(server.call("GET", "/subscriptions", &[("x-api-key", &secret)], b"").status, 200);
}
