//! Places for what takes a while: nobody has them all.

use crate::auth::Access;
use crate::http::Problem;
use parking_lot::Mutex;
use postrider_core::event::Namespace;
use postrider_core::id::KeyId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Most watchers of a node; of those whose keys are of one namespace, or of none; and of those with one key.
const MAX_WATCHERS: usize = 100;
const MAX_OF_NAMESPACE: usize = 40;
const MAX_OF_KEY: usize = 20;

/// The namespace of a caller's key, and the key. Without a key there are no tenants.
type Who = (Option<Namespace>, Option<KeyId>);

/// Who watches.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Vec<Who>>);

/// The place of a watcher, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Watching {
    watchers: Arc<Watchers>,
    who: Who,
}

impl Watchers {
    /// A place for this caller, or why there is none.
    pub(super) fn place(self: &Arc<Self>, access: &Access) -> Result<Watching, String> {
        let who = (access.namespace.clone(), access.key);
        let mut all = self.0.lock();
        let advice = "try again when one has ended, or ask another node";
        if all.len() >= MAX_WATCHERS {
            return Err(format!("{MAX_WATCHERS} watch at this node already: {advice}"));
        }
        if who.1.is_some() {
            if all.iter().filter(|other| other.1 == who.1).count() >= MAX_OF_KEY {
                return Err(format!("{MAX_OF_KEY} watch with this key at this node already: {advice}"));
            }
            if all.iter().filter(|other| other.0 == who.0).count() >= MAX_OF_NAMESPACE {
                return Err(format!("{MAX_OF_NAMESPACE} watch with keys of this namespace at this node already: {advice}"));
            }
        }
        all.push(who.clone());
        Ok(Watching { watchers: Arc::clone(self), who })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut all = self.watchers.0.lock();
        if let Some(at) = all.iter().position(|who| *who == self.who) {
            all.swap_remove(at);
        }
    }
}

/// Places over all for what takes a core or a reader of the store for a while, and of one tenant: fewer, so that it holds up nobody else.
const TURNS: usize = 2;
const TURNS_OF_ONE: usize = 1;

/// How long a turn is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Turns for what takes a while.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// Of the tenants that have a turn, or wait for one. Who sees everything counts as one.
    own: Mutex<BTreeMap<Option<Namespace>, Arc<Semaphore>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Turns { all: Arc::new(Semaphore::new(TURNS)), own: Mutex::default() }
    }
}

impl Turns {
    /// A turn for this caller; after [`PATIENCE`] it is told to come again.
    pub(super) async fn turn(&self, access: &Access) -> Result<Turn, Problem> {
        let own = self.of(access.namespace.clone());
        let turn = timeout(PATIENCE, async {
            let own = own.acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn { _own: own, _of_all: of_all })
        });
        let busy = || Problem::unavailable("others are looking, which takes a while: try again in a moment");
        turn.await.ok().flatten().ok_or_else(busy)
    }

    /// The places of a tenant. Those of others that nobody uses any more are forgotten.
    fn of(&self, tenant: Option<Namespace>) -> Arc<Semaphore> {
        let mut own = self.own.lock();
        // Whoever waits for a place, or has one, has a reference.
        own.retain(|_, places| Arc::strong_count(places) > 1);
        Arc::clone(own.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(TURNS_OF_ONE))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::key::Scopes;
    use uuid::Uuid;

    fn caller(namespace: Option<&str>, key: Option<u128>) -> Access {
        let namespace = namespace.map(|name| Namespace::new(name).expect("a name"));
        let scopes = Scopes { read: true, write: false, admin: false };
        Access { key: key.map(|n| KeyId::new(Uuid::from_u128(n))), namespace, scopes }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_long_leaves_a_turn_for_others() {
        let (turns, one, other, third) = (Turns::default(), caller(Some("a"), Some(1)), caller(None, Some(2)), caller(Some("b"), Some(3)));
        let first = turns.turn(&one).await.expect("a turn");
        let refused = turns.turn(&one).await.expect_err("it has its turn");
        assert!(refused.status.as_u16() == 503 && refused.message.contains("try again"), "{}", refused.message);
        let second = turns.turn(&other).await.expect("a turn");
        assert_eq!(turns.turn(&third).await.expect_err("all are taken").status.as_u16(), 503);
        drop(first);
        drop(turns.turn(&third).await.expect("a turn"));
        drop(second);
        drop(turns.turn(&one).await.expect("a turn"));
        assert!(turns.own.lock().len() <= 2, "those that nobody uses are forgotten");
    }

    /// So many places for this caller, and why there is no more.
    fn taken(watchers: &Arc<Watchers>, access: &Access) -> (Vec<Watching>, String) {
        let mut places = Vec::new();
        loop {
            match watchers.place(access) {
                Ok(place) => places.push(place),
                Err(why) => return (places, why),
            }
        }
    }

    #[test]
    fn nobody_has_all_places() {
        let watchers = Arc::new(Watchers::default());
        let (first, why) = taken(&watchers, &caller(Some("a"), Some(1)));
        assert!(first.len() == MAX_OF_KEY && why.starts_with("20 watch with this key"), "{why}");
        let (second, _) = taken(&watchers, &caller(Some("a"), Some(2)));
        let (third, why) = taken(&watchers, &caller(Some("a"), Some(3)));
        assert!(second.len() == MAX_OF_KEY && third.is_empty() && why.starts_with("40 watch with keys of this namespace"), "{why}");
        // Others have places still, whoever sees everything too.
        let (master, _) = taken(&watchers, &caller(None, Some(4)));
        assert_eq!(master.len(), MAX_OF_KEY);
        drop(first);
        let (again, _) = taken(&watchers, &caller(Some("a"), Some(3)));
        assert_eq!(again.len(), MAX_OF_KEY, "who goes away makes room");
        drop((second, again, master));
        assert!(watchers.0.lock().is_empty());
        let (open, why) = taken(&watchers, &caller(Some("default"), None));
        assert!(open.len() == MAX_WATCHERS && why.starts_with("100 watch at this node"), "{why}");
    }
}
