//! A trait for each service of the contract, and [`Services`], which reads calls for them and writes their answers.
//!
//! The library's generated services hand every request on as binary, so that one that came as JSON is converted twice and its numbers go
//! through floating point. These read a request once, as what it came as.

mod call;
mod traits;

pub use traits::{
    AdminService, DeadLetterService, DeliveryService, EndpointService, EventService, HealthService, LedgerService, OverviewService,
    ScheduleService, SubscriptionService, WebhookService,
};

use call::Method;
use connectrpc::dispatcher::{RequestStream, StreamingResult, UnaryResult};
use connectrpc::{CodecFormat, ConnectError, Dispatcher, MethodDescriptor, Payload, RequestContext, ServiceStream};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

/// The names of all services of the contract, whether anything answers them or not.
pub const NAMES: [&str; 11] = [
    "webhook.WebhookService",
    "webhook.EventService",
    "webhook.SubscriptionService",
    "webhook.DeliveryService",
    "webhook.HealthService",
    "postrider.v1.OverviewService",
    "postrider.v1.LedgerService",
    "postrider.v1.EndpointService",
    "postrider.v1.DeadLetterService",
    "postrider.v1.ScheduleService",
    "postrider.v1.AdminService",
];

/// What a service answers with.
pub type Answer<T> = Result<T, ConnectError>;

/// The messages of a method that answers with a stream, as they come. An error is the last of them; without one the call ends well. It is
/// dropped when the client goes away, which shows when something is written to it, or at once where the connection is closed.
pub type Stream<T> = ServiceStream<T>;

/// The services that answer. Each is added with its `with_…`.
#[derive(Default)]
pub struct Services {
    names: Vec<&'static str>,
    /// By `package.Service/Method`.
    methods: BTreeMap<&'static str, Method>,
}

impl Services {
    /// The names of those that were added.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The methods that are answered, each as `package.Service/Method`.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.methods.keys().copied()
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Dispatcher for Services {
    /// No method is marked as free of side effects, so that none is offered over GET.
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        self.methods.get(path).map(Method::descriptor)
    }

    fn call_unary(&self, path: &str, context: RequestContext, request: Payload, format: CodecFormat) -> UnaryResult {
        match self.methods.get(path) {
            Some(Method::Unary(method)) => method.call(context, request, format),
            Some(Method::Stream(_)) => refused(streams(path)),
            None => refused(unknown(path)),
        }
    }

    fn call_server_streaming(&self, path: &str, context: RequestContext, request: bytes::Bytes, format: CodecFormat) -> StreamingResult {
        match self.methods.get(path) {
            Some(Method::Stream(method)) => method.open(context, request, format),
            _ => refused(unknown(path)),
        }
    }

    fn call_client_streaming(&self, path: &str, _: RequestContext, _: RequestStream, _: CodecFormat) -> UnaryResult {
        refused(unknown(path))
    }

    fn call_bidi_streaming(&self, path: &str, _: RequestContext, _: RequestStream, _: CodecFormat) -> StreamingResult {
        refused(unknown(path))
    }
}

fn refused<T: 'static>(refusal: ConnectError) -> Pin<Box<dyn Future<Output = Answer<T>> + Send>> {
    Box::pin(async move { Err(refusal) })
}

fn streams(path: &str) -> ConnectError {
    ConnectError::unimplemented(format!("{path} answers with a stream: ask by application/connect+json, application/connect+proto or gRPC"))
}

fn unknown(path: &str) -> ConnectError {
    ConnectError::unimplemented(format!("there is no method {path}"))
}
