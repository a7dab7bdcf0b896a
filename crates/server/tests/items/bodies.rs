//! Bodies of `/v1` that cannot be read at all: no JSON, no object, no text, another media type, too deep, too large.

use crate::common::Server;
use crate::common::items::{Api, binding, destination};
use serde_json::{Value, json};

const JSON: &str = "application/json";

/// What holds of every body, whatever is in it.
#[test]
fn bodies_that_cannot_be_read() {
    let flags = ["--max-body", "64KiB", "--rate-limit-read", "0", "--rate-limit-write", "0"];
    let master = "a-master-key-of-this-test";
    let server = Server::start(tempfile::tempdir().expect("a directory"), &flags, &[("POSTRIDER_BOOTSTRAP_KEY", master)]);
    let (key, _) = Api::with_key(&server, master).key(&json!({"namespace": "team", "scopes": ["admin"]}));
    let api = Api::with_key(&server, &key);
    let to = api.make("destinations", &destination("https://a.test/"));
    let bound = api.make("bindings", &binding(&to, "a.none", json!({})));
    let lists = ["delivery/events", "delivery/jobs", "delivery/destinations", "delivery/bindings", "keys"];
    let everything = || lists.map(|list| api.get(&format!("/v1/{list}")).json());
    let before = everything();
    let one = |nouns: &str, id: &str| format!("/v1/delivery/{nouns}/{id}");
    let doors = [
        ("POST", String::from("/v1/delivery/destinations")),
        ("PUT", one("destinations", &to)),
        ("POST", String::from("/v1/delivery/bindings")),
        ("PUT", one("bindings", &bound)),
        ("POST", one("bindings", &format!("{}/preview", bound))),
        ("POST", String::from("/v1/delivery/events")),
        ("POST", String::from("/v1/delivery/events/batch")),
        ("POST", String::from("/v1/delivery/dlq/replay")),
        ("POST", String::from("/v1/keys")),
    ];
    let deep = |levels: usize| format!("{{\"name\": {}{}}}", "[".repeat(levels), "]".repeat(levels)).into_bytes();
    let mut unreadable: Vec<Vec<u8>> = [
        &b"{"[..],
        b"nope",
        b"[1",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"{\"name\": \"\xff\"}",
        b"\xff\xfe{\0}\0",
        b"{'name': 1}",
        b"{\"name\": 01}",
        b" ",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    unreadable.extend([deep(128), deep(20_000)]);
    unreadable.extend([&b"3"[..], b"null", b"\"x\"", b"true", b"1e5"].map(<[u8]>::to_vec));
    for (method, path) in &doors {
        let refused = |media: &str, body: &[u8]| {
            let answer = server.call(method, path, &[("x-api-key", &key), ("content-type", media)], body);
            let value: Value = answer.json();
            assert_eq!(value["statusCode"], json!(answer.status));
            (answer.status, value["code"].as_str().expect("a code").to_owned(), value["details"][0]["path"].as_str().map(str::to_owned))
        };
        let is_batch = path.ends_with("/batch");
        let whole = (400, String::from("validation_error"), Some(String::new()));
        for body in &unreadable {
            assert_eq!(refused(JSON, body), whole, "{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(40)]));
        }
        assert_eq!(refused(JSON, if is_batch { b"{}" } else { b"[]" }), whole, "{method} {path}");
        if !path.ends_with("/preview") {
            assert_eq!(refused(JSON, b""), whole, "{method} {path}");
        }
        for media in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "json", "\u{e9}"]
        {
            assert_eq!(refused(media, b"{}"), (415, String::from("unsupported_media_type"), None), "{method} {path} {media}");
        }
        let large = vec![b' '; (64 << 10) + 1];
        assert_eq!(refused(JSON, &large), (413, String::from("payload_too_large"), None), "{method} {path}");
    }
    assert_eq!(everything(), before, "nothing is stored");
}
