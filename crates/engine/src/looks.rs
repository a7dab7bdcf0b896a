//! Looks for configuration that others changed: how many have begun, and what came of the last one.

use parking_lot::Mutex;
use postrider_core::ports::{StoreError, StoreErrorKind};

/// They happen one after the other, under `editing`, and are numbered from 1 on.
#[derive(Default)]
pub(crate) struct Looks(Mutex<Last>);

/// The last look that has begun.
#[derive(Default)]
struct Last {
    number: u64,
    /// `None` until it has ended.
    result: Option<Result<(), StoreError>>,
}

impl Looks {
    /// How many have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.0.lock().number
    }

    /// Another one begins.
    pub(crate) fn begin(&self) {
        let mut last = self.0.lock();
        *last = Last { number: last.number + 1, result: None };
    }

    /// The one that had begun has ended.
    pub(crate) fn end(&self, result: Result<(), StoreError>) {
        self.0.lock().result = Some(result);
    }

    /// What came of a look that began after so many had; `None` where there was none, or it is under way.
    pub(crate) fn ended_since(&self, begun: u64) -> Option<Result<(), StoreError>> {
        let last = self.0.lock();
        last.result.clone().filter(|_| last.number > begun)
    }

    /// The same, for who knows that none is under way: one without an end broke off.
    pub(crate) fn over_since(&self, begun: u64) -> Option<Result<(), StoreError>> {
        let last = self.0.lock();
        (last.number > begun).then(|| last.result.clone().unwrap_or_else(|| Err(broken_off())))
    }
}

/// Nobody knows what a look would have found.
pub(crate) fn broken_off() -> StoreError {
    StoreError { kind: StoreErrorKind::Internal, cause: "a look for changes of the configuration ended early".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_look_found_counts_for_whoever_came_before_it_began() {
        let looks = Looks::default();
        assert_eq!((looks.begun(), looks.ended_since(0), looks.over_since(0)), (0, None, None));
        looks.begin();
        assert_eq!((looks.begun(), looks.ended_since(0)), (1, None), "it is under way");
        assert_eq!(looks.over_since(0), Some(Err(broken_off())), "it broke off");
        looks.end(Ok(()));
        assert_eq!((looks.ended_since(0), looks.over_since(0)), (Some(Ok(())), Some(Ok(()))));
        assert_eq!((looks.ended_since(1), looks.over_since(1)), (None, None), "it began before");
        looks.begin();
        assert_eq!(looks.over_since(1), Some(Err(broken_off())), "the one before says nothing of it");
        assert_eq!(looks.ended_since(u64::MAX), None);
    }
}
