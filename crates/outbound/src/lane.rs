//! One exchange: the kept connection or a new one, the request, the response, what is kept of it.

use crate::Shared;
use crate::body::Reader;
use crate::classify;
use crate::connector::{ConnectLimit, micros};
use crate::drive::{Alarm, until};
use crate::h1::{self, H1};
use crate::h2::{self, H2};
use crate::redirect;
use crate::route::Route;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use postrider_core::attempt::{HeadBlock, Phases};
use postrider_core::ports::{BoxFuture, Exchange, Fault, FaultKind, Gate, Lane, Outgoing, Phase, Response};
use postrider_core::retry::parse_retry_after;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest exchange: a longer timeout is cut to this, for a deadline must be an instant that exists.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// A lane over the network.
pub(crate) struct NetLane {
    shared: Arc<Shared>,
    route: Arc<Route>,
    /// The HTTP/1.1 connection between exchanges. An exchange takes it out and puts it back when all went well,
    /// so that one that is abandoned takes its connection with it.
    kept: Option<Box<H1>>,
    alarm: Alarm,
    /// The lane to where the last redirect to another origin led.
    elsewhere: Option<Box<NetLane>>,
    /// Asked once a connection was made for a request. What goes over a kept one was asked for a moment ago.
    gate: Option<Gate>,
}

/// An exchange's times.
struct Run {
    deadline: Instant,
    limit: Duration,
    phases: Phases,
}

/// A connection in use.
enum Wire {
    H1(Box<H1>),
    H2(H2),
}

/// What became of a request.
enum Sent {
    Answered(http::Response<Incoming>),
    /// Not a byte of it left; here it is again.
    Unsent(Box<Request<Full<Bytes>>>, Fault),
    Failed(Fault),
}

/// One response, and where it says to go instead.
struct Hop {
    response: Response,
    location: Option<String>,
}

impl Lane for NetLane {
    fn exchange(&mut self, request: Outgoing) -> BoxFuture<'_, Exchange> {
        Box::pin(async move {
            let limit = self.route.target.timeout.min(MAX_TIMEOUT);
            let began = Instant::now();
            let mut run = Run { deadline: began + limit, limit, phases: Phases::default() };
            let result = if self.route.target.follow_redirects {
                Box::pin(self.follow(request, &mut run)).await
            } else {
                self.hop(None, request, &mut run).await.map(|hop| hop.response)
            };
            run.phases.total = micros(began.elapsed());
            Exchange { result, phases: run.phases }
        })
    }

    fn gate(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }
}

impl NetLane {
    pub(crate) fn new(shared: Arc<Shared>, route: Arc<Route>) -> Self {
        NetLane { shared, route, kept: None, alarm: Alarm::default(), elsewhere: None, gate: None }
    }

    /// Sends the request where its redirects lead.
    async fn follow(&mut self, mut request: Outgoing, run: &mut Run) -> Result<Response, Fault> {
        let mut hop = self.hop(None, request.clone(), run).await?;
        let mut at = Arc::clone(&self.route.target);
        for _ in 0..redirect::MAX_REDIRECTS {
            let Some(location) = hop.location else {
                return Ok(hop.response);
            };
            let next = Arc::new(redirect::next(&at, &location)?);
            if !redirect::same_origin(&at, &next) {
                redirect::strip(&mut request.headers);
            }
            let aim = Route::new(Arc::clone(&next));
            hop = self.lane_for(&aim).hop(Some(&aim), request.clone(), run).await?;
            at = next;
        }
        match hop.location {
            None => Ok(hop.response),
            Some(_) => Err(classify::fault(FaultKind::Protocol, format!("more than {} redirects", redirect::MAX_REDIRECTS))),
        }
    }

    /// This lane if the aim is its own receiver, else the lane to elsewhere.
    fn lane_for(&mut self, aim: &Route) -> &mut NetLane {
        if redirect::same_origin(&self.route.target, &aim.target) {
            return self;
        }
        let shared = &self.shared;
        let lane = self.elsewhere.take().filter(|lane| redirect::same_origin(&lane.route.target, &aim.target));
        let elsewhere = self
            .elsewhere
            .insert(lane.unwrap_or_else(|| Box::new(NetLane::new(Arc::clone(shared), Arc::new(Route::new(Arc::clone(&aim.target)))))));
        elsewhere.gate.clone_from(&self.gate);
        elsewhere
    }

    /// One request and its response. `aim` is another path at this lane's receiver.
    async fn hop(&mut self, aim: Option<&Route>, outgoing: Outgoing, run: &mut Run) -> Result<Hop, Fault> {
        let NetLane { shared, route, kept, alarm, gate, .. } = self;
        let aim = aim.unwrap_or(route);
        let mut request = aim.request(outgoing)?;
        let mut tries_left = 2;
        let (mut wire, sent_at, head) = loop {
            let now = Instant::now();
            let (mut wire, sent_at) = match open(kept, route, shared, now) {
                Some(wire) => (wire, now),
                None => {
                    let wire = Box::pin(connect(shared, route, run)).await?;
                    if gate.as_ref().is_some_and(|gate| !gate()) {
                        return Err(classify::fault(
                            FaultKind::Withheld,
                            "nothing was sent: connecting took too long for this server to go on",
                        ));
                    }
                    (wire, Instant::now())
                }
            };
            aim.point(&mut request, matches!(wire, Wire::H2(_)))?;
            tries_left -= 1;
            match wire.send(request, route, alarm, run).await {
                Sent::Answered(head) => break (wire, sent_at, head),
                // A kept connection may have ended unseen. Nothing was sent, so nothing can arrive twice.
                Sent::Unsent(back, _) if tries_left > 0 => request = *back,
                Sent::Unsent(_, fault) | Sent::Failed(fault) => return Err(fault),
            }
        };
        run.phases.first_byte = Some(micros(sent_at.elapsed()));

        let (head, incoming) = head.into_parts();
        let target = &*route.target;
        let connection = wire.h1();
        let reader = Reader { connection, alarm, deadline: run.deadline, limit: run.limit, host: &target.host };
        let collected = reader.collect(&head.headers, incoming, target.response_cap as usize).await?;
        if let Wire::H1(mut connection) = wire
            && collected.ended
            && connection.rest(Instant::now(), h1::keep_alive(&head.headers), shared.idle_timeout)
        {
            *kept = Some(connection);
        }
        Ok(Hop {
            location: if target.follow_redirects { redirect::location(head.status, &head.headers) } else { None },
            response: Response {
                status: head.status.as_u16(),
                retry_after: retry_after(&head.headers, shared),
                head: HeadBlock::new(&head.headers),
                body: collected.body,
                truncated: collected.truncated,
            },
        })
    }
}

impl Wire {
    fn h1(&mut self) -> Option<&mut H1> {
        match self {
            Wire::H1(connection) => Some(connection),
            Wire::H2(_) => None,
        }
    }

    /// Sends the request and waits for the response's head.
    async fn send(&mut self, request: Request<Full<Bytes>>, route: &Route, alarm: &mut Alarm, run: &Run) -> Sent {
        let answer = match self {
            Wire::H1(connection) => {
                let answer = pin!(connection.send(request));
                until(Some(connection), alarm, run.deadline, answer).await
            }
            Wire::H2(shared) => {
                let answer = pin!(shared.sender.try_send_request(request));
                let answer = until(None, alarm, run.deadline, answer).await;
                // Silence may be the connection's, and one that takes no request is at its end: the next exchange shall not trust it.
                if answer.as_ref().is_none_or(|answer| answer.as_ref().is_err_and(|error| error.message().is_some())) {
                    route.h2.discard(shared);
                }
                answer
            }
        };
        match answer {
            Some(Ok(head)) => Sent::Answered(head),
            Some(Err(error)) => failed(error, &route.target.host),
            None => Sent::Failed(classify::timed_out(Phase::Response, run.limit)),
        }
    }
}

/// The connection that this lane kept, or the shared one.
fn open(kept: &mut Option<Box<H1>>, route: &Route, shared: &Shared, now: Instant) -> Option<Wire> {
    if let Some(mut connection) = kept.take()
        && connection.is_usable(now)
    {
        return Some(Wire::H1(connection));
    }
    if !route.target.https {
        return None;
    }
    route.h2.get(now, shared.idle_timeout).map(Wire::H2)
}

fn failed(mut error: TrySendError<Request<Full<Bytes>>>, host: &str) -> Sent {
    let back = error.take_message();
    let fault = classify::response(error.error(), host);
    match back {
        Some(request) => Sent::Unsent(Box::new(request), fault),
        None => Sent::Failed(fault),
    }
}

/// A new connection, or one that another lane made meanwhile.
async fn connect(shared: &Shared, route: &Route, run: &mut Run) -> Result<Wire, Fault> {
    let target = &*route.target;
    let connect_by = Instant::now() + target.connect_timeout.min(MAX_TIMEOUT);
    let limit = if connect_by < run.deadline {
        ConnectLimit { deadline: connect_by, span: target.connect_timeout }
    } else {
        ConnectLimit { deadline: run.deadline, span: run.limit }
    };
    let _turn = if target.https { limit.keep(Phase::Connect, route.h2.turn()).await? } else { None };
    if let Some(connection) = route.h2.get(Instant::now(), shared.idle_timeout) {
        return Ok(Wire::H2(connection));
    }
    let stream = shared.connector.connect(route, limit, &mut run.phases).await?;
    let broken = |error: hyper::Error| classify::response(&error, &target.host);
    if stream.speaks_h2() {
        let sender = limit.keep(Phase::Tls, h2::start(stream)).await?.map_err(broken)?;
        return Ok(Wire::H2(route.h2.put(sender, Instant::now())));
    }
    route.h2.chooses_h1();
    Ok(Wire::H1(Box::new(H1::new(stream, shared.idle_timeout).await.map_err(broken)?)))
}

fn retry_after(headers: &HeaderMap, shared: &Shared) -> Option<Duration> {
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, shared.clock.now())
}
