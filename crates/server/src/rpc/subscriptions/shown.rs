//! A subscription as it is shown.

use super::super::access::timestamp;
use super::super::page::count;
use postrider_core::body::BodyForm;
use postrider_core::subscription::Subscription;
use postrider_proto::webhook as w;

/// A subscription. What is not said in it is that of its webhook.
pub(super) fn subscription(subscription: &Subscription) -> w::EventSubscription {
    let (transform_enabled, transform_template) = match &subscription.body {
        BodyForm::Template(form) => (form.enabled, form.source.as_str().to_owned()),
        BodyForm::Raw | BodyForm::Items(_) | BodyForm::Rpc => (false, String::new()),
    };
    w::EventSubscription {
        subscription_id: subscription.id.to_string(),
        webhook_id: subscription.endpoint.to_string(),
        event_name: event_name(subscription),
        namespace: subscription.namespace.to_string(),
        headers: subscription.request.headers.iter().cloned().collect(),
        method: subscription.request.method.as_str().to_owned(),
        // Another API may have set a part of a second, which counts as a whole one.
        timeout: subscription.timeout.map_or(0, |timeout| count(timeout.as_millis().div_ceil(1_000))),
        transform_enabled,
        transform_template,
        created_at: timestamp(subscription.created_at).into(),
        updated_at: timestamp(subscription.updated_at).into(),
        label_filters: subscription.labels.0.clone().into_iter().collect(),
    }
}

/// What it is to: a name, a pattern, or `*`; what another API subscribed to several, with commas between them.
pub(super) fn event_name(subscription: &Subscription) -> String {
    let names: Vec<String> = subscription.patterns.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::from("*") } else { names.join(",") }
}
