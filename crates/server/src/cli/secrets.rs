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
use postrider_core::seal::KeyRing;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Flags of `postrider secrets`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show under which keys how many secrets are encrypted.
    List,
    /// Encrypt every secret anew: under a new key, which is put into secrets.key in the data directory, or under the first one of
    /// POSTRIDER_SECRETS_KEY if that is set. A running server goes on, and uses the new key within a second.
    Rotate,
}

/// Runs `postrider secrets`.
pub fn run(args: Args) -> Outcome {
    let config = args.place.config()?;
    let door = Door::open(&config, false)?;
    let given = std::env::var(SECRETS_KEY).ok().filter(|text| !text.is_empty()).map(Secret::new);
    match args.command {
        Command::List => list(&door, &config.data_dir, given.as_ref()),
        Command::Rotate => rotate(&door, &config.data_dir, given.as_ref()),
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

fn list(door: &Door, data_dir: &Path, given: Option<&Secret>) -> Outcome {
    let uses = uses(&door.configuration()?);
    let ring = match given {
        Some(text) => Some(files::given_ring(text).map_err(CommandError)?),
        None => {
            let path = data_dir.join(FILE);
            let text = files::read(&path).map_err(CommandError)?;
            text.map(|text| files::parse(&path, &text)).transpose().map_err(CommandError)?
        }
    };
    let ids: Vec<&str> = ring.as_ref().map(|ring| ring.ids().collect()).unwrap_or_default();
    let mut text = format!("{:<32}  {:>8}  STATE\n", "KEY", "SECRETS");
    for (at, id) in ids.iter().enumerate() {
        let state = if at == 0 { "encrypts and decrypts" } else { "decrypts" };
        text.push_str(&format!("{id:<32}  {:>8}  {state}\n", uses.get(*id).copied().unwrap_or_default()));
    }
    for (id, count) in uses.iter().filter(|(id, _)| !ids.contains(&id.as_str())) {
        text.push_str(&format!("{id:<32}  {count:>8}  missing: these secrets cannot be read\n"));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn rotate(door: &Door, data_dir: &Path, given: Option<&Secret>) -> Outcome {
    let ring = match given {
        Some(text) => files::given_ring(text).map_err(CommandError)?,
        None => with_new_key(door, &data_dir.join(FILE))?,
    };
    // A running server puts nothing back as it was before: what it changes it makes from this, and what it had sealed before it refuses.
    let (sealed, closed) = door.revise(|configuration| resealed(&ring, configuration))?;
    let place = given.map_or_else(|| data_dir.join(FILE).display().to_string(), |_| String::from(SECRETS_KEY));
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

/// A ring with a new key before those of the file that some secret needs. It is on disk before anything is sealed under it.
fn with_new_key(door: &Door, path: &Path) -> Result<KeyRing, CommandError> {
    let uses = uses(&door.configuration()?);
    let old = files::read(path).map_err(CommandError)?;
    if old.is_none() && door.is_shared() {
        return Err(CommandError(format!(
            "the keys of nodes that share a database are in {SECRETS_KEY}, and there are none: give those that the servers have, with a new one \
             before them"
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
        if at == 0 || uses.contains_key(*id) {
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
