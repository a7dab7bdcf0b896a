//! Whether the key of secrets is there, is that of the other nodes, and opens every secret that is stored; and whether there is an API key where
//! one is needed.

use super::report::{Report, Verdict, counted};
use crate::boot::{self, secrets as files, secrets::FILE};
use crate::config::{BOOTSTRAP_KEY, Config, SECRETS_KEY};
use postrider_core::endpoint::Endpoint;
use postrider_core::ports::Configuration;
use postrider_core::seal::{KeyRing, Sealed};

const CHECK: &str = "secrets";

/// `agreed` is what the nodes of a database have sealed under their keys.
pub(super) fn examine(config: &Config, stored: &Configuration, agreed: Option<&Sealed>, report: &mut Report) {
    api_keys(config, stored, report);
    let count = stored.endpoints.iter().filter(|e| e.deleted.is_none()).flat_map(Endpoint::sealed).count();
    let ring = match ring(config) {
        Ok(ring) => ring,
        Err(error) => return report.wrong(CHECK, error, format!("give the key in {SECRETS_KEY}, or mend the file")),
    };
    if let (Some(ring), Some(agreed)) = (&ring, agreed)
        && let Some(text) = files::strange(ring, agreed)
    {
        let mend =
            format!("give this server the {SECRETS_KEY} of the others, or the file of theirs; postrider secrets rotate changes it for all");
        return report.wrong(CHECK, text, mend);
    }
    match ring {
        Some(ring) => match files::unreadable(&ring, stored) {
            None if count == 1 => report.good(CHECK, "the one stored secret can be read"),
            None => report.good(CHECK, format!("all {count} stored secrets can be read")),
            Some(text) => report.wrong(CHECK, text, format!("add the key that is missing to {SECRETS_KEY}, or set the secrets anew")),
        },
        None if config.database_url.is_some() => {
            let mend = format!("give every node the same {SECRETS_KEY}: k1= and the 64 digits that openssl rand -hex 32 makes");
            let may_make_one = config.dev && count == 0 && agreed.is_none();
            report.judge(CHECK, (may_make_one, Verdict::Wrong), "there is no key", mend);
        }
        None if count == 0 => report.good(CHECK, "there is no key yet, and no secret: the first start makes one"),
        None => {
            let secrets = counted(count as u64, "stored secret", "stored secrets");
            let found = format!("{FILE} is missing, and {secrets} cannot be read without it");
            report.wrong(CHECK, found, format!("put it back from a backup, or give its content in {SECRETS_KEY}"));
        }
    }
}

/// A server that others can reach does not start without one.
fn api_keys(config: &Config, stored: &Configuration, report: &mut Report) {
    let check = "API keys";
    let count = stored.keys.iter().filter(|key| key.revoked_at.is_none()).count();
    match boot::without_key(config) {
        _ if config.bootstrap_key.is_some() => report.good(check, format!("{BOOTSTRAP_KEY} is given, and {count} are in force")),
        Some(text) if count == 0 => {
            report.wrong(check, text, "postrider keys create prints one, once; it works before the first start too")
        }
        _ => report.good(check, format!("{count} are in force")),
    }
}

/// The keys that a server would use, if there are any.
fn ring(config: &Config) -> Result<Option<KeyRing>, String> {
    if let Some(text) = &config.secrets_key {
        return files::given_ring(text).map(Some);
    }
    // A file that lies here by chance is of no server on a database but those of the development mode.
    if config.database_url.is_some() && !config.dev {
        return Ok(None);
    }
    let path = config.data_dir.join(FILE);
    files::read(&path)?.map(|text| files::parse(&path, &text)).transpose()
}
