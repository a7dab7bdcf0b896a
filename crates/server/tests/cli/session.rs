//! The command line against a server, as people type it, under snapshot. `INSTA_UPDATE=always` writes the snapshots anew.

use crate::common;

use crate::common::cli::{Shell, begun, interrupt};
use crate::common::{Nobody, Receiver, Reply, Server};
use std::io::{BufRead, BufReader};

#[test]
fn from_an_endpoint_to_the_story_of_a_delivery() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(200));
    let mut shell = Shell::of(&server);
    let endpoint = shell.typed(&["endpoints", "create", &receiver.url, "--event", "order.*", "--name", "shop"]).first();
    let push =
        ["events", "push", "order.created", "--data", r#"{"order": 4711, "total": 49.50}"#, "--label", "region=eu", "--id", "order-4711"];
    let event = shell.typed(&push).first();
    assert_eq!(shell.typed(&push).first(), event, "the same key publishes nothing");
    assert_eq!(receiver.wait_for(1)[0].body.len(), receiver.wait_for(1)[0].headers["content-length"].parse::<usize>().expect("a length"));
    let listed = shell.done_when(&["deliveries", "list", "--state", "succeeded", "--json"], |said| said.out.lines().count() == 1);
    let delivery = listed.objects()[0]["deliveryId"].as_str().expect("an id").to_owned();
    shell.typed(&["deliveries", "list", "--utc"]);
    shell.typed(&["deliveries", "list", "--state", "failed"]);
    shell.typed(&["deliveries", "list", "--count"]);
    let story = shell.typed(&["deliveries", "show", &delivery, "--utc"]);
    assert!(story.out.contains("first byte") && story.out.contains('█'), "the waterfall is there: {}", story.out);
    shell.typed(&["events", "list", "--label", "region=eu", "--utc"]);
    shell.typed(&["events", "show", &event, "--utc"]);
    shell.typed(&["endpoints", "list"]);
    shell.typed(&["namespaces", "list"]);
    shell.typed(&["find", "order-4711"]);
    shell.typed(&["find", "nothing-has-this-key"]);
    shell.typed(&["deliveries", "show", &endpoint]);
    insta::assert_snapshot!("session", shell.transcript());
}

#[test]
fn dead_letters_are_grouped_replayed_and_dismissed() {
    let (server, receiver) = (Server::dev(&[]), Receiver::scripted(|n| Reply::Status(if n < 3 { 400 } else { 200 })));
    let mut shell = Shell::of(&server);
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--max-retries", "0", "--name", "billing"]);
    for number in 0..3 {
        let data = format!("{{\"number\": {number}}}");
        shell.done(&["events", "push", "invoice.paid", "--data", &data]);
    }
    shell.done_when(&["dlq", "list", "--json"], |said| said.out.lines().count() == 3);
    shell.typed(&["dlq", "groups"]);
    shell.typed(&["dlq", "replay", "--all", "--dry-run"]);
    shell.typed(&["dlq", "replay", "--all", "--dry-run", "--json"]);
    shell.typed(&["dlq", "replay"]);
    assert_eq!(shell.run(&["dlq", "list", "--code", "http_5xx"]).code, Some(2), "no such code");
    let newest = shell.done(&["dlq", "list", "--limit", "1", "--json"]).objects()[0]["deadLetterId"].as_str().expect("an id").to_owned();
    shell.typed(&["dlq", "dismiss", &newest]);
    shell.typed(&["dlq", "replay", "--all", "--rate", "1000"]);
    shell.done_when(&["deliveries", "list", "--state", "succeeded", "--json"], |said| said.out.lines().count() == 2);
    assert_eq!(receiver.wait_for(5).len(), 5);
    shell.typed(&["dlq", "list"]);
    insta::assert_snapshot!("dead_letters", shell.transcript());
}

#[test]
fn endpoints_are_changed_tested_and_given_new_secrets() {
    let (server, receiver) = (Server::dev(&[]), Receiver::scripted(|n| Reply::Status(if n == 0 { 200 } else { 503 })));
    let mut shell = Shell::of(&server);
    let endpoint = shell.done(&["endpoints", "create", &receiver.url, "--event", "order.created"]).first();
    shell.typed(&["endpoints", "update", &endpoint, "--name", "shop", "--timeout", "5s", "--header", "X-Team: billing"]);
    shell.typed(&["endpoints", "update", &endpoint]);
    let tested = shell.run(&["endpoints", "test", &endpoint]);
    assert!(tested.code == Some(0) && tested.out.contains("attempt 1  200"), "{}{}", tested.out, tested.talk);
    assert_eq!(shell.run(&["endpoints", "test", &endpoint, "--bodies", "none"]).code, Some(1));
    assert_eq!(receiver.wait_for(1)[0].headers["x-team"], "billing");
    let rotated = shell.run(&["endpoints", "rotate-secret", &endpoint, "--overlap", "1h"]);
    assert!(rotated.out.starts_with("whsec_") && rotated.out.lines().count() == 1, "the secret is alone on stdout: {}", rotated.out);
    assert!(rotated.talk.contains("signs too, until") && !rotated.talk.contains("whsec_"), "{}", rotated.talk);
    shell.typed(&["endpoints", "end-rotation", &endpoint]);
    shell.typed(&["endpoints", "end-rotation", &endpoint]);
    shell.typed(&["endpoints", "pause", &endpoint]);
    shell.typed(&["endpoints", "resume", &endpoint]);
    shell.typed(&["endpoints", "pause", &endpoint, "0197f3a2-5b1c-7d4e-8f90-123456789abc"]);
    shell.typed(&["endpoints", "delete", &endpoint]);
    shell.typed(&["endpoints", "delete", &endpoint, "--yes"]);
    shell.typed(&["endpoints", "show", &endpoint]);
    insta::assert_snapshot!("endpoints", shell.transcript());
}

#[test]
fn a_preview_tells_what_would_have_matched() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(200));
    let mut shell = Shell::of(&server);
    let endpoint = shell.done(&["endpoints", "create", &receiver.url, "--event", "order.created"]).first();
    for region in ["eu", "us", "eu"] {
        shell.done(&["events", "push", "order.created", "--data", r#"{"total": 1.50}"#, "--label", &format!("region={region}")]);
    }
    shell.typed(&["subscriptions", "preview", "--event", "order.*", "--label", "region=eu", "--utc"]);
    std::fs::write(shell.directory.path().join("t.tmpl"), "total={{ .payload.total }}").expect("a file");
    shell.typed(&["subscriptions", "preview", "--event", "order.*", "--label", "region=us", "--template", "@t.tmpl", "--utc"]);
    shell.typed(&["subscriptions", "preview", "--event", "order.*", "--template", "{{ .payload"]);
    let made = shell.typed(&["subscriptions", "create", &endpoint, "--event", "invoice.*", "--label", "region=eu"]).first();
    shell.typed(&["subscriptions", "update", &made, "--inactive"]);
    shell.typed(&["subscriptions", "show", &made, "--utc"]);
    shell.typed(&["subscriptions", "delete", &made, "--yes"]);
    insta::assert_snapshot!("preview", shell.transcript());
}

#[test]
fn deliveries_are_tried_again_by_filter_and_called_off() {
    let (server, receiver) = (Server::dev(&[]), Receiver::scripted(|n| Reply::Status(if n < 2 { 400 } else { 200 })));
    let mut shell = Shell::of(&server);
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--max-retries", "0"]);
    for _ in 0..2 {
        shell.done(&["events", "push", "a"]);
    }
    shell.done_when(&["deliveries", "list", "--state", "failed", "--json"], |said| said.out.lines().count() == 2);
    shell.typed(&["deliveries", "retry", "--state", "failed", "--dry-run"]);
    shell.typed(&["deliveries", "retry", "--state", "failed", "--dry-run", "--json"]);
    shell.typed(&["events", "repush", "--event-type", "a", "--dry-run"]);
    shell.typed(&["events", "repush", "--event-type", "a", "--dry-run", "--json"]);
    shell.typed(&["deliveries", "retry"]);
    shell.typed(&["deliveries", "retry", "--state", "failed"]);
    let all = shell.done_when(&["deliveries", "list", "--state", "succeeded", "--json"], |said| said.out.lines().count() == 2);
    shell.typed(&["deliveries", "retry", "--state", "failed"]);
    let one = all.objects()[0]["deliveryId"].as_str().expect("an id").to_owned();
    shell.typed(&["deliveries", "cancel", &one]);
    insta::assert_snapshot!("retry", shell.transcript());
}

#[test]
fn a_retry_keeps_to_its_rate_and_ctrl_c_stops_it() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(400));
    let shell = Shell::of(&server);
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--max-retries", "0"]);
    for _ in 0..6 {
        shell.done(&["events", "push", "a"]);
    }
    let failed = ["deliveries", "list", "--state", "failed", "--json"];
    shell.done_when(&failed, |said| said.out.lines().count() == 6);
    let retry = ["deliveries", "retry", "--state", "failed", "--yes", "--json", "--rate"];
    // Each once, though all of them fail again.
    let begun_at = tokio::time::Instant::now();
    let all = shell.done(&[&retry[..], &["3"]].concat()).document();
    assert_eq!((&all["matched"], &all["queued"], &all["failed"]), (&6.into(), &6.into(), &0.into()));
    assert!(begun_at.elapsed() >= std::time::Duration::from_secs(1), "the second three wait for the next second");
    assert_eq!(receiver.wait_for(12).len(), 12);
    shell.done_when(&failed, |said| said.out.lines().count() == 6);
    let mut slow = begun(shell.command(&[&retry[..], &["1"]].concat()));
    assert!(receiver.wait_for(13).len() >= 13);
    assert_eq!(interrupt(&mut slow).code(), Some(130));
    let output = slow.wait_with_output().expect("its output");
    let stopped: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let queued = stopped["queued"].as_u64().expect("a number");
    assert!((1..6).contains(&queued) && String::from_utf8_lossy(&output.stderr).contains("stopped: "), "{stopped}");
    for action in ["show", "cancel"] {
        let missing = shell.run(&["batches", action, "0197f3a2-5b1c-7d4e-8f90-123456789abc"]);
        assert_eq!((missing.code, missing.out.as_str()), (Some(3), ""), "{}", missing.talk);
    }
}

#[test]
fn the_tail_shows_what_happens_until_ctrl_c() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(200));
    let shell = Shell::of(&server);
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--name", "shop"]);
    shell.done(&["events", "push", "before"]);
    shell.done_when(&["deliveries", "list", "--state", "succeeded", "--json"], |said| said.out.lines().count() == 1);
    let mut tail = begun(shell.command(&["deliveries", "tail", "--json"]));
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut next = |wanted: &str| {
        let line = lines.find(|line| line.contains(wanted)).unwrap_or_else(|| panic!("the tail ended before {wanted}"));
        serde_json::from_str::<serde_json::Value>(&line).expect("JSON")
    };
    assert_eq!(next("before")["state"], "succeeded");
    shell.done(&["events", "push", "after"]);
    let shown = next("after");
    assert_eq!((&shown["eventType"], &shown["endpointName"]), (&"after".into(), &"shop".into()));
    assert_eq!(interrupt(&mut tail).code(), Some(0));
}

#[test]
fn exit_codes_say_what_was_wrong() {
    let server = Server::guarded("a-master-key-that-is-long-enough-for-tests");
    let nobody = Nobody::new();
    let elsewhere = format!("http://{}", nobody.address);
    let shell = Shell::of(&server);
    for (words, code, told) in [
        (&["events", "list"][..], 4, "--key"),
        (&["events", "list", "--key", "pr_wrong"], 4, "key"),
        (&["events", "show", "0197f3a2-5b1c-7d4e-8f90-123456789abc", "--key", "a-master-key-that-is-long-enough-for-tests"], 3, ""),
        (&["events", "push"], 2, "TYPE"),
        (&["events", "push", "a", "--data", "[1]"], 2, "--data: it must be a JSON object"),
        (&["events", "list", "--url", &elsewhere], 5, "is the server running"),
        (&["events", "list", "--profile", "nowhere"], 2, "there is no profile \"nowhere\""),
        (&["top"], 2, "postrider overview"),
    ] {
        let said = shell.run(words);
        assert_eq!(said.code, Some(code), "{words:?}: {}{}", said.out, said.talk);
        assert!(said.talk.contains(told) && !said.talk.contains("a-master-key"), "{words:?}: {}", said.talk);
        assert!(said.out.is_empty(), "stdout is data: {}", said.out);
    }
}

#[test]
fn profiles_keep_keys_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::guarded("a-master-key-that-is-long-enough-for-tests");
    let shell = Shell::of(&server);
    let url = format!("http://{}", server.address);
    let set = shell.feed(&["profiles", "set", "prod", "--url", &url, "--key", "-"], "a-master-key-that-is-long-enough-for-tests\n");
    assert_eq!(set.code, Some(0), "{}", set.talk);
    let file = shell.directory.path().join("config/postrider/profiles.toml");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    // The profile alone says where and with which key.
    let mut command = shell.command(&["nodes", "--json"]);
    let output = command.env_remove("POSTRIDER_URL").output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = shell.done(&["profiles", "list"]);
    assert!(listed.out.contains("prod *") && !listed.out.contains("a-master-key"), "{}", listed.out);
    // Its key is for its own server.
    let nobody = Nobody::new();
    let refused = shell.run(&["profiles", "set", "prod", "--url", &format!("http://{}", nobody.address)]);
    assert!(refused.talk.contains("its key was for the server before"), "{}", refused.talk);
    assert!(!std::fs::read_to_string(&file).expect("a file").contains("a-master-key"));
    assert_eq!(shell.run(&["profiles", "set", "x", "--url", &url, "--key", "pr_visible"]).code, Some(2));
    assert_eq!(shell.done(&["profiles", "remove", "prod"]).code, Some(0));
}

#[test]
fn keys_are_kept_through_the_server_too() {
    let server = Server::guarded("a-master-key-that-is-long-enough-for-tests");
    let mut shell = Shell::of(&server);
    std::fs::write(shell.directory.path().join("key"), "a-master-key-that-is-long-enough-for-tests\n").expect("a file");
    let with = |words: &[&'static str]| -> Vec<&'static str> { words.iter().copied().chain(["--key-file", "key"]).collect() };
    let made = shell.typed(&with(&["keys", "create", "--namespace", "shop", "--name", "backend"]));
    assert!(made.out.starts_with("pr_") && made.out.lines().count() == 1, "{}", made.out);
    let key = made.first();
    let said = shell.run(&["events", "push", "a", "--key", &key]);
    assert_eq!(said.code, Some(0), "the new key publishes in its own namespace: {}", said.talk);
    shell.typed(&with(&["keys", "list"]));
    let prefix: String = key.chars().take(11).collect();
    assert_eq!(shell.run(&["keys", "revoke", &prefix, "--key-file", "key"]).code, Some(0));
    assert_eq!(shell.run(&["events", "push", "a", "--key", &key]).code, Some(4));
    assert_eq!(shell.run(&["keys", "revoke", &prefix, "--key-file", "key"]).code, Some(3));
    insta::assert_snapshot!("keys", shell.transcript());
}

#[test]
fn lines_are_published_once_however_often_and_bad_ones_are_told() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(200));
    let shell = Shell::of(&server);
    shell.done(&["endpoints", "create", &receiver.url, "--event", "*"]);
    let lines: String = (0..20).map(|n| format!("{{\"event\": \"order.created\", \"payload\": {{\"n\": {n}}}}}\n")).collect();
    std::fs::write(shell.directory.path().join("orders.ndjson"), &lines).expect("a file");
    let first = shell.done(&["events", "push", "--ndjson", "orders.ndjson", "--resume-key", "orders", "--json"]).document();
    assert_eq!((&first["published"], &first["duplicates"], &first["refused"]), (&20.into(), &0.into(), &0.into()));
    let again = shell.done(&["events", "push", "--ndjson", "orders.ndjson", "--resume-key", "orders"]);
    assert!(again.out.is_empty() && again.talk.contains("0 events published, 20 were there before"), "{}", again.talk);
    assert!(!again.talk.contains("nothing of it is new"), "whoever gives a key means it: {}", again.talk);
    // From stdin under the same key, with a line more that is new and one that is none.
    let more = format!("{lines}{{\"event\": \"order.created\", \"payload\": {{}}}}\nnonsense\n");
    let said = shell.feed(&["events", "push", "--ndjson", "-", "--resume-key", "orders"], &more);
    assert_eq!(said.code, Some(6), "{}", said.talk);
    assert!(
        said.talk.contains("line 22: ") && said.talk.contains("1 event published, 20 were there before, 1 was refused"),
        "{}",
        said.talk
    );
    assert_eq!(receiver.wait_for(21).len(), 21);
}

#[test]
fn lines_that_look_alike_are_not_taken_for_each_other() {
    let server = Server::dev(&[]);
    let shell = Shell::of(&server);
    let line = "{\"payload\": {\"tick\": 1}}\n";
    let piped = ["events", "push", "beat", "--ndjson", "-"];
    // What comes over a pipe has no name: without a key nothing is published, rather than once for all times.
    let said = shell.feed(&piped, line);
    assert!(said.code == Some(2) && said.talk.contains("--resume-key"), "{}", said.talk);
    for stream in ["a", "b"] {
        let said = shell.feed(&[&piped[..], &["--resume-key", stream, "--json"]].concat(), line);
        assert_eq!(said.document()["published"], 1, "{}", said.talk);
    }
    let with_id = "{\"id\": \"own\", \"payload\": {}}\n";
    assert_eq!(shell.feed(&[&piped[..], &["--json"]].concat(), with_id).document()["published"], 1);
    // Files of one name in two places are two files.
    for place in ["monday", "tuesday"] {
        std::fs::create_dir(shell.directory.path().join(place)).expect("a directory");
        let file = format!("{place}/beat.ndjson");
        std::fs::write(shell.directory.path().join(&file), line).expect("a file");
        assert_eq!(shell.done(&["events", "push", "beat", "--ndjson", &file, "--json"]).document()["published"], 1, "{file}");
        let again = shell.done(&["events", "push", "beat", "--ndjson", &file]);
        assert!(again.talk.contains("nothing of it is new"), "{}", again.talk);
    }
    let both = shell.feed(&["events", "push", "beat", "--data", "-", "--key-file", "-"], "{}");
    assert!(both.code == Some(2) && both.talk.contains("only one flag can read stdin"), "{}", both.talk);
}

#[test]
fn ctrl_c_stops_a_push_which_then_goes_on() {
    let server = Server::dev(&[]);
    let shell = Shell::of(&server);
    let lines: String = (0..500).map(|n| format!("{{\"payload\": {{\"n\": {n}}}}}\n")).collect();
    std::fs::write(shell.directory.path().join("many.ndjson"), lines).expect("a file");
    let mut push = begun(shell.command(&["events", "push", "tick", "--ndjson", "many.ndjson", "--rate", "20", "--json"]));
    shell.done_when(&["events", "list", "--event-type", "tick", "--json"], |said| said.out.lines().count() >= 2);
    assert_eq!(interrupt(&mut push).code(), Some(130));
    let output = push.wait_with_output().expect("its output");
    let stopped: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let published = stopped["published"].as_u64().expect("a number");
    assert!((2..500).contains(&published) && String::from_utf8_lossy(&output.stderr).contains("nothing twice"), "{stopped}");
    let rest = shell.done(&["events", "push", "tick", "--ndjson", "many.ndjson", "--json"]).document();
    assert_eq!((rest["published"].as_u64(), rest["duplicates"].as_u64()), (Some(500 - published), Some(published)));
}

#[test]
fn what_comes_is_passed_on_to_somebody_else() {
    let behind = Receiver::answering(201);
    let shell = Shell::at("http://127.0.0.1:9");
    let mut listen = begun(shell.command(&["listen", "--listen", "127.0.0.1:0", "--json", "--forward", &behind.url]));
    let mut talk = BufReader::new(listen.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut lines = BufReader::new(listen.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let greeting = talk.next().expect("it says where it listens");
    let address = greeting.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect(&greeting);
    let answer = common::Client::new(address.parse().expect("an address")).call("POST", "/any", &[("x-a", "b")], b"{}");
    assert_eq!(answer.status, 201);
    let line: serde_json::Value = serde_json::from_str(&lines.next().expect("a line")).expect("JSON");
    assert_eq!((line["status"].as_u64(), line["passed_ms"].is_number()), (Some(201), true), "{line}");
    let passed = &behind.wait_for(1)[0];
    assert_eq!((passed.path.as_str(), passed.headers["x-a"].as_str(), passed.body.as_slice()), ("/hook", "b", &b"{}"[..]));
    assert!(interrupt(&mut listen).success());
}
