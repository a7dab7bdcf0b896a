//! Deleting a destination takes its items and dead letters along: at once for whoever asks, and then out of the database.

use crate::common::items::{Api, binding, destination};
use crate::common::{PATIENCE, Receiver, Server};
use serde_json::{Value, json};
use std::time::Duration;

/// How many rows the database has that name a destination.
fn rows_of(server: &Server, destination: &str) -> i64 {
    let db = rusqlite::Connection::open(server.data_dir().join("postrider.db")).expect("the database");
    let id = uuid::Uuid::parse_str(destination).expect("an id").into_bytes();
    let count = |sql: &str| db.query_row(sql, [id], |row| row.get::<_, i64>(0)).expect("a count");
    ["deliveries", "attempts", "dead_letters", "attempts_by_subscription", "tallies_by_subscription"]
        .iter()
        .map(|table| count(&format!("SELECT count(*) FROM {table} WHERE endpoint = ?1")))
        .sum()
}

#[test]
fn a_deleted_destination_takes_everything_along() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let (good, bad) = (Receiver::answering(200), Receiver::answering(404));
    let (gone, stays) = (api.make("destinations", &destination(&bad.url)), api.make("destinations", &destination(&good.url)));
    for to in [&gone, &stays] {
        api.make("bindings", &binding(to, "a.b", json!({})));
    }
    let events: Vec<String> = (0..5).map(|n| api.publish("a.b", &json!({"n": n}))).collect();
    let dead = api.when("/v1/delivery/dlq", |list| list["total"] == 5);
    let items = api.when("/v1/delivery/items?limit=100", |list| list["total"] == 10 && !list.to_string().contains("in_flight"));
    let of_gone = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items").iter();
        items.filter(|item| item["status"] == "failed").map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    let ids = of_gone(&items);
    assert_eq!(ids.len(), 5);
    let answer = api.call("DELETE", &format!("/v1/delivery/destinations/{gone}"), &Value::Null);
    assert_eq!((answer.status, answer.json()), (200, json!({"deleted": true, "id": gone})));
    // With the very next request, although removing takes a while.
    let left = api.get("/v1/delivery/items?limit=100").json();
    assert_eq!((&left["total"], left["items"].as_array().map(Vec::len)), (&json!(5), Some(5)));
    assert!(of_gone(&left).is_empty());
    assert_eq!(api.get(&format!("/v1/delivery/items?destination_id={gone}")).json()["total"], 0);
    assert_eq!(api.get("/v1/delivery/items?status=failed").json()["total"], 0);
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], 0);
    let letter = dead["data"][0]["id"].as_str().expect("an id");
    for path in [format!("/v1/delivery/items/{}", ids[0]), format!("/v1/delivery/dlq/{letter}")] {
        assert_eq!(api.get(&path).status, 404, "{path}");
        assert_eq!(api.post(&format!("{path}/replay"), &Value::Null).status, 404, "{path}");
    }
    for event in &events {
        assert_eq!(api.get(&format!("/v1/delivery/events/{event}")).status, 200, "events stay");
    }
    let begun = tokio::time::Instant::now();
    while rows_of(&server, &gone) > 0 {
        assert!(begun.elapsed() < PATIENCE, "{} rows are left", rows_of(&server, &gone));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(rows_of(&server, &stays) > 0);
    api.publish("a.b", &json!({"n": 5}));
    assert_eq!((good.wait_for(6).len(), bad.wait_for(5).len()), (6, 5), "nothing more goes there");
    assert!(server.stop().0.success());
}
