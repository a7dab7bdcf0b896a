//! Jobs: bulk replays, a piece at a time.

use super::data::Data;
use super::find::found;
use postrider_core::event::Namespace;
use postrider_core::id::JobId;
use postrider_core::ports::{Advanced, Found, Job, JobError, JobState, JobStep, Window};
use postrider_core::time::Timestamp;
use std::cmp::Reverse;

impl Data {
    pub fn put_job(&mut self, job: Job) {
        self.jobs.entry(job.id).or_insert_with(|| job.narrowed());
    }

    pub fn find_jobs(&self, namespace: Option<Namespace>, window: Window<JobId>) -> Found<Job, JobId> {
        let jobs = self.jobs.values().filter(|job| namespace.as_ref().is_none_or(|wanted| *wanted == job.namespace));
        found(jobs.map(|job| (Reverse(job.id), job.clone())).collect(), window, Reverse, |place| place.0)
    }

    pub fn running_jobs(&self) -> Vec<Job> {
        self.jobs.values().filter(|job| job.ended_at.is_none()).cloned().collect()
    }

    pub fn set_job_state(&mut self, id: JobId, from: JobState, to: JobState, at: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state == from && from.may_become(to)) else { return false };
        *job = job.clone().in_state(to, at);
        true
    }

    pub fn fail_job(&mut self, id: JobId, error: JobError, at: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.ended_at.is_none()) else { return false };
        *job = Job { error: Some(error), ..job.clone().in_state(JobState::Failed, at) };
        true
    }

    pub fn advance_job(&mut self, step: JobStep) -> Advanced {
        let Some(job) = self.jobs.get(&step.id).filter(|job| job.takes(&step)).cloned() else { return Advanced::Fenced };
        let answers: Vec<_> = step.letters.iter().map(|letter| self.replay_letter(*letter, step.at)).collect();
        let job = job.after(&step, &answers);
        self.jobs.insert(job.id, job.clone());
        Advanced::Done(answers, Box::new(job))
    }
}
