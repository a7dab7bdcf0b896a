//! What a subscription asks of events, and whether an event has it.

use crate::http::json::clip;
use postrider_core::event::Event;
use postrider_core::filter::{Facts, Match, TypePattern};
use postrider_core::signal::is_reserved;
use postrider_core::subscription::Subscription;
use postrider_proto::v1;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Most patterns of event types that a sentence names.
const NAMED_PATTERNS: usize = 10;

/// The conditions of a subscription as it is now, and whether they hold for an event: each as a sentence without its full stop.
pub(super) fn conditions(subscription: &Subscription, event: &Event) -> Vec<v1::Condition> {
    told(subscription, event, &Facts::read(&event.payload, &subscription.matches))
}

/// The same with what the predicates of several subscriptions want to know of the payload, this one's among them.
pub(super) fn told(subscription: &Subscription, event: &Event, facts: &Facts<'_>) -> Vec<v1::Condition> {
    let mut conditions = Vec::new();
    each(subscription, event, facts, &mut |holds, text| conditions.push(v1::Condition { text: text(), holds }));
    conditions
}

/// How many of them do not hold.
pub(super) fn failing(subscription: &Subscription, event: &Event, facts: &Facts<'_>) -> usize {
    let mut count = 0;
    each(subscription, event, facts, &mut |holds, _| count += usize::from(!holds));
    count
}

/// Whether a condition holds, and its sentence, which is made only where somebody reads it.
type Tell<'t> = &'t mut dyn FnMut(bool, &dyn Fn() -> String);

fn each(subscription: &Subscription, event: &Event, facts: &Facts<'_>, tell: Tell<'_>) {
    if !subscription.active {
        tell(false, &|| String::from("the subscription is active"));
    }
    event_types(&subscription.patterns, &event.event_type, tell);
    for (name, value) in &subscription.labels.0 {
        tell(event.labels.get(name) == Some(value), &|| format!("label {name} is {:?}", clip(value)));
    }
    let Some(predicate) = &subscription.matches else { return };
    let fields = alone(predicate);
    if fields.is_empty() {
        tell(predicate.matches(facts), &|| format!("payload has {}", clip(predicate.as_json())));
    }
    for (name, value, field) in &fields {
        tell(field.matches(facts), &|| format!("payload field {:?} is {}", clip(name), clip(value.get())));
    }
}

/// Postrider's own events go to whoever asks for them by name or by `delivery.*`, and not to who wants everything.
fn event_types(patterns: &[TypePattern], event_type: &str, tell: Tell<'_>) {
    let is_own = is_reserved(event_type);
    let mut has_one = false;
    for pattern in patterns.iter().filter(|pattern| pattern.matches(event_type) && !(is_own && pattern.is_any())) {
        has_one = true;
        tell(true, &|| asked(pattern));
    }
    match patterns {
        _ if has_one => {}
        [] if !is_own => tell(true, &|| String::from("every event type is wanted")),
        _ if is_own && patterns.iter().all(TypePattern::is_any) => {
            tell(false, &|| format!("event type {event_type} is asked for by name, or as delivery.*"));
        }
        [only] => tell(false, &|| asked(only)),
        several => tell(false, &|| {
            let named: Vec<String> = several.iter().take(NAMED_PATTERNS).map(ToString::to_string).collect();
            let more = several.len().saturating_sub(NAMED_PATTERNS);
            let more = if more == 0 { String::new() } else { format!(" or {more} others") };
            format!("event type matches one of {}{more}", named.join(", "))
        }),
    }
}

fn asked(pattern: &TypePattern) -> String {
    match pattern.as_exact() {
        Some(name) => format!("event type is {name}"),
        None => format!("event type matches {pattern}"),
    }
}

/// The fields of a predicate, each with the value that it must have and as a predicate of its own.
fn alone(predicate: &Match) -> Vec<(String, Box<RawValue>, Match)> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(predicate.as_json()).unwrap_or_default();
    let alone = |(name, value): (String, Box<RawValue>)| {
        let text = format!("{{{}:{}}}", serde_json::Value::from(name.as_str()), value.get());
        let field = Match::parse(&text).ok()??;
        Some((name, value, field))
    };
    fields.into_iter().filter_map(alone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postrider_core::body::BodyForm;
    use postrider_core::event::Namespace;
    use postrider_core::filter::LabelFilter;
    use postrider_core::id::{EndpointId, EventId, EventSeq, SubscriptionId};
    use postrider_core::retry::RetryPolicy;
    use postrider_core::subscription::{Origin, RequestForm};
    use postrider_core::time::Timestamp;
    use uuid::Uuid;

    fn subscription(patterns: &[&str], labels: &[(&str, &str)], predicate: &str) -> Subscription {
        let at = Timestamp::from_secs(1);
        Subscription {
            id: SubscriptionId::new(Uuid::nil()),
            namespace: Namespace::default_namespace(),
            name: String::new(),
            endpoint: EndpointId::new(Uuid::nil()),
            origin: Origin::Rpc,
            active: true,
            patterns: patterns.iter().map(|text| TypePattern::parse(text).expect("a pattern")).collect(),
            labels: LabelFilter(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()),
            matches: Match::parse(predicate).expect("a predicate"),
            body: BodyForm::Rpc,
            retry: RetryPolicy::tasks(),
            request: RequestForm::default(),
            timeout: None,
            rate_limit: None,
            created_at: at,
            updated_at: at,
            deleted_at: None,
        }
    }

    fn event(event_type: &str, labels: &[(&str, &str)], payload: &'static str) -> Event {
        Event {
            seq: EventSeq(1),
            id: EventId::new(Uuid::nil()),
            namespace: Namespace::default_namespace(),
            event_type: event_type.into(),
            payload: Bytes::from_static(payload.as_bytes()),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            metadata: BTreeMap::new(),
            idempotency_key: None,
            ttl: None,
            schema_check: Default::default(),
            created_at: Timestamp::from_secs(1),
        }
    }

    fn texts(subscription: &Subscription, event: &Event) -> Vec<(String, bool)> {
        let facts = Facts::read(&event.payload, &subscription.matches);
        let told: Vec<_> = told(subscription, event, &facts).into_iter().map(|condition| (condition.text, condition.holds)).collect();
        assert_eq!(told.iter().filter(|(_, holds)| !holds).count(), failing(subscription, event, &facts));
        assert_eq!(told.iter().all(|(_, holds)| *holds), subscription.wants(&event.event_type, &event.labels, &event.payload));
        told
    }

    fn one(text: &str, holds: bool) -> (String, bool) {
        (text.to_owned(), holds)
    }

    #[test]
    fn each_condition_says_whether_it_holds() {
        let wanted =
            subscription(&["order.*", "order.paid", "user.created"], &[("region", "eu"), ("tier", "gold")], r#"{"n":1,"a":{"x":[2]}}"#);
        let told = texts(&wanted, &event("order.paid", &[("region", "eu")], r#"{"a":{"x":[2.0]},"n":2}"#));
        let expected = [
            one("event type matches order.*", true),
            one("event type is order.paid", true),
            one("label region is \"eu\"", true),
            one("label tier is \"gold\"", false),
            one("payload field \"a\" is {\"x\":[2]}", true),
            one("payload field \"n\" is 1", false),
        ];
        assert_eq!(told, expected);
        let told = texts(&wanted, &event("refund", &[], "no JSON"));
        assert_eq!(told[0], one("event type matches one of order.*, order.paid, user.created", false));
        assert!(told[1..].iter().all(|(_, holds)| !holds));
    }

    #[test]
    fn who_wants_everything_is_told_so() {
        let everything = subscription(&[], &[], "{}");
        assert_eq!(texts(&everything, &event("", &[], "{}")), [one("every event type is wanted", true)]);
        assert_eq!(texts(&subscription(&["*"], &[], "{}"), &event("a.b", &[], "{}")), [one("event type matches *", true)]);
        let own = event("delivery.item.failed", &[], "{}");
        let refused = [one("event type delivery.item.failed is asked for by name, or as delivery.*", false)];
        assert_eq!((texts(&everything, &own), texts(&subscription(&["*"], &[], "{}"), &own)), (refused.to_vec(), refused.to_vec()));
        assert_eq!(texts(&subscription(&["delivery.*"], &[], "{}"), &own), [one("event type matches delivery.*", true)]);
        let stopped = Subscription { active: false, ..subscription(&["a"], &[], "{}") };
        let told = texts(&stopped, &event("a", &[], "{}"));
        assert_eq!(told, [one("the subscription is active", false), one("event type is a", true)]);
    }
}
