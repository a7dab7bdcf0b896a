//! Whether this node may write, and send: as long as nobody can have taken it for dead.
//!
//! That goes by the time since the machine was started, with what it slept through: others end a node also while it is suspended, and it must not go
//! on as if no time had passed. (Where the system has no such clock, by one that stands still meanwhile.)

use super::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// So long before others can take over it ends acting: an engine needs up to 20 ms to notice, and what it has under way then needs time to end.
const MARGIN: Duration = Duration::from_millis(100);

/// Whether this node may write. Asked before every exchange, so that it takes no lock.
#[derive(Debug)]
pub(super) struct Standing {
    lost: watch::Sender<bool>,
    is_lost: AtomicBool,
    /// When the last heartbeat that arrived was sent, in microseconds since the machine was started.
    beaten: AtomicU64,
    lease: Duration,
}

/// The time since the machine was started.
pub(super) fn uptime() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    // It is never negative.
    Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Standing {
    /// From now on for a lease's time.
    pub(super) fn new(lease: Duration) -> Self {
        let lost = watch::Sender::new(false);
        Standing { lost, is_lost: AtomicBool::new(false), beaten: AtomicU64::new(micros(uptime())), lease }
    }

    /// Whether it was taken for dead.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Becomes true when it is taken for dead.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// Whether nobody can have taken it for dead yet, nor will in a moment.
    pub(super) fn may_act(&self) -> bool {
        !self.is_lost() && self.is_fresh(uptime())
    }

    /// Whether the last heartbeat is younger than a lease at this time, with the [`MARGIN`].
    fn is_fresh(&self, at: Duration) -> bool {
        micros(at) < self.beaten.load(Ordering::Relaxed).saturating_add(micros(self.lease.saturating_sub(MARGIN)))
    }

    /// Refuses if it was taken for dead.
    pub(super) fn may_read(&self) -> Result<()> {
        if self.is_lost() { Err(Error::Lost) } else { Ok(()) }
    }

    /// Refuses also if it may have been, without knowing.
    pub(super) fn may_write(&self) -> Result<()> {
        if self.may_act() {
            return Ok(());
        }
        self.may_read()?;
        Err(Error::NoConnection(format!(
            "no heartbeat could be written for {} ms, so that others may have taken over",
            self.lease.as_millis()
        )))
    }

    /// A heartbeat has arrived that was sent at this [`uptime`].
    pub(super) fn beat(&self, sent: Duration) {
        self.beaten.store(micros(sent), Ordering::Relaxed);
    }

    /// It was taken for dead.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
        self.lost.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(5);

    #[test]
    fn without_heartbeats_nothing_is_written() {
        let standing = Standing::new(LEASE);
        assert!(standing.may_write().is_ok() && standing.may_act());
        // As after a lease that the machine slept through: by no clock that stands still meanwhile.
        let now = uptime();
        standing.beat(now.saturating_sub(LEASE - MARGIN));
        assert!(matches!(standing.may_write(), Err(Error::NoConnection(_))));
        assert!(standing.may_read().is_ok() && !standing.may_act());
        standing.beat(now);
        assert!(standing.is_fresh(now + LEASE - MARGIN - Duration::from_micros(1)) && !standing.is_fresh(now + LEASE - MARGIN));
        let watch = standing.watch();
        standing.lose();
        assert!(!standing.may_act() && *watch.borrow() && standing.is_lost());
        assert!(matches!(standing.may_read(), Err(Error::Lost)));
    }
}
