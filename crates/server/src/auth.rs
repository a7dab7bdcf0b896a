//! Who may do what: API keys, and the development mode that opens one namespace without a key.

use crate::random;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use postrider_core::event::Namespace;
use postrider_core::hex;
use postrider_core::id::KeyId;
use postrider_core::key::{ApiKey, Scope, Scopes};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// What every generated key begins with, so that people and secret scanners recognise it.
pub const KEY_PREFIX: &str = "pr_";

/// Characters of a generated key after its prefix: 32 bytes as base64 without padding.
const KEY_CHARACTERS: usize = 43;

/// From the beginning of one look for keys made elsewhere to that of the next, whoever wants it: ten a second cost a store nothing, and
/// nobody notices that a wrong key takes a tenth of a second longer.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How many characters of a key are kept to recognise it by; never more than a quarter of it.
const SHOWN_CHARACTERS: usize = 11;

/// Longest name of a key, in bytes.
pub const MAX_KEY_NAME_BYTES: usize = 100;

/// The name of keys that the development mode makes; on a database that nodes share with the number of the node's start behind it.
pub const DEV_KEY_NAME: &str = "dev";

/// The name of the keys that `POSTRIDER_BOOTSTRAP_KEY` installs.
pub const BOOTSTRAP_KEY_NAME: &str = "bootstrap";

/// The name that they have once another one has taken their place.
pub const REPLACED_KEY_NAME: &str = "bootstrap (replaced)";

/// Whether the server gives this name to keys of its own.
pub fn is_reserved_name(name: &str) -> bool {
    [DEV_KEY_NAME, BOOTSTRAP_KEY_NAME, REPLACED_KEY_NAME].contains(&name) || dev_key_incarnation(name).is_some()
}

/// The name of the development mode's key of a node that shares its store.
pub fn dev_key_name(incarnation: i64) -> String {
    format!("{DEV_KEY_NAME} {incarnation}")
}

/// Of which start of a node a key with this name is, if it is one of the development mode's on a database.
pub fn dev_key_incarnation(name: &str) -> Option<i64> {
    name.strip_prefix(DEV_KEY_NAME)?.strip_prefix(' ')?.parse().ok()
}

/// What a caller may do, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The key that it showed; `None` for whom the development mode lets in without one.
    pub key: Option<KeyId>,
    /// The one namespace that it sees; without one it sees all of them (master view).
    pub namespace: Option<Namespace>,
    /// What it may do there.
    pub scopes: Scopes,
}

impl Access {
    /// Whether things of this namespace exist for the caller.
    pub fn sees(&self, namespace: &Namespace) -> bool {
        self.namespace.as_ref().is_none_or(|own| own == namespace)
    }

    /// Whether the caller has a scope.
    pub fn allow(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.include(scope) { Ok(()) } else { Err(Denied::Scope(scope)) }
    }
}

/// Why a caller may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It showed no key where one is needed.
    Missing,
    /// The key it showed is unknown, revoked or expired.
    Invalid,
    /// Its key lacks this scope.
    Scope(Scope),
    /// It is a web page of somewhere else, in a browser on this machine.
    Foreign,
}

/// Decides who a caller is.
#[derive(Clone, Debug)]
pub struct Auth {
    /// What callers without a key may do; `None` outside of the development mode.
    open: Option<Access>,
    looks: Arc<Mutex<Looks>>,
}

/// Looks for keys made elsewhere.
#[derive(Debug, Default)]
struct Looks {
    /// When the last one began.
    begun: Option<Instant>,
    /// When the last one began that has ended: one whose caller went away before tells nobody anything.
    ended: Option<Instant>,
}

impl Auth {
    /// With `dev`, callers without a key may read and write in namespace `default`.
    pub fn new(dev: bool) -> Self {
        let scopes = Scopes { read: true, write: true, admin: false };
        let open = dev.then(|| Access { key: None, namespace: Some(Namespace::default_namespace()), scopes });
        Auth { open, looks: Arc::default() }
    }

    /// The caller by the key that it shows; `None` if it shows none. A wrong key is an error even where none is needed.
    pub fn caller(&self, headers: &HeaderMap, routes: &Routes, now: Timestamp) -> Result<Option<Access>, Denied> {
        let Some(shown) = shown_key(headers) else { return Ok(None) };
        let hash = hash(shown.ok_or(Denied::Invalid)?);
        let key = routes.key_by_hash(&hash).ok_or(Denied::Invalid)?;
        // The look-up compares hashes, which tell nothing about keys; this comparison takes the same time all the same.
        if !bool::from(key.hash.as_bytes().ct_eq(hash.as_bytes())) || !key.is_valid(now) {
            return Err(Denied::Invalid);
        }
        Ok(Some(Access { key: Some(key.id), namespace: key.namespace.clone(), scopes: key.scopes }))
    }

    /// Whether the key that a request shows may have been made elsewhere a moment ago: it is of the form of [`new_secret`], and none of
    /// `keys`, which are all that are known, revoked and expired ones too.
    pub fn may_be_new<'a>(headers: &HeaderMap, mut keys: impl Iterator<Item = &'a Arc<ApiKey>>) -> bool {
        let Some(Some(shown)) = shown_key(headers) else { return false };
        if !is_of_our_form(shown) {
            return false;
        }
        let hash = hash(shown);
        keys.all(|key| key.hash != hash)
    }

    /// Has `look` look for keys made elsewhere, or somebody else's do for this caller too; returns once one that began after the call has
    /// ended. All callers together look at most once in 100 ms: who comes sooner waits for the next one, for else a key that was made since
    /// the last one would be refused.
    pub async fn look(&self, look: impl Future<Output = ()>) {
        let asked = Instant::now();
        let mut looks = self.looks.lock().await;
        if looks.ended.is_some_and(|begun| begun >= asked) {
            return;
        }
        if let Some(begun) = looks.begun {
            sleep_until(begun + LOOK_PAUSE).await;
        }
        let begun = Instant::now();
        looks.begun = Some(begun);
        look.await;
        looks.ended = Some(begun);
    }

    /// The caller, with a scope that it needs: by its key, or open to everybody in development mode. `caller` is what [`Self::caller`] says.
    pub fn require(&self, headers: &HeaderMap, caller: Result<Option<Access>, Denied>, scope: Scope) -> Result<Access, Denied> {
        let access = match caller? {
            Some(access) => access,
            None => self.without_key(headers)?.clone(),
        };
        access.allow(scope)?;
        Ok(access)
    }

    /// What a caller without a key may do.
    ///
    /// Whatever page a developer has open can send requests to loopback. Such a request names the page's origin, or, if the page's name
    /// was made to lead to this machine, a host that is not this machine: it is refused.
    pub fn without_key(&self, headers: &HeaderMap) -> Result<&Access, Denied> {
        let open = self.open.as_ref().ok_or(Denied::Missing)?;
        let origin_host = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| is_this_machine(host));
        let is_fine = |name, rule: &dyn Fn(&str) -> bool| headers.get(name).is_none_or(|v| v.to_str().is_ok_and(rule));
        if is_fine(ORIGIN, &origin_host) && is_fine(HOST, &is_this_machine) { Ok(open) } else { Err(Denied::Foreign) }
    }

    /// Whether things of this namespace exist for callers without a key.
    pub fn shows_without_key(&self, namespace: &Namespace) -> bool {
        self.open.as_ref().is_none_or(|open| open.sees(namespace))
    }
}

/// Whether `host` or `host:port` is a name of the machine itself.
fn is_this_machine(authority: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => authority,
    };
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let is_name = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    is_name || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The key of a request: `Authorization: Bearer KEY` or `X-API-Key: KEY`. `Some(None)` if what is there can be no key.
fn shown_key(headers: &HeaderMap) -> Option<Option<&[u8]>> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let value = value.as_bytes();
        let is_bearer = value.len() > 7 && value[..7].eq_ignore_ascii_case(b"bearer ");
        return Some(is_bearer.then(|| value[7..].trim_ascii()));
    }
    headers.get(API_KEY).map(|value| Some(value.as_bytes()))
}

/// What is stored of a key: SHA-256 in hexadecimal. Keys are random, so a slow hash would protect nothing more.
pub fn hash(secret: impl AsRef<[u8]>) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_ref()).as_ref())
}

/// A new key with 256 random bits: `pr_` and 43 characters.
pub fn new_secret() -> String {
    format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random::bytes::<32>()))
}

/// Whether a text may be one of [`new_secret`].
fn is_of_our_form(shown: &[u8]) -> bool {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    shown.strip_prefix(KEY_PREFIX.as_bytes()).is_some_and(|rest| rest.len() == KEY_CHARACTERS && rest.iter().all(is_base64))
}

/// The part of a key that may be shown, to recognise it by.
pub fn shown_prefix(secret: &str) -> &str {
    let shown = SHOWN_CHARACTERS.min(secret.chars().count() / 4);
    let end = secret.char_indices().nth(shown).map_or(secret.len(), |(at, _)| at);
    &secret[..end]
}

/// What is stored of a key.
pub fn new_key(id: KeyId, secret: &str, name: &str, namespace: Option<Namespace>, scopes: Scopes, now: Timestamp) -> ApiKey {
    ApiKey {
        id,
        name: name.to_owned(),
        prefix: shown_prefix(secret).to_owned(),
        hash: hash(secret),
        namespace,
        scopes,
        created_at: now,
        expires_at: None,
        revoked_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn keys_are_long_and_differ() {
        let (a, b) = (new_secret(), new_secret());
        assert_eq!(a.len(), 46);
        assert!(a.starts_with("pr_") && a != b);
    }

    #[test]
    fn little_of_a_key_is_kept() {
        let at = Timestamp::from_secs(0);
        let id = KeyId::new(uuid::Uuid::nil());
        let key = new_key(id, &new_secret(), "n", None, Scopes::default(), at);
        assert_eq!(key.prefix.len(), 11);
        assert_eq!(new_key(id, "0123456789abcdef", "n", None, Scopes::default(), at).prefix, "0123");
        assert!(!format!("{key:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn keys_are_found_in_both_headers() {
        let shown = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            shown_key(&headers).map(|k| k.map(<[u8]>::to_vec))
        };
        let key = |text: &str| Some(Some(text.as_bytes().to_vec()));
        assert_eq!(shown("authorization", "Bearer abc"), key("abc"));
        assert_eq!(shown("authorization", "bearer  abc"), key("abc"));
        assert_eq!(shown("authorization", "Basic YTpi"), Some(None));
        assert_eq!(shown("x-api-key", "abc"), key("abc"));
        assert_eq!(shown_key(&HeaderMap::new()), None);
    }

    #[test]
    fn only_what_could_be_a_key_and_is_not_known_may_be_new() {
        let may_be_new = |name: &'static str, value: &str, keys: &[Arc<ApiKey>]| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::try_from(value).expect("a header's value"));
            Auth::may_be_new(&headers, keys.iter())
        };
        let secret = new_secret();
        let known = |secret: &str| new_key(KeyId::new(uuid::Uuid::nil()), secret, "n", None, Scopes::default(), NOW);
        let other = Arc::new(known(&new_secret()));
        assert!(may_be_new("x-api-key", &secret, &[]));
        assert!(may_be_new("authorization", &format!("Bearer {secret}"), &[Arc::clone(&other)]));
        let revoked = Arc::new(ApiKey { revoked_at: Some(NOW), ..known(&secret) });
        let expired = Arc::new(ApiKey { expires_at: Some(NOW), ..known(&secret) });
        for key in [revoked, expired] {
            assert!(!may_be_new("x-api-key", &secret, &[Arc::clone(&other), key]));
        }
        let (short, long) = (&secret[..45], format!("{secret}A"));
        for text in ["", "wrong", short, &long, &secret.replacen("pr_", "ps_", 1), &format!("{short}+")] {
            assert!(!may_be_new("x-api-key", text, &[]), "{text}");
        }
        assert!(!may_be_new("authorization", &format!("Basic {secret}"), &[]));
        assert!(!Auth::may_be_new(&HeaderMap::new(), std::iter::empty()));
    }

    /// However many ask, and at whichever moment: each is answered by a look that began after it had asked.
    #[tokio::test(start_paused = true)]
    async fn all_callers_together_look_once_in_a_while() {
        let auth = Auth::new(false);
        let ended = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let ask = |auth: Auth, ended: Arc<parking_lot::Mutex<Vec<Instant>>>| async move {
            let asked = Instant::now();
            let look = async {
                let begun = Instant::now();
                tokio::time::sleep(Duration::from_millis(3)).await;
                ended.lock().push(begun);
            };
            auth.look(look).await;
            assert!(ended.lock().iter().any(|begun| *begun >= asked));
        };
        let first = Instant::now();
        ask(auth.clone(), Arc::clone(&ended)).await;
        assert_eq!(*ended.lock(), [first], "the first one does not wait");
        let strangers: Vec<_> = (1..50)
            .map(|n| {
                let (auth, ended) = (auth.clone(), Arc::clone(&ended));
                tokio::spawn(async move {
                    for _ in 0..20 {
                        tokio::time::sleep(Duration::from_millis(n)).await;
                        ask(auth.clone(), Arc::clone(&ended)).await;
                    }
                })
            })
            .collect();
        for stranger in strangers {
            stranger.await.expect("it was answered by a look of its own time");
        }
        let ended = ended.lock();
        assert!(ended.len() > 10 && ended.windows(2).all(|two| two[1] - two[0] >= LOOK_PAUSE), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_neither_shortens_the_pause_nor_answers_for_others() {
        let auth = Auth::new(false);
        let begun = Instant::now();
        let cut = tokio::time::timeout(Duration::from_millis(1), auth.look(std::future::pending())).await;
        assert!(cut.is_err());
        let mut looked = None;
        auth.look(async { looked = Some(Instant::now()) }).await;
        assert!(looked.is_some_and(|at| at - begun >= LOOK_PAUSE), "{looked:?}");
    }

    #[test]
    fn pages_of_elsewhere_are_kept_out_of_the_development_mode() {
        let auth = Auth::new(true);
        let allowed = |of: &[(&'static str, &'static str)]| {
            let headers = of.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
            auth.without_key(&headers).is_ok()
        };
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "a.localhost", "127.9.9.9"] {
            assert!(allowed(&[("host", host)]), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1:80", "127.0.0.1.evil.example", "[::2]:1", ""]
        {
            assert!(!allowed(&[("host", host)]), "{host}");
        }
        assert!(allowed(&[("host", "localhost:8080"), ("origin", "http://localhost:5173")]));
        for origin in ["https://evil.example", "null", "http://evil.example:8080", "file://", ""] {
            assert!(!allowed(&[("host", "localhost:8080"), ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn a_wrong_key_is_refused_even_where_none_is_needed() {
        let auth = Auth::new(true);
        let mut headers = HeaderMap::new();
        let routes = Routes::default();
        let require = |auth: &Auth, headers: &HeaderMap, scope| auth.require(headers, auth.caller(headers, &routes, NOW), scope);
        let open = require(&auth, &headers, Scope::Write).expect("open");
        assert_eq!(open.namespace, Some(Namespace::default_namespace()));
        assert_eq!(require(&auth, &headers, Scope::Admin), Err(Denied::Scope(Scope::Admin)));
        headers.insert("x-api-key", HeaderValue::from_static("wrong"));
        assert_eq!(require(&auth, &headers, Scope::Read), Err(Denied::Invalid));
        assert_eq!(require(&Auth::new(false), &HeaderMap::new(), Scope::Read), Err(Denied::Missing));
    }
}
