//! Which deliveries are meant, and how one of them is shown in a line.

use super::table::{Cell, Column, Table};
use super::text::{timestamp, took};
use super::{Output, Remote, Tone, input};
use postrider_core::time::Timestamp as Moment;
use postrider_proto::v1;

/// The columns of lists of deliveries.
pub const COLUMNS: [Column; 7] = [
    Column::whole("ID"),
    Column::whole("STATE"),
    Column::number("ATTEMPTS"),
    Column::text("LAST OUTCOME", 10),
    Column::text("EVENT TYPE", 10),
    Column::text("ENDPOINT", 12),
    Column::whole("CREATED"),
];

/// The states of a delivery.
const STATES: [&str; 7] = ["pending", "sending", "retrying", "succeeded", "failed", "expired", "cancelled"];

/// The categories of outcomes.
const CATEGORIES: [&str; 9] =
    ["success", "client_error", "server_error", "timeout", "connection_refused", "network_error", "dns_error", "tls_error", "unknown"];

/// Which deliveries are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Only those in this state; may be given several times, or several with commas.
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(STATES))]
    pub states: Vec<String>,
    /// Only those to this endpoint.
    #[arg(long, value_name = "ID")]
    pub endpoint: Option<String>,
    /// Only those for this subscription.
    #[arg(long, value_name = "ID")]
    pub subscription: Option<String>,
    /// Only those of this event.
    #[arg(long, value_name = "ID")]
    pub event: Option<String>,
    /// Only those of events of this type.
    #[arg(long, value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only those whose last outcome is of this category.
    #[arg(long, value_name = "CATEGORY", value_parser = clap::builder::PossibleValuesParser::new(CATEGORIES))]
    pub category: Option<String>,
    /// Only those whose last outcome has this error code, such as connector_5xx.
    #[arg(long, value_name = "CODE", value_parser = input::codes(), hide_possible_values = true)]
    pub code: Option<String>,
    /// Only those made at this time or later: a time, or a span before now.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    pub since: Option<Moment>,
    /// Only those made before this time.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    pub before: Option<Moment>,
}

impl Filter {
    /// The flags, for others that go without them.
    pub const FLAGS: [&'static str; 9] =
        ["states", "endpoint", "subscription", "event", "event_type", "category", "code", "since", "before"];

    /// Whether nothing narrows it.
    pub fn is_all(&self) -> bool {
        let Filter { states, endpoint, subscription, event, event_type, category, code, since, before } = self;
        let texts = [endpoint, subscription, event, event_type, category, code];
        states.is_empty() && texts.iter().all(|text| text.is_none()) && since.is_none() && before.is_none()
    }

    /// As the contract has it.
    pub fn message(&self, server: &Remote) -> v1::DeliveryFilter {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        v1::DeliveryFilter {
            namespace: server.namespace.clone(),
            states: self.states.clone(),
            endpoint_id: text(&self.endpoint),
            subscription_id: text(&self.subscription),
            event_id: text(&self.event),
            category: text(&self.category),
            created_from: self.since.map(timestamp).into(),
            created_before: self.before.map(timestamp).into(),
            event_type: text(&self.event_type),
            error_code: text(&self.code),
        }
    }
}

/// A row of a list of deliveries.
pub fn row(out: &Output, delivery: &v1::DeliverySummary) -> Vec<Cell> {
    let (last, tone) = outcome(delivery);
    let created = out.time(delivery.created_at.as_option());
    vec![
        delivery.delivery_id.as_str().into(),
        Cell::state(&delivery.state),
        tries(delivery).into(),
        Cell::toned(&last, tone),
        delivery.event_type.as_str().into(),
        endpoint(delivery).into(),
        created.into(),
    ]
}

/// Deliveries as a table of their own.
pub fn table(out: &Output, deliveries: &[v1::DeliverySummary]) -> String {
    let mut table = Table::new(&COLUMNS);
    for delivery in deliveries {
        table.push(row(out, delivery));
    }
    table.take(out)
}

/// Attempts so far, of how many.
pub fn tries(delivery: &v1::DeliverySummary) -> String {
    format!("{}/{}", delivery.attempts, delivery.max_attempts)
}

/// What the endpoint is called, or where it is.
pub fn endpoint(delivery: &v1::DeliverySummary) -> &str {
    if delivery.endpoint_name.is_empty() { &delivery.url } else { &delivery.endpoint_name }
}

/// What came of the last attempt, in a few words: `503 in 12 ms`, `timeout`; empty before the first one.
pub fn outcome(delivery: &v1::DeliverySummary) -> (String, Tone) {
    let tone = match delivery.category.as_str() {
        "" => Tone::Dim,
        "success" => Tone::Good,
        _ => Tone::Bad,
    };
    let what = match delivery.http_status {
        0 => delivery.category.replace('_', " "),
        status => status.to_string(),
    };
    let text = if delivery.took_ms > 0.0 && !what.is_empty() { format!("{what} in {}", took(delivery.took_ms)) } else { what };
    (text, tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcome_is_told_in_a_few_words() {
        let of = |http_status, category: &str, took_ms| {
            let category = category.to_owned();
            outcome(&v1::DeliverySummary { http_status, category, took_ms, ..v1::DeliverySummary::default() })
        };
        assert_eq!(of(503, "server_error", 12.0), (String::from("503 in 12 ms"), Tone::Bad));
        assert_eq!(of(0, "connection_refused", 0.0), (String::from("connection refused"), Tone::Bad));
        assert_eq!(of(200, "success", 0.5), (String::from("200 in 0.5 ms"), Tone::Good));
        assert_eq!(of(0, "", 0.0), (String::new(), Tone::Dim));
    }

    #[test]
    fn what_narrows_is_noticed() {
        assert!(Filter::default().is_all());
        assert!(!Filter { before: Some(Moment::from_secs(1)), ..Filter::default() }.is_all());
        assert!(!Filter { states: vec![String::from("failed")], ..Filter::default() }.is_all());
    }
}
