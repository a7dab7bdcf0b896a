//! `/v1/delivery/destinations`: where deliveries go.

use super::{PLAIN, customer_id, error_code, page};
use crate::items::destination_request::{MAX_NAME_BYTES, MAX_SECRET_BYTES};
use crate::openapi::faults;
use crate::openapi::operation::{Operation, answer, delete, get, post, put};
use crate::openapi::schema::{Schema, always, boolean, either, integer, map, named, object, string, time, uuid, word};
use crate::openapi::{Noun, Tag};
use postrider_core::auth::{DEFAULT_API_KEY_HEADER, MAX_CREDENTIAL_BYTES};
use postrider_core::endpoint::{MAX_HEADER_VALUE_BYTES, MAX_HEADERS, MAX_URL_BYTES, PAYLOAD_CAPS};

const NEW: &str = r#"{
  "name": "Accounting",
  "type": "webhook",
  "config": {"url": "https://example.com/hooks", "headers": {"X-Team": "billing"}},
  "auth_config": {"type": "bearer", "token": "the-receivers-token"},
  "signing_secret": "a-secret-of-both-sides"
}"#;

const ONE: &str = r#"{
  "id": "2b9e0000-0000-4000-8000-0000000000d1",
  "name": "Accounting",
  "type": "webhook",
  "config": {"url": "https://example.com/hooks", "headers": {"X-Team": "billing"}},
  "has_auth_config": true,
  "has_signing_secret": true,
  "payload_cap_bytes": null,
  "is_active": true,
  "disabled_at": null,
  "disabled_reason": null,
  "last_delivery_at": "2026-01-05T08:00:30.091Z",
  "last_delivery_status": "succeeded",
  "created_at": "2026-01-05T07:00:00.000Z",
  "updated_at": "2026-01-05T07:00:00.000Z"
}"#;

/// What header names are made of (RFC 9110).
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// No control characters but tabs.
const HEADER_VALUE: &str = r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$";

/// Visible ASCII.
const VISIBLE: &str = "^[!-~]+$";

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Destinations", about: "Where deliveries go, with which credentials, and signed with what." },
        schemas: vec![
            ("Destination", shown()),
            ("DestinationList", page("data", "Destination")),
            ("NewDestination", wanted(true)),
            ("DestinationUpdate", wanted(false)),
            ("AuthConfig", auth_config()),
            ("Deleted", deleted()),
        ],
        operations: operations(),
    }
}

fn shown() -> Schema {
    let config = object()
        .field("url", string())
        .field("headers", map(string()).about("Headers whose names say so (token, secret, key, authorization, …) are shown as `********`."))
        .closed();
    object()
        .field("id", uuid())
        .optional("customer_id", customer_id())
        .field("name", string())
        .field("type", always("webhook"))
        .field("config", config)
        .field("has_auth_config", boolean().about("Whether it has credentials, which are never shown."))
        .field("has_signing_secret", boolean().about("Whether deliveries are signed. The secret is never shown."))
        .field("payload_cap_bytes", integer().nullable().about("The largest body that is sent there; null is 5 MiB."))
        .field("is_active", boolean().about("Whether it is sent to. What comes meanwhile waits, up to 72 hours."))
        .field("disabled_at", time().nullable().about("Since when Postrider itself sends nothing there."))
        .field("disabled_reason", error_code().nullable().about("Why. The next successful update enables it again."))
        .field("last_delivery_at", time().nullable().about("When the last attempt ended."))
        .field("last_delivery_status", word(["succeeded", "failed"]).nullable())
        .field("created_at", time())
        .field("updated_at", time())
        .closed()
}

fn wanted(is_new: bool) -> Schema {
    let url = string().uri().length(1..=MAX_URL_BYTES).about("Absolute `https` (or, where the server allows it, `http`), without user name, password and fragment. Private addresses are refused unless the server allows them.");
    let headers = map(string().length(0..=MAX_HEADER_VALUE_BYTES).pattern(HEADER_VALUE))
        .names(string().pattern(TOKEN))
        .most_fields(MAX_HEADERS)
        .nullable()
        .about("Sent with every delivery. Those that Postrider or the connection sets are refused. `********` keeps the value that a secret one has.");
    let config = if is_new { object().field("url", url) } else { object().optional("url", url) };
    let config = config.optional("headers", headers).closed();
    let name = string().length(1..=MAX_NAME_BYTES).pattern(PLAIN).about("For people.");
    let head = if is_new {
        let kind = always("webhook").about("The connector. It cannot be changed later.");
        object().field("name", name).field("type", kind).field("config", config)
    } else {
        object().optional("name", name).optional("config", config)
    };
    let (least, most) = PAYLOAD_CAPS;
    let secret = string().length(1..=MAX_SECRET_BYTES).nullable().write_only();
    head.optional(
        "auth_config",
        named("AuthConfig").nullable().write_only().about("Credentials; `null` or the type `none` takes them away."),
    )
    .optional(
        "signing_secret",
        secret.about("Deliveries are signed with it; `null` takes it away. One that begins with `whsec_` goes on in Base64."),
    )
    .optional(
        "payload_cap_bytes",
        integer().range(least..=most).nullable().about("The largest body that is sent there, in bytes; `null` is 5 MiB."),
    )
    .optional("is_active", boolean().about("`false` pauses it: what comes for it waits, up to 72 hours."))
    .closed()
}

fn auth_config() -> Schema {
    let of = |kind: &'static str| object().field("type", always(kind));
    let credential = || string().length(1..=MAX_CREDENTIAL_BYTES).write_only();
    let half = || string().length(0..=MAX_CREDENTIAL_BYTES / 2).write_only();
    either([
        of("none").closed(),
        of("bearer").field("token", credential().pattern(VISIBLE)).closed(),
        of("basic")
            .field("username", half().pattern(r"^[^:\u0000-\u001f\u007f-\u009f]*$"))
            .field("password", half().pattern(PLAIN))
            .closed(),
        of("api_key")
            .field("api_key", credential().pattern("^[!-~]([ -~]*[!-~])?$"))
            .optional("header_name", string().pattern(TOKEN).nullable().default(DEFAULT_API_KEY_HEADER))
            .closed(),
    ])
}

fn deleted() -> Schema {
    object().field("deleted", always(true)).field("id", uuid()).closed()
}

fn operations() -> Vec<Operation> {
    let list = get("/v1/delivery/destinations", "listDestinations", "List destinations")
        .about("Destinations, newest first, also those that other APIs made.")
        .of_customer()
        .pages()
        .reads()
        .answers(answer(200, "A page of destinations.").json(named("DestinationList"), &super::page_of(ONE)));
    let create = post("/v1/delivery/destinations", "createDestination", "Create a destination")
        .about("Credentials, signing secrets and headers whose names say so are encrypted at rest and never shown.")
        .tenant()
        .takes(named("NewDestination"), &[("webhook", NEW)])
        .writes()
        .answers(answer(201, "The destination.").json(named("Destination"), ONE).header("Location"));
    let show = get("/v1/delivery/destinations/{id}", "getDestination", "Get a destination")
        .about("One destination.")
        .id("id", "The destination's UUID.")
        .reads()
        .answers(answer(200, "The destination.").json(named("Destination"), ONE));
    let update = put("/v1/delivery/destinations/{id}", "updateDestination", "Update a destination")
        .about("Changes what the request names. One that Postrider disabled is active again, and what waits for it goes on, oldest first.")
        .id("id", "The destination's UUID.")
        .tenant()
        .takes(named("DestinationUpdate"), &[("pause", r#"{"is_active": false}"#)])
        .writes()
        .answers(answer(200, "The destination as it is now.").json(named("Destination"), ONE));
    let remove = delete("/v1/delivery/destinations/{id}", "deleteDestination", "Delete a destination")
        .about("Takes its bindings along; what waits for it ends, and its items and dead letters are gone. To pause it, update it with `is_active`.")
        .id("id", "The destination's UUID.")
        .tenant()
        .writes()
        .answers(answer(200, "It is deleted.").json(named("Deleted"), r#"{"deleted": true, "id": "2b9e0000-0000-4000-8000-0000000000d1"}"#));
    let probed = object()
        .field("success", boolean())
        .field("httpStatus", integer().nullable().about("Null where nothing answered."))
        .field("durationMs", integer().at_least(0))
        .field("message", string().nullable().about("What went wrong."))
        .field("errorCode", error_code().nullable())
        .closed();
    let example = r#"{"success": true, "httpStatus": 200, "durationMs": 41, "message": null, "errorCode": null}"#;
    let test = post("/v1/delivery/destinations/{id}/test", "testDestination", "Test a destination")
        .about("Sends a signed event of the type `delivery.test`. A test that fails is an answer as well, and disables nothing.")
        .id("id", "The destination's UUID.")
        .tenant()
        .fault(faults::UNAVAILABLE)
        .answers(answer(200, "What came of it.").json(probed, example));
    vec![list, create, show, update, remove, test]
}
