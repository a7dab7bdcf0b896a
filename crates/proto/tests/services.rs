//! Calls of services as they come over HTTP, and the traits against the contract.

use buffa::Message;
use buffa_descriptor::generated::descriptor::FileDescriptorSet;
use bytes::Bytes;
use connectrpc::{ConnectError, ConnectRpcService, RequestContext};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use postrider_proto::service::{Answer, HealthService, NAMES};
use postrider_proto::webhook::{
    GetHealthSummaryRequest, GetHealthSummaryResponse, GetWebhookHealthRequest, GetWebhookHealthResponse, HealthSummary,
    ListWebhooksByHealthRequest, ListWebhooksByHealthResponse, WebhookHealth,
};
use postrider_proto::{DESCRIPTORS, Services};
use std::sync::Arc;
use tower_service::Service;

struct Sample;

impl HealthService for Sample {
    async fn get_webhook_health(&self, _: RequestContext, request: GetWebhookHealthRequest) -> Answer<GetWebhookHealthResponse> {
        if request.webhook_id.is_empty() {
            return Err(ConnectError::invalid_argument("webhook_id is empty"));
        }
        let health = WebhookHealth::HEALTH_HEALTHY.into();
        Ok(GetWebhookHealthResponse { webhook_id: request.webhook_id, health, ..Default::default() })
    }

    async fn list_webhooks_by_health(&self, _: RequestContext, _: ListWebhooksByHealthRequest) -> Answer<ListWebhooksByHealthResponse> {
        Err(ConnectError::not_found("nothing"))
    }

    async fn get_health_summary(&self, _: RequestContext, _: GetHealthSummaryRequest) -> Answer<GetHealthSummaryResponse> {
        Ok(GetHealthSummaryResponse { summary: HealthSummary { total_count: 2, ..Default::default() }.into() })
    }
}

async fn call(method: &str, media: &str, body: &[u8]) -> (u16, HeaderMap, Bytes) {
    let mut service = ConnectRpcService::new(Services::default().with_health_service(Arc::new(Sample)));
    let request = Request::post(format!("/webhook.HealthService/{method}")).header("content-type", media);
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a request");
    let Ok(response) = service.call(request).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await.expect("a body");
    let trailers = body.trailers().cloned().unwrap_or_default();
    (status, headers.into_iter().chain(trailers).filter_map(|(n, v)| Some((n?, v))).collect(), body.to_bytes())
}

fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).expect("text")
}

#[tokio::test]
async fn one_implementation_answers_in_every_form() {
    let (status, headers, body) = call("GetWebhookHealth", "application/json", br#"{"webhook_id": "w", "new": 1}"#).await;
    assert_eq!(
        (status, &headers["content-type"], text(&body)),
        (200, &"application/json".parse().expect("a value"), r#"{"webhookId":"w","health":"HEALTH_HEALTHY"}"#)
    );
    let request = GetWebhookHealthRequest { webhook_id: String::from("w"), ..Default::default() }.encode_to_vec();
    let (status, headers, body) = call("GetWebhookHealth", "application/proto", &request).await;
    assert_eq!((status, headers["content-type"].as_bytes()), (200, &b"application/proto"[..]));
    let answer = GetWebhookHealthResponse::decode_from_slice(&body).expect("a message");
    assert_eq!((answer.webhook_id.as_str(), answer.health == WebhookHealth::HEALTH_HEALTHY), ("w", true));
    let enveloped = [&[0, 0, 0, 0, request.len() as u8][..], &request].concat();
    for media in ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"] {
        let (status, headers, framed) = call("GetWebhookHealth", media, &enveloped).await;
        assert_eq!((status, &framed[..5], &framed[5..5 + body.len()]), (200, &[0, 0, 0, 0, body.len() as u8][..], &body[..]), "{media}");
        // In trailers, or in a last frame of the body.
        let last = framed.get(5 + body.len() + 5..).map(Bytes::copy_from_slice).unwrap_or_default();
        let is_good = headers.get("grpc-status").map_or(text(&last).contains("grpc-status: 0"), |status| status == "0");
        assert!(is_good, "{media}: {headers:?} {last:?}");
    }
}

#[tokio::test]
async fn errors_have_the_code_and_the_text_that_clients_know() {
    for (method, media, body, status, error) in [
        ("GetWebhookHealth", "application/json", "{}", 400, r#"{"code":"invalid_argument","message":"webhook_id is empty"}"#),
        ("ListWebhooksByHealth", "application/json; charset=utf-8", "{}", 404, r#"{"code":"not_found","message":"nothing"}"#),
        (
            "GetHealthSummary",
            "application/json",
            "",
            400,
            r#"{"code":"invalid_argument","message":"zero-length payload is not a valid JSON object"}"#,
        ),
    ] {
        let (found, headers, said) = call(method, media, body.as_bytes()).await;
        assert_eq!((found, text(&said), headers["content-type"].as_bytes()), (status, error, &b"application/json"[..]));
    }
    for (media, body) in
        [("application/json", &b"{"[..]), ("application/json", b"[]"), ("application/json", b" null"), ("application/proto", &[0x0a, 9])]
    {
        let (status, _, said) = call("GetWebhookHealth", media, body).await;
        assert!(status == 400 && text(&said).starts_with(r#"{"code":"invalid_argument","message":"unmarshal message: "#), "{said:?}");
    }
    let (status, headers, said) = call("GetWebhookHealth", "application/grpc", &[0, 0, 0, 0, 0]).await;
    assert_eq!((status, headers["grpc-status"].as_bytes(), said.len()), (200, &b"3"[..], 0));
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let (status, _, said) = call("Nothing", "application/json", b"{}").await;
    assert!(status == 404 && text(&said).contains(r#""code":"unimplemented""#), "{said:?}");
    let (status, headers, _) = call("GetHealthSummary", "text/plain", b"{}").await;
    assert_eq!(status, 415);
    assert!(headers["accept-post"].to_str().expect("text").contains("application/json"));
    let (_, headers, _) = call("Nothing", "application/grpc", &[0, 0, 0, 0, 0]).await;
    assert_eq!(headers["grpc-status"], "12");
}

/// Adds every service that the contract has, so that one whose trait is missing does not compile.
fn traits() -> Vec<String> {
    let services = Services::default().with_health_service(Arc::new(Sample));
    assert_eq!(services.names(), ["webhook.HealthService"]);
    services.methods().map(String::from).collect()
}

#[test]
fn the_traits_are_those_of_the_contract() {
    let set = FileDescriptorSet::decode_from_slice(DESCRIPTORS).expect("descriptors");
    let file = set.file.iter().find(|f| f.name.as_deref() == Some("webhook/webhook.proto")).expect("the contract");
    let services: Vec<String> = file.service.iter().map(|s| format!("webhook.{}", s.name.as_deref().unwrap_or_default())).collect();
    assert_eq!(services, NAMES);
    let source = include_str!("../src/service/traits.rs");
    let mut declared: Vec<&str> = source.lines().map(str::trim).filter(|line| line.ends_with("Response;")).collect();
    let mut expected = Vec::new();
    for method in file.service.iter().flat_map(|service| &service.method) {
        let name = |of: &Option<String>| of.as_deref().unwrap_or_default().trim_start_matches(".webhook.").to_owned();
        expected.push(format!("{}({}) -> {};", name(&method.name), name(&method.input_type), name(&method.output_type)));
        assert_eq!((method.client_streaming, method.server_streaming), (None, None), "{:?}", method.name);
    }
    declared.iter_mut().for_each(|line| *line = line.split_once(": ").map_or(*line, |(_, rest)| rest));
    assert_eq!(declared, expected);
    let health: Vec<String> = traits();
    assert_eq!(health.len(), 3);
    assert!(health.iter().all(|path| path.starts_with("webhook.HealthService/")), "{health:?}");
}
