//! What the events say: their phase and number, padded to a size.

use bytes::{Bytes, BytesMut};
use postrider_proto::webhook::PushEventRequest;
use postrider_proto::{Message, Object};

/// A part of the run; each keeps its own books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the sender straight to the receiver.
    Direct,
    /// Before anything is measured.
    Warmup,
    /// What waits for a dead endpoint.
    Backlog,
    /// What is measured.
    Main,
}

impl Phase {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Its place among them.
    pub fn index(self) -> usize {
        match self {
            Phase::Direct => 0,
            Phase::Warmup => 1,
            Phase::Backlog => 2,
            Phase::Main => 3,
        }
    }

    fn digit(self) -> u8 {
        b'0' + self.index() as u8
    }

    fn from_digit(digit: u8) -> Option<Phase> {
        [Phase::Direct, Phase::Warmup, Phase::Backlog, Phase::Main].into_iter().find(|phase| phase.digit() == digit)
    }
}

const HEAD: &[u8] = b"{\"bench\":\"";
const MIDDLE: &[u8] = b"\",\"pad\":\"";
const TAIL: &[u8] = b"\"}";
/// Digits of the event's number.
const DIGITS: usize = 10;
/// One digit for the phase and the number.
const STAMP: usize = 1 + DIGITS;

/// The payload of one run, and the request body around it.
#[derive(Clone, Debug)]
pub struct Template {
    body: Vec<u8>,
    /// Where phase and number are in the body.
    stamp: usize,
    /// The payload as receivers get it.
    payload: Vec<u8>,
}

impl Template {
    /// A body that is the payload alone, `size` bytes (at least 48).
    pub fn bare(size: usize) -> Self {
        Self::wrapped("", size, "")
    }

    /// A body that publishes the payload through the Items API under this event type.
    pub fn event(event_type: &str, size: usize) -> Self {
        Self::wrapped(&format!("{{\"event_type\":\"{event_type}\",\"payload\":"), size, "}")
    }

    /// A body that publishes the payload with `PushEvent` over Connect.
    pub fn pushed(namespace: &str, event_type: &str, size: usize) -> Self {
        Self::wrapped(&format!("{{\"namespace\":\"{namespace}\",\"event\":\"{event_type}\",\"payload\":"), size, "}")
    }

    /// The same over gRPC. The server makes the same payload of it: two texts, in their order.
    pub fn called(namespace: &str, event_type: &str, size: usize) -> Self {
        let payload = bare(size);
        let object = Object::parse(&payload).unwrap_or_default();
        let request = PushEventRequest {
            namespace: namespace.to_owned(),
            event: event_type.to_owned(),
            payload: object.into(),
            ..Default::default()
        };
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut body = vec![0];
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&message);
        // Behind it there is padding without a digit in it.
        let stamp = body.windows(STAMP).rposition(|part| part == [b'0'; STAMP]).unwrap_or_default();
        Template { body, stamp, payload }
    }

    fn wrapped(before: &str, size: usize, after: &str) -> Self {
        let payload = bare(size);
        let body = [before.as_bytes(), &payload, after.as_bytes()].concat();
        Template { body, stamp: before.len() + HEAD.len(), payload }
    }

    /// The request body of one event.
    pub fn make(&self, phase: Phase, number: u64) -> Bytes {
        let mut body = BytesMut::from(&self.body[..]);
        let stamp = &mut body[self.stamp..][..STAMP];
        stamp[0] = phase.digit();
        let mut rest = number;
        for digit in stamp[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        body.freeze()
    }

    /// Phase and number of a received body that is this payload, or an envelope around it, byte by byte; `None` for anything else.
    pub fn read(&self, body: &[u8]) -> Option<(Phase, u64)> {
        let at = if body.starts_with(HEAD) && body.len() == self.payload.len() { 0 } else { find(body, HEAD)? };
        let (expected, given) = (&self.payload, body.get(at..)?.get(..self.payload.len())?);
        let stamp_end = HEAD.len() + STAMP;
        if given[stamp_end..] != expected[stamp_end..] {
            return None;
        }
        let (phase, digits) = given[HEAD.len()..stamp_end].split_first()?;
        let number = digits.iter().try_fold(0u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))?;
        Some((Phase::from_digit(*phase)?, number))
    }
}

/// A payload of so many bytes (at least 48).
fn bare(size: usize) -> Vec<u8> {
    let pad = size.saturating_sub(HEAD.len() + STAMP + MIDDLE.len() + TAIL.len());
    let mut payload = HEAD.to_vec();
    payload.extend_from_slice(&[b'0'; STAMP]);
    payload.extend_from_slice(MIDDLE);
    payload.extend((0..pad).map(|n| b'a' + (n % 26) as u8));
    payload.extend_from_slice(TAIL);
    payload
}

fn find(body: &[u8], part: &[u8]) -> Option<usize> {
    body.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn payloads_are_json_of_the_asked_size() {
        for size in [48, 300, 5_000] {
            let body = Template::bare(size).make(Phase::Main, 42);
            assert_eq!(body.len(), size);
            let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(value["bench"], "30000000042");
        }
        let event: serde_json::Value = serde_json::from_slice(&Template::event("bench.g7", 300).make(Phase::Warmup, 9)).expect("JSON");
        assert_eq!((&event["event_type"], &event["payload"]["bench"]), (&"bench.g7".into(), &"10000000009".into()));
    }

    #[test]
    fn a_push_is_the_same_payload_in_text_and_in_binary() {
        let expected = Template::bare(300).make(Phase::Main, 42);
        let text: serde_json::Value = serde_json::from_slice(&Template::pushed("ns", "bench.g7", 300).make(Phase::Main, 42)).expect("JSON");
        assert_eq!(
            (&text["namespace"], &text["event"], &text["payload"]["bench"]),
            (&"ns".into(), &"bench.g7".into(), &"30000000042".into())
        );
        let frame = Template::called("00000000000", "bench.g7", 300).make(Phase::Main, 42);
        let (head, message) = frame.split_at(5);
        assert_eq!(head, [&[0][..], &u32::try_from(message.len()).expect("a length").to_be_bytes()].concat());
        let request = PushEventRequest::decode_from_slice(message).expect("a message");
        assert_eq!((&*request.namespace, &*request.event, request.payload.json()), ("00000000000", "bench.g7", &expected));
    }

    #[test]
    fn an_envelope_is_looked_through() {
        let template = Template::bare(300);
        let body = template.make(Phase::Direct, 7);
        let envelope = [b"{\"event\":{\"bench\":1},\"payload\":", &body[..], b",\"content\":null}"].concat();
        assert_eq!(template.read(&envelope), Some((Phase::Direct, 7)));
        assert_eq!(Template::event("x", 300).read(&envelope), Some((Phase::Direct, 7)));
    }

    proptest! {
        #[test]
        fn what_was_made_is_read(size in 48usize..400, number in 0u64..10_000_000_000) {
            let template = Template::bare(size);
            prop_assert_eq!(template.read(&template.make(Phase::Backlog, number)), Some((Phase::Backlog, number)));
        }

        #[test]
        fn a_changed_byte_is_not_taken_for_the_same_event(at in 0usize..300, bit in 0u8..8) {
            let template = Template::bare(300);
            let mut body = template.make(Phase::Main, 5).to_vec();
            body[at] ^= 1 << bit;
            prop_assert_ne!(template.read(&body), Some((Phase::Main, 5)));
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(body: Vec<u8>) {
            Template::bare(48).read(&body);
        }
    }
}
