//! The keys under which secrets are encrypted at rest: given in the environment, or a file in the data directory that the first start makes.

use crate::config::{SECRETS_KEY, value::Secret};
use crate::random;
use postrider_core::hex;
use postrider_core::ports::Configuration;
use postrider_core::seal::{KeyRing, Sealed};
use postrider_engine::Keys;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// The file's name in the data directory.
pub(crate) const FILE: &str = "secrets.key";

/// What is sealed to say under which keys the secrets of a database are: who opens it has them.
const PROOF: &[u8] = b"the keys of secrets";

/// Seals it, for others to try their keys on.
pub(crate) fn proof(ring: &KeyRing) -> Sealed {
    ring.seal(PROOF, &mut random::fill)
}

/// Says what is wrong with keys that do not open what the nodes of a database have agreed on.
pub(crate) fn strange(ring: &KeyRing, agreed: &Sealed) -> Option<String> {
    let cause = ring.open(agreed).err()?;
    Some(format!(
        "the servers on this database have other keys of secrets, and what is sealed under these they could not read: {SECRETS_KEY} must be the \
         same on all of them ({cause})"
    ))
}

/// Tries the keys on every secret that is in use; says what cannot be read, and why.
///
/// The server starts all the same: where a key is lost for good, secrets are set anew through it.
pub(crate) fn unreadable(ring: &KeyRing, stored: &Configuration) -> Option<String> {
    let live = stored.endpoints.iter().filter(|e| e.deleted.is_none());
    let secrets: Vec<_> = live.flat_map(|e| e.sealed().map(|secret| (e.id, ring.open(secret)))).collect();
    let mut closed = secrets.iter().filter_map(|(id, opened)| Some((id, opened.as_ref().err()?)));
    let (endpoint, cause) = closed.next()?;
    Some(format!(
        "{} of {} stored secrets cannot be read, the first of them of endpoint {endpoint}: {cause}. Deliveries there wait, and what is \
         signed for them is answered 503. The keys are those of {SECRETS_KEY}, or without it of {FILE} in the data directory",
        1 + closed.count(),
        secrets.len()
    ))
}

/// The keys to use: `given` (the environment's), else those of the file, else new ones for a store that holds no secret yet.
///
/// `agreed` is what the nodes of a database have sealed under theirs: a key that is made here would not be one of them.
///
/// Those of the file are read again when somebody else has changed the configuration: `postrider secrets rotate` puts a new one there.
pub(super) fn keys(given: Option<&Secret>, directory: &Path, stored: &Configuration, agreed: Option<&Sealed>) -> Result<Keys, String> {
    let ring = key_ring(given, directory, stored, agreed)?;
    if given.is_some() {
        return Ok(Keys::fixed(ring));
    }
    let path = directory.join(FILE);
    Ok(Keys::read_again_by(ring, move || {
        let read = read(&path).and_then(|text| text.ok_or_else(|| format!("{} is missing", path.display())));
        let parsed = read.and_then(|text| parse(&path, &text));
        parsed
            .inspect_err(|reason| tracing::warn!(reason, "the keys of secrets cannot be read again: those from before stay in force"))
            .ok()
    }))
}

fn key_ring(given: Option<&Secret>, directory: &Path, stored: &Configuration, agreed: Option<&Sealed>) -> Result<KeyRing, String> {
    if let Some(text) = given {
        return given_ring(text);
    }
    let path = directory.join(FILE);
    match read(&path)? {
        Some(text) => parse(&path, &text),
        None => {
            if agreed.is_some() {
                return Err(format!(
                    "the servers on this database have keys of secrets already, and {SECRETS_KEY} must be the same on all of them: give it, or put the \
                     {FILE} of another server in development mode, which is in its data directory, at {}",
                    path.display()
                ));
            }
            if stored.endpoints.iter().any(|e| e.deleted.is_none() && e.sealed().next().is_some()) {
                return Err(format!(
                    "{} is missing, and without it the stored secrets cannot be read: put it back from a backup, or give its content in {SECRETS_KEY}",
                    path.display()
                ));
            }
            // A store that is elsewhere has not made it.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
            let first: [u8; 32] = random::bytes();
            write(&path, &format!("k1={}", hex::encode(&first)))?;
            KeyRing::new((String::from("k1"), first), Vec::new()).map_err(|e| e.to_string())
        }
    }
}

/// The keys that the environment gives.
pub(crate) fn given_ring(text: &Secret) -> Result<KeyRing, String> {
    KeyRing::parse(text.reveal()).map_err(|e| format!("{SECRETS_KEY}: {e}"))
}

/// The content of the file, if it is there; one that others can read is refused.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => check_mode(path).map(|()| Some(Zeroizing::new(text))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    }
}

/// The keys in a file's content.
pub(crate) fn parse(path: &Path, text: &str) -> Result<KeyRing, String> {
    KeyRing::parse(text).map_err(|e| format!("{}: {e}", path.display()))
}

fn check_mode(path: &Path) -> Result<(), String> {
    let mode = std::fs::metadata(path).map_err(|e| format!("cannot look at {}: {e}", path.display()))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!("{} can be read by others (mode {:o}): chmod 600 it", path.display(), mode & 0o777))
}

/// Puts keys into the file, in one piece and on disk before they are used: a secret sealed under a key that a crash loses is lost with it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    replace(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("key.partial");
    match std::fs::remove_file(&partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::auth::Auth;
    use postrider_core::endpoint::{Deletion, Endpoint, EndpointStatus, HttpOptions};
    use postrider_core::event::Namespace;
    use postrider_core::id::EndpointId;
    use postrider_core::time::Timestamp;

    #[test]
    fn the_first_start_makes_a_key_and_the_next_one_finds_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let none = Configuration::default();
        let sealed = key_ring(None, directory.path(), &none, None).expect("made").seal(b"s", &mut random::fill);
        let again = key_ring(None, directory.path(), &none, None).expect("found");
        assert_eq!(again.open(&sealed).expect("opens").as_slice(), b"s");
        let path = directory.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(key_ring(None, directory.path(), &none, None).expect_err("too open").contains("chmod 600"));
    }

    fn endpoint_with(secret: postrider_core::seal::Sealed) -> Endpoint {
        Endpoint {
            id: EndpointId::new(uuid::Uuid::from_u128(1)),
            namespace: Namespace::default_namespace(),
            url: String::from("https://example.com/"),
            headers: Vec::new(),
            secrets: vec![secret],
            schemes: Vec::new(),
            http: HttpOptions::tasks(),
            rate_limit: None,
            name: String::new(),
            secret_headers: Vec::new(),
            auth: Auth::None,
            old_secrets_until: None,
            payload_cap: None,
            concurrency: None,
            status: EndpointStatus::Active,
            created_at: Timestamp::from_secs(0),
            updated_at: Timestamp::from_secs(0),
            deleted: None,
        }
    }

    #[test]
    fn secrets_that_do_not_open_are_counted_and_the_missing_key_is_named() {
        let ring = |id: &str, digits: &str| KeyRing::parse(&format!("{id}={}", digits.repeat(32))).expect("a ring");
        let (ours, theirs) = (ring("ours", "ab"), ring("theirs", "cd"));
        let mut stored = Configuration::default();
        assert_eq!(unreadable(&theirs, &stored), None);
        stored.endpoints.push(endpoint_with(ours.seal(b"s", &mut random::fill)));
        assert_eq!(unreadable(&ours, &stored), None);
        stored.endpoints.push(endpoint_with(theirs.seal(b"s", &mut random::fill)));
        let text = unreadable(&theirs, &stored).expect("one is closed");
        assert!(text.starts_with("1 of 2 ") && text.contains("needs the key \"ours\""), "{text}");
        let text = unreadable(&ring("ours", "cd"), &stored).expect("another key under that name");
        assert!(text.starts_with("2 of 2 ") && text.contains("does not open"), "{text}");
        stored.endpoints.iter_mut().for_each(|e| e.deleted = Some(Deletion::Kept(Timestamp::from_secs(1))));
        assert_eq!(unreadable(&ring("none", "ef"), &stored), None);
    }

    #[test]
    fn strangers_are_told_from_those_who_share_a_key() {
        let ring = |text: &str| KeyRing::parse(text).expect("a ring");
        let (one, two) = (format!("k1={}", "ab".repeat(32)), format!("k2={}", "cd".repeat(32)));
        let agreed = proof(&ring(&one));
        for same in [one.clone(), format!("{two},{one}"), format!("{one},{two}")] {
            assert_eq!(strange(&ring(&same), &agreed), None, "{same}");
        }
        for other in [two, format!("k1={}", "cd".repeat(32))] {
            let text = strange(&ring(&other), &agreed).expect("it has other keys");
            assert!(text.contains(SECRETS_KEY) && text.contains("\"k1\"") && !text.contains("abab"), "{text}");
        }
    }

    #[test]
    fn no_key_is_made_that_is_not_that_of_the_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let agreed = proof(&KeyRing::parse(&"ab".repeat(32)).expect("a ring"));
        let refused = key_ring(None, directory.path(), &Configuration::default(), Some(&agreed)).expect_err("it would be another");
        assert!(refused.contains(SECRETS_KEY) && refused.contains(&directory.path().join(FILE).display().to_string()), "{refused}");
        assert!(!directory.path().join(FILE).exists());
    }

    #[test]
    fn a_given_key_wins_and_a_bad_one_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let none = Configuration::default();
        let given = Secret::new(format!("new={},old={}", "ab".repeat(32), "cd".repeat(32)));
        assert_eq!(key_ring(Some(&given), directory.path(), &none, None).expect("given").primary_id(), "new");
        assert!(!directory.path().join(FILE).exists());
        assert!(key_ring(Some(&Secret::new("abc")), directory.path(), &none, None).expect_err("bad").contains(SECRETS_KEY));
    }
}
