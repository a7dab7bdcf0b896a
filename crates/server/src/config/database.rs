//! The database that holds everything, where it is not the embedded one, and who this node is among those that share it.

use super::show::MASK;
use super::value::{Secret, Span};
use super::{Config, SECRETS_KEY, between};
use postrider_store::PgOptions;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// The schema that is used where none is named.
const SCHEMA: &str = "postrider";

/// How long a start waits for the database where nothing is said: for as long as a server takes to come back, with a failover in between.
const WAIT: Span = Span::secs(300);

/// The longest that it may wait.
const LONGEST_WAIT: Span = Span::secs(7 * 86_400);

/// Longest name of a node, in bytes.
const MAX_NODE_NAME: usize = 255;

/// Longest address of a node, in bytes.
const MAX_NODE_ADDRESS: usize = 2_048;

/// Where the database is, and how to get in. It is shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Secret);

impl DatabaseUrl {
    /// All of it, for connecting.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Says what of it could not be shown safely, or would not be kept to.
    fn check(&self) -> Result<(), String> {
        let Some((_, query)) = self.reveal().split_once('?') else { return Ok(()) };
        if query.contains('@') {
            return Err(String::from(
                "the URL of the database has an @ behind a question mark: in a password, and everywhere else but before the host, @ is written as \
                 %40 and ? as %3F",
            ));
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            // The rest of a password, perhaps: it is not repeated.
            let Some((name, value)) = pair.split_once('=') else {
                return Err(String::from(
                    "what is behind the question mark in the URL of the database must be NAME=VALUE, with & in between: in a password & is written as \
                     %26",
                ));
            };
            match name {
                "target_session_attrs" if value != "read-write" => {
                    return Err(String::from(
                        "target_session_attrs in the URL of the database can be nothing but read-write: a node writes, whatever it is asked for",
                    ));
                }
                "connect_timeout" => {
                    return Err(String::from(
                        "connect_timeout in the URL of the database cannot be kept to, for a node must notice within its lease that the database is \
                         away: take it out; how long a start waits is --database-wait",
                    ));
                }
                name if name.contains('%') => {
                    return Err(String::from("the names of options in the URL of the database are written without escapes"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    /// Takes any text. What is wrong with it is said later, by a text that does not repeat it: that of the command line would.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(DatabaseUrl(Secret::new(text.trim())))
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| DatabaseUrl(Secret::new(text.trim())))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(self.reveal()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Without anything that may be a password: what is no URL is masked whole, and where it is not clear how far a password goes, too much is.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql")) else {
        return MASK.to_owned();
    };
    let (head, query) = rest.split_once('?').map_or((rest, None), |(head, query)| (head, Some(query)));
    // Either may be part of a password then.
    if query.is_some_and(|query| query.contains('@')) {
        return format!("{scheme}://{MASK}");
    }
    let (user, place) = match head.rsplit_once('@') {
        Some((credentials, place)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:{MASK}@"), place),
            None => (format!("{credentials}@"), place),
        },
        None => (String::new(), head),
    };
    let place = if has_ports(place) { place } else { MASK };
    let query = query.map(|query| format!("?{}", masked_query(query))).unwrap_or_default();
    format!("{scheme}://{user}{place}{query}")
}

/// Whether what stands behind the hosts are ports: where the host was left out it is a password.
fn has_ports(place: &str) -> bool {
    let hosts = place.split_once('/').map_or(place, |(hosts, _)| hosts);
    hosts.split(',').all(|host| {
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        behind.split_once(':').is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// From a password on nothing is shown, for there may be a & in it. A name that is written with escapes may be that of a password, and what has
/// no name a part of one.
fn masked_query(query: &str) -> String {
    let mut shown: Vec<String> = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("pass") || name.contains('%') => {
                shown.push(format!("{name}={MASK}"));
                break;
            }
            Some(_) => shown.push(pair.to_owned()),
            None => shown.push(MASK.to_owned()),
        }
    }
    shown.join("&")
}

/// The name of this host, by which people know it.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { SCHEMA.to_owned() } else { name }
}

impl Config {
    /// The schema of the database.
    pub fn schema(&self) -> &str {
        self.database_schema.as_deref().unwrap_or(SCHEMA)
    }

    /// How long a start waits for the database while it is away.
    pub fn database_wait(&self) -> Span {
        self.database_wait.unwrap_or(WAIT)
    }

    /// How to open the database; `None` where everything is in the data directory.
    pub fn database(&self) -> Option<PgOptions> {
        let url = self.database_url.as_ref()?;
        Some(PgOptions {
            schema: self.schema().to_owned(),
            node_name: self.node_name.clone(),
            node_address: self.node_address.clone(),
            budget_bytes: self.max_store_bytes.map(|size| size.0),
            ..PgOptions::new(url.reveal())
        })
    }

    /// Where everything is stored, for people.
    pub fn place(&self) -> String {
        match &self.database_url {
            Some(url) => format!("{url}, schema {}", self.schema()),
            None => self.data_dir.display().to_string(),
        }
    }

    /// Says what is wrong with where everything is to be stored. Nothing is connected to.
    pub(crate) fn check_place(&self) -> Result<(), String> {
        let given = [("database_schema", self.database_schema.is_some()), ("database_wait", self.database_wait.is_some())];
        match (self.database(), given.into_iter().find(|(_, is_given)| *is_given)) {
            (Some(options), _) => {
                self.database_url.as_ref().map_or(Ok(()), DatabaseUrl::check)?;
                between("database_wait", self.database_wait(), Span::secs(0), LONGEST_WAIT)?;
                options.verify().map_err(|e| e.to_string())
            }
            (None, Some((name, _))) => Err(format!("{name} is of a database, and there is no database_url: give both, or neither")),
            (None, None) => Ok(()),
        }
    }

    /// A key of each node's own would make secrets that the others cannot read.
    pub(super) fn check_secrets_key(&self) -> Result<(), String> {
        if self.database_url.is_none() || self.secrets_key.is_some() || self.dev {
            return Ok(());
        }
        Err(format!(
            "with a database the key of secrets must be given, the same to every node: {SECRETS_KEY}=k1=DIGITS with the 64 digits that openssl \
             rand -hex 32 makes; keep a copy of it, for without it the stored secrets cannot be read"
        ))
    }

    pub(super) fn check_node(&self) -> Result<(), String> {
        if self.node_name.is_empty() || self.node_name.len() > MAX_NODE_NAME || self.node_name.chars().any(char::is_control) {
            return Err(format!("node_name must have 1 to {MAX_NODE_NAME} bytes and no control characters"));
        }
        let Some(address) = &self.node_address else { return Ok(()) };
        let is_fine = |url: url::Url| matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        if address.len() > MAX_NODE_ADDRESS || address.chars().any(char::is_control) || !url::Url::parse(address).is_ok_and(is_fine) {
            return Err(String::from("node_address must be a URL such as http://10.0.0.5:8080, without a user and a password"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn passwords_are_masked_wherever_they_may_be() {
        for (url, shown) in [
            ("postgres://u:s3cret@h:5432/d?sslmode=verify-full", "postgres://u:********@h:5432/d?sslmode=verify-full"),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            ("postgres://h/d?user=u&password=s3cret&sslmode=require", "postgres://h/d?user=u&password=********"),
            ("postgres://h/d?user=u&password=s3@cret", "postgres://********"),
            ("postgres://h/d?user=u&password=s3&cret", "postgres://h/d?user=u&password=********"),
            ("postgres://u@h/d?application_name=a&sslpassword=s3cret", "postgres://u@h/d?application_name=a&sslpassword=********"),
            ("postgres://u:s3cret@h/d?PassWord=s3cret", "postgres://u:********@h/d?PassWord=********"),
            ("postgres://h/d?p%61ssword=s3cret", "postgres://h/d?p%61ssword=********"),
            ("postgres://h/d?s3cret", "postgres://h/d?********"),
            ("postgres://u:s3@cret@h/d", "postgres://u:********@h/d"),
            ("postgres://u:s3/cr?et@h/d", "postgres://********"),
            ("postgres://u:s3cret/d", "postgres://********"),
            ("postgres://u@[::1]:5432,h:5433/d", "postgres://u@[::1]:5432,h:5433/d"),
            ("host=h password=s3cret", "********"),
            ("mysql://u:s3cret@h/d", "********"),
            ("", "********"),
        ] {
            let url: DatabaseUrl = url.parse().expect("any text");
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("DatabaseUrl({shown})")));
        }
    }

    fn refused(flags: Flags) -> String {
        Config::of(flags).expect_err("it is refused")
    }

    #[test]
    fn what_nodes_share_is_given_whole() {
        let with_url = |url: &str| Flags { database_url: url.parse().ok(), ..Flags::default() };
        let text = refused(with_url("postgres://u:s3cret@h/d"));
        assert!(text.contains(SECRETS_KEY) && text.contains("openssl") && !text.contains("s3cret"), "{text}");
        let config =
            Config::of(Flags { dev: Some(true), ..with_url("postgres://u:s3cret@h/d") }).expect("the development mode makes a key");
        assert_eq!(config.database().expect("options").schema, SCHEMA);
        assert!(!format!("{config:?} {config}").contains("s3cret"));
        assert!(refused(with_url("mysql://u:s3cret@h/d")).contains("does not begin with postgres://"));
        let named = |name: &str| Flags { database_schema: Some(name.to_owned()), ..with_url("postgres://h/d") };
        assert!(refused(named("No Name")).contains("cannot be the name of a schema"));
        assert!(refused(Flags { database_url: None, ..named("a") }).contains("there is no database_url"));
    }

    #[test]
    fn what_would_be_shown_or_not_kept_to_is_refused() {
        for (url, words) in [
            ("postgres://h/d?user=u&password=s3@cret", "%40"),
            ("postgres://u:s3/cr?et@h/d", "%40"),
            // The store's own reading of the URL refuses this one.
            ("postgres://u:s3@cret@h/d", "%40"),
            ("postgres://u@h/d?password=s3&cret", "%26"),
            ("postgres://u@h/d?connect_timeout=3", "--database-wait"),
            ("postgres://u@h/d?target_session_attrs=any", "read-write"),
            ("postgres://u@h/d?connect%5ftimeout=3", "without escapes"),
        ] {
            let text = refused(Flags { database_url: url.parse().ok(), dev: Some(true), ..Flags::default() });
            assert!(text.contains(words) && !text.contains("s3") && !text.contains("cret"), "{url}: {text}");
        }
        for url in ["postgres://u@h/d?target_session_attrs=read-write", "postgres://u:s3%40cret@h/d?application_name=a"] {
            let flags = Flags { database_url: url.parse().ok(), dev: Some(true), ..Flags::default() };
            assert!(Config::of(flags).is_ok(), "{url}");
        }
        let wait = |url: Option<&str>, secs: u64| Flags {
            database_url: url.and_then(|url| url.parse().ok()),
            database_wait: Some(Span::secs(secs)),
            dev: Some(true),
            ..Flags::default()
        };
        assert!(refused(wait(None, 1)).contains("database_wait is of a database"));
        assert!(refused(wait(Some("postgres://h/d"), 8 * 86_400)).contains("database_wait must be between"));
        assert_eq!(Config::of(wait(Some("postgres://h/d"), 0)).expect("it does not wait").database_wait(), Span::secs(0));
    }

    #[test]
    fn nodes_have_names_and_addresses_that_can_be_shown() {
        assert!(!Config::of(Flags::default()).expect("the defaults").node_name.is_empty());
        for name in ["", "a\nb", &"n".repeat(256)] {
            assert!(refused(Flags { node_name: Some(name.to_owned()), ..Flags::default() }).contains("node_name"), "{name}");
        }
        for address in ["", "10.0.0.1:8080", "ftp://h/", "http://u:p@h/"] {
            assert!(refused(Flags { node_address: Some(address.to_owned()), ..Flags::default() }).contains("node_address"), "{address}");
        }
    }
}
