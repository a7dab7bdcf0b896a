//! How many entries of the outbox are relayed in one piece: fewer where pieces fail, for it may lie in one of their entries.

use postrider_core::ports::StoreErrorKind;

/// Entries relayed in one piece.
const MOST: u32 = 512;

/// How often one entry by itself is tried.
const SINGLE_TRIES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    size: u32,
    /// How often the one entry has failed.
    failures: u32,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A smaller piece, at once.
    Smaller,
    /// The same in a while, or a smaller piece.
    Later,
    /// It is the one entry's own fault.
    GiveUp,
}

impl Default for Portion {
    fn default() -> Self {
        Portion { size: MOST, failures: 0 }
    }
}

impl Portion {
    /// How many entries the next piece has.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// A piece was stored.
    pub(super) fn relayed(&mut self) {
        *self = Portion { size: self.size.saturating_mul(2).min(MOST), failures: 0 };
    }

    /// A piece with so many entries was not stored.
    pub(super) fn failed(&mut self, entries: usize, kind: StoreErrorKind) -> Next {
        let half = u32::try_from(entries / 2).unwrap_or(MOST).clamp(1, MOST);
        match kind {
            // A store that is gone for a moment is waited for.
            StoreErrorKind::Full | StoreErrorKind::ReadOnly | StoreErrorKind::Unavailable | StoreErrorKind::Unknown => Next::Later,
            // There may be room for a smaller one.
            StoreErrorKind::OverBudget => {
                self.size = half;
                Next::Later
            }
            StoreErrorKind::Corrupt | StoreErrorKind::Internal if entries > 1 => {
                self.size = half;
                Next::Smaller
            }
            StoreErrorKind::Corrupt | StoreErrorKind::Internal => {
                self.failures += 1;
                if self.failures < SINGLE_TRIES { Next::Later } else { Next::GiveUp }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_that_fails_is_halved_down_to_the_entry_that_is_given_up() {
        let mut portion = Portion::default();
        let sizes: Vec<u32> = std::iter::from_fn(|| {
            let size = portion.size();
            (portion.failed(size as usize, StoreErrorKind::Internal) == Next::Smaller).then_some(size)
        })
        .collect();
        assert_eq!(sizes, [512, 256, 128, 64, 32, 16, 8, 4, 2]);
        assert_eq!((portion.size(), portion.failed(1, StoreErrorKind::Corrupt)), (1, Next::GiveUp), "after a second try");
        let after: Vec<u32> = std::iter::repeat_with(|| {
            portion.relayed();
            portion.size()
        })
        .take(10)
        .collect();
        assert_eq!(after, [2, 4, 8, 16, 32, 64, 128, 256, 512, 512]);
        assert_eq!(portion, Portion::default());
    }

    #[test]
    fn what_is_no_fault_of_an_entry_is_waited_for() {
        let mut portion = Portion::default();
        for kind in [StoreErrorKind::Full, StoreErrorKind::ReadOnly, StoreErrorKind::Unavailable, StoreErrorKind::Unknown] {
            assert_eq!(portion.failed(512, kind), Next::Later);
        }
        assert_eq!(portion.size(), 512);
        for size in [256, 128] {
            assert_eq!((portion.failed(portion.size() as usize, StoreErrorKind::OverBudget), portion.size()), (Next::Later, size));
        }
        for _ in 0..9 {
            assert_eq!((portion.failed(1, StoreErrorKind::OverBudget), portion.size()), (Next::Later, 1));
        }
    }
}
