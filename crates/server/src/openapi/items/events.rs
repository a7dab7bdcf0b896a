//! `/v1/delivery/events`: publishing, and what was published.

use super::{PLAIN, customer_id, event_id, event_type, page};
use crate::items::batch::MAX_EVENTS;
use crate::items::events::{MAX_METADATA, MAX_METADATA_ENTRY_BYTES, MAX_TTL_SECONDS};
use crate::openapi::json::Json;
use crate::openapi::operation::{Operation, answer, get, post};
use crate::openapi::schema::{Schema, always, any, array, boolean, either, integer, map, named, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};
use postrider_core::event::MAX_NAME_BYTES;
use postrider_core::filter::{MAX_LABEL_KEY_BYTES, MAX_LABEL_VALUE_BYTES, MAX_LABELS};

const NEW: &str = r#"{"event_type": "invoice.paid", "payload": {"invoice": "I-7", "total": 12.5}, "dedup_key": "I-7-paid"}"#;

const ACCEPTED: &str = r#"{"id": "1042", "dedup_key": "I-7-paid", "duplicate": false}"#;

const ONE: &str = r#"{
  "id": "1042",
  "uuid": "01a200f1-2f14-7231-bca7-ac7ac691a22c",
  "event_type": "invoice.paid",
  "payload": {"invoice": "I-7", "total": 12.5},
  "dedup_key": "I-7-paid",
  "labels": {},
  "metadata": {},
  "ttl_seconds": null,
  "created_at": "2026-01-05T08:00:00.000Z",
  "processed_at": "2026-01-05T08:00:00.000Z",
  "processing_attempts": 1,
  "processing_status": "enqueued",
  "error": null,
  "skipped": []
}"#;

const RESULTS: &str = r#"{
  "accepted": 1,
  "duplicates": 0,
  "rejected": 1,
  "results": [
    {"status": 202, "id": "1042", "dedup_key": "I-7-paid", "duplicate": false},
    {
      "status": 400,
      "code": "validation_error",
      "message": "payload: is required",
      "details": [{"path": "payload", "message": "is required"}]
    }
  ]
}"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Events", about: "Publishing events, and what came of them." },
        schemas: vec![
            ("NewEvent", wanted()),
            ("Accepted", accepted(object())),
            ("BatchResult", batch_result()),
            ("Event", shown()),
            ("EventList", page("data", "Event")),
        ],
        operations: operations(),
    }
}

fn wanted() -> Schema {
    let labels = map(string().length(0..=MAX_LABEL_VALUE_BYTES).pattern(PLAIN))
        .names(string().pattern(format!("^[A-Za-z0-9._-]{{1,{MAX_LABEL_KEY_BYTES}}}$")))
        .most_fields(MAX_LABELS);
    let no_nul = r"^[^\u0000]*$";
    let metadata = map(string().length(0..=MAX_METADATA_ENTRY_BYTES - 1).pattern(no_nul))
        .names(string().length(1..=MAX_METADATA_ENTRY_BYTES).pattern(no_nul))
        .most_fields(MAX_METADATA);
    let metadata_about = format!("For people: at most {MAX_METADATA_ENTRY_BYTES} bytes of key and value together.");
    object()
        .field(
            "event_type",
            event_type().about("What happened, such as `invoice.paid`. Types that begin with `delivery.` are Postrider's own."),
        )
        .field("payload", map(any()).about("An object. Its bytes are kept as they are sent."))
        .optional(
            "dedup_key",
            string()
                .length(1..=MAX_NAME_BYTES)
                .pattern(PLAIN)
                .nullable()
                .about("The same key again stores nothing and answers the first event's id, as long as that is kept."),
        )
        .optional("labels", labels.nullable().about("What subscriptions of other APIs can filter by."))
        .optional("metadata", metadata.nullable().about(metadata_about))
        .optional(
            "ttl_seconds",
            integer().range(1..=MAX_TTL_SECONDS).nullable().about("Deliveries that have not succeeded by then end as `expired`."),
        )
        .closed()
}

fn accepted(schema: Schema) -> Schema {
    schema
        .field("id", event_id().about("The event's number."))
        .field("dedup_key", string().nullable())
        .field("duplicate", boolean().about("Whether an event with this `dedup_key` was there already; then its id is answered."))
        .closed()
}

fn batch_result() -> Schema {
    let rejected = object()
        .field("status", integer().range(400..=499))
        .field("code", string())
        .field("message", string())
        .field("details", array(named("ErrorDetail")))
        .closed();
    object()
        .field("accepted", integer().at_least(0).about("Events that are stored now and were not before."))
        .field("duplicates", integer().at_least(0).about("Events whose `dedup_key` was there already."))
        .field("rejected", integer().at_least(0).about("Events that are not stored, for something is wrong with them."))
        .field(
            "results",
            array(either([accepted(object().field("status", always(202u16))), rejected])).about("In the order of the request."),
        )
        .closed()
}

fn shown() -> Schema {
    let skipped = object().field("subscription", uuid()).field("reason", word(["endpoint_paused", "endpoint_gone"])).closed();
    object()
        .field("id", event_id())
        .optional("customer_id", customer_id())
        .field("uuid", uuid().about("The same event in the other APIs and in the header `webhook-id`."))
        .field("event_type", string().about("Empty where a sender of the Tasks API named none."))
        .field("payload", any().about("As it was accepted; a text where it is no JSON."))
        .field("dedup_key", string().nullable())
        .field("labels", map(string()))
        .field("metadata", map(string()))
        .field("ttl_seconds", integer().at_least(0).nullable())
        .field("created_at", time())
        .field("processed_at", time().nullable().about("When the last of its deliveries came into being."))
        .field("processing_attempts", integer())
        .field("processing_status", word(["enqueued", "no-subscribers", "failed"]).nullable())
        .field("error", string().nullable())
        .field("skipped", array(skipped).about("Subscriptions that wanted it and got none, and why."))
        .closed()
}

fn operations() -> Vec<Operation> {
    let list = get("/v1/delivery/events", "listEvents", "List events")
        .about("What was published, newest first. A page ends early once its payloads sum up to 4 MiB.")
        .query("event_type", "Of this type.", string())
        .query("created_after", "Published at this time or later.", time())
        .query("created_before", "Published before this time.", time())
        .of_customer()
        .pages()
        .reads()
        .answers(answer(200, "A page of events.").json(named("EventList"), &super::page_of(ONE)));
    let publish = post("/v1/delivery/events", "publishEvent", "Publish an event")
        .about("Goes to every active binding that matches. 202 is answered once the event and its deliveries are on disk.")
        .tenant()
        .takes(named("NewEvent"), &[("invoice", NEW)])
        .writes()
        .answers(answer(202, "It is stored.").json(named("Accepted"), ACCEPTED));
    let lines = Json::from(format!("{NEW}\n{{\"event_type\": \"invoice.paid\"}}\n"));
    let lines_schema = string().about("An event per line. Empty lines are left out.");
    let batch = post("/v1/delivery/events/batch", "publishEvents", "Publish many events")
        .about("In one commit, each with a result of its own: what is wrong with one event keeps no other from being stored.")
        .tenant()
        .takes(array(named("NewEvent")).items(1..=MAX_EVENTS), &[("invoices", &format!("[{NEW}]"))])
        .or_takes("application/x-ndjson", lines_schema, vec![("invoices", lines)])
        .writes()
        .answers(answer(200, "Every event that is right is stored.").json(named("BatchResult"), RESULTS));
    let show = get("/v1/delivery/events/{id}", "getEvent", "Get an event")
        .about("One event, by its number.")
        .place("id", "The event's number.", event_id())
        .reads()
        .answers(answer(200, "The event.").json(named("Event"), ONE));
    vec![list, publish, batch, show]
}
