//! The configuration file: TOML whose every key is known.

use super::database::DatabaseUrl;
use super::value::{Network, Share, Size, Span};
use crate::observe::LogFormat;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Every key of the file, tables dotted.
pub(super) const KEYS: &[&str] = &[
    "allow_http",
    "allow_networks",
    "data_dir",
    "database_schema",
    "database_url",
    "database_wait",
    "dev",
    "grpc_listen",
    "header_timeout",
    "idle_timeout",
    "items.disable_after_dead",
    "items.jitter",
    "listen",
    "log",
    "log_format",
    "max_body",
    "max_connections",
    "max_store_bytes",
    "node_address",
    "node_name",
    "port_file",
    "rate_limits.publish",
    "rate_limits.read",
    "rate_limits.write",
    "retention.bodies",
    "retention.events",
    "retention.logs",
    "retention.rows",
    "shutdown_timeout",
    "tasks.max_attempts",
    "tasks.retry_gaps",
    "workers",
];

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) allow_http: Option<bool>,
    pub(super) allow_networks: Option<Vec<Network>>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) database_schema: Option<String>,
    pub(super) database_url: Option<DatabaseUrl>,
    pub(super) database_wait: Option<Span>,
    pub(super) dev: Option<bool>,
    pub(super) grpc_listen: Option<SocketAddr>,
    pub(super) header_timeout: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) items: ItemsTable,
    pub(super) listen: Option<SocketAddr>,
    pub(super) log: Option<String>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) max_body: Option<Size>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_store_bytes: Option<Size>,
    pub(super) node_address: Option<String>,
    pub(super) node_name: Option<String>,
    pub(super) port_file: Option<PathBuf>,
    pub(super) rate_limits: RateLimitsTable,
    pub(super) retention: RetentionTable,
    pub(super) shutdown_timeout: Option<Span>,
    pub(super) tasks: TasksTable,
    pub(super) workers: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RetentionTable {
    pub(super) bodies: Option<Span>,
    pub(super) events: Option<Span>,
    pub(super) logs: Option<Span>,
    pub(super) rows: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RateLimitsTable {
    pub(super) publish: Option<u32>,
    pub(super) read: Option<u32>,
    pub(super) write: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ItemsTable {
    pub(super) disable_after_dead: Option<u32>,
    pub(super) jitter: Option<Share>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TasksTable {
    pub(super) max_attempts: Option<u32>,
    pub(super) retry_gaps: Option<Vec<Span>>,
}

/// Reads a file's text. An unknown key is an error that names the nearest known one.
pub(super) fn parse(text: &str) -> Result<File, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| without_passwords(&e))?;
    check_keys(&table, "")?;
    // From the text again, not from the table: then an error shows its line.
    toml::from_str(text).map_err(|e| without_passwords(&e))
}

/// What is wrong, with the line where it is, unless that may be the one of the database's URL, in which there may be a password.
fn without_passwords(error: &toml::de::Error) -> String {
    let shown = error.to_string();
    if !["database_url", "postgres", "://"].iter().any(|word| shown.contains(word)) {
        return shown;
    }
    let place = shown.lines().next().filter(|line| line.starts_with("TOML parse error")).unwrap_or("TOML parse error");
    format!("{place} (not shown, for there may be a password in it): {}", error.message())
}

fn check_keys(table: &toml::Table, prefix: &str) -> Result<(), String> {
    for (key, value) in table {
        let full = format!("{prefix}{key}");
        if KEYS.contains(&full.as_str()) {
            continue;
        }
        let inside = format!("{full}.");
        match value {
            toml::Value::Table(inner) if KEYS.iter().any(|k| k.starts_with(&inside)) => check_keys(inner, &inside)?,
            _ => return Err(format!("unknown key {full:?}; did you mean {:?}?", nearest(&full, KEYS))),
        }
    }
    Ok(())
}

/// The known name that takes the fewest edits to reach.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> &'a str {
    known.iter().copied().min_by_key(|k| distance(name, k)).unwrap_or_default()
}

/// The Levenshtein distance of two ASCII names.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_named_with_the_nearest_known_one() {
        for (text, key, near) in [
            ("listn = '127.0.0.1:1'", "listn", "listen"),
            ("[tasks]\nretry_gap = ['1s']", "tasks.retry_gap", "tasks.retry_gaps"),
            ("[retention]\nlog = '1h'", "retention.log", "retention.logs"),
            ("[task]\nmax_attempts = 3", "task", "tasks.max_attempts"),
            ("retention = 3\n[x]", "retention", "retention.logs"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(&format!("{key:?}")), "{error}");
            if key != "task" && key != "retention" {
                assert!(error.contains(&format!("{near:?}")), "{error}");
            }
        }
    }

    #[test]
    fn wrong_values_are_errors_that_show_where() {
        for text in ["listen = 'nowhere'", "retention.logs = 'soon'", "dev = 'yes'", "max_body = 1.5", "workers = -1"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn a_line_with_a_password_is_not_shown() {
        for text in [
            "listen = '127.0.0.1:1'\ndatabase_url = 'postgres://u:s3cret@h/d",
            "database_url = { url = 's3cret' }",
            "x = postgres://u:s3cret",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!((distance("", "abc"), distance("listn", "listen"), distance("same", "same"), distance("ab", "ba")), (3, 1, 0, 2));
    }
}
