//! Conditions as a request says them, and what subscriptions of which API may ask for.

use crate::http::Problem;
use crate::http::json::{clip, doubled};
use crate::rpc::access::failed_precondition;
use postrider_core::filter::{LabelFilter, MAX_MATCH_BYTES, Match, TypePattern, check_labels};
use postrider_core::subscription::{Origin, Subscription};
use postrider_proto::v1;

/// Most event types of one subscription, as in the other APIs.
const MAX_EVENT_TYPES: usize = 100;

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    /// Any of these types; every one where there are none.
    pub(super) patterns: Vec<TypePattern>,
    /// With all of these labels.
    pub(super) labels: LabelFilter,
    /// With these values in the payload.
    pub(super) matches: Option<Match>,
}

impl Conditions {
    /// Reads what a request says.
    pub(super) fn read(sent: &v1::Conditions) -> Result<Self, Problem> {
        Ok(Conditions { patterns: patterns(&sent.event_types)?, labels: labels(sent)?, matches: matches(&sent.r#match)? })
    }

    /// Those that a subscription has.
    pub(super) fn of(subscription: &Subscription) -> Self {
        Conditions { patterns: subscription.patterns.clone(), labels: subscription.labels.clone(), matches: subscription.matches.clone() }
    }

    /// The subscription with these in place of its own.
    pub(super) fn put(self, mut subscription: Subscription) -> Subscription {
        subscription.patterns = self.patterns;
        subscription.labels = self.labels;
        subscription.matches = self.matches;
        subscription
    }

    /// Whether a subscription may get these: with what it has already it may keep whatever its API would not have given it.
    pub(super) fn check(&self, before: &Subscription) -> Result<(), Problem> {
        let origin = before.origin;
        if self.patterns != before.patterns && origin != Origin::Tasks && self.patterns.len() != 1 {
            let message = format!("conditions.event_types: a subscription made through the {} API has exactly one", name(origin));
            return Err(Problem::bad_request(message));
        }
        if self.labels != before.labels && origin != Origin::Rpc && !self.labels.0.is_empty() {
            return Err(foreign("conditions.labels", origin, Origin::Rpc));
        }
        if self.matches != before.matches && origin != Origin::Items && self.matches.is_some() {
            return Err(foreign("conditions.match", origin, Origin::Items));
        }
        Ok(())
    }
}

/// Something that subscriptions of one API alone have.
pub(super) fn foreign(what: &str, origin: Origin, owner: Origin) -> Problem {
    let (owner, origin) = (name(owner), name(origin));
    failed_precondition(format!(
        "{what}: subscriptions made through the {owner} API have this, and this one was made through the {origin} API"
    ))
}

fn name(origin: Origin) -> &'static str {
    match origin {
        Origin::Tasks => "Tasks",
        Origin::Items => "Items",
        Origin::Rpc => "RPC",
    }
}

fn patterns(names: &[String]) -> Result<Vec<TypePattern>, Problem> {
    let mut patterns = Vec::with_capacity(names.len().min(MAX_EVENT_TYPES));
    for name in names {
        let pattern =
            TypePattern::parse(name).map_err(|rule| Problem::bad_request(format!("conditions.event_types: {:?}: {rule}", clip(name))))?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
        if patterns.len() > MAX_EVENT_TYPES {
            return Err(Problem::bad_request(format!("conditions.event_types: at most {MAX_EVENT_TYPES}")));
        }
    }
    Ok(patterns)
}

fn labels(sent: &v1::Conditions) -> Result<LabelFilter, Problem> {
    let labels = sent.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    check_labels(&labels).map_err(|rule| Problem::bad_request(format!("conditions.labels: {rule}")))?;
    Ok(LabelFilter(labels))
}

fn matches(text: &str) -> Result<Option<Match>, Problem> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let predicate = Match::parse(text).map_err(|fault| Problem::bad_request(fault.under("conditions.match").to_string()))?;
    // Which of two is meant nobody knows. What is longer than that was refused.
    match doubled(text).filter(|_| text.len() <= MAX_MATCH_BYTES) {
        Some(path) => Err(Problem::bad_request(format!("conditions.match: {path} is there twice"))),
        None => Ok(predicate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::body::BodyForm;
    use postrider_core::event::Namespace;
    use postrider_core::id::{EndpointId, SubscriptionId};
    use postrider_core::retry::RetryPolicy;
    use postrider_core::subscription::RequestForm;
    use postrider_core::time::Timestamp;
    use uuid::Uuid;

    fn sent(types: &[&str], labels: &[(&str, &str)], matches: &str) -> v1::Conditions {
        v1::Conditions {
            event_types: types.iter().map(|name| (*name).to_owned()).collect(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            r#match: matches.to_owned(),
        }
    }

    fn subscription(origin: Origin, conditions: &v1::Conditions) -> Subscription {
        let at = Timestamp::from_secs(1);
        let blank = Subscription {
            id: SubscriptionId::new(Uuid::nil()),
            namespace: Namespace::default_namespace(),
            name: String::new(),
            endpoint: EndpointId::new(Uuid::nil()),
            origin,
            active: true,
            patterns: Vec::new(),
            labels: LabelFilter::default(),
            matches: None,
            request: RequestForm::default(),
            body: BodyForm::Rpc,
            retry: RetryPolicy::tasks(),
            timeout: None,
            rate_limit: None,
            created_at: at,
            updated_at: at,
            deleted_at: None,
        };
        Conditions::read(conditions).expect("conditions").put(blank)
    }

    #[test]
    fn conditions_are_read_as_they_are_elsewhere() {
        let read = Conditions::read(&sent(&["a.b", "a.b", "c.*"], &[("k", "v")], r#"{"n": 1.0}"#)).expect("conditions");
        assert_eq!(read.patterns.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.b", "c.*"]);
        assert_eq!((read.labels.0.len(), read.matches.as_ref().map(Match::as_json)), (1, Some(r#"{"n": 1.0}"#)));
        for empty in ["", " ", "{}"] {
            assert_eq!(Conditions::read(&sent(&[], &[], empty)).expect("conditions"), Conditions::default(), "{empty:?}");
        }
        let many: Vec<String> = (0..=MAX_EVENT_TYPES).map(|n| format!("a.b{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (bad, part) in [
            (sent(&["a b"], &[], ""), "conditions.event_types: \"a b\""),
            (sent(&[""], &[], ""), "conditions.event_types"),
            (sent(&many, &[], ""), "at most 100"),
            (sent(&[], &[("k k", "v")], ""), "conditions.labels"),
            (sent(&[], &[], "[]"), "conditions.match"),
            (sent(&[], &[], r#"{"a": 1, "a": 2}"#), "conditions.match: a is there twice"),
        ] {
            let refused = Conditions::read(&bad).expect_err(part);
            assert!(refused.status == 400 && refused.message.contains(part), "{}", refused.message);
        }
    }

    #[test]
    fn each_api_has_its_own_conditions() {
        let (one, two) = (sent(&["a.b"], &[], ""), sent(&["a.b", "a.c"], &[], ""));
        let (labels, matches) = (sent(&["a.b"], &[("k", "v")], ""), sent(&["a.b"], &[], r#"{"n":1}"#));
        let status = |origin, before: &v1::Conditions, wanted: &v1::Conditions| {
            let wanted = Conditions::read(wanted).expect("conditions");
            wanted.check(&subscription(origin, before)).map_err(|problem| problem.status.as_u16())
        };
        for (origin, expected) in [
            (Origin::Tasks, [Ok(()), Ok(()), Err(412), Err(412)]),
            (Origin::Items, [Ok(()), Err(400), Err(412), Ok(())]),
            (Origin::Rpc, [Ok(()), Err(400), Ok(()), Err(412)]),
        ] {
            assert_eq!([&one, &two, &labels, &matches].map(|wanted| status(origin, &one, wanted)), expected, "{origin:?}");
            for kept in [&two, &labels, &matches] {
                assert_eq!(status(origin, kept, kept), Ok(()), "what is there stays");
            }
        }
    }
}
