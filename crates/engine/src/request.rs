//! The request that a receiver gets: the endpoint's prepared headers, those of this attempt, the signatures.

use crate::job::Job;
use crate::route::Route;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider_core::endpoint::Endpoint;
use postrider_core::id::idempotency_key;
use postrider_core::ports::Outgoing;
use postrider_core::sign::{Scheme, SigningKey, postrider_header};
use postrider_core::time::Timestamp;
use std::fmt::{Arguments, Write as _};

/// Room for the values of one attempt besides the event type: ids, keys, times and one signature of each scheme.
const VALUES: usize = 640;

/// The headers that every request to an endpoint carries, with a place for each that an attempt adds.
///
/// A clone of a header map has room for exactly what is in it, so that headers which were not in there would make it grow, twice or
/// three times per delivery.
pub(crate) fn template(endpoint: &Endpoint, user_agent: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(24);
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let agent = endpoint.http.user_agent.as_deref().unwrap_or(user_agent);
    for (name, value) in std::iter::once(("user-agent", agent)).chain(endpoint.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()))) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    let mut place = |name| headers.insert(name, HeaderValue::from_static(""));
    place(names::EVENT_ID);
    place(names::DELIVERY_ID);
    place(names::IDEMPOTENCY);
    place(names::PLAIN_IDEMPOTENCY);
    place(names::ATTEMPT);
    place(names::TIMESTAMP);
    if !endpoint.secrets.is_empty() {
        place(names::WEBHOOK_ID);
        place(names::WEBHOOK_TIMESTAMP);
        endpoint.schemes.iter().flat_map(|scheme| names::of(*scheme)).for_each(|name| _ = place(name));
    }
    // The last one, for taking the last one away moves no other: not every event has a type.
    place(names::EVENT);
    headers
}

/// The values of one attempt, cut out of one buffer.
struct Values {
    buffer: BytesMut,
}

impl Values {
    fn value(&mut self, text: Arguments<'_>) -> Option<HeaderValue> {
        // Everything written here is digits, UUIDs, base64 or a checked event type.
        self.buffer.write_fmt(text).ok()?;
        HeaderValue::from_maybe_shared(self.cut()).ok()
    }

    fn cut(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

/// Puts the request together. `Err` says why it cannot be signed.
pub(crate) fn request<'r>(route: &'r Route, job: &Job, started_at: Timestamp) -> Result<Outgoing, &'r str> {
    let keys = Result::as_ref(&route.keys).map_err(String::as_str)?;
    let (delivery, event) = (&job.delivery, &*job.event);
    let mut headers = route.headers.clone();
    let mut values = Values { buffer: BytesMut::with_capacity(VALUES + event.event_type.len()) };
    let mut put = |name: HeaderName, text: Arguments<'_>| {
        let value = values.value(text)?;
        headers.insert(name, value.clone());
        Some(value)
    };
    let at = started_at.as_secs();
    put(names::EVENT_ID, format_args!("{}", event.id));
    put(names::DELIVERY_ID, format_args!("{}", delivery.id));
    let key = put(names::IDEMPOTENCY, format_args!("{}", idempotency_key(delivery.subscription, event.seq)));
    put(names::ATTEMPT, format_args!("{}", delivery.progress.attempts.saturating_add(1)));
    let time = put(names::TIMESTAMP, format_args!("{at}"));
    let typed = !event.event_type.is_empty() && put(names::EVENT, format_args!("{}", event.event_type)).is_some();
    if !keys.is_empty() {
        let id = format!("msg_{}", delivery.id);
        put(names::WEBHOOK_ID, format_args!("{id}"));
        for scheme in &route.endpoint.schemes {
            sign(*scheme, keys, &id, at, &event.payload, |name, value| _ = put(name, format_args!("{value}")));
        }
        if let Some(time) = time {
            headers.insert(names::WEBHOOK_TIMESTAMP, time);
        }
    }
    if let Some(key) = key {
        headers.insert(names::PLAIN_IDEMPOTENCY, key);
    }
    if !typed {
        headers.remove(names::EVENT);
    }
    Ok(Outgoing { method: Method::POST, headers, body: event.payload.clone() })
}

/// While a rotation overlaps, schemes that can carry several signatures carry one per secret, the others that of the newest.
fn sign(scheme: Scheme, keys: &[SigningKey], id: &str, at: i64, body: &[u8], mut put: impl FnMut(HeaderName, String)) {
    let Some(newest) = keys.first() else { return };
    match scheme {
        Scheme::Standard => {
            let all: Vec<_> = keys.iter().map(|key| key.standard(id, at, body)).collect();
            put(names::WEBHOOK_SIGNATURE, all.join(" "));
        }
        Scheme::Postrider => put(names::SIGNATURE, postrider_header(at, keys.iter().map(|key| key.postrider(at, body)))),
        Scheme::Hub => put(names::HUB, newest.hub(body)),
        Scheme::LegacyTimestamped => {
            put(names::LEGACY_TIMESTAMP, at.to_string());
            put(names::LEGACY, newest.legacy(at, body));
        }
        Scheme::StandardEd25519 => {}
    }
}

/// The names of the headers, as the design fixes them.
mod names {
    use http::HeaderName;
    use postrider_core::sign::Scheme;

    pub(super) const EVENT: HeaderName = HeaderName::from_static("x-postrider-event");
    pub(super) const EVENT_ID: HeaderName = HeaderName::from_static("x-postrider-event-id");
    pub(super) const DELIVERY_ID: HeaderName = HeaderName::from_static("x-postrider-delivery-id");
    pub(super) const IDEMPOTENCY: HeaderName = HeaderName::from_static("x-postrider-idempotency-key");
    pub(super) const PLAIN_IDEMPOTENCY: HeaderName = HeaderName::from_static("idempotency-key");
    pub(super) const ATTEMPT: HeaderName = HeaderName::from_static("x-postrider-attempt");
    pub(super) const TIMESTAMP: HeaderName = HeaderName::from_static("x-postrider-timestamp");
    pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("x-postrider-signature");
    pub(super) const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
    pub(super) const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
    pub(super) const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
    pub(super) const HUB: HeaderName = HeaderName::from_static("x-hub-signature-256");
    pub(super) const LEGACY: HeaderName = HeaderName::from_static("x-sparrow-signature-256");
    pub(super) const LEGACY_TIMESTAMP: HeaderName = HeaderName::from_static("x-sparrow-timestamp");

    /// Those that signatures of a scheme are in.
    pub(super) fn of(scheme: Scheme) -> Vec<HeaderName> {
        match scheme {
            Scheme::Standard => vec![WEBHOOK_SIGNATURE],
            Scheme::Postrider => vec![SIGNATURE],
            Scheme::Hub => vec![HUB],
            Scheme::LegacyTimestamped => vec![LEGACY_TIMESTAMP, LEGACY],
            Scheme::StandardEd25519 => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::sync::Arc;

    const ALWAYS: [&str; 8] = [
        "content-type",
        "user-agent",
        "x-postrider-event-id",
        "x-postrider-delivery-id",
        "x-postrider-idempotency-key",
        "idempotency-key",
        "x-postrider-attempt",
        "x-postrider-timestamp",
    ];

    fn names_of(secrets: usize, schemes: Vec<Scheme>, event_type: &str) -> (Vec<String>, HeaderMap) {
        let ring = testing::key_ring();
        let secrets = (0..secrets).map(|_| ring.seal(b"secret", &mut |bytes| bytes.fill(7))).collect();
        let route = testing::route(|endpoint| Endpoint { secrets, schemes, ..endpoint });
        let mut job = testing::job(&route);
        job.event = Arc::new(postrider_core::event::Event { event_type: event_type.into(), ..(*job.event).clone() });
        let headers = request(&route, &job, Timestamp::from_secs(1_700_000_000)).expect("it can be signed").headers;
        (headers.keys().map(|name| name.as_str().to_owned()).collect(), headers)
    }

    /// The template has a place for whatever an attempt may add: none of them may be left empty, and none may be missing.
    #[test]
    fn a_request_carries_what_it_should_and_no_empty_header() {
        let (names, headers) = names_of(0, vec![Scheme::Standard, Scheme::Hub], "");
        assert_eq!(names, ALWAYS, "without a secret there is no signature");
        assert_eq!(headers["idempotency-key"], headers["x-postrider-idempotency-key"]);

        let schemes = vec![Scheme::Standard, Scheme::StandardEd25519, Scheme::Postrider, Scheme::Hub, Scheme::LegacyTimestamped];
        let (names, headers) = names_of(2, schemes, "order.paid");
        let signed = [
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "x-postrider-signature",
            "x-hub-signature-256",
            "x-sparrow-timestamp",
            "x-sparrow-signature-256",
            "x-postrider-event",
        ];
        assert_eq!(names, [&ALWAYS[..], &signed].concat());
        assert_eq!(headers["x-postrider-event"], "order.paid");
        assert_eq!(headers["webhook-timestamp"], "1700000000");
        assert_eq!(headers["webhook-timestamp"], headers["x-postrider-timestamp"]);
        assert!(headers.values().all(|value| !value.is_empty()), "{headers:?}");
        let two = headers["webhook-signature"].to_str().expect("ASCII").split(' ').count();
        assert_eq!(two, 2, "one signature per secret");
    }
}
