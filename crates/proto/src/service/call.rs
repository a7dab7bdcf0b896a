//! A call: its request read, handed to the method, and the answer written.

use super::{Answer, Stream};
use buffa::{DecodeOptions, Message};
use bytes::Bytes;
use connectrpc::dispatcher::{StreamingResult, UnaryResult};
use connectrpc::{CodecFormat, ConnectError, Encodable, MethodDescriptor, Payload, RequestContext, Response, Spec};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;

/// A method of either kind.
pub(super) enum Method {
    /// It answers once.
    Unary(Box<dyn Call>),
    /// It answers with a stream.
    Stream(Box<dyn Open>),
}

impl Method {
    /// What the library asks before it reads a call.
    pub(super) fn descriptor(&self) -> MethodDescriptor {
        match self {
            Method::Unary(method) => MethodDescriptor::unary(false).with_spec(method.spec()),
            Method::Stream(method) => MethodDescriptor::server_streaming().with_spec(method.spec()),
        }
    }
}

/// A method that answers once, whatever its messages are.
pub(super) trait Call: Send + Sync {
    /// Its path and kind.
    fn spec(&self) -> Spec;

    /// Answers a call.
    fn call(&self, context: RequestContext, request: Payload, format: CodecFormat) -> UnaryResult;
}

/// A method that answers with a stream, whatever its messages are.
pub(super) trait Open: Send + Sync {
    /// Its path and kind.
    fn spec(&self) -> Spec;

    /// Answers a call. The request is a message without its envelope.
    fn open(&self, context: RequestContext, request: Bytes, format: CodecFormat) -> StreamingResult;
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
        match read(request.bytes(), request.format(), request.decode_options()) {
            Ok(request) => {
                let answer = (self.method)(context, request);
                Box::pin(async move { Response::new(answer.await?).encode::<A>(format) })
            }
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        }
    }
}

/// A method as a function from the call to a future of a stream.
pub(super) struct Streaming<F, Request, Response> {
    pub(super) spec: Spec,
    pub(super) method: F,
    pub(super) messages: PhantomData<fn(Request) -> Response>,
}

impl<F, Fut, Q, A> Open for Streaming<F, Q, A>
where
    F: Fn(RequestContext, Q) -> Fut + Send + Sync,
    Fut: Future<Output = Answer<Stream<A>>> + Send + 'static,
    Q: Message + DeserializeOwned + 'static,
    A: Message + Serialize + 'static,
{
    fn spec(&self) -> Spec {
        self.spec
    }

    fn open(&self, context: RequestContext, request: Bytes, format: CodecFormat) -> StreamingResult {
        match read(&request, format, context.decode_options()) {
            Ok(request) => {
                let answer = (self.method)(context, request);
                Box::pin(async move {
                    let messages = answer.await?;
                    Ok(Response::stream(messages.map(move |message| Encodable::<A>::encode_segments(&message?, format))))
                })
            }
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        }
    }
}

/// The texts are those that clients of the contract know.
fn read<M: Message + DeserializeOwned + 'static>(request: &[u8], format: CodecFormat, options: &DecodeOptions) -> Answer<M> {
    let unreadable = |cause: &dyn std::fmt::Display| ConnectError::invalid_argument(format!("unmarshal message: {cause}"));
    match format {
        CodecFormat::Json if request.is_empty() => Err(ConnectError::invalid_argument("zero-length payload is not a valid JSON object")),
        // The generated reader would take an array for the fields in their order.
        CodecFormat::Json if request.trim_ascii_start().first() != Some(&b'{') => Err(unreadable(&"it must be a JSON object")),
        CodecFormat::Json => serde_json::from_slice(request).map_err(|e| unreadable(&e)),
        _ => options.decode_from_slice(request).map_err(|e| unreadable(&e)),
    }
}
