//! Who may call what.

use super::errors;
use crate::auth::{Access, Denied};
use crate::http::{App, Problem};
use axum::body::Body;
use axum::response::Response;
use connectrpc::ConnectError;
use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use postrider_core::key::Scope;

/// What callers without a valid key get over Connect, to the letter (contract of the RPC API, section 4).
const UNAUTHORIZED: &str = "{\"error\":\"unauthorized\",\"message\":\"missing or invalid API key\"}\n";

/// The caller, if it has the scope that the method needs.
pub(super) fn admit(app: &App, parts: &Parts) -> Result<Access, Denied> {
    app.auth.require(&parts.headers, &app.engine.routes(), app.engine.now(), scope_of(parts.uri.path()))
}

/// What a method needs, by its name: what gets, lists or tests reads, everything else writes.
fn scope_of(path: &str) -> Scope {
    let method = path.rsplit('/').next().unwrap_or_default();
    let reads = ["Get", "List", "Test"].into_iter().any(|beginning| method.starts_with(beginning));
    if reads { Scope::Read } else { Scope::Write }
}

/// The answer to whom it refuses. Without a valid key that is no error of Connect but the text that the contract has; clients of all
/// protocols read both as `unauthenticated`.
pub(super) fn refusal(denied: Denied, headers: &HeaderMap) -> Response {
    let problem = Problem::from(denied);
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
        let found: BTreeSet<&str> =
            methods.iter().map(String::as_str).filter(|m| scope_of(&format!("/webhook.S/{m}")) == Scope::Read).collect();
        assert_eq!(found, reads);
    }
}
