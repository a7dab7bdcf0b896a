//! `/dlq`.

use super::{AFTER, NO_QUERY};
use crate::openapi::faults;
use crate::openapi::operation::{Operation, answer, delete, get, post};
use crate::openapi::schema::{array, integer, named, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};
use crate::tasks::dlq::LISTED;

const LIST: &str = r#"[
  {
    "id": "dlq-task-uuid",
    "original_task_id": "task-uuid",
    "subscription_id": "sub-uuid",
    "payload": "{\"event\":\"order.created\"}",
    "failed_at": "2025-05-12T12:10:00Z",
    "reason": "Max retries exceeded",
    "attempt_count": 5,
    "status": "pending",
    "last_attempt_at": "2025-05-12T12:10:00Z",
    "event_type": "order.created",
    "error_details": "500 Internal Server Error"
  }
]"#;

pub(super) fn noun() -> Noun {
    let task = object()
        .field("id", uuid())
        .field("original_task_id", uuid())
        .field("subscription_id", uuid())
        .field("payload", string())
        .field("failed_at", time())
        .field("reason", string())
        .field("attempt_count", integer().at_least(0))
        .field("status", word(["pending", "retried", "deleted"]))
        .field("last_attempt_at", time().nullable())
        .field("event_type", super::event_type())
        .field("error_details", string())
        .closed();
    Noun {
        tag: Tag { name: "Dead Letter Queue", about: "Tasks that ended without success." },
        schemas: vec![("DlqTask", task)],
        operations: operations(),
    }
}

fn operations() -> Vec<Operation> {
    let (default, most) = LISTED;
    let list = get("/subscriptions/{id}/dlq", "listDlqTasks", "List dead letters of a subscription")
        .about("Newest first; those that were deleted are left out.")
        .id("id", "The subscription's UUID.")
        .query("limit", "Rows of a page.", integer().range(1..=most).default(default))
        .query("after", AFTER, string())
        .query("status", "Without those that were retried.", word(["pending"]))
        .reads()
        .answers(answer(200, "The dead letters.").json(array(named("DlqTask")), LIST).header("Link"));
    let retried = object().field("new_task_id", uuid()).field("message", string()).closed();
    let example = r#"{"new_task_id": "01a200f1-2f14-7231-bca7-ac7ac691a22c", "message": "Task queued for retry"}"#;
    let retry = post("/dlq/{dlq_task_id}/retry", "retryDlqTask", "Retry a dead letter")
        .about("A new task with the same payload for the same subscription. 409 if it was retried or deleted before, or its subscription was deleted.")
        .id("dlq_task_id", "The dead letter's UUID.")
        .fault(NO_QUERY)
        .fault(faults::CONFLICT)
        .writes()
        .answers(answer(202, "The new task is queued.").json(retried, example).header("Location"));
    let dismiss = delete("/dlq/{dlq_task_id}", "deleteDlqTask", "Delete a dead letter")
        .about("Nobody will retry it. The original task and its logs stay readable. 409 if it was retried.")
        .id("dlq_task_id", "The dead letter's UUID.")
        .fault(NO_QUERY)
        .fault(faults::CONFLICT)
        .writes()
        .answers(answer(204, "It is deleted."));
    vec![list, retry, dismiss]
}
