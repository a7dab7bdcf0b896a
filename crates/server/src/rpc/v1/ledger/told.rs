//! What a watcher knows already.

use postrider_core::delivery::State;
use postrider_core::id::{AttemptId, DeliveryId};
use postrider_core::ports::DeliveryRow;
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What is seen of a delivery, in short: whatever changes it changes one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    state: State,
    attempts: u32,
    spent: u32,
    last_ended: Option<AttemptId>,
}

impl Mark {
    pub(super) fn of(row: &DeliveryRow) -> Self {
        let progress = row.delivery.progress;
        let last_ended = row.last_ended.as_ref().map(|attempt| attempt.id);
        Mark { state: progress.state, attempts: progress.attempts, spent: progress.spent, last_ended }
    }
}

/// The deliveries that a watcher was told of, and how they stood: a bounded number of them, those that may go on and the newest.
#[derive(Debug)]
pub(super) struct Told {
    /// How each of them stood, and whether it was one that the watcher wants.
    marks: BTreeMap<DeliveryId, (Mark, bool)>,
    most: usize,
    /// The last of those that were looked up for being open.
    turn: Option<DeliveryId>,
}

impl Told {
    /// For a watcher that gets so many at a time.
    pub(super) fn new(limit: usize) -> Self {
        Told { marks: BTreeMap::new(), most: 2 * limit + 1_000, turn: None }
    }

    /// Notes how a delivery stands, and whether the watcher wants such; answers whether it is to be told. One that it has is told of once more when
    /// it is not what the watcher wants any more.
    pub(super) fn note(&mut self, id: DeliveryId, mark: Mark, is_wanted: bool) -> bool {
        let new = (mark, is_wanted);
        let old = self.marks.insert(id, new);
        if self.marks.len() > self.most {
            self.drop_one();
        }
        old != Some(new) && (is_wanted || old.is_some_and(|(_, was_wanted)| was_wanted))
    }

    /// The oldest that rests goes: what was told as going on has to be told as ended, too. Only if all go on it is the oldest of them.
    fn drop_one(&mut self) {
        let resting = self.marks.iter().find(|(_, (mark, was_wanted))| !*was_wanted || mark.state.kind().is_resting());
        match resting.map(|(id, _)| *id) {
            Some(id) => drop(self.marks.remove(&id)),
            None => drop(self.marks.pop_first()),
        }
    }

    /// Those that were wanted and are not on the page any more that has all such from this one on: the newest first, so many at the most.
    pub(super) fn lost(&self, page: &BTreeSet<DeliveryId>, from: Option<DeliveryId>, most: usize) -> Vec<DeliveryId> {
        let behind = self.marks.iter().rev().take_while(|(id, _)| from.is_none_or(|from| **id >= from));
        behind.filter(|(id, (_, was_wanted))| *was_wanted && !page.contains(*id)).map(|(id, _)| *id).take(most).collect()
    }

    /// Those that were told as under way or due, so that they have most likely gone on, and are not on the page: so many at the most, in turn, for those
    /// that went before come last.
    pub(super) fn open(&mut self, page: &BTreeSet<DeliveryId>, now: Timestamp, most: usize) -> Vec<DeliveryId> {
        let goes_on = |state: State| state == State::Sending || state.due_at().is_some_and(|due_at| due_at <= now);
        let is_open = |(id, (mark, was_wanted)): &(&DeliveryId, &(Mark, bool))| *was_wanted && goes_on(mark.state) && !page.contains(*id);
        let (before, from) = match self.turn {
            Some(turn) => (self.marks.range(..turn), Some(self.marks.range(turn..))),
            None => (self.marks.range(..), None),
        };
        let in_turn = before.rev().chain(from.into_iter().flatten().rev());
        let open: Vec<DeliveryId> = in_turn.filter(is_open).map(|(id, _)| *id).take(most).collect();
        self.turn = open.last().copied();
        open
    }

    /// Whether the watcher was told of this one.
    pub(super) fn has(&self, id: DeliveryId) -> bool {
        self.marks.contains_key(&id)
    }

    /// A delivery is gone.
    pub(super) fn forget(&mut self, id: DeliveryId) {
        self.marks.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postrider_core::delivery::{Delivery, Progress};
    use postrider_core::event::Namespace;
    use postrider_core::id::{EndpointId, EventId, EventSeq, SubscriptionId};
    use postrider_core::time::Timestamp;
    use uuid::Uuid;

    fn id(n: u128) -> DeliveryId {
        DeliveryId::new(Uuid::from_u128(n))
    }

    fn row(n: u128, state: State) -> DeliveryRow {
        let at = Timestamp::from_secs(1);
        DeliveryRow {
            delivery: Delivery {
                id: id(n),
                event: EventSeq(1),
                namespace: Namespace::default_namespace(),
                subscription: SubscriptionId::new(Uuid::nil()),
                endpoint: EndpointId::new(Uuid::nil()),
                progress: Progress { state, ..Progress::new(at, None) },
                created_at: at,
                last_attempt_at: None,
            },
            event_id: EventId::new(Uuid::nil()),
            event_type: "a.b".into(),
            payload: Bytes::new(),
            last_ended: None,
            bodies_removed: false,
            rate_limited: 0,
            called_off: false,
        }
    }

    fn note(told: &mut Told, n: u128, state: State, is_wanted: bool) -> bool {
        let row = row(n, state);
        told.note(row.delivery.id, Mark::of(&row), is_wanted)
    }

    #[test]
    fn what_is_new_or_changed_is_told_once() {
        let mut told = Told::new(1);
        assert!(note(&mut told, 1, State::Sending, true));
        assert!(!note(&mut told, 1, State::Sending, true));
        assert!(note(&mut told, 1, State::Succeeded, false), "it is not wanted any more");
        assert!(!note(&mut told, 1, State::Succeeded, false) && !note(&mut told, 1, State::Expired, false));
        assert!(note(&mut told, 1, State::Sending, true), "it is wanted again");
        assert!(!note(&mut told, 2, State::Sending, false), "it never was");
    }

    #[test]
    fn those_that_are_missing_from_a_page_are_found() {
        let mut told = Told::new(1);
        for n in 1..=5 {
            note(&mut told, n, State::Sending, n != 4);
        }
        let page = BTreeSet::from([id(5)]);
        assert_eq!(told.lost(&page, Some(id(2)), 9), [id(3), id(2)], "from the second on, and without the fourth, which was not wanted");
        assert_eq!((told.lost(&page, None, 2), told.lost(&BTreeSet::new(), None, 1)), (vec![id(3), id(2)], vec![id(5)]));
        told.forget(id(3));
        assert_eq!(told.lost(&page, None, 9), [id(2), id(1)]);
    }

    /// What was told as under way and has left the page is looked up until it rests, everything in its turn.
    #[test]
    fn what_has_most_likely_gone_on_is_looked_up_in_turn() {
        let (mut told, now) = (Told::new(1), Timestamp::from_secs(10));
        let due = |secs| State::Pending { due_at: Timestamp::from_secs(secs) };
        for (n, state) in [(1, State::Sending), (2, due(10)), (3, due(11)), (4, State::Succeeded), (5, State::Sending), (6, State::Sending)]
        {
            note(&mut told, n, state, true);
        }
        note(&mut told, 7, State::Sending, false);
        let page = BTreeSet::from([id(6)]);
        let turns: Vec<_> = (0..4).map(|_| told.open(&page, now, 2)).collect();
        assert_eq!(turns, [[id(5), id(2)], [id(1), id(5)], [id(2), id(1)], [id(5), id(2)]]);
        assert!(told.has(id(7)) && !told.has(id(8)));
    }

    #[test]
    fn it_takes_bounded_memory() {
        let mut told = Told::new(3);
        for n in 1..=2_000 {
            note(&mut told, n, State::Sending, true);
        }
        assert_eq!((told.marks.len(), told.marks.first_key_value().map(|(first, _)| *first)), (1_006, Some(id(995))));
    }

    #[test]
    fn what_rests_makes_room_first() {
        let mut told = Told::new(1);
        assert!(note(&mut told, 1, State::Sending, true));
        for n in 2..=3_000 {
            note(&mut told, n, State::Succeeded, true);
        }
        assert_eq!(told.marks.len(), 1_002);
        assert!(told.has(id(1)) && !told.has(id(2)) && told.has(id(3_000)));
        assert!(note(&mut told, 1, State::Succeeded, true));
        note(&mut told, 3_001, State::Sending, true);
        assert!(!told.has(id(1)) && told.has(id(3_001)));
    }
}
