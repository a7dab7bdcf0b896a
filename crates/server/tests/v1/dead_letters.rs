//! `postrider.v1.DeadLetterService`: groups, lists, replays and dismissals of some and of all, jobs.

use crate::common::items::{Api, binding, destination};
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const GROUPS: &str = "postrider.v1.DeadLetterService/ListDeadLetterGroups";
const LIST: &str = "postrider.v1.DeadLetterService/ListDeadLetters";
const REPLAY: &str = "postrider.v1.DeadLetterService/ReplayDeadLetters";
const DISMISS: &str = "postrider.v1.DeadLetterService/DismissDeadLetters";
const JOBS: &str = "postrider.v1.DeadLetterService/ListReplayJobs";
const JOB: &str = "postrider.v1.DeadLetterService/GetReplayJob";
const CANCEL: &str = "postrider.v1.DeadLetterService/CancelReplayJob";
const RESUME: &str = "postrider.v1.DeadLetterService/ResumeReplayJob";

/// A receiver whose status a test can change.
fn receiver(status: u16) -> (Receiver, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let told = Arc::clone(&status);
    (Receiver::scripted(move |_| Reply::Status(told.load(Ordering::SeqCst))), status)
}

/// A destination and a binding that gives up at once; answers the two ids.
fn bound(api: &Api<'_>, url: &str, event: &str) -> (String, String) {
    let to = api.make("destinations", &destination(url));
    let id = api.make("bindings", &binding(&to, event, json!({"delivery_policy": {"max_attempts": 1}})));
    (to, id)
}

/// The list once it has so many.
fn listed(rpc: &Rpc<'_>, filter: &Value, total: u64) -> Value {
    let wanted = total.to_string();
    rpc.ask_until(LIST, &json!({"filter": filter, "page_size": 1}), |list| list["total"].as_str().unwrap_or("0") == wanted);
    rpc.ask(LIST, &json!({"filter": filter, "page_size": 500}))
}

fn ids(list: &Value) -> Vec<String> {
    let all = list["deadLetters"].as_array();
    all.into_iter().flatten().map(|letter| letter["deadLetterId"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn dead_letters_are_grouped_by_cause_and_endpoint_and_listed() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    assert_eq!((rpc.ask(GROUPS, &json!({})), rpc.ask(LIST, &json!({}))), (json!({}), json!({})));
    let ((broken, _), (refusing, _)) = (receiver(500), receiver(400));
    let (first, binding) = bound(&api, &broken.url, "a.b");
    let (second, _) = bound(&api, &refusing.url, "c.d");
    let events: Vec<String> = (0..3).map(|n| api.publish("a.b", &json!({"n": n}))).collect();
    api.publish("c.d", &json!({}));
    let all = listed(&rpc, &json!({}), 4);
    let grouped = rpc.ask(GROUPS, &json!({}));
    let groups = grouped["groups"].as_array().expect("groups");
    let shown: Vec<_> =
        groups.iter().map(|group| json!([group["endpointId"], group["errorCode"], group["count"], group["namespace"]])).collect();
    assert_eq!(shown, [json!([first, "connector_5xx", "3", "default"]), json!([second, "connector_4xx", "1", "default"])]);
    assert_eq!((&grouped["total"], &groups[0]["endpointName"]), (&json!("4"), &json!("a receiver")));
    assert!(
        groups
            .iter()
            .all(|group| ["explanation", "advice"].iter().all(|part| group[*part].as_str().is_some_and(|text| text.ends_with('.'))))
    );
    let uuid = api.get(&format!("/v1/delivery/events/{}", events[0])).json()["uuid"].clone();
    let letters = all["deadLetters"].as_array().expect("dead letters");
    let letter = letters.iter().find(|letter| letter["eventId"] == uuid).expect("one of the event");
    assert_eq!((&letter["eventType"], &letter["subscriptionId"], &letter["endpointId"]), (&json!("a.b"), &json!(binding), &json!(first)));
    assert_eq!((&letter["errorCode"], &letter["attempts"]), (&json!("connector_5xx"), &json!(1)));
    assert!(letter["errorMessage"].as_str().is_some_and(|text| text.contains("500")), "{letter}");
    assert_eq!(letter["endpointName"], "a receiver");
    // Of those that ended at this time or later, and before it, the list has the first ones and the last ones.
    let failed_at = letters[1]["failedAt"].clone();
    let from = letters.iter().rposition(|letter| letter["failedAt"] == failed_at).map_or(0, |place| place + 1);
    for (filter, expected) in [
        (json!({"endpoint_id": first}), 3),
        (json!({"subscription_id": binding, "error_code": "connector_5xx"}), 3),
        (json!({"error_code": "connector_4xx"}), 1),
        (json!({"error_code": "dns_error"}), 0),
        (json!({"failed_from": failed_at}), from),
        (json!({"failed_before": failed_at}), 4 - from),
        (json!({"namespace": "other"}), 0),
    ] {
        assert_eq!(ids(&rpc.ask(LIST, &json!({"filter": filter}))).len(), expected, "{filter}");
    }
    let (mut walked, mut token) = (Vec::new(), String::new());
    loop {
        let page = rpc.ask(LIST, &json!({"page_size": 3, "page_token": token}));
        walked.extend(ids(&page));
        token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(walked, ids(&all));
    for (request, part) in [
        (json!({"filter": {"endpoint_id": "7"}}), "endpoint"),
        (json!({"filter": {"error_code": "odd"}}), "error_code"),
        (json!({"filter": {"namespace": "a b"}}), "namespace"),
        (json!({"page_token": "odd"}), "page_token"),
    ] {
        let (_, code, message) = rpc.refused(LIST, &request);
        assert!(code == "invalid_argument" && message.contains(part), "{request}: {message}");
    }
}

#[test]
fn some_are_replayed_or_dismissed_by_their_ids() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let (receiver, status) = receiver(500);
    let (to, _) = bound(&api, &receiver.url, "a.b");
    (0..4).for_each(|n| drop(api.publish("a.b", &json!({"n": n}))));
    let all = ids(&listed(&rpc, &json!({}), 4));
    let named = json!({"dead_letter_ids": [all[0], all[1], all[1], NOBODY], "dry_run": true});
    assert_eq!(rpc.ask(REPLAY, &named), json!({"matched": "2"}));
    assert_eq!(rpc.ask(DISMISS, &named), json!({"remaining": "2"}));
    status.store(200, Ordering::SeqCst);
    assert_eq!(rpc.ask(REPLAY, &json!({"dead_letter_ids": [all[0], all[1]]})), json!({"matched": "2", "replayed": 2}));
    receiver.wait_for(6);
    assert_eq!(ids(&listed(&rpc, &json!({}), 2)), all[2..]);
    assert_eq!(rpc.ask(REPLAY, &json!({"dead_letter_ids": [all[0]]})), json!({}), "it is open no more");
    assert_eq!(rpc.ask(DISMISS, &json!({"dead_letter_ids": [all[2], all[0]]})), json!({"dismissed": 1}));
    assert_eq!(ids(&listed(&rpc, &json!({}), 1)), all[3..]);
    // What would not be sent says why, and stays open.
    rpc.ask("postrider.v1.EndpointService/SetEndpointStatus", &json!({"endpoint_id": to, "status": "paused"}));
    let (_, code, message) = rpc.refused(REPLAY, &json!({"dead_letter_ids": [all[3]]}));
    assert!(code == "failed_precondition" && message.contains("paused"), "{message}");
    assert_eq!((receiver.count(), ids(&listed(&rpc, &json!({}), 1)).len()), (6, 1));
    for request in [
        json!({}),
        json!({"dead_letter_ids": [all[3]], "filter": {}}),
        json!({"dead_letter_ids": ["7"]}),
        json!({"dead_letter_ids": vec![all[3].clone(); 101]}),
    ] {
        assert_eq!(
            (rpc.refused(REPLAY, &request).1, rpc.refused(DISMISS, &request).1),
            ("invalid_argument".into(), "invalid_argument".into())
        );
    }
    for rate in [-1, 10_001] {
        let (_, code, message) = rpc.refused(REPLAY, &json!({"filter": {}, "rate_per_second": rate}));
        assert!(code == "invalid_argument" && message.contains("rate_per_second"), "{message}");
    }
}

/// Publishes so many events at once.
fn publish(api: &Api<'_>, event: &str, count: usize) {
    let answer = api.post("/v1/delivery/events/batch", &Value::from(vec![json!({"event_type": event, "payload": {}}); count]));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Several endpoints: one that fails all the time is sent to slowly.
#[test]
fn all_that_match_are_dismissed_call_by_call() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let ((refusing, _), (broken, _)) = (receiver(400), receiver(500));
    for _ in 0..10 {
        bound(&api, &refusing.url, "a.b");
    }
    bound(&api, &broken.url, "c.d");
    publish(&api, "a.b", 110);
    publish(&api, "c.d", 1);
    listed(&rpc, &json!({}), 1_101);
    let filter = json!({"filter": {"error_code": "connector_4xx"}});
    assert_eq!(rpc.ask(DISMISS, &json!({"filter": filter["filter"], "dry_run": true})), json!({"remaining": "1100"}));
    assert_eq!(rpc.ask(DISMISS, &filter), json!({"dismissed": 1000, "remaining": "100"}));
    assert_eq!(rpc.ask(DISMISS, &filter), json!({"dismissed": 100}));
    assert_eq!(rpc.ask(GROUPS, &json!({}))["total"], "1", "what does not match stays");
    assert_eq!(rpc.ask(DISMISS, &json!({"filter": {}})), json!({"dismissed": 1}), "an empty filter is all of the namespace");
}

/// A job once it is as wanted.
fn job_when(rpc: &Rpc<'_>, id: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    rpc.ask_until(JOB, &json!({"job_id": id}), |answer| wanted(&answer["job"]))["job"].clone()
}

#[test]
fn all_that_match_are_replayed_by_a_job_that_can_be_stopped() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let (receiver, status) = receiver(400);
    let (to, _) = bound(&api, &receiver.url, "a.b");
    (0..30).for_each(|n| drop(api.publish("a.b", &json!({"n": n}))));
    listed(&rpc, &json!({}), 30);
    status.store(200, Ordering::SeqCst);
    let filter = json!({"endpoint_id": to, "error_code": "connector_4xx"});
    assert_eq!(rpc.ask(REPLAY, &json!({"filter": filter, "dry_run": true})), json!({"matched": "30"}));
    let made = rpc.ask(REPLAY, &json!({"filter": filter, "rate_per_second": 1}));
    let job = &made["job"];
    assert_eq!(
        (&made["matched"], &job["matched"], &job["state"], &job["ratePerSecond"]),
        (&json!("30"), &json!("30"), &json!("running"), &json!(1))
    );
    assert_eq!(job["filter"], json!({"namespace": "default", "endpointId": to, "errorCode": "connector_4xx"}));
    let id = &job["jobId"];
    assert_eq!(rpc.ask(JOBS, &json!({}))["jobs"][0]["jobId"], *id);
    let (_, code, message) = rpc.refused(RESUME, &json!({"job_id": id}));
    assert!(code == "failed_precondition" && message.contains("running"), "{message}");
    let stopped = rpc.ask(CANCEL, &json!({"job_id": id}))["job"].clone();
    assert_eq!((&stopped["state"], stopped["endedAt"].is_string()), (&json!("cancelled"), true));
    assert_eq!(rpc.ask(CANCEL, &json!({"job_id": id}))["job"], stopped, "to stop it again comes to the same");
    assert_eq!(rpc.ask(RESUME, &json!({"job_id": id}))["job"]["state"], "running");
    rpc.ask(CANCEL, &json!({"job_id": id}));
    // Another one deals with the rest, quickly.
    let rest = rpc.ask(REPLAY, &json!({"filter": {}, "rate_per_second": 10_000}))["job"]["jobId"].clone();
    let done = job_when(&rpc, &rest, |job| job["state"] == "completed");
    let number = |name: &str| done[name].as_str().map_or(0, |text| text.parse::<u64>().expect("a number"));
    assert_eq!(number("matched"), number("replayed") + number("left"));
    listed(&rpc, &json!({}), 0);
    receiver.wait_for(60);
    for (method, part) in [(CANCEL, "complete"), (RESUME, "complete")] {
        let (_, code, message) = rpc.refused(method, &json!({"job_id": rest}));
        assert!(code == "failed_precondition" && message.contains(part), "{message}");
    }
    let first = rpc.ask(JOBS, &json!({"page_size": 1}));
    let second = rpc.ask(JOBS, &json!({"page_size": 1, "page_token": first["nextPageToken"]}));
    assert_eq!((&first["jobs"][0]["jobId"], &second["jobs"][0]["jobId"]), (&rest, id), "the newest first");
    assert_eq!(second.get("nextPageToken"), None);
}

#[test]
fn a_namespace_has_so_many_jobs() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let (receiver, _) = receiver(400);
    bound(&api, &receiver.url, "a.b");
    publish(&api, "a.b", 200);
    listed(&rpc, &json!({}), 200);
    // At one a second none of them is through soon.
    let answers: Vec<u16> = (0..17).map(|_| rpc.json(REPLAY, &json!({"filter": {}, "rate_per_second": 1})).status).collect();
    assert_eq!((answers[..16].to_vec(), answers[16]), (vec![200; 16], 429));
    assert_eq!(rpc.refused(REPLAY, &json!({"filter": {}, "rate_per_second": 1})).1, "resource_exhausted");
}

#[test]
fn what_belongs_to_another_namespace_does_not_exist() {
    let server = Server::guarded(MASTER);
    let (master, keys) = (Rpc::with_key(&server, MASTER, "shop"), Api::with_key(&server, MASTER));
    let key = |namespace: &str, scopes: &[&str]| keys.key(&json!({"namespace": namespace, "scopes": scopes})).0;
    let (own, other, reader) = (key("shop", &["read", "write"]), key("other", &["read", "write"]), key("shop", &["read"]));
    let api = Api::with_key(&server, &own);
    let (receiver, _) = receiver(400);
    bound(&api, &receiver.url, "a.b");
    api.publish("a.b", &json!({}));
    let letter = ids(&listed(&master, &json!({}), 1)).remove(0);
    let (other, reader) = (Rpc::with_key(&server, &other, "other"), Rpc::with_key(&server, &reader, "shop"));
    for method in [GROUPS, LIST, JOBS] {
        assert_eq!(other.ask(method, &json!({})), json!({}), "{method}");
    }
    assert_eq!(other.ask(REPLAY, &json!({"dead_letter_ids": [letter]})), json!({}));
    assert_eq!(other.ask(DISMISS, &json!({"dead_letter_ids": [letter]})), json!({}));
    assert_eq!(other.ask(REPLAY, &json!({"filter": {"namespace": "shop"}, "dry_run": true})), json!({}));
    for method in [REPLAY, DISMISS] {
        assert_eq!(other.refused(method, &json!({"filter": {"namespace": "shop"}})).1, "permission_denied");
        let (_, code, message) = master.refused(method, &json!({"filter": {}}));
        assert!(code == "invalid_argument" && message.contains("filter.namespace is required"), "{message}");
        // To count changes nothing.
        reader.ask(method, &json!({"filter": {}, "dry_run": true}));
        assert_eq!(reader.refused(method, &json!({"filter": {}})).1, "permission_denied", "{method}");
        assert_eq!(reader.refused(method, &json!({"dead_letter_ids": [letter]})).1, "permission_denied", "{method}");
    }
    let job = master.ask(REPLAY, &json!({"filter": {"namespace": "shop"}, "rate_per_second": 1}))["job"].clone();
    assert_eq!(job["namespace"], "shop");
    for method in [JOB, CANCEL, RESUME] {
        assert_eq!(other.refused(method, &json!({"job_id": job["jobId"]})).1, "not_found", "{method}");
        assert_eq!(master.refused(method, &json!({"job_id": NOBODY})).1, "not_found", "{method}");
    }
    assert_eq!(reader.refused(CANCEL, &json!({"job_id": job["jobId"]})).1, "permission_denied");
}

/// Whoever may write acts without reading, and whoever may read counts without acting.
#[test]
fn keys_that_may_write_alone_act_and_do_not_look() {
    const RETRY: &str = "postrider.v1.LedgerService/RetryMatching";
    let server = Server::guarded(MASTER);
    let (api, (bad, _)) = (Api::with_key(&server, MASTER), receiver(404));
    let key = |scope: &str| api.key(&json!({"name": "k", "namespace": "default", "scopes": [scope]})).0;
    let (writer, reader) = (key("write"), key("read"));
    let [master, writer, reader] = [MASTER, writer.as_str(), reader.as_str()].map(|key| Rpc::with_key(&server, key, "default"));
    master.register(&bad.url, json!({"events": ["a.b"]}));
    master.ask("EventService/PushEvent", &json!({"namespace": "default", "event": "a.b", "payload": {}}));
    let letters = ids(&listed(&master, &json!({}), 1));
    for (method, all) in [(RETRY, json!({"filter": {}})), (REPLAY, json!({"filter": {}})), (DISMISS, json!({"filter": {}}))] {
        let mut count = all.clone();
        count["dry_run"] = json!(true);
        assert_eq!(reader.refused(method, &all).1, "permission_denied", "{method}");
        assert_eq!(writer.refused(method, &count).1, "permission_denied", "{method}");
        reader.ask(method, &count);
    }
    assert_eq!(writer.ask(DISMISS, &json!({"dead_letter_ids": letters})), json!({"dismissed": 1}));
    assert_eq!(writer.ask(RETRY, &json!({"filter": {"states": ["failed"]}}))["total"], 1);
    assert_eq!(writer.refused(LIST, &json!({})).1, "permission_denied");
}
