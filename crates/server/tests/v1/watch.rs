//! `postrider.v1.LedgerService/WatchDeliveries`: the live stream.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{PATIENCE, Receiver, Reply, Server};
use postrider_server::cli::client::{CallError, Client, Messages};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const WATCH: &str = "postrider.v1.LedgerService/WatchDeliveries";
const CANCEL: &str = "postrider.v1.LedgerService/CancelDelivery";

/// Publishes an event of this type; answers its id.
fn push(rpc: &Rpc<'_>, event: &str) -> String {
    let request = json!({"namespace": "default", "event": event, "payload": {"n": 1}});
    rpc.ask("EventService/PushEvent", &request)["eventId"].as_str().expect("an id").to_owned()
}

/// A stream, and what it has told.
struct Watch {
    messages: Messages<Value>,
    /// The states of each delivery in their order, by its event.
    states: BTreeMap<String, Vec<String>>,
    /// How many deliveries were too fast.
    passed: u64,
}

impl Watch {
    async fn of(server: &Server, key: Option<&str>, request: Value) -> Watch {
        let client = Client::new(&format!("http://{}", server.address), key).expect("a client");
        let messages = client.stream(WATCH, &request).await.expect("a stream");
        Watch { messages, states: BTreeMap::new(), passed: 0 }
    }

    /// The next message.
    async fn next(&mut self) -> Result<Value, CallError> {
        let message = tokio::time::timeout(PATIENCE, self.messages.next()).await.expect("a message")?;
        let message = message.expect("the stream goes on");
        for delivery in message["changed"].as_array().into_iter().flatten() {
            let text = |name: &str| delivery[name].as_str().expect("a text").to_owned();
            self.states.entry(text("eventId")).or_default().push(text("state"));
        }
        self.passed += message["passed"].as_str().map_or(0, |count| count.parse::<u64>().expect("a number"));
        assert!(message["at"].is_string(), "{message}");
        Ok(message)
    }

    /// Reads until an event's delivery is told in this state.
    async fn until(&mut self, event: &str, state: &str) {
        while self.states.get(event).and_then(|states| states.last()).is_none_or(|last| last != state) {
            self.next().await.expect("the stream goes on");
        }
    }

    /// Reads until the stream ends with an error.
    async fn refused(mut self) -> CallError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }
}

/// Why nothing is to be watched.
async fn refused(server: &Server, key: Option<&str>, request: Value) -> CallError {
    let client = Client::new(&format!("http://{}", server.address), key).expect("a client");
    match client.stream::<_, Value>(WATCH, &request).await {
        Ok(mut messages) => messages.next().await.expect_err("a refusal"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_comes_at_first_and_then_what_is_new() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    let webhook = rpc.register(&receiver.url, json!({"events": ["a.b"]})).0;
    let mut empty = Watch::of(&server, None, json!({"filter": {"event_type": "c.d"}})).await;
    assert_eq!(empty.next().await.expect("a message").get("changed"), None, "there is nothing yet");
    let first = push(&rpc, "a.b");
    let of_webhook = json!({"filter": {"endpoint_id": webhook}});
    rpc.ask_until("postrider.v1.LedgerService/ListDeliveries", &of_webhook, |told| told["deliveries"][0]["state"] == "succeeded");
    let mut watch = Watch::of(&server, None, of_webhook).await;
    let message = watch.next().await.expect("a message");
    assert_eq!(message["changed"].as_array().map(Vec::len), Some(1), "{message}");
    assert_eq!(watch.states, BTreeMap::from([(first, vec![String::from("succeeded")])]));
    let second = push(&rpc, "a.b");
    watch.until(&second, "succeeded").await;
    // Somebody else's are not among them.
    let other = Receiver::answering(200);
    rpc.register(&other.url, json!({"events": ["c.d"]}));
    let elsewhere = push(&rpc, "c.d");
    let third = push(&rpc, "a.b");
    watch.until(&third, "succeeded").await;
    assert!(!watch.states.contains_key(&elsewhere) && watch.passed == 0);
    empty.until(&elsewhere, "succeeded").await;
    assert_eq!(empty.states.len(), 1, "of another type nothing comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_of_an_older_delivery_comes() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| if n == 0 { Reply::Status(404) } else { Reply::Status(200) }));
    rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    let old = push(&rpc, "a.b");
    let mut watch = Watch::of(&server, None, json!({"limit": 1})).await;
    watch.until(&old, "failed").await;
    let new = push(&rpc, "a.b");
    watch.until(&new, "succeeded").await;
    // Who comes now is told of the newest alone.
    let mut late = Watch::of(&server, None, json!({"limit": 1})).await;
    late.next().await.expect("a message");
    assert!(late.states.contains_key(&new) && !late.states.contains_key(&old));
    let listed = rpc.ask("postrider.v1.LedgerService/ListDeliveries", &json!({"filter": {"event_id": old}}));
    rpc.ask("DeliveryService/RetryDelivery", &json!({"delivery_id": listed["deliveries"][0]["deliveryId"]}));
    for watch in [&mut watch, &mut late] {
        watch.until(&old, "succeeded").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_match_any_more_comes_once_more() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(500));
    rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": {"retry_backoff_seconds": 60}}));
    let mut watch = Watch::of(&server, None, json!({"filter": {"states": ["retrying"]}})).await;
    let event = push(&rpc, "a.b");
    watch.until(&event, "retrying").await;
    let listed = rpc.ask("postrider.v1.LedgerService/ListDeliveries", &json!({"filter": {"event_id": event}}));
    rpc.ask(CANCEL, &json!({"delivery_id": listed["deliveries"][0]["deliveryId"]}));
    watch.until(&event, "cancelled").await;
    assert_eq!(watch.states[&event], ["retrying", "cancelled"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_fast_is_counted() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    let filters = [json!({}), json!({"namespace": "default"}), json!({"states": ["pending", "sending", "succeeded"]})];
    let mut watches = Vec::new();
    for filter in filters {
        let mut watch = Watch::of(&server, None, json!({"filter": filter, "limit": 1})).await;
        watch.next().await.expect("a message");
        watches.push(watch);
    }
    let events: Vec<Value> = (0..5).map(|n| json!({"event_type": "a.b", "payload": {"n": n}})).collect();
    let answer = Api::of(&server).post("/v1/delivery/events/batch", &json!(events));
    assert!(answer.status < 300, "{}", answer.text());
    // They are there in one moment.
    for watch in &mut watches {
        while watch.states.is_empty() {
            watch.next().await.expect("the stream goes on");
        }
        assert_eq!(watch.passed, 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_with_its_key() {
    let server = Server::guarded(MASTER);
    let api = Api::with_key(&server, MASTER);
    let (key, id) = api.key(&json!({"name": "k", "namespace": "default", "scopes": ["read"]}));
    let mut watch = Watch::of(&server, Some(&key), json!({})).await;
    watch.next().await.expect("a message");
    assert!(api.call("DELETE", &format!("/v1/keys/{id}"), &Value::Null).status < 300);
    let error = watch.refused().await;
    assert_eq!((error.code.as_str(), error.message.as_str()), ("unauthenticated", "the API key was revoked or has expired"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_watch_is_told_why() {
    let server = Server::guarded(MASTER);
    let api = Api::with_key(&server, MASTER);
    let key = |scopes: Value| api.key(&json!({"name": "k", "namespace": "two", "scopes": scopes})).0;
    let (reader, writer) = (key(json!(["read"])), key(json!(["write"])));
    for (key, request, code) in [
        (&reader, json!({"limit": 501}), "invalid_argument"),
        (&reader, json!({"limit": -1}), "invalid_argument"),
        (&reader, json!({"filter": {"states": ["late"]}}), "invalid_argument"),
        (&reader, json!({"filter": {"namespace": "default"}}), "not_found"),
        (&reader, json!({"filter": {"event_id": NOBODY}}), "not_found"),
        (&writer, json!({}), "permission_denied"),
    ] {
        let error = refused(&server, Some(key), request.clone()).await;
        assert_eq!(error.code.as_str(), code, "{request}: {error}");
    }
    assert_eq!(refused(&server, Some("pr_wrong"), json!({})).await.code.as_str(), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_a_hundred_watchers() {
    let server = Server::dev(&[]);
    let mut watches = Vec::new();
    for _ in 0..100 {
        let mut watch = Watch::of(&server, None, json!({})).await;
        watch.next().await.expect("a message");
        watches.push(watch);
    }
    let error = refused(&server, None, json!({})).await;
    assert_eq!(error.code.as_str(), "resource_exhausted", "{error}");
    // Who goes away makes room.
    watches.truncate(50);
    let begun = tokio::time::Instant::now();
    loop {
        let client = Client::new(&format!("http://{}", server.address), None).expect("a client");
        let mut messages = client.stream::<_, Value>(WATCH, &json!({})).await.expect("a stream");
        if messages.next().await.is_ok() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "there is no room");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_with_different_filters_see_what_is_theirs() {
    let server = Server::dev(&[]);
    let (rpc, receivers) = (Rpc::of(&server), [Receiver::answering(200), Receiver::answering(200)]);
    let register = |(receiver, event): (&Receiver, &str)| rpc.register(&receiver.url, json!({"events": [event]})).0;
    let endpoints: Vec<String> = receivers.iter().zip(["a.b", "c.d"]).map(register).collect();
    let mut watches = Vec::new();
    for filter in [
        json!({"endpoint_id": endpoints[0]}),
        json!({"endpoint_id": endpoints[1]}),
        json!({"event_type": "c.d"}),
        json!({"states": ["succeeded"]}),
        json!({}),
    ] {
        watches.push(Watch::of(&server, None, json!({"filter": filter})).await);
    }
    let (first, second) = (push(&rpc, "a.b"), push(&rpc, "c.d"));
    let theirs = [vec![&first], vec![&second], vec![&second], vec![&first, &second], vec![&first, &second]];
    for (watch, theirs) in watches.iter_mut().zip(theirs) {
        for event in &theirs {
            watch.until(event, "succeeded").await;
        }
        assert_eq!(watch.states.keys().collect::<Vec<_>>(), theirs);
    }
}
