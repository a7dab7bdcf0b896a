//! What several services of `postrider.v1` show alike: deliveries in lists, counts by state, names of endpoints.

use super::words::{ago, percent};
use crate::rpc::access::timestamp;
use crate::rpc::deliveries::shown::{self, Attempts};
use crate::rpc::page::count;
use postrider_core::attempt::{Outcome, Phases};
use postrider_core::delivery::{State, StateKind};
use postrider_core::endpoint::Endpoint;
use postrider_core::error::{Category, ErrorCode};
use postrider_core::health::{DEGRADED_IN_A_ROW, HealthTally};
use postrider_core::id::EndpointId;
use postrider_core::ports::DeliveryRow;
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use postrider_proto::v1;

pub(super) use super::conditions::conditions;

/// The states of deliveries in the contract's words.
pub(super) const STATES: [(&str, StateKind); 7] = [
    ("pending", StateKind::Pending),
    ("sending", StateKind::Sending),
    ("retrying", StateKind::Retrying),
    ("succeeded", StateKind::Succeeded),
    ("failed", StateKind::Failed),
    ("expired", StateKind::Expired),
    ("cancelled", StateKind::Cancelled),
];

/// The word for a state.
pub(super) fn word(state: StateKind) -> &'static str {
    STATES.iter().find(|(_, kind)| *kind == state).map_or("", |(word, _)| word)
}

/// A number as the contract has it: what is more than fits is the largest that does.
pub(super) fn long(of: impl TryInto<i64>) -> i64 {
    of.try_into().unwrap_or(i64::MAX)
}

/// A delivery in a list.
pub(super) fn delivery_summary(routes: &Routes, row: &DeliveryRow) -> v1::DeliverySummary {
    let (delivery, state) = (&row.delivery, row.delivery.progress.state);
    let outcome = row.last_ended.as_ref().and_then(|attempt| attempt.outcome.as_ref());
    let endpoint = routes.endpoint(delivery.endpoint).map(|endpoint| &**endpoint);
    let Attempts { made, most } = shown::attempts(routes, row);
    v1::DeliverySummary {
        delivery_id: delivery.id.to_string(),
        namespace: delivery.namespace.to_string(),
        state: word(state.kind()).to_owned(),
        event_type: row.event_type.to_string(),
        event_id: row.event_id.to_string(),
        endpoint_id: delivery.endpoint.to_string(),
        endpoint_name: endpoint.map_or_else(String::new, |endpoint| endpoint.name.clone()),
        url: url(row, endpoint),
        subscription_id: delivery.subscription.to_string(),
        attempts: count(made),
        max_attempts: count(most),
        created_at: timestamp(delivery.created_at).into(),
        last_attempt_at: delivery.last_attempt_at.map(timestamp).into(),
        due_at: state.due_at().map(timestamp).into(),
        http_status: count(outcome.and_then(|outcome| outcome.http_status).unwrap_or_default()),
        category: row.category().map_or("", Category::as_str).to_owned(),
        error_code: error_code(&state, outcome).map_or("", ErrorCode::as_str).to_owned(),
        error_message: shown::message(&state, outcome),
        took_ms: outcome.map_or(0.0, |outcome| millis(outcome.phases.total)),
    }
}

/// Where it goes; of what has ended where it went, as far as that is known.
fn url(row: &DeliveryRow, endpoint: Option<&Endpoint>) -> String {
    let now = endpoint.map(|endpoint| endpoint.url.as_str());
    let last = row.last_ended.as_ref().map(|attempt| &*attempt.target_url);
    let has_ended = row.delivery.progress.state.kind().is_resting();
    let url = if has_ended { last.or(now) } else { now.or(last) };
    url.unwrap_or_default().to_owned()
}

/// What went wrong last: what it ended for, or else what its last attempt failed with.
fn error_code(state: &State, last: Option<&Outcome>) -> Option<ErrorCode> {
    if *state == State::Succeeded {
        return None;
    }
    state.reason().or_else(|| Some(last?.error.as_ref()?.code))
}

/// Milliseconds.
pub(super) fn millis(micros: u32) -> f64 {
    f64::from(micros) / 1_000.0
}

/// How long the parts of an exchange took.
pub(super) fn phases(of: &Phases) -> v1::Phases {
    v1::Phases {
        dns: of.dns.map(millis),
        tcp: of.tcp.map(millis),
        tls: of.tls.map(millis),
        first_byte: of.first_byte.map(millis),
        total: millis(of.total),
    }
}

/// What an endpoint is called, or else its URL; empty where it was deleted.
pub(super) fn endpoint_label(routes: &Routes, id: EndpointId) -> String {
    let Some(endpoint) = routes.endpoint(id) else { return String::new() };
    let label = if endpoint.name.is_empty() { &endpoint.url } else { &endpoint.name };
    label.clone()
}

/// Deliveries by their state, of counts by the numbers of these.
pub(super) fn state_counts(counts: [u64; 7]) -> v1::StateCounts {
    let of = |state: StateKind| long(counts[state as usize]);
    v1::StateCounts {
        pending: of(StateKind::Pending),
        sending: of(StateKind::Sending),
        retrying: of(StateKind::Retrying),
        succeeded: of(StateKind::Succeeded),
        failed: of(StateKind::Failed),
        expired: of(StateKind::Expired),
        cancelled: of(StateKind::Cancelled),
    }
}

/// Why an endpoint is as healthy as it is, a sentence for each number that speaks: none without results.
pub(super) fn health_reasons(tally: &HealthTally, now: Timestamp) -> Vec<String> {
    let mut reasons = Vec::new();
    let in_a_row = tally.failures_in_a_row();
    if in_a_row >= DEGRADED_IN_A_ROW {
        let last = tally.last_failure_at().map_or_else(String::new, |at| format!(", the last one {}", ago(now, at)));
        reasons.push(format!("{in_a_row} attempts in a row failed{last}"));
    }
    let deliveries = tally.window().deliveries();
    if let Some(rate) = deliveries.rate() {
        let all = deliveries.succeeded.saturating_add(deliveries.failed);
        let them = if all == 1 { "delivery" } else { "deliveries" };
        reasons.push(format!("{} of {all} {them} of the last 24 hours succeeded", percent(rate)));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::health::{FailureKind, Observation};

    #[test]
    fn every_state_has_a_word_and_a_number() {
        for (n, kind) in StateKind::ALL.into_iter().enumerate() {
            assert_eq!(STATES.iter().filter(|(word, state)| *state == kind && super::word(kind) == *word).count(), 1, "{kind:?}");
            assert_eq!(kind as usize, n);
        }
        let counts = state_counts([1, 2, 3, 4, 5, 6, u64::MAX]);
        let shown = [counts.pending, counts.sending, counts.retrying, counts.succeeded, counts.failed, counts.expired, counts.cancelled];
        assert_eq!(shown, [1, 2, 3, 4, 5, 6, i64::MAX]);
    }

    #[test]
    fn a_health_says_what_it_was_judged_by() {
        let (mut tally, begin) = (HealthTally::default(), Timestamp::from_secs(1_700_000_000));
        assert_eq!(health_reasons(&tally, begin), [""; 0]);
        let mut observe = |secs, failure| {
            let at = Timestamp::from_secs(begin.as_secs() + secs);
            tally.observe(&Observation { at, failure, response_us: None, earlier: None });
        };
        observe(0, None);
        assert_eq!(health_reasons(&tally, begin), ["100 % of 1 delivery of the last 24 hours succeeded"]);
        let mut observe = |secs, failure| {
            let at = Timestamp::from_secs(begin.as_secs() + secs);
            tally.observe(&Observation { at, failure, response_us: None, earlier: None });
        };
        (1..=3).for_each(|secs| observe(secs, Some(FailureKind::Server)));
        let expected = ["3 attempts in a row failed, the last one 1 min ago", "25 % of 4 deliveries of the last 24 hours succeeded"];
        assert_eq!(health_reasons(&tally, Timestamp::from_secs(begin.as_secs() + 63)), expected);
    }

    #[test]
    fn what_went_wrong_is_of_the_end_and_before_it_of_the_last_attempt() {
        assert_eq!(error_code(&State::Succeeded, None), None);
        assert_eq!(error_code(&State::Failed(ErrorCode::DnsError), None), Some(ErrorCode::DnsError));
        assert_eq!((error_code(&State::Expired, None), error_code(&State::Sending, None)), (Some(ErrorCode::Expired), None));
    }
}
