//! The services of the contract as traits. A test holds them against it.

use super::call::{Method, Streaming, Unary};
use super::{Answer, Services, Stream};
use connectrpc::{RequestContext, Spec, StreamType};
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

/// What a method answers: a message, or a stream of them.
macro_rules! answered {
    ($module:ident, (stream $response:ident)) => { Stream<crate::$module::$response> };
    ($module:ident, $response:ident) => { crate::$module::$response };
}

/// A method for the table of [`Services`], by what it answers.
macro_rules! method {
    ($path:ident, $module:ident, $request:ident, (stream $response:ident), $method:expr) => {
        Method::Stream(Box::new(Streaming {
            spec: Spec::server($path, StreamType::ServerStream),
            method: $method,
            messages: PhantomData::<fn(crate::$module::$request) -> crate::$module::$response>,
        }))
    };
    ($path:ident, $module:ident, $request:ident, $response:ident, $method:expr) => {
        Method::Unary(Box::new(Unary {
            spec: Spec::server($path, StreamType::Unary),
            method: $method,
            messages: PhantomData::<fn(crate::$module::$request) -> crate::$module::$response>,
        }))
    };
}

/// A trait with a method for each of a service, and what adds one who implements it to [`Services`]. What answers with a stream has
/// `(stream Response)`, as the contract does.
macro_rules! service {
    (
        $(#[$about:meta])*
        $package:literal, $module:ident::$service:ident as $with:ident {
            $($method:ident: $rpc:ident($request:ident) -> $response:tt;)*
        }
    ) => {
        $(#[$about])*
        pub trait $service: Send + Sync + 'static {
            $(
                #[doc = concat!("Answers `", stringify!($rpc), "`.")]
                fn $method(
                    &self,
                    context: RequestContext,
                    request: crate::$module::$request,
                ) -> impl Future<Output = Answer<answered!($module, $response)>> + Send;
            )*
        }

        impl Services {
            #[doc = concat!("Adds `", $package, ".", stringify!($service), "`.")]
            #[must_use]
            pub fn $with<S: $service>(mut self, service: Arc<S>) -> Self {
                self.names.push(concat!($package, ".", stringify!($service)));
                $({
                    let service = Arc::clone(&service);
                    let path = concat!("/", $package, ".", stringify!($service), "/", stringify!($rpc));
                    let method = move |context: RequestContext, request: crate::$module::$request| {
                        let service = Arc::clone(&service);
                        async move { service.$method(context, request).await }
                    };
                    self.methods.insert(&path[1..], method!(path, $module, $request, $response, method));
                })*
                self
            }
        }
    };
}

service! {
    /// Keeps webhooks: where events are sent, and how.
    "webhook", webhook::WebhookService as with_webhook_service {
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
    "webhook", webhook::EventService as with_event_service {
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
    "webhook", webhook::SubscriptionService as with_subscription_service {
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
    "webhook", webhook::DeliveryService as with_delivery_service {
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
    "webhook", webhook::HealthService as with_health_service {
        get_webhook_health: GetWebhookHealth(GetWebhookHealthRequest) -> GetWebhookHealthResponse;
        list_webhooks_by_health: ListWebhooksByHealth(ListWebhooksByHealthRequest) -> ListWebhooksByHealthResponse;
        get_health_summary: GetHealthSummary(GetHealthSummaryRequest) -> GetHealthSummaryResponse;
    }
}

service! {
    /// Tells how the whole of it does, from kept numbers.
    "postrider.v1", v1::OverviewService as with_overview_service {
        get_session: GetSession(GetSessionRequest) -> GetSessionResponse;
        list_namespaces: ListNamespaces(ListNamespacesRequest) -> ListNamespacesResponse;
        get_overview: GetOverview(GetOverviewRequest) -> GetOverviewResponse;
        get_series: GetSeries(GetSeriesRequest) -> GetSeriesResponse;
    }
}

service! {
    /// Reads what happened, live and afterwards, and acts on what is found.
    "postrider.v1", v1::LedgerService as with_ledger_service {
        list_deliveries: ListDeliveries(ListDeliveriesRequest) -> ListDeliveriesResponse;
        watch_deliveries: WatchDeliveries(WatchDeliveriesRequest) -> (stream WatchDeliveriesResponse);
        explain_delivery: ExplainDelivery(ExplainDeliveryRequest) -> ExplainDeliveryResponse;
        cancel_delivery: CancelDelivery(CancelDeliveryRequest) -> CancelDeliveryResponse;
        retry_matching: RetryMatching(RetryMatchingRequest) -> RetryMatchingResponse;
        list_events: ListEvents(ListEventsRequest) -> ListEventsResponse;
        explain_event: ExplainEvent(ExplainEventRequest) -> ExplainEventResponse;
        find: Find(FindRequest) -> FindResponse;
    }
}

service! {
    /// Keeps endpoints with how they do, and subscriptions whole, whichever API made them.
    "postrider.v1", v1::EndpointService as with_endpoint_service {
        list_endpoints: ListEndpoints(ListEndpointsRequest) -> ListEndpointsResponse;
        get_endpoint: GetEndpoint(GetEndpointRequest) -> GetEndpointResponse;
        set_endpoint_status: SetEndpointStatus(SetEndpointStatusRequest) -> SetEndpointStatusResponse;
        rotate_secret: RotateSecret(RotateSecretRequest) -> RotateSecretResponse;
        end_rotation: EndRotation(EndRotationRequest) -> EndRotationResponse;
        test_endpoint: TestEndpoint(TestEndpointRequest) -> TestEndpointResponse;
        get_subscription: GetSubscription(GetSubscriptionRequest) -> GetSubscriptionResponse;
        update_subscription: UpdateSubscription(UpdateSubscriptionRequest) -> UpdateSubscriptionResponse;
        preview_subscription: PreviewSubscription(PreviewSubscriptionRequest) -> PreviewSubscriptionResponse;
    }
}

service! {
    /// Lists what was given up, and has it replayed or dismissed.
    "postrider.v1", v1::DeadLetterService as with_dead_letter_service {
        list_dead_letter_groups: ListDeadLetterGroups(ListDeadLetterGroupsRequest) -> ListDeadLetterGroupsResponse;
        list_dead_letters: ListDeadLetters(ListDeadLettersRequest) -> ListDeadLettersResponse;
        replay_dead_letters: ReplayDeadLetters(ReplayDeadLettersRequest) -> ReplayDeadLettersResponse;
        dismiss_dead_letters: DismissDeadLetters(DismissDeadLettersRequest) -> DismissDeadLettersResponse;
        list_replay_jobs: ListReplayJobs(ListReplayJobsRequest) -> ListReplayJobsResponse;
        get_replay_job: GetReplayJob(GetReplayJobRequest) -> GetReplayJobResponse;
        cancel_replay_job: CancelReplayJob(CancelReplayJobRequest) -> CancelReplayJobResponse;
        resume_replay_job: ResumeReplayJob(ResumeReplayJobRequest) -> ResumeReplayJobResponse;
    }
}

service! {
    /// Keeps payloads that are delivered at a later time.
    "postrider.v1", v1::ScheduleService as with_schedule_service {
        list_scheduled: ListScheduled(ListScheduledRequest) -> ListScheduledResponse;
        create_scheduled: CreateScheduled(CreateScheduledRequest) -> CreateScheduledResponse;
        cancel_scheduled: CancelScheduled(CancelScheduledRequest) -> CancelScheduledResponse;
    }
}

service! {
    /// Keeps keys, and tells of nodes and settings.
    "postrider.v1", v1::AdminService as with_admin_service {
        list_keys: ListKeys(ListKeysRequest) -> ListKeysResponse;
        create_key: CreateKey(CreateKeyRequest) -> CreateKeyResponse;
        revoke_key: RevokeKey(RevokeKeyRequest) -> RevokeKeyResponse;
        list_nodes: ListNodes(ListNodesRequest) -> ListNodesResponse;
        get_settings: GetSettings(GetSettingsRequest) -> GetSettingsResponse;
    }
}
