//! `/v1/delivery/bindings`: which events go to a destination, and in what form.

use super::{PLAIN, customer_id, error_code, event_id, event_type, page};
use crate::items::binding_request::MAX_GAPS;
use crate::items::destination_request::MAX_NAME_BYTES;
use crate::items::preview::MAX_SHOWN;
use crate::openapi::operation::{Operation, answer, delete, get, post, post_to_look, put};
use crate::openapi::schema::{Schema, always, any, array, boolean, either, integer, map, named, number, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};
use postrider_core::body::{MAX_FIELD_MAP_ENTRIES, MAX_PATH_BYTES};
use postrider_core::catalog::CATALOG;
use postrider_core::filter::MAX_MATCH_FIELDS;
use postrider_core::policy::{MAX_ATTEMPTS, MAX_BURST, MAX_GAP, MAX_RATE, TIMEOUTS};

const NEW: &str = r#"{
  "name": "Paid invoices to accounting",
  "signal_filter": {"event_type": "invoice.paid", "match": {"currency": "EUR"}},
  "deliverable_type": "event",
  "destination_id": "2b9e0000-0000-4000-8000-0000000000d1",
  "serializer_format": "json",
  "field_map": {"drop": ["internal"], "rules": [{"source": "total", "target": "amount"}], "static": {"source": "postrider"}},
  "delivery_policy": {"max_attempts": 5, "backoff_schedule": [30000, 120000], "timeout_ms": 10000}
}"#;

const ONE: &str = r#"{
  "id": "0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001",
  "name": "Paid invoices to accounting",
  "signal_filter": {"event_type": "invoice.paid", "match": {"currency": "EUR"}},
  "deliverable_type": "event",
  "destination_id": "2b9e0000-0000-4000-8000-0000000000d1",
  "serializer_format": "json",
  "serializer_config": {"envelope": true},
  "resolver_config": null,
  "field_map": {"rules": [{"source": "total", "target": "amount"}], "static": {"source": "postrider"}, "drop": ["internal"]},
  "delivery_policy": {"max_attempts": 5, "backoff_schedule": [30000, 120000], "timeout_ms": 10000, "rate_limit": null},
  "is_active": true,
  "last_status": "succeeded",
  "created_at": "2026-01-05T07:00:00.000Z",
  "updated_at": "2026-01-05T07:00:00.000Z"
}"#;

const PREVIEW: &str = r#"{
  "available": true,
  "sample_mode": "structural",
  "matched": true,
  "signal": {"event_type": "invoice.paid", "event_id": null, "payload": {"total": 12.5, "currency": "EUR"}},
  "resolver": {"type": "event", "shape": {"kind": "envelope"}},
  "projected": {"amount": 12.5, "currency": "EUR", "source": "postrider"},
  "serialized": "{\"amount\":12.5,\"currency\":\"EUR\",\"source\":\"postrider\"}",
  "wire_preview": {
    "body_preview": "{\"event\":{\"event_type\":\"invoice.paid\"},\"payload\":{\"amount\":12.5,\"currency\":\"EUR\",\"source\":\"postrider\"},\"content\":null}",
    "mime": "application/json",
    "size_bytes": 118,
    "headers_preview": {"content-type": "application/json"}
  },
  "structural_sample": {"total": 12.5, "currency": "EUR"},
  "error_code": null,
  "error_message": null
}"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Bindings", about: "Which events go to a destination, in what form, and how hard delivery is tried." },
        schemas: vec![
            ("Binding", shown()),
            ("BindingList", page("data", "Binding")),
            ("NewBinding", wanted(true)),
            ("BindingUpdate", wanted(false)),
            ("SignalFilter", signal_filter()),
            ("FieldMap", field_map()),
            ("ShortFieldMap", short_field_map()),
            ("DeliveryPolicy", delivery_policy()),
            ("BindingPreview", preview()),
        ],
        operations: operations(),
    }
}

fn formats() -> Schema {
    word(CATALOG.serializers.iter().map(|serializer| serializer.format))
}

fn shown() -> Schema {
    let filter = object()
        .field(
            "event_type",
            string().about("The type. Subscriptions of other APIs may have several, with commas between, or patterns such as `order.*`."),
        )
        .optional("match", map(any()))
        .closed();
    let limit = object().field("ratePerSec", number()).field("capacity", integer()).closed();
    let policy = object()
        .field("max_attempts", integer())
        .field("backoff_schedule", array(integer()).about("Milliseconds between attempts."))
        .field("timeout_ms", integer())
        .field("rate_limit", limit.nullable())
        .closed();
    object()
        .field("id", uuid())
        .optional("customer_id", customer_id())
        .field("name", string())
        .field("signal_filter", filter)
        .field("deliverable_type", word(["event"]))
        .field("destination_id", uuid())
        .field("serializer_format", formats())
        .field("serializer_config", object().optional("envelope", boolean()).closed())
        .field(
            "resolver_config",
            object().closed().nullable().about("There is nothing to configure about the one deliverable: always null."),
        )
        .field("field_map", named("FieldMap").nullable())
        .field("delivery_policy", policy)
        .field("is_active", boolean())
        .field("last_status", word(["succeeded", "failed"]).nullable().about("Of the last attempt that ended."))
        .field("created_at", time())
        .field("updated_at", time())
        .closed()
}

fn wanted(is_new: bool) -> Schema {
    let required = |schema: Schema, name: &'static str, of: Schema| if is_new { schema.field(name, of) } else { schema.optional(name, of) };
    let name = string().length(1..=MAX_NAME_BYTES).pattern(PLAIN).about("For people.");
    let envelope =
        boolean().nullable().about("Whether the payload comes in `{event, payload, content}`; by default it does, but for `raw`.");
    let config = object().optional("envelope", envelope).closed().nullable();
    let schema = required(object(), "name", name);
    let schema = required(schema, "signal_filter", named("SignalFilter"));
    let schema = required(schema, "deliverable_type", word(["event"]).about("See the catalog of deliverables."));
    let schema = required(schema, "destination_id", uuid().about("A destination of the same namespace."));
    required(
        schema,
        "serializer_format",
        formats().about("`raw` sends the accepted bytes and nothing else: it goes with neither envelope nor field map."),
    )
    .optional("serializer_config", config)
    .optional("resolver_config", object().closed().nullable().about("There is nothing to configure about the one deliverable."))
    .optional("field_map", either([named("FieldMap"), named("ShortFieldMap")]).nullable().about("What becomes of the payload's fields."))
    .optional("delivery_policy", named("DeliveryPolicy").nullable().about("`null` is the default policy."))
    .optional("is_active", boolean().nullable().about("`false` routes nothing to it."))
    .closed()
}

fn signal_filter() -> Schema {
    let event_type = event_type().about(
        "The type of the events. Of those that begin with `delivery.` there are `delivery.item.completed` and `delivery.item.failed` only.",
    );
    let matches = map(any()).most_fields(MAX_MATCH_FIELDS).nullable();
    object()
        .field("event_type", event_type)
        .optional(
            "match",
            matches.about("Values that fields of the payload must have, all of them; compared as JSON values, at most 8 levels deep."),
        )
        .closed()
}

fn path() -> Schema {
    string().length(1..=MAX_PATH_BYTES).about("1 to 8 names of fields with dots between: `total`, `customer.name` or `$.customer.name`.")
}

fn target() -> Schema {
    string().length(1..=MAX_PATH_BYTES).pattern("^[^$.][^.]*$")
}

fn field_map() -> Schema {
    let rule = object().field("source", path()).field("target", target()).closed();
    object()
        .optional("rules", array(rule).items(0..=MAX_FIELD_MAP_ENTRIES).about("Then these are renamed."))
        .optional("static", map(any()).names(target()).most_fields(MAX_FIELD_MAP_ENTRIES).about("Then these are added; they win."))
        .optional("drop", array(path()).items(0..=MAX_FIELD_MAP_ENTRIES).about("First these are taken out."))
        .closed()
}

fn short_field_map() -> Schema {
    map(path()).names(target()).most_fields(MAX_FIELD_MAP_ENTRIES).about("`{\"target\": \"$.source\"}`, the short way to write `rules`.")
}

fn delivery_policy() -> Schema {
    let gap = integer().range(0..=MAX_GAP.as_millis() as u64);
    let rate = number().above(0.0, MAX_RATE).about("Requests a second, one a day at the least.");
    let limit =
        object().field("ratePerSec", rate).field("capacity", integer().range(1..=MAX_BURST).about("How many may leave at once.")).closed();
    object()
        .optional("max_attempts", integer().range(1..=MAX_ATTEMPTS).nullable().about("Attempts in all; 7 by default."))
        .optional(
            "backoff_schedule",
            array(gap).items(1..=MAX_GAPS).nullable().about(
                "Milliseconds between attempts, up to 7 days; the last one repeats. By default 30 s, 2 min, 8 min, 30 min, 2 h, 8 h.",
            ),
        )
        .optional(
            "timeout_ms",
            integer()
                .range(TIMEOUTS.0.as_millis() as u64..=TIMEOUTS.1.as_millis() as u64)
                .nullable()
                .about("How long an attempt may take; 30 s by default."),
        )
        .optional("rate_limit", limit.nullable().about("The strictest limit of a destination's bindings holds for the destination."))
        .closed()
}

fn preview() -> Schema {
    let signal = object()
        .field("event_type", string())
        .field("event_id", event_id().nullable().about("Null where the event was never published."))
        .field("payload", any().about("Null where it is no JSON."))
        .closed();
    let shape = object().field("kind", word(["record", "blob", "graph", "envelope"])).closed();
    let resolver = object().field("type", always("event")).field("shape", shape.nullable()).closed();
    let wire = object()
        .field("body_preview", string().about(format!("The body's first {MAX_SHOWN} bytes.")))
        .field("mime", string())
        .field("size_bytes", integer().at_least(0).about("Of the whole body."))
        .field("headers_preview", map(string()).about("The request's headers, secrets masked."))
        .closed();
    object()
        .field("available", always(true))
        .field("sample_mode", word(["real", "structural"]).about("`real` shows an event that was published."))
        .field("matched", boolean().about("Whether the binding would get such an event."))
        .field("signal", signal)
        .field("resolver", resolver)
        .field("projected", any().about("The payload after the field map; null where nothing could be made."))
        .field("serialized", string().nullable())
        .field("wire_preview", wire.nullable())
        .optional("structural_sample", any().about("The payload that was made up or given."))
        .optional("fallback_reason", string().about("Why no published event is shown."))
        .field("error_code", error_code().nullable().about("Why nothing could be made."))
        .field("error_message", string().nullable())
        .closed()
}

fn preview_request() -> Schema {
    object()
        .optional("event_id", event_id().nullable().about("A published event. Goes with no `payload`."))
        .optional("payload", map(any()).nullable().about("A payload to try."))
        .closed()
}

fn operations() -> Vec<Operation> {
    let list = get("/v1/delivery/bindings", "listBindings", "List bindings")
        .about("Bindings, newest first, also subscriptions that other APIs made.")
        .of_customer()
        .pages()
        .reads()
        .answers(answer(200, "A page of bindings.").json(named("BindingList"), &super::page_of(ONE)));
    let create = post("/v1/delivery/bindings", "createBinding", "Create a binding")
        .about("Its parts must go together: where they do not, `details` names the predicate that fails. It is in force at once.")
        .tenant()
        .takes(named("NewBinding"), &[("invoices", NEW)])
        .writes()
        .answers(answer(201, "The binding.").json(named("Binding"), ONE).header("Location"));
    let show = get("/v1/delivery/bindings/{id}", "getBinding", "Get a binding")
        .about("One binding.")
        .id("id", "The binding's UUID.")
        .reads()
        .answers(answer(200, "The binding.").json(named("Binding"), ONE));
    let update = put("/v1/delivery/bindings/{id}", "updateBinding", "Update a binding")
        .about("Changes what the request names; it holds from the next event on that matches.")
        .id("id", "The binding's UUID.")
        .tenant()
        .takes(named("BindingUpdate"), &[("csv", r#"{"serializer_format": "csv", "serializer_config": {"envelope": false}}"#)])
        .writes()
        .answers(answer(200, "The binding as it is now.").json(named("Binding"), ONE));
    let remove = delete("/v1/delivery/bindings/{id}", "deleteBinding", "Delete a binding")
        .about("Nothing more is routed to it. Its items and dead letters stay readable until their retention.")
        .id("id", "The binding's UUID.")
        .tenant()
        .writes()
        .answers(
            answer(200, "It is deleted.").json(named("Deleted"), r#"{"deleted": true, "id": "0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001"}"#),
        );
    let preview = post_to_look("/v1/delivery/bindings/{id}/preview", "previewBinding", "Preview what a binding sends")
        .about("Nothing is sent. Shown for the event `event_id`, else for `payload`, else for the newest event that the binding wants, else for a made up one.")
        .id("id", "The binding's UUID.")
        .takes(preview_request(), &[("payload", r#"{"payload": {"total": 12.5, "currency": "EUR"}}"#)])
        .body_optional()
        .reads()
        .answers(answer(200, "What it would send.").json(named("BindingPreview"), PREVIEW));
    vec![list, create, show, update, remove, preview]
}
