//! What is wanted, put into a webhook and its subscriptions.

use super::keys::{self, Fresh, MASK};
use super::scope::Want;
use super::wanted::{Http, Wanted};
use crate::config::value::Secret;
use crate::http::json::clip;
use crate::http::{App, Problem};
use crate::random;
use http::Uri;
use postrider_core::body::BodyForm;
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::filter::{LabelFilter, TypePattern};
use postrider_core::id::SubscriptionId;
use postrider_core::ports::ConfigChange;
use postrider_core::retry::{RetryPolicy, Schedule};
use postrider_core::seal::Sealed;
use postrider_core::subscription::{Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use std::time::Duration;

/// Retries of a webhook that says nothing of them, and the wait before the first one (contract, section 6).
const MAX_RETRIES: u32 = 3;
const BACKOFF: Duration = Duration::from_secs(60);

/// How much of a response is kept where that is asked for, in bytes.
const CAPTURED: u32 = 1 << 20;

/// A change of a webhook: what to store, and the secret that was made.
pub(super) struct Changed {
    pub(super) changes: Vec<ConfigChange>,
    pub(super) secret: Option<Secret>,
}

/// The webhook as it is wanted, with its subscriptions. A change of the keys or headers of a webhook that Postrider disabled does not enable it.
pub(super) fn changed(
    app: &App,
    routes: &Routes,
    before: &Endpoint,
    wanted: &Wanted,
    fresh: &Fresh,
    now: Timestamp,
) -> Result<Changed, Problem> {
    let mut endpoint = before.clone();
    if let Want::Set(url) = &wanted.url {
        endpoint.url.clone_from(url);
        check_unique(routes, &endpoint)?;
    }
    if let Some(name) = wanted.description.clone().or(String::new) {
        endpoint.name = name;
    }
    if let Some(headers) = wanted.headers.clone().or(Vec::new) {
        endpoint.headers = headers;
    }
    if let Some(headers) = wanted.secret_headers.clone().or(Vec::new) {
        endpoint.secret_headers = sealed(app, &headers, before)?;
    }
    check_headers(&endpoint)?;
    put_http(&mut endpoint, &wanted.http);
    let secret = keys::change(app, &mut endpoint, &wanted.secret, &wanted.signature, fresh);
    endpoint.status = match (wanted.active.clone().or(|| true), endpoint.status) {
        (Some(true), _) => EndpointStatus::Active,
        (Some(false), EndpointStatus::Active) => EndpointStatus::Paused { at: now },
        (_, status) => status,
    };
    endpoint.updated_at = now;
    let subscriptions = subscriptions(app, routes, &endpoint, wanted.events.clone().or(Vec::new), now);
    // The endpoint comes first: a subscription leads somewhere from the beginning.
    let changes = std::iter::once(ConfigChange::Endpoint(endpoint)).chain(subscriptions.into_iter().map(ConfigChange::Subscription));
    Ok(Changed { changes: changes.collect(), secret })
}

/// No two webhooks of a namespace lead to the same place, however that is spelt.
fn check_unique(routes: &Routes, endpoint: &Endpoint) -> Result<(), Problem> {
    let place = place(&endpoint.url);
    let is_taken = |other: &Endpoint| other.id != endpoint.id && other.namespace == endpoint.namespace && self::place(&other.url) == place;
    if routes.endpoints().any(|other| is_taken(other)) {
        return Err(Problem::conflict("a webhook with this URL is in the namespace: resource already exists"));
    }
    Ok(())
}

/// Where a URL leads.
fn place(url: &str) -> Option<(bool, String, u16, String)> {
    let uri: Uri = url.parse().ok()?;
    let https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    Some((https, uri.host()?.to_ascii_lowercase(), port, uri.path_and_query()?.as_str().to_owned()))
}

/// Secret headers as they are stored. A value that is the mask stays as it is.
fn sealed(app: &App, headers: &[(String, Secret)], before: &Endpoint) -> Result<Vec<(String, Sealed)>, Problem> {
    let seal = |(name, value): &(String, Secret)| {
        if value.reveal() != MASK {
            return Ok((name.clone(), app.engine.seal(value.reveal(), &mut random::fill)));
        }
        let kept = before.secret_headers.iter().find(|(old, _)| old.eq_ignore_ascii_case(name));
        let (_, value) = kept.ok_or_else(|| {
            let message = format!("secret_headers: {:?} is the mask that is shown for secrets, and there is no value to keep", clip(name));
            Problem::bad_request(message)
        })?;
        Ok((name.clone(), value.clone()))
    };
    headers.iter().map(seal).collect()
}

/// Credentials that another API gave the webhook take up a header of their own.
fn check_headers(endpoint: &Endpoint) -> Result<(), Problem> {
    let Some(taken) = endpoint.auth.header_name() else { return Ok(()) };
    let plain = endpoint.headers.iter().map(|(name, _)| name);
    let mut names = plain.chain(endpoint.secret_headers.iter().map(|(name, _)| name));
    match names.find(|name| name.eq_ignore_ascii_case(taken)) {
        Some(name) => Err(Problem::bad_request(format!("headers: {name:?} is the header of this webhook's credentials"))),
        None => Ok(()),
    }
}

fn put_http(endpoint: &mut Endpoint, wanted: &Http) {
    let defaults = HttpOptions::rpc();
    let options = &mut endpoint.http;
    if let Some(timeout) = wanted.timeout.clone().or(|| defaults.timeout) {
        options.timeout = timeout;
    }
    if let Some(captures) = wanted.captures.clone().or(|| false) {
        options.response_cap = if captures { CAPTURED } else { defaults.response_cap };
    }
    if let Some(follows) = wanted.follows.clone().or(|| defaults.follow_redirects) {
        options.follow_redirects = follows;
    }
    if let Some(verifies) = wanted.verifies.clone().or(|| defaults.verify_tls) {
        options.verify_tls = verifies;
    }
    if let Some(expected) = wanted.expected.clone().or(|| defaults.expected_status.clone()) {
        options.expected_status = expected;
    }
    match &wanted.user_agent {
        Want::Keep => {}
        Want::Default => options.user_agent = None,
        Want::Set(agent) => options.user_agent = Some(agent.clone()),
    }
    match &wanted.content_type {
        Want::Keep => {}
        Want::Default => options.content_type = None,
        Want::Set(media) => options.content_type = Some(media.clone()),
    }
    let retries = wanted.max_retries.clone().or(|| MAX_RETRIES);
    let backoff = wanted.backoff.clone().or(|| BACKOFF);
    if retries.is_some() || backoff.is_some() {
        let before = Retries::of(&policy(options));
        let policy = RetryPolicy::rpc(retries.unwrap_or(before.max), backoff.unwrap_or(before.backoff));
        options.retry = Some(policy);
    }
    if let Some(limit) = wanted.rate.clone().or(|| None) {
        endpoint.rate_limit = limit;
    }
}

/// How hard deliveries of a webhook's subscriptions are tried.
pub(in crate::rpc) fn policy(options: &HttpOptions) -> RetryPolicy {
    options.retry.clone().unwrap_or_else(|| RetryPolicy::rpc(MAX_RETRIES, BACKOFF))
}

/// A policy as the contract says it.
pub(super) struct Retries {
    /// Attempts after the first one.
    pub(super) max: u32,
    /// The wait before the first of them.
    pub(super) backoff: Duration,
}

impl Retries {
    pub(super) fn of(policy: &RetryPolicy) -> Self {
        let backoff = match &policy.schedule {
            Schedule::Exponential { base, .. } => *base,
            Schedule::List(gaps) => gaps.first().copied().unwrap_or_default(),
        };
        Retries { max: policy.max_attempts.saturating_sub(1), backoff }
    }
}

/// The subscriptions that change: those that come or go where `events` says which there should be, and those whose policy is another one.
/// What another API has subscribed the webhook to is that API's.
fn subscriptions(app: &App, routes: &Routes, endpoint: &Endpoint, events: Option<Vec<TypePattern>>, now: Timestamp) -> Vec<Subscription> {
    let policy = policy(&endpoint.http);
    let own: Vec<_> = routes.subscriptions_of(endpoint.id).filter(|subscription| subscription.origin == Origin::Rpc).collect();
    let mut changes = Vec::new();
    for subscription in &own {
        let goes = events.as_ref().is_some_and(|events| !subscription.patterns.iter().any(|pattern| events.contains(pattern)));
        if goes {
            changes.push(Subscription { deleted_at: Some(now), updated_at: now, ..Subscription::clone(subscription) });
        } else if subscription.retry != policy {
            changes.push(Subscription { retry: policy.clone(), updated_at: now, ..Subscription::clone(subscription) });
        }
    }
    let is_new = |pattern: &TypePattern| !own.iter().any(|subscription| subscription.patterns.contains(pattern));
    changes.extend(events.into_iter().flatten().filter(is_new).map(|pattern| Subscription {
        id: SubscriptionId::new(app.engine.new_id()),
        namespace: endpoint.namespace.clone(),
        name: String::new(),
        endpoint: endpoint.id,
        origin: Origin::Rpc,
        active: true,
        patterns: vec![pattern],
        labels: LabelFilter::default(),
        matches: None,
        request: RequestForm::default(),
        body: BodyForm::Rpc,
        retry: policy.clone(),
        timeout: None,
        rate_limit: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_the_same_place_however_they_are_spelt() {
        for (a, b, is_same) in [
            ("https://a.test", "https://A.test:443/", true),
            ("http://a.test:80/x?y", "http://a.test/x?y", true),
            ("https://a.test/", "http://a.test/", false),
            ("https://a.test/x", "https://a.test/X", false),
            ("https://a.test/x", "https://a.test/x?", false),
        ] {
            assert_eq!(place(a) == place(b), is_same, "{a} {b}");
        }
    }
}
