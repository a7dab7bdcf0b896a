//! The attempts of a delivery, each with what was sent and what came back.

use super::explain::subscription;
use super::next::retry_after;
use crate::http::{App, Problem};
use crate::rpc::access::timestamp;
use crate::rpc::deliveries::shown::was_sent;
use crate::rpc::page::count;
use crate::rpc::v1::summary::phases;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use postrider_core::attempt::{Attempt, HeadBlock, Outcome};
use postrider_core::body::{RpcHead, rpc_envelope};
use postrider_core::delivery::Delivery;
use postrider_core::error::{Category, ErrorCode};
use postrider_core::event::Event;
use postrider_core::id::AttemptId;
use postrider_core::ports::{AttemptEnd, AttemptRow, WholeAttempt};
use postrider_core::sign::{Scheme, header};
use postrider_engine::Carried;
use postrider_proto::{Message, v1};
use std::collections::HashMap;
use std::sync::Arc;

/// Most attempts that are shown, the newest: each 429 may make one, for as long as a receiver answers with that.
const MAX_ATTEMPTS: u32 = 1_000;

/// How many of these are shown with headers and bodies, the newest: what else is known of an attempt is short.
const MAX_WHOLE: u32 = 50;

/// What bodies sum up to at the most, in bytes: gRPC clients read messages of 4 MiB.
const MAX_BODIES: usize = 2 << 20;

/// What all of it sums up to at the most, in bytes: with a payload of [`MAX_PAYLOAD`](super::events::MAX_PAYLOAD) it fits into such a message.
const MAX_STORIES: usize = 11 << 18;
// What else a story has is short.
const _: () = assert!(MAX_STORIES + super::events::MAX_PAYLOAD + (200 << 10) <= 4 << 20);

/// The attempts of a delivery, the oldest first.
pub(super) async fn attempts(app: &App, delivery: &Delivery, event: &Arc<Event>) -> Result<Vec<v1::AttemptStory>, Problem> {
    let (store, namespace) = (app.engine.store(), Some(delivery.namespace.clone()));
    let rows = store.attempts_of(delivery.id, namespace.clone(), MAX_ATTEMPTS).await.map_err(Problem::of_read)?;
    let kept = store.whole_attempts(delivery.id, namespace, MAX_WHOLE, MAX_BODIES as u64).await.map_err(Problem::of_read)?;
    let mut kept: HashMap<AttemptId, WholeAttempt> = kept.into_iter().map(|kept| (kept.attempt.id, kept)).collect();
    let (mut stories, mut room, mut left) = (Vec::with_capacity(rows.len()), MAX_BODIES, MAX_STORIES);
    for row in rows.into_iter().rev() {
        let story = match kept.remove(&row.id) {
            Some(kept) => whole(app, (delivery, event), row, &kept, &mut room),
            None => told(&row),
        };
        // The newest ones are those that somebody looks for.
        let Some(story) = fitted(story, &mut left) else { break };
        stories.push(story);
    }
    stories.reverse();
    Ok(stories)
}

/// An attempt that fits into what is left, in bytes, without its headers where these are too much; `None` where it does not fit at all.
fn fitted(mut story: v1::AttemptStory, left: &mut usize) -> Option<v1::AttemptStory> {
    if story.encoded_len() as usize > *left {
        story.request_headers.clear();
        story.response_headers.clear();
    }
    *left = left.checked_sub(story.encoded_len() as usize)?;
    Some(story)
}

/// What a list knows of an attempt.
fn told(row: &AttemptRow) -> v1::AttemptStory {
    let (end, error) = (row.end.as_ref(), row.end.as_ref().and_then(|end| end.error.as_ref()));
    let category = end.map(|_| error.map_or(Category::Success, |error| error.code.category()));
    v1::AttemptStory {
        attempt_id: row.id.to_string(),
        number: count(row.number),
        url: row.target_url.to_string(),
        started_at: timestamp(row.started_at).into(),
        finished_at: end.map(|end| timestamp(end.finished_at)).into(),
        http_status: count(end.and_then(|end| end.http_status).unwrap_or_default()),
        category: category.map_or("", Category::as_str).to_owned(),
        error_code: error.map_or("", |error| error.code.as_str()).to_owned(),
        error_message: error.map(|error| error.message.clone()).unwrap_or_default(),
        phases: end.map(|end| phases(&end.phases)).into(),
        ..v1::AttemptStory::default()
    }
}

/// Everything of an attempt. `room` is how many bytes of bodies are still shown.
fn whole(
    app: &App,
    (delivery, event): (&Delivery, &Arc<Event>),
    row: AttemptRow,
    kept: &WholeAttempt,
    room: &mut usize,
) -> v1::AttemptStory {
    let (routes, attempt) = (app.engine.routes(), &kept.attempt);
    // It may have ended since the list was read.
    let mut story = told(&AttemptRow { end: attempt.outcome.as_ref().map(end), ..row });
    let (subscription, endpoint) = (subscription(&routes, delivery.subscription), routes.endpoint(delivery.endpoint));
    if let Some(subscription) = subscription {
        subscription.request.method.as_str().clone_into(&mut story.method);
    }
    let has_begun = began(attempt.outcome.as_ref());
    let carried = if has_begun { app.engine.carried(delivery, event, attempt) } else { None };
    if let (Some(carried), Some(endpoint)) = (&carried, endpoint) {
        story.request_headers = carried.headers.iter().map(request_header).collect();
        story.signatures = endpoint.schemes.iter().filter_map(|scheme| signature(*scheme, carried)).collect();
    }
    let since = [subscription.map(|subscription| subscription.updated_at), endpoint.map(|endpoint| endpoint.updated_at)];
    story.request_headers_changed = has_begun && since.iter().any(|at| at.is_none_or(|at| at > attempt.started_at));
    let Some(outcome) = &attempt.outcome else { return story };
    let media_type = carried.as_ref().and_then(|carried| carried.headers.get(CONTENT_TYPE)?.to_str().ok()).unwrap_or_default();
    story.request_body = request_body(event, kept, outcome, media_type, room).into();
    story.response_body = response_body(kept, outcome, room).into();
    let head = outcome.response_headers.as_ref();
    story.response_headers = head.into_iter().flat_map(HeadBlock::iter).map(response_header).collect();
    story.retry_after_seconds = retry_after(outcome).map(|wait| wait.as_secs_f64());
    story
}

fn end(outcome: &Outcome) -> AttemptEnd {
    let Outcome { finished_at, http_status, error, phases, .. } = outcome;
    AttemptEnd { finished_at: *finished_at, http_status: *http_status, error: error.clone(), phases: *phases }
}

/// Whether a request was on its way, as far as is known. One that was interrupted may have been.
fn began(outcome: Option<&Outcome>) -> bool {
    let is_interrupted = |outcome: &Outcome| outcome.error.as_ref().is_some_and(|error| error.code == ErrorCode::Interrupted);
    outcome.is_none_or(|outcome| was_sent(outcome) || is_interrupted(outcome))
}

fn request_header((name, value): (&HeaderName, &HeaderValue)) -> v1::Header {
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    v1::Header { name: name.to_string(), value: text, masked: value.is_sensitive() }
}

fn response_header((name, value): (&str, &str)) -> v1::Header {
    v1::Header { name: name.to_owned(), value: value.to_owned(), masked: HeadBlock::is_secret(name) }
}

/// How a receiver checks a signature of this scheme; `None` where there was none.
pub(in crate::rpc::v1) fn signature(scheme: Scheme, carried: &Carried) -> Option<v1::Signature> {
    const HMAC: &str = "HMAC-SHA256";
    let (algorithm, secrets) = match (scheme, carried.shared, carried.pairs) {
        (Scheme::Standard, 0, 0) => return None,
        (Scheme::Standard, 0, pairs) => ("Ed25519", pairs),
        (Scheme::Standard, shared, 0) => (HMAC, shared),
        (Scheme::Standard, shared, pairs) => ("HMAC-SHA256 and Ed25519", shared + pairs),
        (Scheme::Postrider | Scheme::Hub | Scheme::LegacyTimestamped, 0, _) => return None,
        (Scheme::Postrider, shared, _) => (HMAC, shared),
        // There is room for that of the newest alone.
        (Scheme::Hub | Scheme::LegacyTimestamped, _, _) => (HMAC, 1),
    };
    let (name, headers, signed): (_, &[&str], _) = match scheme {
        Scheme::Standard => (
            "Standard Webhooks",
            &[header::STANDARD_ID, header::STANDARD_TIMESTAMP, header::STANDARD_SIGNATURE],
            "{webhook-id}.{webhook-timestamp}.{body}",
        ),
        Scheme::Postrider => ("Postrider", &[header::POSTRIDER], "{t}.{body}"),
        Scheme::Hub => ("Hub", &[header::HUB], "{body}"),
        Scheme::LegacyTimestamped => ("Timestamped", &[header::LEGACY_TIMESTAMP, header::LEGACY_SIGNATURE], "{x-sparrow-timestamp}.{body}"),
    };
    Some(v1::Signature {
        scheme: name.to_owned(),
        headers: headers.iter().map(|name| (*name).to_owned()).collect(),
        signed: signed.to_owned(),
        algorithm: algorithm.to_owned(),
        secrets: count(secrets),
    })
}

/// What was sent: where the attempt kept nothing of its own, that was the payload, unless nothing was sent.
fn request_body(event: &Event, of: &WholeAttempt, outcome: &Outcome, media_type: &str, room: &mut usize) -> Option<v1::Content> {
    match &outcome.request_body {
        _ if of.bodies_removed => was_sent(outcome).then(|| removed(media_type)),
        // Newer ones have taken all the room.
        _ if of.bodies_left_out => was_sent(outcome).then(|| content(&[], true, media_type, room)),
        Some(kept) if outcome.request_truncated => {
            let made = enveloped(event, &of.attempt).filter(|made| made.starts_with(kept));
            let is_cut = made.is_none();
            Some(content(made.as_ref().unwrap_or(kept), is_cut, media_type, room))
        }
        Some(kept) => Some(content(kept, false, media_type, room)),
        None => was_sent(outcome).then(|| content(&event.payload, false, media_type, room)),
    }
}

/// What an attempt sent if that was the envelope around the payload of its event: of a long body it keeps the beginning alone, but this one can be
/// made again as it was.
fn enveloped(event: &Event, attempt: &Attempt) -> Option<Bytes> {
    let head = RpcHead { event: event.id, event_type: &event.event_type, at: attempt.started_at, attempt: attempt.number };
    rpc_envelope(&head, &event.payload, usize::MAX).ok()
}

fn response_body(of: &WholeAttempt, outcome: &Outcome, room: &mut usize) -> Option<v1::Content> {
    outcome.http_status?;
    let mut headers = outcome.response_headers.iter().flat_map(HeadBlock::iter);
    let media_type = headers.find(|(name, _)| *name == CONTENT_TYPE.as_str()).map_or("", |(_, value)| value);
    if of.bodies_removed {
        return Some(removed(media_type));
    }
    Some(content(&outcome.response_body, outcome.response_truncated || of.bodies_left_out, media_type, room))
}

fn removed(media_type: &str) -> v1::Content {
    v1::Content { removed: true, media_type: media_type.to_owned(), ..v1::Content::default() }
}

/// A body, or as much of it as there is room for.
fn content(body: &[u8], is_cut: bool, media_type: &str, room: &mut usize) -> v1::Content {
    let shown = &body[..body.len().min(*room)];
    *room -= shown.len();
    let truncated = is_cut || shown.len() < body.len();
    v1::Content { bytes: shown.to_vec(), truncated, removed: false, media_type: media_type.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_without_room_have_no_headers() {
        let header = |n: usize| v1::Header { name: format!("x-{n}"), value: "v".repeat(1_000), masked: false };
        let story = v1::AttemptStory { attempt_id: String::from("a"), request_headers: (0..9).map(header).collect(), ..Default::default() };
        let mut left = 9_500;
        let first = fitted(story.clone(), &mut left).expect("it fits");
        assert_eq!(first.request_headers.len(), 9);
        let second = fitted(story.clone(), &mut left).expect("it fits without its headers");
        assert_eq!((second.attempt_id.as_str(), second.request_headers.len()), ("a", 0));
        left = 1;
        assert!(fitted(story, &mut left).is_none());
    }
    use http::HeaderMap;

    #[test]
    fn bodies_end_where_there_is_no_room() {
        let mut room = 5;
        let first = content(b"abc", false, "text/plain", &mut room);
        assert_eq!((first.bytes.as_slice(), first.truncated, first.media_type.as_str()), (&b"abc"[..], false, "text/plain"));
        let second = content(b"defg", false, "", &mut room);
        assert_eq!((second.bytes.as_slice(), second.truncated, room), (&b"de"[..], true, 0));
        assert!(content(b"x", false, "", &mut room).truncated && !content(b"", false, "", &mut room).truncated);
        assert!(content(b"", true, "", &mut room).truncated);
    }

    #[test]
    fn a_signature_says_how_it_is_checked() {
        let carried = |shared, pairs| Carried { headers: HeaderMap::new(), shared, pairs };
        let told = |scheme, shared, pairs| signature(scheme, &carried(shared, pairs)).map(|told| (told.algorithm, told.secrets));
        let with = |algorithm: &str, secrets| Some((algorithm.to_owned(), secrets));
        assert_eq!(told(Scheme::Standard, 2, 0), with("HMAC-SHA256", 2));
        assert_eq!((told(Scheme::Standard, 0, 1), told(Scheme::Standard, 1, 1)), (with("Ed25519", 1), with("HMAC-SHA256 and Ed25519", 2)));
        assert_eq!((told(Scheme::Postrider, 2, 0), told(Scheme::Hub, 2, 0)), (with("HMAC-SHA256", 2), with("HMAC-SHA256", 1)));
        for scheme in [Scheme::Standard, Scheme::Postrider, Scheme::Hub, Scheme::LegacyTimestamped] {
            assert_eq!(told(scheme, 0, 0), None);
            assert_eq!(told(scheme, 0, 1).is_some(), scheme == Scheme::Standard);
        }
        let standard = signature(Scheme::Standard, &carried(1, 0)).expect("a signature");
        assert_eq!(standard.headers, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
    }
}
