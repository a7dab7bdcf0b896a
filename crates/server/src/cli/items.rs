//! `postrider items`: every attempt, as the Items API has it.

use super::Outcome;
use super::client::Asked;
use super::remote::body::{Bodies, body};
use super::remote::rest::{Noun, Query, exact_time, time};
use super::remote::table::{Cell, Column};
use super::remote::text::took;
use super::remote::{self, Flags, Lines, Output, Tone, clean, input};
use clap::Subcommand;
use http::Method;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::v1;
use serde::Deserialize;
use std::fmt::Write;

/// The items of the Items API.
const NOUN: Noun = Noun {
    path: "v1/delivery/items",
    what: "items",
    columns: &[
        Column::whole("ID"),
        Column::whole("STATUS"),
        Column::number("HTTP"),
        Column::text("ERROR", 12),
        Column::number("ATTEMPT"),
        Column::number("EVENT"),
        Column::whole("TOOK"),
        Column::whole("BEGAN"),
        Column::whole("BINDING"),
    ],
};

/// Flags of `postrider items`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An item is an attempt. postrider deliveries shows those of a delivery together, and takes the ids of items too. These commands want a
key of a namespace, in development mode too: its start prints one."
)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List items, the newest first.
    List(Box<List>),
    /// Show an item with what was sent and what came back.
    Show(Show),
    /// Deliver the events of items again, under the same idempotency keys and with fresh attempts.
    ///
    /// A dead letter of such a delivery goes when it succeeds; one that fails has a new one.
    Replay(Replay),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider items list --status failed --since 1h
  postrider items list --destination 0197f3a2-5b1c-7d4e-8f90-123456789abc --code connector_5xx
  postrider items list --event 1042 --json | jq -r .idempotency_key")]
struct List {
    /// Only those of this binding.
    #[arg(long, value_name = "ID")]
    binding: Option<String>,
    /// Only those to this destination.
    #[arg(long, value_name = "ID")]
    destination: Option<String>,
    /// Only those of this event, by its number in the Items API.
    #[arg(long, value_name = "NUMBER")]
    event: Option<String>,
    /// Only those with this status.
    #[arg(long, value_name = "STATUS", value_parser = ["in_flight", "succeeded", "failed"])]
    status: Option<String>,
    /// Only those that failed with this error code.
    #[arg(long, value_name = "CODE", value_parser = input::codes(), hide_possible_values = true)]
    code: Option<String>,
    /// Only those that began at this time or later: a time, or a span before now.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    since: Option<Moment>,
    /// Only those that began before this time.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    before: Option<Moment>,
    #[command(flatten)]
    lines: Lines,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider items show 0197f3a2-5b1c-7d4e-8f90-123456789abc --bodies full")]
struct Show {
    /// Id of the item.
    #[arg(value_name = "ID")]
    id: String,
    /// How much of the bodies to show, of which the Items API keeps the first 10 KiB.
    #[arg(long, value_name = "HOW", default_value = "short")]
    bodies: Bodies,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider items replay 0197f3a2-5b1c-7d4e-8f90-123456789abc

postrider dlq replay does it with all dead letters that match.")]
struct Replay {
    /// Ids of items.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// An item, as far as it is shown to people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    id: String,
    customer_id: Option<String>,
    binding_id: String,
    event_id: String,
    idempotency_key: String,
    status: String,
    attempt: u32,
    http_status: Option<u16>,
    error_code: Option<String>,
    error_message: Option<String>,
    request_body: Option<String>,
    response_body: Option<String>,
    request_truncated: bool,
    response_truncated: bool,
    duration_ms: Option<u64>,
    completed_at: Option<String>,
    created_at: String,
}

impl List {
    fn query(&self) -> Query {
        let at = |moment: Option<Moment>| moment.map(|moment| moment.rfc3339(6));
        let all = [
            ("binding_id", self.binding.clone()),
            ("destination_id", self.destination.clone()),
            ("event_id", self.event.clone()),
            ("status", self.status.clone()),
            ("error_code", self.code.clone()),
            ("created_after", at(self.since)),
            ("created_before", at(self.before)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Runs `postrider items`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => server.list(&NOUN, args.query(), &args.lines, row).await,
            Command::Show(args) => {
                let answer = server.ask(Asked::get(NOUN.at(&args.id)?)).await?;
                server.show(&answer, |out, item: &Item| told(out, item, args.bodies))
            }
            Command::Replay(args) => {
                server.only_own().await?;
                let what = "queued for replay:";
                server.each(&args.ids, |id| Ok(Asked::new(Method::POST, format!("{}/replay", NOUN.at(id)?))), what).await
            }
        }
    })
}

fn row(out: &Output, item: &Item) -> Vec<Cell> {
    vec![
        item.id.as_str().into(),
        Cell::state(&item.status),
        item.http_status.map(|status| status.to_string()).unwrap_or_default().into(),
        Cell::toned(item.error_code.as_deref().unwrap_or_default(), Tone::Bad),
        item.attempt.to_string().into(),
        item.event_id.as_str().into(),
        item.duration_ms.map(|ms| took(ms as f64)).unwrap_or_default().into(),
        time(out, Some(&item.created_at)).into(),
        item.binding_id.as_str().into(),
    ]
}

/// An item with its bodies. Writing into a String cannot fail.
fn told(out: &Output, item: &Item, bodies: Bodies) -> String {
    let mut text = format!("item {}  {}\n", clean(&item.id), out.paint(Tone::of_state(&item.status), &clean(&item.status)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<17}{value}");
    };
    line("attempt", &item.attempt.to_string());
    line("event", &clean(&item.event_id));
    line("binding", &clean(&item.binding_id));
    if let Some(namespace) = &item.customer_id {
        line("namespace", &clean(namespace));
    }
    line("idempotency key", &clean(&item.idempotency_key));
    if let Some(status) = item.http_status {
        line("answer", &status.to_string());
    }
    if let Some(code) = &item.error_code {
        let why = item.error_message.as_deref().map(|why| format!(": {}", clean(why))).unwrap_or_default();
        line("error", &format!("{}{why}", out.paint(Tone::Bad, &clean(code))));
    }
    line("began", &exact_time(out, Some(&item.created_at)));
    if let Some(ms) = item.duration_ms {
        line("took", &took(ms as f64));
    }
    for (title, sent, is_cut) in
        [("request", &item.request_body, item.request_truncated), ("response", &item.response_body, item.response_truncated)]
    {
        let Some(sent) = sent.as_ref().filter(|_| bodies != Bodies::None) else { continue };
        let content = v1::Content { bytes: sent.clone().into_bytes(), truncated: is_cut, ..v1::Content::default() };
        let _ = write!(text, "\n{title}\n{}", body(out, &content, bodies, "  "));
    }
    if item.completed_at.is_some() && item.request_body.is_none() && item.response_body.is_none() {
        text.push_str("\nnothing of its bodies is kept\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_told_with_its_bodies() {
        let sent = r#"{"id":"i1","binding_id":"b1","event_id":"1042","idempotency_key":"k","status":"failed","attempt":2,"http_status":503,
            "error_code":"connector_5xx","error_message":"HTTP 503","request_body":"{\"a\":1}","response_body":"busy","request_truncated":false,
            "response_truncated":true,"duration_ms":41,"completed_at":"2026-01-05T08:00:30.091Z","created_at":"2026-01-05T08:00:30.050Z"}"#;
        let item: Item = serde_json::from_str(sent).expect("an item");
        let told = told(&Output::plain(false), &item, Bodies::Short);
        for words in [
            "item i1  failed\n",
            "error            connector_5xx: HTTP 503\n",
            "took             41 ms\n",
            "\nrequest\n  {\n    \"a\": 1\n  }\n",
            "\nresponse\n  busy\n  … no more of it is kept\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
