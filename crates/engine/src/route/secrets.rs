//! The secrets of an endpoint, opened.

use http::{HeaderName, HeaderValue};
use postrider_core::auth;
use postrider_core::endpoint::Endpoint;
use postrider_core::seal::{KeyRing, Sealed};
use postrider_core::sign::{ED25519_SECRET_PREFIX, Scheme, SigningKeys};

/// What the keys of an endpoint can sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Whether there is a key of any kind.
    pub(crate) at_all: bool,
    /// Whether one of them is a secret that both sides have, which most schemes need.
    pub(crate) shared: bool,
}

impl Signs {
    /// Whether there is a signature of this scheme.
    pub(crate) fn with(self, scheme: Scheme) -> bool {
        if scheme == Scheme::Standard { self.at_all } else { self.shared }
    }
}

/// What the secrets of an endpoint open to; `Err` says why one of them does not.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// The signing keys.
    pub(crate) keys: Result<SigningKeys, String>,
    /// What they can sign; of keys that are not there, what those could that stand for them.
    pub(crate) signs: Signs,
    /// The headers whose values are sealed, credentials last: nothing comes over them.
    pub(crate) headers: Result<Vec<(HeaderName, HeaderValue)>, String>,
}

impl Secrets {
    pub(crate) fn open(endpoint: &Endpoint, ring: &KeyRing) -> Self {
        let keys = signing_keys(endpoint, ring);
        let signs = keys.as_ref().map(|keys| Signs { at_all: !keys.is_empty(), shared: !keys.shared.is_empty() });
        Secrets { signs: signs.unwrap_or_default(), keys, headers: secret_headers(endpoint, ring) }
    }
}

fn signing_keys(endpoint: &Endpoint, ring: &KeyRing) -> Result<SigningKeys, String> {
    let mut keys = SigningKeys::default();
    for sealed in &endpoint.secrets {
        let secret = ring.open(sealed).map_err(|e| e.to_string())?;
        let secret = std::str::from_utf8(&secret).map_err(|e| e.to_string())?;
        keys.add(secret).map_err(|e| e.to_string())?;
    }
    Ok(keys)
}

/// The secrets of an endpoint that sign once its rotation is over: the first of each kind. `None` where one of them cannot be opened.
pub(crate) fn newest_secrets(endpoint: &Endpoint, ring: &KeyRing) -> Option<Vec<Sealed>> {
    let (mut newest, mut has) = (Vec::new(), [false; 2]);
    for sealed in &endpoint.secrets {
        let is_pair = ring.open(sealed).ok()?.starts_with(ED25519_SECRET_PREFIX.as_bytes());
        if !std::mem::replace(&mut has[usize::from(is_pair)], true) {
            newest.push(sealed.clone());
        }
    }
    Some(newest)
}

/// The headers whose values are sealed, credentials last: nothing comes over them.
fn secret_headers(endpoint: &Endpoint, ring: &KeyRing) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let open = |(name, sealed): &(String, _)| {
        let name = HeaderName::try_from(name.as_str()).map_err(|e| e.to_string())?;
        let value = ring.open(sealed).map_err(|e| e.to_string())?;
        Ok((name, auth::sensitive(&value)?))
    };
    let mut headers = endpoint.secret_headers.iter().map(open).collect::<Result<Vec<_>, String>>()?;
    headers.extend(endpoint.auth.header(ring)?);
    Ok(headers)
}
