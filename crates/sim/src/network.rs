//! The network and the receivers behind it. Receivers keep a log of every request.

use crate::Sabotage;
use crate::process::Process;
use crate::records::{Answer, Exchanged};
use crate::scenario::Manner;
use crate::store::pass;
use bytes::Bytes;
use http::HeaderMap;
use postrider_core::attempt::{HeadBlock, Phases};
use postrider_core::id::DeliveryId;
use postrider_core::ports::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The network as one process sees it.
pub(crate) struct FakeTransport {
    process: Process,
    /// With [`Sabotage::OneAtATime`] every exchange passes here.
    bottleneck: Arc<tokio::sync::Mutex<()>>,
}

impl FakeTransport {
    pub(crate) fn new(process: &Process) -> Self {
        FakeTransport { process: process.clone(), bottleneck: Arc::default() }
    }
}

impl Transport for FakeTransport {
    fn lane(&self, target: &Arc<Target>) -> Box<dyn Lane> {
        Box::new(FakeLane {
            process: self.process.clone(),
            bottleneck: Arc::clone(&self.bottleneck),
            receiver: receiver_of(&target.host),
            timeout: target.timeout,
        })
    }
}

/// The number in `r7.test`.
fn receiver_of(host: &str) -> usize {
    let number = host.strip_prefix('r').and_then(|h| h.strip_suffix(".test"));
    number.and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
}

struct FakeLane {
    process: Process,
    bottleneck: Arc<tokio::sync::Mutex<()>>,
    receiver: usize,
    timeout: Duration,
}

impl Lane for FakeLane {
    fn exchange(&mut self, request: Outgoing) -> BoxFuture<'_, Exchange> {
        Box::pin(async move {
            let began = Instant::now();
            let sabotage = self.process.options.sabotage;
            self.process.step().await;
            let turn = async { if sabotage == Some(Sabotage::OneAtATime) { Some(self.bottleneck.lock().await) } else { None } };
            let _turn = turn.await;
            if sabotage == Some(Sabotage::RepeatsRequests) {
                self.exchanged(&request, began).await;
            }
            self.exchanged(&request, began).await
        })
    }
}

/// An exchange of which the engine wants to know what comes back, until it is dropped.
struct UnderWay<'a> {
    process: &'a Process,
    number: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.process.state();
        let now = state.now();
        let exchange = &mut state.exchanges[self.number];
        if exchange.result.is_none() {
            exchange.cut = Some(now);
        }
    }
}

impl FakeLane {
    async fn exchanged(&self, request: &Outgoing, began: Instant) -> Exchange {
        let number = self.log(request);
        let _under_way = UnderWay { process: &self.process, number };
        let (manner, latency) = self.process.manner(self.receiver);
        let way = self.way(number, manner, latency);
        let result = match tokio::time::timeout(self.timeout, way).await {
            Ok(result) => result,
            Err(_) => Err(FaultKind::Timeout(Phase::Response)),
        };
        self.process.step().await;
        let mut state = self.process.state();
        let now = state.now();
        state.note(format_args!("exchange {number} ends: {result:?}"));
        state.exchanges[number].result = Some((now, result));
        drop(state);
        let total = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        Exchange { result: result.map(|answer| self.response(answer)).map_err(fault), phases: Phases { total, ..Phases::default() } }
    }

    /// To the receiver and back.
    async fn way(&self, number: usize, manner: Manner, latency: Duration) -> Result<Answer, FaultKind> {
        pass(latency / 2).await;
        self.process.step().await;
        let well = Answer { status: 200, retry_after: None };
        match manner {
            Manner::Unreachable(kind) => return Err(kind),
            Manner::Breaks { received: false } => return Err(FaultKind::Reset),
            Manner::Hangs { received: false } => std::future::pending().await,
            _ => self.receive(number),
        }
        self.process.step().await;
        let answer = match manner {
            Manner::Breaks { .. } => return Err(FaultKind::Reset),
            Manner::Hangs { .. } => std::future::pending().await,
            Manner::Slow(time) => {
                pass(time).await;
                well
            }
            Manner::Answers(status, retry_after) => Answer { status, retry_after },
            Manner::Well | Manner::Unreachable(_) => well,
        };
        pass(latency - latency / 2).await;
        Ok(answer)
    }

    fn receive(&self, number: usize) {
        let mut state = self.process.state();
        let now = state.now();
        let exchange = &mut state.exchanges[number];
        exchange.received = Some(now);
        let delivery = exchange.delivery;
        state.note(format_args!("exchange {number} received: {delivery}"));
    }

    fn response(&self, answer: Answer) -> Response {
        let hides = self.process.options.sabotage == Some(Sabotage::HidesRetryAfter);
        let retry_after = answer.retry_after.filter(|_| !hides);
        Response { status: answer.status, retry_after, head: HeadBlock::default(), body: Bytes::new(), truncated: false }
    }

    /// Writes an exchange into the log; answers its number there.
    fn log(&self, request: &Outgoing) -> usize {
        let text = |name: &str| text(&request.headers, name);
        let body = if self.process.options.sabotage == Some(Sabotage::ChangesBytes) {
            Bytes::from([&request.body[..], b" "].concat())
        } else {
            request.body.clone()
        };
        let delivery = text("webhook-id").strip_prefix("msg_").and_then(DeliveryId::parse);
        let mut state = self.process.state();
        let exchange = Exchanged {
            life: state.life,
            by: self.process.number,
            // A request without an id is found by the checkers, as one of a delivery that nobody knows.
            delivery: delivery.unwrap_or(DeliveryId::new(Default::default())),
            event: text("x-postrider-event-id"),
            number: text("x-postrider-attempt").parse().unwrap_or(0),
            key: text("idempotency-key"),
            body,
            began: state.now(),
            received: None,
            result: None,
            cut: None,
        };
        let number = state.exchanges.len();
        state.note(format_args!("exchange {number} begins: {} attempt {} to {}", exchange.delivery, exchange.number, self.receiver));
        state.exchanges.push(exchange);
        number
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn fault(kind: FaultKind) -> Fault {
    Fault { kind, message: "simulated".to_owned() }
}
