//! Whether the key of secrets is there, and opens every secret that is stored.

use super::report::Report;
use crate::boot::secrets::{self as files, FILE};
use crate::config::{Config, SECRETS_KEY};
use postrider_core::endpoint::Endpoint;
use postrider_core::ports::Configuration;
use postrider_core::seal::KeyRing;

const CHECK: &str = "secrets";

pub(super) fn examine(config: &Config, stored: &Configuration, report: &mut Report) {
    let count = stored.endpoints.iter().filter(|e| e.deleted.is_none()).flat_map(Endpoint::sealed).count();
    match ring(config) {
        Err(error) => report.wrong(CHECK, error, format!("give the key in {SECRETS_KEY}, or mend the file")),
        Ok(Some(ring)) => match files::unreadable(&ring, stored) {
            None => report.good(CHECK, format!("all {count} stored secrets can be read")),
            Some(text) => report.wrong(CHECK, text, format!("add the key that is missing to {SECRETS_KEY}, or set the secrets anew")),
        },
        Ok(None) if config.database_url.is_some() => {
            let mend = format!("give every node the same {SECRETS_KEY}: k1= and the 64 digits that openssl rand -hex 32 makes");
            report.judge(CHECK, (config.dev && count == 0, super::report::Verdict::Wrong), "there is no key", mend);
        }
        Ok(None) if count == 0 => report.good(CHECK, "there is no key yet, and no secret: the first start makes one"),
        Ok(None) => {
            let found = format!("{FILE} is missing, and {count} stored secrets cannot be read without it");
            report.wrong(CHECK, found, format!("put it back from a backup, or give its content in {SECRETS_KEY}"));
        }
    }
}

/// The keys that a server would use, if there are any.
fn ring(config: &Config) -> Result<Option<KeyRing>, String> {
    if let Some(text) = &config.secrets_key {
        return files::given_ring(text).map(Some);
    }
    let path = config.data_dir.join(FILE);
    files::read(&path)?.map(|text| files::parse(&path, &text)).transpose()
}
