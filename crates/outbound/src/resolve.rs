//! Names to addresses.

use crate::classify::{self, fault};
use crate::{OutboundError, ResolverChoice};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use postrider_core::ports::{Fault, FaultKind, Phase};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How many questions may be open with one name server; the library's default of 32 is met at once when a busy server starts.
const MAX_OPEN_QUESTIONS: usize = 4096;

/// Names to addresses, with a cache that respects the records' time to live.
pub(crate) enum Resolver {
    System(Box<TokioResolver>),
    Static(HashMap<String, Vec<IpAddr>>),
}

impl Resolver {
    pub(crate) fn new(choice: ResolverChoice) -> Result<Self, OutboundError> {
        match choice {
            ResolverChoice::Static(table) => Ok(Resolver::Static(table)),
            ResolverChoice::System => system().map(|r| Resolver::System(Box::new(r))),
        }
    }

    /// The addresses of a name, at least one. `limit` is only for the message of a timeout.
    pub(crate) async fn resolve(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, Fault> {
        let found: Vec<IpAddr> = match self {
            Resolver::Static(table) => table.get(host).cloned().unwrap_or_default(),
            Resolver::System(resolver) => match resolver.lookup_ip(host).await {
                Ok(found) => found.iter().collect(),
                Err(error) => return Err(classify_error(&error, limit)),
            },
        };
        if found.is_empty() { Err(fault(FaultKind::Dns, "the name does not exist")) } else { Ok(found) }
    }
}

fn system() -> Result<TokioResolver, OutboundError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "no usable name server in the system's configuration; asking 127.0.0.1 as the C library does");
        let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        TokioResolver::builder_with_config(ResolverConfig::from_name_servers(vec![local]), TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.max_active_requests = MAX_OPEN_QUESTIONS;
    options.try_tcp_on_error = true;
    builder.build().map_err(|error| OutboundError::Resolver(error.to_string()))
}

/// A name that does not exist is told apart from name servers that fail: the first is the endpoint's fault and the second passes.
fn classify_error(error: &NetError, limit: Duration) -> Fault {
    match error {
        NetError::Timeout => classify::timed_out(Phase::Dns, limit),
        NetError::Dns(DnsError::NoRecordsFound(_)) if error.is_nx_domain() => fault(FaultKind::Dns, "the name does not exist"),
        NetError::Dns(DnsError::NoRecordsFound(_)) => fault(FaultKind::Dns, "the name has no address"),
        NetError::Dns(DnsError::ResponseCode(code)) => fault(FaultKind::Unreachable, format!("the name servers failed: {code}")),
        NetError::Proto(_) => fault(FaultKind::Dns, "the name is not valid"),
        _ => fault(FaultKind::Unreachable, "the name servers cannot be reached"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, ResolveHosts};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::net::UdpSocket;

    const LIMIT: Duration = Duration::from_secs(7);

    /// A name server that gives this response code, with an A record for 192.0.2.7 (time to live: an hour) where it is "no error";
    /// 255 is silence. It counts its questions.
    pub(crate) async fn name_server(code: u8) -> (SocketAddr, Arc<AtomicU32>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut question = [0; 1500];
            loop {
                let (_, from) = socket.recv_from(&mut question).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                if code != 255 {
                    socket.send_to(&answer(&question, code), from).await.unwrap();
                }
            }
        });
        (address, asked)
    }

    fn answer(question: &[u8], code: u8) -> Vec<u8> {
        let name_end = 12 + question[12..].iter().position(|&b| b == 0).unwrap() + 1;
        let is_a = question[name_end..name_end + 2] == [0, 1];
        let answers = u8::from(code == 0 && is_a);
        let mut message = question[..2].to_vec();
        message.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
        message.extend_from_slice(&question[12..name_end + 4]);
        if answers == 1 {
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 7]);
        }
        message
    }

    /// Time with a paused clock stands still while the answer lives: a slow machine takes no answer for none.
    pub(crate) fn time_stands() -> std::sync::mpsc::Sender<()> {
        let (held, gone) = std::sync::mpsc::channel();
        // The runtime lets no time pass while blocking work is under way.
        tokio::task::spawn_blocking(move || gone.recv());
        held
    }

    /// A resolver that asks this server once and waits 100 ms for its answer.
    pub(crate) fn asking(server: SocketAddr) -> Resolver {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![connection]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder.options_mut().timeout = Duration::from_millis(100);
        builder.options_mut().attempts = 1;
        Resolver::System(Box::new(builder.build().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_once_while_its_records_live() {
        let _time = time_stands();
        let (server, asked) = name_server(0).await;
        let resolver = asking(server);
        let found = resolver.resolve("receiver.test", LIMIT).await.unwrap();
        assert_eq!(found, [IpAddr::from([192, 0, 2, 7])]);
        let questions = asked.load(Ordering::SeqCst);
        assert_eq!(resolver.resolve("receiver.test", LIMIT).await.unwrap(), found);
        let asked_again = asked.load(Ordering::SeqCst) - questions;
        assert!(asked_again <= 1, "the A record was asked for again: {asked_again}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_the_name_and_of_the_servers_are_told_apart() {
        let time = time_stands();
        let fault = async |code| asking(name_server(code).await.0).resolve("receiver.test", LIMIT).await.unwrap_err();
        assert_eq!(fault(3).await.kind, FaultKind::Dns);
        assert_eq!(fault(2).await.kind, FaultKind::Unreachable);
        assert_eq!(fault(5).await.kind, FaultKind::Unreachable);
        drop(time);
        let silence = fault(255).await;
        assert_eq!(
            (silence.kind, silence.message.as_str()),
            (FaultKind::Timeout(Phase::Dns), "timed out after 7s while resolving the name")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_name_is_a_fault() {
        let _time = time_stands();
        let resolver = asking(name_server(0).await.0);
        for name in ["a..b", &"a".repeat(64), &"a.".repeat(200)] {
            assert_eq!(resolver.resolve(name, LIMIT).await.unwrap_err().kind, FaultKind::Dns, "{name}");
        }
    }
}
