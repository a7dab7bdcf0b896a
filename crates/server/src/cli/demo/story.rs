//! What happens in the demonstration: three receivers, a shop's events, a billing system that is down at first.

use super::board::{Board, Party};
use crate::cli::CommandError;
use crate::cli::bench::client::{Target, connect_once};
use crate::clock::SystemClock;
use crate::receiver::{Behaviour, Fault, Faults, Receiver, Settings, Verdict, Verifier};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The receivers' signing secret; of this demonstration only.
const SECRET: &str = "whsec_cG9zdHJpZGVyLWRlbW8tc2VjcmV0LWtleQ==";

/// How many of its first requests the billing system answers 503; with few events two of each, so that it does not take long.
const BILLING_FAILS: u64 = 9;

/// What the shop publishes, again and again.
const EVENTS: [(&str, &str); 4] = [
    ("order.created", r#"{"customer": "Ada", "total": 49.50, "items": 3}"#),
    ("order.paid", r#"{"customer": "Ada", "method": "card", "total": 49.50}"#),
    ("order.shipped", r#"{"customer": "Ada", "carrier": "post", "parcels": 1}"#),
    ("customer.updated", r#"{"customer": "Ada", "city": "Turin"}"#),
];

/// Sets everything up and publishes all events. What comes of them is on the board.
pub(super) async fn act(
    server: SocketAddr,
    key: String,
    events: u32,
    pause: Duration,
    board: Arc<Mutex<Board>>,
) -> Result<(), CommandError> {
    let target = Target::find(&format!("http://{server}"), Some(&key)).await?;
    let mut subscriptions = Vec::new();
    for party in Party::ALL {
        subscriptions.push(receive(party, events, Arc::clone(&board)).await?);
    }
    for url in subscriptions {
        let body = serde_json::json!({ "target_url": url, "secret": SECRET });
        post(&target, "/subscriptions", body.to_string(), StatusCode::CREATED).await?;
    }
    for number in 0..events {
        let (event_type, payload) = EVENTS[number as usize % EVENTS.len()];
        let body = format!(r#"{{"event_type": "{event_type}", "payload": {{"number": {number}, "data": {payload}}}}}"#);
        // Before the answer: a delivery may arrive sooner than it does.
        board.lock().accepted(number as usize, event_type);
        post(&target, "/v1/delivery/events", body, StatusCode::ACCEPTED).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// Starts a receiver that notes on the board what comes; answers its URL.
async fn receive(party: Party, events: u32, board: Arc<Mutex<Board>>) -> Result<String, CommandError> {
    let cannot = |error| CommandError::new("cannot start a receiver", error);
    let behaviour = match party {
        Party::Shop => Behaviour::default(),
        Party::Billing => Behaviour {
            faults: Faults::First(BILLING_FAILS.min(2 * u64::from(events))),
            fault: Fault::Status(StatusCode::SERVICE_UNAVAILABLE),
            ..Behaviour::default()
        },
        Party::Analytics => Behaviour { delay: Duration::from_millis(400), ..Behaviour::default() },
    };
    let verifier = Verifier::new(&[SECRET.to_owned()], None).map_err(|error| CommandError::new("the demonstration's secret", error))?;
    let settings = Settings { path: None, behaviour, forward: None, verifier, clock: Arc::new(SystemClock) };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
    let mut receiver = Receiver::start(listener, settings).map_err(cannot)?;
    let url = format!("http://{}/", receiver.address());
    tokio::spawn(async move {
        while let Some(received) = receiver.next().await {
            let body: serde_json::Value = serde_json::from_slice(&received.body).unwrap_or_default();
            let Some(number) = body["number"].as_u64() else { continue };
            let verified = !received.signatures.is_empty() && received.signatures.iter().all(|s| s.verdict == Verdict::Ok);
            let answer = if let crate::receiver::Reply::Status(status) = received.reply { status.as_u16() } else { 0 };
            board.lock().received(party, usize::try_from(number).unwrap_or(usize::MAX), answer, verified);
        }
    });
    Ok(url)
}

async fn post(target: &Target, path: &'static str, body: String, expected: StatusCode) -> Result<(), CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::new(format_args!("POST {path}"), error);
    let mut sender = connect_once(target.address).await?;
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
    *request.headers_mut() = target.headers.clone();
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
    if status == expected { Ok(()) } else { Err(failed(&format_args!("{status}: {}", String::from_utf8_lossy(&body)))) }
}
