//! API keys that a start makes: the given bootstrap key, and the development mode's.

use crate::auth::{self, BOOTSTRAP_KEY_NAME, DEV_KEY_NAME};
use crate::config::BOOTSTRAP_KEY;
use postrider_core::event::Namespace;
use postrider_core::id::KeyId;
use postrider_core::key::{ApiKey, Scopes};
use postrider_core::ports::{ConfigChange, Configuration};
use postrider_core::time::Timestamp;
use uuid::Uuid;

/// What a start changes about the keys.
#[derive(Debug)]
pub(super) struct Keys {
    /// To be stored.
    pub(super) changes: Vec<ConfigChange>,
    /// The development key's secret, to be shown once.
    pub(super) dev: Option<String>,
    /// Whether a key is left once the changes are stored.
    pub(super) any: bool,
}

/// Decides it. Development keys of earlier starts end with them, and so do bootstrap keys that are given no longer.
pub(super) fn at_start(
    stored: &Configuration,
    bootstrap: Option<&str>,
    dev: bool,
    now: Timestamp,
    mut new_id: impl FnMut() -> Uuid,
) -> Result<Keys, String> {
    let given = bootstrap.map(auth::hash);
    // The same secret under a new id would undo what somebody did because it had leaked.
    if let Some(revoked) = stored.keys.iter().find(|k| k.revoked_at.is_some() && Some(&k.hash) == given.as_ref()) {
        return Err(format!(
            "the key in {BOOTSTRAP_KEY} was revoked or replaced before (as key {}): give another one, or take the variable away",
            revoked.id
        ));
    }
    let live: Vec<&ApiKey> = stored.keys.iter().filter(|k| k.revoked_at.is_none()).collect();
    let is_old =
        |k: &ApiKey| k.name == DEV_KEY_NAME || (k.name == BOOTSTRAP_KEY_NAME && Some(&k.hash) != given.as_ref() && given.is_some());
    let (old, kept): (Vec<&ApiKey>, Vec<&ApiKey>) = live.into_iter().partition(|k| is_old(k));
    let revoked = old.into_iter().map(|key| ApiKey { revoked_at: Some(now), ..key.clone() });
    let mut changes: Vec<_> = revoked.map(ConfigChange::Key).collect();
    let mut any = !kept.is_empty();
    let mut add = |secret: &str, name: &str, namespace, scopes| {
        any = true;
        changes.push(ConfigChange::Key(auth::new_key(KeyId::new(new_id()), secret, name, namespace, scopes, now)));
    };
    if let (Some(secret), Some(hash)) = (bootstrap, &given)
        && !kept.iter().any(|k| k.hash == *hash)
    {
        add(secret, BOOTSTRAP_KEY_NAME, None, Scopes { read: true, write: true, admin: true });
    }
    let dev = dev.then(auth::new_secret);
    if let Some(secret) = &dev {
        add(secret, DEV_KEY_NAME, Some(Namespace::default_namespace()), Scopes { read: true, write: true, admin: false });
    }
    Ok(Keys { changes, dev, any })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const SECRET: &str = "a-bootstrap-key-of-some-length";

    fn start(stored: &Configuration, bootstrap: Option<&str>, dev: bool) -> Keys {
        let mut n = stored.keys.len() as u128;
        let new_id = || {
            n += 1;
            Uuid::from_u128(n)
        };
        at_start(stored, bootstrap, dev, NOW, new_id).expect("keys")
    }

    fn store(stored: &mut Configuration, keys: Keys) {
        for change in keys.changes {
            let ConfigChange::Key(key) = change else { panic!("only keys change") };
            stored.keys.retain(|k| k.id != key.id);
            stored.keys.push(key);
        }
    }

    fn live(stored: &Configuration) -> Vec<&str> {
        stored.keys.iter().filter(|k| k.revoked_at.is_none()).map(|k| k.name.as_str()).collect()
    }

    #[test]
    fn a_bootstrap_key_is_installed_once_and_replaced_by_another() {
        let mut stored = Configuration::default();
        let first = start(&stored, Some(SECRET), false);
        assert!(first.any && first.dev.is_none());
        store(&mut stored, first);
        assert_eq!(stored.keys[0].namespace, None);
        assert!(start(&stored, Some(SECRET), false).changes.is_empty());
        let other = start(&stored, Some("another-bootstrap-key"), false);
        store(&mut stored, other);
        assert_eq!(live(&stored), [BOOTSTRAP_KEY_NAME]);
        assert_eq!(stored.keys.len(), 2);
        // Left away it stays: somebody may rely on it, and it can be revoked by its id.
        assert!(start(&stored, None, false).changes.is_empty());
    }

    #[test]
    fn development_keys_live_as_long_as_one_start() {
        let mut stored = Configuration::default();
        let first = start(&stored, None, true);
        let secret = first.dev.clone().expect("a key");
        store(&mut stored, first);
        assert_eq!(stored.keys[0].hash, auth::hash(&secret));
        let second = start(&stored, None, true);
        store(&mut stored, second);
        assert_eq!((live(&stored).len(), stored.keys.len()), (1, 2));
        let production = start(&stored, None, false);
        assert!(!production.any);
        store(&mut stored, production);
        assert!(live(&stored).is_empty());
    }

    #[test]
    fn a_revoked_bootstrap_key_does_not_come_back() {
        let mut stored = Configuration::default();
        let first = start(&stored, Some(SECRET), false);
        store(&mut stored, first);
        stored.keys[0].revoked_at = Some(NOW);
        let refused = at_start(&stored, Some(SECRET), false, NOW, Uuid::nil).expect_err("it was revoked");
        assert!(refused.contains("was revoked") && !refused.contains(SECRET), "{refused}");
        assert!(start(&stored, Some("another-bootstrap-key"), false).any);
        assert!(start(&stored, None, false).changes.is_empty());
    }
}
