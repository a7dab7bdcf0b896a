//! The Items API of a server, with a key.

use super::{Answer, PATIENCE, Server};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Asks with one key.
pub struct Api<'s> {
    server: &'s Server,
    key: String,
}

impl<'s> Api<'s> {
    /// With the key that the development mode makes.
    pub fn of(server: &'s Server) -> Self {
        Api { server, key: server.dev_key.clone().expect("a key") }
    }

    pub fn with_key(server: &'s Server, key: &str) -> Self {
        Api { server, key: key.to_owned() }
    }

    /// Makes an API key; answers it and its id.
    pub fn key(&self, body: &Value) -> (String, String) {
        let answer = self.post("/v1/keys", body);
        assert_eq!(answer.status, 201, "{body}: {}", answer.text());
        let made = answer.json();
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        (text("key"), text("id"))
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.server.call(method, path, &[("x-api-key", &self.key), ("content-type", "application/json")], text.as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &Value::Null)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body)
    }

    /// Makes a noun; answers its id.
    pub fn make(&self, nouns: &str, body: &Value) -> String {
        let answer = self.post(&format!("/v1/delivery/{nouns}"), body);
        assert_eq!(answer.status, 201, "{body}: {}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Makes a destination and a binding to it; answers the binding's id.
    pub fn bound(&self, url: &str, event_type: &str, more: Value) -> String {
        let destination = self.make("destinations", &destination(url));
        self.make("bindings", &binding(&destination, event_type, more))
    }

    /// Publishes an event; answers its id.
    pub fn publish(&self, event_type: &str, payload: &Value) -> String {
        let answer = self.post("/v1/delivery/events", &json!({"event_type": event_type, "payload": payload}));
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// What a path answers once it is as wanted.
    pub fn when(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let value = answer.json();
            if wanted(&value) {
                return value;
            }
            assert!(begun.elapsed() < PATIENCE, "{path} is still {value}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// A destination.
pub fn destination(url: &str) -> Value {
    json!({"name": "a receiver", "type": "webhook", "config": {"url": url}})
}

/// A binding to a destination, with `more` fields or others.
pub fn binding(destination: &str, event_type: &str, more: Value) -> Value {
    let mut binding = json!({
        "name": "a binding",
        "signal_filter": {"event_type": event_type},
        "deliverable_type": "event",
        "destination_id": destination,
        "serializer_format": "json",
    });
    binding.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    binding
}
