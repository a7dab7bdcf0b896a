//! The commands that look after what happens: jobs, event types, re-pushes, files of events, settings, nodes, profiles and the tail, as people type
//! them, under snapshot; and Ctrl-C of a replay. `INSTA_UPDATE=always` writes the snapshots anew.

use crate::common::cli::{Shell, assert_aligned, begun, interrupt};
use crate::common::{Receiver, Reply, Server};
use std::io::{BufRead, BufReader};

const MASTER: &str = "a-master-key-that-is-long-enough-for-tests";

/// An endpoint that gives up at once, and so many events that fail there.
fn failures(shell: &Shell, receiver: &Receiver, count: usize) {
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--max-retries", "0", "--name", "shop"]);
    for number in 0..count {
        shell.done(&["events", "push", "order.created", "--data", &format!("{{\"number\": {number}}}")]);
    }
    shell.done_when(&["dlq", "list", "--json"], |said| said.out.lines().count() == count);
}

#[test]
fn jobs_are_listed_and_shown() {
    let (server, receiver) = (Server::dev(&[]), Receiver::scripted(|n| Reply::Status(if n < 2 { 400 } else { 200 })));
    let mut shell = Shell::of(&server);
    failures(&shell, &receiver, 2);
    shell.typed(&["jobs", "list"]);
    let job = shell.typed(&["dlq", "replay", "--all", "--detach"]).first();
    shell.done_when(&["jobs", "show", &job, "--json"], |said| said.document()["state"] == "completed");
    assert_aligned(&shell.typed(&["jobs", "list", "--utc"]).out);
    shell.typed(&["jobs", "show", &job, "--utc"]);
    shell.typed(&["jobs", "show", &job, "--wait"]);
    shell.typed(&["jobs", "cancel", &job]);
    shell.typed(&["jobs", "resume", &job]);
    shell.typed(&["jobs", "show", "0197f3a2-5b1c-7d4e-8f90-123456789abc"]);
    insta::assert_snapshot!("jobs", shell.transcript());
}

#[test]
fn ctrl_c_stops_a_replay_which_is_then_resumed() {
    let (server, receiver) = (Server::dev(&[]), Receiver::scripted(|n| Reply::Status(if n < 6 { 400 } else { 200 })));
    let shell = Shell::of(&server);
    failures(&shell, &receiver, 6);
    let mut replay = begun(shell.command(&["dlq", "replay", "--all", "--yes", "--rate", "1", "--json"]));
    // The first of six, of which one comes a second: the others are left when it is told to stop.
    assert!(receiver.wait_for(7).len() >= 7);
    assert_eq!(interrupt(&mut replay).code(), Some(130));
    let output = replay.wait_with_output().expect("its output");
    let (job, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let job: serde_json::Value = serde_json::from_str(&job).unwrap_or_else(|e| panic!("{e}: {job}{talk}"));
    let id = job["jobId"].as_str().expect("an id");
    assert!(
        job["state"] == "cancelled" && talk.contains("stopped: ") && talk.contains(&format!("postrider jobs resume {id}")),
        "{job}{talk}"
    );
    // 64-bit numbers are texts.
    let replayed: u64 = job["replayed"].as_str().expect("a number").parse().expect("a number");
    assert!((1..6).contains(&replayed), "{job}");
    let resumed = shell.done(&["jobs", "resume", id, "--json"]).document();
    assert_eq!((&resumed["state"], &resumed["replayed"]), (&"completed".into(), &"6".into()), "{resumed}");
    assert_eq!(receiver.wait_for(12).len(), 12, "each once");
    shell.done_when(&["dlq", "list", "--json"], |said| said.out.is_empty());
}

#[test]
fn event_types_are_kept_with_their_schemas() {
    let server = Server::dev(&[]);
    let mut shell = Shell::of(&server);
    shell.file("order.schema.json", r#"{"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}"#);
    shell.typed(&["event-types", "list"]);
    shell.typed(&["event-types", "put", "order.created", "--schema", "@order.schema.json", "--description", "An order was placed"]);
    shell.typed(&["event-types", "put", "order.created", "--inactive"]);
    assert_aligned(&shell.typed(&["event-types", "list", "--utc"]).out);
    shell.typed(&["event-types", "show", "order.created", "--utc"]);
    shell.typed(&["event-types", "put", "order.paid", "--schema", "{"]);
    shell.typed(&["event-types", "delete", "order.created"]);
    shell.typed(&["event-types", "delete", "order.created", "--yes"]);
    shell.typed(&["event-types", "show", "order.created"]);
    insta::assert_snapshot!("event_types", shell.transcript());
}

#[test]
fn templates_are_tried_and_their_functions_listed() {
    let server = Server::dev(&[]);
    let mut shell = Shell::of(&server);
    shell.typed(&["subscriptions", "try-template", "order.created", "--template", "{{ .payload.order }}"]);
    shell.done(&["events", "push", "order.created", "--data", r#"{"order": 4711}"#]);
    shell.typed(&["subscriptions", "try-template", "order.created", "--template", "{{ .payload.order }}"]);
    shell.typed(&["subscriptions", "try-template", "order.created", "--template", "{{ .payload"]);
    insta::assert_snapshot!("templates", shell.transcript());
    let functions = shell.done(&["subscriptions", "functions", "--json"]).objects();
    assert!(functions.len() > 10 && functions.iter().all(|function| function["name"].is_string()), "{functions:?}");
    let some = shell.done(&["subscriptions", "functions", functions[0]["name"].as_str().expect("a name")]);
    assert!(some.out.starts_with("NAME") && some.out.lines().count() >= 2, "{}", some.out);
}

#[test]
fn events_are_published_from_files_and_again() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(200));
    let mut shell = Shell::of(&server);
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--name", "shop"]);
    shell.file("orders.ndjson", "{\"payload\": {\"order\": 1}}\n\n{\"payload\": {\"order\": 2}, \"id\": \"order-2\"}\nnonsense\n");
    shell.typed(&["events", "push", "order.created", "--ndjson", "orders.ndjson"]);
    shell.file("orders.ndjson", "{\"payload\": {\"order\": 1}}\n\n{\"payload\": {\"order\": 2}, \"id\": \"order-2\"}\n{\"payload\": {}}\n");
    shell.typed(&["events", "push", "order.created", "--ndjson", "orders.ndjson"]);
    shell.typed(&["events", "push", "order.created", "--ndjson", "orders.ndjson"]);
    shell.typed(&["events", "push", "--ndjson", "missing.ndjson"]);
    receiver.wait_for(3);
    let event = shell.done(&["events", "list", "--limit", "1", "--json"]).objects()[0]["eventId"].as_str().expect("an id").to_owned();
    shell.typed(&["events", "repush", &event]);
    shell.typed(&["events", "repush"]);
    shell.typed(&["events", "repush", "--event-type", "order.created", "--since", "1h"]);
    assert_eq!(receiver.wait_for(8).len(), 8, "three, one of them again, and all four again");
    shell.typed(&["events", "repush", "--event-type", "nothing.like.this"]);
    insta::assert_snapshot!("publishing", shell.transcript());
}

#[test]
fn the_tail_prints_a_line_for_each_change() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(400));
    let shell = Shell::of(&server);
    failures(&shell, &receiver, 1);
    let mut tail = begun(shell.command(&["deliveries", "tail", "--utc", "--state", "failed"]));
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let line = lines.next().expect("a line");
    for word in ["failed", "1/1", "400", "order.created -> shop"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(line.as_bytes()[4] == b'-' && line.as_bytes()[10] == b'T', "with --utc the whole time: {line}");
    assert_eq!(interrupt(&mut tail).code(), Some(0));
}

#[test]
fn who_runs_the_server_sees_nodes_and_settings() {
    let flags = ["--allow-network", "127.0.0.0/8", "--node-name", "one", "--retain-logs", "24h"];
    let server = Server::start(tempfile::tempdir().expect("a directory"), &flags, &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)]);
    let mut shell = Shell::of(&server).with_key(MASTER);
    assert_aligned(&shell.typed(&["nodes", "--utc"]).out);
    assert_aligned(&shell.typed(&["settings", "retention"]).out);
    shell.typed(&["settings", "retention", "--explain"]);
    shell.typed(&["settings", "there-is-no-such-setting"]);
    let all = shell.done(&["settings", "--json"]);
    assert!(all.objects().len() > 10 && !all.out.contains(MASTER), "{}", all.out);
    let key = shell.done(&["keys", "create", "--namespace", "shop", "--name", "shop"]).first();
    let refused = Shell::of(&server).with_key(&key).run(&["nodes"]);
    assert!(refused.code == Some(4) && refused.out.is_empty(), "{}", refused.talk);
    insta::assert_snapshot!("running", shell.transcript());
}

#[test]
fn the_overview_tells_how_it_does() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(400));
    let shell = Shell::of(&server);
    failures(&shell, &receiver, 3);
    let said = shell.done_when(&["overview", "--range", "10m"], |said| said.out.contains("3 events, 3 deliveries"));
    for line in ["last minute", "last 10m", "kept", "dead letters    3", "oldest overdue  none", "endpoints       1"] {
        assert!(said.out.lines().any(|shown| shown.starts_with(line)), "{line}: {}", said.out);
    }
    let whole = shell.done(&["overview", "--json"]).document();
    assert!(whole["overview"]["openDeadLetters"] == "3" && whole["series"]["points"].is_array(), "{whole}");
    let drawn = shell.run(&["top"]);
    assert!(drawn.code == Some(2) && drawn.out.is_empty() && drawn.talk.contains("postrider overview"), "{}", drawn.talk);
}

#[test]
fn profiles_are_kept_chosen_and_removed() {
    let mut shell = Shell::at("http://127.0.0.1:9");
    shell.file("key", "pr_a-key-of-this-test\n");
    shell.typed(&["profiles", "list"]);
    shell.typed(&["profiles", "set", "prod", "--url", "https://hooks.example.com", "--namespace", "shop", "--key", "@key"]);
    shell.typed(&["profiles", "set", "local", "--url", "http://127.0.0.1:8080"]);
    assert_aligned(&shell.typed(&["profiles", "list"]).out);
    shell.typed(&["profiles", "use", "local"]);
    shell.typed(&["profiles", "use", "nowhere"]);
    let listed = shell.typed(&["profiles", "list", "--json"]);
    assert!(!listed.out.contains("pr_a-key"), "{}", listed.out);
    shell.typed(&["profiles", "set", "other"]);
    shell.typed(&["profiles", "set", "other", "--url", "ftp://x"]);
    shell.typed(&["profiles", "remove", "local"]);
    insta::assert_snapshot!("profiles", shell.transcript());
}

#[test]
fn whoever_has_seen_enough_is_no_failure() {
    let shell = Shell::at("http://127.0.0.1:9");
    for words in [&["man"][..], &["completions", "bash"], &["openapi"]] {
        let mut command = shell.command(words);
        // A pipe that nobody reads.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = command.stdout(writer).stderr(std::process::Stdio::null()).status().expect("the binary runs");
        assert!(status.success(), "{words:?}: {status}");
    }
}
