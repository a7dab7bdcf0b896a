//! `webhook.DeliveryService`: what became of events at each webhook, and deliveries tried again (contract, sections 6 and 7).
//!
//! | file | holds |
//! |---|---|
//! | `list.rs` | lists with filters, single deliveries, attempts |
//! | `again.rs` | deliveries tried again, some at once or a batch that was prepared |
//! | `shown.rs` | deliveries and attempts as they are shown |

mod again;
mod list;
pub(super) mod shown;

use super::access::access;
use crate::http::App;
use connectrpc::RequestContext;
use postrider_proto::service::{Answer, DeliveryService};
use postrider_proto::webhook as w;
use std::sync::Arc;

/// Answers the service.
pub(super) struct Deliveries {
    app: Arc<App>,
}

impl Deliveries {
    pub(super) fn new(app: Arc<App>) -> Self {
        Deliveries { app }
    }
}

impl DeliveryService for Deliveries {
    async fn get_delivery_status(
        &self,
        context: RequestContext,
        request: w::GetDeliveryStatusRequest,
    ) -> Answer<w::GetDeliveryStatusResponse> {
        Ok(list::one(&self.app, access(&context)?, &request).await?)
    }

    async fn list_deliveries(&self, context: RequestContext, request: w::ListDeliveriesRequest) -> Answer<w::ListDeliveriesResponse> {
        Ok(list::list(&self.app, access(&context)?, &request).await?)
    }

    async fn retry_delivery(&self, context: RequestContext, request: w::RetryDeliveryRequest) -> Answer<w::RetryDeliveryResponse> {
        Ok(again::some(&self.app, access(&context)?, &request).await?)
    }

    async fn get_delivery_attempts(
        &self,
        context: RequestContext,
        request: w::GetDeliveryAttemptsRequest,
    ) -> Answer<w::GetDeliveryAttemptsResponse> {
        Ok(list::attempts(&self.app, access(&context)?, &request.delivery_id).await?)
    }

    async fn retry_deliveries(&self, context: RequestContext, request: w::RetryDeliveriesRequest) -> Answer<w::RetryDeliveriesResponse> {
        Ok(again::start(&self.app, access(&context)?, &request.retry_id).await?)
    }

    async fn get_retry_status(&self, context: RequestContext, request: w::GetRetryStatusRequest) -> Answer<w::GetRetryStatusResponse> {
        Ok(again::status(&self.app, access(&context)?, &request.retry_id).await?)
    }

    async fn cancel_retry(&self, context: RequestContext, request: w::CancelRetryRequest) -> Answer<w::CancelRetryResponse> {
        Ok(again::cancel(&self.app, access(&context)?, &request.retry_id).await?)
    }
}
