//! `postrider events list`.

use crate::cli::remote::table::{Cell, Column};
use crate::cli::remote::text::{counted, timestamp};
use crate::cli::remote::{Failure, Lines, Listing, Output, Pages, Remote, Tone, body, input};
use postrider_core::time::Timestamp as Moment;
use postrider_proto::v1;

const COLUMNS: [Column; 5] =
    [Column::whole("ID"), Column::text("TYPE", 12), Column::whole("ACCEPTED"), Column::whole("DELIVERIES"), Column::text("LABELS", 8)];

/// Flags of `postrider events list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider events list --event-type order.created --since 1h
  postrider events list --label region=eu --limit 0 --json | jq -r .eventId")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    lines: Lines,
}

/// Which events are meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// Only those of this type.
    #[arg(long, value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only those with this label; may be given several times, and all of them must be there.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = input::pair)]
    pub labels: Vec<(String, String)>,
    /// Only those accepted at this time or later: a time, or a span before now.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    pub since: Option<Moment>,
    /// Only those accepted before this time.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    pub before: Option<Moment>,
    /// Only those whose payload does not fit the schema of its type.
    #[arg(long)]
    pub invalid: bool,
}

impl Which {
    /// Whether nothing narrows it.
    pub fn is_all(&self) -> bool {
        let Which { event_type, labels, since, before, invalid } = self;
        event_type.is_none() && labels.is_empty() && since.is_none() && before.is_none() && !invalid
    }
}

/// Lists events.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    let (which, mut pages) = (&args.which, Pages::new(&args.lines));
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = v1::ListEventsRequest {
            namespace: server.namespace.clone(),
            event_type: which.event_type.clone().unwrap_or_default(),
            labels: which.labels.iter().cloned().collect(),
            created_from: which.since.map(timestamp).into(),
            created_before: which.before.map(timestamp).into(),
            schema_valid: which.invalid.then_some(false),
            page_size: turn.size,
            page_token: turn.token,
        };
        let page: v1::ListEventsResponse = server.call("postrider.v1.LedgerService/ListEvents", &request).await?;
        pages.came(page.events.len(), page.next_page_token);
        for event in &page.events {
            listing.add(event, |out| row(out, event))?;
        }
    }
    listing.end("events", Some(&pages))
}

fn row(out: &Output, event: &v1::EventSummary) -> Vec<Cell> {
    let (text, tone) = fate(&event.deliveries, event.skipped);
    let at = out.time(event.created_at.as_option());
    let labels = body::pairs(&event.labels);
    vec![event.event_id.as_str().into(), event.event_type.as_str().into(), at.into(), Cell::toned(&text, tone), labels.into()]
}

/// What became of an event's deliveries, in a few words.
pub fn fate(counts: &v1::StateCountsOfEvent, skipped: i32) -> (String, Tone) {
    let parts =
        [(counts.succeeded, "delivered"), (counts.waiting, "waiting"), (counts.given_up, "failed"), (i64::from(skipped), "skipped")];
    let said: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| counted(*count, word, word)).collect();
    let tone = match counts {
        counts if counts.given_up > 0 => Tone::Bad,
        counts if counts.waiting > 0 => Tone::Warn,
        counts if counts.succeeded > 0 => Tone::Good,
        _ => Tone::Dim,
    };
    (if said.is_empty() { String::from("nobody gets it") } else { said.join(", ") }, tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fate_of_an_event_is_told_in_a_few_words() {
        let counts = v1::StateCountsOfEvent { waiting: 1, succeeded: 1_200, given_up: 2 };
        assert_eq!(fate(&counts, 1), (String::from("1,200 delivered, 1 waiting, 2 failed, 1 skipped"), Tone::Bad));
        assert_eq!(fate(&v1::StateCountsOfEvent::default(), 0), (String::from("nobody gets it"), Tone::Dim));
    }
}
