//! Calls of services as they come over HTTP, and the traits against the contract.

use buffa::Message;
use buffa_descriptor::generated::descriptor::FileDescriptorSet;
use bytes::Bytes;
use connectrpc::{CodecFormat, ConnectError, ConnectRpcService, Dispatcher, MethodKind, Payload, RequestContext};
use futures_util::stream;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use postrider_proto::service::{Answer, HealthService, LedgerService, NAMES, Stream};
use postrider_proto::webhook::{
    GetHealthSummaryRequest, GetHealthSummaryResponse, GetWebhookHealthRequest, GetWebhookHealthResponse, HealthSummary,
    ListWebhooksByHealthRequest, ListWebhooksByHealthResponse, WebhookHealth,
};
use postrider_proto::{DESCRIPTORS, Services, v1};
use std::collections::BTreeSet;
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

fn nothing<T>() -> Answer<T> {
    Err(ConnectError::not_found("nothing"))
}

impl LedgerService for Sample {
    /// As many messages as are asked for, which count down; then an error, where a namespace is asked for.
    async fn watch_deliveries(
        &self,
        _: RequestContext,
        request: v1::WatchDeliveriesRequest,
    ) -> Answer<Stream<v1::WatchDeliveriesResponse>> {
        if request.limit < 0 {
            return Err(ConnectError::invalid_argument("limit is below 0"));
        }
        let counted = (1..=i64::from(request.limit)).rev().map(|passed| Ok(v1::WatchDeliveriesResponse { passed, ..Default::default() }));
        let last = (!request.filter.namespace.is_empty()).then(|| Err(ConnectError::unauthenticated("the key has ended")));
        Ok(Box::pin(stream::iter(counted.chain(last).collect::<Vec<_>>())))
    }

    async fn list_deliveries(&self, _: RequestContext, _: v1::ListDeliveriesRequest) -> Answer<v1::ListDeliveriesResponse> {
        nothing()
    }

    async fn explain_delivery(&self, _: RequestContext, _: v1::ExplainDeliveryRequest) -> Answer<v1::ExplainDeliveryResponse> {
        nothing()
    }

    async fn cancel_delivery(&self, _: RequestContext, _: v1::CancelDeliveryRequest) -> Answer<v1::CancelDeliveryResponse> {
        nothing()
    }

    async fn retry_matching(&self, _: RequestContext, _: v1::RetryMatchingRequest) -> Answer<v1::RetryMatchingResponse> {
        nothing()
    }

    async fn list_events(&self, _: RequestContext, _: v1::ListEventsRequest) -> Answer<v1::ListEventsResponse> {
        nothing()
    }

    async fn explain_event(&self, _: RequestContext, _: v1::ExplainEventRequest) -> Answer<v1::ExplainEventResponse> {
        nothing()
    }

    async fn find(&self, _: RequestContext, _: v1::FindRequest) -> Answer<v1::FindResponse> {
        nothing()
    }
}

async fn call(method: &str, media: &str, body: &[u8]) -> (u16, HeaderMap, Bytes) {
    call_of("webhook.HealthService", method, media, body).await
}

async fn call_of(service: &str, method: &str, media: &str, body: &[u8]) -> (u16, HeaderMap, Bytes) {
    let services = Services::default().with_health_service(Arc::new(Sample)).with_ledger_service(Arc::new(Sample));
    let mut answering = ConnectRpcService::new(services);
    let request = Request::post(format!("/{service}/{method}")).header("content-type", media);
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a request");
    let Ok(response) = answering.call(request).await;
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

/// A message in its envelope.
fn framed(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[flags][..], &length, message].concat()
}

async fn watch(media: &str, body: &[u8]) -> (u16, HeaderMap, Bytes) {
    call_of("postrider.v1.LedgerService", "WatchDeliveries", media, body).await
}

#[tokio::test]
async fn a_stream_comes_in_every_form() {
    let (status, headers, body) = watch("application/connect+json", &framed(0, br#"{"limit": 2, "new": 1}"#)).await;
    assert_eq!((status, headers["content-type"].as_bytes()), (200, &b"application/connect+json"[..]));
    assert_eq!(body, [framed(0, br#"{"passed":"2"}"#), framed(0, br#"{"passed":"1"}"#), framed(2, b"{}")].concat());
    let request = framed(0, &v1::WatchDeliveriesRequest { limit: 2, ..Default::default() }.encode_to_vec());
    let messages = [2, 1].map(|passed| framed(0, &v1::WatchDeliveriesResponse { passed, ..Default::default() }.encode_to_vec())).concat();
    let (status, headers, body) = watch("application/connect+proto", &request).await;
    assert_eq!((status, headers["content-type"].as_bytes()), (200, &b"application/connect+proto"[..]));
    assert_eq!(body, [messages.clone(), framed(2, b"{}")].concat());
    for media in ["application/grpc", "application/grpc-web+proto"] {
        let (status, headers, body) = watch(media, &request).await;
        assert_eq!((status, &body[..messages.len()]), (200, &messages[..]), "{media}");
        let last = body.get(messages.len() + 5..).map(Bytes::copy_from_slice).unwrap_or_default();
        let is_good = headers.get("grpc-status").map_or(text(&last).contains("grpc-status: 0"), |status| status == "0");
        assert!(is_good, "{media}: {headers:?} {last:?}");
    }
}

#[tokio::test]
async fn an_error_ends_a_stream_before_it_begins_and_in_the_middle() {
    let ended = |error: &str| framed(2, format!(r#"{{"error":{error}}}"#).as_bytes());
    let (status, _, body) = watch("application/connect+json", &framed(0, br#"{"limit": 1, "filter": {"namespace": "shop"}}"#)).await;
    let expected = [framed(0, br#"{"passed":"1"}"#), ended(r#"{"code":"unauthenticated","message":"the key has ended"}"#)].concat();
    assert_eq!((status, &body[..]), (200, &expected[..]));
    let (_, _, body) = watch("application/connect+json", &framed(0, br#"{"limit": -1}"#)).await;
    assert_eq!(body, ended(r#"{"code":"invalid_argument","message":"limit is below 0"}"#));
    // It is read as other requests are, with their texts.
    for (request, said) in [("[]", "unmarshal message: it must be a JSON object"), ("", "zero-length payload is not a valid JSON object")] {
        let (_, _, body) = watch("application/connect+json", &framed(0, request.as_bytes())).await;
        assert_eq!(body, ended(&format!(r#"{{"code":"invalid_argument","message":"{said}"}}"#)));
    }
    let (_, headers, _) = watch("application/grpc", &framed(0, &[0x0a, 9])).await;
    assert_eq!(headers["grpc-status"], "3");
}

#[tokio::test]
async fn each_method_is_called_as_its_kind_alone() {
    let services = Services::default().with_health_service(Arc::new(Sample)).with_ledger_service(Arc::new(Sample));
    let kind = |path: &str| services.lookup(path).map(|found| (found.kind, found.idempotent));
    assert_eq!(kind("postrider.v1.LedgerService/WatchDeliveries"), Some((MethodKind::ServerStreaming, false)));
    assert_eq!(kind("postrider.v1.LedgerService/Find"), Some((MethodKind::Unary, false)));
    assert_eq!((kind("webhook.LedgerService/Find"), kind("/postrider.v1.LedgerService/Find")), (None, None));
    let context = || RequestContext::new(HeaderMap::new());
    let (stream, unary) = ("postrider.v1.LedgerService/WatchDeliveries", "webhook.HealthService/GetHealthSummary");
    let request = Payload::new(Bytes::from_static(b"{}"), CodecFormat::Json);
    let refused = services.call_unary(stream, context(), request, CodecFormat::Json).await.err().map(|error| error.code.as_str());
    assert_eq!(refused, Some("unimplemented"));
    let request = Bytes::from_static(b"{}");
    let refused = services.call_server_streaming(unary, context(), request, CodecFormat::Json).await.err().map(|error| error.code.as_str());
    assert_eq!(refused, Some("unimplemented"));
    // A call that answers once is no beginning of a stream.
    let (status, _, said) = watch("application/json", b"{}").await;
    assert!(status == 501 && text(&said).contains("WatchDeliveries answers with a stream: ask by application/connect+json"), "{said:?}");
}

/// The methods that the traits have, each as `package.Service/Method(Request) -> Response`.
fn declared() -> BTreeSet<String> {
    let mut service = String::new();
    let mut methods = BTreeSet::new();
    for line in include_str!("../src/service/traits.rs").lines().map(str::trim) {
        if let Some((package, rest)) = line.strip_prefix('"').and_then(|rest| rest.split_once("\", ")) {
            let name = rest.split_once("::").and_then(|(_, rest)| rest.split_once(" as ")).expect("the name of a service").0;
            service = format!("{package}.{name}");
        } else if let Some((_, method)) =
            line.strip_suffix(';').and_then(|line| line.split_once(": ")).filter(|(_, m)| m.contains("Request) -> "))
        {
            methods.insert(format!("{service}/{method}"));
        }
    }
    methods
}

#[test]
fn the_traits_are_those_of_the_contract() {
    let set = FileDescriptorSet::decode_from_slice(DESCRIPTORS).expect("descriptors");
    let (mut services, mut methods) = (BTreeSet::new(), BTreeSet::new());
    for file in set.file.iter().filter(|file| !file.service.is_empty()) {
        let package = file.package.as_deref().unwrap_or_default();
        let own = format!(".{package}.");
        for service in &file.service {
            let service_name = format!("{package}.{}", service.name.as_deref().unwrap_or_default());
            for method in &service.method {
                let name = |of: &Option<String>| of.as_deref().unwrap_or_default().trim_start_matches(&own).to_owned();
                let answer = name(&method.output_type);
                let answer = if method.server_streaming == Some(true) { format!("(stream {answer})") } else { answer };
                assert_ne!(method.client_streaming, Some(true), "{:?}", method.name);
                methods.insert(format!("{service_name}/{}({}) -> {answer}", name(&method.name), name(&method.input_type)));
            }
            services.insert(service_name);
        }
    }
    assert_eq!(services.iter().map(String::as_str).collect::<BTreeSet<_>>(), NAMES.into());
    assert_eq!(declared(), methods);
    // And what a trait has is what is answered.
    let added = Services::default().with_health_service(Arc::new(Sample)).with_ledger_service(Arc::new(Sample));
    assert_eq!(added.names(), ["webhook.HealthService", "postrider.v1.LedgerService"]);
    let of_added = |path: &&str| added.names().iter().any(|name| path.starts_with(name));
    let paths: BTreeSet<&str> = methods.iter().filter_map(|method| method.split('(').next()).filter(of_added).collect();
    assert_eq!(added.methods().collect::<BTreeSet<_>>(), paths);
}
