//! The effective configuration as a file that could be read again.

use super::{BOOTSTRAP_KEY, Config, SECRETS_KEY};
use std::fmt;

/// How a secret is shown.
pub(super) const MASK: &str = "********";

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |s: &dyn fmt::Display| toml::Value::String(s.to_string());
        match &self.file {
            Some(path) => writeln!(f, "# flags and environment over {} over defaults", path.display())?,
            None => writeln!(f, "# flags and environment over defaults; there is no configuration file")?,
        }
        for (name, value) in [(BOOTSTRAP_KEY, &self.bootstrap_key), (SECRETS_KEY, &self.secrets_key)] {
            if value.is_some() {
                writeln!(f, "# {name} = {MASK}")?;
            }
        }
        writeln!(f, "listen = {}", text(&self.listen))?;
        if let Some(address) = &self.grpc_listen {
            writeln!(f, "grpc_listen = {}", text(address))?;
        }
        writeln!(f, "data_dir = {}", text(&self.data_dir.display()))?;
        if let Some(url) = &self.database_url {
            writeln!(f, "database_url = {}", text(url))?;
            writeln!(f, "database_schema = {}", text(&self.schema()))?;
            writeln!(f, "database_wait = {}", text(&self.database_wait()))?;
        }
        writeln!(f, "node_name = {}", text(&self.node_name))?;
        if let Some(address) = &self.node_address {
            writeln!(f, "node_address = {}", text(address))?;
        }
        writeln!(f, "dev = {}", self.dev)?;
        writeln!(f, "allow_networks = {}", list(&self.allow_networks))?;
        writeln!(f, "allow_http = {}", self.allow_http)?;
        if let Some(path) = &self.port_file {
            writeln!(f, "port_file = {}", text(&path.display()))?;
        }
        writeln!(f, "max_body = {}", text(&self.max_body))?;
        writeln!(f, "max_connections = {}", self.max_connections)?;
        if let Some(size) = &self.max_store_bytes {
            writeln!(f, "max_store_bytes = {}", text(size))?;
        }
        writeln!(f, "header_timeout = {}", text(&self.header_timeout))?;
        writeln!(f, "idle_timeout = {}", text(&self.idle_timeout))?;
        writeln!(f, "shutdown_timeout = {}", text(&self.shutdown_timeout))?;
        if let Some(workers) = self.workers {
            writeln!(f, "workers = {workers}")?;
        }
        writeln!(f, "log = {}", text(&self.log))?;
        writeln!(f, "log_format = {}", text(&self.log_format.as_str()))?;
        let limits = self.rate_limits;
        writeln!(f, "\n[rate_limits]\nread = {}\nwrite = {}\npublish = {}", limits.read, limits.write, limits.publish)?;
        writeln!(f, "\n[retention]\nlogs = {}", text(&self.retain_logs))?;
        if let Some(age) = &self.retain_rows {
            writeln!(f, "rows = {}", text(age))?;
        }
        writeln!(f, "bodies = {}", text(&self.retain_bodies))?;
        writeln!(f, "events = {}", text(&self.retain_events))?;
        writeln!(f, "\n[items]\njitter = {}", text(&self.items_jitter))?;
        writeln!(f, "disable_after_dead = {}", self.disable_after_dead)?;
        writeln!(f, "\n[tasks]\nretry_gaps = {}", list(&self.tasks_retry))?;
        writeln!(f, "max_attempts = {}", self.tasks_max_attempts)
    }
}

fn list<T: fmt::Display>(items: &[T]) -> toml::Value {
    toml::Value::Array(items.iter().map(|i| toml::Value::String(i.to_string())).collect())
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;
    use crate::config::Flags;
    use std::path::PathBuf;

    #[test]
    fn what_is_shown_can_be_read_again_and_names_every_key() {
        let flags = || Flags {
            workers: Some(3),
            grpc_listen: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 50_051))),
            port_file: Some(PathBuf::from("p")),
            database_url: "postgres://u:s3cret@h/d".parse().ok(),
            node_address: Some(String::from("http://10.0.0.1:8080")),
            max_store_bytes: Some(super::super::MIN_STORE),
            retain_rows: Some(super::super::value::Span::secs(86_400)),
            ..Flags::default()
        };
        let config = Config::merge(flags(), file::File::default(), None);
        let shown = config.to_string();
        assert!(shown.contains("postgres://u:********@h/d") && !shown.contains("s3cret"), "{shown}");
        let again = Config::merge(Flags::default(), file::parse(&shown).expect("a readable file"), None);
        assert_eq!(again.to_string(), shown);
        let table: toml::Table = shown.parse().expect("a table");
        for key in file::KEYS {
            let found = match key.split_once('.') {
                Some((name, inner)) => table.get(name).and_then(|t| t.get(inner)),
                None => table.get(*key),
            };
            assert!(found.is_some(), "{key} is missing");
        }
    }
}
