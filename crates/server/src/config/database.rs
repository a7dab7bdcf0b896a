//! The database that holds everything, where it is not the embedded one, and who this node is among those that share it.

use super::show::MASK;
use super::value::Secret;
use super::{Config, SECRETS_KEY};
use postrider_store::PgOptions;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// The schema that is used where none is named.
const SCHEMA: &str = "postrider";

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
    let (user, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => match credentials.split_once(':') {
            Some((user, _)) => (format!("{user}:{MASK}@"), rest),
            None => (format!("{credentials}@"), rest),
        },
        None => (String::new(), rest),
    };
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}://{user}{rest}") };
    let pairs: Vec<String> = query.split('&').map(masked_pair).collect();
    format!("{scheme}://{user}{place}?{}", pairs.join("&"))
}

/// A name that is written with escapes may be that of a password.
fn masked_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") || name.contains('%') => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    }
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
        match (self.database(), &self.database_schema) {
            (Some(options), _) => options.verify().map_err(|e| e.to_string()),
            (None, Some(_)) => Err(String::from("database_schema is of a database, and there is no database_url: give both, or neither")),
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
            ("postgres://h/d?user=u&password=s3cret&connect_timeout=3", "postgres://h/d?user=u&password=********&connect_timeout=3"),
            ("postgres://h/d?p%61ssword=s3cret", "postgres://h/d?p%61ssword=********"),
            ("postgres://u:s3@cret@h/d", "postgres://u:********@h/d"),
            ("postgres://u:s3/cr?et@h/d", "postgres://u:********@h/d"),
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
