//! Which addresses may be dialled: a table of what is not the public Internet, and what was opened on purpose.

use crate::ports::AddressPolicy;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod target;

pub use target::{TargetUrl, UrlError};

#[cfg(test)]
mod tests;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 that is not dialled, after the IANA registry of special-purpose addresses; the first match names the class.
const BLOCKED_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 32), "unspecified"),
    (v4(0, 0, 0, 0, 8), "reserved (this network)"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(168, 63, 129, 16, 32), "cloud metadata"),
    (v4(169, 254, 169, 254, 32), "link-local (cloud metadata)"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved (IETF protocol)"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "reserved (6to4 relay)"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);

/// IPv6 that is not dialled; the first match names the class. What lies outside of [`GLOBAL_UNICAST`] and is not here is reserved.
const BLOCKED_V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "unspecified"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback"),
    (v6(0, 0, 0, 96), "reserved (IPv4-compatible)"),
    (v6(0x64, 0xff9b, 1, 48), "private (local-use NAT64)"),
    (v6(0x100, 0, 0, 64), "discard-only"),
    (v6(0x2001, 0, 0, 23), "reserved (IETF protocol, Teredo)"),
    (v6(0x2001, 0xdb8, 0, 32), "documentation"),
    (v6(0x3fff, 0, 0, 20), "documentation"),
    (v6(0x5f00, 0, 0, 16), "segment routing"),
    (v6(0xfc00, 0, 0, 7), "private (unique local)"),
    (v6(0xfe80, 0, 0, 10), "link-local"),
    (v6(0xfec0, 0, 0, 10), "site-local"),
    (v6(0xff00, 0, 0, 8), "multicast"),
];

/// Decides which addresses may be dialled. Cheap to ask: it is asked for every address of every resolution.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
    allow_http: bool,
}

/// An address that may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The address, as it was given.
    pub address: IpAddr,
    /// What kind of address it is, for people.
    pub class: &'static str,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let article = if self.class.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        let network = IpNet::from(self.address.to_canonical());
        write!(
            f,
            "{} is {article} {} address; to deliver there on purpose start the server with --allow-network {network}",
            self.address, self.class
        )
    }
}

impl std::error::Error for Blocked {}

impl Guard {
    /// A guard that also allows these networks, and plain `http` everywhere if `allow_http` is set.
    pub fn new(allowed: Vec<IpNet>, allow_http: bool) -> Self {
        Guard { allowed: allowed.into_iter().map(canonical_net).collect(), allow_http }
    }

    /// Whether this address may be dialled. An IPv4-mapped address is the IPv4 address that it stands for;
    /// NAT64 and 6to4 addresses are blocked with the IPv4 address inside, unless their own spelling is allowed.
    pub fn check(&self, address: IpAddr) -> Result<(), Blocked> {
        if self.is_explicitly_allowed(address) {
            return Ok(());
        }
        match class_of(address) {
            Some(class) => Err(Blocked { address, class }),
            None => Ok(()),
        }
    }

    /// Whether this address lies in a network that was opened on purpose.
    pub fn is_explicitly_allowed(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|net| net.contains(&address))
    }

    /// Whether plain `http` may be spoken with this address: everywhere if so configured, otherwise in the networks opened on purpose.
    pub fn allows_plain_http(&self, address: IpAddr) -> bool {
        self.allow_http || self.is_explicitly_allowed(address)
    }
}

impl AddressPolicy for Guard {
    fn check(&self, address: IpAddr) -> Result<(), String> {
        Guard::check(self, address).map_err(|blocked| blocked.to_string())
    }
}

/// A network spelled in IPv4-mapped form is the IPv4 network that it stands for.
fn canonical_net(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net) {
        (IpAddr::V4(address), IpNet::V6(mapped)) if mapped.prefix_len() >= 96 => {
            Ipv4Net::new(address, mapped.prefix_len() - 96).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

/// The class of an address that is not the public Internet.
fn class_of(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => class_of_v4(v4),
        IpAddr::V6(v6) => class_of_v6(v6),
    }
}

fn class_of_v4(address: Ipv4Addr) -> Option<&'static str> {
    BLOCKED_V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class)
}

fn class_of_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [_, b, c, .., g, h] = address.segments();
    if NAT64.contains(&address) {
        return class_of_v4(embedded(g, h));
    }
    if SIX_TO_FOUR.contains(&address) {
        return class_of_v4(embedded(b, c));
    }
    match BLOCKED_V6.iter().find(|(net, _)| net.contains(&address)) {
        Some((_, class)) => Some(class),
        None if GLOBAL_UNICAST.contains(&address) => None,
        None => Some("reserved"),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}
