//! Settings of the server that bindings and destinations feel.

use crate::common::items::{Api, binding, destination};
use crate::common::{Receiver, Server};
use postrider_store::SqliteAdmin;
use serde_json::json;

#[test]
fn a_destination_that_takes_nothing_is_disabled_where_that_is_wanted() {
    let server = Server::dev(&["--disable-after-dead", "2"]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(404);
    let id = api.make("destinations", &destination(&receiver.url));
    api.make("bindings", &binding(&id, "a.b", json!({})));
    let path = format!("/v1/delivery/destinations/{id}");
    api.publish("a.b", &json!({}));
    api.when("/v1/delivery/dlq", |list| list["total"] == 1);
    assert_eq!(api.get(&path).json()["is_active"], true);
    api.publish("a.b", &json!({}));
    let shown = api.when(&path, |shown| shown["is_active"] == false);
    assert_eq!(shown["disabled_reason"], "consecutive_failures");
    assert!(shown["disabled_at"].is_string(), "{shown}");
    let enabled = api.call("PUT", &path, &json!({"is_active": true})).json();
    assert_eq!((&enabled["is_active"], &enabled["disabled_reason"]), (&json!(true), &json!(null)));
}

#[test]
fn bindings_get_the_jitter_that_is_set_with_their_policy() {
    let server = Server::dev(&["--items-jitter", "0.25"]);
    let api = Api::of(&server);
    let first = api.bound("http://127.0.0.1:9/", "a.b", json!({"delivery_policy": {"max_attempts": 3}}));
    let jitters = |server: &Server| -> Vec<u8> {
        let stored = SqliteAdmin::open(&server.data_dir()).expect("opens").configuration().expect("a configuration");
        stored.subscriptions.iter().map(|subscription| subscription.retry.jitter_percent).collect()
    };
    assert_eq!(jitters(&server), [25]);
    let (_, directory) = server.stop();
    let server = Server::start(directory, &["--dev", "--items-jitter", "0"], &[]);
    let api = Api::of(&server);
    api.bound("http://127.0.0.1:9/", "a.b", json!({}));
    assert_eq!(jitters(&server), [25, 0]);
    let changed = api.call("PUT", &format!("/v1/delivery/bindings/{first}"), &json!({"name": "renamed"}));
    assert_eq!((changed.status, jitters(&server)), (200, vec![25, 0]));
    let changed = api.call("PUT", &format!("/v1/delivery/bindings/{first}"), &json!({"delivery_policy": null}));
    assert_eq!((changed.status, jitters(&server)), (200, vec![0, 0]));
}
