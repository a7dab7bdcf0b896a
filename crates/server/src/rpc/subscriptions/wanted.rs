//! What a client says about a subscription, checked: the same for a new one and in an update.

use super::super::access::failed_precondition;
use super::super::webhooks::scope::{Counts, Want};
use super::super::webhooks::wanted::{TIMEOUT_SECONDS, check_headers, in_range, listed, seconds};
use crate::http::Problem;
use crate::http::json::clip;
use postrider_core::body::{BodyForm, TemplateBody};
use postrider_core::endpoint::Endpoint;
use postrider_core::event::check_event_type;
use postrider_core::filter::{LabelFilter, TypePattern, check_labels};
use postrider_core::subscription::{Origin, Subscription, Verb};
use postrider_core::template::Source;
use postrider_proto::webhook as w;
use std::time::Duration;

/// The field that has the template.
const TEMPLATE: &str = "transform_template";

/// What is wanted of a subscription.
#[derive(Debug)]
pub(super) struct Wanted {
    headers: Want<Vec<(String, String)>>,
    method: Want<Verb>,
    timeout: Want<Duration>,
    labels: Want<LabelFilter>,
    enabled: Want<bool>,
    template: Want<Source>,
}

impl Wanted {
    /// Of a subscription to be made.
    pub(super) fn of_new(request: w::CreateSubscriptionRequest) -> Result<Self, Problem> {
        let sent = w::UpdateSubscriptionRequest {
            headers: request.headers,
            method: Some(request.method),
            timeout: Some(request.timeout),
            transform_enabled: Some(request.transform_enabled),
            transform_template: Some(request.transform_template),
            label_filters: request.label_filters,
            ..w::UpdateSubscriptionRequest::default()
        };
        Wanted::read(sent, Counts::All)
    }

    /// Of one that is there: what is not sent stays.
    pub(super) fn of_update(sent: w::UpdateSubscriptionRequest) -> Result<Self, Problem> {
        Wanted::read(sent, Counts::Sent)
    }

    fn read(sent: w::UpdateSubscriptionRequest, counts: Counts<'_>) -> Result<Self, Problem> {
        Ok(Wanted {
            headers: counts.of("headers", listed(sent.headers)).read(|headers| check_headers("headers", headers))?,
            method: said(counts.of("method", sent.method), String::is_empty).read(|name| method(&name))?,
            timeout: said(counts.of("timeout", sent.timeout), |seconds| *seconds == 0)
                .read(|n| in_range("timeout", n, TIMEOUT_SECONDS).map(seconds))?,
            labels: counts.of("label_filters", listed(sent.label_filters)).read(labels)?,
            enabled: counts.of("transform_enabled", sent.transform_enabled),
            template: said(counts.of("transform_template", sent.transform_template), String::is_empty)
                .read(|text| template(TEMPLATE, &text))?,
        })
    }

    /// Puts what is wanted into a subscription to this webhook.
    pub(super) fn put(&self, subscription: &mut Subscription, endpoint: Option<&Endpoint>) -> Result<(), Problem> {
        if let Some(headers) = self.headers.clone().or(Vec::new) {
            check_credentials(&headers, endpoint)?;
            subscription.request.headers = headers;
        }
        if let Some(method) = self.method.clone().or(Verb::default) {
            subscription.request.method = method;
        }
        match &self.timeout {
            Want::Keep => {}
            Want::Default => subscription.timeout = None,
            Want::Set(timeout) => subscription.timeout = Some(*timeout),
        }
        if let Some(labels) = self.labels.clone().or(LabelFilter::default) {
            subscription.labels = labels;
        }
        subscription.body = body(subscription, &self.template, &self.enabled, (TEMPLATE, "transform_enabled"))?;
        Ok(())
    }
}

/// The body of a subscription once it has this template, or none, and whether that makes the body; `names` are those of the two in the contract.
pub(in crate::rpc) fn body(
    subscription: &Subscription,
    template: &Want<Source>,
    enabled: &Want<bool>,
    names: (&str, &str),
) -> Result<BodyForm, Problem> {
    let before = &subscription.body;
    if template.keeps() && enabled.keeps() {
        return Ok(before.clone());
    }
    if subscription.origin != Origin::Rpc {
        return Err(failed_precondition("this subscription was made through another API, which says what its body is"));
    }
    let (source, is_enabled) = match before {
        BodyForm::Template(form) => (Some(&form.source), form.enabled),
        BodyForm::Raw | BodyForm::Items(_) | BodyForm::Rpc => (None, false),
    };
    let source = match template {
        Want::Keep => source,
        Want::Default => None,
        Want::Set(source) => Some(source),
    };
    let enabled = enabled.clone().or(|| false).unwrap_or(is_enabled);
    match (source, before) {
        (Some(source), _) => Ok(BodyForm::Template(TemplateBody { source: source.clone(), enabled })),
        (None, _) if enabled => Err(Problem::bad_request(format!("{} is required where {} is true", names.0, names.1))),
        (None, BodyForm::Template(_)) => Ok(BodyForm::Rpc),
        (None, other) => Ok(other.clone()),
    }
}

/// What is empty or zero asks for the default.
fn said<T>(want: Want<T>, is_nothing: impl Fn(&T) -> bool) -> Want<T> {
    match want {
        Want::Set(sent) if is_nothing(&sent) => Want::Default,
        other => other,
    }
}

/// What a subscription is to.
pub(super) fn pattern(name: &str) -> Result<TypePattern, Problem> {
    if name.is_empty() {
        return Err(Problem::bad_request("event_name is required"));
    }
    TypePattern::parse(name).map_err(|rule| Problem::bad_request(format!("event_name: {:?}: {rule}", clip(name))))
}

/// The name of one event type.
pub(super) fn check_event_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::bad_request("event_name is required"));
    }
    check_event_type(name).map_err(|rule| Problem::bad_request(format!("event_name: {:?}: {rule}", clip(name))))
}

/// A template; the error says the line. `name` is its field in the contract.
pub(in crate::rpc) fn template(name: &str, text: &str) -> Result<Source, Problem> {
    Source::parse(text).map_err(|error| Problem::bad_request(format!("{name}: {error}")))
}

fn method(name: &str) -> Result<Verb, Problem> {
    Verb::parse(name).ok_or_else(|| {
        let known = Verb::ALL.map(Verb::as_str).join(", ");
        Problem::bad_request(format!("method must be one of {known}, not {:?}", clip(name)))
    })
}

fn labels(sent: Vec<(String, String)>) -> Result<LabelFilter, Problem> {
    let labels = sent.into_iter().collect();
    check_labels(&labels).map_err(|rule| Problem::bad_request(format!("label_filters: {rule}")))?;
    Ok(LabelFilter(labels))
}

/// Credentials that another API gave the webhook take up a header of their own.
fn check_credentials(headers: &[(String, String)], endpoint: Option<&Endpoint>) -> Result<(), Problem> {
    let Some(taken) = endpoint.and_then(|endpoint| endpoint.auth.header_name()) else { return Ok(()) };
    match headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(taken)) {
        Some((name, _)) => Err(Problem::bad_request(format!("headers: {name:?} is the header of this webhook's credentials"))),
        None => Ok(()),
    }
}
