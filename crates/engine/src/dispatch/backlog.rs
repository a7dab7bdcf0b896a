//! Endpoints with deliveries that only the store has.

use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Who wants something from the store, by when. Parked endpoints want nothing, nor do those for whom a claim is under way.
#[derive(Default)]
pub(super) struct Backlog {
    /// When the first delivery of each is due.
    due: BTreeMap<EndpointId, Timestamp>,
    /// Those for whom nothing was due when it was last looked, so that nobody has to walk over them.
    later: BTreeSet<(Timestamp, EndpointId)>,
    /// Those for whom something is due.
    ready: BTreeSet<EndpointId>,
    /// Who was served last: the next one is served first.
    cursor: Option<EndpointId>,
}

impl Backlog {
    /// Sets when the first delivery that only the store has is due; `None` takes the endpoint out.
    pub(super) fn put(&mut self, endpoint: EndpointId, due: Option<Timestamp>) {
        self.remove(endpoint);
        if let Some(due) = due {
            self.due.insert(endpoint, due);
            self.later.insert((due, endpoint));
        }
    }

    pub(super) fn remove(&mut self, endpoint: EndpointId) {
        if let Some(due) = self.due.remove(&endpoint)
            && !self.later.remove(&(due, endpoint))
        {
            self.ready.remove(&endpoint);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// Everybody for whom something is due at `now`, in turn: first who comes after the one that was served last.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(EndpointId, Timestamp)> {
        while let Some((due, endpoint)) = self.later.first().copied().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, endpoint));
            self.ready.insert(endpoint);
        }
        let behind = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let up_to = self.cursor.map_or(Bound::Excluded(EndpointId::new(uuid::Uuid::nil())), Bound::Included);
        let in_turn = self.ready.range((behind, Bound::Unbounded)).chain(self.ready.range((Bound::Unbounded, up_to)));
        in_turn.filter_map(|endpoint| Some((*endpoint, *self.due.get(endpoint)?))).collect()
    }

    /// The last one who was served.
    pub(super) fn served(&mut self, endpoint: EndpointId) {
        self.cursor = Some(endpoint);
    }

    /// When the first of those who had nothing due at the last look is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.later.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint_id;

    #[test]
    fn those_who_are_due_come_in_turn_and_the_others_are_not_walked_over() {
        let at = Timestamp::from_secs;
        let mut backlog = Backlog::default();
        for n in [3, 1, 2] {
            backlog.put(endpoint_id(n), Some(at(10)));
        }
        backlog.put(endpoint_id(4), Some(at(20)));
        let ids = |backlog: &mut Backlog, now| backlog.due(at(now)).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert!(ids(&mut backlog, 9).is_empty());
        assert_eq!(ids(&mut backlog, 10), [1, 2, 3].map(endpoint_id));
        assert_eq!(backlog.next(), Some(at(20)));
        backlog.served(endpoint_id(2));
        assert_eq!(ids(&mut backlog, 10), [3, 1, 2].map(endpoint_id));
        backlog.put(endpoint_id(3), Some(at(30)));
        assert_eq!(ids(&mut backlog, 25), [4, 1, 2].map(endpoint_id));
        backlog.remove(endpoint_id(1));
        backlog.put(endpoint_id(2), None);
        assert_eq!(ids(&mut backlog, 30), [3, 4].map(endpoint_id));
        assert_eq!((backlog.len(), backlog.next()), (2, None));
    }
}
