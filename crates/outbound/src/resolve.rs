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
