//! `postrider secrets`: the keys under which the secrets of endpoints are encrypted at rest.

use super::door::{Door, Place};
use super::{CommandError, Outcome, print, say};
use crate::boot::secrets::{self as files, FILE};
use crate::config::{SECRETS_KEY, value::Secret};
use crate::random;
use clap::Subcommand;
use postrider_core::endpoint::Endpoint;
use postrider_core::hex;
use postrider_core::ports::{ConfigChange, Configuration};
use postrider_core::seal::{KeyRing, Sealed};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Flags of `postrider secrets`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The servers run in development mode: without POSTRIDER_SECRETS_KEY their keys are in secrets.key, with a database too.
    #[arg(long, global = true, env = "POSTRIDER_DEV", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    dev: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show under which keys how many secrets are encrypted.
    List,
    /// Encrypt every secret anew: under a new key, which is put into secrets.key in the data directory, or under the first one of
    /// POSTRIDER_SECRETS_KEY if that is set, as it must be with a database. A running server goes on, and uses the new key within a second.
    Rotate {
        /// Go on although the keys that the servers on a database have agreed on are lost for good: what is under them has to be set anew.
        #[arg(long)]
        key_lost: bool,
    },
}

/// Runs `postrider secrets`.
pub fn run(args: Args) -> Outcome {
    let config = args.place.whole_config()?;
    let door = Door::open(&config, false)?;
    let given = std::env::var(SECRETS_KEY).ok().filter(|text| !text.is_empty()).map(Secret::new);
    let source = match given {
        Some(text) => Source::Given(text),
        // A file that lies here by chance has nothing to do with the servers of a database.
        None if door.is_shared() && !args.dev.unwrap_or(config.dev) => Source::Missing,
        None => Source::File(config.data_dir.join(FILE)),
    };
    match args.command {
        Command::List => list(&door, &source),
        Command::Rotate { key_lost } => rotate(&door, &source, key_lost),
    }
}

/// Where the keys are.
enum Source {
    /// In the variable.
    Given(Secret),
    /// In the file.
    File(PathBuf),
    /// Nowhere where this command could find them.
    Missing,
}

impl Source {
    /// The keys, if they are there.
    fn ring(&self) -> Result<Option<KeyRing>, CommandError> {
        match self {
            Source::Given(text) => files::given_ring(text).map(Some).map_err(CommandError),
            Source::File(path) => {
                let text = files::read(path).map_err(CommandError)?;
                text.map(|text| files::parse(path, &text)).transpose().map_err(CommandError)
            }
            Source::Missing => Ok(None),
        }
    }

    /// For people.
    fn place(&self) -> String {
        match self {
            Source::Given(_) | Source::Missing => String::from(SECRETS_KEY),
            Source::File(path) => path.display().to_string(),
        }
    }
}

/// How many secrets are sealed under each key.
fn uses(configuration: &Configuration) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    for sealed in configuration.endpoints.iter().flat_map(Endpoint::sealed) {
        *uses.entry(sealed.key_id().unwrap_or("(unreadable)").to_owned()).or_default() += 1;
    }
    uses
}

fn list(door: &Door, source: &Source) -> Outcome {
    let uses = uses(&door.configuration()?);
    let ring = source.ring()?;
    if let (Some(ring), Some(agreed)) = (&ring, door.key_check()?)
        && let Some(text) = files::strange(ring, &agreed)
    {
        return Err(CommandError(text));
    }
    let lacking = match source {
        Source::Missing => "not known: give the servers' POSTRIDER_SECRETS_KEY",
        _ => "missing: these secrets cannot be read",
    };
    let ids: Vec<&str> = ring.as_ref().map(|ring| ring.ids().collect()).unwrap_or_default();
    let mut text = format!("{:<32}  {:>8}  STATE\n", "KEY", "SECRETS");
    for (at, id) in ids.iter().enumerate() {
        let state = if at == 0 { "encrypts and decrypts" } else { "decrypts" };
        text.push_str(&format!("{id:<32}  {:>8}  {state}\n", uses.get(*id).copied().unwrap_or_default()));
    }
    for (id, count) in uses.iter().filter(|(id, _)| !ids.contains(&id.as_str())) {
        text.push_str(&format!("{id:<32}  {count:>8}  {lacking}\n"));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn rotate(door: &Door, source: &Source, key_lost: bool) -> Outcome {
    if key_lost && !door.is_shared() {
        return Err(CommandError(String::from(
            "--key-lost is of a database that servers share, and this store is embedded: leave it away",
        )));
    }
    let agreed = door.key_check()?;
    // Before anything is written or sealed: of keys that are not the servers' they could read nothing.
    if let (Some(ring), Some(agreed), false) = (source.ring()?, &agreed, key_lost)
        && let Some(text) = files::strange(&ring, agreed)
    {
        return Err(CommandError(format!("{text}. Where they are lost for good, --key-lost goes on without them")));
    }
    let ring = match source {
        Source::Given(text) => files::given_ring(text).map_err(CommandError)?,
        Source::File(path) => with_new_key(door, path, agreed.as_ref().and_then(Sealed::key_id))?,
        Source::Missing => {
            return Err(CommandError(format!(
                "the keys of nodes that share a database are in {SECRETS_KEY}, and there are none. For another one restart every server with the new key \
                 behind the old one, then every server with it in front of that, and then do this with that value"
            )));
        }
    };
    // A running server puts nothing back as it was before: what it changes it makes from this, and what it had sealed before it refuses.
    let (sealed, closed) = door.revise(|configuration| resealed(&ring, configuration))?;
    // Behind that: nodes that have all keys come in before and after.
    if door.is_shared()
        && agreed.as_ref().is_none_or(|agreed| key_lost || ring.needs_resealing(agreed))
        && !door.put_key_check(agreed.as_ref(), &files::proof(&ring))?
    {
        return Err(CommandError(String::from("somebody else has rotated the keys of secrets at the same time: do it once more")));
    }
    let place = source.place();
    say(&format!(
        "encrypted {sealed} secrets anew under the key {}. The older keys of {place} read what was copied before: backups, and requests under \
         way. The next rotation drops those that nothing needs",
        ring.primary_id()
    ));
    if closed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CommandError(format!(
        "{} secrets could not be read and stay as they are, the first of them of endpoint {}: add their key to {place}, or set them anew",
        closed.len(),
        closed[0]
    )))
}

/// A ring with a new key before those of the file that some secret needs, and the one that is agreed on. It is on disk before anything is sealed
/// under it.
fn with_new_key(door: &Door, path: &Path, agreed: Option<&str>) -> Result<KeyRing, CommandError> {
    let uses = uses(&door.configuration()?);
    let old = files::read(path).map_err(CommandError)?;
    if old.is_none() && door.is_shared() {
        let path = path.display();
        return Err(CommandError(format!(
            "there is no {path}: name the --data-dir of a server in development mode, or give {SECRETS_KEY}"
        )));
    }
    let old = old.unwrap_or_default();
    let old = Zeroizing::new(old.trim().to_owned());
    // A single key may stand there without an id.
    let parts = old.split(',').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or(("k1", part)));
    let parts: Vec<(&str, &str)> = parts.map(|(id, key)| (id.trim(), key.trim())).collect();
    let highest = parts.iter().filter_map(|(id, _)| id.strip_prefix('k')?.parse::<u32>().ok()).max().unwrap_or(0);
    let key = Zeroizing::new(random::bytes::<32>());
    let mut text = Zeroizing::new(format!("k{}={}", highest + 1, hex::encode(&*key)));
    for (at, (id, key)) in parts.iter().enumerate() {
        // The one before stays in any case: the server may be sealing with it at this moment.
        if at == 0 || uses.contains_key(*id) || agreed == Some(*id) {
            text.push_str(&format!(",{id}={key}"));
        }
    }
    let ring = files::parse(path, &text).map_err(CommandError)?;
    files::write(path, &text).map_err(CommandError)?;
    Ok(ring)
}

/// What to put: every endpoint with a secret that is not under the ring's first key. With it, how many secrets that are, and the endpoints of
/// those that do not open. Where there is nothing to seal anew something is put as it is: by that a running server notices the new key.
fn resealed(ring: &KeyRing, configuration: Configuration) -> (Vec<ConfigChange>, (usize, Vec<String>)) {
    let (mut changes, mut count, mut closed) = (Vec::new(), 0, Vec::new());
    let unchanged = configuration.keys.first().cloned().map(ConfigChange::Key);
    for mut endpoint in configuration.endpoints {
        let (id, before) = (endpoint.id, count);
        for sealed in endpoint.sealed_mut().filter(|sealed| ring.needs_resealing(sealed)) {
            match ring.open(sealed) {
                Ok(plain) => {
                    *sealed = ring.seal(&plain, &mut random::fill);
                    count += 1;
                }
                Err(_) => closed.push(id.to_string()),
            }
        }
        if count > before {
            changes.push(ConfigChange::Endpoint(endpoint));
        }
    }
    if changes.is_empty() {
        changes.extend(unchanged);
    }
    (changes, (count, closed))
}
