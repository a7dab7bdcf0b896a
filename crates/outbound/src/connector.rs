//! Resolve → guard → dial → TLS, each timed, all under the connect deadline.

use crate::classify::{self, fault};
use crate::resolve::Resolver;
use crate::route::Route;
use crate::tls::Tls;
use crate::{OutboundError, ResolverChoice};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postrider_core::attempt::Phases;
use postrider_core::guard::Guard;
use postrider_core::ports::{Fault, FaultKind, Phase, Target};
use rustls_pki_types::CertificateDer;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::client::TlsStream;

/// How long an address may take before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// How many addresses of a name are tried at most: more is a misconfiguration or an attack on our sockets.
const MAX_ADDRESSES: usize = 16;

/// Opens connections that the guard allows.
pub(crate) struct Connector {
    guard: Arc<Guard>,
    resolver: Resolver,
    tls: Tls,
}

/// By when to be connected, and how the span is named if that fails.
#[derive(Clone, Copy)]
pub(crate) struct ConnectLimit {
    pub(crate) deadline: Instant,
    pub(crate) span: Duration,
}

impl ConnectLimit {
    /// Waits for `work`, which belongs to `phase`, until the deadline.
    pub(crate) async fn keep<T>(self, phase: Phase, work: impl Future<Output = T>) -> Result<T, Fault> {
        timeout_at(self.deadline, work).await.map_err(|_| classify::timed_out(phase, self.span))
    }
}

impl Connector {
    pub(crate) fn new(guard: Arc<Guard>, extra_roots: &[CertificateDer<'static>], resolver: ResolverChoice) -> Result<Self, OutboundError> {
        Ok(Connector { guard, resolver: Resolver::new(resolver)?, tls: Tls::new(extra_roots)? })
    }

    /// A connection to the route's target, ready for HTTP.
    pub(crate) async fn connect(&self, route: &Route, limit: ConnectLimit, phases: &mut Phases) -> Result<Stream, Fault> {
        let target = &*route.target;
        let addresses = self.addresses(target, route.literal, limit, phases).await?;

        let began = Instant::now();
        let dialled = limit.keep(Phase::Connect, dial_first(&addresses, target.port)).await;
        add(&mut phases.tcp, began.elapsed());
        let tcp = dialled??;

        if !target.https {
            return Ok(Stream::Plain(tcp));
        }
        let name = route.tls_name()?;
        let began = Instant::now();
        let shaken = limit.keep(Phase::Tls, self.tls.connector(target.verify_tls).connect(name, tcp)).await;
        add(&mut phases.tls, began.elapsed());
        match shaken? {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(classify::handshake(&error, &target.host)),
        }
    }

    /// The addresses that may be dialled, in the order to dial them.
    async fn addresses(
        &self,
        target: &Target,
        literal: Option<IpAddr>,
        limit: ConnectLimit,
        phases: &mut Phases,
    ) -> Result<Vec<IpAddr>, Fault> {
        let found = match literal {
            Some(address) => vec![address],
            None => {
                let began = Instant::now();
                let resolved = limit.keep(Phase::Dns, self.resolver.resolve(&target.host, limit.span)).await;
                add(&mut phases.dns, began.elapsed());
                resolved??
            }
        };
        self.allowed(found, target.https)
    }

    fn allowed(&self, found: Vec<IpAddr>, https: bool) -> Result<Vec<IpAddr>, Fault> {
        let mut allowed = Vec::with_capacity(found.len());
        let mut refusal = None;
        for address in found {
            if allowed.contains(&address) {
                continue;
            }
            if let Err(blocked) = self.guard.check(address) {
                refusal.get_or_insert_with(|| blocked.to_string());
            } else if !https && !self.guard.allows_plain_http(address) {
                refusal.get_or_insert_with(|| {
                    format!("plain http to {address} is not allowed: use https, or start the server with --allow-http")
                });
            } else {
                allowed.push(address);
            }
        }
        match refusal {
            Some(text) if allowed.is_empty() => Err(fault(FaultKind::Blocked, text)),
            _ => Ok(alternate(allowed)),
        }
    }
}

/// Alternates the families, so that a host whose IPv6 leads nowhere costs one stagger and not one per address.
fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for address in addresses {
        if address.is_ipv6() == first_is_v6 { first.push(address) } else { second.push(address) }
    }
    let mut second = second.into_iter();
    let mut mixed = Vec::with_capacity(MAX_ADDRESSES);
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed.truncate(MAX_ADDRESSES);
    mixed
}

/// Tries the addresses in their order: the next one as soon as one fails, or after [`STAGGER`] beside it. The first connection wins.
async fn dial_first(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Fault> {
    let mut rest = addresses.iter();
    let mut dials = FuturesUnordered::new();
    let mut failure = None;
    loop {
        let next = rest.next();
        let more = next.is_some();
        dials.extend(next.map(|&address| dial(SocketAddr::new(address, port))));
        let finished = tokio::select! {
            biased;
            finished = dials.next() => finished,
            () = sleep(STAGGER), if more => continue,
        };
        match finished {
            Some(Ok(stream)) => return Ok(stream),
            // The first address is the one that people look at; its failure is the one to tell.
            Some(Err(error)) => drop(failure.get_or_insert_with(|| classify::dial(&error))),
            None if !more => return Err(failure.unwrap_or_else(|| fault(FaultKind::Dns, "the name has no address"))),
            None => {}
        }
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A dial to a free port of this machine's ephemeral range can meet itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Adds a span to a phase: an exchange that is redirected connects more than once.
fn add(phase: &mut Option<u32>, span: Duration) {
    *phase = Some(phase.unwrap_or(0).saturating_add(micros(span)));
}

/// Whole microseconds, at most an hour and eleven minutes.
pub(crate) fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// A connection's bytes, with or without TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether HTTP/2 was agreed on.
    pub(crate) fn speaks_h2(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::tests::{asking, name_server, time_stands};

    #[test]
    fn families_take_turns_and_there_is_a_limit() {
        let parse = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("a literal")).collect::<Vec<IpAddr>>();
        assert_eq!(
            alternate(parse(&["1.0.0.1", "1.0.0.2", "1.0.0.3", "2600::1", "2600::2"])),
            parse(&["1.0.0.1", "2600::1", "1.0.0.2", "2600::2", "1.0.0.3"])
        );
        assert_eq!(alternate(parse(&["2600::1", "1.0.0.1", "1.0.0.2"])), parse(&["2600::1", "1.0.0.1", "1.0.0.2"]));
        let many: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([1, 0, 0, n])).collect();
        assert_eq!(alternate(many).len(), MAX_ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn the_connect_deadline_covers_the_name_too() {
        let time = time_stands();
        let (server, _) = name_server(255).await;
        let guard = Arc::new(Guard::new(Vec::new(), false));
        let connector = Connector { guard, resolver: asking(server), tls: Tls::new(&[]).expect("tls") };
        let second = Duration::from_secs(1);
        let target = Target {
            https: true,
            host: "receiver.test".into(),
            port: 443,
            path_and_query: "/".into(),
            timeout: second,
            connect_timeout: second,
            follow_redirects: false,
            verify_tls: true,
            response_cap: 0,
        };
        let span = Duration::from_millis(20);
        let limit = ConnectLimit { deadline: Instant::now() + span, span };
        let mut phases = Phases::default();
        // Before the resolver itself gives up, which it does after 100 ms.
        drop(time);
        let connected = connector.connect(&Route::new(Arc::new(target)), limit, &mut phases).await;
        let fault = connected.err().expect("nobody answers");
        assert_eq!(fault.kind, FaultKind::Timeout(Phase::Dns));
        assert_eq!(fault.message, "timed out after 20ms while resolving the name");
        assert!(phases.dns.is_some_and(|spent| spent >= 20_000) && phases.tcp.is_none(), "{phases:?}");
    }
}
