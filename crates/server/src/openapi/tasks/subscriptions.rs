//! `/subscriptions`.

use super::NO_QUERY;
use crate::openapi::operation::{Operation, answer, delete, get, post, put};
use crate::openapi::schema::{Schema, always, array, either, named, object, string, time, uuid};
use crate::openapi::{Noun, Tag};
use crate::tasks::subscription_request::MAX_SECRET_BYTES;
use crate::tasks::subscriptions::MASK;
use postrider_core::endpoint::MAX_URL_BYTES;
use postrider_core::error::ErrorCode;

const NEW: &str =
    r#"{"target_url": "https://webhook.site/your-url", "secret": "a-secret-of-both-sides", "event_types": "order.created,order.paid"}"#;

const ONE: &str = r#"{
  "id": "01a200f1-2ef5-7824-bb69-5d10f3bd1879",
  "target_url": "https://webhook.site/your-url",
  "secret": "********",
  "event_types": "order.created,order.paid",
  "created_at": "2025-05-12T12:00:00Z",
  "updated_at": "2025-05-12T12:00:00Z",
  "disabled_at": null,
  "disabled_reason": null
}"#;

const LIST: &str = r#"[
  {
    "id": "01a200f1-2ef5-7824-bb69-5d10f3bd1879",
    "target_url": "https://webhook.site/your-url",
    "event_types": "order.created,order.paid",
    "created_at": "2025-05-12T12:00:00Z",
    "updated_at": "2025-05-12T12:00:00Z",
    "disabled_at": null,
    "disabled_reason": null
  }
]"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Subscriptions", about: "A URL with an optional secret and an optional list of event types." },
        schemas: vec![
            ("Subscription", shown(true)),
            ("ListedSubscription", shown(false)),
            ("NewSubscription", wanted(true)),
            ("SubscriptionUpdate", wanted(false)),
        ],
        operations: operations(),
    }
}

fn shown(whole: bool) -> Schema {
    let schema = object().field("id", uuid()).field("target_url", string());
    let secret = either([always(MASK), crate::openapi::schema::null()]);
    let schema = if whole { schema.field("secret", secret.about("Masked, or null where there is none.")) } else { schema };
    let reason = crate::openapi::schema::word(ErrorCode::ALL.iter().map(|code| code.as_str()));
    schema
        .field("event_types", string().nullable().about("With commas between; null for all. A type may end in `.*`."))
        .field("created_at", time())
        .field("updated_at", time())
        .field("disabled_at", time().nullable().about("Since when its tasks wait because the receiver said that it is gone."))
        .field("disabled_reason", reason.nullable())
        .closed()
}

fn wanted(is_new: bool) -> Schema {
    let url = string()
        .uri()
        .length(1..=MAX_URL_BYTES)
        .about("Absolute `https` (or, where the server allows it, `http`). Private addresses are refused unless the server allows them.");
    let schema = if is_new { object().field("target_url", url) } else { object().optional("target_url", url) };
    let secret = string().length(0..=MAX_SECRET_BYTES).nullable().write_only();
    let types = either([string(), array(string()), crate::openapi::schema::null()]);
    schema
        .optional("secret", secret.about("Deliveries are signed with it, and what is ingested must be. Empty or null is none. One that begins with `whsec_` goes on in Base64."))
        .optional("event_types", types.about("With commas between, or a list; at most 100. Empty or null is all. A type may end in `.*`."))
        .closed()
}

fn operations() -> Vec<Operation> {
    let list = get("/subscriptions", "listSubscriptions", "List subscriptions")
        .about("In the order of creation, without secrets.")
        .fault(NO_QUERY)
        .answers(answer(200, "The subscriptions.").json(array(named("ListedSubscription")), LIST));
    let id = r#"{"id": "01a200f1-2ef5-7824-bb69-5d10f3bd1879"}"#;
    let create = post("/subscriptions", "createSubscription", "Create a subscription")
        .about("Unknown fields are refused: a misspelt setting is never ignored.")
        .takes(named("NewSubscription"), &[("orders", NEW)])
        .writes()
        .answers(answer(201, "It is there.").json(object().field("id", uuid()).closed(), id).header("Location"));
    let show = get("/subscriptions/{id}", "getSubscription", "Get a subscription")
        .about("One subscription, its secret masked.")
        .id("id", "The subscription's UUID.")
        .fault(NO_QUERY)
        .answers(answer(200, "The subscription.").json(named("Subscription"), ONE));
    let update = put("/subscriptions/{id}", "updateSubscription", "Update a subscription")
        .about("What is left out stays, `null` clears. A disabled one is enabled again, and its tasks go on.")
        .id("id", "The subscription's UUID.")
        .takes(named("SubscriptionUpdate"), &[("types", r#"{"event_types": "order.created"}"#)])
        .writes()
        .answers(answer(204, "It is changed."));
    let remove = delete("/subscriptions/{id}", "deleteSubscription", "Delete a subscription")
        .about("What still waits ends as `failed`; the history stays readable until its retention. Dead letters are closed.")
        .id("id", "The subscription's UUID.")
        .fault(NO_QUERY)
        .writes()
        .answers(answer(204, "It is deleted."));
    vec![list, create, show, update, remove]
}
