use super::*;
use std::collections::BTreeSet;

#[test]
fn texts_are_unique_and_of_one_form() {
    let texts: BTreeSet<&str> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(texts.len(), ErrorCode::ALL.len());
    for text in texts {
        assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{text}");
    }
}

#[test]
fn codes_round_trip_through_text_and_json() {
    for code in ErrorCode::ALL.iter().copied() {
        assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        assert_eq!(code.to_string(), code.as_str());
        let json = serde_json::to_string(&code).expect("json");
        assert_eq!(json, format!("\"{code}\""));
        assert_eq!(serde_json::from_str::<ErrorCode>(&json).expect("a code"), code);
    }
    for other in ["", "Expired", "expired ", "no_such_code"] {
        assert_eq!(ErrorCode::parse(other), None, "{other:?}");
    }
}

/// Codes are stored and documented: one that is renamed or removed orphans both. Add new ones here.
#[test]
fn no_text_ever_changes() {
    let expected = "connector_4xx connector_5xx rate_limited auth_failed endpoint_gone redirect_blocked unexpected_status \
        delivery_timeout dns_error connection_refused connection_error tls_error ssrf_blocked protocol_error interrupted expired \
        subscription_deleted endpoint_deleted destination_disabled secret_unreadable payload_too_large serialization_failed template_error consecutive_failures \
        cancelled_by_hand";
    let actual: Vec<&str> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
    for text in expected.split_whitespace() {
        assert!(actual.contains(&text), "{text} is gone");
    }
}

/// The nine words of the RPC contract, in its order.
#[test]
fn categories_are_those_of_the_contract() {
    let words =
        ["success", "client_error", "server_error", "timeout", "connection_refused", "network_error", "dns_error", "tls_error", "unknown"];
    assert_eq!(Category::ALL.iter().map(|c| c.to_string()).collect::<Vec<_>>(), words);
    for category in Category::ALL.iter().copied() {
        assert_eq!(Category::parse(category.as_str()), Some(category));
    }
    for other in ["", "Timeout", "timeout ", "rate_limited"] {
        assert_eq!(Category::parse(other), None, "{other:?}");
    }
}

#[test]
fn every_code_has_its_category() {
    let table = [
        ("client_error", "connector_4xx rate_limited auth_failed endpoint_gone"),
        ("server_error", "connector_5xx"),
        ("timeout", "delivery_timeout"),
        ("connection_refused", "connection_refused"),
        ("network_error", "connection_error"),
        ("dns_error", "dns_error"),
        ("tls_error", "tls_error"),
        (
            "unknown",
            "redirect_blocked unexpected_status ssrf_blocked protocol_error interrupted expired subscription_deleted endpoint_deleted \
             destination_disabled secret_unreadable payload_too_large serialization_failed template_error consecutive_failures \
             cancelled_by_hand",
        ),
    ];
    let mut seen = 0;
    for (category, codes) in table {
        for code in codes.split_whitespace() {
            assert_eq!(ErrorCode::parse(code).expect("a code").category().as_str(), category, "{code}");
            seen += 1;
        }
    }
    assert_eq!(seen, ErrorCode::ALL.len(), "a code is missing here");
}
