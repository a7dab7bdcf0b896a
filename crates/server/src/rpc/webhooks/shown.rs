//! A webhook as it is shown.

use super::super::access::timestamp;
use super::super::page::count;
use super::change::{Retries, policy};
use super::keys::{MASK, shown_secret};
use super::wanted::Signature;
use crate::boot::USER_AGENT;
use crate::http::App;
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::subscription::{Origin, Subscription};
use postrider_engine::Routes;
use postrider_proto::webhook as w;
use std::time::Duration;

/// What a subscription is called that names no event type: it gets every one.
const EVERY: &str = "*";

/// A webhook with every default filled in, and its secrets masked.
pub(in crate::rpc) fn webhook(app: &App, routes: &Routes, endpoint: &Endpoint, health: w::WebhookHealth) -> w::RegisteredWebhook {
    let public_key = routes.public_key(endpoint.id);
    let masks = endpoint.secret_headers.iter().map(|(name, _)| (name.clone(), MASK.to_owned()));
    w::RegisteredWebhook {
        webhook_id: endpoint.id.to_string(),
        namespace: endpoint.namespace.to_string(),
        events: events(routes, endpoint),
        url: endpoint.url.clone(),
        headers: endpoint.headers.iter().cloned().collect(),
        active: endpoint.status == EndpointStatus::Active,
        description: endpoint.name.clone(),
        health: health.into(),
        created_at: timestamp(endpoint.created_at).into(),
        updated_at: timestamp(endpoint.updated_at).into(),
        http_config: config(app, routes, endpoint).into(),
        secret_headers: masks.collect(),
        signature_type: signature(public_key.as_ref()).as_str().to_owned(),
        signing_public_key: public_key.unwrap_or_default(),
    }
}

/// The scheme of a webhook with this public key, or with none.
pub(super) fn signature(public_key: Option<&String>) -> Signature {
    if public_key.is_some() { Signature::Ed25519 } else { Signature::Hmac }
}

/// The event types that it is subscribed to, through whichever API, in the order in which that was done.
fn events(routes: &Routes, endpoint: &Endpoint) -> Vec<String> {
    let mut events = Vec::new();
    for subscription in routes.subscriptions_of(endpoint.id) {
        for name in names(subscription) {
            if !events.contains(&name) {
                events.push(name);
            }
        }
    }
    events
}

/// What a subscription is to.
fn names(subscription: &Subscription) -> Vec<String> {
    if subscription.patterns.is_empty() {
        return vec![EVERY.to_owned()];
    }
    subscription.patterns.iter().map(ToString::to_string).collect()
}

/// Whether a subscription is to the event type, or to the pattern, of this name.
pub(super) fn is_to(subscription: &Subscription, event: &str) -> bool {
    subscription.patterns.iter().any(|pattern| pattern.matches(event))
        || names(subscription).iter().any(|name| name == event || name == EVERY)
}

fn config(app: &App, routes: &Routes, endpoint: &Endpoint) -> w::WebhookHTTPConfig {
    let options = &endpoint.http;
    let retries = Retries::of(&policy_of(routes, endpoint));
    let secret = shown_secret(app, endpoint);
    w::WebhookHTTPConfig {
        max_retries: Some(count(retries.max)),
        retry_backoff_seconds: Some(seconds(retries.backoff)),
        capture_response_body: Some(options.response_cap > HttpOptions::rpc().response_cap),
        follow_redirects: Some(options.follow_redirects),
        verify_ssl: Some(options.verify_tls),
        request_timeout_seconds: Some(seconds(options.timeout)),
        expected_status_codes: options.expected_status.iter().map(|code| i32::from(*code)).collect(),
        webhook_secret: (!secret.is_empty()).then_some(secret),
        user_agent: Some(options.user_agent.clone().unwrap_or_else(|| USER_AGENT.to_owned())),
        content_type: Some(options.content_type.clone().unwrap_or_else(|| String::from("application/json"))),
        rate_limit_rps: endpoint.rate_limit.map(|limit| limit.rate_per_second() as f32),
    }
}

/// The policy of a webhook that was made through another API is that of what is subscribed to it there.
fn policy_of(routes: &Routes, endpoint: &Endpoint) -> postrider_core::retry::RetryPolicy {
    let others = || routes.subscriptions_of(endpoint.id).find(|s| s.origin != Origin::Rpc).map(|s| s.retry.clone());
    endpoint.http.retry.clone().or_else(others).unwrap_or_else(|| policy(&endpoint.http))
}

/// Whole seconds, of which a part counts as one.
fn seconds(span: Duration) -> i32 {
    count(span.as_millis().div_ceil(1_000))
}
