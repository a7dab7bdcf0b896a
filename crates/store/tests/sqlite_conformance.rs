//! The embedded store against the suite that every store must pass.

use postrider_core::event::Namespace;
use postrider_core::id::JobId;
use postrider_core::ports::*;
use postrider_store::conformance::{self, Harness, run};
use postrider_store::{SqliteOptions, SqliteStore, Steps};
use std::cell::Cell;
use std::path::PathBuf;
use tempfile::TempDir;

/// Every store has a directory of its own. A crash is a copy of the files as they are while the store still runs.
struct Sqlite {
    root: TempDir,
    newest: Cell<u32>,
    steps: Steps,
}

impl Sqlite {
    fn new() -> Self {
        Sqlite { root: tempfile::tempdir().expect("a directory for the test"), newest: Cell::new(0), steps: Steps::default() }
    }

    /// With steps so small that what is in it counts as a long history.
    fn with_small_steps() -> Self {
        Sqlite { steps: Steps { gather: 5, walk: 1 }, ..Sqlite::new() }
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions { steps: self.steps, ..SqliteOptions::new(self.directory()) }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join(self.newest.get().to_string())
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.options()).expect("the store opens")
    }
}

impl Harness for Sqlite {
    type Store = SqliteStore;

    async fn fresh(&self) -> SqliteStore {
        self.newest.set(self.newest.get() + 1);
        self.open()
    }

    async fn fresh_with_budget(&self, bytes: u64) -> SqliteStore {
        self.newest.set(self.newest.get() + 1);
        let options = SqliteOptions { budget_bytes: Some(bytes), ..self.options() };
        SqliteStore::open(options).expect("the store opens")
    }

    async fn reopen(&self, store: SqliteStore) -> SqliteStore {
        let before = self.directory();
        self.newest.set(self.newest.get() + 1);
        let after = self.directory();
        std::fs::create_dir(&after).expect("a directory");
        for file in ["postrider.db", "postrider.db-wal"] {
            std::fs::copy(before.join(file), after.join(file)).expect("what a crash would leave");
        }
        drop(store);
        std::fs::remove_dir_all(before).expect("the old directory goes");
        self.open()
    }
}

postrider_store::conformance_tests!(Sqlite::new());

#[test]
fn a_long_history_behaves_like_the_model() {
    conformance::model::behaves_like_the_model(Sqlite::with_small_steps());
}

#[test]
fn filters_narrow_a_long_history() {
    run(Sqlite::with_small_steps(), conformance::find_deliveries::every_filter_narrows);
    run(Sqlite::with_small_steps(), conformance::find_deliveries::filters_narrow_in_pairs);
    run(Sqlite::with_small_steps(), conformance::find_deliveries::bounds_in_time_are_exact);
    run(Sqlite::with_small_steps(), conformance::deliveries_change::totals_follow_every_change);
    run(Sqlite::with_small_steps(), conformance::deliveries_change::what_was_erased_is_hidden);
}

#[test]
fn pages_of_a_long_history_make_up_the_list() {
    run(Sqlite::with_small_steps(), conformance::find_deliveries::pieces_make_up_the_list);
    run(Sqlite::with_small_steps(), conformance::deliveries_change::late_ones_come_in_their_order);
}

/// What cannot be done takes its whole piece with it, and nothing else of its group.
#[test]
fn a_piece_of_a_job_is_stored_whole_or_not_at_all() {
    run(Sqlite::new(), async |w| {
        let route = w.make.route();
        let (id, other) = (w.claimed(route).await, w.claimed(route).await);
        let letters = [w.fail(id).await, w.fail(other).await];
        let at = w.make.now();
        let job = Job {
            id: JobId::new(w.make.uuid()),
            namespace: Namespace::default_namespace(),
            filter: DeadLetterFilter::default(),
            state: JobState::Running,
            cursor: None,
            matched: 2,
            replayed: 0,
            skipped: 0,
            rate: None,
            created_at: at,
            updated_at: at,
            ended_at: None,
        };
        w.store().put_job(job.clone()).await.expect("put_job");
        // The first replay could be made. The second one could not: the id of its new delivery is taken.
        let again = |target| Replay { target, keep_dead_letter: false, claim: false, at };
        let new = ReplayTarget::DeadLetterAsNew { dead_letter: letters[1], new: id };
        let replays = vec![again(ReplayTarget::Delivery(id)), again(new)];
        let to_cursor = Some(DeadLetterPlace { failed_at: at, id: letters[1] });
        let step = JobStep { id: job.id, from_cursor: None, replays, skipped: 0, to_cursor, completed: true, at };
        let before = w.view(id).await.delivery;
        let (advanced, cancelled) =
            tokio::join!(w.store().advance_job(step.clone()), w.store().set_job_state(job.id, JobState::Running, JobState::Cancelled, at),);
        assert!(advanced.is_err(), "{advanced:?}");
        assert_eq!(cancelled, Ok(true));
        let found = w.store().job(job.id).await.expect("job").expect("it is there");
        assert_eq!(found, job.clone().narrowed().in_state(JobState::Cancelled, at));
        assert_eq!(w.view(id).await.delivery, before);
        assert_eq!(w.counters(route.subscription).await.dead_letters, 2);
        assert_eq!(w.store().set_job_state(job.id, JobState::Cancelled, JobState::Running, at).await, Ok(true));
        let step = JobStep { replays: step.replays[..1].to_vec(), ..step };
        assert!(matches!(w.store().advance_job(step).await, Ok(Advanced::Done(..))));
        assert_eq!(w.counters(route.subscription).await.dead_letters, 1);
    });
}
