//! An exchange with a receiver as text: what came of it, how long its parts took, what was sent and answered.

use super::body::{Bodies, body, headers};
use super::text::{counted, took};
use super::{Output, Tone, clean};
use postrider_proto::v1;
use std::fmt::Write;

/// How many places a waterfall has.
const PLACES: usize = 40;

/// How exchanges are shown.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct How {
    /// How much of payloads and bodies to show.
    #[arg(long, value_name = "HOW", default_value = "short")]
    pub bodies: Bodies,
    /// Draw with ASCII only.
    #[arg(long)]
    pub ascii: bool,
}

/// An exchange. Writing into a String cannot fail.
pub fn attempt(out: &Output, attempt: &v1::AttemptStory, how: How) -> String {
    let (word, tone) = outcome(attempt);
    let at = out.exact_time(attempt.started_at.as_option());
    let mut text = format!("attempt {}  {}  {at}\n", attempt.number, out.paint(tone, &word));
    let _ = writeln!(text, "  {} {}", clean(&attempt.method), clean(&attempt.url));
    if !attempt.error_code.is_empty() {
        let _ = writeln!(text, "  {}: {}", out.paint(Tone::Bad, &clean(&attempt.error_code)), clean(&attempt.error_message));
    }
    if let Some(seconds) = attempt.retry_after_seconds {
        let _ = writeln!(text, "  the receiver asked to wait {} before the next one", took(seconds * 1_000.0));
    }
    if let Some(phases) = attempt.phases.as_option().filter(|phases| phases.total > 0.0) {
        text.push_str(&waterfall(out, phases, how.ascii));
    }
    for signature in &attempt.signatures {
        text.push_str(&signed(signature));
    }
    if how.bodies != Bodies::None {
        exchanged(out, attempt, how.bodies, &mut text);
    }
    text
}

/// What came of it, in a few words.
fn outcome(attempt: &v1::AttemptStory) -> (String, Tone) {
    let took = attempt.phases.as_option().map_or_else(String::new, |phases| format!(" in {}", took(phases.total)));
    match (attempt.category.as_str(), attempt.http_status) {
        ("", _) => (String::from("under way"), Tone::Warn),
        ("success", status) => (format!("{status}{took}"), Tone::Good),
        (category, 0) => (format!("{}{took}", clean(category).replace('_', " ")), Tone::Bad),
        (category, status) => (format!("{status} {}{took}", clean(category).replace('_', " ")), Tone::Bad),
    }
}

fn exchanged(out: &Output, attempt: &v1::AttemptStory, bodies: Bodies, text: &mut String) {
    let note =
        if attempt.request_headers_changed { ", with the headers that the endpoint would be sent now: it was changed since" } else { "" };
    let _ = writeln!(text, "  request{note}");
    text.push_str(&headers(out, &attempt.request_headers, "    "));
    if let Some(content) = attempt.request_body.as_option() {
        text.push_str(&body(out, content, bodies, "    "));
    }
    if attempt.http_status != 0 {
        text.push_str("  response\n");
        text.push_str(&headers(out, &attempt.response_headers, "    "));
        if let Some(content) = attempt.response_body.as_option() {
            text.push_str(&body(out, content, bodies, "    "));
        }
    }
}

/// How it was signed, and how a receiver checks that.
fn signed(signature: &v1::Signature) -> String {
    let by = match signature.secrets {
        0 | 1 => String::new(),
        many => format!(", by {}, while a rotation overlaps", counted(i64::from(many), "secret", "secrets")),
    };
    let carried = signature.headers.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ");
    format!("  signed: {}, {} of {}, in {carried}{by}\n", clean(&signature.scheme), clean(&signature.algorithm), clean(&signature.signed))
}

/// The parts of an exchange as bars on one scale, one after the other.
pub fn waterfall(out: &Output, phases: &v1::Phases, ascii: bool) -> String {
    let parts = [("dns", phases.dns), ("tcp", phases.tcp), ("tls", phases.tls), ("first byte", phases.first_byte)];
    let known: f64 = parts.iter().filter_map(|(_, took)| *took).sum();
    // Beside the parts there is reading the body, and what clocks make of short times.
    let rest = Some(phases.total - known).filter(|rest| *rest > phases.total * 0.005 && *rest > 0.05);
    let whole = phases.total.max(known);
    let (full, empty) = if ascii { ("#", ".") } else { ("█", "·") };
    let (mut text, mut before) = (String::new(), 0.0);
    for (name, part) in parts.into_iter().chain([("rest", rest)]) {
        let Some(part) = part else { continue };
        let (from, until) = places(before, part, whole);
        before += part;
        let bar = [empty.repeat(from), full.repeat(until - from), empty.repeat(PLACES - until)].concat();
        let _ = writeln!(text, "  {name:<11}{}  {:>9}", out.paint(Tone::Dim, &bar), took(part));
    }
    text
}

/// From where to where a part goes; it has one place at least.
fn places(before: f64, part: f64, whole: f64) -> (usize, usize) {
    // Counted, for there is no conversion that says what happens with what does not fit.
    let place = |at: f64| (0..PLACES).filter(|place| (*place as f64 + 0.5) / (PLACES as f64) * whole <= at).count();
    let from = place(before).min(PLACES - 1);
    (from, place(before + part).max(from + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waterfall_is_to_scale() {
        let phases = v1::Phases { dns: Some(10.0), tcp: None, tls: Some(0.0), first_byte: Some(20.0), total: 40.0 };
        let text = waterfall(&Output::plain(false), &phases, true);
        let line = |name: &str, before: usize, bar: usize, took: &str| {
            format!("  {name:<11}{}{}{}  {took:>9}\n", ".".repeat(before), "#".repeat(bar), ".".repeat(PLACES - before - bar))
        };
        let expected =
            [line("dns", 0, 10, "10 ms"), line("tls", 10, 1, "0.0 ms"), line("first byte", 10, 20, "20 ms"), line("rest", 30, 10, "10 ms")];
        assert_eq!(text, expected.concat());
    }

    #[test]
    fn parts_that_are_more_than_the_whole_still_fit() {
        let phases = v1::Phases { dns: Some(30.0), tcp: Some(30.0), tls: None, first_byte: Some(0.0), total: 10.0 };
        for line in waterfall(&Output::plain(false), &phases, false).lines() {
            assert_eq!(line.chars().filter(|c| matches!(c, '█' | '·')).count(), PLACES, "{line}");
        }
    }

    #[test]
    fn an_attempt_is_told_from_its_outcome_to_its_bodies() {
        let content = |text: &str| v1::Content { bytes: text.as_bytes().to_vec(), ..v1::Content::default() };
        let header = |name: &str, masked| v1::Header { name: name.to_owned(), value: String::from("v"), masked };
        let told = attempt(
            &Output::plain(false),
            &v1::AttemptStory {
                number: 2,
                method: String::from("POST"),
                url: String::from("http://h/"),
                http_status: 503,
                category: String::from("server_error"),
                error_code: String::from("connector_5xx"),
                error_message: String::from("the receiver answered 503"),
                phases: v1::Phases { total: 12.0, first_byte: Some(12.0), ..v1::Phases::default() }.into(),
                request_headers: vec![header("webhook-id", false), header("authorization", true)],
                request_body: content("{\"a\":1}").into(),
                response_body: content("busy").into(),
                retry_after_seconds: Some(30.0),
                signatures: vec![v1::Signature {
                    scheme: String::from("Standard Webhooks"),
                    headers: vec![String::from("webhook-signature")],
                    signed: String::from("{webhook-id}.{webhook-timestamp}.{body}"),
                    algorithm: String::from("HMAC-SHA256"),
                    secrets: 2,
                }],
                ..v1::AttemptStory::default()
            },
            How { bodies: Bodies::Short, ascii: true },
        );
        for words in [
            "attempt 2  503 server error in 12 ms",
            "  POST http://h/",
            "  connector_5xx: the receiver answered 503",
            "asked to wait 30.00 s before",
            "  signed: Standard Webhooks, HMAC-SHA256 of {webhook-id}.{webhook-timestamp}.{body}, in webhook-signature, by 2 secrets",
            "    webhook-id: v\n    authorization: v\n    {\n      \"a\": 1\n    }\n",
            "  response\n    busy\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
