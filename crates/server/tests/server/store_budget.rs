//! A server whose store has a limit: it refuses new work before it passes that, delivers what it has accepted, and makes room by itself.

use crate::common;

use crate::common::items::{Api, binding, destination};
use crate::common::{PATIENCE, Receiver, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const LIMIT: u64 = 16 << 20;

/// What the database and its log take on the disk.
fn on_disk(server: &Server) -> u64 {
    let size = |file: &str| std::fs::metadata(server.data_dir().join(file)).map_or(0, |file| file.len());
    size("postrider.db") + size("postrider.db-wal")
}

fn publish(api: &Api<'_>, n: usize) -> common::Answer {
    api.post("/v1/delivery/events", &json!({"event_type": "a.b", "payload": {"n": n, "x": "x".repeat(200_000)}}))
}

#[test]
fn publishing_is_refused_before_the_limit_and_works_again_when_deliveries_have_ended() {
    let server = Server::dev(&["--max-store-bytes", "16MiB"]);
    let api = Api::of(&server);
    let (waiting, receiver) = (Receiver::answering(200), Receiver::answering(200));
    let parked = api.make("destinations", &destination(&waiting.url));
    api.make("bindings", &binding(&parked, "a.b", json!({})));
    let switch = |on: bool| {
        let answer = api.call("PUT", &format!("/v1/delivery/destinations/{parked}"), &json!({"is_active": on}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    switch(false);
    api.bound(&receiver.url, "c.d", json!({}));
    let mut accepted = BTreeSet::new();
    let refused = loop {
        let answer = publish(&api, accepted.len());
        assert!(on_disk(&server) <= LIMIT, "{} bytes", on_disk(&server));
        if answer.status != 202 {
            break answer;
        }
        accepted.insert(answer.json()["id"].as_str().expect("an id").to_owned());
        assert!(accepted.len() < 100, "nothing is ever refused");
    };
    let problem = refused.json();
    assert_eq!((refused.status, &problem["code"], &problem["retryable"]), (507, &json!("storage_full"), &json!(true)), "{problem}");
    assert!(problem["message"].as_str().is_some_and(|text| text.contains("--max-store-bytes")), "{problem}");
    assert!(refused.header("retry-after").is_some());
    assert!(accepted.len() > 50, "{} events of 200 KB", accepted.len());
    // What is small still finds room, and is delivered.
    api.publish("c.d", &json!({}));
    receiver.wait_for(1);
    assert_eq!(api.post("/v1/delivery/destinations", &destination(&receiver.url)).status, 201);
    // Nothing of what waits is given up for room.
    api.when("/v1/delivery/events?event_type=a.b", |list| list["total"] == accepted.len());
    switch(true);
    let arrived: BTreeSet<String> = waiting.wait_for(accepted.len()).iter().map(|r| r.headers["x-postrider-event-id"].clone()).collect();
    assert_eq!(arrived, accepted, "all that was accepted, and nothing of what was refused");
    let begun = Instant::now();
    loop {
        let answer = publish(&api, accepted.len());
        assert!(on_disk(&server) <= LIMIT, "{} bytes", on_disk(&server));
        if answer.status == 202 {
            break;
        }
        assert_eq!(answer.status, 507, "{}", answer.text());
        assert!(begun.elapsed() < PATIENCE, "no room is made");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    waiting.wait_for(accepted.len() + 1);
    server.says("the store was nearly full");
    // The oldest are gone, with their items; the newest are there.
    let left = api.get("/v1/delivery/items?limit=500").json();
    let events: Vec<&Value> = left["items"].as_array().expect("items").iter().map(|item| &item["event_id"]).collect();
    assert!(events.len() < accepted.len(), "{}", events.len());
    assert!(server.stop().0.success());
}
