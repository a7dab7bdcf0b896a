//! Checking a URL before anything is stored for it. Names are judged again by their addresses whenever they are dialled.

use super::{Blocked, Guard};
use crate::endpoint::MAX_URL_BYTES;
use http::uri::PathAndQuery;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Position, Url};

#[cfg(test)]
mod tests;

/// Longest name that DNS can hold, in characters.
const MAX_HOST_BYTES: usize = 253;

/// Longest part of a name between two dots.
const MAX_LABEL_BYTES: usize = 63;

/// A URL to deliver to, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetUrl {
    /// Whether TLS is spoken.
    pub https: bool,
    /// The name in lower case and punycode without a dot at its end, or the IP address without brackets.
    pub host: String,
    /// The port, also where the URL leaves it out.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path_and_query: String,
    /// The whole URL in its normal spelling.
    pub normalised: String,
}

/// Why a URL is not accepted. The text says how to mend it, and never repeats a user name or password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Empty, or only spaces.
    #[error("the URL is empty: give an absolute one such as https://example.com/hook")]
    Empty,
    /// Longer than [`MAX_URL_BYTES`].
    #[error("the URL is longer than 2048 bytes: shorten it, or move what varies into the payload")]
    TooLong,
    /// A space, a control character or a backslash.
    #[error("the URL contains white space, a control character or a backslash: write them percent-encoded, such as %20")]
    BadCharacter,
    /// Neither `http://` nor `https://` at its beginning.
    #[error("the URL must be absolute and begin with https:// (or http://), such as https://example.com/hook")]
    Scheme,
    /// No host.
    #[error("the URL names no host: put one after https://, such as https://example.com/hook")]
    NoHost,
    /// A user name or password.
    #[error("the URL contains a user name or password before an @: remove it and send credentials in a header instead")]
    Userinfo,
    /// A fragment.
    #[error("the URL contains a fragment (# and what follows): remove it, a receiver never sees it")]
    Fragment,
    /// The host is no name that DNS can hold.
    #[error("the URL's host is not a valid name or IP address: correct its spelling")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the URL's port must be a number from 1 to 65535")]
    Port,
    /// Path or query cannot be sent.
    #[error("the URL's path or query contains characters that cannot be sent: write them percent-encoded")]
    Path,
    /// Plain `http` where it is not accepted.
    #[error("plain http is not accepted for {0}: use https, or start the server with --allow-http")]
    PlainHttp(String),
    /// A name of this machine, which was not opened.
    #[error("{0} is a name of the server's own machine; to deliver there on purpose start the server with --allow-network 127.0.0.0/8")]
    Localhost(String),
    /// An IP address that may not be dialled.
    #[error("{0}")]
    Blocked(Blocked),
}

impl Guard {
    /// Checks and takes apart a URL to deliver to.
    ///
    /// IP literals, in whatever spelling, and names of this machine are judged here; other names when they are resolved.
    /// Plain `http` to a name is accepted if it may turn out to lie in an allowed network.
    pub fn check_url(&self, text: &str) -> Result<TargetUrl, UrlError> {
        check_text(text)?;
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::InvalidPort => UrlError::Port,
            url::ParseError::EmptyHost => UrlError::NoHost,
            _ => UrlError::Host,
        })?;
        let https = url.scheme() == "https";
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(UrlError::Port)?;
        let host = match url.host().ok_or(UrlError::NoHost)? {
            Host::Ipv4(address) => self.judge_literal(https, IpAddr::V4(address))?,
            Host::Ipv6(address) => self.judge_literal(https, IpAddr::V6(address))?,
            Host::Domain(name) => self.judge_name(https, name)?,
        };
        let path_and_query = url[Position::BeforePath..Position::AfterQuery].to_owned();
        PathAndQuery::try_from(path_and_query.as_str()).map_err(|_| UrlError::Path)?;
        let normalised = normal_spelling(&url, https, &host, port, &path_and_query);
        if normalised.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(TargetUrl { https, host, port, path_and_query, normalised })
    }

    fn judge_literal(&self, https: bool, address: IpAddr) -> Result<String, UrlError> {
        self.check(address).map_err(UrlError::Blocked)?;
        if !https && !self.allows_plain_http(address) {
            return Err(UrlError::PlainHttp(address.to_string()));
        }
        Ok(address.to_string())
    }

    fn judge_name(&self, https: bool, name: &str) -> Result<String, UrlError> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let label =
            |l: &str| (1..=MAX_LABEL_BYTES).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if name.len() > MAX_HOST_BYTES || !name.split('.').all(label) {
            return Err(UrlError::Host);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            if !loopback.into_iter().any(|address| self.is_explicitly_allowed(address)) {
                return Err(UrlError::Localhost(name.to_owned()));
            }
        } else if !https && !self.allow_http && self.allowed.is_empty() {
            return Err(UrlError::PlainHttp(name.to_owned()));
        }
        Ok(name.to_owned())
    }
}

/// What the URL parser would repair or hide instead of refusing.
fn check_text(text: &str) -> Result<(), UrlError> {
    if text.trim().is_empty() {
        return Err(UrlError::Empty);
    }
    if text.len() > MAX_URL_BYTES {
        return Err(UrlError::TooLong);
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(UrlError::BadCharacter);
    }
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(UrlError::Scheme);
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.contains('@') {
        return Err(UrlError::Userinfo);
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(UrlError::NoHost);
    }
    if rest.contains('#') {
        return Err(UrlError::Fragment);
    }
    Ok(())
}

fn normal_spelling(url: &Url, https: bool, host: &str, port: u16, path_and_query: &str) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = if port == if https { 443 } else { 80 } { String::new() } else { format!(":{port}") };
    format!("{}://{host}{port}{path_and_query}", url.scheme())
}
