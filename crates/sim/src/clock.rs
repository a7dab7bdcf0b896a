//! The time of day of a simulated life: it moves with the runtime's paused clock, and goes on where the life before ended.

use postrider_core::ports::Clock;
use postrider_core::time::Timestamp;
use tokio::time::Instant;

/// The engine's clock during one life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FakeClock {
    base: Timestamp,
    began: Instant,
}

impl FakeClock {
    /// A clock that shows `base` now. Must be made inside the life's runtime, whose time is paused.
    pub(crate) fn starting_at(base: Timestamp) -> Self {
        FakeClock { base, began: Instant::now() }
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.base.after(self.began.elapsed())
    }
}
