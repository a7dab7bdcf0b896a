use super::*;
use crate::ports::{Phase, Response};
use Origin::{Items, Rpc, Tasks};
use std::collections::BTreeMap;

fn answered(status: u16, retry_after: Option<Duration>) -> Exchange {
    let response = Response { status, retry_after, head: HeadBlock::default(), body: Bytes::new(), truncated: false };
    Exchange { result: Ok(response), phases: Phases::default() }
}

fn failed(kind: FaultKind) -> Exchange {
    Exchange { result: Err(Fault { kind, message: "it broke".into() }), phases: Phases::default() }
}

const WAIT: Duration = Duration::from_secs(120);

/// A verdict as a word, its code, and what it does with a `Retry-After` of 120 s.
fn row(verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Success => return "success".into(),
        Verdict::Retry { free: true, .. } => "free",
        Verdict::Retry { retry_after: Some(WAIT), .. } => "wait",
        Verdict::Retry { retry_after: None, .. } => "retry",
        Verdict::Retry { .. } => "another wait",
        Verdict::Permanent { disable: true, .. } => "disable",
        Verdict::Permanent { .. } => "permanent",
    };
    format!("{word} {}", verdict.code().map_or("", ErrorCode::as_str))
}

/// What the three APIs make of every status there is: exceptions first, then the rule for its hundred.
fn expected(origin: Origin, status: u16) -> &'static str {
    let exceptions: BTreeMap<u16, [&str; 3]> = [
        (401, ["retry auth_failed", "disable auth_failed", "permanent auth_failed"]),
        (403, ["retry auth_failed", "disable auth_failed", "permanent auth_failed"]),
        (408, ["retry connector_4xx", "wait connector_4xx", "permanent connector_4xx"]),
        (410, ["disable endpoint_gone", "disable endpoint_gone", "disable endpoint_gone"]),
        (425, ["retry connector_4xx", "wait connector_4xx", "permanent connector_4xx"]),
        (429, ["wait rate_limited", "wait rate_limited", "free rate_limited"]),
        (503, ["wait connector_5xx", "wait connector_5xx", "wait connector_5xx"]),
    ]
    .into();
    let rule = match status / 100 {
        2 => ["success", "success", "success"],
        3 => ["retry redirect_blocked", "retry redirect_blocked", "permanent unexpected_status"],
        4 => ["retry connector_4xx", "permanent connector_4xx", "permanent connector_4xx"],
        5 => ["retry connector_5xx", "retry connector_5xx", "retry connector_5xx"],
        _ => ["retry unexpected_status", "permanent unexpected_status", "permanent unexpected_status"],
    };
    exceptions.get(&status).unwrap_or(&rule)[origin_index(origin)]
}

fn origin_index(origin: Origin) -> usize {
    match origin {
        Tasks => 0,
        Items => 1,
        Rpc => 2,
    }
}

#[test]
fn every_status_by_every_api() {
    for origin in [Tasks, Items, Rpc] {
        for status in 100..=999 {
            assert_eq!(row(judge(origin, &[], &answered(status, Some(WAIT)))), expected(origin, status), "{origin:?} {status}");
        }
    }
}

#[test]
fn an_rpc_endpoint_says_what_it_expects() {
    let judged = |origin, status| row(judge(origin, &[200, 404, 410, 503], &answered(status, Some(WAIT))));
    for status in [200, 404, 410, 503] {
        assert_eq!(judged(Rpc, status), "success", "{status}");
    }
    for status in [201, 204, 299] {
        assert_eq!(judged(Rpc, status), "permanent unexpected_status", "{status}");
    }
    for status in [302, 401, 403, 429, 500] {
        assert_eq!(judged(Rpc, status), expected(Rpc, status), "{status}");
    }
    // Elsewhere the rules are the API's own.
    for origin in [Tasks, Items] {
        for status in [200, 201, 404, 410, 503] {
            assert_eq!(judged(origin, status), expected(origin, status), "{origin:?} {status}");
        }
    }
}

#[test]
fn every_fault_by_every_api() {
    let table = [
        (FaultKind::Dns, ["retry dns_error", "retry dns_error", "permanent dns_error"]),
        (FaultKind::Refused, ["retry connection_refused", "retry connection_error", "retry connection_refused"]),
        (FaultKind::Reset, ["retry connection_error", "retry connection_error", "retry connection_error"]),
        (FaultKind::Unreachable, ["retry connection_error", "retry connection_error", "retry connection_error"]),
        (FaultKind::Tls, ["retry tls_error", "retry tls_error", "permanent tls_error"]),
        (FaultKind::Timeout(Phase::Body), ["retry delivery_timeout", "retry delivery_timeout", "retry delivery_timeout"]),
        (FaultKind::Timeout(Phase::Dns), ["retry delivery_timeout", "retry delivery_timeout", "retry delivery_timeout"]),
        (FaultKind::Blocked, ["retry ssrf_blocked", "disable ssrf_blocked", "permanent ssrf_blocked"]),
        (FaultKind::Protocol, ["retry protocol_error", "retry protocol_error", "permanent protocol_error"]),
        (FaultKind::Withheld, ["retry interrupted", "retry interrupted", "retry interrupted"]),
    ];
    for (kind, row_of) in table {
        for origin in [Tasks, Items, Rpc] {
            assert_eq!(row(judge(origin, &[], &failed(kind))), row_of[origin_index(origin)], "{origin:?} {kind:?}");
        }
    }
}

#[test]
fn retry_after_is_capped_and_may_be_missing() {
    for origin in [Tasks, Items, Rpc] {
        for status in [429, 503] {
            let asked = |wait| match judge(origin, &[], &answered(status, wait)) {
                Verdict::Retry { retry_after, .. } => retry_after,
                other => panic!("{other:?}"),
            };
            // Where it costs no attempt nobody waits for longer than a quarter of an hour.
            let most = if (origin, status) == (Rpc, 429) { MAX_FREE_WAIT } else { MAX_RETRY_AFTER };
            assert_eq!([Duration::MAX, most].map(|wait| asked(Some(wait))), [Some(most); 2]);
            assert_eq!(asked(Some(most - Duration::from_nanos(1))), Some(most - Duration::from_nanos(1)));
            assert_eq!(asked(None), None);
        }
    }
}

#[test]
fn an_outcomes_category_follows_from_its_code() {
    let error = |code| AttemptError { code, message: String::new() };
    let outcome = Outcome {
        finished_at: Timestamp::from_secs(0),
        http_status: None,
        error: None,
        phases: Phases::default(),
        request_body: None,
        request_truncated: false,
        response_body: Bytes::new(),
        response_truncated: false,
        response_headers: None,
    };
    assert_eq!(outcome.category(), Category::Success);
    let failed = Outcome { error: Some(error(ErrorCode::DeliveryTimeout)), ..outcome };
    assert_eq!(failed.category(), Category::Timeout);
}

#[test]
fn a_success_has_no_code() {
    assert_eq!(Verdict::Success.code(), None);
}

#[test]
fn an_exchange_is_all_but_connecting() {
    let phases = Phases { dns: Some(1), tcp: Some(20), tls: Some(300), first_byte: Some(1_000), total: 4_321 };
    assert_eq!(phases.exchange(), 4_000);
    assert_eq!(Phases { dns: None, tls: None, ..phases }.exchange(), 4_301);
    assert_eq!(Phases { total: 5, ..Phases::default() }.exchange(), 5, "over a connection that was there");
    assert_eq!(Phases { tcp: Some(10), tls: Some(u32::MAX), total: 9, ..Phases::default() }.exchange(), 0, "never connected");
}
