//! What an exchange costs: makes N of them over kept connections to a local server and prints the CPU time of each, both sides together.
//!
//! `cargo run --release -p postrider-outbound --example exchange_cost -- [exchanges] [lanes] [body bytes]`
#![allow(clippy::print_stdout)]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use postrider_core::guard::Guard;
use postrider_core::ports::{Clock, Outgoing, Target, Transport};
use postrider_core::time::Timestamp;
use postrider_outbound::{Outbound, OutboundConfig};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(0)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let exchanges = arguments.next().transpose()?.unwrap_or(200_000);
    let lanes = arguments.next().transpose()?.unwrap_or(16);
    let body = Bytes::from(vec![b'x'; arguments.next().transpose()?.unwrap_or(512)]);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));

    let guard = Guard::new(vec!["127.0.0.0/8".parse()?], false);
    let outbound = Outbound::new(OutboundConfig::new(Arc::new(guard), Arc::new(Epoch)))?;
    let target = Arc::new(Target {
        https: false,
        host: address.ip().to_string(),
        port: address.port(),
        path_and_query: "/hook".into(),
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        follow_redirects: false,
        verify_tls: true,
        response_cap: 1024,
    });
    let headers = headers();

    let mut running = JoinSet::new();
    let (cpu, began) = (cpu_micros()?, Instant::now());
    for _ in 0..lanes {
        let mut lane = outbound.lane(&target);
        let (headers, body, share) = (headers.clone(), body.clone(), exchanges / lanes);
        running.spawn(async move {
            for _ in 0..share {
                let request = Outgoing { method: Method::POST, headers: headers.clone(), body: body.clone() };
                let exchange = lane.exchange(request).await;
                assert_eq!(exchange.result.map(|response| response.status), Ok(200));
            }
        });
    }
    while let Some(finished) = running.join_next().await {
        finished?;
    }
    let (cpu, wall) = (cpu_micros()? - cpu, began.elapsed());
    let made = (exchanges / lanes * lanes) as f64;
    println!(
        "{made} exchanges, {lanes} lanes: {:.1} us CPU each (client, server and kernel), {:.0}/s",
        cpu / made,
        made / wall.as_secs_f64()
    );
    Ok(())
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let answer = service_fn(|request: Request<Incoming>| async move {
            request.into_body().collect().await?;
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

/// About as many headers as a signed delivery has.
fn headers() -> HeaderMap {
    let names = ["content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature", "idempotency-key"];
    let more = ["x-postrider-event", "x-postrider-event-id", "x-postrider-delivery-id", "x-postrider-attempt", "x-postrider-signature"];
    let value = HeaderValue::from_static("0195f1d2-7a31-7c4e-9d53-5a1c2b3d4e5f");
    names.into_iter().chain(more).map(|name| (HeaderName::from_static(name), value.clone())).collect()
}

/// CPU time of this process so far, in microseconds, from the kernel's accounts.
fn cpu_micros() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanos: f64 = text.split_whitespace().next().ok_or("an empty account")?.parse()?;
    Ok(nanos / 1000.0)
}
