//! API keys that a start makes: the given bootstrap keys, and the development mode's.

use crate::auth::{self, BOOTSTRAP_KEY_NAME, DEV_KEY_NAME, REPLACED_KEY_NAME};
use crate::config::BOOTSTRAP_KEY;
use postrider_core::event::Namespace;
use postrider_core::id::KeyId;
use postrider_core::key::{ApiKey, Scopes};
use postrider_core::ports::ConfigChange;
use postrider_core::time::Timestamp;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a start wants of the keys. It is asked of what is stored when they are put, for another node may start at the same moment.
#[derive(Debug)]
pub(super) struct Wish {
    /// The bootstrap keys that are given, the newest first.
    pub(super) bootstrap: Vec<String>,
    /// The development key that is to be made.
    pub(super) dev: Option<String>,
    /// Whose development keys are still in use.
    pub(super) nodes: Nodes,
}

/// Who shares the keys.
#[derive(Debug)]
pub(super) enum Nodes {
    /// Nobody: what an earlier start has made has ended with it.
    One,
    /// The nodes of a database, by the numbers of their starts.
    Several {
        /// This one.
        own: i64,
        /// Those that were alive when this one had joined. Later ones have higher numbers than it.
        alive: BTreeSet<i64>,
    },
}

impl Nodes {
    fn dev_key_name(&self) -> String {
        match self {
            Nodes::One => DEV_KEY_NAME.to_owned(),
            Nodes::Several { own, .. } => auth::dev_key_name(*own),
        }
    }

    /// Whether a development key of this name has ended with its node.
    fn has_ended(&self, name: &str) -> bool {
        match (self, auth::dev_key_incarnation(name)) {
            (_, None) => name == DEV_KEY_NAME,
            (Nodes::One, Some(_)) => true,
            (Nodes::Several { own, alive }, Some(incarnation)) => incarnation < *own && !alive.contains(&incarnation),
        }
    }
}

/// What a start changes about the keys.
#[derive(Debug)]
pub(super) struct Keys {
    /// To be stored.
    pub(super) changes: Vec<ConfigChange>,
    /// Whether a key is left once the changes are stored.
    pub(super) any: bool,
    /// Bootstrap keys that are given and were replaced by others before: they are not taken again.
    pub(super) passed_over: Vec<KeyId>,
}

/// Decides it by what is stored. Development keys end with their node's start. Of several bootstrap keys that are given all are good; one that is
/// given no longer is replaced by a newer one that is, and never by an older one: so a node that still has the setting of before neither brings it
/// back nor ends the new one.
pub(super) fn at_start(stored: &[&ApiKey], wish: &Wish, now: Timestamp, mut new_id: impl FnMut() -> Uuid) -> Result<Keys, String> {
    let (given, passed_over) = taken(stored, wish)?;
    let live = || stored.iter().copied().filter(|k| k.revoked_at.is_none());
    let of_hash = |hash: &str| live().find(|k| k.hash == hash);
    let is_given = |k: &ApiKey| given.iter().any(|(_, hash)| *hash == k.hash);
    let brings_new = given.iter().any(|(_, hash)| of_hash(hash).is_none());
    let newest = given.iter().filter_map(|(_, hash)| of_hash(hash)).map(|k| k.id).max();
    let is_replaced =
        |k: &ApiKey| k.name == BOOTSTRAP_KEY_NAME && !is_given(k) && (brings_new || newest.is_some_and(|newest| k.id < newest));

    let (mut changes, mut any) = (Vec::new(), false);
    for key in live() {
        if is_replaced(key) {
            let name = REPLACED_KEY_NAME.to_owned();
            changes.push(ConfigChange::Key(ApiKey { name, revoked_at: Some(now), ..key.clone() }));
        } else if wish.nodes.has_ended(&key.name) {
            changes.push(ConfigChange::Key(ApiKey { revoked_at: Some(now), ..key.clone() }));
        } else {
            any = true;
        }
    }
    let mut add = |secret: &str, name: &str, namespace, scopes| {
        any = true;
        changes.push(ConfigChange::Key(auth::new_key(KeyId::new(new_id()), secret, name, namespace, scopes, now)));
    };
    // The newest one is the last to be made.
    for (secret, hash) in given.iter().rev() {
        if of_hash(hash).is_none() {
            add(secret, BOOTSTRAP_KEY_NAME, None, Scopes { read: true, write: true, admin: true });
        }
    }
    if let Some(secret) = &wish.dev {
        let scopes = Scopes { read: true, write: true, admin: false };
        add(secret, &wish.nodes.dev_key_name(), Some(Namespace::default_namespace()), scopes);
    }
    Ok(Keys { changes, any, passed_over })
}

/// Secrets with their hashes, and keys that were replaced.
type Taken<'w> = (Vec<(&'w str, String)>, Vec<KeyId>);

/// The bootstrap keys that are given and may be taken, with their hashes, and those that may not because they were replaced. One that
/// somebody has revoked ends the start: the same secret under a new id would undo what was done because it had leaked.
fn taken<'w>(stored: &[&ApiKey], wish: &'w Wish) -> Result<Taken<'w>, String> {
    let (mut given, mut passed_over) = (Vec::new(), Vec::new());
    for secret in &wish.bootstrap {
        let hash = auth::hash(secret);
        match stored.iter().find(|k| k.revoked_at.is_some() && k.hash == hash) {
            None => given.push((secret.as_str(), hash)),
            Some(replaced) if replaced.name == REPLACED_KEY_NAME => passed_over.push(replaced.id),
            Some(revoked) => {
                return Err(format!(
                    "the key in {BOOTSTRAP_KEY} was revoked before (as key {}): give another one, or take the variable away",
                    revoked.id
                ));
            }
        }
    }
    Ok((given, passed_over))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const SECRET: &str = "a-bootstrap-key-of-some-length";
    const OTHER: &str = "another-bootstrap-key";

    fn wish(bootstrap: &[&str], dev: Option<&str>, nodes: Nodes) -> Wish {
        Wish { bootstrap: bootstrap.iter().map(|secret| (*secret).to_owned()).collect(), dev: dev.map(str::to_owned), nodes }
    }

    fn decide(stored: &[ApiKey], wish: &Wish) -> Result<Keys, String> {
        let mut n = stored.len() as u128;
        let new_id = || {
            n += 1;
            Uuid::from_u128(n)
        };
        at_start(&stored.iter().collect::<Vec<_>>(), wish, NOW, new_id)
    }

    fn put(stored: &mut Vec<ApiKey>, keys: &Keys) {
        for change in &keys.changes {
            let ConfigChange::Key(key) = change else { panic!("only keys change") };
            stored.retain(|k| k.id != key.id);
            stored.push(key.clone());
        }
    }

    fn start(stored: &mut Vec<ApiKey>, wish: &Wish) -> Keys {
        let keys = decide(stored, wish).expect("keys");
        put(stored, &keys);
        keys
    }

    fn given(stored: &mut Vec<ApiKey>, bootstrap: &[&str]) -> Keys {
        start(stored, &wish(bootstrap, None, Nodes::One))
    }

    /// The hashes of the keys in force, sorted.
    fn live(stored: &[ApiKey]) -> Vec<&str> {
        let mut live: Vec<&str> = stored.iter().filter(|k| k.revoked_at.is_none()).map(|k| k.hash.as_str()).collect();
        live.sort_unstable();
        live
    }

    fn hashes(secrets: &[&str]) -> Vec<String> {
        let mut hashes: Vec<String> = secrets.iter().map(auth::hash).collect();
        hashes.sort_unstable();
        hashes
    }

    #[test]
    fn a_bootstrap_key_is_installed_once_and_replaced_by_another() {
        let mut stored = Vec::new();
        assert!(given(&mut stored, &[SECRET]).any);
        assert_eq!((stored[0].namespace.as_ref(), stored[0].name.as_str()), (None, BOOTSTRAP_KEY_NAME));
        assert!(given(&mut stored, &[SECRET]).changes.is_empty());
        given(&mut stored, &[OTHER]);
        assert_eq!((live(&stored), stored.len()), (hashes(&[OTHER]).iter().map(String::as_str).collect(), 2));
        // Left away it stays: somebody may rely on it, and it can be revoked by its id.
        assert!(given(&mut stored, &[]).changes.is_empty());
    }

    #[test]
    fn a_start_with_the_setting_of_before_changes_nothing() {
        let mut stored = Vec::new();
        given(&mut stored, &[SECRET]);
        given(&mut stored, &[OTHER]);
        let old = given(&mut stored, &[SECRET]);
        assert!(old.any && old.changes.is_empty() && old.passed_over.len() == 1);
        assert_eq!(live(&stored), hashes(&[OTHER]));
    }

    #[test]
    fn several_bootstrap_keys_overlap_while_nodes_are_changed_one_by_one() {
        let (mut stored, third) = (Vec::new(), "the-third-bootstrap-key");
        given(&mut stored, &[SECRET]);
        // One node has the new list, another one starts again with the old one.
        given(&mut stored, &[OTHER, SECRET]);
        assert!(given(&mut stored, &[SECRET]).changes.is_empty());
        assert_eq!(live(&stored), hashes(&[OTHER, SECRET]));
        given(&mut stored, &[OTHER]);
        assert_eq!(live(&stored), hashes(&[OTHER]));
        let old = given(&mut stored, &[OTHER, SECRET]);
        assert!(old.changes.is_empty() && old.passed_over.len() == 1);
        // The next change: a node that still has the list of before does not end the newer key.
        given(&mut stored, &[third, OTHER]);
        given(&mut stored, &[OTHER, SECRET]);
        assert_eq!(live(&stored), hashes(&[OTHER, third]));
    }

    #[test]
    fn keys_that_come_together_are_as_old_as_their_places_say() {
        let mut stored = Vec::new();
        given(&mut stored, &[OTHER, SECRET]);
        given(&mut stored, &[OTHER]);
        assert_eq!(live(&stored), hashes(&[OTHER]));
    }

    #[test]
    fn development_keys_live_as_long_as_one_start() {
        let mut stored = Vec::new();
        start(&mut stored, &wish(&[], Some("dev-1"), Nodes::One));
        assert_eq!((stored[0].name.as_str(), live(&stored)), (DEV_KEY_NAME, hashes(&["dev-1"]).iter().map(String::as_str).collect()));
        start(&mut stored, &wish(&[], Some("dev-2"), Nodes::One));
        assert_eq!((live(&stored).len(), stored.len()), (1, 2));
        assert!(!given(&mut stored, &[]).any);
        assert!(live(&stored).is_empty());
    }

    #[test]
    fn development_keys_of_nodes_that_are_alive_are_left_alone() {
        let nodes = |own: i64, alive: &[i64]| Nodes::Several { own, alive: alive.iter().copied().collect() };
        let mut stored = Vec::new();
        start(&mut stored, &wish(&[], Some("one"), nodes(1, &[1])));
        start(&mut stored, &wish(&[], Some("two"), nodes(2, &[1, 2])));
        assert_eq!(live(&stored), hashes(&["one", "two"]));
        // The fourth has looked before the third had a key, and puts its own after it.
        start(&mut stored, &wish(&[], Some("four"), nodes(4, &[2, 3, 4])));
        start(&mut stored, &wish(&[], Some("three"), nodes(3, &[2, 3])));
        assert_eq!(live(&stored), hashes(&["two", "three", "four"]));
        start(&mut stored, &wish(&[], None, nodes(5, &[5])));
        assert!(live(&stored).is_empty());
    }

    #[test]
    fn a_revoked_bootstrap_key_does_not_come_back() {
        let mut stored = Vec::new();
        given(&mut stored, &[SECRET]);
        stored[0].revoked_at = Some(NOW);
        let refused = decide(&stored, &wish(&[OTHER, SECRET], None, Nodes::One)).expect_err("it was revoked");
        assert!(refused.contains("was revoked") && !refused.contains(SECRET), "{refused}");
        assert!(given(&mut stored, &[OTHER]).any);
        assert!(given(&mut stored, &[]).changes.is_empty());
    }
}
