//! `webhook.EventService`: event types, events published, shown and published again (contract, section 6).
//!
//! | file | holds |
//! |---|---|
//! | `types.rs` | the registries of event types |
//! | `push.rs` | an event published |
//! | `reports.rs` | events that were published, and what became of them |
//! | `again.rs` | events published again, one or in batches |

mod again;
mod push;
mod reports;
pub(super) mod types;

use super::access::access;
use crate::http::App;
use connectrpc::RequestContext;
use postrider_proto::service::{Answer, EventService};
use postrider_proto::webhook as w;
use std::sync::Arc;

/// Answers the service.
pub(super) struct Events {
    app: Arc<App>,
}

impl Events {
    pub(super) fn new(app: Arc<App>) -> Self {
        Events { app }
    }
}

impl EventService for Events {
    async fn register_event(&self, context: RequestContext, request: w::RegisterEventRequest) -> Answer<w::RegisterEventResponse> {
        Ok(types::register(&self.app, access(&context)?, request).await?)
    }

    async fn list_events(&self, context: RequestContext, request: w::ListEventsRequest) -> Answer<w::ListEventsResponse> {
        Ok(types::list(&self.app, access(&context)?, &request).await?)
    }

    async fn update_event(&self, context: RequestContext, request: w::UpdateEventRequest) -> Answer<w::UpdateEventResponse> {
        types::update(&self.app, access(&context)?, request).await?;
        Ok(w::UpdateEventResponse::default())
    }

    async fn delete_event(&self, context: RequestContext, request: w::DeleteEventRequest) -> Answer<w::DeleteEventResponse> {
        types::delete(&self.app, access(&context)?, &request.name).await?;
        Ok(w::DeleteEventResponse::default())
    }

    async fn get_event(&self, context: RequestContext, request: w::GetEventRequest) -> Answer<w::GetEventResponse> {
        Ok(types::get(&self.app, access(&context)?, &request.name).await?)
    }

    async fn push_event(&self, context: RequestContext, request: w::PushEventRequest) -> Answer<w::PushEventResponse> {
        Ok(push::push(&self.app, access(&context)?, request).await?)
    }

    async fn list_event_reports(
        &self,
        context: RequestContext,
        request: w::ListEventReportsRequest,
    ) -> Answer<w::ListEventReportsResponse> {
        Ok(reports::list(&self.app, access(&context)?, request).await?)
    }

    async fn re_push_event(&self, context: RequestContext, request: w::RePushEventRequest) -> Answer<w::RePushEventResponse> {
        Ok(again::one(&self.app, access(&context)?, &request.event_id).await?)
    }

    async fn re_push_events(&self, context: RequestContext, request: w::RePushEventsRequest) -> Answer<w::RePushEventsResponse> {
        Ok(again::start(&self.app, access(&context)?, &request.repush_id).await?)
    }

    async fn get_repush_status(&self, context: RequestContext, request: w::GetRepushStatusRequest) -> Answer<w::GetRepushStatusResponse> {
        Ok(again::status(&self.app, access(&context)?, &request.repush_id).await?)
    }

    async fn cancel_repush(&self, context: RequestContext, request: w::CancelRepushRequest) -> Answer<w::CancelRepushResponse> {
        Ok(again::cancel(&self.app, access(&context)?, &request.repush_id).await?)
    }

    async fn get_event_record(&self, context: RequestContext, request: w::GetEventRecordRequest) -> Answer<w::GetEventRecordResponse> {
        Ok(reports::record(&self.app, access(&context)?, &request.event_id).await?)
    }
}
