//! The JSON form of messages, row by row as the contract of the RPC API lists it (section 3).

use buffa::{Message, MessageField};
use buffa_types::google::protobuf::Timestamp;
use postrider_proto::webhook::{
    EventReport, HealthSummary, ListDeliveriesRequest, ListDeliveriesResponse, ListWebhooksByHealthRequest, NamespaceStats,
    PaginationRequest, PaginationResponse, PushEventRequest, RegisterWebhookRequest, RegisterWebhookResponse, RetryDeliveryResponse,
    UpdateWebhookConfigRequest, WebhookDelivery, WebhookDeliveryStatus, WebhookHTTPConfig, WebhookHealth,
};
use postrider_proto::{Mask, Object};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn read<M: DeserializeOwned>(json: &str) -> M {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

fn refused<M: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
    serde_json::from_str::<M>(json).expect_err(json).to_string()
}

fn written(message: &impl serde::Serialize) -> Value {
    serde_json::to_value(message).expect("it can be written")
}

#[test]
fn names_are_camel_case_out() {
    let delivery = WebhookDelivery {
        delivery_id: String::from("d"),
        response_code: 503,
        next_retry_at: MessageField::some(Timestamp::from_unix_secs(0)),
        ..WebhookDelivery::default()
    };
    assert_eq!(written(&delivery), json!({"deliveryId": "d", "responseCode": 503, "nextRetryAt": "1970-01-01T00:00:00Z"}));
    let config = WebhookHTTPConfig { verify_ssl: Some(false), rate_limit_rps: Some(0.5), ..WebhookHTTPConfig::default() };
    assert_eq!(written(&config), json!({"verifySsl": false, "rateLimitRps": 0.5}));
    // The fields that other servers of the contract do not have.
    let registered = RegisterWebhookResponse { webhook_secret: String::from("whsec_"), ..RegisterWebhookResponse::default() };
    assert_eq!(written(&registered), json!({"webhookSecret": "whsec_"}));
}

#[test]
fn names_are_taken_in_both_spellings_each_by_itself() {
    let expected = ListDeliveriesRequest {
        webhook_id: String::from("w"),
        event_id: String::from("e"),
        prepare_retry: true,
        ..ListDeliveriesRequest::default()
    };
    for json in [
        r#"{"webhook_id": "w", "event_id": "e", "prepare_retry": true}"#,
        r#"{"webhookId": "w", "eventId": "e", "prepareRetry": true}"#,
        r#"{"webhookId": "w", "event_id": "e", "prepareRetry": true}"#,
    ] {
        assert_eq!(read::<ListDeliveriesRequest>(json), expected, "{json}");
    }
}

#[test]
fn what_is_not_known_is_ignored() {
    let request: ListDeliveriesRequest =
        read(r#"{"namespace": "n", "limit": 3, "deep": {"er": [1, {"x": null}]}, "pagination": {"page": 2}}"#);
    let expected = ListDeliveriesRequest {
        namespace: String::from("n"),
        pagination: MessageField::some(PaginationRequest::default()),
        ..ListDeliveriesRequest::default()
    };
    assert_eq!(request, expected);
    // Also in binary: field 90, as a later version of the contract could have it.
    let later = [0xd2, 0x05, 0x01, b'x', 0x0a, 0x01, b'n'];
    assert_eq!(ListDeliveriesRequest::decode_from_slice(&later).map(|r| r.namespace).as_deref(), Ok("n"));
}

#[test]
fn zero_is_left_out_and_a_message_that_is_there_is_not() {
    assert_eq!(written(&WebhookDelivery::default()), json!({}));
    assert_eq!(written(&RetryDeliveryResponse::default()), json!({}));
    let page = PaginationResponse { total_count: 0, limit: 50, offset: 0 };
    let empty = ListDeliveriesResponse { pagination: MessageField::some(page), ..ListDeliveriesResponse::default() };
    assert_eq!(written(&empty), json!({"pagination": {"limit": 50}}));
    let zero = ListDeliveriesResponse { pagination: MessageField::some(PaginationResponse::default()), ..Default::default() };
    assert_eq!(written(&zero), json!({"pagination": {}}));
    assert_eq!(written(&HealthSummary::default()), json!({}));
}

#[test]
fn what_is_not_sent_differs_from_zero_where_that_matters() {
    let config: WebhookHTTPConfig = read(r#"{"max_retries": 0, "verify_ssl": false}"#);
    assert_eq!((config.max_retries, config.verify_ssl), (Some(0), Some(false)));
    assert_eq!((config.follow_redirects, config.request_timeout_seconds, config.rate_limit_rps), (None, None, None));
    assert_eq!(read::<RegisterWebhookRequest>(r#"{"active": false}"#).active, Some(false));
    assert_eq!(read::<RegisterWebhookRequest>("{}").active, None);
    assert_eq!(read::<PushEventRequest>(r#"{"id": ""}"#).id.as_deref(), Some(""));
    assert_eq!(read::<ListDeliveriesRequest>(r#"{"status": null}"#).status, None);
    // The same in binary, and zeros that are set are written.
    let bytes = config.encode_to_vec();
    assert_eq!(WebhookHTTPConfig::decode_from_slice(&bytes), Ok(config.clone()));
    assert_eq!(written(&config), json!({"maxRetries": 0, "verifySsl": false}));
}

#[test]
fn the_timeout_of_older_clients_is_taken() {
    let request: RegisterWebhookRequest = read(r#"{"timeout": 10}"#);
    let expected = RegisterWebhookRequest { timeout: Some(10), ..RegisterWebhookRequest::default() };
    assert_eq!(request, expected);
    assert_eq!(RegisterWebhookRequest::decode_from_slice(&[0x28, 10]), Ok(expected));
}

#[test]
fn enums_are_names_out_and_names_or_numbers_in() {
    let delivery = WebhookDelivery { status: WebhookDeliveryStatus::DELIVERY_SUCCESS.into(), ..WebhookDelivery::default() };
    assert_eq!(written(&delivery), json!({"status": "DELIVERY_SUCCESS"}));
    for json in [r#"{"health": "HEALTH_DEGRADED"}"#, r#"{"health": 2}"#] {
        let request: ListWebhooksByHealthRequest = read(json);
        assert!(request.health == WebhookHealth::HEALTH_DEGRADED, "{json}");
    }
    assert!(refused::<ListWebhooksByHealthRequest>(r#"{"health": "SICK"}"#).contains("SICK"));
}

#[test]
fn numbers_of_64_bits_are_strings_out() {
    let report = EventReport { ttl_seconds: 9_007_199_254_740_993, ..EventReport::default() };
    assert_eq!(written(&report), json!({"ttlSeconds": "9007199254740993"}));
    for json in [r#"{"ttlSeconds": 3600}"#, r#"{"ttl_seconds": "3600"}"#, r#"{"ttl_seconds": 3.6e3}"#] {
        assert_eq!(read::<PushEventRequest>(json).ttl_seconds, 3_600, "{json}");
    }
    assert!(refused::<PushEventRequest>(r#"{"ttlSeconds": 1.5}"#).contains("1.5"));
}

#[test]
fn other_numbers_are_numbers_out_and_numbers_or_strings_in() {
    let stats = NamespaceStats { total_webhooks: 3, success_rate: 0.25, ..NamespaceStats::default() };
    assert_eq!(written(&stats), json!({"totalWebhooks": 3, "successRate": 0.25}));
    for json in [r#"{"limit": 20, "offset": "5"}"#, r#"{"limit": "20", "offset": 5.0}"#] {
        assert_eq!(read::<PaginationRequest>(json), PaginationRequest { limit: 20, offset: 5 }, "{json}");
    }
    assert_eq!(read::<WebhookHTTPConfig>(r#"{"rateLimitRps": "2.5"}"#).rate_limit_rps, Some(2.5));
    for json in [r#"{"limit": 2147483648}"#, r#"{"limit": 1.5}"#, r#"{"limit": true}"#, r#"{"limit": "x"}"#] {
        refused::<PaginationRequest>(json);
    }
}

#[test]
fn times_are_utc_out_and_of_any_offset_in() {
    for (nanos, text) in [
        (0, "2026-11-22T10:00:00Z"),
        (500_000_000, "2026-11-22T10:00:00.500Z"),
        (1_000, "2026-11-22T10:00:00.000001Z"),
        (1, "2026-11-22T10:00:00.000000001Z"),
    ] {
        let time = Timestamp { seconds: 1_795_341_600, nanos, ..Timestamp::default() };
        assert_eq!(written(&time), json!(text));
    }
    let expected = Timestamp::from_unix_secs(1_795_341_600);
    for text in ["2026-11-22T12:00:00+02:00", "2026-11-22T10:00:00.0Z", "2026-11-22T05:30:00-04:30"] {
        let request: ListDeliveriesRequest = read(&format!(r#"{{"created_after": "{text}"}}"#));
        assert_eq!(request.created_after.as_option(), Some(&expected), "{text}");
    }
    for text in ["2026-11-22", "10:00", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z"] {
        refused::<ListDeliveriesRequest>(&format!(r#"{{"created_after": "{text}"}}"#));
    }
}

#[test]
fn masks_are_taken_as_clients_write_them() {
    let mask = |json: &str| read::<UpdateWebhookConfigRequest>(&format!(r#"{{"updateMask": {json}}}"#)).update_mask;
    let expected = Mask { paths: ["url", "http_config.webhook_secret", "active"].map(String::from).to_vec() };
    for json in [
        r#""url,httpConfig.webhookSecret,active""#,
        r#""url, http_config.webhook_secret , active""#,
        r#"{"paths": ["url", "http_config.webhook_secret", "active"]}"#,
        r#"{"paths": ["url", "httpConfig.webhookSecret", "active"], "more": 1}"#,
    ] {
        assert_eq!(mask(json).as_option(), Some(&expected), "{json}");
    }
    assert!(!mask("null").is_set());
    for json in [r#""""#, "{}", r#"{"paths": null}"#, r#"{"paths": []}"#] {
        assert_eq!(mask(json).as_option(), Some(&Mask::default()), "{json}");
    }
    for json in [r#""url,,active""#, r#"["url"]"#, "1", r#"{"paths": "url"}"#, r#"{"paths": [""]}"#, r#"{"paths": [], "paths": []}"#] {
        refused::<UpdateWebhookConfigRequest>(&format!(r#"{{"update_mask": {json}}}"#));
    }
    assert_eq!(written(&expected), json!("url,httpConfig.webhookSecret,active"));
    assert_eq!(Mask::decode_from_slice(&expected.encode_to_vec()), Ok(expected.clone()));
    assert!(expected.names("http_config.webhook_secret") && !expected.names("http_config"));
}

#[test]
fn null_is_not_sent() {
    let json = r#"{"namespace": null, "event": null, "payload": null, "ttlSeconds": null, "metadata": null, "id": null, "labels": null}"#;
    assert_eq!(read::<PushEventRequest>(json), PushEventRequest::default());
    assert_eq!(read::<ListDeliveriesRequest>(r#"{"pagination": null, "createdAfter": null}"#), ListDeliveriesRequest::default());
    refused::<RegisterWebhookRequest>(r#"{"events": [null]}"#);
}

#[test]
fn what_is_no_message_is_refused() {
    for json in ["", "null", "\"x\"", "{", "{} {}", r#"{"namespace": 1}"#, r#"{"namespace": "a", "namespace": "b"}"#] {
        refused::<PushEventRequest>(json);
    }
}

#[test]
fn a_payload_keeps_its_bytes() {
    let payload = r#"{ "z": 9007199254740993, "a":1.10 , "z2":[1e400,-0],"ü": "\u00fc\/" }"#;
    let request: PushEventRequest = read(&format!(r#"{{"payload":  {payload} , "event": "e"}}"#));
    assert_eq!(request.payload.json(), payload.as_bytes());
    assert_eq!(serde_json::to_string(&request).expect("JSON"), format!(r#"{{"event":"e","payload":{payload}}}"#));
    for json in ["[1]", "\"x\"", "1", "true"] {
        let error = refused::<PushEventRequest>(&format!(r#"{{"payload": {json}}}"#));
        assert!(error.starts_with("it must be a JSON object"), "{error}");
    }
    let deep = |levels: usize| format!(r#"{{"payload": {{"x": {}{}}}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(read::<PushEventRequest>(&deep(128)).payload.is_set());
    assert!(refused::<PushEventRequest>(&deep(129)).starts_with("its arrays and objects lie deeper than 128 levels"));
}

#[test]
fn an_object_is_what_it_says() {
    assert_eq!(Object::parse(b" {\"a\": 1} ").map(Object::into_json).as_deref(), Ok(&b"{\"a\": 1}"[..]));
    assert!(Object::default().is_empty() && Object::parse(b"{ }").is_ok_and(|o| o.is_empty()));
    assert!(Object::parse(b"{\"\": {}}").is_ok_and(|o| !o.is_empty()));
    for bad in [&b"[]"[..], b"", b"{", b"{} x", b"{\"a\": \xff}"] {
        assert!(Object::parse(bad).is_err(), "{bad:?}");
    }
}
