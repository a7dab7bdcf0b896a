//! What people look over and look for, on the model and the store alike.

use super::{Checked, Pair, failed, same};
use postrider_core::event::Namespace;
use postrider_core::ports::*;

/// The keys that events of a sequence may have, and one more.
const KEYS: u8 = 5;

impl<S: Store> Pair<S> {
    /// Groups of open dead letters, pieces of what keys are made of, how many events there are, and events by each key.
    pub(super) async fn same_lookups(&self, limit: u32) -> Checked {
        for namespace in self.builder.namespaces() {
            both!(self, dead_letter_groups(namespace, limit));
            both!(self, event_total(namespace));
            let mut after = None;
            for _ in 0..2 {
                let piece = both!(self, delivery_keys(namespace, after, limit));
                after = piece.last().map(|parts| parts.id);
            }
        }
        let namespaces: Vec<Namespace> = self.builder.namespaces().into_iter().rev().flatten().collect();
        for key in 0..KEYS {
            let key = key.to_string();
            both!(self, events_by_key(namespaces, key));
        }
        Ok(())
    }
}
