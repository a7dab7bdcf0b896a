//! A call: its request read, handed to the method, and the answer written.

use super::Answer;
use buffa::Message;
use connectrpc::dispatcher::UnaryResult;
use connectrpc::{CodecFormat, ConnectError, Payload, RequestContext, Response, Spec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;

/// A method, whatever its messages are.
pub(super) trait Call: Send + Sync {
    /// Its path and kind.
    fn spec(&self) -> Spec;

    /// Answers a call.
    fn call(&self, context: RequestContext, request: Payload, format: CodecFormat) -> UnaryResult;
}

/// A method as a function from the call to a future of its answer.
pub(super) struct Unary<F, Request, Response> {
    pub(super) spec: Spec,
    pub(super) method: F,
    pub(super) messages: PhantomData<fn(Request) -> Response>,
}

impl<F, Fut, Q, A> Call for Unary<F, Q, A>
where
    F: Fn(RequestContext, Q) -> Fut + Send + Sync,
    Fut: Future<Output = Answer<A>> + Send + 'static,
    Q: Message + DeserializeOwned + 'static,
    A: Message + Serialize + 'static,
{
    fn spec(&self) -> Spec {
        self.spec
    }

    fn call(&self, context: RequestContext, request: Payload, format: CodecFormat) -> UnaryResult {
        match read(request) {
            Ok(request) => {
                let answer = (self.method)(context, request);
                Box::pin(async move { Response::new(answer.await?).encode::<A>(format) })
            }
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        }
    }
}

/// The texts are those that clients of the contract know.
fn read<M: Message + DeserializeOwned + 'static>(request: Payload) -> Answer<M> {
    let unreadable = |cause: &dyn std::fmt::Display| ConnectError::invalid_argument(format!("unmarshal message: {cause}"));
    match request.format() {
        CodecFormat::Json if request.bytes().is_empty() => {
            Err(ConnectError::invalid_argument("zero-length payload is not a valid JSON object"))
        }
        // The generated reader would take an array for the fields in their order.
        CodecFormat::Json if request.bytes().trim_ascii_start().first() != Some(&b'{') => Err(unreadable(&"it must be a JSON object")),
        CodecFormat::Json => serde_json::from_slice(request.bytes()).map_err(|e| unreadable(&e)),
        _ => request.decode_options().decode_from_slice(request.bytes()).map_err(|e| unreadable(&e)),
    }
}
