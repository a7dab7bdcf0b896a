//! How often a key may ask: exactly as often as its buckets say, however many ask at once.

use crate::common;

use crate::common::items::Api;
use crate::common::{Answer, Client, Server};
use postrider_core::time::Timestamp;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Duration;
use tokio::time::Instant;

const MASTER: &str = "a-master-key-of-this-test";

const READ: u32 = 5;

const WRITE: u32 = 3;

const PUBLISH: u32 = 4;

/// Threads that ask at once, each this often.
const THREADS: usize = 8;

const EACH: usize = 4;

fn start() -> Server {
    let [read, write, publish] = [READ, WRITE, PUBLISH].map(|limit| limit.to_string());
    let flags = ["--rate-limit-read", &read, "--rate-limit-write", &write, "--rate-limit-publish", &publish];
    Server::start(tempfile::tempdir().expect("a directory"), &flags, &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)])
}

fn number(answer: &Answer, name: &str) -> u64 {
    let text = answer.header(name).unwrap_or_else(|| panic!("no {name}: {}", answer.text()));
    text.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
}

/// A way to ask, and how often a second that is allowed.
struct Way {
    method: &'static str,
    path: &'static str,
    body: Value,
    limit: u32,
}

fn ways() -> [Way; 3] {
    let way = |method, path, body, limit| Way { method, path, body, limit };
    [
        way("GET", "/v1/delivery/items", Value::Null, READ),
        way("DELETE", "/v1/delivery/bindings/00000000-0000-4000-8000-000000000000", Value::Null, WRITE),
        way("POST", "/v1/delivery/events", json!({"event_type": "a.b", "payload": {}}), PUBLISH),
    ]
}

/// Asks from many threads at once, as often as each of them may twice over; answers all answers, and how long it took.
fn burst(address: SocketAddr, key: &str, way: &Way) -> (Vec<Answer>, Duration) {
    let body = if way.body.is_null() { Vec::new() } else { way.body.to_string().into_bytes() };
    let begin = Barrier::new(THREADS);
    let begun = Instant::now();
    let one = || {
        let client = Client::new(address);
        begin.wait();
        let ask = || client.call(way.method, way.path, &[("x-api-key", key), ("content-type", "application/json")], &body);
        (0..EACH).map(|_| ask()).collect::<Vec<_>>()
    };
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    (answers, begun.elapsed())
}

/// What comes back while a bucket is filled again is counted, so that a slow machine changes nothing: it is none on a fast one.
fn check(way: &Way, answers: &[Answer], took: Duration) {
    let (refused, passed): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 429);
    let refilled = (took.as_secs_f64() * f64::from(way.limit)).floor() as usize;
    let least = way.limit as usize;
    let (asked, most) = (answers.len(), least + refilled);
    assert!((least..=most).contains(&passed.len()), "{} of {asked} passed in {took:?}, not {least} to {most}", passed.len());
    for answer in answers {
        assert_eq!(number(answer, "x-ratelimit-limit"), u64::from(way.limit));
        assert!(number(answer, "x-ratelimit-remaining") < u64::from(way.limit));
    }
    if refilled == 0 {
        let mut left: Vec<u64> = passed.iter().map(|answer| number(answer, "x-ratelimit-remaining")).collect();
        left.sort_unstable();
        assert_eq!(left, (0..u64::from(way.limit)).collect::<Vec<_>>(), "each of them takes one");
    }
    for answer in refused {
        let value = answer.json();
        let found = (&value["statusCode"], &value["code"], &value["retryable"]);
        assert_eq!(found, (&json!(429), &json!("rate_limited"), &json!(true)), "{value}");
        // Until there is a token again it takes less than a second with these limits.
        assert_eq!((number(answer, "retry-after"), number(answer, "x-ratelimit-remaining")), (1, 0));
        // The bucket is full again within a second of this answer, said in whole seconds.
        let at = value["timestamp"].as_str().and_then(Timestamp::parse_rfc3339).expect("a time").as_micros() / 1_000_000;
        let reset = i64::try_from(number(answer, "x-ratelimit-reset")).expect("seconds");
        assert!((at..=at + 2).contains(&reset), "{reset} at {at}");
    }
}

#[test]
fn many_at_once_get_exactly_what_the_bucket_holds() {
    let server = start();
    for way in ways() {
        let (key, _) = Api::with_key(&server, MASTER).key(&json!({"namespace": "team"}));
        let (answers, took) = burst(server.address, &key, &way);
        check(&way, &answers, took);
    }
}

#[test]
fn reading_writing_and_publishing_have_buckets_of_their_own_and_so_have_keys() {
    let server = start();
    let master = Api::with_key(&server, MASTER);
    let keys = [(); 2].map(|()| master.key(&json!({"namespace": "team"})).0);
    let (ways, address) = (ways(), server.address);
    // All six at once: none takes from another.
    let bursts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = keys.iter().flat_map(|key| ways.iter().map(move |way| (key, way))).collect();
        let threads: Vec<_> = threads.into_iter().map(|(key, way)| scope.spawn(move || (way, burst(address, key, way)))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
    });
    for (way, (answers, took)) in bursts {
        check(way, &answers, took);
    }
}

/// Every documented endpoint of the published page answers 429 like this, whatever else may be wrong with the request.
#[test]
fn the_endpoints_of_the_published_page_are_limited() {
    let server = start();
    let id = "00000000-0000-4000-8000-000000000000";
    for (method, path, status) in [
        ("GET", String::from("/v1/delivery/items"), 200),
        ("GET", format!("/v1/delivery/items/{id}"), 404),
        ("POST", format!("/v1/delivery/items/{id}/replay"), 404),
    ] {
        let (key, _) = Api::with_key(&server, MASTER).key(&json!({"namespace": "team"}));
        let api = Api::with_key(&server, &key);
        let begun = Instant::now();
        let refused = loop {
            let answer = api.call(method, &path, &Value::Null);
            if answer.status == 429 {
                break answer;
            }
            assert_eq!(answer.status, status, "{}", answer.text());
            assert!(begun.elapsed() < common::PATIENCE, "{method} {path} is never refused");
        };
        assert_eq!((&refused.json()["code"], refused.header("retry-after")), (&json!("rate_limited"), Some("1")), "{method} {path}");
        for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
            number(&refused, name);
        }
    }
}

/// Who shows no good key has no bucket, and who lacks the scope pays for asking.
#[test]
fn only_good_keys_have_buckets() {
    let server = start();
    let nobody = server.get("/v1/delivery/items");
    assert_eq!((nobody.status, nobody.header("x-ratelimit-limit")), (401, None));
    let wrong = Api::with_key(&server, "wrong").get("/v1/delivery/items");
    assert_eq!((wrong.status, wrong.header("x-ratelimit-limit")), (401, None));
    let (key, _) = Api::with_key(&server, MASTER).key(&json!({"namespace": "team", "scopes": ["write"]}));
    let (answers, took) = burst(server.address, &key, &ways()[0]);
    assert!(answers.iter().all(|answer| matches!(answer.status, 403 | 429)));
    check(&ways()[0], &answers, took);
}
