//! A trait for each service of the contract, and [`Services`], which reads calls for them and writes their answers.
//!
//! The library's generated services hand every request on as binary, so that one that came as JSON is converted twice and its numbers go
//! through floating point. These read a request once, as what it came as.

mod call;
mod traits;

pub use traits::{DeliveryService, EventService, HealthService, SubscriptionService, WebhookService};

use call::Call;
use connectrpc::dispatcher::{RequestStream, StreamingResult, UnaryResult};
use connectrpc::{CodecFormat, ConnectError, Dispatcher, MethodDescriptor, Payload, RequestContext};
use std::collections::BTreeMap;

/// The names of all services of the contract, whether anything answers them or not.
pub const NAMES: [&str; 5] =
    ["webhook.WebhookService", "webhook.EventService", "webhook.SubscriptionService", "webhook.DeliveryService", "webhook.HealthService"];

/// What a service answers with.
pub type Answer<T> = Result<T, ConnectError>;

/// The services that answer. Each is added with its `with_…`.
#[derive(Default)]
pub struct Services {
    names: Vec<&'static str>,
    /// By `webhook.Service/Method`.
    methods: BTreeMap<&'static str, Box<dyn Call>>,
}

impl Services {
    /// The names of those that were added.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The methods that are answered, each as `webhook.Service/Method`.
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
        self.methods.get(path).map(|method| MethodDescriptor::unary(false).with_spec(method.spec()))
    }

    fn call_unary(&self, path: &str, context: RequestContext, request: Payload, format: CodecFormat) -> UnaryResult {
        match self.methods.get(path) {
            Some(method) => method.call(context, request, format),
            None => {
                let refusal = unknown(path);
                Box::pin(async move { Err(refusal) })
            }
        }
    }

    fn call_server_streaming(&self, path: &str, _: RequestContext, _: bytes::Bytes, _: CodecFormat) -> StreamingResult {
        no_stream(path)
    }

    fn call_client_streaming(&self, path: &str, _: RequestContext, _: RequestStream, _: CodecFormat) -> UnaryResult {
        let refusal = unknown(path);
        Box::pin(async move { Err(refusal) })
    }

    fn call_bidi_streaming(&self, path: &str, _: RequestContext, _: RequestStream, _: CodecFormat) -> StreamingResult {
        no_stream(path)
    }
}

/// Nothing streams here, and nothing but a stream would be called so.
fn no_stream(path: &str) -> StreamingResult {
    let refusal = unknown(path);
    Box::pin(async move { Err(refusal) })
}

fn unknown(path: &str) -> ConnectError {
    ConnectError::unimplemented(format!("there is no method {path}"))
}
