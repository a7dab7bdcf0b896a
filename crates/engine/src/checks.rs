//! Places for what holds payloads against schemas, or against what a subscription asks for: it goes on beside the runtime's threads, little of it at
//! a time.

use parking_lot::Mutex;
use postrider_core::event::Namespace;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

/// Checks at the same time, over all: each may take a core for some tenths of a second.
const CHECKS: usize = 2;

/// Checks at the same time for the payloads of one tenant. Fewer than [`CHECKS`]: whose checks are slow holds up nobody else.
const OF_ONE: usize = 1;

/// The places for checks.
pub(crate) struct Checks {
    all: Arc<Semaphore>,
    /// Of the tenants that have a check under way, or one that waits.
    own: Mutex<BTreeMap<Namespace, Arc<Semaphore>>>,
}

/// Places that a tenant has, until they are dropped.
pub(crate) struct Places {
    _own: Result<OwnedSemaphorePermit, AcquireError>,
    _of_all: Result<OwnedSemaphorePermit, AcquireError>,
}

impl Checks {
    pub(crate) fn new() -> Self {
        Checks { all: Arc::new(Semaphore::new(CHECKS)), own: Mutex::default() }
    }

    /// Places for this tenant, once there are some.
    pub(crate) async fn places(&self, tenant: Namespace) -> Places {
        // None is ever closed.
        let own = self.of(tenant).acquire_owned().await;
        Places { _own: own, _of_all: Arc::clone(&self.all).acquire_owned().await }
    }

    /// Does what takes its time for this tenant, once there is a place for it. An error says that it panicked.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        tenant: Namespace,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // The work keeps its places to its end, though nobody may wait for it any more.
        let places = self.places(tenant).await;
        let working = move || {
            let _places = places;
            work()
        };
        tokio::task::spawn_blocking(working).await
    }

    /// The places of a tenant. Those of others that nobody uses any more are forgotten.
    fn of(&self, tenant: Namespace) -> Arc<Semaphore> {
        let mut own = self.own.lock();
        // Whoever waits for a place, or has one, has a reference.
        own.retain(|_, places| Arc::strong_count(places) > 1);
        Arc::clone(own.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(OF_ONE))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    fn named(name: &str) -> Namespace {
        Namespace::new(name).expect("a namespace")
    }

    /// A check that has begun and goes on until it is told to end.
    async fn begun(checks: &Arc<Checks>, tenant: Namespace) -> (JoinHandle<()>, mpsc::Sender<()>) {
        let ((ends, is_to_end), (begins, has_begun)) = (mpsc::channel::<()>(), oneshot::channel());
        let checks = Arc::clone(checks);
        let caller = tokio::spawn(async move {
            let work = move || {
                begins.send(()).expect("the test waits for it");
                // An error too says that the test is over.
                _ = is_to_end.recv();
            };
            checks.aside(tenant, work).await.expect("it does not panic");
        });
        has_begun.await.expect("it begins");
        (caller, ends)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(test);
    }

    #[test]
    fn the_slow_checks_of_one_leave_a_place_for_the_others() {
        run(async {
            let checks = Arc::new(Checks::new());
            let (slow, ends) = begun(&checks, named("slow")).await;
            let own = checks.of(named("slow"));
            assert_eq!((own.available_permits(), checks.all.available_permits()), (0, CHECKS - 1));
            // Another of it would wait; one of somebody else begins and ends meanwhile.
            assert_eq!(checks.aside(named("other"), || 7).await.ok(), Some(7));
            assert_eq!(checks.aside(named("third"), || 8).await.ok(), Some(8));
            drop(ends);
            slow.await.expect("it ends");
            assert_eq!(own.available_permits(), OF_ONE);
            drop(own);
            assert_eq!(checks.aside(named("fourth"), || 9).await.ok(), Some(9));
            assert!(checks.own.lock().keys().eq([&named("fourth")]), "those that nobody uses are forgotten");
        });
    }

    #[test]
    fn a_check_keeps_its_place_when_its_caller_goes_away() {
        run(async {
            let checks = Arc::new(Checks::new());
            let (caller, ends) = begun(&checks, named("slow")).await;
            caller.abort();
            assert!(caller.await.is_err_and(|ended| ended.is_cancelled()));
            let own = checks.of(named("slow"));
            assert_eq!((own.available_permits(), checks.all.available_permits()), (0, CHECKS - 1), "it still uses a core");
            drop(ends);
            let all = checks.all.acquire_many(u32::try_from(CHECKS).expect("few")).await;
            assert!(all.is_ok() && own.acquire().await.is_ok());
        });
    }
}
