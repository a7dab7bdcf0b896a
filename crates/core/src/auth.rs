//! How Postrider shows receivers who it is: credentials of an endpoint, sealed.

use crate::invalid::Invalid;
use crate::seal::{KeyRing, Sealed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest token, key, user name and password, in bytes: receivers commonly refuse more than 8 KiB of headers.
pub const MAX_CREDENTIAL_BYTES: usize = 4_096;

/// The header of an API key where nobody names another (contract of the Items API, section 9.2).
pub const DEFAULT_API_KEY_HEADER: &str = "X-API-Key";

/// Credentials that every request to an endpoint carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Auth {
    /// None.
    #[default]
    None,
    /// `Authorization: Bearer <token>`.
    Bearer {
        /// The token.
        token: Sealed,
    },
    /// `Authorization: Basic <user name and password>`.
    Basic {
        /// User name, a colon and password.
        credentials: Sealed,
    },
    /// A key in a header of its own.
    ApiKey {
        /// The header's name.
        header: String,
        /// The key.
        key: Sealed,
    },
}

/// Seals a secret: [`KeyRing::seal`] with the randomness of whoever has some.
pub type Seal<'a> = &'a mut dyn FnMut(&[u8]) -> Sealed;

impl Auth {
    /// A bearer token: visible ASCII. The error names the field of `auth_config` (contract of the Items API, section 9.2), here as below.
    pub fn bearer(token: &str, seal: Seal<'_>) -> Result<Self, Invalid> {
        if token.is_empty() || token.len() > MAX_CREDENTIAL_BYTES || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Invalid::new("token", "a token is 1 to 4,096 visible ASCII characters without spaces"));
        }
        Ok(Auth::Bearer { token: seal(token.as_bytes()) })
    }

    /// User name and password in UTF-8 (RFC 7617): no control characters in either, and no colon in the name.
    pub fn basic(username: &str, password: &str, seal: Seal<'_>) -> Result<Self, Invalid> {
        let is_plain = |text: &str| text.len() <= MAX_CREDENTIAL_BYTES / 2 && !text.chars().any(char::is_control);
        if !is_plain(username) || username.contains(':') {
            return Err(Invalid::new("username", "a user name is at most 2,048 bytes without control characters and colons"));
        }
        if !is_plain(password) {
            return Err(Invalid::new("password", "a password is at most 2,048 bytes without control characters"));
        }
        Ok(Auth::Basic { credentials: seal(Zeroizing::new(format!("{username}:{password}")).as_bytes()) })
    }

    /// A key in a header: one that extra headers may have too, or `Authorization`.
    pub fn api_key(header: &str, key: &str, seal: Seal<'_>) -> Result<Self, Invalid> {
        let name = HeaderName::try_from(header)
            .map_err(|_| Invalid::new("header_name", "a header's name is made of letters, digits and !#$%&'*+-.^_`|~"))?;
        if name != http::header::AUTHORIZATION {
            crate::endpoint::check_header_name(&name).map_err(|rule| Invalid::new("header_name", rule.0))?;
        }
        if key.is_empty()
            || key.len() > MAX_CREDENTIAL_BYTES
            || !key.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
            || key.trim() != key
        {
            return Err(Invalid::new("api_key", "an API key is 1 to 4,096 visible ASCII characters, with spaces only between them"));
        }
        Ok(Auth::ApiKey { header: header.to_owned(), key: seal(key.as_bytes()) })
    }

    /// Whether it takes up the header `Authorization`.
    pub fn is_authorization(&self) -> bool {
        match self {
            Auth::None => false,
            Auth::Bearer { .. } | Auth::Basic { .. } => true,
            Auth::ApiKey { header, .. } => header.eq_ignore_ascii_case("authorization"),
        }
    }

    /// The sealed part.
    pub fn sealed(&self) -> Option<&Sealed> {
        match self {
            Auth::None => None,
            Auth::Bearer { token: sealed } | Auth::Basic { credentials: sealed } | Auth::ApiKey { key: sealed, .. } => Some(sealed),
        }
    }

    /// The sealed part, to be sealed anew.
    pub fn sealed_mut(&mut self) -> Option<&mut Sealed> {
        match self {
            Auth::None => None,
            Auth::Bearer { token: sealed } | Auth::Basic { credentials: sealed } | Auth::ApiKey { key: sealed, .. } => Some(sealed),
        }
    }

    /// The name of the header that it becomes.
    pub fn header_name(&self) -> Option<&str> {
        match self {
            Auth::None => None,
            Auth::Bearer { .. } | Auth::Basic { .. } => Some(http::header::AUTHORIZATION.as_str()),
            Auth::ApiKey { header, .. } => Some(header),
        }
    }

    /// The header to send, marked as sensitive. The error says why the secret cannot be opened.
    pub fn header(&self, ring: &KeyRing) -> Result<Option<(HeaderName, HeaderValue)>, String> {
        let open = |sealed| ring.open(sealed).map_err(|e| e.to_string());
        let authorization = http::header::AUTHORIZATION;
        let (name, value) = match self {
            Auth::None => return Ok(None),
            Auth::Bearer { token } => (authorization, Zeroizing::new([b"Bearer ", &open(token)?[..]].concat())),
            Auth::Basic { credentials } => {
                (authorization, Zeroizing::new(format!("Basic {}", STANDARD.encode(&*open(credentials)?)).into_bytes()))
            }
            Auth::ApiKey { header, key } => (HeaderName::try_from(header.as_str()).map_err(|e| e.to_string())?, open(key)?),
        };
        Ok(Some((name, sensitive(&value)?)))
    }
}

/// A header's value that is neither logged nor put into an index that others share.
pub fn sensitive(value: &[u8]) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_bytes(value).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(digits: &str) -> KeyRing {
        KeyRing::parse(&format!("{digits}={}", digits.repeat(32))).expect("a ring")
    }

    fn header(make: impl Fn(Seal<'_>) -> Result<Auth, Invalid>) -> (String, String) {
        let ring = ring("ab");
        let auth = make(&mut |plain| ring.seal(plain, &mut |bytes| bytes.fill(7))).expect("right credentials");
        let json = serde_json::to_string(&auth).expect("JSON");
        assert_eq!(serde_json::from_str::<Auth>(&json).expect("the same"), auth);
        assert!(!format!("{auth:?}{json}").contains("s3cret"), "{auth:?} {json}");
        let (name, value) = auth.header(&ring).expect("it opens").expect("a header");
        assert!(value.is_sensitive() && !format!("{value:?}").contains("s3cret"));
        assert!(auth.header(&self::ring("cd")).expect_err("another key").contains("\"ab\""));
        (name.to_string(), value.to_str().expect("ASCII").to_owned())
    }

    #[test]
    fn credentials_become_headers() {
        assert_eq!(header(|seal| Auth::bearer("s3cret", seal)), ("authorization".into(), "Bearer s3cret".into()));
        // RFC 7617, section 2.
        let basic = header(|seal| Auth::basic("Aladdin", "open sesame", seal));
        assert_eq!(basic, ("authorization".into(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".into()));
        assert_eq!(header(|seal| Auth::api_key(DEFAULT_API_KEY_HEADER, "s3cret", seal)), ("x-api-key".into(), "s3cret".into()));
        assert_eq!(Auth::None.header(&ring("ab")), Ok(None));
    }

    #[test]
    fn credentials_that_would_break_a_request_are_refused() {
        let no = &mut |_: &[u8]| -> Sealed { panic!("nothing to seal") };
        let long = "x".repeat(MAX_CREDENTIAL_BYTES + 1);
        let at = |made: Result<Auth, Invalid>| made.expect_err("it would break a request").path;
        for token in ["", "a b", "a\r\nX: y", "ü", &long] {
            assert_eq!(at(Auth::bearer(token, no)), "token", "{token}");
        }
        for (name, password, path) in [
            ("a:b", "c", "username"),
            ("a\n", "c", "username"),
            ("a", "\u{7f}", "password"),
            (&*long, "c", "username"),
            ("a", &*long, "password"),
        ] {
            assert_eq!(at(Auth::basic(name, password, no)), path, "{name} {password}");
        }
        for name in ["X Key", "", "Host", "X-Postrider-Event"] {
            assert_eq!(at(Auth::api_key(name, "k", no)), "header_name", "{name}");
        }
        for key in ["", "a\r\nb", " k", &long] {
            assert_eq!(at(Auth::api_key("X-Key", key, no)), "api_key", "{key}");
        }
    }

    #[test]
    fn who_takes_up_the_authorization_header_says_so() {
        let seal = &mut |_: &[u8]| Sealed::from_bytes(vec![1]);
        let key = |header: &str, seal: Seal<'_>| Auth::api_key(header, "k", seal).expect("right");
        assert!(key("authorization", seal).is_authorization() && !key("X-Key", seal).is_authorization());
        assert!(Auth::bearer("t", seal).expect("right").is_authorization() && !Auth::None.is_authorization());
    }
}
