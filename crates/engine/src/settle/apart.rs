//! Outcomes that the store does not take although it takes others: tried again one by one, while the others go on.

use super::store::BACKOFF;
use super::{After, Entry, Group, stored};
use crate::series::Part;
use crate::shared::Shared;
use postrider_core::id::DeliveryId;
use std::collections::BTreeSet;
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Apart {
    /// In their order, with whether each counts as an outcome.
    entries: Vec<(Entry, bool)>,
    /// Outcomes and returns put here since it was last asked.
    new: (usize, usize),
    next_try: Option<Instant>,
}

impl Apart {
    pub(super) fn put(&mut self, entry: Entry, is_outcome: bool) {
        tracing::error!(delivery = %entry.settlement.delivery, "the outcome of a delivery cannot be stored: it is tried again, others go on");
        let new = if is_outcome { &mut self.new.0 } else { &mut self.new.1 };
        *new += 1;
        self.entries.push((entry, is_outcome));
        self.next_try.get_or_insert(Instant::now() + BACKOFF.1);
    }

    /// How many outcomes and returns were put here since this was last asked: they are not done.
    pub(super) fn just_put(&mut self) -> (usize, usize) {
        std::mem::take(&mut self.new)
    }

    /// Waits until it is time to try again; for ever if there is nothing.
    pub(super) async fn next_try(&self) {
        match self.next_try {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// What comes after an outcome that waits here waits behind it. Those count as put here at once.
    pub(super) fn hold_back(&mut self, shared: &Shared, group: Group) -> Group {
        if self.entries.is_empty() {
            return group;
        }
        let held: BTreeSet<DeliveryId> = self.entries.iter().map(|(entry, _)| entry.settlement.delivery).collect();
        let mut rest = Group::default();
        for (n, entry) in group.entries.into_iter().enumerate() {
            let is_outcome = n < group.outcomes;
            if held.contains(&entry.settlement.delivery) {
                self.entries.push((entry, is_outcome));
                continue;
            }
            rest.outcomes += usize::from(is_outcome);
            rest.entries.push(entry);
        }
        debug_assert!(shared.settler.unsettled() >= self.entries.len(), "what waits here counts as unsettled");
        rest
    }

    /// Tries again, if it is time to; answers what follows from those that are stored now.
    pub(super) async fn try_again(&mut self, shared: &Shared) -> Vec<After> {
        if self.next_try.is_none_or(|at| at > Instant::now()) {
            return Vec::new();
        }
        let mut afters = Vec::new();
        let mut refused = BTreeSet::new();
        let mut left = Vec::new();
        for (entry, is_outcome) in std::mem::take(&mut self.entries) {
            let delivery = entry.settlement.delivery;
            let answer = if refused.contains(&delivery) { None } else { shared.store.settle([entry.settlement.clone()].into()).await.ok() };
            match answer.and_then(|settled| settled.into_iter().next()) {
                Some(settled) => {
                    let mut part = Part::default();
                    part.answered(&entry.settlement, entry.made_at, settled);
                    shared.series.add(shared.now(), part);
                    shared.settler.done(usize::from(is_outcome), usize::from(!is_outcome));
                    stored(shared, &entry.settlement, &entry.after, settled);
                    afters.push(entry.after.given(settled));
                }
                None => {
                    refused.insert(delivery);
                    left.push((entry, is_outcome));
                }
            }
        }
        self.entries = left;
        self.next_try = (!self.entries.is_empty()).then(|| Instant::now() + BACKOFF.1);
        afters
    }
}
