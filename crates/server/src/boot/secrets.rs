//! The keys under which secrets are encrypted at rest: given in the environment, or a file in the data directory that the first start makes.

use crate::config::SECRETS_KEY;
use crate::random;
use postrider_core::hex;
use postrider_core::ports::Configuration;
use postrider_core::seal::KeyRing;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The file's name in the data directory.
const FILE: &str = "secrets.key";

/// The keys to use: `given` (the environment's), else those of the file, else new ones for a store that holds no secret yet.
pub(super) fn key_ring(given: Option<&str>, directory: &Path, stored: &Configuration) -> Result<KeyRing, String> {
    if let Some(text) = given {
        return KeyRing::parse(text).map_err(|e| format!("{SECRETS_KEY}: {e}"));
    }
    let path = directory.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            check_mode(&path)?;
            KeyRing::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if stored.endpoints.iter().any(|e| e.deleted_at.is_none() && !e.secrets.is_empty()) {
                return Err(format!(
                    "{} is missing, and without it the stored secrets cannot be read: put it back from a backup, or give its content in {SECRETS_KEY}",
                    path.display()
                ));
            }
            make(&path).map_err(|e| format!("cannot write {}: {e}", path.display()))
        }
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    }
}

fn check_mode(path: &Path) -> Result<(), String> {
    let mode = std::fs::metadata(path).map_err(|e| format!("cannot look at {}: {e}", path.display()))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!("{} can be read by others (mode {:o}): chmod 600 it", path.display(), mode & 0o777))
}

/// On disk before it is used: a secret sealed under a key that a crash loses is lost with it.
fn make(path: &Path) -> io::Result<KeyRing> {
    let key: [u8; 32] = random::bytes();
    let partial = path.with_extension("key.partial");
    match std::fs::remove_file(&partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    writeln!(file, "k1={}", hex::encode(&key))?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory)?.sync_all()?;
    }
    KeyRing::new((String::from("k1"), key), Vec::new()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_key_and_the_next_one_finds_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let none = Configuration::default();
        let sealed = key_ring(None, directory.path(), &none).expect("made").seal(b"s", &mut random::fill);
        let again = key_ring(None, directory.path(), &none).expect("found");
        assert_eq!(again.open(&sealed).expect("opens").as_slice(), b"s");
        let path = directory.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(key_ring(None, directory.path(), &none).expect_err("too open").contains("chmod 600"));
    }

    #[test]
    fn a_given_key_wins_and_a_bad_one_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let none = Configuration::default();
        let given = format!("new={},old={}", "ab".repeat(32), "cd".repeat(32));
        assert_eq!(key_ring(Some(&given), directory.path(), &none).expect("given").primary_id(), "new");
        assert!(!directory.path().join(FILE).exists());
        assert!(key_ring(Some("abc"), directory.path(), &none).expect_err("bad").contains(SECRETS_KEY));
    }
}
