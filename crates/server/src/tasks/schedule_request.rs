//! What a client says about a scheduled webhook, checked.

use crate::http::Problem;
use crate::http::json::{self, Field, Fields, clip};
use bytes::Bytes;
use postrider_core::recurrence::Recurrence;
use postrider_core::time::Timestamp;

const FIELDS: [&str; 4] = ["subscription_id", "payload", "scheduled_for", "recurrence"];

/// The fields of `POST /scheduled`, but for what only the server's state can judge.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) subscription_id: String,
    pub(super) payload: Bytes,
    pub(super) scheduled_for: Timestamp,
    pub(super) recurrence: Recurrence,
}

impl Request {
    /// From a JSON body. The payload is a string that holds JSON, or any other JSON value, whose bytes are kept as they are.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Problem> {
        let fields = Fields::parse(body, &FIELDS)?;
        let payload = match fields.raw("payload") {
            Field::Value(raw) if raw.starts_with('"') => Bytes::from(fields.required_text("payload")?),
            Field::Value(raw) => Bytes::copy_from_slice(raw.as_bytes()),
            Field::Null | Field::Absent => return Err(missing("payload")),
        };
        let text = |name| fields.text(name).and_then(|field| field.value().ok_or_else(|| missing(name)));
        let recurrence = fields.text("recurrence")?.value();
        Request::new(text("subscription_id")?, payload, &text("scheduled_for")?, recurrence.as_deref())
    }

    /// From a form.
    pub(super) fn from_form(body: &[u8]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_bytes(body).map_err(|e| Problem::bad_request(format!("the form cannot be read: {e}")))?;
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !FIELDS.contains(&name.as_str())) {
            return Err(Problem::bad_request(format!("unknown field {:?}; known fields: {}", clip(name), FIELDS.join(", "))));
        }
        if let Some(name) = FIELDS.iter().find(|field| pairs.iter().filter(|(name, _)| name == *field).count() > 1) {
            return Err(Problem::bad_request(format!("the field {name:?} is there twice")));
        }
        let take = |name: &'static str| pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let text = |name| take(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name));
        let recurrence = take("recurrence").filter(|value| !value.is_empty());
        Request::new(text("subscription_id")?, Bytes::from(text("payload")?), &text("scheduled_for")?, recurrence.as_deref())
    }

    fn new(subscription_id: String, payload: Bytes, scheduled_for: &str, recurrence: Option<&str>) -> Result<Self, Problem> {
        json::check(&payload).map_err(|problem| Problem::bad_request(problem.message.replacen("the body", "payload", 1)))?;
        let scheduled_for = parse_time(scheduled_for).ok_or_else(|| {
            Problem::bad_request(
                "scheduled_for must be a time such as 2030-01-31T09:00:00Z or 2030-01-31T09:00:00+02:00, or 2030-01-31T09:00 in UTC",
            )
        })?;
        let recurrence = match recurrence {
            None => Recurrence::None,
            Some(word) => Recurrence::parse(word)
                .ok_or_else(|| Problem::bad_request(format!("recurrence must be none, daily, weekly or monthly, not {:?}", clip(word))))?,
        };
        Ok(Request { subscription_id, payload, scheduled_for, recurrence })
    }
}

/// RFC 3339 with an offset, or `YYYY-MM-DDTHH:MM` with or without seconds, taken as UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let utc = || match text.len() {
        16 => Timestamp::parse_rfc3339(&format!("{text}:00Z")),
        19 => Timestamp::parse_rfc3339(&format!("{text}Z")),
        _ => None,
    };
    Timestamp::parse_rfc3339(text).or_else(utc)
}

fn missing(name: &str) -> Problem {
    Problem::bad_request(format!("the field {name:?} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_offset() {
        let nine = Timestamp::parse_rfc3339("2030-01-31T09:00:00Z");
        for text in ["2030-01-31T09:00:00Z", "2030-01-31T09:00", "2030-01-31T09:00:00", "2030-01-31T11:00:00+02:00", "2030-01-31T09:00Z"] {
            assert_eq!(parse_time(text), nine, "{text}");
        }
        for text in ["", "tomorrow", "2030-01-31", "2030-02-31T09:00", "2030-13-01T09:00:00Z", "1900000000"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn payloads_keep_their_bytes() {
        let read = |payload: &str| {
            let body = format!(r#"{{"subscription_id": "s", "scheduled_for": "2030-01-31T09:00", "payload": {payload}}}"#);
            Request::from_json(body.as_bytes()).map(|r| String::from_utf8_lossy(&r.payload).into_owned())
        };
        assert_eq!(read(r#"{"b":  1.0, "a":2}"#), Ok(String::from(r#"{"b":  1.0, "a":2}"#)));
        assert_eq!(read(r#""{\"a\": 1}""#), Ok(String::from(r#"{"a": 1}"#)));
        assert_eq!(read("[1, 2]"), Ok(String::from("[1, 2]")));
        for bad in [r#""not JSON""#, r#""""#, "null"] {
            assert!(read(bad).expect_err(bad).message.contains("payload"), "{bad}");
        }
    }

    #[test]
    fn forms_read_the_same() {
        let form = b"subscription_id=s&payload=%7B%22a%22%3A1%7D&scheduled_for=2030-01-31T09%3A00&recurrence=weekly";
        let json = br#"{"subscription_id": "s", "payload": {"a":1}, "scheduled_for": "2030-01-31T09:00:00Z", "recurrence": "weekly"}"#;
        assert_eq!(Request::from_form(form), Request::from_json(json));
        assert!(Request::from_form(b"payload=1").expect_err("missing").message.contains("subscription_id"));
        assert!(Request::from_form(b"payload=1&payload=2").expect_err("twice").message.contains("twice"));
        assert!(Request::from_form(b"color=red").expect_err("unknown").message.contains("color"));
    }
}
