//! The Tasks API.

mod deliveries;
mod dlq;
mod health;
mod ingest;
mod scheduled;
mod subscriptions;

use super::Noun;
use super::schema::{Schema, string, word};

pub(super) fn nouns() -> Vec<Noun> {
    vec![subscriptions::noun(), ingest::noun(), deliveries::noun(), dlq::noun(), scheduled::noun(), health::noun()]
}

/// The status of a task.
fn task_status() -> Schema {
    word(["pending", "processing", "delivered", "failed"])
}

fn event_type() -> Schema {
    string().nullable().about("The event's type; null where its sender named none.")
}

const AFTER: &str = "A place in the list, as a `Link` header of it names it.";

/// What an operation says that takes no query: any parameter is refused.
const NO_QUERY: super::faults::Fault = super::faults::BAD_REQUEST;
