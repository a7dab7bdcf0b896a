//! Endpoints: where deliveries go, and how.

use crate::error::ErrorCode;
use crate::event::Namespace;
use crate::id::EndpointId;
use crate::limit::RateLimit;
use crate::seal::Sealed;
use crate::sign::Scheme;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest URL accepted, in bytes; receivers and proxies commonly refuse more than 8 KiB of request line.
pub const MAX_URL_BYTES: usize = 2_048;

/// Where to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// The absolute `http` or `https` URL, checked by [`crate::guard::Guard::check_url`].
    pub url: String,
    /// Extra request headers.
    pub headers: Vec<(String, String)>,
    /// Signing secrets, newest first; while a rotation overlaps every one signs.
    pub secrets: Vec<Sealed>,
    /// Which signatures a delivery carries when there is a secret.
    pub schemes: Vec<Scheme>,
    /// How to speak HTTP with it.
    pub http: HttpOptions,
    /// At most this often, if set.
    pub rate_limit: Option<RateLimit>,
    /// Exchanges at the same time; the engine's own cap applies where this is unset.
    pub concurrency: Option<u32>,
    /// Whether it takes deliveries.
    pub status: EndpointStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Set when it was deleted: nothing is routed to it any more, its history stays readable.
    pub deleted_at: Option<Timestamp>,
}

/// Whether an endpoint takes deliveries, and if not, why and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum EndpointStatus {
    /// It takes deliveries.
    Active,
    /// A person paused it.
    Paused {
        /// Since when.
        at: Timestamp,
    },
    /// Postrider disabled it; deliveries wait parked until it is enabled again.
    Disabled {
        /// What the receiver did.
        reason: ErrorCode,
        /// Since when.
        at: Timestamp,
    },
}

/// How to speak HTTP with an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpOptions {
    /// The deadline of a whole exchange: from the first DNS question to the last byte of the response.
    pub timeout: Duration,
    /// The part of it that making a connection may take.
    pub connect_timeout: Duration,
    /// Whether 307 and 308 are followed, each hop through the guard.
    pub follow_redirects: bool,
    /// Whether the certificate is checked.
    pub verify_tls: bool,
    /// The `User-Agent`, where it is not Postrider's own.
    pub user_agent: Option<String>,
    /// How many bytes of a response are kept.
    pub response_cap: u32,
}

impl HttpOptions {
    /// The Tasks API: 10 s for everything (contract, section 8.16), 1 KiB of the response kept.
    pub fn tasks() -> Self {
        HttpOptions {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            follow_redirects: false,
            verify_tls: true,
            user_agent: None,
            response_cap: 1_024,
        }
    }
}
