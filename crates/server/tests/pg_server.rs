//! A server whose store is a PostgreSQL database: the same APIs, what a crash leaves, the command line, and what is said where something is wrong.

mod common;
#[path = "pg_server/database.rs"]
mod database;
#[path = "pg_server/gate.rs"]
mod gate;
#[expect(dead_code, reason = "the tests of the store use all of it")]
#[path = "../../store/tests/pg/proxy.rs"]
mod proxy;
#[path = "pg_server/together.rs"]
mod together;

use common::items::{Api, destination};
use common::rpc::Rpc;
use common::{Nobody, PATIENCE, Receiver, Reply, Server, run};
use database::{Database, PASSWORD};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;
use tokio::time::Instant;

const MASTER: &str = "a-master-key-of-this-test";
const SECRETS: &str = "k1=abababababababababababababababababababababababababababababababab";

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn start(database: &Database, directory: TempDir, flags: &[&str]) -> Server {
    let environment =
        [("POSTRIDER_DATABASE_URL", database.url.as_str()), ("POSTRIDER_SECRETS_KEY", SECRETS), ("POSTRIDER_BOOTSTRAP_KEY", MASTER)];
    Server::start(directory, flags, &environment)
}

/// Runs a command on the database; whether it did its work, stdout, stderr. Neither shows the password.
fn command(database: &Database, directory: &Path, arguments: &[&str], more: &[(&str, &str)]) -> (bool, String, String) {
    let environment: Vec<_> = [("POSTRIDER_DATABASE_URL", database.url.as_str())].into_iter().chain(more.iter().copied()).collect();
    let (status, out, talk) = run(arguments, directory, &environment);
    assert!(!out.contains(PASSWORD) && !talk.contains(PASSWORD), "{arguments:?}: {out}{talk}");
    assert!(status.success() || status.code() == Some(1), "{arguments:?}: {status}: {talk}");
    (status.success(), out, talk)
}

/// What other nodes do once this one was silent for its lease.
fn take_for_dead(database: &Database) {
    database.execute("UPDATE postrider.nodes SET ended_at = clock_timestamp() WHERE ended_at IS NULL");
}

#[test]
fn all_three_apis_publish_and_deliver() {
    let (database, receivers) = (Database::new(), [200; 3].map(Receiver::answering));
    let server = start(&database, directory(), &["--dev", "--node-name", "here"]);
    assert!(server.heard.iter().any(|line| line.contains("schema postrider")), "{:#?}", server.heard);
    assert!(server.heard.iter().all(|line| !line.contains(PASSWORD)), "{:#?}", server.heard);
    let id = server.subscribe(&json!({"target_url": receivers[0].url, "event_types": "a.tasks"}));
    let headers = [("content-type", "application/json"), ("x-event-type", "a.tasks")];
    let task = server.call("POST", &format!("/ingest/{id}"), &headers, b"{\"n\": 1}");
    assert_eq!(task.status, 202, "{}", task.text());
    server.task_with_status(task.json()["delivery_task_id"].as_str().expect("an id"), "delivered");
    assert_eq!(receivers[0].wait_for(1)[0].body, b"{\"n\": 1}");

    let api = Api::of(&server);
    let binding = api.bound(&receivers[1].url, "a.item", json!({}));
    api.publish("a.item", &json!({"n": 2}));
    receivers[1].wait_for(1);
    api.when(&format!("/v1/delivery/items?binding_id={binding}&status=succeeded"), |list| list["total"] == 1);

    let rpc = Rpc::of(&server);
    rpc.register(&receivers[2].url, json!({"events": ["a.push"]}));
    let pushed = rpc.ask("EventService/PushEvent", &json!({"namespace": "default", "event": "a.push", "payload": {"n": 3}}));
    assert_eq!(pushed["eventId"], receivers[2].wait_for(1)[0].headers["x-postrider-event-id"]);

    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/health").json()["checks"]["database"]["type"], "postgres");
    assert!(database.number("SELECT count(*) FROM postrider.events") >= 3);
    assert!(!server.data_dir().exists(), "nothing lies in the data directory");
    let (status, _directory) = server.stop();
    assert!(status.success());
    assert_eq!(database.number("SELECT count(*) FROM postrider.nodes WHERE ended_at IS NULL"), 0, "it has left");
}

#[test]
fn nothing_acknowledged_is_lost_in_a_crash() {
    let (database, receiver) = (Database::new(), Receiver::scripted(|n| if n == 0 { Reply::Stall } else { Reply::Status(200) }));
    let server = start(&database, directory(), &["--dev"]);
    let id = server.subscribe_to(&receiver.url);
    let tasks: Vec<_> = (0..30).map(|n| server.accepted(&id, n.to_string().as_bytes())).collect();
    receiver.wait_for(1);
    // The next start takes over by itself, once the lease of the dead one has ended.
    let server = start(&database, server.crash(), &["--dev"]);
    for task in &tasks {
        server.task_with_status(task, "delivered");
    }
    let mut bodies: Vec<u32> = receiver.wait_for(30).iter().map(|r| String::from_utf8_lossy(&r.body).parse().expect("a number")).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies, (0..30).collect::<Vec<_>>());
}

#[test]
fn a_node_that_was_taken_for_dead_ends_and_says_so() {
    let database = Database::new();
    let server = start(&database, directory(), &["--dev"]);
    assert_eq!(server.get("/healthz").status, 200);
    take_for_dead(&database);
    server.says("start it again, as a supervisor does");
    assert_eq!(server.ended().code(), Some(1));
    let server = start(&database, directory(), &["--dev"]);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn keys_are_made_listed_and_revoked_beside_a_server() {
    let (database, place) = (Database::new(), directory());
    let at = place.path();
    let keys = |arguments: &[&str]| command(&database, at, &[&["keys"][..], arguments].concat(), &[]);
    let (done, _, talk) = keys(&["list"]);
    assert!(!done && talk.contains("there is no postrider in the schema postrider"), "{talk}");
    let (done, out, talk) = keys(&["create", "--namespace", "default", "--name", "first"]);
    assert!(done && talk.contains("in the database at postgres://") && talk.contains("schema postrider"), "{talk}");
    let secret = out.trim().to_owned();
    assert_eq!(database.number("SELECT count(*) FROM postrider.nodes"), 0, "the command line is no node");

    let environment = [("POSTRIDER_SECRETS_KEY", SECRETS)];
    let server = Server::start(directory(), &["--database-url", &database.url], &environment);
    let with = |key: &str, path: &str| server.call("GET", path, &[("x-api-key", key)], b"").status;
    assert_eq!((with(&secret, "/subscriptions"), server.get("/subscriptions").status), (200, 401));
    let (_, out, _) = keys(&["create", "--scopes", "admin", "--name", "second"]);
    assert_eq!(with(out.trim(), "/v1/nodes"), 200, "a key is good as soon as it is made");
    let listed: Value = serde_json::from_str(&keys(&["list", "--json"]).1).expect("JSON");
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|key| key["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["first", "second"]);
    let (done, _, talk) = keys(&["revoke", &secret[..11]]);
    assert!(done && talk.contains("revoked"), "{talk}");
    let begun = Instant::now();
    while with(&secret, "/subscriptions") != 401 {
        assert!(begun.elapsed() < PATIENCE, "a revoked key goes on working");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let (done, _, talk) = keys(&["revoke", &secret[..11]]);
    assert!(!done && talk.contains("revoked already"), "{talk}");
}

#[test]
fn secrets_are_rotated_beside_a_server() {
    let (database, place) = (Database::new(), directory());
    let server = start(&database, directory(), &["--dev"]);
    let mut body = destination("http://127.0.0.1:9/");
    body["signing_secret"] = json!("s3cret-of-signing");
    Api::of(&server).make("destinations", &body);
    let both = format!("new={},{SECRETS}", "cd".repeat(32));
    let given = [("POSTRIDER_SECRETS_KEY", both.as_str())];
    let (done, _, talk) = command(&database, place.path(), &["secrets", "rotate"], &given);
    assert!(done && talk.contains("encrypted 1 secrets anew under the key new"), "{talk}");
    let (_, out, _) = command(&database, place.path(), &["secrets", "list"], &given);
    assert!(out.contains("new                                      1  encrypts and decrypts"), "{out}");
    let (done, _, talk) = command(&database, place.path(), &["secrets", "rotate"], &[]);
    assert!(!done && talk.contains("POSTRIDER_SECRETS_KEY, and there are none"), "{talk}");
    assert!(std::fs::read_dir(place.path()).expect("a directory").next().is_none(), "it makes nothing");
}

#[test]
fn the_schema_is_made_and_kept_up_to_date() {
    let (database, place) = (Database::new(), directory());
    let migrate = || command(&database, place.path(), &["migrate", "--database-schema", "hooks"], &[]);
    let (done, out, talk) = migrate();
    assert!(done && out.contains("schema hooks: schema 0 -> "), "{out}{talk}");
    let known = database.number("SELECT max(step)::int8 FROM hooks.schema_steps");
    let (done, out, _) = migrate();
    assert!(done && out.contains(&format!("schema {known}, which is up to date")), "{out}");
    database.execute("INSERT INTO hooks.schema_steps (step) VALUES (99)");
    let (done, _, talk) = migrate();
    assert!(!done && talk.contains("made by a newer postrider (version 99"), "{talk}");
    database.execute(&format!("DELETE FROM hooks.schema_steps WHERE step > {}", known - 1));
    let (done, _, talk) = command(&database, place.path(), &["keys", "list", "--database-schema", "hooks"], &[]);
    let expected = if known == 1 { "there is no postrider" } else { "postrider migrate brings it up to date" };
    assert!(!done && talk.contains(expected), "{talk}");
}

/// The verdicts of a report by their checks, the worst of each; whether nothing was wrong.
fn examined(database: &Database, at: &Path, more: &[(&str, &str)]) -> (bool, BTreeMap<String, String>, String) {
    let (done, out, _) = command(database, at, &["doctor", "--json"], more);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert_eq!(report["ok"], done);
    let rank = |verdict: &str| ["good", "warning", "wrong"].iter().position(|word| *word == verdict);
    let mut verdicts = BTreeMap::new();
    for finding in report["findings"].as_array().expect("findings") {
        let text = |name: &str| finding[name].as_str().map(str::to_owned);
        let (check, verdict) = (text("check").expect("a check"), text("verdict").expect("a verdict"));
        assert_eq!(text("mend").is_some(), verdict != "good", "each finding says how to mend it: {finding}");
        let worst: &mut String = verdicts.entry(check).or_default();
        if rank(worst.as_str()) < rank(&verdict) {
            *worst = verdict;
        }
    }
    (done, verdicts, out)
}

#[test]
fn doctor_finds_what_is_wrong_and_says_how_to_mend_it() {
    let (database, place) = (Database::new(), directory());
    let (at, given) = (place.path(), [("POSTRIDER_SECRETS_KEY", SECRETS)]);
    let bad = |verdicts: &BTreeMap<String, String>| -> Vec<String> {
        // The server of these tests makes no effort to keep anything, and has the default for sessions that stand still.
        let of_server = ["fsync", "full_page_writes", "idle transactions"];
        verdicts
            .iter()
            .filter(|(check, verdict)| *verdict != "good" && !of_server.contains(&check.as_str()))
            .map(|(check, _)| check.clone())
            .collect()
    };
    let (_, verdicts, out) = examined(&database, at, &given);
    assert_eq!(bad(&verdicts), [""; 0], "before the first start: {out}");
    let (done, verdicts, out) = examined(&database, at, &[given[0], ("POSTRIDER_LISTEN", "0.0.0.0:8080")]);
    assert_eq!((done, bad(&verdicts)), (false, vec![String::from("API keys")]), "{out}");
    assert!(out.contains("postrider keys create"), "{out}");
    assert_eq!(database.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'postrider'"), 0, "looking makes nothing");
    let server = start(&database, directory(), &["--dev"]);
    let (done, verdicts, out) = examined(&database, at, &given);
    assert_eq!(bad(&verdicts), [""; 0], "{out}");
    let is_safe = database.text("SELECT current_setting('fsync')") == "on";
    assert_eq!((done, verdicts["fsync"].as_str()), if is_safe { (true, "good") } else { (false, "wrong") });
    for check in ["configuration", "database", "schema", "rights", "clock", "connections", "nodes", "queue", "partitions", "secrets"] {
        assert_eq!(verdicts.get(check).map(String::as_str), Some("good"), "{check}: {out}");
    }

    let (done, verdicts, out) = examined(&database, at, &[]);
    assert!(!done && out.contains("openssl rand -hex 32"), "{out}");
    assert_eq!(bad(&verdicts), ["configuration", "secrets"]);
    let (_, verdicts, out) = examined(&database, at, &[given[0], ("POSTRIDER_LISTEN", "0.0.0.0:8080")]);
    assert_eq!(bad(&verdicts), [""; 0], "there is a key: {out}");
    let (_, out, _) = command(&database, at, &["doctor"], &[]);
    assert!(out.contains("WRONG") && out.contains("  -> "), "{out}");

    let mut body = destination("http://127.0.0.1:9/");
    body["signing_secret"] = json!("s3cret-of-signing");
    Api::of(&server).make("destinations", &body);
    let (done, verdicts, out) = examined(&database, at, &[("POSTRIDER_SECRETS_KEY", &SECRETS.replace("k1=", "k2="))]);
    assert_eq!((done, bad(&verdicts)), (false, vec![String::from("secrets")]), "{out}");

    let partition = database.text("SELECT max(relname::text) FROM pg_class WHERE relname ~ '^attempts_p[0-9]+$'");
    database.execute(&format!("DROP TABLE postrider.{partition}"));
    assert!(server.stop().0.success());
    // It died when nobody was there to notice.
    database.execute(
        "INSERT INTO postrider.nodes (incarnation, name, release, heartbeat_at) \
         VALUES (nextval('postrider.incarnations'), 'silent', '0', clock_timestamp() - interval '1 hour')",
    );
    let (_, verdicts, out) = examined(&database, at, &given);
    assert_eq!(bad(&verdicts), ["nodes", "partitions"], "{out}");
    assert!(out.contains(&partition) && out.contains("silent"), "{out}");
}

/// Not every schema is made by a node.
#[test]
fn doctor_misses_nothing_in_what_a_command_has_made() {
    for arguments in [&["migrate"][..], &["keys", "create"]] {
        let (database, place, given) = (Database::new(), directory(), [("POSTRIDER_SECRETS_KEY", SECRETS)]);
        let (done, _, talk) = command(&database, place.path(), arguments, &given);
        assert!(done, "{arguments:?}: {talk}");
        let (_, verdicts, out) = examined(&database, place.path(), &given);
        for check in ["schema", "rights", "nodes", "partitions", "secrets"] {
            assert_eq!(verdicts.get(check).map(String::as_str), Some("good"), "{arguments:?}: {check}: {out}");
        }
    }
}

#[test]
fn doctor_says_what_a_role_lacks_and_what_cannot_be_reached() {
    let (mut database, place) = (Database::new(), directory());
    let (at, given, whole) = (place.path(), [("POSTRIDER_SECRETS_KEY", SECRETS)], database.url.clone());
    let role = format!("r_{}", std::process::id());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"));
    database.url = database.url_of(&role);
    let (done, verdicts, out) = examined(&database, at, &given);
    assert!(!done && verdicts["rights"] == "wrong" && out.contains("GRANT CREATE ON DATABASE"), "{out}");
    database.url = whole.clone();
    assert!(command(&database, at, &["migrate"], &[]).0);
    database.url = database.url_of(&role);
    let (done, verdicts, out) = examined(&database, at, &given);
    assert!(!done && verdicts["rights"] == "wrong" && out.contains("ALTER SCHEMA postrider OWNER TO"), "{out}");
    let nobody = Nobody::new();
    database.url = format!("postgres://u:{PASSWORD}@{}/d", nobody.address);
    let (done, verdicts, out) = examined(&database, at, &given);
    assert!(!done && verdicts["database"] == "wrong" && out.contains("no connection to PostgreSQL"), "{out}");
    database.url = whole;
    database.execute(&format!("DROP ROLE {role}"));
}

#[test]
fn nodes_are_listed_for_master_keys() {
    let database = Database::new();
    let one = start(&database, directory(), &["--node-name", "one", "--node-address", "http://10.0.0.1:8080"]);
    let two = start(&database, directory(), &["--node-name", "two"]);
    let master = Api::with_key(&two, MASTER);
    let listed = master.get("/v1/nodes").json();
    let nodes = listed["nodes"].as_array().expect("nodes");
    let shown: Vec<_> =
        nodes.iter().map(|node| json!([node["name"], node["address"], node["state"], node["this"], node["ended_at"]])).collect();
    assert_eq!(json!(shown), json!([["two", null, "alive", true, null], ["one", "http://10.0.0.1:8080", "alive", false, null]]));
    for node in nodes {
        let fields = ["address", "ended_at", "incarnation", "last_heartbeat_at", "name", "release", "slots", "started_at", "state", "this"];
        assert_eq!(common::keys(node), fields);
        assert!(node["started_at"].as_str() <= node["last_heartbeat_at"].as_str(), "{node}");
    }
    let (key, _) = master.key(&json!({"namespace": "shop", "scopes": ["read", "admin"]}));
    let refused = Api::with_key(&two, &key).get("/v1/nodes");
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("forbidden")));
    assert!(one.stop().0.success());
    let after = master.get("/v1/nodes").json();
    assert_eq!((&after["nodes"][1]["name"], &after["nodes"][1]["state"]), (&json!("one"), &json!("ended")), "{after}");
    assert!(after["nodes"][1]["ended_at"].is_string(), "{after}");
}

#[test]
fn a_start_that_cannot_be_says_why_and_never_the_password() {
    let (database, nobody, place) = (Database::new(), Nobody::new(), directory());
    let nowhere = format!("postgres://u:{PASSWORD}@{}/d", nobody.address);
    let given = [("POSTRIDER_SECRETS_KEY", SECRETS)];
    let refused = |url: &str, environment: &[(&str, &str)], words: &str| {
        let flags = ["serve", "--listen", "127.0.0.1:0", "--database-wait", "0s", "--database-url", url];
        let (status, out, talk) = run(&flags, place.path(), environment);
        assert_eq!((status.code(), out.as_str()), (Some(1), ""), "{talk}");
        assert!(talk.contains(words) && !talk.contains(PASSWORD), "{words}: {talk}");
    };
    refused(&format!("mysql://u:{PASSWORD}@h/d"), &given, "does not begin with postgres://");
    refused(&nowhere, &given, &format!("no connection to PostgreSQL at {}", nobody.address));
    refused(&database.url_of("nobody_of_this_name"), &given, "refused the user: check the user and the password");
    refused(&database.url_to("nothing_of_this_name"), &given, "does not have the database: make it (CREATE DATABASE)");
    refused(&database.url, &[], "POSTRIDER_SECRETS_KEY=k1=DIGITS with the 64 digits that openssl rand -hex 32 makes");
    assert_eq!(
        database.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'postrider'"),
        0,
        "a refused start leaves nothing behind"
    );
    refused(&database.url, &[given[0], ("POSTRIDER_PORT_FILE", "missing/port")], "cannot write missing/port");
    assert_eq!(database.number("SELECT count(*) FROM postrider.nodes WHERE ended_at IS NULL"), 0, "it has left");
}

#[test]
fn the_development_mode_keeps_its_key_in_a_file() {
    let database = Database::new();
    let server = Server::start(directory(), &["--dev", "--database-url", &database.url], &[]);
    let file = server.data_dir().join("secrets.key");
    assert!(std::fs::read_to_string(&file).expect("a file").starts_with("k1="));
    let (status, directory) = server.stop();
    assert!(status.success());
    let server = Server::start(directory, &["--dev", "--database-url", &database.url], &[]);
    assert_eq!(server.get("/healthz").status, 200);
}
