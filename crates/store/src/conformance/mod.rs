//! The suite that every store must pass.
//!
//! A store takes part with a [`Harness`] and one line, `postrider_store::conformance_tests!(MyHarness::new());`, which makes a
//! `#[test]` of each case and one of the comparison with the model. Each test evaluates the expression anew.
//!
//! | module | is about |
//! |---|---|
//! | [`configuration`] | endpoints, subscriptions, keys, event types, the version |
//! | [`publish`], [`fan_out`] | how events and deliveries come in |
//! | [`settle`] | how deliveries go on |
//! | [`follow_up`] | the events that outcomes make |
//! | [`claim`], [`rescue`] | who has a delivery in memory |
//! | [`replay`], [`retry`], [`cancel`], [`dead_letters`] | what people do with deliveries |
//! | [`expire`] | deliveries that are not worth making any more |
//! | [`schedule`] | scheduled webhooks |
//! | [`jobs`] | bulk replays |
//! | [`batches`] | what is done piece by piece |
//! | [`requests`] | requests with a key of the client's |
//! | [`prune`], [`prune_slices`] | retention |
//! | [`gone`] | what goes with deleted configuration |
//! | [`health`] | how well endpoints do |
//! | [`series`] | numbers over time, and what is late |
//! | [`room`] | budgets |
//! | [`deliveries_change`] | the lists of deliveries while these change |
//! | [`find_attempts`], [`find_deliveries`], [`find_events`], [`find_others`] | lists with filters and totals |
//! | [`lookup`] | pages without numbers, groups, and what is found by its key |
//! | [`reads`] | order, limits and what is not there |
//! | [`model`] | random sequences, compared with [`MemoryStore`](crate::memory::MemoryStore) |
//! | [`fixtures`], [`world`] | builders, and the store under test with what a case needs around it |
//! | `cases` | the list of all of these |

pub mod batches;
pub mod cancel;
mod cases;
pub mod claim;
pub mod configuration;
pub mod dead_letters;
pub mod deliveries_change;
pub mod expire;
pub mod fan_out;
pub mod find_attempts;
pub mod find_deliveries;
pub mod find_events;
pub mod find_others;
pub mod fixtures;
pub mod follow_up;
pub mod gone;
pub mod health;
pub mod jobs;
pub mod lookup;
pub mod model;
pub mod prune;
pub mod prune_slices;
pub mod publish;
pub mod reads;
pub mod replay;
pub mod requests;
pub mod rescue;
pub mod retry;
pub mod room;
pub mod schedule;
pub mod series;
pub mod settle;
pub mod world;

pub use fixtures::{Fixtures, Route};
pub use world::World;

#[cfg(test)]
mod tests;

use postrider_core::ports::Store;
use std::future::Future;
use std::time::Duration;

/// Longer than any case takes on a slow disk; a store that never answers fails instead of hanging.
const CASE_DEADLINE: Duration = Duration::from_secs(120);

/// Opens stores of one kind.
///
/// One store of a harness is in use at a time: `fresh` is called again only when the store before was dropped.
pub trait Harness {
    /// The store under test.
    type Store: Store;

    /// How many random sequences are compared with the model.
    const SEQUENCES: u32 = model::CASES;

    /// An empty store.
    fn fresh(&self) -> impl Future<Output = Self::Store>;

    /// An empty store that may become so large, in bytes.
    fn fresh_with_budget(&self, bytes: u64) -> impl Future<Output = Self::Store>;

    /// The same data after a crash and a restart: the store is dropped without being closed, and opened as a new incarnation.
    fn reopen(&self, store: Self::Store) -> impl Future<Output = Self::Store>;
}

/// Runs one case on a fresh store, and compares the counters with a recount when it is through.
pub fn run<H: Harness>(harness: H, case: impl AsyncFnOnce(&mut World<H>)) {
    block_on(async move {
        let mut world = World::fresh(harness).await;
        case(&mut world).await;
        world.assert_counted().await;
    });
}

/// Runs a future on a runtime of its own, within the deadline of a case.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread starts");
    runtime.block_on(async { tokio::time::timeout(CASE_DEADLINE, future).await.expect("the store answers before the case's deadline") })
}
