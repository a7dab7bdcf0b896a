//! The shapes of this API: snake_case, plain nulls, whole seconds in UTC.

use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::error::ErrorCode;
use postrider_core::id::{AttemptId, DeadLetterId, DeliveryId, ScheduledId, SubscriptionId};
use postrider_core::ports::{DeadLetterView, DeliveryView};
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use postrider_engine::Route;
use serde::Serialize;
use std::borrow::Cow;

/// A time as this API shows it: `2025-05-12T12:00:00Z`.
pub(super) fn time(at: Timestamp) -> String {
    at.rfc3339(0)
}

/// A delivery's status as this API names it.
pub(super) fn status(state: StateKind) -> &'static str {
    match state {
        StateKind::Pending | StateKind::Retrying => "pending",
        StateKind::Sending => "processing",
        StateKind::Succeeded => "delivered",
        StateKind::Failed | StateKind::Expired | StateKind::Cancelled => "failed",
    }
}

/// Payloads are UTF-8 from the moment they are accepted; one that a damaged store returns is still shown.
fn payload(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// `GET /deliveries/{id}`.
#[derive(Debug, Serialize)]
pub(super) struct TaskAndLogs<'a> {
    task: Task<'a>,
    logs: Vec<Log<'a>>,
}

#[derive(Debug, Serialize)]
struct Task<'a> {
    id: DeliveryId,
    subscription_id: SubscriptionId,
    payload: Cow<'a, str>,
    status: &'static str,
    created_at: String,
    last_attempt_at: Option<String>,
    attempt_count: u32,
    next_attempt_at: Option<String>,
    event_type: Option<&'a str>,
    max_attempts: Option<u32>,
    waiting_for: Option<&'static str>,
}

impl<'a> TaskAndLogs<'a> {
    /// `max_attempts` is null once the subscription is gone. While its endpoint is disabled a task has no next attempt, but something
    /// that it waits for.
    pub(super) fn new(view: &'a DeliveryView, route: Option<&Route>) -> Self {
        let delivery = &view.delivery;
        let due_at = delivery.progress.state.due_at();
        let is_disabled = route.is_some_and(|route| matches!(route.endpoint.status, EndpointStatus::Disabled { .. }));
        let is_parked = is_disabled && due_at.is_some();
        let task = Task {
            id: delivery.id,
            subscription_id: delivery.subscription,
            payload: payload(&view.event.payload),
            status: status(delivery.progress.state.kind()),
            created_at: time(delivery.created_at),
            last_attempt_at: delivery.last_attempt_at.map(time),
            attempt_count: delivery.progress.attempts,
            next_attempt_at: due_at.filter(|_| !is_parked).map(time),
            event_type: non_empty(&view.event.event_type),
            max_attempts: route.map(|route| route.subscription.retry.max_attempts),
            waiting_for: is_parked.then_some(ErrorCode::DestinationDisabled.as_str()),
        };
        TaskAndLogs { task, logs: view.attempts.iter().filter_map(Log::new).collect() }
    }
}

/// One attempt.
#[derive(Debug, Serialize)]
pub(super) struct Log<'a> {
    id: AttemptId,
    delivery_task_id: DeliveryId,
    subscription_id: SubscriptionId,
    target_url: &'a str,
    timestamp: String,
    attempt_number: u32,
    outcome: &'static str,
    http_status: Option<u16>,
    error_details: Option<&'a str>,
}

impl<'a> Log<'a> {
    /// An attempt under way has no outcome, and this API has no word for that: it is no log yet.
    fn new(attempt: &'a Attempt) -> Option<Self> {
        let Outcome { http_status, error, .. } = attempt.outcome.as_ref()?;
        Some(Log {
            id: attempt.id,
            delivery_task_id: attempt.delivery,
            subscription_id: attempt.subscription,
            target_url: &attempt.target_url,
            timestamp: time(attempt.started_at),
            attempt_number: attempt.number,
            outcome: if error.is_none() { "success" } else { "failed_attempt" },
            http_status: *http_status,
            error_details: error.as_ref().map(|e| e.message.as_str()),
        })
    }
}

/// One attempt in the list of a subscription.
#[derive(Debug, Serialize)]
pub(super) struct ListedLog<'a> {
    #[serde(flatten)]
    log: Log<'a>,
    task_status: &'static str,
}

impl<'a> ListedLog<'a> {
    pub(super) fn new(attempt: &'a Attempt, state: StateKind) -> Option<Self> {
        Log::new(attempt).map(|log| ListedLog { log, task_status: status(state) })
    }
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub(super) struct DlqTask<'a> {
    id: DeadLetterId,
    original_task_id: DeliveryId,
    subscription_id: SubscriptionId,
    payload: Cow<'a, str>,
    failed_at: String,
    reason: &'a str,
    attempt_count: u32,
    status: &'static str,
    last_attempt_at: Option<String>,
    event_type: Option<&'a str>,
    error_details: &'a str,
}

impl<'a> DlqTask<'a> {
    pub(super) fn new(view: &'a DeadLetterView) -> Self {
        let letter = &view.dead_letter;
        DlqTask {
            id: letter.id,
            original_task_id: letter.delivery,
            subscription_id: view.delivery.subscription,
            payload: payload(&view.event.payload),
            failed_at: time(letter.failed_at),
            reason: reason(letter.code, &letter.message),
            attempt_count: letter.attempts,
            status: match letter.status {
                DeadLetterStatus::Open => "pending",
                DeadLetterStatus::Retried(_) => "retried",
                DeadLetterStatus::Dismissed => "deleted",
            },
            last_attempt_at: view.delivery.last_attempt_at.map(time),
            event_type: non_empty(&view.event.event_type),
            error_details: &letter.message,
        }
    }
}

/// The published text for the common case; where something else than the receiver's answers ended it, what that was.
fn reason(code: ErrorCode, message: &str) -> &str {
    match code {
        ErrorCode::EndpointGone | ErrorCode::Expired | ErrorCode::DestinationDisabled | ErrorCode::SecretUnreadable => message,
        _ => "Max retries exceeded",
    }
}

/// A scheduled webhook.
#[derive(Debug, Serialize)]
pub(super) struct ScheduledWebhook<'a> {
    id: ScheduledId,
    subscription_id: SubscriptionId,
    payload: Cow<'a, str>,
    scheduled_for: String,
    recurrence: &'static str,
    status: &'static str,
    created_at: String,
    updated_at: String,
}

impl<'a> ScheduledWebhook<'a> {
    pub(super) fn new(row: &'a Scheduled) -> Self {
        ScheduledWebhook {
            id: row.id,
            subscription_id: row.subscription,
            payload: payload(&row.payload),
            scheduled_for: time(row.due_at),
            recurrence: row.recurrence.as_str(),
            status: match row.status {
                ScheduledStatus::Pending => "pending",
                ScheduledStatus::Completed(_) => "completed",
                ScheduledStatus::Failed => "failed",
            },
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_word() {
        let words = StateKind::ALL.map(status);
        assert_eq!(words, ["pending", "processing", "pending", "delivered", "failed", "failed", "failed"]);
    }

    #[test]
    fn reasons_name_what_ended_it() {
        assert_eq!(reason(ErrorCode::Connector5xx, "500 Internal Server Error"), "Max retries exceeded");
        assert_eq!(reason(ErrorCode::EndpointGone, "410 Gone"), "410 Gone");
    }
}
