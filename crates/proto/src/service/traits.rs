//! The services of the contract as traits. A test holds them against it.

use super::call::{Call, Unary};
use super::{Answer, Services};
use crate::webhook as w;
use connectrpc::{RequestContext, Spec, StreamType};
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

/// A trait with a method for each of a service, and what adds one who implements it to [`Services`].
macro_rules! service {
    ($(#[$about:meta])* $service:ident as $with:ident { $($method:ident: $rpc:ident($request:ident) -> $response:ident;)* }) => {
        $(#[$about])*
        pub trait $service: Send + Sync + 'static {
            $(
                #[doc = concat!("Answers `", stringify!($rpc), "`.")]
                fn $method(&self, context: RequestContext, request: w::$request) -> impl Future<Output = Answer<w::$response>> + Send;
            )*
        }

        impl Services {
            #[doc = concat!("Adds `webhook.", stringify!($service), "`.")]
            #[must_use]
            pub fn $with<S: $service>(mut self, service: Arc<S>) -> Self {
                self.names.push(concat!("webhook.", stringify!($service)));
                $({
                    let service = Arc::clone(&service);
                    let path = concat!("/webhook.", stringify!($service), "/", stringify!($rpc));
                    let method = Unary {
                        spec: Spec::server(path, StreamType::Unary),
                        method: move |context: RequestContext, request: w::$request| {
                            let service = Arc::clone(&service);
                            async move { service.$method(context, request).await }
                        },
                        messages: PhantomData::<fn(w::$request) -> w::$response>,
                    };
                    self.methods.insert(&path[1..], Box::new(method) as Box<dyn Call>);
                })*
                self
            }
        }
    };
}

service! {
    /// Keeps webhooks: where events are sent, and how.
    WebhookService as with_webhook_service {
        register_webhook: RegisterWebhook(RegisterWebhookRequest) -> RegisterWebhookResponse;
        unregister_webhook: UnregisterWebhook(UnregisterWebhookRequest) -> UnregisterWebhookResponse;
        list_webhooks: ListWebhooks(ListWebhooksRequest) -> ListWebhooksResponse;
        update_webhook_config: UpdateWebhookConfig(UpdateWebhookConfigRequest) -> UpdateWebhookConfigResponse;
        pause_webhook: PauseWebhook(PauseWebhookRequest) -> PauseWebhookResponse;
        resume_webhook: ResumeWebhook(ResumeWebhookRequest) -> ResumeWebhookResponse;
        get_namespace_stats: GetNamespaceStats(GetNamespaceStatsRequest) -> GetNamespaceStatsResponse;
        get_template_functions: GetTemplateFunctions(GetTemplateFunctionsRequest) -> GetTemplateFunctionsResponse;
    }
}

service! {
    /// Keeps event types and takes events.
    EventService as with_event_service {
        register_event: RegisterEvent(RegisterEventRequest) -> RegisterEventResponse;
        list_events: ListEvents(ListEventsRequest) -> ListEventsResponse;
        update_event: UpdateEvent(UpdateEventRequest) -> UpdateEventResponse;
        delete_event: DeleteEvent(DeleteEventRequest) -> DeleteEventResponse;
        get_event: GetEvent(GetEventRequest) -> GetEventResponse;
        push_event: PushEvent(PushEventRequest) -> PushEventResponse;
        list_event_reports: ListEventReports(ListEventReportsRequest) -> ListEventReportsResponse;
        re_push_event: RePushEvent(RePushEventRequest) -> RePushEventResponse;
        re_push_events: RePushEvents(RePushEventsRequest) -> RePushEventsResponse;
        get_repush_status: GetRepushStatus(GetRepushStatusRequest) -> GetRepushStatusResponse;
        cancel_repush: CancelRepush(CancelRepushRequest) -> CancelRepushResponse;
        get_event_record: GetEventRecord(GetEventRecordRequest) -> GetEventRecordResponse;
    }
}

service! {
    /// Keeps subscriptions: which events a webhook gets, and in what form.
    SubscriptionService as with_subscription_service {
        create_subscription: CreateSubscription(CreateSubscriptionRequest) -> CreateSubscriptionResponse;
        get_subscription: GetSubscription(GetSubscriptionRequest) -> GetSubscriptionResponse;
        list_subscriptions: ListSubscriptions(ListSubscriptionsRequest) -> ListSubscriptionsResponse;
        update_subscription: UpdateSubscription(UpdateSubscriptionRequest) -> UpdateSubscriptionResponse;
        delete_subscription: DeleteSubscription(DeleteSubscriptionRequest) -> DeleteSubscriptionResponse;
        test_subscription_template: TestSubscriptionTemplate(TestSubscriptionTemplateRequest) -> TestSubscriptionTemplateResponse;
    }
}

service! {
    /// Shows what became of events at each webhook, and sends again by hand.
    DeliveryService as with_delivery_service {
        get_delivery_status: GetDeliveryStatus(GetDeliveryStatusRequest) -> GetDeliveryStatusResponse;
        list_deliveries: ListDeliveries(ListDeliveriesRequest) -> ListDeliveriesResponse;
        retry_delivery: RetryDelivery(RetryDeliveryRequest) -> RetryDeliveryResponse;
        get_delivery_attempts: GetDeliveryAttempts(GetDeliveryAttemptsRequest) -> GetDeliveryAttemptsResponse;
        retry_deliveries: RetryDeliveries(RetryDeliveriesRequest) -> RetryDeliveriesResponse;
        get_retry_status: GetRetryStatus(GetRetryStatusRequest) -> GetRetryStatusResponse;
        cancel_retry: CancelRetry(CancelRetryRequest) -> CancelRetryResponse;
    }
}

service! {
    /// Tells how the receivers of webhooks do.
    HealthService as with_health_service {
        get_webhook_health: GetWebhookHealth(GetWebhookHealthRequest) -> GetWebhookHealthResponse;
        list_webhooks_by_health: ListWebhooksByHealth(ListWebhooksByHealthRequest) -> ListWebhooksByHealthResponse;
        get_health_summary: GetHealthSummary(GetHealthSummaryRequest) -> GetHealthSummaryResponse;
    }
}
