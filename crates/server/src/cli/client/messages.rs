//! The messages of a stream, one after the other.

use super::CallError;
use super::error::Told;
use super::line::Line;
use bytes::BytesMut;
use connectrpc::envelope::Envelope;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;

/// Largest message of a stream, in bytes.
const MAX_MESSAGE: usize = 16 << 20;

/// What comes last.
#[derive(Debug, Default, Deserialize)]
struct End {
    #[serde(default)]
    error: Option<Told>,
}

/// A stream of messages. Dropping it ends the call.
pub struct Messages<A> {
    body: Incoming,
    /// What has come and is no whole message yet.
    gathered: BytesMut,
    url: String,
    with_key: bool,
    silence: Duration,
    is_over: bool,
    /// Goes with the stream: its connection serves nothing else.
    _line: Line,
    of: PhantomData<fn() -> A>,
}

impl<A: DeserializeOwned> Messages<A> {
    /// Of an answer that has begun. `silence` is how long nothing may come.
    pub(super) fn new(body: Incoming, line: Line, (url, with_key): (String, bool), silence: Duration) -> Self {
        Messages { body, gathered: BytesMut::new(), url, with_key, silence, is_over: false, _line: line, of: PhantomData }
    }

    /// The next message; `None` where the stream has ended well, and after an error. Whoever stops waiting for it loses nothing: the next
    /// call goes on where this one stood.
    ///
    /// # Errors
    /// What the server ended the stream with; a connection that broke, or over which nothing came for a minute; what is no message.
    pub async fn next(&mut self) -> Result<Option<A>, CallError> {
        if self.is_over {
            return Ok(None);
        }
        let next = self.read().await;
        self.is_over = !matches!(next, Ok(Some(_)));
        next
    }

    async fn read(&mut self) -> Result<Option<A>, CallError> {
        loop {
            let whole = Envelope::decode_with_limit(&mut self.gathered, MAX_MESSAGE);
            if let Some(envelope) = whole.map_err(|error| CallError::foreign(&self.url, error))? {
                return self.message(&envelope);
            }
            let frame = tokio::time::timeout(self.silence, self.body.frame()).await;
            match frame.map_err(|_| CallError::silent(&self.url, self.silence))? {
                Some(Ok(frame)) => {
                    // What is no data is trailers, which this protocol does not use.
                    if let Ok(data) = frame.into_data() {
                        self.gathered.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(CallError::broken(&self.url, error)),
                None => return Err(CallError::broken(&self.url, "it ended in the middle of the stream")),
            }
        }
    }

    fn message(&self, envelope: &Envelope) -> Result<Option<A>, CallError> {
        let foreign = |error: serde_json::Error| CallError::foreign(&self.url, error);
        if envelope.is_compressed() {
            return Err(CallError::foreign(&self.url, "a message is compressed, which nobody asked for"));
        }
        if !envelope.is_end_stream() {
            return serde_json::from_slice(&envelope.data).map(Some).map_err(foreign);
        }
        let end: End = if envelope.data.is_empty() { End::default() } else { serde_json::from_slice(&envelope.data).map_err(foreign)? };
        end.error.map_or(Ok(None), |told| Err(CallError::told(told, &self.url, self.with_key)))
    }
}

impl<A> std::fmt::Debug for Messages<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("url", &self.url).field("is_over", &self.is_over).finish_non_exhaustive()
    }
}
