//! The secrets of an endpoint, opened.

use http::{HeaderName, HeaderValue};
use postrider_core::auth;
use postrider_core::endpoint::Endpoint;
use postrider_core::seal::KeyRing;
use postrider_core::sign::SigningKey;

/// What the secrets of an endpoint open to; `Err` says why one of them does not.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// The signing keys.
    pub(crate) keys: Result<Vec<SigningKey>, String>,
    /// The headers whose values are sealed, credentials last: nothing comes over them.
    pub(crate) headers: Result<Vec<(HeaderName, HeaderValue)>, String>,
}

impl Secrets {
    pub(crate) fn open(endpoint: &Endpoint, ring: &KeyRing) -> Self {
        let keys = endpoint.secrets.iter().map(|sealed| {
            let secret = ring.open(sealed).map_err(|e| e.to_string())?;
            let secret = std::str::from_utf8(&secret).map_err(|e| e.to_string())?;
            SigningKey::new(secret).map_err(|e| e.to_string())
        });
        Secrets { keys: keys.collect(), headers: secret_headers(endpoint, ring) }
    }
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
