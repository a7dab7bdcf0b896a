//! Which deliveries a request is about.

use crate::auth::Access;
use crate::http::json::clip;
use crate::http::{App, Problem};
use crate::rpc::access::{Scope, id, moment};
use crate::rpc::v1::summary::STATES;
use postrider_core::delivery::StateKind;
use postrider_core::error::{Category, ErrorCode};
use postrider_core::event::MAX_NAME_BYTES;
use postrider_core::id::{EndpointId, EventId, SubscriptionId};
use postrider_core::ports::{DeliveryFilter, DeliveryKeyParts, DeliveryRow};
use postrider_core::time::Timestamp as Moment;
use postrider_engine::Routes;
use postrider_proto::{Timestamp, v1};
use std::collections::BTreeSet;
use std::time::Duration;

/// Which deliveries a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    /// As the store narrows them.
    pub(super) filter: DeliveryFilter,
    /// Of events of this type, by which the store does not narrow them.
    pub(super) event_type: Option<String>,
}

/// Reads what a request is about; `None` where that is nothing, in a namespace that the caller does not see or of an event that is not there.
pub(super) async fn wanted(app: &App, access: &Access, sent: &v1::DeliveryFilter) -> Result<Option<Wanted>, Problem> {
    let scope = Scope::of(access, &sent.namespace)?;
    let endpoint = optional(&sent.endpoint_id, |text| id(text, "filter.endpoint_id", "endpoint", EndpointId::parse))?;
    let subscription = optional(&sent.subscription_id, |text| id(text, "filter.subscription_id", "subscription", SubscriptionId::parse))?;
    let event = optional(&sent.event_id, |text| id(text, "filter.event_id", "event", EventId::parse))?;
    let states = sent.states.iter().map(|word| state(word)).collect::<Result<BTreeSet<StateKind>, Problem>>()?;
    let category = optional(&sent.category, category)?;
    let code = optional(&sent.error_code, code)?;
    let (created_from, created_before) = bounds(sent.created_from.as_option(), sent.created_before.as_option(), "filter.")?;
    let event_type = event_type(&sent.event_type, "filter.")?;
    let Some(namespace) = scope.narrowed() else { return Ok(None) };
    let event = match event {
        None => None,
        Some(id) => match app.engine.store().event_by_id(id, namespace.clone()).await.map_err(Problem::of_read)? {
            Some(found) => Some(found.event.seq),
            None => return Ok(None),
        },
    };
    let filter = DeliveryFilter { namespace, endpoint, subscription, event, states, category, code, created_from, created_before };
    Ok(Some(Wanted { filter, event_type }))
}

fn optional<T>(text: &str, read: impl FnOnce(&str) -> Result<T, Problem>) -> Result<Option<T>, Problem> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

fn state(word: &str) -> Result<StateKind, Problem> {
    let found = STATES.iter().find(|(name, _)| *name == word);
    found.map(|(_, state)| *state).ok_or_else(|| {
        let words = STATES.map(|(name, _)| name).join(", ");
        Problem::bad_request(format!("filter.states: {:?} is none of {words}", clip(word)))
    })
}

fn category(word: &str) -> Result<Category, Problem> {
    Category::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
        Problem::bad_request(format!("filter.category: {:?} is none of {}", clip(word), words.join(", ")))
    })
}

fn code(word: &str) -> Result<ErrorCode, Problem> {
    let unknown = || Problem::bad_request(format!("filter.error_code: {:?} is no code that this server knows", clip(word)));
    ErrorCode::parse(word).ok_or_else(unknown)
}

/// The type of events that a request is about; `None` where it does not say.
pub(super) fn event_type(sent: &str, prefix: &str) -> Result<Option<String>, Problem> {
    if sent.len() > MAX_NAME_BYTES {
        return Err(Problem::bad_request(format!("{prefix}event_type: at most {MAX_NAME_BYTES} bytes")));
    }
    Ok((!sent.is_empty()).then(|| sent.to_owned()))
}

/// The bounds in time of a list, from the first to before the second. What is finer than a microsecond is none of either side.
pub(super) fn bounds(
    from: Option<&Timestamp>,
    before: Option<&Timestamp>,
    prefix: &str,
) -> Result<(Option<Moment>, Option<Moment>), Problem> {
    let read = |at: Option<&Timestamp>, name: &str| -> Result<Option<Moment>, Problem> {
        let read = at.map(|at| moment(at, &format!("{prefix}{name}"))).transpose()?;
        // Nothing is made between two microseconds.
        Ok(read.map(|(at, is_cut)| if is_cut { at.after(Duration::from_micros(1)) } else { at }))
    };
    Ok((read(from, "created_from")?, read(before, "created_before")?))
}

impl Wanted {
    /// Whether a delivery is one of these.
    pub(super) fn has(&self, row: &DeliveryRow) -> bool {
        let (filter, delivery) = (&self.filter, &row.delivery);
        filter.namespace.as_ref().is_none_or(|namespace| delivery.namespace == *namespace)
            && filter.endpoint.is_none_or(|endpoint| delivery.endpoint == endpoint)
            && filter.subscription.is_none_or(|subscription| delivery.subscription == subscription)
            && filter.event.is_none_or(|event| delivery.event == event)
            && filter.wants(delivery.progress.state.kind())
            && filter.category.is_none_or(|category| row.category() == Some(category))
            && filter.code.is_none_or(|code| row.code() == Some(code))
            && filter.created_within(delivery.created_at)
            && self.has_type(row)
    }

    /// Whether its event is of the type that is wanted.
    pub(super) fn has_type(&self, row: &DeliveryRow) -> bool {
        self.event_type.as_ref().is_none_or(|wanted| *row.event_type == **wanted)
    }

    /// Whether one that is among these may be among them no more.
    pub(super) fn may_lose(&self) -> bool {
        !self.filter.states.is_empty() || self.filter.category.is_some() || self.filter.code.is_some()
    }

    /// Whether [`Wanted::has_key`] tells which deliveries are wanted.
    pub(super) fn is_told_by_keys(&self) -> bool {
        !self.may_lose() && self.event_type.is_none() && !self.filter.is_timed()
    }

    /// Whether a delivery is one of these, as far as what it is identified by says. For one whose subscription has moved to another endpoint since,
    /// that one counts.
    pub(super) fn has_key(&self, routes: &Routes, key: &DeliveryKeyParts) -> bool {
        let filter = &self.filter;
        let goes_to =
            |endpoint: EndpointId| routes.subscription(key.subscription).is_some_and(|subscription| subscription.endpoint == endpoint);
        filter.subscription.is_none_or(|subscription| key.subscription == subscription)
            && filter.event.is_none_or(|event| key.event == event)
            && filter.endpoint.is_none_or(goes_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_from_the_one_to_before_the_other() {
        let at = |nanos| Timestamp::from_unix(1, nanos);
        let micros = |from: Option<Moment>| from.map(Moment::as_micros);
        let bounds = |nanos| bounds(Some(&at(nanos)), Some(&at(nanos)), "").map(|(from, before)| (micros(from), micros(before)));
        assert_eq!((bounds(5_000), bounds(5_001)), (Ok((Some(1_000_005), Some(1_000_005))), Ok((Some(1_000_006), Some(1_000_006)))));
        let wrong = Timestamp { seconds: 0, nanos: -1, ..Timestamp::default() };
        let refused = super::bounds(None, Some(&wrong), "filter.").expect_err("no time");
        assert_eq!(refused.message, "filter.created_before is no time");
    }

    #[test]
    fn a_type_has_a_length() {
        let (fits, long) = ("x".repeat(MAX_NAME_BYTES), "x".repeat(MAX_NAME_BYTES + 1));
        assert_eq!((event_type("", "filter."), event_type(&fits, "filter.")), (Ok(None), Ok(Some(fits.clone()))));
        let refused = event_type(&long, "filter.").expect_err("too long");
        assert_eq!((refused.status.as_u16(), refused.message), (400, format!("filter.event_type: at most {MAX_NAME_BYTES} bytes")));
    }

    #[test]
    fn words_are_those_of_the_contract() {
        assert_eq!(state("cancelled"), Ok(StateKind::Cancelled));
        for wrong in ["", "success", "Failed"] {
            let refused = state(wrong).expect_err("no state");
            let expected = format!("filter.states: {wrong:?} is none of pending, sending, retrying, succeeded, failed, expired, cancelled");
            assert_eq!((refused.status.as_u16(), refused.message), (400, expected));
        }
        assert_eq!((category("timeout"), code("dns_error")), (Ok(Category::Timeout), Ok(ErrorCode::DnsError)));
        assert_eq!(code("dns").expect_err("none").message, "filter.error_code: \"dns\" is no code that this server knows");
        assert!(category("slow").expect_err("none").message.starts_with("filter.category: \"slow\" is none of success, "));
    }
}
