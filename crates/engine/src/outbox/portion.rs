//! How many entries of the outbox are relayed in one piece: fewer where pieces fail, for it may lie in one of their entries.

use postrider_core::ports::StoreErrorKind;

/// Entries relayed in one piece.
const MOST: u32 = 512;

/// How often one entry by itself is tried.
const SINGLE_TRIES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    size: u32,
    /// The entry that failed by itself, and how often it did so in a row.
    failed: Option<(i64, u32)>,
}

/// What was to be stored in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The number of its first entry.
    pub(super) first: Option<i64>,
    /// How many entries it has.
    pub(super) entries: usize,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A smaller piece, at once.
    Smaller,
    /// The same in a while, or a smaller piece.
    Later,
    /// It is this one entry's own fault, if the store takes others.
    GiveUp(i64),
}

impl Default for Portion {
    fn default() -> Self {
        Portion { size: MOST, failed: None }
    }
}

impl Portion {
    /// How many entries the next piece has.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// A piece was stored.
    pub(super) fn relayed(&mut self) {
        *self = Portion { size: self.size.saturating_mul(2).min(MOST), failed: None };
    }

    /// A piece was not stored.
    pub(super) fn failed(&mut self, piece: Piece, kind: StoreErrorKind) -> Next {
        let half = u32::try_from(piece.entries / 2).unwrap_or(MOST).clamp(1, MOST);
        match kind {
            // A store that is gone for a moment is waited for.
            StoreErrorKind::Full | StoreErrorKind::ReadOnly | StoreErrorKind::Unavailable | StoreErrorKind::Unknown => Next::Later,
            // There may be room for a smaller one.
            StoreErrorKind::OverBudget => {
                self.size = half;
                Next::Later
            }
            StoreErrorKind::Corrupt | StoreErrorKind::Internal if piece.entries > 1 => {
                self.size = half;
                Next::Smaller
            }
            StoreErrorKind::Corrupt | StoreErrorKind::Internal => {
                let Some(id) = piece.first else { return Next::Later };
                let before = self.failed.filter(|(failed, _)| *failed == id).map_or(0, |(_, times)| times);
                let times = before.saturating_add(1);
                self.failed = Some((id, times));
                if times < SINGLE_TRIES { Next::Later } else { Next::GiveUp(id) }
            }
        }
    }
}

/// Whether a failure may lie in one entry.
pub(super) fn may_be_an_entrys_own(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Corrupt | StoreErrorKind::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: u32) -> Piece {
        Piece { first: Some(7), entries: entries as usize }
    }

    #[test]
    fn a_piece_that_fails_is_halved_down_to_the_entry_that_is_given_up() {
        let mut portion = Portion::default();
        let sizes: Vec<u32> = std::iter::from_fn(|| {
            let size = portion.size();
            (portion.failed(of(size), StoreErrorKind::Internal) == Next::Smaller).then_some(size)
        })
        .collect();
        assert_eq!(sizes, [512, 256, 128, 64, 32, 16, 8, 4, 2]);
        assert_eq!((portion.size(), portion.failed(of(1), StoreErrorKind::Corrupt)), (1, Next::GiveUp(7)), "after a second try");
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
            assert_eq!(portion.failed(of(512), kind), Next::Later);
        }
        assert_eq!(portion.size(), 512);
        for size in [256, 128] {
            assert_eq!((portion.failed(of(portion.size()), StoreErrorKind::OverBudget), portion.size()), (Next::Later, size));
        }
        for _ in 0..9 {
            assert_eq!((portion.failed(of(1), StoreErrorKind::OverBudget), portion.size()), (Next::Later, 1));
        }
        // Another one failed long ago: that says nothing of this one.
        let other = Piece { first: Some(8), entries: 1 };
        let failed = |portion: &mut Portion, piece| portion.failed(piece, StoreErrorKind::Internal);
        assert_eq!(
            [of(1), other, of(1), of(1)].map(|piece| failed(&mut portion, piece)),
            [Next::Later, Next::Later, Next::Later, Next::GiveUp(7)]
        );
    }
}
