//! What a delivery's body looks like, and how it is made from an event's payload.

use crate::error::ErrorCode;
use crate::id::{EventSeq, SubscriptionId};
use crate::json::{self, NotTaken};
use crate::template::TemplateError;
use crate::time::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

mod buffer;
mod csv;
mod field_map;
mod rpc;
mod serializer;
mod template;
#[cfg(test)]
mod tests;

use buffer::Buffer;
pub use field_map::*;
pub use rpc::*;
pub use serializer::{Format, Serializer};
pub use template::TemplateBody;

/// A body that is made from a payload is at most this many bytes larger than [`MAX_GROWTH`] times the payload.
pub const FREE_GROWTH: usize = 64 * 1_024;

/// How many times as large as its payload a body may become: quotes doubled for CSV and escaped again for an envelope make four at the
/// most, a field of a large static value in each element of an array makes thousands. Memory is bounded by the size of payloads.
pub const MAX_GROWTH: usize = 8;

/// What a delivery's body looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// The accepted bytes and nothing else.
    Raw,
    /// Made from the payload by the rules of the Items API.
    Items(ItemsBody),
    /// The payload in the envelope of the RPC API.
    Rpc,
    /// What a template makes of the event; in the envelope of the RPC API while the template is switched off.
    Template(TemplateBody),
}

/// How a body of the Items API is made: fields are mapped, the result is serialized, and an envelope comes around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemsBody {
    /// The format.
    pub format: Format,
    /// Whether the envelope of the contract's section 10 comes around it. Without one the body is the serialized payload and nothing else.
    pub envelope: bool,
    /// What becomes of the fields first.
    pub field_map: Option<FieldMap>,
}

impl ItemsBody {
    /// What a binding gets that says nothing else: JSON in an envelope.
    pub fn json() -> Self {
        ItemsBody { format: Format::Json, envelope: true, field_map: None }
    }
}

impl BodyForm {
    /// The serializer that a binding names for this form.
    pub fn serializer(&self) -> Serializer {
        match self {
            BodyForm::Raw => Serializer::Raw,
            BodyForm::Items(body) => Serializer::Made(body.format),
            BodyForm::Rpc | BodyForm::Template(_) => Serializer::Made(Format::Json),
        }
    }

    /// The `Content-Type` of such a body. What templates make is called JSON too (contract of the RPC API, section 8).
    pub fn content_type(&self) -> &'static str {
        match self {
            BodyForm::Items(ItemsBody { format, envelope: false, .. }) => format.content_type(),
            BodyForm::Raw | BodyForm::Items(_) | BodyForm::Rpc | BodyForm::Template(_) => Format::Json.content_type(),
        }
    }
}

/// What an envelope says about the delivery.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeHead<'a> {
    /// The event's type.
    pub event_type: &'a str,
    /// The event.
    pub event: EventSeq,
    /// The subscription.
    pub binding: SubscriptionId,
    /// See [`crate::id::idempotency_key`].
    pub idempotency_key: &'a str,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// When this attempt began.
    pub delivered_at: Timestamp,
}

/// Why no body can be made from a payload. Another try would not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrenderable {
    /// The payload is no JSON in UTF-8.
    #[error("the payload is not JSON, so only the serializer raw can send it")]
    NotJson,
    /// There are no fields to map or to make columns of.
    #[error("a field map and csv need a payload that is an object or an array of objects")]
    NoFields,
    /// An object has more than 65,536 fields.
    #[error("an object with more than 65,536 fields cannot be put into another form")]
    TooManyFields,
    /// The body is larger than the cap of its endpoint, or than a body may become.
    #[error("the body would be larger than {limit} bytes")]
    TooLarge {
        /// The bound that it would pass, in bytes.
        limit: usize,
    },
    /// The body grows beyond [`MAX_GROWTH`].
    #[error("the body would be more than 8 times as large as its payload")]
    Grows,
    /// The template failed, or met a bound.
    #[error("the template failed: {0}")]
    Template(TemplateError),
}

impl Unrenderable {
    /// The code of the attempt that failed so.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Unrenderable::TooLarge { .. } => ErrorCode::PayloadTooLarge,
            Unrenderable::Template(_) => ErrorCode::TemplateError,
            _ => ErrorCode::SerializationFailed,
        }
    }
}

impl From<NotTaken> for Unrenderable {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Malformed => Unrenderable::NotJson,
            NotTaken::TooMany => Unrenderable::TooManyFields,
        }
    }
}

impl ItemsBody {
    /// Makes the body of one attempt, of at most `cap` bytes. Where nothing is changed, and inside an envelope where no field map applies, the
    /// payload's bytes are the accepted ones.
    pub fn render(&self, head: &EnvelopeHead<'_>, payload: &Bytes, cap: usize) -> Result<Bytes, Unrenderable> {
        let limit = cap.min(most(payload));
        let within = |error| match error {
            Unrenderable::TooLarge { limit } if limit < cap => Unrenderable::Grows,
            other => other,
        };
        self.render_within(head, payload, limit).map_err(within)
    }

    fn render_within(&self, head: &EnvelopeHead<'_>, payload: &Bytes, limit: usize) -> Result<Bytes, Unrenderable> {
        let text = json::checked(payload).ok_or(Unrenderable::NotJson)?;
        let is_as_accepted = self.format == Format::Json && !self.envelope && self.field_map.is_none();
        if is_as_accepted {
            return if payload.len() > limit { Err(Unrenderable::TooLarge { limit }) } else { Ok(payload.clone()) };
        }
        let projected = self.project(text, limit)?;
        let mut out = Buffer::new(projected.len() + ENVELOPE_ROOM, limit);
        match (self.envelope, self.format) {
            (false, format) => format.write(&projected, &mut out)?,
            (true, Format::Json) => out.put_all([&envelope_head(head), ",\"payload\":", &projected, ",\"content\":null}"])?,
            (true, format) => {
                let mut content = Buffer::new(projected.len(), limit);
                format.write(&projected, &mut content)?;
                let content = String::from_utf8(content.into_bytes()).map_err(|_| Unrenderable::NotJson)?;
                let head = envelope_head(head);
                out.put_all([&head, ",\"payload\":null,\"content\":{\"mime\":\"", format.mime(), "\",\"encoding\":\"utf-8\",\"data\":"])?;
                out.put(json::quoted(&content))?;
                out.put("}}")?;
            }
        }
        Ok(Bytes::from(out.into_bytes()))
    }

    /// The payload as the field map leaves it, and that in the format, without an envelope; each within the
    /// bounds of [`ItemsBody::render`].
    pub fn pieces(&self, payload: &Bytes, cap: usize) -> Result<(Bytes, Bytes), Unrenderable> {
        let limit = cap.min(most(payload));
        let text = json::checked(payload).ok_or(Unrenderable::NotJson)?;
        let projected = self.project(text, limit)?;
        let mut serialized = Buffer::new(projected.len(), limit);
        self.format.write(&projected, &mut serialized)?;
        Ok((Bytes::from(projected.into_owned()), Bytes::from(serialized.into_bytes())))
    }

    /// The payload, which must be JSON, as the field map leaves it; `limit` bounds what the map makes, in bytes.
    pub fn project<'p>(&self, payload: &'p str, limit: usize) -> Result<Cow<'p, str>, Unrenderable> {
        match &self.field_map {
            None => Ok(Cow::Borrowed(payload)),
            Some(map) => map.apply(payload, limit).map(Cow::Owned),
        }
    }
}

fn most(payload: &Bytes) -> usize {
    payload.len().saturating_mul(MAX_GROWTH).saturating_add(FREE_GROWTH)
}

/// What an envelope is larger than its payload, mostly.
const ENVELOPE_ROOM: usize = 384;

fn envelope_head(head: &EnvelopeHead<'_>) -> String {
    format!(
        "{{\"event\":{{\"event_type\":{},\"event_id\":\"{}\",\"binding_id\":\"{}\",\"idempotency_key\":\"{}\",\"attempt\":{},\"delivered_at\":\"{}\"}}",
        json::quoted(head.event_type),
        head.event,
        head.binding,
        head.idempotency_key,
        head.attempt,
        head.delivered_at.rfc3339(3),
    )
}
