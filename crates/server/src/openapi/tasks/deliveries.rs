//! `/deliveries`.

use crate::openapi::operation::{Operation, answer, get};
use crate::openapi::schema::{Schema, array, integer, named, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};

const TASK: &str = r#"{
  "task": {
    "id": "task-uuid",
    "status": "pending",
    "payload": "{\"event\":\"order.created\"}",
    "created_at": "2025-05-12T12:00:00Z",
    "attempt_count": 2,
    "last_attempt_at": "2025-05-12T12:01:00Z",
    "subscription_id": "sub-uuid"
  },
  "logs": [
    {
      "id": "log-uuid",
      "outcome": "failed_attempt",
      "timestamp": "2025-05-12T12:01:00Z",
      "target_url": "https://webhook.site/your-url",
      "http_status": 500,
      "error_details": "Timeout",
      "attempt_number": 2,
      "subscription_id": "sub-uuid",
      "delivery_task_id": "task-uuid"
    }
  ]
}"#;

const LOGS: &str = r#"[
  {
    "id": "log-uuid",
    "outcome": "failed_attempt",
    "timestamp": "2025-05-12T12:01:00Z",
    "target_url": "https://webhook.site/your-url",
    "http_status": 500,
    "error_details": "Timeout",
    "attempt_number": 2,
    "subscription_id": "sub-uuid",
    "delivery_task_id": "task-uuid",
    "task_status": "pending"
  }
]"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Analytics & Delivery Logs", about: "Delivery tasks and their logs." },
        schemas: vec![
            (
                "TaskAndLogs",
                object()
                    .field("task", named("Task"))
                    .field("logs", array(named("Log")).about("Ascending, until their retention."))
                    .closed(),
            ),
            ("Task", task()),
            ("Log", log().closed()),
            ("ListedLog", log().field("task_status", super::task_status()).closed()),
        ],
        operations: operations(),
    }
}

fn task() -> Schema {
    object()
        .field("id", uuid())
        .field("subscription_id", uuid())
        .field("payload", string().about("The JSON payload of the webhook event."))
        .field("status", super::task_status().about("Current status of the delivery task."))
        .field("created_at", time())
        .field("last_attempt_at", time().nullable())
        .field("attempt_count", integer().at_least(0))
        .field("next_attempt_at", time().nullable().about("When it is tried next; null where nothing is planned."))
        .field("event_type", super::event_type())
        .field("max_attempts", integer().at_least(1).nullable().about("Attempts in all; null once the subscription is gone."))
        .field("waiting_for", word(["destination_disabled"]).nullable().about("What it waits for, other than time."))
        .closed()
}

fn log() -> Schema {
    object()
        .field("id", uuid())
        .field("delivery_task_id", uuid())
        .field("subscription_id", uuid())
        .field("target_url", string())
        .field("timestamp", time())
        .field("attempt_number", integer().at_least(1))
        .field("outcome", word(["success", "failed_attempt"]).about("Outcome of the delivery attempt."))
        .field("http_status", integer().nullable())
        .field("error_details", string().nullable())
}

fn operations() -> Vec<Operation> {
    let show = get("/deliveries/{delivery_task_id}", "getDelivery", "Get delivery task status and logs")
        .about("Retrieve the status and all delivery attempts/logs for a delivery task.")
        .place("delivery_task_id", "Delivery task ID", string())
        .reads()
        .answers(answer(200, "Delivery task status and logs").json(named("TaskAndLogs"), TASK));
    let list = get("/subscriptions/{id}/deliveries", "listDeliveries", "List recent delivery logs of a subscription")
        .about("The latest attempts, newest first.")
        .id("id", "The subscription's UUID.")
        .query("limit", "How many.", integer().range(1..=100u32).default(20u32))
        .reads()
        .answers(answer(200, "The logs.").json(array(named("ListedLog")), LOGS));
    vec![show, list]
}
