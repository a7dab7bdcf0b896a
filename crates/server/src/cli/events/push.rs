//! `postrider events push`.

use super::bulk::{self, Bulk};
use crate::cli::remote::{Failure, Remote, input};
use crate::cli::say;
use crate::config::value::Span;
use postrider_proto::webhook as w;
use std::path::PathBuf;

/// Flags of `postrider events push`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider events push order.created --data '{\"order\": 4711, \"total\": 49.50}' --label region=eu
  postrider events push order.created --data @order.json --id order-4711 --ttl 24h
  postrider events push --ndjson orders.ndjson --concurrency 16

A line of NDJSON is an object: {\"event\": TYPE, \"payload\": OBJECT, \"labels\": {}, \"metadata\": {}, \"id\": KEY, \"ttl_seconds\": N}, of which only the
payload must be there if TYPE is an argument. A line without an id gets one that is made of where the file is, the number of the line and the line: run
again after an interruption, nothing is published twice. Lines that come over a pipe need ids, or --resume-key with another text for each stream.")]
pub struct Args {
    /// Type of the event, such as order.created; with --ndjson that of lines that name none.
    #[arg(value_name = "TYPE", required_unless_present = "ndjson")]
    pub event_type: Option<String>,
    /// The payload, a JSON object: as it is, @FILE, or - for stdin. Receivers get it byte for byte [default: {}].
    #[arg(long, short, value_name = "JSON|@FILE|-", conflicts_with = "ndjson")]
    pub data: Option<String>,
    /// A label, which subscriptions can filter by; may be given several times.
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = input::pair)]
    pub labels: Vec<(String, String)>,
    /// Something to keep with the event, which receivers do not get; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = input::pair)]
    pub metadata: Vec<(String, String)>,
    /// Idempotency key: with one that was there before nothing is published, and the id of the first event is printed.
    #[arg(long, value_name = "KEY", conflicts_with = "ndjson")]
    pub id: Option<String>,
    /// For how long it is worth delivering, such as 24h [default: for ever].
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<Span>,
    /// Publish an event for each line of this file; - reads stdin.
    #[arg(long, value_name = "FILE|-")]
    pub ndjson: Option<PathBuf>,
    /// What the ids of lines without one are made of, in place of where the file is: another one for each file and stream.
    #[arg(long, value_name = "TEXT", requires = "ndjson")]
    pub resume_key: Option<String>,
    /// How many lines are under way at the same time.
    #[arg(long, value_name = "N", requires = "ndjson", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Most events per second [default: as many as the server takes].
    #[arg(long, value_name = "N", requires = "ndjson", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

/// Publishes.
pub async fn run(server: &Remote, args: Args) -> Result<(), Failure> {
    match args.ndjson.clone() {
        Some(file) => bulk::run(server, &Bulk::new(file, args, server.own_namespace().await?)).await,
        None => one(server, args).await,
    }
}

async fn one(server: &Remote, args: Args) -> Result<(), Failure> {
    let payload = args.data.as_deref().map(|given| input::object("--data", given)).transpose()?;
    let request = w::PushEventRequest {
        namespace: server.own_namespace().await?,
        event: args.event_type.unwrap_or_default(),
        payload: payload.into(),
        ttl_seconds: seconds(args.ttl),
        metadata: args.metadata.into_iter().collect(),
        id: args.id,
        labels: args.labels.into_iter().collect(),
    };
    let published: w::PushEventResponse = server.call("webhook.EventService/PushEvent", &request).await?;
    for warning in &published.warnings {
        say(&format!("warning: {warning}"));
    }
    if server.out.is_json() {
        return server.out.json_document(&published);
    }
    if published.duplicate {
        say("its key was there before, so that nothing was published; this is the first event:");
    }
    server.out.line(&published.event_id)
}

/// A time to live in whole seconds; a part of one counts as one, for 0 is for ever.
pub fn seconds(ttl: Option<Span>) -> i64 {
    ttl.map_or(0, |ttl| i64::try_from(ttl.0.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_life_is_not_an_endless_one() {
        let of = |text: &str| seconds(Some(text.parse().expect("a span")));
        assert_eq!((of("500ms"), of("1500ms"), of("1h"), seconds(None)), (1, 2, 3_600, 0));
    }
}
