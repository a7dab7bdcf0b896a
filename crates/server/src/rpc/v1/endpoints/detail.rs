//! An endpoint with its settings and subscriptions, and a subscription with everything that it is made of.

use super::list::{counters, summaries};
use super::{find, find_subscription, missing};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::timestamp;
use crate::rpc::page::{MAX_PAGE_BYTES, count};
use crate::rpc::v1::page::MAX_SIZE;
use crate::rpc::v1::summary::{long, state_counts};
use crate::rpc::webhooks::change::policy;
use crate::rpc::webhooks::keys::{Keys, MASK, shown};
use postrider_core::auth::Auth;
use postrider_core::body::{BodyForm, FieldMap};
use postrider_core::endpoint::Endpoint;
use postrider_core::filter::Match;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::Counters;
use postrider_core::retry::RetryPolicy;
use postrider_core::seal::Sealed;
use postrider_core::sign::Scheme;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::{Message, v1};
use std::sync::Arc;

/// Most gaps of a policy that are shown.
const SHOWN_GAPS: u32 = 20;

/// Answers an endpoint with its subscriptions, the newest first: [`MAX_SIZE`] of them, or fewer where their templates are long.
pub(super) async fn endpoint(app: &App, access: &Access, id: EndpointId) -> Result<v1::GetEndpointResponse, Problem> {
    let routes = app.engine.routes();
    let endpoint = find(&routes, access, id)?;
    let summary = summaries(app, &routes, &[endpoint]).await?.into_iter().next().ok_or_else(missing)?;
    let mut own: Vec<&Arc<Subscription>> = routes.subscriptions_of(id).collect();
    own.sort_unstable_by_key(|subscription| std::cmp::Reverse(subscription.id));
    own.truncate(MAX_SIZE as usize);
    let ids: Vec<SubscriptionId> = own.iter().map(|subscription| subscription.id).collect();
    let counters = counters(app, &ids).await?;
    let (mut subscriptions, mut bytes) = (Vec::with_capacity(own.len()), 0_usize);
    for (subscription, counters) in own.into_iter().zip(counters) {
        let shown = made(subscription, &counters);
        bytes = bytes.saturating_add(shown.encoded_len() as usize);
        if bytes > MAX_PAGE_BYTES && !subscriptions.is_empty() {
            break;
        }
        subscriptions.push(shown);
    }
    let settings = settings(app, &routes, endpoint);
    Ok(v1::GetEndpointResponse { endpoint: summary.into(), settings: settings.into(), subscriptions })
}

fn settings(app: &App, routes: &Routes, endpoint: &Endpoint) -> v1::EndpointSettings {
    let (options, now) = (&endpoint.http, app.engine.now());
    let secret = |name: &String| v1::Header { name: name.clone(), value: MASK.to_owned(), masked: true };
    let has_rpc = routes.subscriptions_of(endpoint.id).any(|subscription| subscription.origin == Origin::Rpc);
    let is_tried_by_it = options.retry.is_some() || has_rpc;
    v1::EndpointSettings {
        headers: plain(&endpoint.headers),
        secret_headers: endpoint.secret_headers.iter().map(|(name, _)| secret(name)).collect(),
        auth: match endpoint.auth {
            Auth::None => "none",
            Auth::Bearer { .. } => "bearer",
            Auth::Basic { .. } => "basic",
            Auth::ApiKey { .. } => "api_key",
        }
        .to_owned(),
        secrets: secrets(app, endpoint, now),
        schemes: schemes(endpoint, routes.public_key(endpoint.id).is_some()),
        signing_public_key: routes.public_key(endpoint.id).unwrap_or_default(),
        timeout_seconds: options.timeout.as_secs_f64(),
        follow_redirects: options.follow_redirects,
        verify_tls: options.verify_tls,
        user_agent: options.user_agent.clone().unwrap_or_default(),
        content_type: options.content_type.clone().unwrap_or_default(),
        expected_status_codes: options.expected_status.iter().map(|code| i32::from(*code)).collect(),
        rate_limit_per_second: routes.rate_limit(endpoint.id).map_or(0.0, |limit| limit.rate_per_second()),
        concurrency: count(endpoint.concurrency.unwrap_or_default()),
        payload_cap_bytes: long(endpoint.payload_cap.unwrap_or_default()),
        max_attempts: if is_tried_by_it { count(policy(options).max_attempts) } else { 0 },
    }
}

fn plain(headers: &[(String, String)]) -> Vec<v1::Header> {
    headers.iter().map(|(name, value)| v1::Header { name: name.clone(), value: value.clone(), masked: false }).collect()
}

/// The secrets that both sides have and that sign now, the newest first. A pair of keys shows its public half elsewhere.
fn secrets(app: &App, endpoint: &Endpoint, now: Timestamp) -> Vec<v1::SecretInfo> {
    let all = Keys::of(app, endpoint).shared;
    let sign = if endpoint.old_secrets_sign(now) { all.len() } else { 1 };
    let info = |(place, secret): (usize, &Sealed)| {
        let until = endpoint.old_secrets_until.filter(|_| place > 0);
        v1::SecretInfo { masked: shown(app, secret), signs_until: until.map(timestamp).into() }
    };
    all.iter().take(sign).enumerate().map(info).collect()
}

/// The names of the signatures that a delivery carries.
fn schemes(endpoint: &Endpoint, has_pair: bool) -> Vec<String> {
    let name = |scheme: &Scheme| match scheme {
        Scheme::Standard => "standard",
        Scheme::Postrider => "postrider",
        Scheme::Hub => "hub",
        Scheme::LegacyTimestamped => "legacy_timestamped",
    };
    // A pair of keys can make the one kind alone.
    let has_secret = endpoint.secrets.len() > usize::from(has_pair);
    let is_made = |scheme: &&Scheme| has_secret || (has_pair && **scheme == Scheme::Standard);
    endpoint.schemes.iter().filter(is_made).map(name).map(str::to_owned).collect()
}

/// Answers a subscription.
pub(super) async fn subscription(app: &App, access: &Access, id: SubscriptionId) -> Result<v1::SubscriptionDetail, Problem> {
    let subscription = Arc::clone(find_subscription(&app.engine.routes(), access, id)?);
    let counters = counters(app, &[id]).await?.into_iter().next().unwrap_or_default();
    Ok(made(&subscription, &counters))
}

fn made(subscription: &Subscription, counters: &Counters) -> v1::SubscriptionDetail {
    let body = Body::of(&subscription.body);
    v1::SubscriptionDetail {
        subscription_id: subscription.id.to_string(),
        namespace: subscription.namespace.to_string(),
        endpoint_id: subscription.endpoint.to_string(),
        name: subscription.name.clone(),
        origin: match subscription.origin {
            Origin::Tasks => "tasks",
            Origin::Items => "items",
            Origin::Rpc => "rpc",
        }
        .to_owned(),
        active: subscription.active,
        event_types: subscription.patterns.iter().map(ToString::to_string).collect(),
        labels: subscription.labels.0.clone().into_iter().collect(),
        r#match: subscription.matches.as_ref().map_or("", Match::as_json).to_owned(),
        body: body.kind.to_owned(),
        template: body.template.to_owned(),
        template_enabled: body.template_enabled,
        field_map: body.field_map.to_owned(),
        format: body.format.to_owned(),
        envelope: body.envelope,
        method: subscription.request.method.as_str().to_owned(),
        headers: plain(&subscription.request.headers),
        timeout_seconds: subscription.timeout.map_or(0.0, |timeout| timeout.as_secs_f64()),
        max_attempts: count(subscription.retry.max_attempts),
        gaps_seconds: gaps(&subscription.retry),
        deliveries: state_counts(counters.deliveries).into(),
        created_at: timestamp(subscription.created_at).into(),
        updated_at: timestamp(subscription.updated_at).into(),
    }
}

/// What a body is, in the contract's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Body<'b> {
    kind: &'static str,
    template: &'b str,
    template_enabled: bool,
    field_map: &'b str,
    format: &'static str,
    envelope: bool,
}

impl<'b> Body<'b> {
    fn of(form: &'b BodyForm) -> Self {
        match form {
            BodyForm::Raw => Body { kind: "raw", ..Body::default() },
            BodyForm::Rpc => Body { kind: "rpc", ..Body::default() },
            BodyForm::Items(items) => Body {
                kind: "items",
                field_map: items.field_map.as_ref().map_or("", FieldMap::as_json),
                format: items.format.as_str(),
                envelope: items.envelope,
                ..Body::default()
            },
            // One that does not make the body stays for later.
            BodyForm::Template(form) => Body {
                kind: if form.enabled { "template" } else { "rpc" },
                template: form.source.as_str(),
                template_enabled: form.enabled,
                ..Body::default()
            },
        }
    }
}

/// The first gaps of a policy between its attempts in seconds, without jitter.
fn gaps(policy: &RetryPolicy) -> Vec<f64> {
    let exact = RetryPolicy { jitter_percent: 0, ..policy.clone() };
    let most = policy.max_attempts.saturating_sub(1).min(SHOWN_GAPS);
    (1..=most).map(|spent| exact.gap(spent, 0).as_secs_f64()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::body::{Format, ItemsBody, TemplateBody};
    use postrider_core::template::Source;
    use std::time::Duration;

    #[test]
    fn every_body_is_told() {
        let template = |enabled| BodyForm::Template(TemplateBody { source: Source::parse("{{.attempt}}").expect("a template"), enabled });
        let map = FieldMap::parse(r#"{"drop":["a"]}"#).expect("a map");
        let items = BodyForm::Items(ItemsBody { format: Format::Ndjson, envelope: true, field_map: map });
        assert_eq!(
            [&BodyForm::Raw, &BodyForm::Rpc, &items, &template(true), &template(false)].map(|form| Body::of(form).kind),
            ["raw", "rpc", "items", "template", "rpc"]
        );
        let shown = Body::of(&items);
        assert!(shown.envelope && shown.format == "ndjson" && shown.field_map.contains("\"drop\""), "{shown:?}");
        assert_eq!((Body::of(&template(false)).template, Body::of(&template(false)).template_enabled), ("{{.attempt}}", false));
    }

    #[test]
    fn gaps_are_those_between_attempts() {
        assert_eq!(gaps(&RetryPolicy::tasks()), [10.0, 30.0, 60.0, 300.0]);
        assert_eq!(gaps(&RetryPolicy::rpc(3, Duration::from_secs(60))), [60.0, 120.0, 240.0]);
        assert_eq!(gaps(&RetryPolicy::rpc(0, Duration::from_secs(60))), [0.0; 0]);
        assert_eq!(gaps(&RetryPolicy { max_attempts: 100, ..RetryPolicy::tasks() }).len(), 20);
    }
}
