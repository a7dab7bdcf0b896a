//! `postrider doctor` and `postrider migrate` on an embedded store.

use crate::common::items::{Api, destination};
use crate::common::{Server, run};
use serde_json::{Value, json};
use std::path::Path;

/// Whether nothing is wrong, and what was found, by check.
fn examined(directory: &Path, flags: &[&str]) -> (bool, Vec<(String, String)>, String) {
    let (status, out, talk) = run(&[&["doctor", "--json", "--data-dir", "data"][..], flags].concat(), directory, &[]);
    assert!(status.success() || status.code() == Some(1), "{status}: {talk}");
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{talk}"));
    assert_eq!(report["ok"], status.success());
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    let findings = report["findings"].as_array().expect("findings");
    (status.success(), findings.iter().map(|finding| (text(finding, "check"), text(finding, "verdict"))).collect(), out)
}

fn is_there(findings: &[(String, String)], check: &str, verdict: &str) -> bool {
    findings.iter().any(|found| *found == (check.to_owned(), verdict.to_owned()))
}

#[test]
fn what_is_good_and_what_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let (good, findings, out) = examined(directory.path(), &[]);
    assert!(good && is_there(&findings, "database", "good") && out.contains("the first start makes it"), "{out}");
    assert!(!directory.path().join("data").exists(), "looking makes nothing");
    let (good, findings, out) = examined(directory.path(), &["--listen", "0.0.0.0:8080"]);
    assert!(!good && is_there(&findings, "API keys", "wrong") && out.contains("postrider keys create"), "{out}");

    let server = Server::start(directory, &["--dev"], &[]);
    let mut body = destination("http://127.0.0.1:9/");
    body["signing_secret"] = json!("s3cret-of-signing");
    Api::of(&server).make("destinations", &body);
    let (good, findings, out) = examined(server.directory.path(), &[]);
    assert!(good && out.contains("one is running on this directory") && out.contains("the one stored secret can be read"), "{out}");
    assert!(["schema", "server", "database", "secrets", "data directory"].iter().all(|check| is_there(&findings, check, "good")), "{out}");

    let (_, directory) = server.stop();
    let key = directory.path().join("data/secrets.key");
    std::fs::rename(&key, directory.path().join("kept")).expect("a move");
    let (good, findings, out) = examined(directory.path(), &[]);
    assert!(!good && is_there(&findings, "secrets", "wrong") && out.contains("put it back from a backup"), "{out}");
    let (status, shown, _) = run(&["doctor", "--data-dir", "data"], directory.path(), &[]);
    assert_eq!(status.code(), Some(1));
    assert!(shown.contains("WRONG    secrets") && shown.contains("-> put it back from a backup"), "{shown}");
    std::fs::rename(directory.path().join("kept"), &key).expect("a move");
    assert!(examined(directory.path(), &[]).0);

    let (good, findings, out) = examined(directory.path(), &["--max-body", "1B"]);
    assert!(!good && is_there(&findings, "configuration", "wrong") && out.contains("max_body must be between"), "{out}");
    let (good, findings, _) = examined(directory.path(), &["--config", "missing.toml"]);
    assert!(!good && findings.len() == 1 && is_there(&findings, "configuration", "wrong"));
    std::fs::write(directory.path().join("data/postrider.db"), "no database at all, but long enough to be taken for one".repeat(200))
        .expect("a file");
    let (good, findings, out) = examined(directory.path(), &[]);
    assert!(!good && is_there(&findings, "database", "wrong") && out.contains("restore the data directory from a backup"), "{out}");
}

#[test]
fn an_embedded_schema_is_brought_up_to_date() {
    let directory = tempfile::tempdir().expect("a directory");
    let migrate = || run(&["migrate", "--data-dir", "data"], directory.path(), &[]);
    let (status, out, talk) = migrate();
    assert!(!status.success() && out.is_empty() && talk.contains("there is no database in data"), "{talk}");
    assert!(run(&["keys", "create", "--data-dir", "data"], directory.path(), &[]).0.success());
    let (status, out, talk) = migrate();
    assert!(status.success() && out.starts_with("data: schema ") && out.contains("which is up to date"), "{out}{talk}");
    let file = directory.path().join("data/postrider.db");
    rusqlite::Connection::open(&file).expect("the database").pragma_update(None, "user_version", 99).expect("a later release's step");
    let (status, _, talk) = migrate();
    assert!(!status.success() && talk.contains("was made by a newer postrider (schema 99"), "{talk}");
    let (good, findings, _) = examined(directory.path(), &[]);
    assert!(!good && is_there(&findings, "schema", "wrong"));
}
