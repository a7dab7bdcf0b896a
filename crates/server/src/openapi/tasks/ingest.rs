//! `/ingest`.

use crate::openapi::faults;
use crate::openapi::operation::{Operation, answer, post};
use crate::openapi::schema::{any, object, string, uuid};
use crate::openapi::{Noun, Tag};
use crate::tasks::ingest::MAX_IDEMPOTENCY_KEY_BYTES;
use postrider_core::event::MAX_NAME_BYTES;

const ACCEPTED: &str = r#"{
  "delivery_task_id": "01a200f1-2f14-7231-bca7-ac7ac691a22c",
  "subscription_id": "01a200f1-2ef5-7824-bb69-5d10f3bd1879",
  "status": "pending",
  "event_id": "01a200f1-2f13-7000-9000-000000000001"
}"#;

pub(super) fn noun() -> Noun {
    Noun { tag: Tag { name: "Webhook Ingestion", about: "Events for one subscription." }, schemas: Vec::new(), operations: vec![ingest()] }
}

fn ingest() -> Operation {
    let accepted = object()
        .field(
            "delivery_task_id",
            uuid().nullable().about("The task; null for a repeated request whose task was removed at the end of its retention."),
        )
        .field("subscription_id", uuid())
        .field("status", super::task_status().nullable())
        .field("event_id", uuid())
        .closed();
    let event_type = || string().length(1..=MAX_NAME_BYTES).pattern("^[!-~]+$");
    post("/ingest/{subscription_id}", "ingest", "Ingest a webhook event")
        .about(
            "Any JSON value is taken; its bytes are kept and delivered as they are. 202 is answered once it is on disk. A subscription with a secret \
             wants `X-Hub-Signature-256`, which is authentication enough; another one wants a key. The type comes from `X-Event-Type`, else from \
             `event_type`, else from `X-GitHub-Event`.",
        )
        .signed()
        .place("subscription_id", "The subscription's UUID.", uuid())
        .query("event_type", "The event's type.", event_type())
        .header("X-Event-Type", "The event's type.", event_type())
        .header("X-GitHub-Event", "The event's type, as GitHub sends it.", event_type())
        .header(
            "Idempotency-Key",
            "The same key again stores nothing and answers the first ids, as long as the event is kept.",
            string().length(1..=MAX_IDEMPOTENCY_KEY_BYTES).pattern("^[ -~]+$"),
        )
        .takes_unlabelled(any(), &[("order", r#"{"event": "order.created"}"#)])
        .fault(faults::NOT_FOUND)
        .writes()
        .answers(answer(202, "It is stored and will be delivered.").json(accepted, ACCEPTED).header("Location"))
        .answers(answer(204, "The subscription does not want events of this type: nothing is stored."))
}
