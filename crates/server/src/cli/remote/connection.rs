//! Which server is meant, and with which key it is asked.

use super::profile::Profiles;
use super::{Failure, HEADING, input};
use crate::cli::say;
use crate::config::value::Secret;
use std::path::{Path, PathBuf};

/// Where a server is that nobody named.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// The flags that say which server is meant, and who asks.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// The server, such as https://hooks.example.com [default: that of the profile, else http://127.0.0.1:8080].
    #[arg(long, global = true, env = "POSTRIDER_URL", value_name = "URL", help_heading = HEADING)]
    url: Option<String>,
    /// The profile that says where the server is and with which key to ask it [default: the one of `postrider profiles use`].
    #[arg(long, global = true, env = "POSTRIDER_PROFILE", value_name = "NAME", help_heading = HEADING)]
    profile: Option<String>,
    /// The API key. Other users of this machine can see it here: the variable, --key-file and profiles keep it to yourself.
    #[arg(long, global = true, env = "POSTRIDER_KEY", hide_env_values = true, value_name = "KEY", help_heading = HEADING, value_parser = secret)]
    key: Option<Secret>,
    /// Read the API key from the first line of this file; it wins over --key.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    key_file: Option<PathBuf>,
}

/// What a connection comes to.
pub struct Target {
    /// Where the server is.
    pub url: String,
    /// The key, if there is one.
    pub key: Option<Secret>,
    /// The namespace that the profile names.
    pub namespace: Option<String>,
}

impl Connection {
    /// Whether a server was named, and not just assumed.
    pub fn is_named(&self) -> bool {
        given(self.url.as_deref()).is_some() || given(self.profile.as_deref()).is_some()
    }

    /// What was named, filled in from the profile.
    pub fn target(&self) -> Result<Target, Failure> {
        let key = match &self.key_file {
            Some(file) => Some(key_of(file)?),
            None => self.key.clone().filter(|key| !key.reveal().is_empty()),
        };
        let url = given(self.url.as_deref());
        let profiles = Profiles::read()?;
        let profile = match given(self.profile.as_deref()) {
            Some(name) => Some(profiles.named(name)?),
            // A key goes to its own server, unless it is said that another one is to have it.
            None => profiles.current()?.filter(|profile| url.is_none_or(|url| same(url, &profile.url))),
        };
        let url = url.or(profile.map(|profile| profile.url.as_str())).unwrap_or(DEFAULT_URL);
        let key = key.or_else(|| profile.and_then(|profile| profile.key.clone()).map(Secret::new));
        if key.is_some() && is_open(url) {
            say(&format!(
                "postrider: the key goes to {url} unencrypted, for whoever is on the way to read: https:// keeps it to the server"
            ));
        }
        Ok(Target { url: url.to_owned(), key, namespace: profile.and_then(|profile| profile.namespace.clone()) })
    }
}

/// Whether what goes there can be read on the way: it goes to another machine without TLS.
pub fn is_open(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        // It is refused later.
        None => true,
    };
    url.scheme() == "http" && !is_here
}

/// A value that is there and not empty, as variables often are.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// Whether two URLs name the same server.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn secret(text: &str) -> Result<Secret, String> {
    if text == "-" { Err(String::from("a key comes from stdin with --key-file -")) } else { Ok(Secret::new(text.trim())) }
}

/// The first line of a file, or of stdin where it is called `-`.
fn key_of(file: &Path) -> Result<Secret, Failure> {
    let text = input::read(file)?;
    let text = String::from_utf8(text).map_err(|_| Failure::usage(format!("--key-file {}: that is no text", file.display())))?;
    match text.lines().next().map(str::trim) {
        Some(key) if !key.is_empty() => Ok(Secret::new(key)),
        _ => Err(Failure::usage(format!("--key-file {}: its first line is empty", file.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_server_is_known_by_its_url() {
        assert!(same("https://Hooks.example.com", "https://hooks.example.com/"));
        assert!(!same("https://hooks.example.com", "https://hooks.example.com:8443"));
        assert!(!same("https://hooks.example.com", "http://hooks.example.com"));
    }

    #[test]
    fn who_sends_a_key_in_the_open_is_warned() {
        for open in ["http://hooks.example.com", "http://10.0.0.1:8080", "http://[2001:db8::1]/x"] {
            assert!(is_open(open), "{open}");
        }
        for kept in ["https://hooks.example.com", "http://127.0.0.1:8080", "http://localhost", "http://a.localhost", "http://[::1]:1", "x"]
        {
            assert!(!is_open(kept), "{kept}");
        }
    }

    #[test]
    fn empty_values_name_nothing() {
        let connection = Connection { url: Some(String::new()), profile: Some(String::from(" ")), key: None, key_file: None };
        assert!(!connection.is_named());
        assert!(Connection { url: Some(String::from("http://x")), ..connection }.is_named());
    }

    #[test]
    fn a_key_is_not_shown_and_does_not_come_from_stdin_by_accident() {
        secret("-").expect_err("stdin");
        let key = secret("pr_secret").expect("a key");
        assert!(!format!("{:?}", Connection { url: None, profile: None, key: Some(key), key_file: None }).contains("pr_secret"));
    }
}
