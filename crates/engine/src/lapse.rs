//! Exchanges under way that must end once others may have taken this engine for dead.

use crate::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often it is asked, while there are such exchanges. Besides it the end of one takes as long as the processor lets it wait; the store has to
/// see to it that others need longer to take over, see `ClusterStore::may_act`.
const LAPSE: Duration = Duration::from_millis(20);

/// One task asks for all of them.
#[derive(Default)]
pub(crate) struct Lapse {
    /// Exchanges that want to be told.
    waiting: AtomicUsize,
    /// There is one again.
    begun: Notify,
    /// It may not act.
    lapsed: Notify,
}

/// An exchange that wants to be told.
struct Waits<'a>(&'a Lapse);

impl<'a> Waits<'a> {
    fn new(lapse: &'a Lapse) -> Self {
        if lapse.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            lapse.begun.notify_one();
        }
        Waits(lapse)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits until others may have taken this engine for dead.
pub(crate) async fn lapsed(shared: &Shared) {
    let _waits = Waits::new(&shared.lapse);
    loop {
        // Whoever tells of it from here on is heard.
        let lapsed = shared.lapse.lapsed.notified();
        if !shared.store.may_act() {
            return;
        }
        lapsed.await;
    }
}

/// Tells exchanges under way, for as long as the engine lives.
pub(crate) async fn watch(shared: Arc<Shared>) {
    loop {
        shared.lapse.begun.notified().await;
        while shared.lapse.waiting.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(LAPSE).await;
            if !shared.store.may_act() {
                shared.lapse.lapsed.notify_waiters();
            }
        }
    }
}
