//! `POST /v1/delivery/events/batch`: many events in one request and one commit, each with a result of its own.

use super::events::{self, Accepted};
use super::gate::Tenant;
use super::once::Fresh;
use crate::http::{App, Detail, Problem, body, json};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, StatusCode};
use postrider_engine::Receipt;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The path.
pub(super) const PATH: &str = "/v1/delivery/events/batch";

/// Most events of a batch: a commit of some tens of milliseconds, during which other publishers wait.
pub(crate) const MAX_EVENTS: usize = 1_000;

/// What became of one event.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Accepted {
        status: u16,
        #[serde(flatten)]
        accepted: Accepted<'a>,
    },
    Rejected {
        status: u16,
        code: &'static str,
        message: &'a str,
        details: &'a [Detail],
    },
}

#[derive(Serialize)]
struct Answer<'a> {
    /// Events that are stored now and were not before.
    accepted: usize,
    /// Events whose `dedup_key` was there already.
    duplicates: usize,
    /// Events that are not stored, for something is wrong with them.
    rejected: usize,
    /// In the order of the request.
    results: Vec<Entry<'a>>,
}

/// Answers 200 once every event that is right is on disk with its deliveries. Where the store takes none of them, the request fails as a whole.
pub(super) async fn publish(State(app): State<Arc<App>>, Tenant(namespace): Tenant, request: Request<Body>) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let form = Form::of(&parts.headers)?;
    let body = app.read_body(&parts.headers, body).await?;
    let mut right = Vec::new();
    // Of each event its key, or what is wrong with it.
    let mut read = Vec::new();
    let fresh = Fresh::of(&parts.extensions);
    for (n, event) in form.split(&body)?.into_iter().enumerate() {
        read.push(events::parse(event, namespace.clone()).map(|mut event| {
            let key = event.idempotency_key.clone();
            event.idempotency_key = key.clone().or_else(|| fresh.dedup_key(n));
            right.push(event);
            key
        }));
    }
    let receipts = app.engine.publish_all(right).await?;
    let keys = read.iter().filter_map(|event| event.as_ref().ok());
    let duplicates = receipts.iter().zip(keys).filter(|(receipt, key)| receipt.duplicate && key.is_some()).count();
    let mut stored = receipts.iter();
    let results: Vec<_> = read.iter().filter_map(|event| result(event, &mut stored)).collect();
    let rejected = results.len() - receipts.len();
    Ok(json(StatusCode::OK, &Answer { accepted: receipts.len() - duplicates, duplicates, rejected, results }))
}

fn result<'a>(event: &'a Result<Option<String>, Problem>, stored: &mut std::slice::Iter<'_, Receipt>) -> Option<Entry<'a>> {
    match event {
        Ok(key) => stored.next().map(|receipt| Entry::Accepted { status: 202, accepted: Accepted::new(receipt, key.as_deref()) }),
        Err(problem) => {
            let Problem { status, code, message, details, .. } = problem;
            Some(Entry::Rejected { status: status.as_u16(), code, message, details })
        }
    }
}

/// How the events of a batch are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A JSON array of objects.
    Array,
    /// An object per line.
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let media = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if matches!(media.as_str(), "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines") {
            return Ok(Form::Lines);
        }
        if body::is_json(headers) { Ok(Form::Array) } else { Err(Problem::media_type("application/json or application/x-ndjson")) }
    }

    /// The events, unread. Empty lines are nobody's event.
    fn split(self, body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
        let whole = |message: String| Problem::validation(vec![Detail { path: String::new(), message }]);
        let events: Vec<&[u8]> = match self {
            Form::Lines => body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect(),
            Form::Array => {
                crate::http::json::check(body).map_err(|problem| whole(problem.message))?;
                let read = serde_json::from_slice::<Vec<&RawValue>>(body);
                let values = read.map_err(|_| {
                    whole(String::from("the body must be a JSON array of events, or an event per line as application/x-ndjson"))
                })?;
                values.into_iter().map(|value| value.get().as_bytes()).collect()
            }
        };
        match events.len() {
            1..=MAX_EVENTS => Ok(events),
            0 => Err(whole(String::from("the batch holds no event"))),
            many => Err(whole(format!("the batch holds {many} events, at most {MAX_EVENTS} are taken at a time"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn form(media: &'static str) -> Option<Form> {
        Form::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))])).ok()
    }

    #[test]
    fn the_media_type_decides_the_form() {
        assert_eq!(form("application/json"), Some(Form::Array));
        assert_eq!(form("Application/X-NDJSON; charset=utf-8"), Some(Form::Lines));
        assert_eq!(form("text/plain"), None);
    }

    #[test]
    fn batches_are_split_and_bounded() {
        let lines = Form::Lines.split(b"{\"a\":1}\r\n\n  {\"b\": 2}  \nnonsense").expect("lines");
        assert_eq!(lines, [&b"{\"a\":1}"[..], b"{\"b\": 2}", b"nonsense"]);
        assert_eq!(Form::Array.split(b"[{\"a\":1}, 3]").expect("an array"), [&b"{\"a\":1}"[..], b"3"]);
        for (form, body) in [(Form::Lines, &b" \n"[..]), (Form::Array, b"[]"), (Form::Array, b"{}"), (Form::Array, b"[1")] {
            let problem = form.split(body).expect_err("no batch");
            assert_eq!((problem.code, problem.details.len()), ("validation_error", 1));
        }
        let many = "1\n".repeat(MAX_EVENTS + 1);
        assert!(Form::Lines.split(many.as_bytes()).expect_err("too many").message.contains("at most 1000"));
        assert_eq!(Form::Lines.split(&many.as_bytes()[2..]).map(|events| events.len()), Ok(MAX_EVENTS));
    }
}
