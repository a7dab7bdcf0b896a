//! Endpoints: where deliveries go, and how.

use crate::auth::Auth;
use crate::error::ErrorCode;
use crate::event::{BadName, Namespace};
use crate::id::EndpointId;
use crate::limit::RateLimit;
use crate::retry::RetryPolicy;
use crate::seal::Sealed;
use crate::sign::Scheme;
use crate::subscription::Origin;
use crate::time::Timestamp;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest URL accepted, in bytes; receivers and proxies commonly refuse more than 8 KiB of request line.
pub const MAX_URL_BYTES: usize = 2_048;

/// Most headers of one kind (extra, secret) that an endpoint has.
pub const MAX_HEADERS: usize = 32;

/// Longest value of an extra or secret header, in bytes.
pub const MAX_HEADER_VALUE_BYTES: usize = 4_096;

/// Longest `Content-Type` that an endpoint asks for, in bytes; the longest registered ones have about 100.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// The largest body that is sent to an endpoint of the Items API which has no cap of its own: 5 MiB (contract, section 11).
pub const DEFAULT_PAYLOAD_CAP: u32 = 5 << 20;

/// The least and the greatest cap that an endpoint may have: 1 KiB and 100 MiB (contract, section 11).
pub const PAYLOAD_CAPS: (u32, u32) = (1 << 10, 100 << 20);

/// How many bytes of a request and of a response the Items API keeps (contract, section 7).
pub const ITEMS_BODY_BYTES: u32 = 10_240;

/// Where to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// For people; the Tasks API gives none.
    #[serde(default)]
    pub name: String,
    /// The absolute `http` or `https` URL, checked by [`crate::guard::Guard::check_url`].
    pub url: String,
    /// Extra request headers.
    pub headers: Vec<(String, String)>,
    /// Extra request headers whose values nobody gets to see.
    #[serde(default)]
    pub secret_headers: Vec<(String, Sealed)>,
    /// Credentials for the receiver.
    #[serde(default)]
    pub auth: Auth,
    /// Signing secrets, newest first; while a rotation overlaps every one signs.
    pub secrets: Vec<Sealed>,
    /// From when on only the newest of each kind signs: the first of the secrets that both sides have, and the first pair of keys. `None`: all of
    /// them sign for as long as they are there.
    #[serde(default)]
    pub old_secrets_until: Option<Timestamp>,
    /// Which signatures a delivery carries when there is a secret.
    pub schemes: Vec<Scheme>,
    /// How to speak HTTP with it.
    pub http: HttpOptions,
    /// At most this often, if set.
    pub rate_limit: Option<RateLimit>,
    /// The largest body that is sent to it, in bytes; see [`Endpoint::cap_for`] for where this is unset.
    #[serde(default)]
    pub payload_cap: Option<u32>,
    /// Exchanges at the same time; the engine's own cap applies where this is unset.
    pub concurrency: Option<u32>,
    /// Whether it takes deliveries.
    pub status: EndpointStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Set when it was deleted: nothing is routed to it any more.
    #[serde(rename = "deleted_at")]
    pub deleted: Option<Deletion>,
}

/// When an endpoint was deleted, and what becomes of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Deletion {
    /// Its history stays readable until its retention. What still waits for it is cancelled.
    Kept(Timestamp),
    /// Its history goes with it: from then on nobody gets to see a delivery to it, an attempt or a dead letter, and retention removes them
    /// whatever their age, waiting ones too. The events stay.
    Erased {
        /// When.
        erased_at: Timestamp,
    },
}

impl Deletion {
    /// When it was deleted.
    pub fn at(self) -> Timestamp {
        match self {
            Deletion::Kept(at) | Deletion::Erased { erased_at: at } => at,
        }
    }

    /// Whether the history goes with it.
    pub fn is_erased(self) -> bool {
        matches!(self, Deletion::Erased { .. })
    }
}

impl Endpoint {
    /// Whether it was deleted with its history.
    pub fn is_erased(&self) -> bool {
        self.deleted.is_some_and(Deletion::is_erased)
    }

    /// Whether all of its secrets sign at this time, and not only the newest of each kind.
    pub fn old_secrets_sign(&self, at: Timestamp) -> bool {
        self.old_secrets_until.is_none_or(|until| at < until)
    }

    /// The largest body that a subscription made through `origin` may send to it, in bytes. Without a cap of its own it is
    /// [`DEFAULT_PAYLOAD_CAP`] for the Items API; elsewhere what was accepted is sent, however large.
    pub fn cap_for(&self, origin: Origin) -> usize {
        let default = if origin == Origin::Items { Some(DEFAULT_PAYLOAD_CAP) } else { None };
        self.payload_cap.or(default).map_or(usize::MAX, |cap| cap as usize)
    }

    /// Every sealed value.
    pub fn sealed(&self) -> impl Iterator<Item = &Sealed> {
        self.secrets.iter().chain(self.secret_headers.iter().map(|(_, value)| value)).chain(self.auth.sealed())
    }

    /// Every sealed value, to be sealed anew.
    pub fn sealed_mut(&mut self) -> impl Iterator<Item = &mut Sealed> {
        self.secrets.iter_mut().chain(self.secret_headers.iter_mut().map(|(_, value)| value)).chain(self.auth.sealed_mut())
    }
}

/// Checks an extra header, secret or not: its name and value, and that Postrider does not set it itself, `Authorization` where `auth` does.
pub fn check_header(name: &str, value: &str, auth: &Auth) -> Result<(), BadName> {
    let name = HeaderName::try_from(name).map_err(|_| BadName("a header's name is made of letters, digits and !#$%&'*+-.^_`|~"))?;
    check_header_name(&name)?;
    if name == http::header::AUTHORIZATION && auth.is_authorization() {
        return Err(BadName("the header Authorization is taken by the credentials: leave out one of them"));
    }
    if value.len() > MAX_HEADER_VALUE_BYTES || HeaderValue::try_from(value).is_err() {
        return Err(BadName("a header's value is at most 4,096 bytes without control characters"));
    }
    Ok(())
}

/// Names of headers that Postrider or the connection sets.
const OWN_HEADERS: [&str; 14] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What names of Postrider's own headers begin with.
const OWN_PREFIXES: [&str; 3] = ["x-postrider-", "webhook-", "x-sparrow-"];

pub(crate) fn check_header_name(name: &HeaderName) -> Result<(), BadName> {
    let name = name.as_str();
    let is_own = OWN_HEADERS.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name == "x-hub-signature-256";
    if is_own {
        return Err(BadName("this header is set by Postrider or belongs to the connection: choose another name"));
    }
    Ok(())
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
    /// The `Content-Type` of what RPC subscriptions send, where it is not that of their bodies.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The statuses that are a success for RPC subscriptions; every 2xx where there are none.
    #[serde(default)]
    pub expected_status: Vec<u16>,
    /// How hard deliveries of RPC subscriptions are tried. Each of them holds it too: those that come later take it over from here.
    #[serde(default)]
    pub retry: Option<RetryPolicy>,
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
            content_type: None,
            expected_status: Vec::new(),
            retry: None,
        }
    }

    /// The Items API: 30 s for everything, 10 s of them to connect (contract, section 11), 10 KiB of the response kept (section 7).
    pub fn items() -> Self {
        HttpOptions { timeout: Duration::from_secs(30), response_cap: ITEMS_BODY_BYTES, ..HttpOptions::tasks() }
    }

    /// The RPC API: 30 s for everything, 10 s of them to connect, redirects followed, 1 KiB of the response kept (contract, sections 6 and 7).
    pub fn rpc() -> Self {
        HttpOptions {
            timeout: Duration::from_secs(30),
            follow_redirects: true,
            expected_status: vec![200, 201, 202, 204],
            ..HttpOptions::tasks()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_headers_cannot_be_set() {
        for name in
            ["Host", "content-length", "Content-Type", "Transfer-Encoding", "X-Postrider-Event", "webhook-id", "Idempotency-Key", "a b", ""]
        {
            assert!(check_header(name, "v", &Auth::None).is_err(), "{name}");
        }
        for (name, value) in [("X-Team", "ops"), ("Authorization", "Token abc"), ("User-Agent", "ours/1")] {
            assert!(check_header(name, value, &Auth::None).is_ok(), "{name}");
        }
        for value in ["a\r\nb: c", "a\nb", "a\0", &"x".repeat(MAX_HEADER_VALUE_BYTES + 1)] {
            assert!(check_header("X-Team", value, &Auth::None).is_err(), "{value:?}");
        }
        let bearer = Auth::Bearer { token: Sealed::from_bytes(vec![1]) };
        assert!(check_header("authorization", "Token abc", &bearer).is_err());
        assert!(check_header("X-Team", "ops", &bearer).is_ok());
    }

    /// What an earlier release stored has none of the fields that came later.
    #[test]
    fn old_documents_are_read() {
        let old = r#"{"id":"0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001","namespace":"default","url":"https://a.test/","headers":[],"secrets":[],
            "schemes":["hub"],"http":{"timeout":{"secs":10,"nanos":0},"connect_timeout":{"secs":10,"nanos":0},"follow_redirects":false,
            "verify_tls":true,"user_agent":null,"response_cap":1024},"rate_limit":null,"concurrency":null,"status":{"status":"active"},
            "created_at":1,"updated_at":1,"deleted_at":null}"#;
        let mut endpoint: Endpoint = serde_json::from_str(old).expect("an endpoint");
        assert_eq!((&*endpoint.name, &endpoint.auth, endpoint.payload_cap), ("", &Auth::None, None));
        assert!(endpoint.old_secrets_sign(Timestamp::MAX), "a rotation without an end");
        let until = Timestamp::from_secs(9);
        let rotated = Endpoint { old_secrets_until: Some(until), ..endpoint.clone() };
        assert!(rotated.old_secrets_sign(Timestamp::from_secs(8)) && !rotated.old_secrets_sign(until));
        assert_eq!(endpoint.http, HttpOptions::tasks());
        assert_eq!(endpoint.cap_for(Origin::Tasks), usize::MAX);
        assert_eq!(endpoint.cap_for(Origin::Items), 5_242_880);
        endpoint.payload_cap = Some(2_000);
        assert_eq!([Origin::Tasks, Origin::Items, Origin::Rpc].map(|origin| endpoint.cap_for(origin)), [2_000; 3]);
    }

    #[test]
    fn what_was_deleted_says_whether_its_history_is_kept() {
        let at = Timestamp::from_micros(5);
        for (deleted, text) in
            [(None, "null"), (Some(Deletion::Kept(at)), "5"), (Some(Deletion::Erased { erased_at: at }), r#"{"erased_at":5}"#)]
        {
            assert_eq!(serde_json::to_string(&deleted).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<Option<Deletion>>(text).expect("a deletion"), deleted);
            assert!(deleted.is_none_or(|deleted| deleted.at() == at && deleted.is_erased() == text.starts_with('{')));
        }
    }

    #[test]
    fn every_sealed_value_is_found() {
        let sealed = |n| Sealed::from_bytes(vec![n]);
        let old = r#"{"id":"0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001","namespace":"default","url":"","headers":[],"secrets":[],"schemes":[],
            "http":{"timeout":{"secs":1,"nanos":0},"connect_timeout":{"secs":1,"nanos":0},"follow_redirects":false,"verify_tls":true,
            "user_agent":null,"response_cap":1},"rate_limit":null,"concurrency":null,"status":{"status":"active"},"created_at":1,
            "updated_at":1,"deleted_at":null}"#;
        let mut endpoint: Endpoint = serde_json::from_str(old).expect("an endpoint");
        endpoint.secrets = vec![sealed(1), sealed(2)];
        endpoint.secret_headers = vec![("x-a".to_owned(), sealed(3))];
        endpoint.auth = Auth::ApiKey { header: "x-b".to_owned(), key: sealed(4) };
        assert_eq!(endpoint.sealed().cloned().collect::<Vec<_>>(), [1, 2, 3, 4].map(sealed));
        endpoint.sealed_mut().for_each(|value| *value = sealed(9));
        assert!(endpoint.sealed().all(|value| *value == sealed(9)) && endpoint.sealed().count() == 4);
    }
}
