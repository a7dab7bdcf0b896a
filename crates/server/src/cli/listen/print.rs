//! A received request as text for people and as JSON for programs.

use crate::receiver::{Received, Reply, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How much of a body is shown to people unless everything is asked for, in bytes.
pub const SHOWN_BYTES: usize = 2 << 10;

/// The request for people: one line, one for each signature, the body.
pub fn text(request: &Received, full: bool) -> String {
    let mut out = String::new();
    let clock = request.at.rfc3339(3);
    let time = clock.get(11..23).unwrap_or(&clock);
    // Writing into a String cannot fail.
    let _ = write!(out, "{time} {} {}  {} B", request.method, request.path, request.body.len());
    if let Some(event) = request.event_type() {
        let _ = write!(out, "  {event}");
    }
    if let Some(delivery) = request.delivery_id() {
        let _ = write!(out, "  delivery {delivery}");
    }
    if let Some(attempt) = request.attempt() {
        let _ = write!(out, "  attempt {attempt}");
    }
    let _ = write!(out, "  -> {}", request.reply);
    if let Some(passed) = &request.passed {
        let _ = match &passed.error {
            None => write!(out, " in {} ms, passed on", passed.took.as_millis()),
            Some(why) => write!(out, ", NOT PASSED ON: {why}"),
        };
    }
    if request.duplicate {
        out.push_str("  DUPLICATE: this id was answered with success before");
    }
    out.push('\n');
    for finding in &request.signatures {
        let _ = write!(out, "  {} ({}): ", finding.header, finding.scheme);
        let _ = match finding.verdict {
            Verdict::Ok => writeln!(out, "ok"),
            Verdict::Bad(why) => writeln!(out, "BAD, {why}"),
            Verdict::NotChecked(why) => writeln!(out, "not checked, {why}"),
        };
    }
    if request.signatures.is_empty() {
        out.push_str("  not signed\n");
    }
    body(&mut out, &request.body, full);
    out
}

fn body(out: &mut String, body: &[u8], full: bool) {
    let pretty = serde_json::from_slice::<&RawValue>(body).ok().and_then(|raw| indented(raw.get()));
    let shown = pretty.map_or_else(|| String::from_utf8_lossy(body), std::borrow::Cow::Owned);
    let longest = if full { shown.len() } else { shown.len().min(SHOWN_BYTES) };
    let cut = (0..=longest).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
    for line in shown[..cut].lines() {
        out.push_str("  ");
        // Control characters would let a sender write to the terminal.
        out.extend(line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }));
        out.push('\n');
    }
    if cut < shown.len() {
        let _ = writeln!(out, "  … {} more bytes, see --full", shown.len() - cut);
    }
}

/// JSON with line breaks, its members in their order and its numbers as they were written.
pub fn indented(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if in_text {
            out.push(c);
            (in_text, escaped) = if escaped { (true, false) } else { (c != '"', c == '\\') };
            continue;
        }
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line_break(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.checked_sub(1)?;
                line_break(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line_break(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    Some(out)
}

fn line_break(out: &mut String, depth: usize) {
    out.push('\n');
    // Deep nesting must not make the output quadratic.
    out.extend(std::iter::repeat_n("  ", depth.min(40)));
}

#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    time: String,
    method: &'a str,
    path: &'a str,
    event_type: Option<&'a str>,
    event_id: Option<&'a str>,
    delivery_id: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    attempt: Option<u32>,
    bytes: usize,
    duplicate: bool,
    /// What was decided: `answer`, `stall` or `reset`.
    reply: &'static str,
    /// The status, where there was an answer.
    status: Option<u16>,
    /// How long it took to pass the request on, where that was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_ms: Option<u64>,
    /// Why it could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_error: Option<&'a str>,
    signatures: Vec<Signature<'a>>,
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// In place of `body` where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize)]
struct Signature<'a> {
    header: &'a str,
    scheme: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The request for programs: one line of JSON. `body` is the text exactly as it came.
pub fn json(request: &Received) -> Result<String, serde_json::Error> {
    let signatures = request.signatures.iter().map(|finding| Signature {
        header: finding.header,
        scheme: finding.scheme,
        verdict: finding.verdict.as_str(),
        reason: match finding.verdict {
            Verdict::Ok => None,
            Verdict::Bad(why) => Some(why.to_string()),
            Verdict::NotChecked(why) => Some(why.to_string()),
        },
    });
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &request.headers {
        let all = headers.entry(name.as_str()).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    let body = std::str::from_utf8(&request.body).ok();
    let (reply, status) = match request.reply {
        Reply::Status(status) => ("answer", Some(status.as_u16())),
        Reply::Stall => ("stall", None),
        Reply::Reset => ("reset", None),
    };
    serde_json::to_string(&Line {
        number: request.number,
        time: request.at.rfc3339(6),
        method: request.method.as_str(),
        path: &request.path,
        event_type: request.event_type(),
        event_id: request.event_id(),
        delivery_id: request.delivery_id(),
        idempotency_key: request.header("idempotency-key"),
        attempt: request.attempt(),
        bytes: request.body.len(),
        duplicate: request.duplicate,
        reply,
        status,
        passed_ms: request.passed.as_ref().map(|passed| u64::try_from(passed.took.as_millis()).unwrap_or(u64::MAX)),
        passed_error: request.passed.as_ref().and_then(|passed| passed.error.as_deref()),
        signatures: signatures.collect(),
        headers,
        body,
        body_base64: body.is_none().then(|| STANDARD.encode(&request.body)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::Finding;
    use http::{HeaderMap, HeaderName, Method, StatusCode};
    use postrider_core::sign::BadSignature;
    use postrider_core::time::Timestamp;

    fn request(body: &[u8]) -> Received {
        let headers = [
            ("x-postrider-event", "order.created"),
            ("x-postrider-delivery-id", "d-1"),
            ("x-postrider-attempt", "2"),
            ("idempotency-key", "k"),
            ("accept", "a"),
            ("accept", "b"),
        ];
        let headers: HeaderMap = headers.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().expect("a value"))).collect();
        let finding = |verdict| Finding { header: "x-hub-signature-256", scheme: "hub", verdict };
        Received {
            number: 4,
            at: Timestamp::from_micros(1_747_051_200_123_456),
            method: Method::POST,
            path: "/hooks?a=b".into(),
            headers,
            body: body.to_vec().into(),
            signatures: vec![finding(Verdict::Ok), finding(Verdict::Bad(BadSignature::Mismatch)), finding(Verdict::NotChecked("why"))],
            duplicate: true,
            reply: Reply::Status(StatusCode::OK),
            passed: None,
        }
    }

    #[test]
    fn people_see_everything_that_matters() {
        let text = text(&request(br#"{"b":[1.50,{}],"a":"x\"}"}"#), false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("12:00:00.123 POST /hooks?a=b  26 B  order.created  delivery d-1  attempt 2  -> 200  DUPLICATE"),
            "{text}"
        );
        assert_eq!(lines[1], "  x-hub-signature-256 (hub): ok");
        assert!(lines[2].starts_with("  x-hub-signature-256 (hub): BAD, "), "{text}");
        assert_eq!(lines[3], "  x-hub-signature-256 (hub): not checked, why");
        assert_eq!(lines[4..], ["  {", "    \"b\": [", "      1.50,", "      {}", "    ],", "    \"a\": \"x\\\"}\"", "  }"]);
    }

    #[test]
    fn long_bodies_are_cut_at_a_character_and_control_characters_hidden() {
        let long = "é".repeat(SHOWN_BYTES);
        let cut = text(&request(format!("x{long}").as_bytes()), false);
        assert!(cut.contains("… 2050 more bytes"), "{cut}");
        assert!(text(&request(long.as_bytes()), true).contains(&long));
        assert!(!text(&request(b"\x1b[2J not json"), false).contains('\x1b'));
    }

    #[test]
    fn programs_get_one_line_with_the_exact_body() {
        let body = "{ \"a\" : 1.50,\n \"ü\":2}";
        let line = json(&request(body.as_bytes())).expect("JSON");
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["body"], body);
        assert_eq!((&value["event_type"], &value["attempt"], &value["status"]), (&"order.created".into(), &2.into(), &200.into()));
        assert_eq!((&value["signatures"][0]["verdict"], &value["signatures"][1]["verdict"]), (&"ok".into(), &"bad".into()));
        assert_eq!((&value["headers"]["accept"], &value["duplicate"]), (&"a, b".into(), &true.into()));
        assert_eq!(value["time"], "2025-05-12T12:00:00.123456Z");
        let binary: serde_json::Value = serde_json::from_str(&json(&request(&[0xff])).expect("JSON")).expect("JSON");
        assert_eq!((&binary["body_base64"], binary.get("body")), (&"/w==".into(), None));
    }
}
