//! The commands of the Items API and of the Tasks API, and `doctor` on a running server, as people type them, under snapshot. `INSTA_UPDATE=always`
//! writes the snapshots anew.

use crate::common::cli::{Said, Shell, assert_aligned};
use crate::common::{Nobody, Receiver, Reply, Server};

const MASTER: &str = "a-master-key-that-is-long-enough-for-tests";

/// A server in development mode, and a shell with its key: without one the Items API takes nobody.
fn with_key(flags: &[&str]) -> (Server, Shell) {
    let server = Server::dev(flags);
    let shell = Shell::of(&server).with_key(server.dev_key.as_deref().expect("a key"));
    (server, shell)
}

#[test]
fn from_a_destination_to_the_replay_of_an_item() {
    let ((_server, mut shell), receiver) = (with_key(&[]), Receiver::answering(200));
    shell.file("secret", "a-signing-secret-of-this-test\n");
    let create = ["destinations", "create", &receiver.url, "--name", "shop", "--secret", "@secret", "--header", "X-Token: t0p"];
    let destination = shell.typed(&create).first();
    assert_aligned(&shell.typed(&["destinations", "list", "--utc"]).out);
    shell.typed(&["destinations", "test", &destination]);
    let refused = ["bindings", "create", "0197f3a2-5b1c-7d4e-8f90-123456789abc", "--event", "order.created"];
    shell.typed(&refused);
    let create = ["bindings", "create", &destination, "--event", "order.created", "--match", r#"{"total": 49.50}"#, "--backoff", "1s,1m"];
    let binding = shell.typed(&create).first();
    assert_aligned(&shell.typed(&["bindings", "list"]).out);
    shell.typed(&["bindings", "show", &binding, "--utc"]);
    shell.typed(&["bindings", "preview", &binding, "--data", r#"{"total": 49.50}"#]);
    shell.typed(&["bindings", "catalog", "serializers"]);
    shell.done(&["events", "push", "order.created", "--data", r#"{"order": 4711, "total": 49.50}"#]);
    shell.done(&["events", "push", "order.created", "--data", r#"{"order": 4712, "total": 1}"#]);
    let taken = ["items", "list", "--status", "succeeded", "--json"];
    let items = shell.done_when(&taken, |said| said.out.lines().count() == 1).objects();
    let item = items[0]["id"].as_str().expect("an id").to_owned();
    assert_aligned(&shell.typed(&["items", "list", "--utc"]).out);
    shell.typed(&["items", "show", &item, "--utc"]);
    shell.typed(&["items", "replay", &item]);
    shell.done_when(&taken, |said| said.out.lines().count() == 2);
    // The test, the delivery and its replay.
    let received = receiver.wait_for(3);
    assert!(received.iter().all(|request| request.headers["x-token"] == "t0p" && request.headers.contains_key("webhook-signature")));
    assert_eq!(received[1].headers["idempotency-key"], received[2].headers["idempotency-key"]);
    shell.typed(&["bindings", "update", &binding, "--inactive", "--match", "{}"]);
    shell.typed(&["bindings", "update", &binding, "--inactive"]);
    shell.typed(&["destinations", "update", &destination, "--paused", "--without", "secret"]);
    shell.typed(&["destinations", "show", &destination, "--utc"]);
    shell.typed(&["bindings", "delete", &binding, "--yes"]);
    shell.typed(&["destinations", "delete", &destination]);
    shell.typed(&["destinations", "delete", &destination, "--yes"]);
    shell.typed(&["destinations", "show", &destination]);
    insta::assert_snapshot!("items_api", shell.transcript());
}

#[test]
fn what_was_sent_is_printed_as_it_came() {
    let ((server, shell), receiver) = (with_key(&[]), Receiver::answering(200));
    let made = shell.done(&["destinations", "create", &receiver.url, "--name", "a", "--bearer", "t0ken", "--json"]).document();
    let id = made["id"].as_str().expect("an id");
    assert_eq!((&made["has_auth_config"], &made["config"]["url"]), (&true.into(), &receiver.url.as_str().into()));
    for name in ["b", "c"] {
        shell.done(&["destinations", "create", &receiver.url, "--name", name]);
    }
    let names = |words: &[&str]| -> Vec<String> {
        let objects = shell.done(&[&["destinations", "list", "--json"][..], words].concat()).objects();
        objects.iter().map(|object| object["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&[]), ["c", "b", "a"]);
    assert_eq!(names(&["--limit", "2"]), ["c", "b"]);
    let tested = shell.done(&["destinations", "test", id, "--json"]).document();
    assert_eq!((&tested["success"], &tested["httpStatus"]), (&true.into(), &200.into()));
    assert_eq!(receiver.wait_for(1)[0].headers["authorization"], "Bearer t0ken");
    // Without a key the Items API takes nobody, and a namespace is that of the key.
    let stranger = Shell::of(&server).run(&["items", "list"]);
    assert!(stranger.code == Some(4) && stranger.talk.contains("--key") && stranger.out.is_empty(), "{}", stranger.talk);
    let elsewhere = shell.run(&["destinations", "list", "--namespace", "elsewhere"]);
    assert!(elsewhere.code == Some(4) && elsewhere.talk.contains("takes the namespace from the key"), "{}", elsewhere.talk);
    for words in [["items", "show", "../keys"], ["bindings", "show", "a/b"]] {
        assert_eq!(shell.run(&words).code, Some(2), "{words:?}");
    }
}

#[test]
fn a_master_key_looks_into_a_namespace_and_changes_nothing() {
    let (server, receiver) = (Server::guarded(MASTER), Receiver::answering(200));
    let shell = Shell::of(&server).with_key(MASTER);
    let key =
        shell.done(&["keys", "create", "--namespace", "shop", "--name", "shop", "--url", &format!("http://{}", server.address)]).first();
    let own = Shell::of(&server).with_key(&key);
    own.done(&["destinations", "create", &receiver.url, "--name", "a", "--namespace", "shop"]);
    let listed = shell.done(&["destinations", "list", "--namespace", "shop", "--json"]).objects();
    assert_eq!(listed[0]["customer_id"], "shop");
    assert!(shell.done(&["destinations", "list", "--namespace", "other", "--json"]).out.is_empty());
    for words in [&["destinations", "create", "http://127.0.0.1:9/", "--name", "b"][..], &["tasks", "subscriptions", "list"]] {
        let refused = shell.run(&[words, &["--namespace", "shop"]].concat());
        assert!(refused.code == Some(4) && refused.talk.contains("give a key of shop"), "{words:?}: {}", refused.talk);
    }
}

#[test]
fn a_task_is_ingested_with_a_signature_and_told() {
    let ((_server, mut shell), receiver) = (with_key(&[]), Receiver::scripted(|n| Reply::Status(if n < 2 { 200 } else { 410 })));
    shell.file("secret", "a-secret-of-senders\n");
    let create = ["tasks", "subscriptions", "create", &receiver.url, "--event", "order.*", "--secret", "@secret"];
    let subscription = shell.typed(&create).first();
    assert_aligned(&shell.typed(&["tasks", "subscriptions", "list", "--utc"]).out);
    shell.typed(&["tasks", "subscriptions", "show", &subscription, "--utc"]);
    let ingest = ["tasks", "ingest", &subscription, "--data", r#"{"order": 4711}"#, "--event", "order.created"];
    shell.typed(&ingest);
    let task = shell.typed(&[&ingest[..], &["--secret", "@secret", "--id", "order-4711"]].concat()).first();
    assert_eq!(shell.typed(&[&ingest[..], &["--secret", "@secret", "--id", "order-4711"]].concat()).first(), task);
    shell.typed(&["tasks", "ingest", &subscription, "--data", "[1]", "--event", "user.created", "--secret", "@secret"]);
    shell.done_when(&["tasks", "show", &task, "--json"], |said| said.document()["task"]["status"] == "delivered");
    shell.typed(&["tasks", "show", &task, "--utc"]);
    assert_aligned(&shell.typed(&["tasks", "list", &subscription, "--utc"]).out);
    let sent = &receiver.wait_for(1)[0];
    assert!(sent.body == br#"{"order": 4711}"# && sent.headers.contains_key("x-hub-signature-256"), "{sent:?}");
    shell.typed(&["tasks", "subscriptions", "update", &subscription]);
    shell.typed(&["tasks", "subscriptions", "update", &subscription, "--without", "secret,events"]);
    shell.typed(&["tasks", "subscriptions", "show", &subscription, "--utc"]);
    let scheduled =
        shell.typed(&["scheduled", "create", &subscription, "--at", "24h", "--again", "daily", "--data", r#"{"a": 1}"#, "--utc"]);
    let scheduled = scheduled.first();
    assert_aligned(&shell.typed(&["scheduled", "list", "--utc"]).out);
    shell.typed(&["scheduled", "show", &scheduled, "--utc"]);
    shell.typed(&["scheduled", "cancel", &scheduled]);
    shell.typed(&["scheduled", "show", &task]);
    shell.typed(&["tasks", "subscriptions", "delete", &subscription]);
    shell.typed(&["tasks", "subscriptions", "delete", &subscription, "--yes"]);
    shell.typed(&["tasks", "subscriptions", "show", &subscription]);
    insta::assert_snapshot!("tasks_api", shell.transcript());
}

#[test]
fn a_running_server_is_examined() {
    let server = Server::start(
        tempfile::tempdir().expect("a directory"),
        &["--allow-network", "127.0.0.0/8", "--node-name", "one"],
        &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)],
    );
    let mut shell = Shell::of(&server).with_key(MASTER);
    shell.typed(&["doctor"]);
    let receiver = Receiver::answering(400);
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--max-retries", "0", "--namespace", "shop"]);
    shell.done(&["events", "push", "a", "--namespace", "shop"]);
    shell.done_when(&["dlq", "list", "--json"], |said| said.out.lines().count() == 1);
    let finding = |said: &Said, check: &str| {
        let examined = said.document();
        assert_eq!(examined["ok"], true);
        examined["findings"].as_array().expect("findings").iter().find(|found| found["check"] == check).cloned().expect("such a finding")
    };
    // What is counted for all namespaces is counted once a second.
    let examined = shell.done_when(&["doctor", "--json"], |said| finding(said, "dead letters")["verdict"] == "warning");
    assert!(finding(&examined, "server")["found"].as_str().is_some_and(|text| text.contains("node one")));
    // What cannot be asked ends as other commands do.
    let wrong = Shell::of(&server).with_key("pr_wrong").run(&["doctor"]);
    assert!(wrong.code == Some(4) && wrong.out.contains("WRONG    key") && !wrong.out.contains("pr_wrong"), "{}{}", wrong.out, wrong.talk);
    let nobody = Nobody::new();
    let away = Shell::at(&format!("http://{}", nobody.address)).run(&["doctor"]);
    assert!(away.code == Some(5) && away.out.contains("WRONG    server") && away.out.contains("is the server running"), "{}", away.out);
    let both = shell.run(&["doctor", "--data-dir", "data"]);
    assert!(both.code == Some(2) && both.talk.contains("a server and a store are named"), "{}", both.talk);
    insta::assert_snapshot!("doctor", shell.transcript());
}
