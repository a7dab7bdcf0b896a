//! The RPC API of a server, over Connect.

use super::{Answer, PATIENCE, Server};
use postrider_proto::Message;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Asks with one key, or with none.
pub struct Rpc<'s> {
    server: &'s Server,
    key: Option<String>,
    namespace: String,
}

impl<'s> Rpc<'s> {
    /// As the development mode lets everybody, in its namespace.
    pub fn of(server: &'s Server) -> Self {
        Rpc { server, key: None, namespace: String::from("default") }
    }

    /// With a key, in that namespace.
    pub fn with_key(server: &'s Server, key: &str, namespace: &str) -> Self {
        Rpc { server, key: Some(key.to_owned()), namespace: namespace.to_owned() }
    }

    /// Sends a body as it is to `Service/Method` of the package `webhook`, or to `postrider.v1.Service/Method`.
    pub fn send(&self, method: &str, media: &str, body: &[u8]) -> Answer {
        let key = self.key.as_deref().map(|key| ("x-api-key", key));
        let headers: Vec<_> = std::iter::once(("content-type", media)).chain(key).collect();
        let package = if method.starts_with("postrider.") { "" } else { "webhook." };
        self.server.call("POST", &format!("/{package}{method}"), &headers, body)
    }

    pub fn json(&self, method: &str, body: &Value) -> Answer {
        self.send(method, "application/json", body.to_string().as_bytes())
    }

    /// What a call answers that must succeed.
    pub fn ask(&self, method: &str, body: &Value) -> Value {
        let answer = self.json(method, body);
        assert_eq!(answer.status, 200, "{method} {body}: {}", answer.text());
        answer.json()
    }

    /// What a call answers once that is as wanted.
    pub fn ask_until(&self, method: &str, body: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.ask(method, body);
            if wanted(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{method} {body} is still {answer}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// What a call in binary answers that must succeed.
    pub fn ask_binary<A: Message>(&self, method: &str, request: &impl Message) -> A {
        let answer = self.send(method, "application/proto", &request.encode_to_vec());
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/proto")), "{method}: {}", answer.text());
        A::decode_from_slice(&answer.body).expect("a message")
    }

    /// The status, the code and the text of a call that must fail.
    pub fn refused(&self, method: &str, body: &Value) -> (u16, String, String) {
        let answer = self.json(method, body);
        assert_ne!(answer.status, 200, "{method} {body}: {}", answer.text());
        let text = |name: &str| answer.json()[name].as_str().expect("a text").to_owned();
        (answer.status, text("code"), text("message"))
    }

    /// Registers a webhook with these fields more; answers its id and the whole answer.
    pub fn register(&self, url: &str, more: Value) -> (String, Value) {
        let mut request = json!({"namespace": self.namespace, "url": url});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = self.ask("WebhookService/RegisterWebhook", &request);
        (answer["webhookId"].as_str().expect("an id").to_owned(), answer)
    }

    /// A webhook as the list shows it.
    pub fn webhook(&self, id: &str) -> Value {
        let listed = self.ask("WebhookService/ListWebhooks", &json!({"webhook_id": id}));
        assert_eq!(listed["pagination"]["totalCount"], 1, "{listed}");
        listed["webhooks"][0].clone()
    }

    /// Changes a webhook.
    pub fn update(&self, id: &str, updates: Value, mask: Option<&str>) -> Value {
        let mut request = json!({"webhook_id": id, "updates": updates});
        if let Some(mask) = mask {
            request["update_mask"] = json!(mask);
        }
        self.ask("WebhookService/UpdateWebhookConfig", &request)
    }
}
