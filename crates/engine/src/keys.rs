//! The keys that secrets are sealed under. An operator may exchange them while the engine runs.

use arc_swap::ArcSwap;
use postrider_core::seal::KeyRing;
use std::fmt;
use std::sync::Arc;

type Source = Box<dyn Fn() -> Option<KeyRing> + Send + Sync>;

/// The keys in force, and where they come from.
pub struct Keys {
    ring: ArcSwap<KeyRing>,
    source: Option<Source>,
}

impl Keys {
    /// These, for as long as the engine runs.
    pub fn fixed(ring: KeyRing) -> Self {
        Keys { ring: ArcSwap::from_pointee(ring), source: None }
    }

    /// These, until `source` has others. It is asked whenever somebody else has changed the configuration, before anything of that is opened:
    /// who seals secrets under a new key has put it there first. `None` leaves the keys as they are.
    pub fn read_again_by(ring: KeyRing, source: impl Fn() -> Option<KeyRing> + Send + Sync + 'static) -> Self {
        Keys { ring: ArcSwap::from_pointee(ring), source: Some(Box::new(source)) }
    }

    /// The keys in force.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    pub(crate) fn refresh(&self) {
        if let Some(ring) = self.source.as_ref().and_then(|source| source()) {
            self.ring.store(Arc::new(ring));
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.ring.load()).finish()
    }
}
