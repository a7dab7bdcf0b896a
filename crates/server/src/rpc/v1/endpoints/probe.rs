//! Tests of an endpoint, told as an attempt is.

use super::{find, missing};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::timestamp;
use crate::rpc::page::count;
use crate::rpc::v1::ledger::story::signature;
use crate::rpc::v1::summary::phases;
use crate::rpc::webhooks::keys::Keys;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use postrider_core::attempt::HeadBlock;
use postrider_core::endpoint::Endpoint;
use postrider_core::error::Category;
use postrider_core::id::EndpointId;
use postrider_core::ports::Response;
use postrider_core::sign::header;
use postrider_engine::{Carried, NotProbed, Probed};
use postrider_proto::v1;
use std::sync::Arc;

/// Sends a signed test, whatever the endpoint's status. One that fails is an answer as well, and no reason to disable anything.
pub(super) async fn test(app: &App, access: &Access, id: EndpointId) -> Result<v1::TestEndpointResponse, Problem> {
    let endpoint = Arc::clone(find(&app.engine.routes(), access, id)?);
    match app.engine.probe(id).await {
        Ok(probed) => {
            let signatures = if probed.request.is_some() { signatures(app, &endpoint) } else { Vec::new() };
            let attempt = v1::AttemptStory { signatures, ..story(probed) };
            Ok(v1::TestEndpointResponse { success: attempt.error_code.is_empty(), attempt: attempt.into() })
        }
        Err(NotProbed::Gone) => Err(missing()),
        Err(NotProbed::Busy) => Err(Problem::unavailable("too many tests are under way: try again in a moment")),
    }
}

/// How a receiver checks what an endpoint's requests are signed with.
fn signatures(app: &App, endpoint: &Endpoint) -> Vec<v1::Signature> {
    let Keys { shared, pairs } = Keys::of(app, endpoint);
    let signing = |all: usize| if endpoint.old_secrets_sign(app.engine.now()) { all } else { all.min(1) };
    let carried = Carried { headers: HeaderMap::new(), shared: signing(shared.len()), pairs: signing(pairs.len()) };
    endpoint.schemes.iter().filter_map(|scheme| signature(*scheme, &carried)).collect()
}

fn story(probed: Probed) -> v1::AttemptStory {
    let category = probed.error.as_ref().map_or(Category::Success, |error| error.code.category());
    let (code, message) = probed.error.map_or((String::new(), String::new()), |error| (error.code.to_string(), error.message));
    let (request_headers, request_body) = probed.request.map(|(headers, body)| sent(&headers, body)).unzip();
    let retry_after = probed.response.as_ref().and_then(|response| response.retry_after);
    let (response_headers, response_body) = probed.response.map(answered).unzip();
    v1::AttemptStory {
        attempt_id: probed.attempt.to_string(),
        number: 1,
        url: probed.url.to_string(),
        method: String::from("POST"),
        started_at: timestamp(probed.started_at).into(),
        finished_at: timestamp(probed.started_at.after(probed.took)).into(),
        http_status: count(probed.http_status.unwrap_or_default()),
        category: category.as_str().to_owned(),
        error_code: code,
        error_message: message,
        phases: phases(&probed.phases).into(),
        request_headers: request_headers.unwrap_or_default(),
        request_headers_changed: false,
        request_body: request_body.into(),
        response_headers: response_headers.unwrap_or_default(),
        response_body: response_body.into(),
        retry_after_seconds: retry_after.map(|wait| wait.as_secs_f64()),
        signatures: Vec::new(),
    }
}

/// What was sent. Secrets and signatures are masked.
fn sent(headers: &HeaderMap, body: Bytes) -> (Vec<v1::Header>, v1::Content) {
    let shown = |(name, value): (&HeaderName, &HeaderValue)| {
        let masked = value.is_sensitive() || header::SIGNATURES.contains(&name.as_str());
        let value = if masked { HeadBlock::MASK.to_owned() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() };
        v1::Header { name: name.to_string(), value, masked }
    };
    let media = headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let content = v1::Content { bytes: body.into(), truncated: false, removed: false, media_type: media.to_owned() };
    (headers.iter().map(shown).collect(), content)
}

fn answered(response: Response) -> (Vec<v1::Header>, v1::Content) {
    let header =
        |(name, value): (&str, &str)| v1::Header { name: name.to_owned(), value: value.to_owned(), masked: HeadBlock::is_secret(name) };
    let media = response.head.iter().find(|(name, _)| *name == CONTENT_TYPE.as_str()).map_or("", |(_, value)| value);
    let media_type = media.to_owned();
    let headers = response.head.iter().map(header).collect();
    (headers, v1::Content { bytes: response.body.into(), truncated: response.truncated, removed: false, media_type })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_signatures_are_masked() {
        let mut headers = HeaderMap::new();
        let mut secret = HeaderValue::from_static("s3cret");
        secret.set_sensitive(true);
        headers.insert("authorization", secret);
        headers.insert("webhook-signature", HeaderValue::from_static("v1,abc"));
        headers.insert("x-team", HeaderValue::from_static("ops"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (shown, body) = sent(&headers, Bytes::from_static(b"{}"));
        let of = |name: &str| shown.iter().find(|header| header.name == name).map(|header| (header.value.as_str(), header.masked));
        assert_eq!((of("authorization"), of("webhook-signature")), (Some(("***", true)), Some(("***", true))));
        assert_eq!((of("x-team"), body.media_type.as_str(), &body.bytes[..]), (Some(("ops", false)), "application/json", &b"{}"[..]));
    }

    #[test]
    fn an_answer_keeps_what_was_kept_of_its_head() {
        let head = HeadBlock::from_lines("content-type: text/plain\nset-cookie: ***\n");
        let response = Response { status: 200, retry_after: None, head, body: Bytes::from_static(b"ok"), truncated: true };
        let (headers, content) = answered(response);
        assert_eq!(headers.iter().map(|header| header.masked).collect::<Vec<_>>(), [false, true]);
        assert_eq!((content.media_type.as_str(), content.truncated, &content.bytes[..]), ("text/plain", true, &b"ok"[..]));
    }
}
