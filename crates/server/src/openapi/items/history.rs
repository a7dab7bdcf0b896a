//! `/v1/delivery/items`: every attempt.

use super::{customer_id, error_code, event_id, page};
use crate::openapi::faults;
use crate::openapi::operation::{Operation, answer, get, post};
use crate::openapi::schema::{Schema, always, boolean, integer, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};

const PAGE: &str = r#"{
  "items": [
    {
      "id": "e5f6a7b8-c9d0-1234-efab-456789012345",
      "binding_id": "d4e5f6a7-b8c9-0123-defa-345678901234",
      "event_id": "98765",
      "idempotency_key": "a3f8c2d1e4b7",
      "status": "succeeded",
      "attempt": 1,
      "http_status": 200,
      "error_code": null,
      "error_message": null,
      "duration_ms": 234,
      "completed_at": "2024-09-15T11:00:00.000Z",
      "created_at": "2024-09-15T10:59:59.000Z"
    }
  ],
  "total": 1280,
  "next_cursor": null
}"#;

const ONE: &str = r#"{
  "id": "e5f6a7b8-c9d0-1234-efab-456789012345",
  "binding_id": "d4e5f6a7-b8c9-0123-defa-345678901234",
  "event_id": "98765",
  "idempotency_key": "a3f8c2d1e4b7",
  "status": "succeeded",
  "attempt": 1,
  "http_status": 200,
  "error_code": null,
  "error_message": null,
  "request_body": "{\"vendor\":\"Acme Corp\",\"total\":4950.00}",
  "response_body": "{\"ok\":true}",
  "request_truncated": false,
  "response_truncated": false,
  "duration_ms": 234,
  "completed_at": "2024-09-15T11:00:00.000Z",
  "created_at": "2024-09-15T10:59:59.000Z"
}"#;

const ENQUEUED: &str = r#"{"enqueued": true, "idempotency_key": "a3f8c2d1e4b7"}"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag {
            name: "Delivery History",
            about: "View delivery attempt history with status, HTTP codes, and timing. Get detail for a single item or replay a delivery attempt.",
        },
        schemas: vec![("Item", item(false)), ("ItemDetail", item(true)), ("ItemList", page("items", "Item"))],
        operations: operations(),
    }
}

fn item(detailed: bool) -> Schema {
    let head = object()
        .field("id", uuid().about("Delivery item UUID."))
        .optional("customer_id", customer_id())
        .field("binding_id", uuid().about("Binding that produced this attempt."))
        .field("event_id", event_id().about("Outbox event ID (BIGSERIAL, as string)."))
        .field(
            "idempotency_key",
            string().about("SHA-256 idempotency key sent on the wire: 32 hexadecimal digits, the same for every attempt."),
        )
        .field("status", status())
        .field("attempt", integer().at_least(1).about("Attempt number (1-indexed)."))
        .field("http_status", integer().nullable().about("HTTP response status code, if applicable."))
        .field("error_code", error_code().nullable().about("Machine-readable error code on failure."))
        .field("error_message", string().nullable().about("Human-readable error message on failure."));
    let body = |what: &str| {
        let text = format!("Truncated {what} body (up to 10 KB). Nulled after retention period. `base64:` and Base64 where it is no text.");
        string().nullable().about(text)
    };
    let middle = if detailed {
        head.field("request_body", body("request"))
            .field("response_body", body("response"))
            .field("request_truncated", boolean().about("Whether `request_body` is the beginning only."))
            .field("response_truncated", boolean().about("Whether `response_body` is the beginning only."))
    } else {
        head
    };
    middle
        .field("duration_ms", integer().at_least(0).nullable().about("Delivery duration in milliseconds."))
        .field("completed_at", time().nullable().about("ISO 8601 completion timestamp."))
        .field("created_at", time().about("ISO 8601 attempt creation timestamp."))
        .closed()
}

fn status() -> Schema {
    word(["in_flight", "succeeded", "failed"])
}

fn operations() -> Vec<Operation> {
    let list = get("/v1/delivery/items", "listItems", "List delivery attempts")
        .about("Attempts, newest first. An unknown filter is ignored; a known one with a value that cannot be is a 400.")
        .query("binding_id", "Of this binding.", uuid())
        .query("destination_id", "To this destination.", uuid())
        .query("status", "With this status.", status())
        .query("error_code", "Failed with this code; goes with no `status` but `failed`.", error_code())
        .query("event_id", "Of this event.", integer().at_least(0))
        .query("created_after", "Begun at this time or later.", time())
        .query("created_before", "Begun before this time.", time())
        .of_customer()
        .pages()
        .query("page", "The older way of counting, from 1, as far as the first 10,000 items go; not with `cursor`.", integer().at_least(1))
        .reads()
        .answers(answer(200, "A page of items.").json(crate::openapi::schema::named("ItemList"), PAGE));
    let show = get("/v1/delivery/items/{id}", "getItem", "Get a delivery attempt")
        .about("One attempt with what was sent and what came back.")
        .id("id", "Delivery item UUID.")
        .reads()
        .answers(answer(200, "The item.").json(crate::openapi::schema::named("ItemDetail"), ONE));
    let enqueued = object()
        .field("enqueued", always(true).about("Always true when the replay was accepted."))
        .field("idempotency_key", string().about("The key of the new attempt, identical to the original so receivers can deduplicate."))
        .closed();
    let replay = post("/v1/delivery/items/{id}/replay", "replayItem", "Replay a delivery attempt")
        .about(
            "Makes the delivery again with a fresh ladder of attempts, the same key and the next number. Where the delivery is still being retried, its next attempt \
             comes at once instead, and its ladder goes on from there. A second replay while one is queued comes to the same.",
        )
        .id("id", "Delivery item UUID.")
        .tenant()
        .fault(faults::CONFLICT)
        .writes()
        .answers(answer(200, "The replay was accepted.").json(enqueued, ENQUEUED));
    vec![list, show, replay]
}
