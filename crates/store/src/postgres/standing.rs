//! Whether this node may write, and send: as long as nobody can have taken it for dead.

use super::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Whether this node may write. Asked before every exchange, so that it takes no lock.
#[derive(Debug)]
pub(super) struct Standing {
    lost: watch::Sender<bool>,
    is_lost: AtomicBool,
    began: Instant,
    /// When the last heartbeat that arrived was sent, in microseconds since it began.
    beaten: AtomicU64,
    lease: Duration,
}

impl Standing {
    /// From now on for a lease's time.
    pub(super) fn new(lease: Duration) -> Self {
        let lost = watch::Sender::new(false);
        Standing { lost, is_lost: AtomicBool::new(false), began: Instant::now(), beaten: AtomicU64::new(0), lease }
    }

    /// Whether it was taken for dead.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Becomes true when it is taken for dead.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// Whether nobody can have taken it for dead yet.
    pub(super) fn may_act(&self) -> bool {
        !self.is_lost() && self.began.elapsed() < Duration::from_micros(self.beaten.load(Ordering::Relaxed)) + self.lease
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

    /// A heartbeat has arrived that was sent at this time.
    pub(super) fn beat(&self, sent: Instant) {
        let since = u64::try_from(sent.duration_since(self.began).as_micros()).unwrap_or(u64::MAX);
        self.beaten.store(since, Ordering::Relaxed);
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

    #[tokio::test(start_paused = true)]
    async fn without_heartbeats_nothing_is_written() {
        let standing = Standing::new(LEASE);
        assert!(standing.may_write().is_ok());
        tokio::time::advance(LEASE).await;
        assert!(matches!(standing.may_write(), Err(Error::NoConnection(_))));
        assert!(standing.may_read().is_ok());
        assert!(!standing.may_act());
        standing.beat(Instant::now());
        assert!(standing.may_write().is_ok() && standing.may_act());
        let mut watch = standing.watch();
        standing.lose();
        assert!(!standing.may_act());
        assert!(watch.changed().await.is_ok() && *watch.borrow() && standing.is_lost());
        assert!(matches!(standing.may_read(), Err(Error::Lost)));
    }
}
