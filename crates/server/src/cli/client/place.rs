//! Where a server is.

use super::CallError;
use http::{HeaderValue, Uri};
use url::{Host, Position, Url};

/// Where a server is.
#[derive(Debug)]
pub(super) struct Place {
    /// Its URL, to be shown; it has no secrets in it.
    pub(super) url: String,
    /// Whether connections are secure.
    pub(super) https: bool,
    /// A name, or an IP address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The header `Host`.
    pub(super) authority: HeaderValue,
    /// What its paths begin with, without a slash at the end.
    prefix: String,
}

impl Place {
    /// From an `http` or `https` URL, with a path where a proxy serves it under one.
    pub(super) fn new(text: &str) -> Result<Self, CallError> {
        // Of a text that may hold a password nothing is repeated.
        let url = Url::parse(text.trim()).map_err(|error| CallError::given(format!("the URL of the server cannot be read: {error}")))?;
        let https = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(CallError::given("the URL of the server must begin with http:// or https://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(CallError::given(
                "the URL of the server must have no user name and no password: give the key as --key or POSTRIDER_KEY",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(CallError::given("the URL of the server must have neither ? nor #"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(CallError::given("the URL of the server names no host")),
        };
        let port = url.port_or_known_default().unwrap_or(if https { 443 } else { 80 });
        let authority = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
        let authority = authority.map_err(|_| CallError::given("the host of the URL cannot be sent in a header"))?;
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Place { url: url.as_str().trim_end_matches('/').to_owned(), https, host, port, authority, prefix })
    }

    /// What `package.Service/Method` is asked at, or a path of the REST APIs without its first slash.
    pub(super) fn path(&self, of: &str) -> Result<Uri, CallError> {
        Uri::try_from(format!("{}/{of}", self.prefix)).map_err(|error| CallError::given(format!("{of} cannot be asked for: {error}")))
    }
}
