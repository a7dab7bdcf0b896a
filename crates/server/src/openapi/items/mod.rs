//! The Items API.

mod bindings;
mod catalog;
mod destinations;
mod dlq;
mod events;
mod history;
mod jobs;
mod keys;
mod nodes;

use super::Noun;
use super::schema::{Schema, array, integer, named, object, string};
use postrider_core::error::ErrorCode;
use postrider_core::event::MAX_NAME_BYTES;

pub(super) fn nouns() -> Vec<Noun> {
    let delivery = [history::noun(), dlq::noun(), jobs::noun(), destinations::noun(), bindings::noun(), events::noun(), catalog::noun()];
    delivery.into_iter().chain([keys::noun(), nodes::noun()]).collect()
}

/// A page of a list: `{data, total, next_cursor}`, or with another name for `data`.
fn page(of: &'static str, schema: &str) -> Schema {
    object()
        .field(of, array(named(schema)).about("The entries of this page, newest first."))
        .field("total", integer().at_least(0).about("How many there are on all pages."))
        .field("next_cursor", string().nullable().about("For the next page; null at the end."))
        .closed()
}

/// The example of a page that has this one entry.
fn page_of(entry: &str) -> String {
    format!(r#"{{"data": [{entry}], "total": 1, "next_cursor": null}}"#)
}

/// The tenant, which only the master view shows.
fn customer_id() -> Schema {
    namespace().about("The namespace; only shown to keys without one (master view).")
}

/// The name of a namespace.
fn namespace() -> Schema {
    string().pattern("^[A-Za-z0-9._-]{1,64}$")
}

/// The type of an event, of the form of the contract (section 9.4).
fn event_type() -> Schema {
    string().length(3..=MAX_NAME_BYTES).pattern(r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")
}

/// A code of `docs/errors`.
fn error_code() -> Schema {
    super::schema::word(ErrorCode::ALL.iter().map(|code| code.as_str()))
}

/// A text without control characters.
const PLAIN: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// The number of an event.
fn event_id() -> Schema {
    string().pattern("^[0-9]{1,18}$").example("98765")
}
