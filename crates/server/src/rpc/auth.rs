//! Who may call what.

use super::errors;
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::key_limits::{Standing, Use};
use axum::body::Body;
use axum::response::Response;
use connectrpc::ConnectError;
use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use postrider_core::key::Scope;

/// What callers without a valid key get over Connect, to the letter (contract of the RPC API, section 4).
const UNAUTHORIZED: &str = "{\"error\":\"unauthorized\",\"message\":\"missing or invalid API key\"}\n";

/// The caller, if it has the scope that the method needs and does not ask too often; and how it stands with its limit, if it has one.
pub(super) async fn admit(app: &App, parts: &Parts) -> (Option<Standing>, Result<Access, Problem>) {
    let (scope, what) = needs(parts.uri.path());
    let caller = app.caller(&parts.headers).await;
    // A key that lacks the scope takes a token too: refusing it costs as much as answering it.
    let key = caller.as_ref().ok().and_then(Option::as_ref).and_then(|access| access.key);
    let standing = key.and_then(|key| app.key_limits.take(key, what, app.engine.now()));
    let admitted = match standing.and_then(|standing| standing.refusal()) {
        Some(refusal) => Err(refusal),
        None => app.auth.require(&parts.headers, caller, scope).map_err(Problem::from),
    };
    (standing, admitted)
}

/// The scope and the bucket of a method, by its name: what gets, lists or tests reads, what publishes one event publishes as in the other
/// APIs, everything else writes.
fn needs(path: &str) -> (Scope, Use) {
    let method = path.rsplit('/').next().unwrap_or_default();
    if ["Get", "List", "Test"].into_iter().any(|beginning| method.starts_with(beginning)) {
        return (Scope::Read, Use::Read);
    }
    let what = if matches!(method, "PushEvent" | "RePushEvent") { Use::Publish } else { Use::Write };
    (Scope::Write, what)
}

/// The answer to whom it refuses. Without a valid key that is no error of Connect but the text that the contract has; clients of all
/// protocols read both as `unauthenticated`.
pub(super) fn refusal(problem: Problem, headers: &HeaderMap) -> Response {
    if problem.status != StatusCode::UNAUTHORIZED {
        return errors::answer(problem.into(), headers);
    }
    if errors::is_grpc(headers) {
        return errors::answer(ConnectError::unauthenticated("missing or invalid API key"), headers);
    }
    let mut response = Response::new(Body::from(UNAUTHORIZED));
    *response.status_mut() = problem.status;
    response.headers_mut().extend(problem.headers());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_proto::DESCRIPTORS;
    use std::collections::BTreeSet;

    /// Every method of the contract whose answer changes nothing; a new one that is not here has to be looked at.
    #[test]
    fn every_method_of_the_contract_has_the_scope_that_it_should() {
        let reads: BTreeSet<&str> = [
            "GetDeliveryAttempts",
            "GetDeliveryStatus",
            "GetEvent",
            "GetEventRecord",
            "GetHealthSummary",
            "GetNamespaceStats",
            "GetRepushStatus",
            "GetRetryStatus",
            "GetSubscription",
            "GetTemplateFunctions",
            "GetWebhookHealth",
            "ListDeliveries",
            "ListEventReports",
            "ListEvents",
            "ListSubscriptions",
            "ListWebhooks",
            "ListWebhooksByHealth",
            "TestSubscriptionTemplate",
        ]
        .into();
        let reflector = connectrpc_reflection::Reflector::from_descriptor_set_bytes(DESCRIPTORS).expect("descriptors");
        let services = reflector.pool().services();
        let methods: Vec<String> = services.iter().flat_map(|s| s.methods().iter().map(|m| m.name().to_owned())).collect();
        assert_eq!(methods.len(), 36);
        let found = |wanted: fn(&(Scope, Use)) -> bool| -> BTreeSet<&str> {
            methods.iter().map(String::as_str).filter(|m| wanted(&needs(&format!("/webhook.S/{m}")))).collect()
        };
        assert_eq!(found(|needed| *needed == (Scope::Read, Use::Read)), reads);
        assert_eq!(found(|needed| *needed == (Scope::Write, Use::Publish)), ["PushEvent", "RePushEvent"].into());
        assert_eq!(found(|needed| *needed == (Scope::Write, Use::Write)).len(), 36 - 18 - 2);
    }
}
