//! `/scheduled`.

use super::{AFTER, NO_QUERY};
use crate::openapi::json::Json;
use crate::openapi::operation::{Operation, answer, delete, get, post};
use crate::openapi::schema::{Schema, any, array, either, integer, named, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};
use crate::tasks::scheduled::MAX_LISTED;

const NEW: &str = r#"{
  "subscription_id": "01a200f1-2ef5-7824-bb69-5d10f3bd1879",
  "payload": {"report": "daily"},
  "scheduled_for": "2030-01-31T09:00:00Z",
  "recurrence": "daily"
}"#;

const FORM: &str = "subscription_id=01a200f1-2ef5-7824-bb69-5d10f3bd1879&payload=%7B%7D&scheduled_for=2030-01-31T09%3A00&recurrence=none";

const LIST: &str = r#"[
  {
    "id": "01a200f1-3333-7000-8000-000000000001",
    "subscription_id": "01a200f1-2ef5-7824-bb69-5d10f3bd1879",
    "payload": "{\"report\":\"daily\"}",
    "scheduled_for": "2030-01-31T09:00:00Z",
    "recurrence": "daily",
    "status": "pending",
    "created_at": "2025-05-12T12:00:00Z",
    "updated_at": "2025-05-12T12:00:00Z"
  }
]"#;

pub(super) fn noun() -> Noun {
    let row = object()
        .field("id", uuid())
        .field("subscription_id", uuid())
        .field("payload", string())
        .field("scheduled_for", time())
        .field("recurrence", recurrence())
        .field("status", word(["pending", "processing", "completed", "failed"]))
        .field("created_at", time())
        .field("updated_at", time())
        .closed();
    Noun {
        tag: Tag { name: "Scheduled Webhooks", about: "Webhooks that are sent later, once or again and again." },
        schemas: vec![("ScheduledWebhook", row), ("NewScheduledWebhook", wanted(any())), ("ScheduledWebhookForm", wanted(string()))],
        operations: operations(),
    }
}

fn recurrence() -> Schema {
    word(["none", "daily", "weekly", "monthly"])
}

fn wanted(payload: Schema) -> Schema {
    let utc = string().pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?$");
    object()
        .field("subscription_id", uuid().about("A subscription."))
        .field("payload", payload.about("A text that holds JSON, or (in JSON) any other value but null, whose bytes are kept."))
        .field("scheduled_for", either([time(), utc]).about("In the future; without an offset it is UTC."))
        .optional("recurrence", recurrence().default("none"))
        .closed()
}

fn operations() -> Vec<Operation> {
    let list = get("/scheduled", "listScheduled", "List scheduled webhooks")
        .about("Those still to come by due time, then those that ended, latest first.")
        .query("subscription_id", "Of this subscription; one that there is not has none.", string())
        .query("limit", "Rows of a page.", integer().range(1..=MAX_LISTED).default(MAX_LISTED))
        .query("after", AFTER, string())
        .reads()
        .answers(
            answer(200, "The scheduled webhooks.").json(array(named("ScheduledWebhook")), LIST).header("Link").header("Cache-Control"),
        );
    let id = r#"{"id": "01a200f1-3333-7000-8000-000000000001"}"#;
    let create = post("/scheduled", "createScheduled", "Schedule a webhook")
        .about("It is sent to its subscription whatever the subscription's event types are.")
        .takes(named("NewScheduledWebhook"), &[("daily", NEW)])
        .or_takes("application/x-www-form-urlencoded", named("ScheduledWebhookForm"), vec![("once", Json::from(FORM))])
        .writes()
        .answers(answer(201, "It is scheduled (JSON).").json(object().field("id", uuid()).closed(), id).header("Location"))
        .answers(answer(302, "It is scheduled (form, as browsers send it).").header("Location"));
    let remove = delete("/scheduled/{id}", "deleteScheduled", "Delete a scheduled webhook")
        .about("A series ends with its pending occurrence.")
        .id("id", "The scheduled webhook's UUID.")
        .fault(NO_QUERY)
        .writes()
        .answers(answer(204, "It is deleted."));
    vec![list, create, remove]
}
