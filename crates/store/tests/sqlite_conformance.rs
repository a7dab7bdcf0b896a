//! The embedded store against the suite that every store must pass.

use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{DeliveryId, JobId};
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
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
    run(Sqlite::with_small_steps(), conformance::lookup::pages_are_those_of_the_list);
    run(Sqlite::with_small_steps(), conformance::lookup::a_page_of_a_class_has_no_others_while_nothing_has_ended);
    run(Sqlite::with_small_steps(), conformance::lookup::what_was_erased_is_hidden);
}

#[test]
fn pages_of_a_long_history_make_up_the_list() {
    run(Sqlite::with_small_steps(), conformance::find_deliveries::pieces_make_up_the_list);
    run(Sqlite::with_small_steps(), conformance::deliveries_change::late_ones_come_in_their_order);
    run(Sqlite::with_small_steps(), conformance::lookup::delivery_keys_come_newest_first);
}

/// What cannot be done takes its whole piece with it, and nothing else of its group; a job that cannot be read is no other's trouble.
#[test]
fn damage_in_one_job_harms_no_other() {
    let harness = Sqlite::new();
    let file = harness.root.path().to_owned();
    run(harness, async |w| {
        let route = w.make.route();
        let (id, other) = (w.claimed(route).await, w.claimed(route).await);
        let letters = [w.fail(id).await, w.fail(other).await];
        let at = w.make.now();
        let jobs = [0, 1, 2].map(|_| job(JobId::new(w.make.uuid()), at));
        for job in &jobs {
            w.store().put_job(job.clone()).await.expect("put_job");
        }
        // Past the store: a delivery whose state nobody knows, and a filter of a later release.
        let damage = rusqlite::Connection::open(file.join("1/postrider.db")).expect("the file of the first store");
        let broken = |of: DeliveryId, state: i64| {
            let changed = damage.execute("UPDATE deliveries SET state = ?2 WHERE id = ?1", (of.bytes(), state));
            assert_eq!(changed, Ok(1));
        };
        broken(other, 77);
        let changed = damage.execute("UPDATE jobs SET filter = '{\"labels\":{}}' WHERE id = ?1", [jobs[1].id.bytes()]);
        assert_eq!(changed, Ok(1));

        let to_cursor = Some(DeadLetterPlace { failed_at: at, id: letters[1] });
        let step = JobStep {
            id: jobs[0].id,
            from_cursor: None,
            letters: letters.into(),
            skipped: 0,
            failed: None,
            to_cursor,
            completed: true,
            at,
        };
        let (advanced, cancelled) = tokio::join!(
            w.store().advance_job(step.clone()),
            w.store().set_job_state(jobs[2].id, JobState::Running, JobState::Cancelled, at),
        );
        assert!(advanced.is_err(), "{advanced:?}");
        assert_eq!(cancelled, Ok(true));
        assert_eq!(w.store().job(jobs[0].id).await, Ok(Some(jobs[0].clone().narrowed())));
        assert_eq!(w.counters(route.subscription).await.dead_letters, 2);

        let unreadable = |job: &Job| (job.state, job.error, job.filter.clone()) == (JobState::Failed, Some(JobError::Unreadable), narrow());
        let running = w.store().running_jobs().await.expect("running_jobs");
        assert_eq!(running.len(), 2);
        assert!(running[0] == jobs[0].clone().narrowed() && unreadable(&running[1]), "{running:?}");
        assert_eq!(w.store().fail_job(jobs[1].id, JobError::Unreadable, at).await, Ok(true));
        assert_eq!(w.store().running_jobs().await.map(|jobs| jobs.len()), Ok(1), "it has ended");
        let listed = w.store().jobs(None, Window::first(10)).await.expect("jobs").page.items;
        assert!(listed.len() == 3 && unreadable(&listed[1]) && listed[1].ended_at == Some(at), "{listed:?}");
        assert_eq!(w.store().set_job_state(jobs[1].id, JobState::Failed, JobState::Running, at).await, Ok(false));

        broken(other, 4);
        assert!(matches!(w.store().advance_job(step).await, Ok(Advanced::Done(..))));
        assert_eq!(w.counters(route.subscription).await.dead_letters, 0);
    });
}

fn narrow() -> DeadLetterFilter {
    DeadLetterFilter { namespace: Some(Namespace::default_namespace()), ..DeadLetterFilter::default() }
}

fn job(id: JobId, at: Timestamp) -> Job {
    Job {
        id,
        namespace: Namespace::default_namespace(),
        filter: DeadLetterFilter { code: Some(ErrorCode::ConnectionRefused), ..DeadLetterFilter::default() },
        state: JobState::Running,
        cursor: None,
        matched: 2,
        replayed: 0,
        skipped: 0,
        failed: 0,
        gone: 0,
        error: None,
        rate: None,
        created_at: at,
        updated_at: at,
        ended_at: None,
    }
}
