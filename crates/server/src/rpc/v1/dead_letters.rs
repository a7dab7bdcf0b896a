//! `postrider.v1.DeadLetterService`: what was given up, and what people do about it.
//!
//! | file | holds |
//! |---|---|
//! | this one | the service |
//! | `list.rs` | groups and lists, filters |
//! | `advice.rs` | what codes of errors mean, and what to do |
//! | `act.rs` | replays and dismissals, of some or of all that match |
//! | `jobs.rs` | bulk replays as they are shown, stopped and resumed |

mod act;
mod advice;
mod jobs;
mod list;

use crate::http::App;
use crate::rpc::access::access;
use connectrpc::RequestContext;
use postrider_core::ports::JobState;
use postrider_proto::service::{Answer, DeadLetterService};
use postrider_proto::v1;
use std::sync::Arc;

/// Answers the service.
pub(in crate::rpc) struct DeadLetters {
    app: Arc<App>,
}

impl DeadLetters {
    pub(in crate::rpc) fn new(app: Arc<App>) -> Self {
        DeadLetters { app }
    }
}

impl DeadLetterService for DeadLetters {
    async fn list_dead_letter_groups(
        &self,
        context: RequestContext,
        request: v1::ListDeadLetterGroupsRequest,
    ) -> Answer<v1::ListDeadLetterGroupsResponse> {
        Ok(list::groups(&self.app, access(&context)?, &request).await?)
    }

    async fn list_dead_letters(&self, context: RequestContext, request: v1::ListDeadLettersRequest) -> Answer<v1::ListDeadLettersResponse> {
        list::list(&self.app, access(&context)?, &request).await
    }

    async fn replay_dead_letters(
        &self,
        context: RequestContext,
        request: v1::ReplayDeadLettersRequest,
    ) -> Answer<v1::ReplayDeadLettersResponse> {
        Ok(act::replay(&self.app, access(&context)?, &request).await?)
    }

    async fn dismiss_dead_letters(
        &self,
        context: RequestContext,
        request: v1::DismissDeadLettersRequest,
    ) -> Answer<v1::DismissDeadLettersResponse> {
        Ok(act::dismiss(&self.app, access(&context)?, &request).await?)
    }

    async fn list_replay_jobs(&self, context: RequestContext, request: v1::ListReplayJobsRequest) -> Answer<v1::ListReplayJobsResponse> {
        jobs::list(&self.app, access(&context)?, &request).await
    }

    async fn get_replay_job(&self, context: RequestContext, request: v1::GetReplayJobRequest) -> Answer<v1::GetReplayJobResponse> {
        let job = jobs::find(&self.app, access(&context)?, &request.job_id).await?;
        Ok(v1::GetReplayJobResponse { job: jobs::shown(&job).into() })
    }

    async fn cancel_replay_job(&self, context: RequestContext, request: v1::CancelReplayJobRequest) -> Answer<v1::CancelReplayJobResponse> {
        let job = jobs::turn(&self.app, access(&context)?, &request.job_id, JobState::Cancelled).await?;
        Ok(v1::CancelReplayJobResponse { job: jobs::shown(&job).into() })
    }

    async fn resume_replay_job(&self, context: RequestContext, request: v1::ResumeReplayJobRequest) -> Answer<v1::ResumeReplayJobResponse> {
        let job = jobs::turn(&self.app, access(&context)?, &request.job_id, JobState::Running).await?;
        Ok(v1::ResumeReplayJobResponse { job: jobs::shown(&job).into() })
    }
}
