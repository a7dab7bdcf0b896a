//! Webhooks over the RPC API: what is registered, listed, changed and refused.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Server, keys};
use postrider_proto::webhook as w;
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const URL: &str = "https://hooks.example.com/in";
const REGISTER: &str = "WebhookService/RegisterWebhook";
const LIST: &str = "WebhookService/ListWebhooks";
const UPDATE: &str = "WebhookService/UpdateWebhookConfig";
const NOBODY: &str = "550e8400-e29b-41d4-a716-446655440000";
const BULLETS: &str = "\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}";

fn masked(secret: &str) -> String {
    format!("{}{}", &secret[..4], "*".repeat(secret.len() - 4))
}

fn ids(listed: &Value) -> Vec<&str> {
    let webhooks = listed["webhooks"].as_array().map_or(&[][..], Vec::as_slice);
    webhooks.iter().map(|webhook| webhook["webhookId"].as_str().expect("an id")).collect()
}

#[test]
fn a_webhook_that_says_little_has_the_documented_defaults() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (id, made) = rpc.register(URL, json!({}));
    assert_eq!(keys(&made), ["createdAt", "signatureType", "webhookId", "webhookSecret"]);
    let secret = made["webhookSecret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_") && secret.len() == 38, "{secret}");
    assert_eq!(made["signatureType"], "hmac");
    let shown = rpc.webhook(&id);
    let expected = json!({
        "webhookId": id, "namespace": "default", "url": URL, "active": true, "signatureType": "hmac",
        "createdAt": made["createdAt"], "updatedAt": made["createdAt"],
        "httpConfig": {
            "maxRetries": 3, "retryBackoffSeconds": 60, "captureResponseBody": false, "followRedirects": true, "verifySsl": true,
            "requestTimeoutSeconds": 30, "expectedStatusCodes": [200, 201, 202, 204], "webhookSecret": masked(secret),
            "userAgent": concat!("Postrider/", env!("CARGO_PKG_VERSION")), "contentType": "application/json",
        },
    });
    assert_eq!(shown, expected);
}

#[test]
fn a_webhook_is_shown_as_it_was_registered_and_its_secrets_are_not() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let config = json!({
        "max_retries": 10, "retry_backoff_seconds": 1, "capture_response_body": true, "follow_redirects": false, "verify_ssl": false,
        "request_timeout_seconds": 300, "expected_status_codes": [200, 418, 200], "webhook_secret": "own-plain-secret",
        "user_agent": "ours/1", "content_type": "application/cloudevents+json", "rate_limit_rps": 0.1,
    });
    let (id, made) = rpc.register(
        URL,
        json!({
            "events": ["order.created", "*", "order.created"], "headers": {"X-Team": "ops"}, "description": "billing",
            "secret_headers": {"X-Token": "t0p-secret"}, "http_config": config, "signature_type": "hmac",
        }),
    );
    assert_eq!(keys(&made), ["createdAt", "signatureType", "webhookId"], "a secret that the client gave is not sent back");
    let shown = rpc.webhook(&id);
    assert_eq!(
        (&shown["events"], &shown["headers"], &shown["description"]),
        (&json!(["order.created", "*"]), &json!({"X-Team": "ops"}), &json!("billing"))
    );
    assert_eq!(shown["secretHeaders"], json!({"X-Token": BULLETS}));
    let expected = json!({
        "maxRetries": 10, "retryBackoffSeconds": 1, "captureResponseBody": true, "followRedirects": false, "verifySsl": false,
        "requestTimeoutSeconds": 300, "expectedStatusCodes": [200, 418], "webhookSecret": "own-************",
        "userAgent": "ours/1", "contentType": "application/cloudevents+json", "rateLimitRps": 0.1,
    });
    assert_eq!(shown["httpConfig"], expected);
    let all = rpc.json(LIST, &json!({})).text();
    assert!(!all.contains("own-plain") && !all.contains("t0p"), "{all}");
    // The other APIs know it too, and it knows theirs.
    let destination = Api::of(&server).get(&format!("/v1/delivery/destinations/{id}")).json();
    assert_eq!(
        (&destination["config"]["url"], &destination["name"], &destination["has_signing_secret"]),
        (&json!(URL), &json!("billing"), &json!(true))
    );
    let other = server.subscribe_to("https://other.example.com/");
    let shown = rpc.webhook(&other);
    assert_eq!(
        (&shown["url"], &shown["events"], &shown["httpConfig"]["maxRetries"]),
        (&json!("https://other.example.com/"), &json!(["*"]), &json!(4))
    );
}

#[test]
fn a_partial_http_config_leaves_tls_verification_and_redirects_on() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (id, _) = rpc.register(URL, json!({"http_config": {"max_retries": 5}}));
    let in_binary = w::RegisterWebhookRequest {
        namespace: String::from("default"),
        url: String::from("https://hooks.example.com/binary"),
        http_config: w::WebhookHTTPConfig { max_retries: Some(5), ..Default::default() }.into(),
        ..Default::default()
    };
    let made: w::RegisterWebhookResponse = rpc.ask_binary(REGISTER, &in_binary);
    assert!(made.webhook_secret.starts_with("whsec_") && made.created_at.is_set());
    for id in [&id, &made.webhook_id] {
        let config = rpc.webhook(id)["httpConfig"].clone();
        assert_eq!((&config["verifySsl"], &config["followRedirects"], &config["maxRetries"]), (&json!(true), &json!(true), &json!(5)));
        for mask in [None, Some("httpConfig")] {
            rpc.update(id, json!({"http_config": {"request_timeout_seconds": 7}}), mask);
        }
        let config = rpc.webhook(id)["httpConfig"].clone();
        assert_eq!((&config["verifySsl"], &config["followRedirects"], &config["maxRetries"]), (&json!(true), &json!(true), &json!(5)));
        assert_eq!(config["requestTimeoutSeconds"], 7);
    }
}

#[test]
fn active_false_registers_a_paused_webhook() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let in_binary = w::RegisterWebhookRequest {
        namespace: String::from("default"),
        url: String::from("https://hooks.example.com/binary"),
        active: Some(false),
        ..Default::default()
    };
    let made: w::RegisterWebhookResponse = rpc.ask_binary(REGISTER, &in_binary);
    let (id, _) = rpc.register(URL, json!({"active": false}));
    for id in [&id, &made.webhook_id] {
        assert!(!keys(&rpc.webhook(id)).contains(&"active"));
        assert_eq!(rpc.ask(LIST, &json!({"active_only": true, "webhook_id": id}))["pagination"], json!({"limit": 50}));
        let (status, code, _) = rpc.refused("WebhookService/PauseWebhook", &json!({"webhook_id": id}));
        assert_eq!((status, code.as_str()), (400, "failed_precondition"));
    }
}

#[test]
fn max_retries_zero_is_honoured() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (id, _) = rpc.register(URL, json!({"events": ["a.b"], "http_config": {"max_retries": 0}}));
    assert_eq!(rpc.webhook(&id)["httpConfig"]["maxRetries"], 0);
    let attempts = || Api::of(&server).get("/v1/delivery/bindings").json()["data"][0]["delivery_policy"]["max_attempts"].clone();
    assert_eq!(attempts(), 1);
    rpc.update(&id, json!({"http_config": {"max_retries": 2}}), None);
    assert_eq!((attempts(), &rpc.webhook(&id)["httpConfig"]["maxRetries"]), (json!(3), &json!(2)));
    // In binary a zero that is sent differs from nothing sent.
    let zero = w::UpdateWebhookConfigRequest {
        webhook_id: id.clone(),
        updates: w::WebhookUpdateFields {
            http_config: w::WebhookHTTPConfig { max_retries: Some(0), ..Default::default() }.into(),
            ..Default::default()
        }
        .into(),
        ..Default::default()
    };
    let _: w::UpdateWebhookConfigResponse = rpc.ask_binary(UPDATE, &zero);
    assert_eq!((attempts(), &rpc.webhook(&id)["httpConfig"]["maxRetries"]), (json!(1), &json!(0)));
}

#[test]
fn an_update_without_a_mask_changes_what_is_sent_and_pauses_nothing() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let more = json!({"events": ["a.b"], "headers": {"X-Team": "ops"}, "description": "old", "http_config": {"webhook_secret": "own-plain-secret"}});
    let (id, _) = rpc.register(URL, more);
    let before = rpc.webhook(&id);
    assert_eq!(rpc.update(&id, json!({"description": "new"}), None), json!({}));
    let after = rpc.webhook(&id);
    assert!(after["updatedAt"].as_str() > before["updatedAt"].as_str());
    let expected = json!({"description": "new", "updatedAt": after["updatedAt"]});
    let mut same = before.clone();
    same.as_object_mut().expect("an object").extend(expected.as_object().expect("an object").clone());
    assert_eq!((&after, &after["active"]), (&same, &json!(true)));
    // Maps and lists that are empty are not sent as far as the wire tells.
    rpc.update(&id, json!({"headers": {}, "events": []}), None);
    assert_eq!((&rpc.webhook(&id)["headers"], &rpc.webhook(&id)["events"]), (&before["headers"], &before["events"]));
    rpc.update(&id, json!({"active": false}), None);
    assert!(!keys(&rpc.webhook(&id)).contains(&"active"));
    rpc.update(&id, json!({"timeout": 5}), None);
    assert_eq!((&rpc.webhook(&id)["httpConfig"]["requestTimeoutSeconds"], rpc.webhook(&id).get("active")), (&json!(5), None));
}

#[test]
fn a_mask_says_what_counts() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let config = json!({"webhook_secret": "own-plain-secret", "rate_limit_rps": 5.0, "verify_ssl": false, "max_retries": 7});
    let (id, _) = rpc
        .register(URL, json!({"events": ["a.b", "c.d"], "headers": {"X-A": "1"}, "secret_headers": {"X-B": "2"}, "http_config": config}));
    rpc.update(&id, json!({"url": "https://new.example.com/", "description": "ignored", "active": false}), Some("url"));
    let shown = rpc.webhook(&id);
    assert_eq!((&shown["url"], shown.get("description"), &shown["active"]), (&json!("https://new.example.com/"), None, &json!(true)));
    // What is named and not sent takes its default.
    rpc.update(&id, json!({}), Some("headers,secretHeaders,httpConfig.rateLimitRps,http_config.verify_ssl"));
    let shown = rpc.webhook(&id);
    assert_eq!((shown.get("headers"), shown.get("secretHeaders"), shown["httpConfig"].get("rateLimitRps")), (None, None, None));
    assert_eq!((&shown["httpConfig"]["verifySsl"], &shown["httpConfig"]["maxRetries"]), (&json!(true), &json!(7)));
    rpc.update(&id, json!({}), Some("httpConfig"));
    let shown = rpc.webhook(&id);
    assert_eq!((&shown["httpConfig"]["maxRetries"], &shown["httpConfig"]["webhookSecret"]), (&json!(3), &json!("own-************")));
    // The object form, and events in place of those it had.
    let request = json!({"webhook_id": id, "updates": {"events": ["c.d", "e.*"]}, "update_mask": {"paths": ["events"]}});
    assert_eq!(rpc.ask(UPDATE, &request), json!({}));
    assert_eq!(rpc.webhook(&id)["events"], json!(["c.d", "e.*"]));
    rpc.update(&id, json!({}), Some("events"));
    assert_eq!(rpc.webhook(&id).get("events"), None);
    let refused = |mask: &str| rpc.refused(UPDATE, &json!({"webhook_id": id, "updates": {}, "update_mask": mask}));
    for mask in ["webhookId", "httpConfig.url", "url,nothing", "url"] {
        assert_eq!(refused(mask).1, "invalid_argument", "{mask}");
    }
    assert!(refused("httpConfig.url").2.contains("http_config.url"));
}

#[test]
fn secrets_are_made_kept_and_replaced_as_asked() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (id, made) = rpc.register(URL, json!({"secret_headers": {"X-Token": "t0p"}}));
    let first = made["webhookSecret"].as_str().expect("a secret").to_owned();
    let shown = || rpc.webhook(&id)["httpConfig"]["webhookSecret"].clone();
    // What was shown may be sent back, as may the mask of a header.
    rpc.update(&id, json!({"http_config": {"webhook_secret": masked(&first)}, "secret_headers": {"x-token": BULLETS}}), None);
    assert_eq!((shown(), &rpc.webhook(&id)["secretHeaders"]), (json!(masked(&first)), &json!({"x-token": BULLETS})));
    let request = json!({"webhook_id": id, "updates": {"secret_headers": {"X-Other": BULLETS}}});
    assert_eq!(rpc.refused(UPDATE, &request).1, "invalid_argument");
    // A new one on request, shown this once.
    let second = rpc.update(&id, json!({}), Some("httpConfig.webhookSecret"))["webhookSecret"].as_str().expect("a secret").to_owned();
    assert!(second != first && second.starts_with("whsec_") && shown() == masked(&second));
    assert_eq!(rpc.update(&id, json!({"http_config": {"webhook_secret": "own-plain-secret"}}), None), json!({}));
    assert_eq!(shown(), "own-************");
    // To a pair of keys, which takes the secret away, and back, which makes a new one.
    assert_eq!(rpc.update(&id, json!({"signature_type": "ed25519"}), None), json!({}));
    let webhook = rpc.webhook(&id);
    let public = webhook["signingPublicKey"].as_str().expect("a key");
    assert!(public.len() == 64 && public.bytes().all(|b| b.is_ascii_hexdigit()), "{public}");
    assert_eq!((&webhook["signatureType"], webhook["httpConfig"].get("webhookSecret")), (&json!("ed25519"), None));
    rpc.update(&id, json!({"description": "x"}), None);
    assert_eq!(rpc.webhook(&id)["signingPublicKey"], json!(public), "it is the same pair");
    let third = rpc.update(&id, json!({"signature_type": "hmac"}), Some("signatureType"));
    assert_eq!(shown(), masked(third["webhookSecret"].as_str().expect("a secret")));
    assert_eq!((rpc.webhook(&id).get("signingPublicKey"), &rpc.webhook(&id)["signatureType"]), (None, &json!("hmac")));
}

#[test]
fn lists_are_filtered_ordered_and_paged() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let made: Vec<String> = (0..5)
        .map(|n| {
            let more = json!({"events": [if n % 2 == 0 { "even" } else { "odd" }], "active": n != 4});
            rpc.register(&format!("https://hooks.example.com/{n}"), more).0
        })
        .collect();
    let (all, _) = rpc.register("https://hooks.example.com/all", json!({"events": ["*"]}));
    let list = |more: Value| rpc.ask(LIST, &more);
    let newest_first = [&all, &made[4], &made[3], &made[2], &made[1], &made[0]];
    assert_eq!(ids(&list(json!({}))), newest_first);
    assert_eq!(list(json!({}))["pagination"], json!({"totalCount": 6, "limit": 50}));
    let page = list(json!({"pagination": {"limit": 2, "offset": 1}, "namespace": "default"}));
    assert_eq!((ids(&page), &page["pagination"]), (vec![made[4].as_str(), &made[3]], &json!({"totalCount": 6, "limit": 2, "offset": 1})));
    assert_eq!(list(json!({"pagination": {"limit": 5000, "offset": -3}}))["pagination"], json!({"totalCount": 6, "limit": 1000}));
    assert_eq!(list(json!({"pagination": {"offset": 6}})), json!({"pagination": {"totalCount": 6, "limit": 50, "offset": 6}}));
    assert_eq!(ids(&list(json!({"event": "odd"}))), [&all, &made[3], &made[1]]);
    assert_eq!(ids(&list(json!({"event": "even", "activeOnly": true}))), [&all, &made[2], &made[0]]);
    assert_eq!(ids(&list(json!({"event": "*"}))), [&all]);
    assert_eq!(ids(&list(json!({"webhookId": made[1]}))), [&made[1]]);
    assert_eq!(list(json!({"webhookId": NOBODY})), json!({"pagination": {"limit": 50}}));
    assert_eq!(list(json!({"namespace": "elsewhere"})), json!({"pagination": {"limit": 50}}));
    assert_eq!(rpc.refused(LIST, &json!({"webhookId": "w-1"})).1, "invalid_argument");
    assert_eq!(rpc.refused(LIST, &json!({"namespace": "a b"})).1, "invalid_argument");
    // In binary it is the same list.
    let request = w::ListWebhooksRequest { event: String::from("odd"), ..Default::default() };
    let listed: w::ListWebhooksResponse = rpc.ask_binary(LIST, &request);
    assert_eq!(listed.webhooks.iter().map(|webhook| &webhook.webhook_id).collect::<Vec<_>>(), [&all, &made[3], &made[1]]);
    assert_eq!((listed.pagination.total_count, listed.webhooks[0].http_config.verify_ssl), (3, Some(true)));
}

#[test]
fn what_cannot_be_is_an_invalid_argument() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let with = |more: Value| {
        let mut request = json!({"namespace": "default", "url": URL});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        request
    };
    let http = |field: &str, value: Value| with(json!({"http_config": {field: value}}));
    let long = |n: usize| "x".repeat(n);
    let many: Vec<String> = (0..101).map(|n| format!("e{n}")).collect();
    for (request, named) in [
        (json!({"url": URL}), "namespace is required"),
        (json!({"namespace": "a b", "url": URL}), "invalid namespace"),
        (json!({"namespace": "default"}), "url is required"),
        (with(json!({"url": "ftp://a.test/"})), "url: "),
        (with(json!({"url": "https://169.254.169.254/"})), "url: "),
        (with(json!({"events": [""]})), "events: "),
        (with(json!({"events": ["a b"]})), "events: "),
        (with(json!({"events": many})), "events: at most 100"),
        (with(json!({"headers": {"Host": "x"}})), "headers: \"Host\""),
        (with(json!({"headers": {"X-A": "1", "x-a": "2"}})), "headers: "),
        (with(json!({"secret_headers": {"X-A": "a\nb"}})), "secret_headers: "),
        (with(json!({"description": long(4_097)})), "description: "),
        (with(json!({"signature_type": "rsa"})), "signature_type "),
        (with(json!({"timeout": 301})), "timeout must be 1 to 300, not 301"),
        (http("max_retries", json!(11)), "http_config.max_retries must be 0 to 10, not 11"),
        (http("max_retries", json!(-1)), "http_config.max_retries"),
        (http("retry_backoff_seconds", json!(0)), "http_config.retry_backoff_seconds must be 1 to 3600"),
        (http("retry_backoff_seconds", json!(3_601)), "http_config.retry_backoff_seconds"),
        (http("request_timeout_seconds", json!(0)), "http_config.request_timeout_seconds must be 1 to 300"),
        (http("expected_status_codes", json!([200, 99])), "http_config.expected_status_codes: 99"),
        (http("expected_status_codes", json!([600])), "http_config.expected_status_codes: 600"),
        (http("webhook_secret", json!("whsec_!")), "http_config.webhook_secret: "),
        (http("webhook_secret", json!("whsk_AAAA")), "http_config.webhook_secret: "),
        (http("webhook_secret", json!(long(1_025))), "http_config.webhook_secret: "),
        (http("user_agent", json!("a\nb")), "http_config.user_agent"),
        (http("content_type", json!(long(256))), "http_config.content_type"),
        (http("rate_limit_rps", json!(-1.0)), "http_config.rate_limit_rps"),
        (http("rate_limit_rps", json!("NaN")), "http_config.rate_limit_rps"),
        (http("rate_limit_rps", json!(0.000_001)), "http_config.rate_limit_rps"),
        (http("rate_limit_rps", json!(10_001)), "http_config.rate_limit_rps"),
    ] {
        let (status, code, message) = rpc.refused(REGISTER, &request);
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{request}: {message}");
        assert!(message.starts_with(named), "{message}");
    }
    assert_eq!(rpc.ask(LIST, &json!({})), json!({"pagination": {"limit": 50}}), "nothing of it was stored");
    // The same rules hold in an update, which leaves the webhook as it was.
    let (id, _) = rpc.register(URL, json!({"http_config": {"rate_limit_rps": 0}}));
    let before = rpc.webhook(&id);
    for updates in [json!({"url": "ftp://a.test/"}), json!({"http_config": {"max_retries": 11}}), json!({"signature_type": "rsa"})] {
        assert_eq!(rpc.refused(UPDATE, &json!({"webhook_id": id, "updates": updates})).1, "invalid_argument");
    }
    assert_eq!((&rpc.webhook(&id), before["httpConfig"].get("rateLimitRps")), (&before, None));
}

#[test]
fn a_url_is_there_once_in_its_namespace() {
    let server = Server::guarded(MASTER);
    let (one, two) = (Rpc::with_key(&server, MASTER, "one"), Rpc::with_key(&server, MASTER, "two"));
    let (id, _) = one.register(URL, json!({}));
    let (status, code, message) = one.refused(REGISTER, &json!({"namespace": "one", "url": "https://HOOKS.example.com:443/in"}));
    assert_eq!((status, code.as_str()), (409, "already_exists"));
    assert!(message.ends_with("resource already exists"), "{message}");
    two.register(URL, json!({}));
    let (other, _) = one.register("https://hooks.example.com/other", json!({}));
    let request = json!({"webhook_id": other, "updates": {"url": URL}});
    assert_eq!(one.refused(UPDATE, &request).1, "already_exists");
    one.update(&id, json!({"url": URL}), None);
    one.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": id}));
    one.update(&other, json!({"url": URL}), None);
}

#[test]
fn a_webhook_is_found_by_its_id_where_its_caller_sees_it() {
    let server = Server::guarded(MASTER);
    let master = Rpc::with_key(&server, MASTER, "shop");
    let key = Api::with_key(&server, MASTER).key(&json!({"name": "k", "namespace": "other", "scopes": ["read", "write"]})).0;
    let other = Rpc::with_key(&server, &key, "other");
    let (id, _) = master.register(URL, json!({}));
    for method in ["UnregisterWebhook", "UpdateWebhookConfig", "PauseWebhook", "ResumeWebhook"] {
        let method = format!("WebhookService/{method}");
        let refused = |rpc: &Rpc<'_>, request: Value| rpc.refused(&method, &request);
        let code = |rpc: &Rpc<'_>, request: Value| (refused(rpc, request.clone()).0, refused(rpc, request).1);
        assert_eq!(code(&master, json!({})), (400, String::from("invalid_argument")), "{method}");
        assert!(refused(&master, json!({"webhook_id": "w-1"})).2.starts_with("invalid webhook ID: "), "{method}");
        for (rpc, request) in [
            (&master, json!({"webhook_id": NOBODY})),
            (&master, json!({"webhook_id": id, "namespace": "other"})),
            (&other, json!({"webhook_id": id})),
            (&other, json!({"webhook_id": id, "namespace": "shop"})),
        ] {
            assert_eq!(code(rpc, request), (404, String::from("not_found")), "{method}");
        }
    }
    assert_eq!(other.ask(LIST, &json!({"namespace": "shop"})), json!({"pagination": {"limit": 50}}));
    assert_eq!(other.ask(LIST, &json!({"webhook_id": id})), json!({"pagination": {"limit": 50}}));
    let (status, code, _) = other.refused(REGISTER, &json!({"namespace": "shop", "url": URL}));
    assert_eq!((status, code.as_str()), (403, "permission_denied"));
    assert_eq!(other.ask("WebhookService/GetNamespaceStats", &json!({"namespace": "shop"})), json!({"namespace": "shop", "stats": {}}));
    assert_eq!(ids(&master.ask(LIST, &json!({"namespace": "shop"}))), [id.as_str()]);
    assert_eq!(master.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": id, "namespace": "shop"})), json!({}));
    assert_eq!(master.refused("WebhookService/UnregisterWebhook", &json!({"webhook_id": id})).1, "not_found");
    assert_eq!(master.ask(LIST, &json!({})), json!({"pagination": {"limit": 50}}));
}

#[test]
fn every_function_of_templates_is_listed() {
    let server = Server::dev(&[]);
    let answer = Rpc::of(&server).ask("WebhookService/GetTemplateFunctions", &json!({}));
    let functions = answer["functions"].as_array().expect("a list");
    assert_eq!(answer["totalCount"], functions.len());
    let named = |name: &str| functions.iter().find(|function| function["name"] == name);
    for name in [
        "json",
        "urlencode",
        "base64",
        "base64decode",
        "now",
        "formatTime",
        "parseTime",
        "upper",
        "lower",
        "title",
        "trim",
        "trimSpace",
        "split",
        "join",
        "default",
        "slice",
        "len",
        "truncate",
        "ellipsis",
        "repeat",
        "contains",
        "hasPrefix",
        "hasSuffix",
        "replace",
    ] {
        let function = named(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(function["description"].as_str().is_some_and(|text| text.len() > 10), "{function}");
    }
}
