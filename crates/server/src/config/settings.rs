//! The settings one by one, for whoever wants to know what a running server was started with.

use super::show::MASK;
use super::{BOOTSTRAP_KEY, Config, File, Flags, SECRETS_KEY};
use clap::Args as _;
use std::collections::BTreeMap;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line, or a program that starts a server inside of itself.
    Flag,
    /// An environment variable.
    Environment,
    /// The configuration file.
    File,
    /// Nobody has said anything.
    Default,
}

impl Source {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Flag => "flag",
            Source::Environment => "environment",
            Source::File => "file",
            Source::Default => "default",
        }
    }
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the configuration file, or the name of the variable of what is no setting of the file.
    pub name: String,
    /// Its value as text, secrets masked; empty where it has none.
    pub value: String,
    /// Where that comes from.
    pub source: Source,
    /// What it does.
    pub description: String,
}

/// Where the value of each setting comes from, by its key in the file.
pub type Sources = BTreeMap<&'static str, Source>;

macro_rules! settings {
    ($($key:literal: $flag:ident, $file:ident $(.$inner:ident)?;)*) => {
        /// The fields of [`Flags`] by the keys of the file.
        const FLAGS: &[(&str, &str)] = &[$(($key, stringify!($flag)),)*];

        /// Where values come from when these flags are put above this file.
        pub(super) fn sources(flags: &Flags, file: &File) -> Sources {
            let of = |is_flag: bool, is_in_file: bool| match (is_flag, is_in_file) {
                (true, _) => Source::Flag,
                (false, true) => Source::File,
                (false, false) => Source::Default,
            };
            BTreeMap::from([$(($key, of(flags.$flag.is_some(), file.$file $(.$inner)?.is_some())),)*])
        }
    };
}

settings! {
    "allow_http": allow_http, allow_http;
    "allow_networks": allow_networks, allow_networks;
    "data_dir": data_dir, data_dir;
    "database_schema": database_schema, database_schema;
    "database_url": database_url, database_url;
    "database_wait": database_wait, database_wait;
    "dev": dev, dev;
    "grpc_listen": grpc_listen, grpc_listen;
    "header_timeout": header_timeout, header_timeout;
    "idle_timeout": idle_timeout, idle_timeout;
    "items.disable_after_dead": disable_after_dead, items.disable_after_dead;
    "items.jitter": items_jitter, items.jitter;
    "listen": listen, listen;
    "log": log, log;
    "log_format": log_format, log_format;
    "max_body": max_body, max_body;
    "max_connections": max_connections, max_connections;
    "max_store_bytes": max_store_bytes, max_store_bytes;
    "node_address": node_address, node_address;
    "node_name": node_name, node_name;
    "port_file": port_file, port_file;
    "rate_limits.publish": rate_limit_publish, rate_limits.publish;
    "rate_limits.read": rate_limit_read, rate_limits.read;
    "rate_limits.write": rate_limit_write, rate_limits.write;
    "retention.bodies": retain_bodies, retention.bodies;
    "retention.events": retain_events, retention.events;
    "retention.logs": retain_logs, retention.logs;
    "retention.rows": retain_rows, retention.rows;
    "shutdown_timeout": shutdown_timeout, shutdown_timeout;
    "tasks.max_attempts": tasks_max_attempts, tasks.max_attempts;
    "tasks.retry_gaps": tasks_retry, tasks.retry_gaps;
    "workers": workers, workers;
}

/// A flag of `postrider serve` as the command line knows it: its name there, and what it says of itself.
struct Known {
    long: String,
    description: String,
}

/// What the command line knows of the setting with this key.
fn known(command: &clap::Command, key: &str) -> Option<Known> {
    let (_, id) = FLAGS.iter().find(|(name, _)| *name == key)?;
    let flag = command.get_arguments().find(|flag| flag.get_id() == *id)?;
    let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    // The default is not what is asked for.
    let description = help.split(" [default").next().unwrap_or_default().trim_end_matches('.').to_owned();
    Some(Known { long: flag.get_long()?.to_owned(), description })
}

/// Tells flags of the command line from variables of the environment, which the reader of both does not: `arguments` are those of the process.
pub(super) fn tell_apart(sources: &mut Sources, arguments: &[String]) {
    let command = Flags::augment_args(clap::Command::new("serve"));
    let is_given = |long: &str| {
        let rest = |argument: &str| argument.strip_prefix("--")?.strip_prefix(long).map(|rest| rest.is_empty() || rest.starts_with('='));
        arguments.iter().any(|argument| rest(argument) == Some(true))
    };
    for (key, source) in sources.iter_mut().filter(|(_, source)| **source == Source::Flag) {
        if known(&command, key).is_some_and(|flag| !is_given(&flag.long)) {
            *source = Source::Environment;
        }
    }
}

impl Config {
    /// Every setting with its value, by name.
    pub fn settings(&self) -> Vec<Setting> {
        // What is shown can be read again; see there.
        let shown: toml::Table = self.to_string().parse().unwrap_or_default();
        let value_of = |key: &str| match key.split_once('.') {
            Some((table, inner)) => shown.get(table).and_then(|table| table.get(inner)),
            None => shown.get(key),
        };
        let command = Flags::augment_args(clap::Command::new("serve"));
        let of_file = self.sources.iter().map(|(key, source)| Setting {
            name: (*key).to_owned(),
            value: value_of(key).map(text).unwrap_or_default(),
            source: *source,
            description: known(&command, key).map(|flag| flag.description).unwrap_or_default(),
        });
        let secrets = [
            (BOOTSTRAP_KEY, &self.bootstrap_key, "Installs an API key that opens everything, or several of them, when the server starts"),
            (SECRETS_KEY, &self.secrets_key, "The keys under which secrets of endpoints are encrypted at rest, the newest first"),
        ];
        let of_environment = secrets.into_iter().map(|(name, value, description)| Setting {
            name: name.to_owned(),
            value: if value.is_some() { MASK.to_owned() } else { String::new() },
            source: if value.is_some() { Source::Environment } else { Source::Default },
            description: description.to_owned(),
        });
        of_file.chain(of_environment).collect()
    }
}

fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;
    use crate::config::value::{Secret, Span};

    #[test]
    fn every_setting_is_there_and_says_what_it_does() {
        let names: Vec<&str> = FLAGS.iter().map(|(key, _)| *key).collect();
        assert_eq!(names, file::KEYS);
        let settings = Config::of(Flags::default()).expect("the defaults").settings();
        assert_eq!(settings.len(), file::KEYS.len() + 2);
        assert!(settings.iter().all(|setting| setting.source == Source::Default && !setting.description.is_empty()), "{settings:?}");
        let find = |name: &str| settings.iter().find(|setting| setting.name == name).expect("a setting");
        assert_eq!(
            (find("retention.logs").value.as_str(), find("max_body").value.as_str(), find("workers").value.as_str()),
            ("3d", "1MiB", "")
        );
        assert_eq!(find("tasks.retry_gaps").value, "10s, 30s, 1m, 5m, 15m");
        assert!(!find("retention.logs").description.contains("default"), "{:?}", find("retention.logs"));
    }

    #[test]
    fn values_come_from_somewhere() {
        let flags = Flags { dev: Some(true), node_name: Some(String::from("here")), ..Flags::default() };
        let file = file::parse("dev = false\nidle_timeout = '9s'\n[retention]\nlogs = '1h'").expect("a file");
        let mut config = Config::merge(flags, file, None);
        let arguments = ["serve", "--node-names=x", "--node-name=here"].map(String::from);
        tell_apart(&mut config.sources, &arguments);
        let expected = [
            ("dev", Source::Environment),
            ("node_name", Source::Flag),
            ("idle_timeout", Source::File),
            ("retention.logs", Source::File),
            ("log", Source::Default),
        ];
        for (name, source) in expected {
            assert_eq!(config.sources.get(name), Some(&source), "{name}");
        }
        assert_eq!(config.idle_timeout, Span::secs(9));
    }

    #[test]
    fn secrets_are_masked() {
        let url = "postgres://u:s3cret@h/d".parse().ok();
        let mut config = Config::merge(Flags { database_url: url, ..Flags::default() }, File::default(), None);
        config.bootstrap_key = Some(Secret::new("open-everything-s3cret"));
        let settings = config.settings();
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
        let find = |name: &str| settings.iter().find(|setting| setting.name == name).expect("a setting");
        assert_eq!((find(BOOTSTRAP_KEY).value.as_str(), find(BOOTSTRAP_KEY).source), (MASK, Source::Environment));
        assert_eq!(find("database_url").value, "postgres://u:********@h/d");
    }
}
