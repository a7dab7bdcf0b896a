//! Behind which number to look into the outbox.
//!
//! Rows leave at the front, and what is gone stays in the index for as long as an old transaction may look at it. Three numbers keep looks short:
//!
//! - Behind what was answered last, or the first of that which was not relayed, but not behind what was given out within the last second:
//!   transactions that run side by side are not committed in the order of their numbers. So begins every look.
//! - The floor: nothing below it waits, and nothing comes any more, since all transactions have ended that were there when its numbers had been
//!   given out. A transaction of `publish` has its own number before it takes one of these. Once a second it is looked from there on: for those that
//!   took longer.
//! - The first row of all, every thirty seconds: people may have put one there with their own hands.
//!
//! A look that takes long is repeated after ten times as long at the earliest, and one that fails by that keeps nobody back: looks go on behind what had
//! been given out when it began.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked from the first row on.
const LOOK_AT_ALL: Duration = Duration::from_secs(30);

/// How often it is looked from the floor on, and for how long whoever has a number usually takes until the commit.
const LOOK_BACK: Duration = Duration::from_secs(1);

/// Looks from the floor or from the first row on take no more than this part of the time: beside an old transaction there may be much that is gone.
const SHARE: u32 = 10;

/// Where a look begins, for all looks of a node.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Floor(Mutex<State>);

/// What was to be seen of transactions and numbers at the moment of a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    /// The last number that was given out.
    pub(super) given: i64,
    /// The oldest transaction that had not ended, or the next one if there was none.
    pub(super) oldest: i64,
    /// The transaction that comes next: all that had begun have lower numbers.
    pub(super) next: i64,
}

/// A look that has come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Behind which number it was looked.
    pub(super) from: i64,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

impl Look {
    fn took(self) -> Duration {
        self.ended.duration_since(self.began)
    }

    /// When to do the same again.
    fn again(self, every: Duration) -> Option<Instant> {
        Some(self.ended + every.max(self.took() * SHARE))
    }
}

impl Floor {
    /// Behind which number to look now.
    pub(super) fn begin(&self, now: Instant) -> i64 {
        self.0.lock().begin(now)
    }

    /// It was looked, all of it at a moment, and these were found, in their order.
    pub(super) fn end(&self, look: Look, stand: Stand, found: &[i64]) {
        self.0.lock().end(look, stand, found);
    }

    /// It was looked, and there is no answer. This was the last number that was given out.
    pub(super) fn failed(&self, look: Look, given: i64) {
        self.0.lock().failed(look, given);
    }

    /// These are gone, or put aside.
    pub(in crate::postgres) fn relayed(&self, ids: impl Iterator<Item = i64>) {
        let mut state = self.0.lock();
        for id in ids {
            state.open.remove(&id);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// The floor.
    at: i64,
    /// The last number that was given out when it was looked before.
    given: i64,
    /// These were given out, and all of them to transactions before that one.
    candidate: Option<(i64, i64)>,
    /// What the last look has answered and nobody has relayed since.
    open: BTreeSet<i64>,
    /// Up to this one the last look has answered all that was there.
    seen: i64,
    /// These were given out a second ago or before.
    old: i64,
    /// These will be.
    aging: Option<(Instant, i64)>,
    /// When to look from the first row on again.
    look_at_all: Option<Instant>,
    /// When to look from the floor again.
    look_back: Option<Instant>,
}

impl State {
    fn begin(&mut self, now: Instant) -> i64 {
        // Whatever becomes of it: what has no end would be begun again and again.
        if self.look_at_all.is_none_or(|due| now >= due) {
            self.look_at_all = Some(now + LOOK_AT_ALL);
            return 0;
        }
        if self.look_back.is_none_or(|due| now >= due) {
            self.look_back = Some(now + LOOK_BACK);
            return self.at;
        }
        let next = self.open.first().map_or(self.seen, |first| first - 1);
        self.at.max(next.min(self.old))
    }

    fn end(&mut self, look: Look, stand: Stand, found: &[i64]) {
        let Look { from, ended, .. } = look;
        if stand.given < self.given || self.candidate.is_some_and(|(_, next)| stand.next < next) {
            // Numbers went back, as when another server goes on that had not heard of the last ones: nothing that is known here holds there.
            *self = State::default();
            return;
        }
        if from == 0 {
            self.look_at_all = look.again(LOOK_AT_ALL);
        }
        if from <= self.at {
            // Whoever had one of these numbers has ended: what is not here now comes no more.
            if let Some((given, _)) = self.candidate.take_if(|(_, next)| *next <= stand.oldest) {
                self.at = self.at.max(given);
            }
            self.at = found.first().map_or(self.at, |first| self.at.min(first - 1));
            self.look_back = look.again(LOOK_BACK);
        }
        // What was given out by the look before, was given out to transactions that had begun by this one.
        if self.candidate.is_none() && self.given > self.at {
            self.candidate = Some((self.given, stand.next));
        }
        self.given = stand.given;
        match self.aging {
            Some((since, _)) if ended.duration_since(since) < LOOK_BACK => {}
            aged => {
                self.old = aged.map_or(self.old, |(_, given)| given);
                self.aging = Some((ended, stand.given));
            }
        }
        self.seen = found.last().copied().unwrap_or(stand.given);
        self.open = found.iter().copied().collect();
    }

    fn failed(&mut self, look: Look, given: i64) {
        if look.from == 0 {
            self.look_at_all = look.again(LOOK_AT_ALL);
        }
        if look.from <= self.at {
            self.look_back = look.again(LOOK_BACK);
        }
        // It was too much to look through. What lies before is found once that can be done.
        if look.took() >= LOOK_BACK {
            (self.seen, self.old) = (given.max(self.seen), given.max(self.old));
            self.open.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What looks at the same floor, a while after each other.
    struct Looks {
        state: State,
        now: Instant,
    }

    impl Looks {
        fn new() -> Self {
            Looks { state: State::default(), now: Instant::now() }
        }

        /// Looks after this long, and answers behind which number.
        fn look(&mut self, after: Duration, (given, oldest, next): (i64, i64, i64), found: &[i64]) -> i64 {
            self.now += after;
            let from = self.state.begin(self.now);
            self.state.end(Look { from, began: self.now, ended: self.now }, Stand { given, oldest, next }, found);
            from
        }

        fn relayed(&mut self, ids: &[i64]) {
            for id in ids {
                self.state.open.remove(id);
            }
        }
    }

    const SOON: Duration = Duration::from_millis(10);

    #[test]
    fn the_floor_rises_once_all_have_ended_who_had_a_number() {
        let mut looks = Looks::new();
        assert_eq!(looks.look(SOON, (10, 100, 105), &[]), 0);
        // Whoever had one of the first ten numbers had begun by now: it is one of those below 106.
        assert_eq!(looks.look(LOOK_BACK, (12, 101, 106), &[]), 0);
        assert_eq!(looks.state.candidate, Some((10, 106)));
        looks.look(LOOK_BACK, (12, 105, 109), &[]);
        assert_eq!(looks.state.at, 0, "105 goes on, and may have one of them");
        looks.look(LOOK_BACK, (13, 106, 110), &[]);
        assert_eq!(looks.state.at, 10);
    }

    #[test]
    fn whoever_has_the_highest_number_of_all_holds_the_floor_too() {
        let mut looks = Looks::new();
        // 100 goes on, and none above it: it is the oldest, and 101 comes next.
        for _ in 0..4 {
            looks.look(LOOK_BACK, (1, 100, 101), &[]);
        }
        assert_eq!(looks.state.at, 0);
        looks.look(LOOK_BACK, (1, 101, 101), &[1]);
        assert_eq!(looks.state.at, 0, "it has ended, and what it had is there");
    }

    #[test]
    fn what_waits_holds_the_floor() {
        let mut looks = Looks::new();
        for next in 1..9 {
            looks.look(LOOK_BACK, (50, next, next), &[7]);
        }
        assert_eq!(looks.state.at, 6);
        for _ in 0..3 {
            looks.look(LOOK_BACK, (50, 9, 9), &[]);
        }
        assert_eq!(looks.state.at, 50);
    }

    #[test]
    fn looks_go_on_behind_what_was_relayed_and_come_back_once_a_second() {
        let mut looks = Looks::new();
        // Somebody has begun before all of this and does not end, so that the floor stays.
        let stand = (2_000, 7, 900);
        looks.look(SOON, stand, &[1, 2, 3]);
        assert_eq!(looks.look(SOON, stand, &[1, 2, 3]), 0, "all of it was given out a moment ago");
        looks.relayed(&[1, 2, 3]);
        assert_eq!(looks.look(LOOK_BACK, stand, &[4, 5, 6]), 0, "from the floor");
        assert_eq!(looks.look(SOON, stand, &[4, 5, 6]), 3, "nothing of it was relayed");
        looks.relayed(&[4]);
        assert_eq!(looks.look(SOON, stand, &[5, 6, 8]), 4);
        looks.relayed(&[5, 6, 8]);
        assert_eq!(looks.look(SOON, stand, &[]), 8);
        assert_eq!(looks.look(SOON, stand, &[]), 2_000, "there was nothing behind it");
        assert_eq!(looks.look(LOOK_BACK, (2_100, 7, 950), &[]), 0);
        assert_eq!(looks.look(SOON, (2_100, 7, 950), &[]), 2_000, "what was given out since may come in another order");
    }

    #[test]
    fn looks_back_that_take_long_are_rare() {
        let (mut state, now) = (State::default(), Instant::now());
        let (took, stand) = (Duration::from_secs(1), Stand { given: 9, oldest: 1, next: 2 });
        state.end(Look { from: 0, began: now, ended: now + took }, stand, &[]);
        state.end(Look { from: 5, began: now + took, ended: now + took }, stand, &[]);
        assert_eq!(state.look_back, Some(now + took + took * SHARE), "a look that was not from the floor is none");
    }

    #[test]
    fn looks_at_all_that_take_long_are_rare() {
        let (mut state, now) = (State::default(), Instant::now());
        let (took, stand) = (Duration::from_secs(10), Stand { given: 9, oldest: 1, next: 2 });
        assert_eq!(state.begin(now), 0);
        state.end(Look { from: 0, began: now, ended: now + took }, stand, &[]);
        assert_eq!(state.look_at_all, Some(now + took + took * SHARE));
    }

    #[test]
    fn what_fails_is_not_begun_again_at_once() {
        let mut looks = Looks::new();
        for next in 1..5 {
            looks.look(LOOK_BACK, (50, next, next), &[]);
        }
        let now = looks.now + LOOK_AT_ALL;
        // It has no end, and there is no answer from the floor on either.
        assert_eq!((looks.state.begin(now), looks.state.begin(now), looks.state.begin(now + SOON)), (0, 50, 50));
        let ended = now + LOOK_AT_ALL;
        looks.state.failed(Look { from: 0, began: now, ended }, 70);
        assert_eq!(looks.state.begin(ended), 70, "behind what there was too much of");
        assert_eq!(looks.state.look_at_all, Some(ended + LOOK_AT_ALL * SHARE));
        assert_eq!(looks.state.begin(ended + LOOK_AT_ALL * SHARE), 0);
    }

    /// Whoever comes to look for the first time knows of no floor.
    #[test]
    fn a_first_look_that_takes_too_long_keeps_nobody_back() {
        let (mut state, began) = (State::default(), Instant::now());
        assert_eq!(state.begin(began), 0);
        let ended = began + LOOK_AT_ALL;
        state.failed(Look { from: 0, began, ended }, 70);
        assert_eq!(state.begin(ended), 70);
        assert_eq!(state.begin(ended + LOOK_AT_ALL), 70);
        state.failed(Look { from: 70, began: ended, ended: ended + SOON }, 80);
        assert_eq!(state.begin(ended + LOOK_AT_ALL), 70, "a connection that breaks says nothing");
    }

    #[test]
    fn numbers_that_go_back_are_looked_for_from_the_first_row_on() {
        let mut looks = Looks::new();
        for next in 1..5 {
            looks.look(LOOK_BACK, (50, next, next), &[]);
        }
        assert_eq!(looks.look(LOOK_BACK, (50, 5, 5), &[]), 50);
        assert_eq!(looks.look(SOON, (20, 6, 6), &[]), 50);
        assert_eq!(looks.look(SOON, (21, 6, 6), &[20, 21]), 0);
        assert_eq!(looks.look(SOON, (21, 6, 6), &[20, 21]), 0, "and nothing of it is passed over");
        // Transactions of another history.
        for next in 100..105 {
            looks.look(LOOK_BACK, (60 + next, 7, next), &[]);
        }
        assert!(looks.state.candidate.is_some());
        looks.look(SOON, (200, 7, 50), &[]);
        assert_eq!(looks.look(SOON, (200, 7, 51), &[]), 0);
    }

    #[test]
    fn now_and_then_it_is_looked_at_all() {
        let mut looks = Looks::new();
        for next in 1..5 {
            looks.look(LOOK_BACK, (50, next, next), &[]);
        }
        assert_eq!(looks.state.at, 50);
        assert_eq!(looks.look(LOOK_AT_ALL, (50, 5, 5), &[3]), 0, "somebody has put one back");
        assert_eq!(looks.state.at, 2, "and there may be more behind it");
    }
}
