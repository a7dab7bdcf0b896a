//! Who may call what.

use super::errors;
use crate::auth::{Access, Denied};
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

/// What paths of methods begin with that other servers do not have.
const OWN: &str = "/postrider.v1.";

/// The caller, if it has the scope that the method needs and does not ask too often; and how it stands with its limit, if it has one.
pub(super) async fn admit(app: &App, parts: &Parts) -> (Option<Standing>, Result<Access, Problem>) {
    let (scope, what) = needs(parts.uri.path());
    let caller = app.caller(&parts.headers).await;
    // A key that lacks the scope takes a token too: refusing it costs as much as answering it.
    let key = caller.as_ref().ok().and_then(Option::as_ref).and_then(|access| access.key);
    let standing = key.and_then(|key| app.key_limits.take(key, what, app.engine.now()));
    let admitted = match standing.and_then(|standing| standing.refusal()) {
        Some(refusal) => Err(refusal),
        None => known(app, &parts.headers, caller, scope).map_err(Problem::from),
    };
    (standing, admitted)
}

/// Without a scope, whoever has a valid key, or needs none.
fn known(app: &App, headers: &HeaderMap, caller: Result<Option<Access>, Denied>, scope: Option<Scope>) -> Result<Access, Denied> {
    match (scope, caller) {
        (Some(scope), caller) => app.auth.require(headers, caller, scope),
        (None, Ok(None)) => app.auth.without_key(headers).cloned(),
        (None, Ok(Some(access))) => Ok(access),
        (None, Err(denied)) => Err(denied),
    }
}

/// The scope and the bucket of a method, by its name: what gets, lists or tests reads, what publishes one event publishes as in the other
/// APIs, everything else writes. Where there is no scope, any valid key will do.
fn needs(path: &str) -> (Option<Scope>, Use) {
    if let Some((service, method)) = path.strip_prefix(OWN).and_then(|rest| rest.split_once('/')) {
        return needs_of_own(service, method);
    }
    let method = path.rsplit('/').next().unwrap_or_default();
    if begins(method, &["Get", "List", "Test"]) {
        return (Some(Scope::Read), Use::Read);
    }
    let what = if matches!(method, "PushEvent" | "RePushEvent") { Use::Publish } else { Use::Write };
    (Some(Scope::Write), what)
}

/// The same for `postrider.v1`, where a test sends a request. What only counts if it is asked to (`dry_run`) is let in with any valid key:
/// the method itself asks for `read` where it counts, and for `write` where it changes something.
fn needs_of_own(service: &str, method: &str) -> (Option<Scope>, Use) {
    let reads = begins(method, &["Get", "List", "Watch", "Explain", "Find", "Preview"]);
    let scope = match (service, method) {
        ("AdminService", _) => Some(Scope::Admin),
        ("OverviewService", "GetSession" | "ListNamespaces") => None,
        ("LedgerService", "RetryMatching") | ("DeadLetterService", "ReplayDeadLetters" | "DismissDeadLetters") => None,
        _ if reads => Some(Scope::Read),
        _ => Some(Scope::Write),
    };
    (scope, if reads { Use::Read } else { Use::Write })
}

fn begins(method: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| method.starts_with(beginning))
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

    /// Every method of a package, as `Service/Method`, with what it needs.
    fn needed(package: &str) -> Vec<(String, (Option<Scope>, Use))> {
        let reflector = connectrpc_reflection::Reflector::from_descriptor_set_bytes(DESCRIPTORS).expect("descriptors");
        let services = reflector.pool().services().iter().filter_map(|s| Some((s.full_name().strip_prefix(package)?, s.methods())));
        let methods = services.flat_map(|(service, methods)| methods.iter().map(move |m| format!("{service}/{}", m.name())));
        methods.map(|method| (method.clone(), needs(&format!("/{package}{method}")))).collect()
    }

    fn those(of: &[(String, (Option<Scope>, Use))], needed: (Option<Scope>, Use)) -> BTreeSet<&str> {
        of.iter().filter(|(_, found)| *found == needed).map(|(method, _)| method.as_str()).collect()
    }

    /// Every method of the contract whose answer changes nothing; a new one that is not here has to be looked at.
    #[test]
    fn every_method_of_the_contract_has_the_scope_that_it_should() {
        let reads: BTreeSet<&str> = [
            "DeliveryService/GetDeliveryAttempts",
            "DeliveryService/GetDeliveryStatus",
            "DeliveryService/GetRetryStatus",
            "DeliveryService/ListDeliveries",
            "EventService/GetEvent",
            "EventService/GetEventRecord",
            "EventService/GetRepushStatus",
            "EventService/ListEventReports",
            "EventService/ListEvents",
            "HealthService/GetHealthSummary",
            "HealthService/GetWebhookHealth",
            "HealthService/ListWebhooksByHealth",
            "SubscriptionService/GetSubscription",
            "SubscriptionService/ListSubscriptions",
            "SubscriptionService/TestSubscriptionTemplate",
            "WebhookService/GetNamespaceStats",
            "WebhookService/GetTemplateFunctions",
            "WebhookService/ListWebhooks",
        ]
        .into();
        let methods = needed("webhook.");
        assert_eq!(methods.len(), 36);
        assert_eq!(those(&methods, (Some(Scope::Read), Use::Read)), reads);
        let publish: BTreeSet<&str> = ["EventService/PushEvent", "EventService/RePushEvent"].into();
        assert_eq!(those(&methods, (Some(Scope::Write), Use::Publish)), publish);
        assert_eq!(those(&methods, (Some(Scope::Write), Use::Write)).len(), 36 - 18 - 2);
    }

    #[test]
    fn every_method_of_our_own_has_the_scope_that_it_should() {
        let methods = needed("postrider.v1.");
        assert_eq!(methods.len(), 37);
        let anybody: BTreeSet<&str> = ["OverviewService/GetSession", "OverviewService/ListNamespaces"].into();
        assert_eq!(those(&methods, (None, Use::Read)), anybody);
        let reads: BTreeSet<&str> = [
            "DeadLetterService/GetReplayJob",
            "DeadLetterService/ListDeadLetterGroups",
            "DeadLetterService/ListDeadLetters",
            "DeadLetterService/ListReplayJobs",
            "EndpointService/GetEndpoint",
            "EndpointService/GetSubscription",
            "EndpointService/ListEndpoints",
            "EndpointService/PreviewSubscription",
            "LedgerService/ExplainDelivery",
            "LedgerService/ExplainEvent",
            "LedgerService/Find",
            "LedgerService/ListDeliveries",
            "LedgerService/ListEvents",
            "LedgerService/WatchDeliveries",
            "OverviewService/GetOverview",
            "OverviewService/GetSeries",
            "ScheduleService/ListScheduled",
        ]
        .into();
        assert_eq!(those(&methods, (Some(Scope::Read), Use::Read)), reads);
        // These ask for `write` themselves, or for `read` where they only count.
        let counts: BTreeSet<&str> =
            ["DeadLetterService/DismissDeadLetters", "DeadLetterService/ReplayDeadLetters", "LedgerService/RetryMatching"].into();
        assert_eq!(those(&methods, (None, Use::Write)), counts);
        let writes: BTreeSet<&str> = [
            "DeadLetterService/CancelReplayJob",
            "DeadLetterService/ResumeReplayJob",
            "EndpointService/EndRotation",
            "EndpointService/RotateSecret",
            "EndpointService/SetEndpointStatus",
            "EndpointService/TestEndpoint",
            "EndpointService/UpdateSubscription",
            "LedgerService/CancelDelivery",
            "ScheduleService/CancelScheduled",
            "ScheduleService/CreateScheduled",
        ]
        .into();
        assert_eq!(those(&methods, (Some(Scope::Write), Use::Write)), writes);
        let looks: BTreeSet<&str> = ["AdminService/GetSettings", "AdminService/ListKeys", "AdminService/ListNodes"].into();
        assert_eq!(those(&methods, (Some(Scope::Admin), Use::Read)), looks);
        let changes: BTreeSet<&str> = ["AdminService/CreateKey", "AdminService/RevokeKey"].into();
        assert_eq!(those(&methods, (Some(Scope::Admin), Use::Write)), changes);
        // What is no method changes nothing for whoever only reads.
        assert_eq!(needs("/postrider.v1.LedgerService/Nothing"), (Some(Scope::Write), Use::Write));
    }
}
