//! The request that a receiver gets: the endpoint's prepared headers, those of this attempt, the signatures.

use crate::job::Job;
use crate::render::{self, Renders};
use crate::route::{Route, Secrets};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use postrider_core::body::Unrenderable;
use postrider_core::endpoint::{Endpoint, ITEMS_BODY_BYTES};
use postrider_core::id::{AttemptId, idempotency_key};
use postrider_core::ports::Outgoing;
use postrider_core::sign::{KeysInUse, Scheme, postrider_header};
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use std::fmt::{Arguments, Write as _};

/// Room for the values of one attempt besides the event type: ids, keys, times and one signature of each scheme.
const VALUES: usize = 768;

/// The headers that every request for a subscription carries, secret ones above the others, with a place for each that an attempt adds.
///
/// A clone of a header map has room for exactly what is in it, so that headers which were not in there would make it grow, twice or
/// three times per delivery.
pub(crate) fn template(subscription: &Subscription, endpoint: &Endpoint, secrets: &Secrets, user_agent: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(24);
    let is_rpc = subscription.origin == Origin::Rpc;
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(subscription.body.content_type()));
    // It was checked when it was stored.
    let own = endpoint.http.content_type.as_deref().filter(|_| is_rpc).and_then(|media| HeaderValue::try_from(media).ok());
    if let Some(media) = own {
        headers.insert(http::header::CONTENT_TYPE, media);
    }
    let agent = endpoint.http.user_agent.as_deref().unwrap_or(user_agent);
    let extra = endpoint.headers.iter().chain(&subscription.request.headers).map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in std::iter::once(("user-agent", agent)).chain(extra) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    for (name, value) in secrets.headers.as_deref().unwrap_or_default() {
        headers.insert(name, value.clone());
    }
    if is_rpc && let Ok(id) = HeaderValue::try_from(endpoint.id.to_string()) {
        headers.insert(names::RPC_WEBHOOK_ID, id);
    }
    let mut place = |name| headers.insert(name, HeaderValue::from_static(""));
    place(names::EVENT_ID);
    place(names::DELIVERY_ID);
    place(names::IDEMPOTENCY);
    place(names::PLAIN_IDEMPOTENCY);
    place(names::ATTEMPT);
    place(names::TIMESTAMP);
    if is_rpc {
        place(names::RPC_EVENT_ID);
        place(names::RPC_DELIVERY_ID);
    }
    if secrets.signs.at_all {
        place(names::WEBHOOK_ID);
        place(names::WEBHOOK_TIMESTAMP);
        let schemes = endpoint.schemes.iter().filter(|scheme| secrets.signs.with(**scheme));
        schemes.flat_map(|scheme| names::of(*scheme)).for_each(|name| _ = place(name));
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

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum Unsendable {
    /// A secret cannot be opened.
    Secret,
    /// No body can be made, or none that the endpoint takes.
    Body(Unrenderable),
}

/// What is shown in the place of a secret.
pub(crate) const MASK: HeaderValue = HeaderValue::from_static("********");

/// Says in the places of signatures that there would be some. A header of the endpoint's own may be empty as well, and stays so.
pub(crate) fn name_signatures(headers: &mut HeaderMap, endpoint: &Endpoint) {
    let schemes = endpoint.schemes.iter().flat_map(|scheme| names::of(*scheme));
    for name in [names::WEBHOOK_ID, names::WEBHOOK_TIMESTAMP].into_iter().chain(schemes) {
        if let Some(value) = headers.get_mut(name).filter(|value| value.is_empty()) {
            *value = HeaderValue::from_static("(made when it is sent)");
        }
    }
}

/// Puts the request of an attempt together.
pub(crate) async fn request(
    renders: &Renders,
    route: &Route,
    job: &Job,
    attempt: AttemptId,
    started_at: Timestamp,
) -> Result<Outgoing, Unsendable> {
    let keys = route.secrets.keys.as_ref().map_err(|_| Unsendable::Secret)?;
    route.secrets.headers.as_ref().map_err(|_| Unsendable::Secret)?;
    let idempotency_key = idempotency_key(job.delivery.subscription, job.event.seq);
    let body = render::body(renders, route, job, &idempotency_key, started_at).await.map_err(Unsendable::Body)?;
    let keys = keys.in_use(route.endpoint.old_secrets_sign(started_at));
    let headers = headers(route, job, keys, (attempt, started_at), &idempotency_key, &body);
    Ok(Outgoing { method: route.subscription.request.method.into(), headers, body })
}

/// The headers of an attempt with this body.
pub(crate) fn headers(
    route: &Route,
    job: &Job,
    keys: KeysInUse<'_>,
    (attempt, started_at): (AttemptId, Timestamp),
    idempotency_key: &str,
    body: &[u8],
) -> HeaderMap {
    let (delivery, event) = (&job.delivery, &*job.event);
    let mut headers = route.headers.clone();
    let mut values = Values { buffer: BytesMut::with_capacity(VALUES + event.event_type.len()) };
    let mut put = |name: HeaderName, text: Arguments<'_>| {
        let value = values.value(text)?;
        headers.insert(name, value.clone());
        Some(value)
    };
    let at = started_at.as_secs();
    let mut rpc_ids = None;
    if route.subscription.origin == Origin::Items {
        // To this API the event is its number, and what it lists are attempts.
        put(names::EVENT_ID, format_args!("{}", event.seq));
        put(names::DELIVERY_ID, format_args!("{attempt}"));
    } else {
        let event_id = put(names::EVENT_ID, format_args!("{}", event.id));
        let delivery_id = put(names::DELIVERY_ID, format_args!("{}", delivery.id));
        if route.subscription.origin == Origin::Rpc {
            rpc_ids = event_id.zip(delivery_id);
        }
    }
    let key = put(names::IDEMPOTENCY, format_args!("{idempotency_key}"));
    put(names::ATTEMPT, format_args!("{}", render::number(job)));
    let time = put(names::TIMESTAMP, format_args!("{at}"));
    let typed = !event.event_type.is_empty() && put(names::EVENT, format_args!("{}", event.event_type)).is_some();
    if !keys.is_empty() {
        let id = format!("msg_{}", delivery.id);
        put(names::WEBHOOK_ID, format_args!("{id}"));
        for scheme in &route.endpoint.schemes {
            sign(*scheme, keys, &id, at, body, |name, value| _ = put(name, format_args!("{value}")));
        }
        if let Some(time) = time {
            headers.insert(names::WEBHOOK_TIMESTAMP, time);
        }
    }
    if let Some(key) = key {
        headers.insert(names::PLAIN_IDEMPOTENCY, key);
    }
    if let Some((event, delivery)) = rpc_ids {
        headers.insert(names::RPC_EVENT_ID, event);
        headers.insert(names::RPC_DELIVERY_ID, delivery);
    }
    if !typed {
        headers.remove(names::EVENT);
    }
    headers
}

/// What is kept of a body: nothing where it is the payload itself, which the event keeps; else its beginning, cut between characters, and
/// whether it was cut.
pub(crate) fn kept(body: &Bytes, payload: &Bytes) -> (Option<Bytes>, bool) {
    if body.as_ptr() == payload.as_ptr() && body.len() == payload.len() {
        return (None, false);
    }
    let most = ITEMS_BODY_BYTES as usize;
    if body.len() <= most {
        return (Some(body.clone()), false);
    }
    let is_inside = |at: usize| body[at] & 0b1100_0000 == 0b1000_0000;
    let end = (0..=most).rev().find(|at| !is_inside(*at)).unwrap_or(0);
    // A copy: a part of the whole would keep all of it in memory until it is stored.
    (Some(Bytes::copy_from_slice(&body[..end])), true)
}

/// While a rotation overlaps, schemes that can carry several signatures carry one per secret, the others that of the newest.
fn sign(scheme: Scheme, keys: KeysInUse<'_>, id: &str, at: i64, body: &[u8], mut put: impl FnMut(HeaderName, String)) {
    if scheme == Scheme::Standard {
        return put(names::WEBHOOK_SIGNATURE, keys.standard(id, at, body));
    }
    let Some(newest) = keys.shared.first() else { return };
    match scheme {
        Scheme::Standard => {}
        Scheme::Postrider => put(names::SIGNATURE, postrider_header(at, keys.shared.iter().map(|key| key.postrider(at, body)))),
        Scheme::Hub => put(names::HUB, newest.hub(body)),
        Scheme::LegacyTimestamped => {
            put(names::LEGACY_TIMESTAMP, at.to_string());
            put(names::LEGACY, newest.legacy(at, body));
        }
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

    /// What receivers of the RPC API know ids by (its contract, section 8).
    pub(super) const RPC_EVENT_ID: HeaderName = HeaderName::from_static("x-sparrow-event-id");
    pub(super) const RPC_DELIVERY_ID: HeaderName = HeaderName::from_static("x-sparrow-delivery-id");
    pub(super) const RPC_WEBHOOK_ID: HeaderName = HeaderName::from_static("x-sparrow-webhook-id");

    /// Those that signatures of a scheme are in.
    pub(super) fn of(scheme: Scheme) -> Vec<HeaderName> {
        match scheme {
            Scheme::Standard => vec![WEBHOOK_SIGNATURE],
            Scheme::Postrider => vec![SIGNATURE],
            Scheme::Hub => vec![HUB],
            Scheme::LegacyTimestamped => vec![LEGACY_TIMESTAMP, LEGACY],
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

    fn headers_of(route: &Route, job: &Job) -> HeaderMap {
        headers_at(route, job, Timestamp::from_secs(1_700_000_000))
    }

    fn headers_at(route: &Route, job: &Job, at: Timestamp) -> HeaderMap {
        let keys = route.secrets.keys.as_ref().expect("it can be signed").in_use(route.endpoint.old_secrets_sign(at));
        let attempt = (AttemptId::new(uuid::Uuid::from_u128(9)), at);
        headers(route, job, keys, attempt, &idempotency_key(job.delivery.subscription, job.event.seq), &job.event.payload)
    }

    fn names_of(secrets: usize, schemes: Vec<Scheme>, event_type: &str) -> (Vec<String>, HeaderMap) {
        let ring = testing::key_ring();
        let secrets = (0..secrets).map(|_| ring.seal(b"secret", &mut |bytes| bytes.fill(7))).collect();
        let route = testing::route(|endpoint| Endpoint { secrets, schemes, ..endpoint });
        let mut job = testing::job(&route);
        job.event = Arc::new(postrider_core::event::Event { event_type: event_type.into(), ..(*job.event).clone() });
        let headers = headers_of(&route, &job);
        (headers.keys().map(|name| name.as_str().to_owned()).collect(), headers)
    }

    /// The template has a place for whatever an attempt may add: none of them may be left empty, and none may be missing.
    #[test]
    fn a_request_carries_what_it_should_and_no_empty_header() {
        let (names, headers) = names_of(0, vec![Scheme::Standard, Scheme::Hub], "");
        assert_eq!(names, ALWAYS, "without a secret there is no signature");
        assert_eq!(headers["idempotency-key"], headers["x-postrider-idempotency-key"]);

        let schemes = vec![Scheme::Standard, Scheme::Postrider, Scheme::Hub, Scheme::LegacyTimestamped];
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

    fn signed_by(secrets: &[&str], schemes: Vec<Scheme>) -> HeaderMap {
        let ring = testing::key_ring();
        let secrets = secrets.iter().map(|secret| ring.seal(secret.as_bytes(), &mut |bytes| bytes.fill(7))).collect();
        let route = testing::route(|endpoint| Endpoint { secrets, schemes, ..endpoint });
        let job = testing::job(&route);
        headers_of(&route, &job)
    }

    #[test]
    fn a_pair_of_keys_signs_where_it_can_and_leaves_no_empty_header() {
        let pair = postrider_core::sign::ed25519_secret(&[7; 32]);
        let key = postrider_core::sign::Ed25519Key::from_seed(&[7; 32]).expect("a seed");
        let headers = signed_by(&[&pair], vec![Scheme::Standard, Scheme::Postrider, Scheme::Hub, Scheme::LegacyTimestamped]);
        let id = headers["webhook-id"].to_str().expect("text");
        assert_eq!(headers["webhook-signature"], key.standard(id, 1_700_000_000, b"{}"));
        assert!(headers.values().all(|value| !value.is_empty()) && !headers.contains_key("x-hub-signature-256"), "{headers:?}");
        let both = signed_by(&[&pair, "secret"], vec![Scheme::Standard]);
        let entries: Vec<&str> = both["webhook-signature"].to_str().expect("text").split(' ').map(|entry| &entry[..4]).collect();
        assert!(matches!(entries[..], [shared, "v1a,"] if shared.starts_with("v1,")), "{entries:?}");
    }

    /// Nobody has to look at the configuration when a rotation ends: who was routed before it is signed for by the clock.
    #[test]
    fn an_older_secret_signs_until_its_end() {
        let (ring, until) = (testing::key_ring(), Timestamp::from_secs(1_700_000_000));
        let secrets = ["newer", "older"].map(|secret| ring.seal(secret.as_bytes(), &mut |bytes| bytes.fill(7)));
        let schemes = vec![Scheme::Standard, Scheme::Postrider, Scheme::Hub];
        let rotated = |end| {
            testing::route(|endpoint| Endpoint { secrets: secrets.to_vec(), schemes: schemes.clone(), old_secrets_until: end, ..endpoint })
        };
        let signatures = |route: &Route, at| {
            let headers = headers_at(route, &testing::job(route), at);
            let text = |name: &str| headers[name].to_str().expect("ASCII").to_owned();
            (
                text("webhook-signature").split(' ').count(),
                text("x-postrider-signature").matches("v1=").count(),
                text("x-hub-signature-256"),
            )
        };
        let route = rotated(Some(until));
        let hub = postrider_core::sign::SigningKey::new("newer").expect("a secret").hub(b"{}");
        assert_eq!(signatures(&route, Timestamp::from_secs(1_699_999_999)), (2, 2, hub.clone()));
        assert_eq!(signatures(&route, until), (1, 1, hub.clone()));
        assert_eq!(signatures(&rotated(None), until), (2, 2, hub), "without an end");
        // What was ingested is held against the same ones.
        let older = postrider_core::sign::SigningKey::new("older").expect("a secret").hub(b"{}");
        let verified = |at| route.verify_hub(&older, b"{}", at);
        assert_eq!((verified(Timestamp::from_secs(1_699_999_999)), verified(until)), (Ok(true), Ok(false)));
    }

    #[test]
    fn what_is_kept_of_a_body_is_cut_between_characters() {
        let payload = Bytes::from_static(b"{}");
        assert_eq!(kept(&payload.clone(), &payload), (None, false));
        assert_eq!(kept(&Bytes::from_static(b"{ }"), &payload), (Some(Bytes::from_static(b"{ }")), false));
        let most = ITEMS_BODY_BYTES as usize;
        assert_eq!(kept(&Bytes::from(vec![b'x'; most]), &payload), (Some(Bytes::from(vec![b'x'; most])), false));
        for ahead in 0..4 {
            let text = format!("{}{}", "x".repeat(ahead), "\u{1f600}".repeat(most / 4 + 1));
            let (kept, cut) = kept(&Bytes::from(text.clone()), &payload);
            let kept = kept.expect("a beginning");
            assert!(cut && kept.len() <= most && kept.len() > most - 4, "{}", kept.len());
            assert!(text.starts_with(std::str::from_utf8(&kept).expect("whole characters")));
        }
    }
}
