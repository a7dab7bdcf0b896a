//! The [`Transport`] port over the network.
//!
//! An [`Outbound`] hands out lanes. A lane owns its HTTP/1.1 connection and drives it inside the exchange's own future: no task,
//! no pool and no timer of its own per exchange. Lanes of one target share an HTTP/2 connection where the receiver speaks it.
//!
//! | module | does |
//! |---|---|
//! | `lane` | one exchange: the kept connection or a new one, the request, the response, what is kept of it |
//! | `route` | what is worked out once per target: URI forms, host header, TLS name, the shared HTTP/2 slot |
//! | `connector` | resolve → guard → dial → TLS, each timed and under the connect deadline |
//! | `resolve` | names to addresses |
//! | `tls` | the two TLS policies (certificate checked or not), roots |
//! | `h1`, `h2` | a connection of each protocol |
//! | `drive` | polls a connection beside what it works for, and the one timer of a lane |
//! | `body` | the response body up to the cap, decompressed |
//! | `redirect` | where a 307 or 308 leads, and what may follow it there |
//! | `classify` | errors of hyper, rustls and the kernel as faults |
//! | `client` | TLS for who calls one server and keeps its own connections |

mod body;
mod classify;
mod client;
mod connector;
mod drive;
mod h1;
mod h2;
mod lane;
mod redirect;
mod resolve;
mod route;
mod tls;

pub use crate::client::ClientTls;

use crate::connector::Connector;
use crate::lane::NetLane;
use crate::route::Route;
use parking_lot::Mutex;
use postrider_core::guard::Guard;
use postrider_core::ports::{Clock, Lane, Target, Transport};
use rustls_pki_types::CertificateDer;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a connection may lie unused before it is not trusted any more, unless the receiver asked for less.
/// Most servers and load balancers close idle connections after 60 s or more; half of that avoids the race with them.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How the network is used.
#[derive(Clone)]
pub struct OutboundConfig {
    /// Which addresses may be dialled, and which of them without TLS.
    pub guard: Arc<Guard>,
    /// The time of day, for `Retry-After` dates.
    pub clock: Arc<dyn Clock>,
    /// Certificates trusted beside the system's roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// How names become addresses.
    pub resolver: ResolverChoice,
    /// See [`DEFAULT_IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
}

impl OutboundConfig {
    /// The system's resolver and roots, and the default idle timeout.
    pub fn new(guard: Arc<Guard>, clock: Arc<dyn Clock>) -> Self {
        OutboundConfig { guard, clock, extra_roots: Vec::new(), resolver: ResolverChoice::System, idle_timeout: DEFAULT_IDLE_TIMEOUT }
    }
}

impl fmt::Debug for OutboundConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundConfig")
            .field("extra_roots", &self.extra_roots.len())
            .field("resolver", &self.resolver)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

/// How names become addresses.
#[derive(Clone, Debug, Default)]
pub enum ResolverChoice {
    /// The name servers of the system's configuration and its hosts file.
    #[default]
    System,
    /// A fixed table; a name that is not in it does not exist. For tests and closed networks.
    Static(HashMap<String, Vec<IpAddr>>),
}

/// Why the network cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// TLS could not be set up, or an extra root is not a certificate.
    #[error("tls cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The resolver could not be set up.
    #[error("the name resolver cannot be set up: {0}")]
    Resolver(String),
}

/// The network.
pub struct Outbound {
    shared: Arc<Shared>,
    routes: Mutex<Routes>,
}

/// What all lanes have in common.
pub(crate) struct Shared {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) idle_timeout: Duration,
}

/// Routes of the targets that have lanes.
#[derive(Default)]
struct Routes {
    by_target: HashMap<Arc<Target>, Weak<Route>>,
    /// The next sweep of targets without lanes, as a size of the table: each sweep doubles it, so that sweeping costs a constant share.
    sweep_at: usize,
}

/// The table of routes is never swept below this size.
const MIN_SWEEP: usize = 64;

impl Outbound {
    /// Reads the system's roots and resolver configuration; touches no network.
    ///
    /// # Errors
    /// Only for a broken `extra_roots` certificate or a resolver that cannot be built.
    pub fn new(config: OutboundConfig) -> Result<Self, OutboundError> {
        let connector = Connector::new(config.guard, &config.extra_roots, config.resolver)?;
        let shared = Shared { connector, clock: config.clock, idle_timeout: config.idle_timeout };
        Ok(Outbound { shared: Arc::new(shared), routes: Mutex::default() })
    }

    fn route(&self, target: &Arc<Target>) -> Arc<Route> {
        let mut routes = self.routes.lock();
        if let Some(route) = routes.by_target.get(target).and_then(Weak::upgrade) {
            return route;
        }
        if routes.by_target.len() >= routes.sweep_at.max(MIN_SWEEP) {
            routes.by_target.retain(|_, route| route.strong_count() > 0);
            routes.sweep_at = routes.by_target.len() * 2;
        }
        let route = Arc::new(Route::new(Arc::clone(target)));
        routes.by_target.insert(Arc::clone(target), Arc::downgrade(&route));
        route
    }
}

impl Transport for Outbound {
    fn lane(&self, target: &Arc<Target>) -> Box<dyn Lane> {
        Box::new(NetLane::new(Arc::clone(&self.shared), self.route(target)))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("targets", &self.routes.lock().by_target.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::time::Timestamp;

    struct Epoch;

    impl Clock for Epoch {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(0)
        }
    }

    fn target(path: String) -> Arc<Target> {
        let second = Duration::from_secs(1);
        Arc::new(Target {
            https: true,
            host: "receiver.test".into(),
            port: 443,
            path_and_query: path,
            timeout: second,
            connect_timeout: second,
            follow_redirects: false,
            verify_tls: true,
            response_cap: 0,
        })
    }

    #[test]
    fn targets_without_lanes_are_forgotten() {
        // No runtime runs here: neither the network nor a lane may need one before the first exchange.
        let config = OutboundConfig::new(Arc::new(Guard::new(Vec::new(), false)), Arc::new(Epoch));
        let outbound = Outbound::new(config).expect("a usable system");
        let kept: Vec<_> = (0..3).map(|n| outbound.lane(&target(format!("/kept/{n}")))).collect();
        for n in 0..10_000 {
            drop(outbound.lane(&target(format!("/gone/{n}"))));
        }
        assert!(outbound.routes.lock().by_target.len() <= MIN_SWEEP + kept.len());
        let (first, again) = (outbound.route(&target("/kept/0".into())), outbound.route(&target("/kept/0".into())));
        assert!(Arc::ptr_eq(&first, &again));
    }
}
