//! What happens to jobs, on the model and the store alike.

use super::build::{Builder, namespace, pick};
use super::plan::JobPlan;
use super::{Checked, Pair, failed, same};
use crate::memory::Dump;
use postrider_core::id::JobId;
use postrider_core::ports::*;

const STATES: [JobState; 4] = [JobState::Running, JobState::Cancelled, JobState::Completed, JobState::Failed];

impl Builder {
    fn new_job(&mut self, filter: u8, rate: Option<u32>) -> Job {
        let filters = self.dead_letter_filters();
        let filter = filters[usize::from(filter) % filters.len()].clone();
        let id = JobId::new(self.uuid());
        self.known.jobs.push(id);
        let now = self.now();
        Job {
            id,
            namespace: namespace(u8::from(filter.endpoint.is_some())),
            filter,
            state: JobState::Running,
            cursor: None,
            matched: 3,
            replayed: 0,
            skipped: 0,
            failed: 0,
            gone: 0,
            error: None,
            rate,
            created_at: now,
            updated_at: now,
            ended_at: None,
        }
    }

    /// A job's next piece, or one that only seems to be it.
    fn job_step(&mut self, dump: &Dump, plan: &JobPlan) -> Option<JobStep> {
        let JobPlan::Advance { pick: of, letters, to, completed, mistaken } = plan else { return None };
        let id = pick(&self.known.jobs, *of)?;
        let places: Vec<_> = dump.dead_letters.iter().map(|l| DeadLetterPlace { failed_at: l.failed_at, id: l.id }).collect();
        let cursor = dump.jobs.iter().find(|job| job.id == id).and_then(|job| job.cursor);
        let from_cursor = if *mistaken { pick(&places, to / 2).filter(|_| cursor.is_none()) } else { cursor };
        let (letters, to_cursor) = (self.dead_letters(dump, letters), pick(&places, *to));
        let (skipped, failed) = (u64::from(to % 3), to.is_multiple_of(5).then_some(JobError::LetterFailed));
        Some(JobStep { id, from_cursor, letters, skipped, failed, to_cursor, completed: *completed, at: self.now() })
    }
}

impl<S: Store> Pair<S> {
    pub(super) async fn job(&mut self, plan: &JobPlan) -> Checked {
        let dump = self.model.dump();
        match plan {
            JobPlan::Put { filter, rate } => {
                let job = self.builder.new_job(*filter, *rate);
                both!(self, put_job(job));
            }
            JobPlan::PutAgain(n) => {
                if let Some(job) = pick(&dump.jobs, *n) {
                    let job = Job { replayed: job.replayed + 1, ..job };
                    both!(self, put_job(job));
                }
            }
            JobPlan::Set { pick: n, from, to } => {
                let Some(id) = pick(&self.builder.known.jobs, *n) else { return Ok(()) };
                let (from, to, now) = (STATES[usize::from(*from)], STATES[usize::from(*to)], self.builder.now());
                both!(self, set_job_state(id, from, to, now));
            }
            JobPlan::Fail { pick: n } => {
                let Some(id) = pick(&self.builder.known.jobs, *n) else { return Ok(()) };
                let (error, now) = (JobError::ListFailed, self.builder.now());
                both!(self, fail_job(id, error, now));
            }
            JobPlan::Advance { .. } => {
                if let Some(step) = self.builder.job_step(&dump, plan) {
                    both!(self, advance_job(step));
                }
            }
        }
        self.same_jobs(2).await
    }

    pub(super) async fn same_jobs(&self, limit: u32) -> Checked {
        for namespace in self.builder.namespaces() {
            let first = Window::first(limit);
            let found = both!(self, jobs(namespace, first));
            let (second, skipped) = (Window { after: found.page.next, ..first }, Window { skip: 1, ..first });
            both!(self, jobs(namespace, second));
            both!(self, jobs(namespace, skipped));
        }
        both!(self, running_jobs());
        for id in &self.builder.known.jobs {
            both!(self, job(id));
        }
        Ok(())
    }
}
