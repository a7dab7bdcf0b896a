//! `postrider.v1.LedgerService`: what happened, live and afterwards, and what is done about what is found.
//!
//! | file | holds |
//! |---|---|
//! | `filter.rs` | which deliveries a request is about |
//! | `list.rs` | lists of deliveries |
//! | `watch.rs` | the live stream of them |
//! | `look.rs` | what all who watch the same look at |
//! | `told.rs` | what a watcher knows already |
//! | `places.rs` | places for what takes a while |
//! | `explain.rs` | the whole story of a delivery |
//! | `story.rs` | its attempts |
//! | `next.rs` | what happens next, and why |
//! | `events.rs` | lists of events |
//! | `explain_event.rs` | the whole story of an event |
//! | `find.rs` | what an id or a key is of |
//! | `retry.rs` | deliveries called off and tried again |

mod events;
mod explain;
mod explain_event;
mod filter;
mod find;
mod list;
mod look;
mod next;
mod places;
mod retry;
pub(super) mod story;
mod told;
mod watch;

use crate::http::App;
use crate::rpc::access::access;
use connectrpc::RequestContext;
use look::Looks;
use places::{Turns, Watchers};
use postrider_core::key::Scope;
use postrider_proto::service::{Answer, LedgerService, Stream};
use postrider_proto::v1;
use std::sync::Arc;

/// Answers the service.
pub(in crate::rpc) struct Ledger {
    app: Arc<App>,
    /// Places for watchers.
    watchers: Arc<Watchers>,
    /// What they look at.
    looks: Looks,
    /// Places for who looks for the key of a delivery, which takes a core for a while.
    finders: Turns,
    /// Places for who holds events against all subscriptions of a namespace.
    judges: Turns,
    /// Places for who looks through deliveries for the type of their event, by which the store does not narrow them.
    walkers: Turns,
}

impl Ledger {
    pub(in crate::rpc) fn new(app: Arc<App>) -> Self {
        Ledger {
            app,
            watchers: Arc::default(),
            looks: Looks::default(),
            finders: Turns::default(),
            judges: Turns::default(),
            walkers: Turns::default(),
        }
    }
}

impl LedgerService for Ledger {
    async fn list_deliveries(&self, context: RequestContext, request: v1::ListDeliveriesRequest) -> Answer<v1::ListDeliveriesResponse> {
        list::list(&self.app, &self.walkers, access(&context)?, &request).await
    }

    async fn watch_deliveries(
        &self,
        context: RequestContext,
        request: v1::WatchDeliveriesRequest,
    ) -> Answer<Stream<v1::WatchDeliveriesResponse>> {
        watch::watch(&self.app, (&self.watchers, &self.looks), access(&context)?, &request).await
    }

    async fn explain_delivery(&self, context: RequestContext, request: v1::ExplainDeliveryRequest) -> Answer<v1::ExplainDeliveryResponse> {
        Ok(explain::explain(&self.app, access(&context)?, &request.delivery_id).await?)
    }

    async fn cancel_delivery(&self, context: RequestContext, request: v1::CancelDeliveryRequest) -> Answer<v1::CancelDeliveryResponse> {
        Ok(retry::cancel(&self.app, access(&context)?, &request.delivery_id).await?)
    }

    async fn retry_matching(&self, context: RequestContext, request: v1::RetryMatchingRequest) -> Answer<v1::RetryMatchingResponse> {
        let access = access(&context)?;
        access.allow(if request.dry_run { Scope::Read } else { Scope::Write })?;
        let _turn = if request.filter.event_type.is_empty() { None } else { Some(self.walkers.turn(access).await?) };
        retry::matching(&self.app, access, &request).await
    }

    async fn list_events(&self, context: RequestContext, request: v1::ListEventsRequest) -> Answer<v1::ListEventsResponse> {
        events::list(&self.app, access(&context)?, request).await
    }

    async fn explain_event(&self, context: RequestContext, request: v1::ExplainEventRequest) -> Answer<v1::ExplainEventResponse> {
        Ok(explain_event::explain(&self.app, &self.judges, access(&context)?, &request.event_id).await?)
    }

    async fn find(&self, context: RequestContext, request: v1::FindRequest) -> Answer<v1::FindResponse> {
        find::find(&self.app, &self.finders, access(&context)?, &request).await
    }
}
