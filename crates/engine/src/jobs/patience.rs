//! What to do with a job whose steps fail, and with a batch: what is said of dead letters here holds for its entries as well.
//!
//! A store that is full, read-only or gone for a moment fails everybody: a job waits for it as long as that takes. Any other failure may lie
//! in what the step touches. So a job tries again, goes letter by letter where that does not help, and gives up the one that cannot be
//! replayed; the others still are.

use postrider_core::ports::{StoreError, StoreErrorKind};
use std::time::Duration;

/// How often a whole step is tried before the job goes letter by letter: with the pauses between, about half a minute.
const WHOLE_TRIES: u32 = 5;

/// How often one dead letter by itself is tried.
const SINGLE_TRIES: u32 = 2;

/// The pause after the first failure; each that follows is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How a job goes on, and how many failures it has seen since its last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    failures: u32,
    /// How many dead letters are still to be taken one by one; none is the usual case.
    single: u32,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The step is made again after this pause.
    Again(Duration),
    /// It is the fault of the dead letter that comes next: it is given up.
    GiveUp,
}

impl Patience {
    /// How many dead letters the next step has, of so many that it might have.
    pub(crate) fn size(&self, usual: u32) -> u32 {
        if self.single > 0 { 1 } else { usual }
    }

    /// A step was stored.
    pub(crate) fn succeeded(&mut self) {
        *self = Patience { failures: 0, single: self.single.saturating_sub(1) };
    }

    /// A step failed that would usually have so many dead letters.
    pub(crate) fn failed(&mut self, usual: u32, error: &StoreError) -> Next {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(16)).min(MAX_PAUSE);
        if !may_be_the_steps_own(error.kind) {
            self.failures = self.failures.saturating_add(1).min(16);
            return Next::Again(pause);
        }
        self.failures += 1;
        match self.single {
            0 if self.failures < WHOLE_TRIES => Next::Again(pause),
            0 => {
                *self = Patience { failures: 0, single: usual.max(1) };
                Next::Again(PAUSE)
            }
            _ if self.failures < SINGLE_TRIES => Next::Again(pause),
            _ => Next::GiveUp,
        }
    }
}

fn may_be_the_steps_own(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Corrupt | StoreErrorKind::Internal => true,
        StoreErrorKind::Full
        | StoreErrorKind::OverBudget
        | StoreErrorKind::ReadOnly
        | StoreErrorKind::Unavailable
        | StoreErrorKind::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: StoreErrorKind) -> StoreError {
        StoreError { kind, cause: String::new() }
    }

    fn secs(n: u64) -> Next {
        Next::Again(Duration::from_secs(n))
    }

    #[test]
    fn a_step_that_keeps_failing_is_narrowed_and_then_given_up() {
        let mut patience = Patience::default();
        let fail = |patience: &mut Patience| patience.failed(3, &error(StoreErrorKind::Internal));
        assert_eq!([1, 2, 3, 4].map(|_| fail(&mut patience)), [secs(1), secs(2), secs(4), secs(8)]);
        assert_eq!(patience.size(3), 3);
        assert_eq!((fail(&mut patience), patience.size(3)), (secs(1), 1));
        assert_eq!([1, 2].map(|_| fail(&mut patience)), [secs(1), Next::GiveUp]);
        // What is given up is stored as a step as well; the rest of those three follow one by one.
        for size in [1, 1, 3] {
            patience.succeeded();
            assert_eq!(patience.size(3), size);
        }
        assert_eq!(patience, Patience::default());
    }

    #[test]
    fn a_store_that_is_away_is_waited_for() {
        let mut patience = Patience::default();
        let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::Full, StoreErrorKind::ReadOnly];
        for n in 0..100 {
            let pause = 1_u64 << n.min(6);
            assert_eq!(patience.failed(3, &error(kinds[n % 3])), secs(pause.min(60)));
            assert_eq!(patience.size(3), 3);
        }
    }
}
