//! Secrets are planted wherever one can be given, and looked for wherever one could come out: files, log, answers.

use crate::common;

use crate::common::items::{Api, binding};
use crate::common::{Answer, Receiver, Server, hub_signature, run};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use postrider_core::hex;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::Path;

const FLAGS: [&str; 4] = ["--allow-network", "127.0.0.0/8", "--log", "trace"];

/// What was planted, and all that was answered.
#[derive(Default)]
struct Garden {
    planted: RefCell<Vec<(String, Vec<String>)>>,
    heard: RefCell<String>,
}

impl Garden {
    /// A new secret.
    fn plant(&self, what: &str) -> String {
        let secret = format!("pl4nted.{}.{}", self.planted.borrow().len(), what.replace(' ', "-"));
        self.guard(what, secret.as_bytes());
        secret
    }

    /// A secret that came from elsewhere.
    fn guard(&self, what: &str, secret: &[u8]) {
        let mut spellings = vec![STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret), hex::encode(secret)];
        spellings.extend(String::from_utf8(secret.to_vec()));
        self.planted.borrow_mut().push((what.to_owned(), spellings));
    }

    /// A key of secrets, as `POSTRIDER_SECRETS_KEY` has it.
    fn secrets_key(&self, id: &str, byte: u8) -> String {
        let bytes: Vec<u8> = (0..32).map(|n| byte.wrapping_mul(31).wrapping_add(n * 7)).collect();
        self.guard("key of secrets", &bytes);
        format!("{id}={}", hex::encode(&bytes))
    }

    fn hear(&self, text: &str) {
        let mut heard = self.heard.borrow_mut();
        heard.push_str(text);
        heard.push('\n');
    }

    fn ask(&self, server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let answer = server.call(method, path, headers, body.as_bytes());
        self.hear(&format!("{method} {path} {}\n{:?}\n{}", answer.status, answer.headers, answer.text()));
        answer
    }

    /// Runs the binary; both of its outputs are heard.
    fn run(&self, arguments: &[&str], directory: &Path, environment: &[(&str, &str)]) -> bool {
        let (status, out, talk) = run(arguments, directory, environment);
        self.hear(&format!("{arguments:?}\n{out}\n{talk}"));
        status.success()
    }

    /// The first secret in a text, and what stands before it.
    fn find<'t>(&self, text: &'t str) -> Option<(String, &'t str)> {
        self.planted.borrow().iter().find_map(|(what, spellings)| {
            let at = spellings.iter().find_map(|spelling| text.find(spelling.as_str()))?;
            let begin = text[..at].char_indices().rev().nth(300).map_or(0, |(at, _)| at);
            Some((what.clone(), &text[begin..at]))
        })
    }

    fn assert_none_in(&self, place: &str, text: &str) {
        assert_eq!(self.find(text), None, "{place}");
    }

    fn assert_none_in_files(&self, directory: &Path) {
        let mut files = 0;
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.assert_none_in_files(&path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file");
            files += usize::from(!bytes.is_empty());
            self.assert_none_in(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
        assert!(files > 0 || !directory.ends_with("data"), "{} holds nothing to look at", directory.display());
    }

    fn assert_none_was_heard(&self) {
        self.assert_none_in("answers", &self.heard.borrow());
    }
}

/// Asks with a key, and hears.
struct Asker<'a> {
    garden: &'a Garden,
    server: &'a Server,
    key: &'a str,
}

impl Asker<'_> {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.raw(method, path, &text)
    }

    fn raw(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        self.garden.ask(self.server, method, path, &[("authorization", &bearer), ("content-type", "application/json")], body)
    }

    fn make(&self, nouns: &str, body: &Value) -> String {
        let answer = self.ask("POST", &format!("/v1/delivery/{nouns}"), body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Looks at all that there is.
    fn look_at_everything(&self) {
        for list in
            ["delivery/events", "delivery/items", "delivery/dlq", "delivery/jobs", "delivery/destinations", "delivery/bindings", "keys"]
        {
            let path = format!("/v1/{list}");
            let answer = self.ask("GET", &format!("{path}?limit=500"), &Value::Null);
            let listed = answer.json();
            let entries = listed["data"].as_array().or(listed["items"].as_array()).expect("entries");
            assert!(!entries.is_empty() || list.ends_with("jobs"), "{list} is empty");
            for entry in entries {
                let path = format!("{path}/{}", entry["id"].as_str().expect("an id"));
                assert_eq!(self.ask("GET", &path, &Value::Null).status, 200, "{path}");
            }
        }
        for path in ["/subscriptions", "/scheduled", "/openapi.json", "/"] {
            let answer = self.ask("GET", path, &Value::Null);
            assert!(answer.status < 500, "{path}: {}", answer.text());
        }
    }
}

fn to(url: &str, more: Value) -> Value {
    let mut body = common::items::destination(url);
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

fn credentials(garden: &Garden) -> Vec<Value> {
    let (user, password) = (garden.plant("user name"), garden.plant("password"));
    garden.guard("basic credentials", format!("{user}:{password}").as_bytes());
    let standard = garden.plant("standard webhooks secret");
    vec![
        json!({"auth_config": {"type": "bearer", "token": garden.plant("token")}, "signing_secret": garden.plant("signing secret")}),
        json!({
            "auth_config": {"type": "basic", "username": user, "password": password},
            "signing_secret": format!("whsec_{}", STANDARD.encode(standard)),
        }),
        json!({"auth_config": {"type": "api_key", "api_key": garden.plant("API key"), "header_name": "X-Service"}}),
        json!({"auth_config": {"type": "api_key", "api_key": garden.plant("API key as authorization"), "header_name": "Authorization"}}),
    ]
}

fn headers(garden: &Garden) -> Value {
    let names = ["X-Auth-Token", "X-Gitlab-Secret", "Cookie", "X-Signature-Seed", "X-Password", "X-Credential", "Ocp-Subscription-Key"];
    names.map(|name| (name.to_owned(), json!(garden.plant(name)))).into_iter().collect::<serde_json::Map<_, _>>().into()
}

/// Requests that are refused, each with secrets in it.
fn refused(garden: &Garden, asker: &Asker<'_>, path: &str) {
    let url = "http://127.0.0.1:9/";
    let planted = |what: &str| garden.plant(what);
    for body in [
        json!({"auth_config": {"type": "bearer", "token": format!("{} x", planted("token with a space"))}}),
        json!({"auth_config": {"type": "bearer", "token": {"x": planted("token of a wrong type")}}}),
        json!({"auth_config": {"type": "bearer", "password": planted("password of a wrong kind")}}),
        json!({"auth_config": {"type": "basic", "username": "a:b", "password": planted("password with a wrong name")}}),
        json!({"auth_config": {"type": "basic", "username": "a", "password": format!("{}\n", planted("password with a break"))}}),
        json!({"auth_config": {"type": "api_key", "api_key": planted("key for a wrong header"), "header_name": "Host"}}),
        json!({"auth_config": {"type": "api_key", "api_key": format!("{}\n", planted("key with a break"))}}),
        json!({"auth_config": {"type": "oauth", "api_key": planted("key of an unknown kind")}}),
        json!({"auth_config": planted("credentials as a text")}),
        json!({"signing_secret": [planted("secret in a list")]}),
        json!({"signing_secret": format!("whsec_!{}", planted("secret that is no Base64"))}),
        json!({"signing_secret": format!("{}{}", planted("long secret"), "x".repeat(1_024))}),
        json!({"config": {"headers": {"X-Token": format!("{}\r\nX-B: c", planted("header with a break"))}}}),
        json!({"config": {"headers": {"X-Token": [planted("header of a wrong type")]}}}),
        json!({"config": {"headers": {"Host": planted("forbidden header")}}}),
        json!({"config": {"url": format!("https://user:{}@a.test/", planted("password in a URL"))}}),
        json!({"signing_secret": planted("secret beside a mistake"), "name": 7}),
        json!({"secret": planted("secret in an unknown field")}),
    ] {
        let answer = asker.ask("PUT", path, &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        if let Some(config) = body.get("config") {
            let mut config = config.clone();
            config["url"] = config.get("url").cloned().unwrap_or_else(|| json!(url));
            let made = asker.ask("POST", "/v1/delivery/destinations", &json!({"name": "n", "type": "webhook", "config": config}));
            assert_eq!(made.status, 400, "{config}: {}", made.text());
        }
    }
    let cut = format!("{{\"signing_secret\": \"{}", planted("secret in a body that is cut off"));
    let twice = format!("{{\"signing_secret\": \"a\", \"signing_secret\": \"{}\"}}", planted("secret that is there twice"));
    let doubled =
        format!("{{\"config\": {{\"headers\": {{\"X-Token\": \"a\", \"X-Token\": \"{}\"}}}}}}", planted("header that is there twice"));
    for body in [cut, twice, doubled] {
        assert_eq!(asker.raw("PUT", path, &body).status, 400);
    }
    let wrong = planted("wrong API key");
    for header in [("authorization", format!("Bearer {wrong}")), ("authorization", format!("Basic {wrong}")), ("x-api-key", wrong.clone())]
    {
        assert_eq!(garden.ask(asker.server, "GET", path, &[(header.0, &header.1)], "").status, 401);
    }
}

/// Destinations with every kind of secret, tried, previewed, delivered to with and without success, and changed.
fn destinations(garden: &Garden, asker: &Asker<'_>, good: &Receiver) {
    let api = Api::with_key(asker.server, asker.key);
    let (bad, refusing) = (Receiver::answering(500), Receiver::answering(401));
    let mut tried = 0;
    for (n, secrets) in credentials(garden).into_iter().enumerate() {
        for (url, event_type) in
            [(good.url.as_str(), "a.good"), (&bad.url, "a.bad"), (&refusing.url, "a.refused"), ("http://127.0.0.1:1/", "a.nowhere")]
        {
            let mut body = to(url, secrets.clone());
            body["config"]["headers"] = if n == 0 { headers(garden) } else { json!({}) };
            let id = asker.make("destinations", &body);
            let policy = json!({"delivery_policy": {"max_attempts": 1}});
            let bound = asker.make("bindings", &binding(&id, event_type, policy));
            let path = format!("/v1/delivery/destinations/{id}");
            assert_eq!(asker.ask("POST", &format!("{path}/test"), &Value::Null).status, 200);
            assert_eq!(asker.ask("POST", &format!("/v1/delivery/bindings/{bound}/preview"), &Value::Null).status, 200);
            tried += 1;
        }
    }
    for event_type in ["a.good", "a.bad", "a.refused", "a.nowhere"] {
        assert_eq!(asker.ask("POST", "/v1/delivery/events", &json!({"event_type": event_type, "payload": {"n": 1}})).status, 202);
    }
    // Beside that of the subscription.
    api.when("/v1/delivery/items?limit=1", |list| list["total"] == tried + 1);
    api.when("/v1/delivery/items?status=in_flight", |list| list["total"] == 0);
    api.when("/v1/delivery/dlq?limit=1", |list| list["total"] == tried * 3 / 4);
    let shown = asker.ask("GET", "/v1/delivery/destinations?limit=500", &Value::Null).json();
    for (n, destination) in shown["data"].as_array().expect("destinations").iter().enumerate() {
        let path = format!("/v1/delivery/destinations/{}", destination["id"].as_str().expect("an id"));
        // What is shown, sent back; other secrets; and none.
        assert_eq!(asker.ask("PUT", &path, &json!({"config": destination["config"]})).status, 200);
        let new =
            json!({"auth_config": {"type": "bearer", "token": garden.plant("new token")}, "signing_secret": garden.plant("new secret")});
        assert_eq!(asker.ask("PUT", &path, &new).status, 200);
        if n % 4 == 0 {
            assert_eq!(asker.ask("PUT", &path, &json!({"auth_config": null, "signing_secret": null})).status, 200);
        }
    }
    let first = asker.make("destinations", &to(&good.url, json!({"signing_secret": garden.plant("secret before mistakes")})));
    refused(garden, asker, &format!("/v1/delivery/destinations/{first}"));
}

/// The same through the Tasks API.
fn subscriptions(garden: &Garden, asker: &Asker<'_>, good: &Receiver) {
    let secret = garden.plant("secret of a subscription");
    let before = good.count();
    let made = asker.ask("POST", "/subscriptions", &json!({"target_url": good.url, "secret": secret}));
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let bearer = format!("Bearer {}", asker.key);
    let signature = hub_signature(&secret, b"{}");
    for (signature, status) in [(signature.as_str(), 202), ("sha256=00", 401)] {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json"), ("x-hub-signature-256", signature)];
        let answer = garden.ask(asker.server, "POST", &format!("/ingest/{id}"), &headers, "{}");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let request = &good.wait_for(before + 1)[before];
    assert_eq!(request.headers["x-hub-signature-256"], signature, "it is used");
    let path = format!("/subscriptions/{id}");
    assert_eq!(asker.ask("PUT", &path, &json!({"secret": garden.plant("new secret of a subscription")})).status, 204);
    let bad = [
        json!({"secret": [garden.plant("subscription's secret in a list")]}),
        json!({"secret": format!("whsec_!{}", garden.plant("subscription's secret that is no Base64"))}),
        json!({"secret": format!("{}{}", garden.plant("subscription's long secret"), "x".repeat(1_024))}),
        json!({"target_url": format!("https://user:{}@a.test/", garden.plant("subscription's password in a URL"))}),
        json!({"signing_secret": garden.plant("subscription's secret in an unknown field")}),
    ];
    for body in bad {
        assert_eq!(asker.ask("PUT", &path, &body).status, 400, "{body}");
    }
    assert_eq!(asker.ask("GET", &path, &Value::Null).status, 200);
    assert_eq!(asker.ask("PUT", &path, &json!({"event_types": "nothing.more"})).status, 204);
}

/// Over HTTP/2, whose library tells the log more than others.
#[tokio::main(flavor = "current_thread")]
async fn over_http2(garden: &Garden, asker: &Asker<'_>) {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let stream = tokio::net::TcpStream::connect(asker.server.address).await.expect("the server listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    let driver = tokio::spawn(connection);
    for (key, status) in [(asker.key.to_owned(), 201), (garden.plant("wrong key over HTTP 2"), 401)] {
        let body = to("https://a.test/", json!({"signing_secret": garden.plant("signing secret over HTTP 2")})).to_string();
        let request = http::Request::post(format!("http://{}/v1/delivery/destinations", asker.server.address))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(body)))
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), status);
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        garden.hear(&format!("{:?}\n{}", head.headers, String::from_utf8_lossy(&body)));
    }
    drop(sender);
    driver.await.expect("no panic").expect("a clean end");
}

/// Makes an API key. Its one answer is not among those that are looked through, and neither is the same answer given again.
fn key(garden: &Garden, server: &Server, master: &str) -> String {
    let headers = [("x-api-key", master), ("content-type", "application/json"), ("idempotency-key", "make")];
    let body = json!({"name": "team", "namespace": "team", "scopes": ["admin"]}).to_string();
    let [first, again] = [(); 2].map(|()| server.call("POST", "/v1/keys", &headers, body.as_bytes()));
    assert_eq!((first.status, first.json()), (201, again.json()));
    assert_eq!((first.header("cache-control"), again.header("cache-control")), (Some("no-store"), Some("no-store")));
    let key = first.json()["key"].as_str().expect("a key").to_owned();
    garden.guard("API key that was made", key.as_bytes());
    assert!(!format!("{:?}{:?}", first.headers, again.headers).contains(&key));
    key
}

#[test]
fn what_is_planted_is_found_in_each_spelling() {
    let garden = Garden::default();
    let secret = garden.plant("token");
    for spelling in [secret.clone(), STANDARD.encode(&secret), URL_SAFE_NO_PAD.encode(&secret), hex::encode(secret.as_bytes())] {
        assert_eq!(garden.find(&format!("before {spelling} after")), Some((String::from("token"), "before ")), "{spelling}");
    }
    assert_eq!(garden.find("before and after"), None);
}

#[test]
fn no_secret_is_in_a_file_a_log_or_an_answer() {
    let garden = Garden::default();
    let master = garden.plant("bootstrap key");
    let (old, new) = (garden.secrets_key("old", 3), garden.secrets_key("new", 5));
    let both = format!("{new},{old}");
    let good = Receiver::answering(200);
    let environment = [("POSTRIDER_BOOTSTRAP_KEY", master.as_str()), ("POSTRIDER_SECRETS_KEY", &old)];
    let server = Server::start(tempfile::tempdir().expect("a directory"), &FLAGS, &environment);
    let team = key(&garden, &server, &master);
    let asker = Asker { garden: &garden, server: &server, key: &team };
    subscriptions(&garden, &asker, &good);
    destinations(&garden, &asker, &good);
    over_http2(&garden, &asker);
    asker.look_at_everything();
    Asker { key: &master, ..asker }.look_at_everything();
    garden.assert_none_in_files(server.directory.path());

    // Under another key of secrets, in the same process and in the next.
    let data = server.data_dir();
    let data = data.to_str().expect("a path");
    assert!(garden.run(&["secrets", "rotate", "--data-dir", data], server.directory.path(), &[("POSTRIDER_SECRETS_KEY", &both)]));
    for arguments in [
        &["secrets", "list", "--data-dir", data][..],
        &["keys", "list", "--data-dir", data],
        &["keys", "list", "--json", "--data-dir", data],
    ] {
        assert!(garden.run(arguments, server.directory.path(), &[("POSTRIDER_SECRETS_KEY", &both)]), "{arguments:?}");
    }
    let (directory, said) = server.stop_and_tell();
    garden.assert_none_in("the first log", &said.join("\n"));
    for line in ["TRACE", "DEBUG request", "stopping"] {
        assert!(said.iter().any(|said| said.contains(line)), "it tells what it can, and all of that was read: no {line}");
    }

    let environment = [("POSTRIDER_BOOTSTRAP_KEY", master.as_str()), ("POSTRIDER_SECRETS_KEY", &both)];
    let server = Server::start(directory, &FLAGS, &environment);
    let asker = Asker { garden: &garden, server: &server, key: &team };
    // Three of the four that lead there have credentials still; the signatures and headers are made with what was kept.
    let before = good.count();
    assert_eq!(asker.ask("POST", "/v1/delivery/events", &json!({"event_type": "a.good", "payload": {"n": 2}})).status, 202);
    let received = good.wait_for(before + 4);
    let sent: Vec<_> = received[before..].iter().filter_map(|request| request.headers.get("authorization")).collect();
    assert!(sent.iter().any(|value| value.contains("new-token")), "they are used: {sent:?}");
    assert!(received.iter().any(|request| request.headers.get("x-auth-token").is_some_and(|value| value.contains("pl4nted"))));
    asker.look_at_everything();
    let (directory, said) = server.stop_and_tell();
    garden.assert_none_in("the second log", &said.join("\n"));
    garden.assert_none_in_files(directory.path());

    // Without the right keys, and with such that are none.
    let server = Server::start(directory, &FLAGS, &[("POSTRIDER_SECRETS_KEY", garden.secrets_key("other", 11).as_str())]);
    Asker { garden: &garden, server: &server, key: &team }.look_at_everything();
    let (directory, said) = server.stop_and_tell();
    assert!(said.iter().any(|line| line.contains("cannot be read")), "the log says that secrets cannot be opened");
    garden.assert_none_in("the third log", &said.join("\n"));
    let bad = format!("bad={}", garden.plant("malformed key of secrets"));
    let short = garden.plant("short");
    for (name, value) in [("POSTRIDER_SECRETS_KEY", bad.as_str()), ("POSTRIDER_SECRETS_KEY", &short), ("POSTRIDER_BOOTSTRAP_KEY", "x")] {
        assert!(!garden.run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"], directory.path(), &[(name, value)]), "{name}");
    }
    assert!(garden.run(&["serve", "--check-config", "--data-dir", "data"], directory.path(), &environment));
    garden.assert_none_was_heard();
}
