//! What happens next to a delivery, and why: one sentence.

use crate::rpc::v1::words::{ordinal, span};
use postrider_core::attempt::{MAX_RETRY_AFTER, Outcome};
use postrider_core::delivery::{Progress, State};
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::limit::RateLimit;
use postrider_core::retry::{DEFAULT_FREE_WAIT, MAX_FREE_WAIT, RetryPolicy, parse_retry_after};
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use std::time::Duration;

/// By how much a wait may differ from what it follows from: times are taken one after the other.
const SLACK: Duration = Duration::from_secs(1);

/// Everything that decides what happens next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    /// The time.
    pub(super) now: Timestamp,
    /// How far the delivery is.
    pub(super) progress: Progress,
    /// How many attempts there were that count, and how many there may be.
    pub(super) made: u32,
    pub(super) most: u32,
    /// When its newest attempt began.
    pub(super) began_at: Option<Timestamp>,
    /// What came of its newest attempt that ended.
    pub(super) last: Option<&'a Outcome>,
    /// Its subscription, unless nothing is sent for it any more.
    pub(super) subscription: Option<&'a Subscription>,
    /// Its endpoint, unless that was deleted.
    pub(super) endpoint: Option<&'a Endpoint>,
    /// Whether the endpoint takes nothing.
    pub(super) is_parked: bool,
    /// How often that may be sent to.
    pub(super) rate_limit: Option<RateLimit>,
    /// Whether somebody called it off, and whoever has it has not heard of it yet or has an attempt of it under way.
    pub(super) called_off: bool,
}

/// What happens next and why.
pub(super) fn next(of: &Standing<'_>) -> String {
    match of.progress.state {
        State::Pending { .. } | State::Retrying { .. } if of.called_off => {
            String::from("It was cancelled: it ends as soon as the node that has it hears of it.")
        }
        State::Sending if of.called_off => format!("{} It was cancelled: it ends after this attempt, unless that succeeds.", sending(of)),
        State::Pending { due_at } | State::Retrying { due_at } => waits(of, due_at),
        State::Sending => sending(of),
        State::Succeeded => String::from("Delivered; nothing more happens."),
        State::Failed(code) => failed(of, code),
        State::Expired => String::from("Its time to live ran out before it was delivered."),
        State::Cancelled(ErrorCode::SubscriptionDeleted) => String::from("Cancelled: its subscription was deleted."),
        State::Cancelled(ErrorCode::EndpointDeleted) => String::from("Cancelled: its endpoint was deleted."),
        State::Cancelled(_) => String::from("Cancelled by a person."),
    }
}

/// When the receiver asked to be asked again, by the headers of its answer.
pub(super) fn retry_after(outcome: &Outcome) -> Option<Duration> {
    let mut headers = outcome.response_headers.as_ref()?.iter();
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
    parse_retry_after(value, outcome.finished_at)
}

fn sending(of: &Standing<'_>) -> String {
    let since = of.began_at.map_or_else(String::new, |at| format!(" for {}", span(of.now.since(at))));
    let timeout = of.subscription.and_then(|subscription| subscription.timeout).or(of.endpoint.map(|endpoint| endpoint.http.timeout));
    let most = timeout.map_or_else(String::new, |timeout| format!("; it may take {}", span(timeout)));
    format!("Attempt {} of {} is under way{since}{most}.", of.made, of.most)
}

fn failed(of: &Standing<'_>, code: ErrorCode) -> String {
    match code {
        ErrorCode::DestinationDisabled => String::from("Given up: its endpoint was disabled for too long."),
        _ if of.made >= of.most => format!("No attempt is left: {} of {} were made.", of.made, of.most),
        _ => format!("Given up: after {code} it is not tried again, though {} of {} attempts were left.", of.most - of.made, of.most),
    }
}

fn waits(of: &Standing<'_>, due_at: Timestamp) -> String {
    let Some(endpoint) = of.endpoint else { return String::from("It is about to be cancelled: its endpoint was deleted.") };
    let Some(subscription) = of.subscription else { return String::from("It is about to be cancelled: its subscription was deleted.") };
    let attempt = format!("Attempt {} of {}", of.made.saturating_add(1), of.most.max(of.made.saturating_add(1)));
    match endpoint.status {
        EndpointStatus::Paused { .. } if of.is_parked => return String::from("Its endpoint is paused: it goes on when that is resumed."),
        EndpointStatus::Disabled { reason, .. } if of.is_parked => {
            return format!("Its endpoint was disabled ({reason}): it goes on when that is active again.");
        }
        EndpointStatus::Active | EndpointStatus::Paused { .. } | EndpointStatus::Disabled { .. } => {}
    }
    let left = due_at.since(of.now);
    if left.is_zero() {
        return format!("{attempt} {}.", turn(of, endpoint, of.now.since(due_at)));
    }
    let why = why(of, subscription, due_at).map_or_else(String::new, |why| format!(": {why}"));
    format!("{attempt} is due in {}{why}.", span(left))
}

/// Why an attempt that is due has not begun.
fn turn(of: &Standing<'_>, endpoint: &Endpoint, late: Duration) -> String {
    if late < SLACK {
        return String::from("is due now");
    }
    let because = match (of.rate_limit, endpoint.concurrency) {
        (Some(limit), _) => format!(", and its endpoint takes {}", rate(limit)),
        (None, Some(1)) => String::from(", and its endpoint takes one request at a time"),
        (None, Some(most)) => format!(", and its endpoint takes {most} requests at a time"),
        (None, None) => String::new(),
    };
    format!("has been due for {}: it waits for its turn{because}", span(late))
}

fn rate(limit: RateLimit) -> String {
    const SECOND: Duration = Duration::from_secs(1);
    if limit.interval == SECOND {
        String::from("one request a second")
    } else if limit.interval < SECOND {
        format!("{} requests a second", limit.rate_per_second())
    } else {
        format!("one request in {}", span(limit.interval))
    }
}

/// Why the next attempt is then and not at another time; `None` where that cannot be told any more.
fn why(of: &Standing<'_>, subscription: &Subscription, due_at: Timestamp) -> Option<String> {
    let last = of.last?;
    if of.progress.expires_at == Some(due_at) {
        return Some(String::from("its time to live ends then"));
    }
    let (wait, asked) = (due_at.since(last.finished_at), retry_after(last));
    let code = last.error.as_ref().map(|error| error.code);
    if subscription.origin == Origin::Rpc && code == Some(ErrorCode::RateLimited) {
        let exact = asked.map_or(DEFAULT_FREE_WAIT, |asked| asked.min(MAX_FREE_WAIT));
        // What the receiver asked for may not be known any more.
        return is_about(wait, exact, SLACK).then(|| free_wait(asked));
    }
    let policy = &subscription.retry;
    let exact = RetryPolicy { jitter_percent: 0, ..policy.clone() }.gap(of.progress.spent, 0);
    if let Some(asked) = asked.filter(|asked| *asked > exact && is_about(wait, (*asked).min(MAX_RETRY_AFTER), SLACK)) {
        let (asked, exact) = (span(asked), span(exact));
        return Some(format!("the receiver asked to wait {asked} (Retry-After), which is longer than the policy's {exact}"));
    }
    let reach = exact.saturating_mul(u32::from(policy.jitter_percent.min(100))) / 100;
    if of.progress.spent == 0 || !is_about(wait, exact, reach + SLACK) {
        return None;
    }
    let told = format!("the policy waits {} after the {} failure", span(exact), ordinal(of.progress.spent));
    let is_jittered = !reach.is_zero() && span(wait) != span(exact);
    Some(if is_jittered { format!("{told}, and jitter made it {}", span(wait)) } else { told })
}

/// After a 429 that costs no attempt.
fn free_wait(asked: Option<Duration>) -> String {
    match asked {
        None => format!("after a 429 without a usable Retry-After {} are waited, and it costs no attempt", span(DEFAULT_FREE_WAIT)),
        Some(asked) if asked > MAX_FREE_WAIT => {
            let (asked, most) = (span(asked), span(MAX_FREE_WAIT));
            format!(
                "the receiver asked to wait {asked} (Retry-After), and {most} is the longest that it gets after a 429, which costs no attempt"
            )
        }
        Some(asked) => format!("the receiver asked to wait {} (Retry-After) with a 429, which costs no attempt", span(asked)),
    }
}

fn is_about(wait: Duration, exact: Duration, reach: Duration) -> bool {
    wait.abs_diff(exact) <= reach
}

#[cfg(test)]
mod tests;
