//! `/v1/delivery/dlq`: deliveries that ended without success.

use super::{customer_id, error_code, event_id, page};
use crate::openapi::faults;
use crate::openapi::operation::{Operation, answer, delete, get, post};
use crate::openapi::schema::{always, integer, named, object, string, time, uuid};
use crate::openapi::{Noun, Tag};

const ONE: &str = r#"{
  "id": "c7d10000-0000-4000-8000-000000000001",
  "binding_id": "0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001",
  "event_id": "1042",
  "last_item_id": "5b0c0000-0000-4000-8000-0000000000e7",
  "error_code": "connector_5xx",
  "error_message": "HTTP 503",
  "attempts": 7,
  "created_at": "2026-01-05T18:40:31.000Z"
}"#;

pub(super) fn noun() -> Noun {
    let letter = object()
        .field("id", uuid().about("The dead letter."))
        .optional("customer_id", customer_id())
        .field("binding_id", uuid().about("The binding of the delivery."))
        .field("event_id", event_id().about("The event."))
        .field("last_item_id", uuid().nullable().about("The last attempt, while it is kept. Its bodies are there."))
        .field("error_code", error_code().about("Why it ended."))
        .field("error_message", string().nullable().about("The same for people."))
        .field("attempts", integer().at_least(0).about("Attempts that were made in all."))
        .field("created_at", time().about("When it ended."))
        .closed();
    Noun {
        tag: Tag { name: "Dead letters", about: "Deliveries that ended without success: look at them, make them again, or dismiss them." },
        schemas: vec![("DeadLetter", letter), ("DeadLetterList", page("data", "DeadLetter"))],
        operations: operations(),
    }
}

fn operations() -> Vec<Operation> {
    let list = get("/v1/delivery/dlq", "listDeadLetters", "List dead letters")
        .about("Open dead letters, newest first.")
        .query("binding_id", "Of this binding.", uuid())
        .query("destination_id", "To this destination.", uuid())
        .query("error_code", "Ended for this reason.", error_code())
        .query("created_after", "Ended at this time or later.", time())
        .query("created_before", "Ended before this time.", time())
        .of_customer()
        .pages()
        .reads()
        .answers(answer(200, "A page of dead letters.").json(named("DeadLetterList"), &super::page_of(ONE)));
    let show = get("/v1/delivery/dlq/{id}", "getDeadLetter", "Get a dead letter")
        .about("One open dead letter. What was sent and what came back is shown by its last item.")
        .id("id", "The dead letter's UUID.")
        .reads()
        .answers(answer(200, "The dead letter.").json(named("DeadLetter"), ONE));
    let done = |name: &'static str| object().field(name, always(true)).closed();
    let replay = post("/v1/delivery/dlq/{id}/replay", "replayDeadLetter", "Replay a dead letter")
        .about("Makes the delivery again with a fresh ladder of attempts and the same key; the dead letter is gone in the same moment.")
        .id("id", "The dead letter's UUID.")
        .tenant()
        .fault(faults::CONFLICT)
        .writes()
        .answers(answer(200, "It is queued.").json(done("replayed"), r#"{"replayed": true}"#));
    let dismiss = delete("/v1/delivery/dlq/{id}", "dismissDeadLetter", "Dismiss a dead letter")
        .about("Nothing more is tried. Its items stay.")
        .id("id", "The dead letter's UUID.")
        .tenant()
        .writes()
        .answers(answer(200, "It is dismissed.").json(done("dismissed"), r#"{"dismissed": true}"#));
    vec![list, show, replay, dismiss]
}
