//! The list of deliveries, narrowed by filters, with the number of all that match.

use super::ID_SLACK;
use crate::attempt::Attempt;
use crate::delivery::{Delivery, State, StateKind};
use crate::error::{Category, ErrorCode};
use crate::event::Namespace;
use crate::id::{EndpointId, EventId, EventSeq, SubscriptionId, floor_at};
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// How much of a body comes with a delivery in a list, in bytes.
pub const LISTED_BODY_BYTES: usize = 1_024;

/// Which deliveries to list. What is `None`, or empty, narrows nothing.
///
/// What a list costs:
///
/// * The page costs what it shows and skips, and a few thousand deliveries are looked at at the most before an index is asked instead. Where
///   only deliveries that have not ended are wanted, and are not found among as many of the newest as there are of them, all such of the
///   list's endpoints are looked at, and all that are claimed, or all in whatever state where the list has no more of these (about a microsecond
///   each). Where succeeded ones are wanted and others not, those that come between are passed over (about a microsecond each).
/// * The number is the sum of kept counters, one row for each subscription of the list. With an event its deliveries are walked, as many as
///   its fan-out made. With a bound in time, or with a category other than success or a code, matches are counted in an index (about 50 ms for each
///   million), and what has not ended is looked at as above.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeliveryFilter {
    /// Of this tenant; `None` is the master view.
    pub namespace: Option<Namespace>,
    /// To this endpoint: what was sent there before a subscription moved to another one stays with it.
    pub endpoint: Option<EndpointId>,
    /// For this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Of this event.
    pub event: Option<EventSeq>,
    /// In one of these states.
    pub states: BTreeSet<StateKind>,
    /// Of this class; see [`category_of`].
    pub category: Option<Category>,
    /// With this code; see [`code_of`].
    pub code: Option<ErrorCode>,
    /// Made at this time or later.
    pub created_from: Option<Timestamp>,
    /// Made before this time.
    pub created_before: Option<Timestamp>,
}

impl DeliveryFilter {
    /// Whether it has bounds in time.
    pub fn is_timed(&self) -> bool {
        self.created_from.is_some() || self.created_before.is_some()
    }

    /// Whether a delivery made then is within the bounds.
    pub fn created_within(&self, at: Timestamp) -> bool {
        self.created_from.is_none_or(|from| at >= from) && self.created_before.is_none_or(|before| at < before)
    }

    /// The least id that a delivery within the bounds can have, and the least that it cannot have any more; see [`ID_SLACK`].
    pub fn ids(&self) -> (Uuid, Uuid) {
        let from = self.created_from.map_or(Uuid::nil(), |at| floor_at(at.before(ID_SLACK)));
        let before = self.created_before.map_or(Uuid::max(), |at| floor_at(at.after(ID_SLACK)));
        (from, before)
    }

    /// Whether a delivery in this state is wanted, as far as that says.
    pub fn wants(&self, state: StateKind) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    /// Whether one in this state is wanted that has the right class and code: none has succeeded that has a code or another class than success.
    pub fn may_want(&self, state: StateKind) -> bool {
        let has_succeeded = state == StateKind::Succeeded;
        let may_be_of_class = self.category.is_none_or(|category| (category == Category::Success) == has_succeeded);
        self.wants(state) && may_be_of_class && !(has_succeeded && self.code.is_some())
    }

    /// The codes of which a delivery must have one besides; `None` where [`DeliveryFilter::may_want`] says it.
    pub fn codes(&self) -> Option<Vec<ErrorCode>> {
        let category = self.category.filter(|category| *category != Category::Success);
        if category.is_none() && self.code.is_none() {
            return None;
        }
        let is_wanted =
            |code: &ErrorCode| category.is_none_or(|category| code.category() == category) && self.code.is_none_or(|own| own == *code);
        Some(ErrorCode::ALL.iter().copied().filter(is_wanted).collect())
    }
}

/// The code of a delivery: why it ended without success, or while it goes on why its newest attempt that ended did. `None` for one that succeeded, and
/// for one that goes on where [`category_of`] says none or success.
pub fn code_of(state: State, last_error: Option<ErrorCode>) -> Option<ErrorCode> {
    match state.kind() {
        StateKind::Succeeded => None,
        StateKind::Failed | StateKind::Expired | StateKind::Cancelled => state.reason(),
        StateKind::Pending | StateKind::Sending | StateKind::Retrying => last_error,
    }
}

/// The class of a delivery: of what it ended for, or while it goes on of the error of its newest attempt that ended.
///
/// `None` for one that goes on and has no such attempt, or one whose newest was a success (somebody had it made again), or whose attempts
/// retention took. So exactly those that succeeded are a [`Category::Success`].
pub fn category_of(state: State, last_error: Option<ErrorCode>) -> Option<Category> {
    match state.kind() {
        StateKind::Succeeded => Some(Category::Success),
        _ => code_of(state, last_error).map(ErrorCode::category),
    }
}

/// A delivery in a list, or by itself ([`Store::delivery_row`](super::Store::delivery_row)), where bodies are whole.
///
/// The list is in descending order of the ids of deliveries. They are made when the delivery is, a moment before it is stored, and ascend
/// within a process, so that this is the newest first; where a clock was set back over a restart it is the order of the clock and not that of
/// what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The delivery.
    pub delivery: Delivery,
    /// Its event's id.
    pub event_id: EventId,
    /// Its event's type.
    pub event_type: Arc<str>,
    /// The first [`LISTED_BODY_BYTES`] of its event's payload: what was sent where an attempt kept no request of its own.
    pub payload: Bytes,
    /// Its newest attempt that ended, with the first [`LISTED_BODY_BYTES`] of each body; what is cut counts as truncated. `None` where none
    /// ended yet or retention took it. Another one is under way while the delivery is being sent.
    pub last_ended: Option<Attempt>,
    /// Whether retention took the bodies of that attempt: then it has none, whatever was sent and received.
    pub bodies_removed: bool,
    /// How many of its [uncounted](crate::delivery::Progress::uncounted) attempts may have been free of charge: those that ended with
    /// [`ErrorCode::RateLimited`], as far as retention left them.
    pub rate_limited: u32,
    /// Whether somebody called it off while an engine has it in hand: it ends when that engine says something of it, unless it succeeds. Known of a
    /// delivery by itself alone: in a list nothing is.
    pub called_off: bool,
}

impl DeliveryRow {
    /// See [`category_of`].
    pub fn category(&self) -> Option<Category> {
        category_of(self.delivery.progress.state, self.last_error())
    }

    /// See [`code_of`].
    pub fn code(&self) -> Option<ErrorCode> {
        code_of(self.delivery.progress.state, self.last_error())
    }

    fn last_error(&self) -> Option<ErrorCode> {
        let outcome = self.last_ended.as_ref().and_then(|attempt| attempt.outcome.as_ref());
        outcome.and_then(|outcome| outcome.error.as_ref()).map(|error| error.code)
    }
}

/// Cuts the bodies of an attempt to what a list shows of them, and leaves out the headers of the response.
#[must_use]
pub fn with_listed_bodies(mut attempt: Attempt) -> Attempt {
    if let Some(outcome) = &mut attempt.outcome {
        if let Some(request) = &mut outcome.request_body {
            outcome.request_truncated |= request.len() > LISTED_BODY_BYTES;
            request.truncate(LISTED_BODY_BYTES);
        }
        outcome.response_truncated |= outcome.response_body.len() > LISTED_BODY_BYTES;
        outcome.response_body.truncate(LISTED_BODY_BYTES);
        outcome.response_headers = None;
    }
    attempt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_succeeded_has_a_code() {
        let filter = |category, code| DeliveryFilter { category, code, ..DeliveryFilter::default() };
        let (dns, timeout) = (Some(ErrorCode::DnsError), Some(Category::Timeout));
        for (filter, succeeded, failed, codes) in [
            (filter(None, None), true, true, None),
            (filter(Some(Category::Success), None), true, false, None),
            (filter(None, dns), false, true, Some(vec![ErrorCode::DnsError])),
            (filter(timeout, dns), false, true, Some(Vec::new())),
            (filter(Some(Category::Success), dns), false, false, Some(vec![ErrorCode::DnsError])),
        ] {
            assert_eq!((filter.may_want(StateKind::Succeeded), filter.may_want(StateKind::Failed)), (succeeded, failed), "{filter:?}");
            assert_eq!(filter.codes(), codes, "{filter:?}");
        }
        assert!(filter(timeout, None).codes().is_some_and(|codes| codes.contains(&ErrorCode::DeliveryTimeout)));
    }

    #[test]
    fn a_class_is_of_the_end_and_before_it_of_the_last_error() {
        let due_at = Timestamp::from_secs(1);
        let timed_out = Some(ErrorCode::DeliveryTimeout);
        assert_eq!(category_of(State::Succeeded, timed_out), Some(Category::Success));
        assert_eq!(category_of(State::Failed(ErrorCode::DnsError), timed_out), Some(Category::DnsError));
        assert_eq!(category_of(State::Expired, timed_out), Some(Category::Unknown));
        assert_eq!(category_of(State::Cancelled(ErrorCode::EndpointDeleted), None), Some(Category::Unknown));
        for state in [State::Pending { due_at }, State::Sending, State::Retrying { due_at }] {
            assert_eq!(category_of(state, timed_out), Some(Category::Timeout));
            assert_eq!(category_of(state, None), None);
        }
    }
}
