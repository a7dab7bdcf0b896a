//! Streams of the RPC API over real connections, read by the command line's own client.

use crate::common::{PATIENCE, Server};
use postrider_server::cli::client::{CallError, Client, Messages, Origin};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const MASTER: &str = "a-master-key-for-tests";
const WATCH: &str = "postrider.v1.LedgerService/WatchDeliveries";

async fn watch(server: &Server) -> Messages<Value> {
    let client = Client::new(&format!("http://{}", server.address), None).expect("a client");
    client.stream(WATCH, &json!({"limit": 10})).await.expect("a stream")
}

async fn next(messages: &mut Messages<Value>) -> Result<Option<Value>, CallError> {
    tokio::time::timeout(PATIENCE, messages.next()).await.expect("a message")
}

/// A stream that has nothing new to tell says so every 10 seconds.
#[tokio::test]
async fn limits_for_idle_connections_cut_no_stream_off() {
    let server = Server::dev(&["--header-timeout", "2s", "--idle-timeout", "2s"]);
    let mut messages = watch(&server).await;
    let begun = Instant::now();
    let mut told = 0;
    while begun.elapsed() < Duration::from_secs(12) {
        let message = next(&mut messages).await.expect("the stream is not cut off").expect("it goes on");
        assert!(message["at"].is_string(), "{message}");
        told += 1;
    }
    assert!(told >= 2, "{told}");
}

#[tokio::test]
async fn a_stop_tells_those_who_watch_and_waits_for_none() {
    // Half of this is for clients.
    let server = Server::dev(&["--shutdown-timeout", "60s"]);
    let mut read = watch(&server).await;
    let unread = watch(&server).await;
    assert!(next(&mut read).await.is_ok_and(|message| message.is_some()));
    let begun = Instant::now();
    server.signal(rustix::process::Signal::TERM);
    let told = loop {
        match next(&mut read).await {
            Ok(message) => assert!(message.is_some(), "it ends without a word"),
            Err(error) => break error,
        }
    };
    assert_eq!((told.code.as_str(), told.origin), ("unavailable", Origin::Server), "{told}");
    let status = tokio::task::spawn_blocking(move || server.ended()).await.expect("it ends");
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    drop(unread);
}

#[tokio::test]
async fn the_client_tells_what_is_wrong_with_a_key() {
    let server = Server::guarded(MASTER);
    let url = format!("http://{}", server.address);
    for (key, hint) in [(None, "give --key or POSTRIDER_KEY"), (Some("pr_wrong"), "give another one, by --key or POSTRIDER_KEY")] {
        let client = Client::new(&url, key).expect("a client");
        let asked = client.call::<_, Value>("postrider.v1.OverviewService/GetSession", &json!({})).await.expect_err("a refusal");
        let watched = client.stream::<_, Value>(WATCH, &json!({})).await.expect_err("a refusal");
        for error in [asked, watched] {
            assert_eq!((error.code.as_str(), error.origin), ("unauthenticated", Origin::Server), "{error}");
            assert!(error.to_string().ends_with(hint), "{error}");
        }
    }
    let client = Client::new(&url, Some(MASTER)).expect("a client");
    let session: Value = client.call("postrider.v1.OverviewService/GetSession", &json!({})).await.expect("an answer");
    assert!(session["scopes"].is_array(), "{session}");
    let refused = client.call::<_, Value>("postrider.v1.LedgerService/ExplainDelivery", &json!({"deliveryId": "x"})).await;
    assert_eq!(refused.expect_err("a refusal").code.as_str(), "invalid_argument");
}
