//! `postrider bindings`: which events go to a destination of the Items API, and in what form.

mod catalog;
mod preview;
mod settings;

use super::Outcome;
use super::client::Asked;
use super::remote::rest::{Noun, exact_time};
use super::remote::table::{Cell, Column};
use super::remote::text::{counted, rate, took};
use super::remote::{self, Failure, Flags, Lines, Output, Remote, Tone, ask, clean};
use crate::config::value::Span;
use clap::Subcommand;
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::time::Duration;

/// The bindings of the Items API.
const NOUN: Noun = Noun {
    path: "v1/delivery/bindings",
    what: "bindings",
    columns: &[
        Column::whole("ID"),
        Column::text("NAME", 10),
        Column::whole("STATUS"),
        Column::text("EVENT TYPE", 12),
        Column::whole("FORMAT"),
        Column::whole("LAST"),
        Column::whole("DESTINATION"),
    ],
};

/// Flags of `postrider bindings`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A binding is a subscription: postrider subscriptions and the dashboard show it too. These commands want a key of a namespace, in
development mode too: its start prints one."
)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List bindings, the newest first.
    List(List),
    /// Show a binding with everything that it is made of.
    Show(Id),
    /// Bind a destination to events. Prints the id of the binding.
    Create(Box<settings::Create>),
    /// Change what is given of a binding, and leave the rest as it is. It holds from the next event on.
    Update(Box<settings::Update>),
    /// Delete bindings. Nothing more is routed to them; their items and dead letters stay.
    Delete(Delete),
    /// Show what a binding would send. Nothing is sent, secrets are masked, nothing is signed.
    Preview(preview::Args),
    /// List what there is to put a binding together from.
    Catalog(catalog::Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider bindings list
  postrider bindings list --limit 0 --json | jq -r .signal_filter.event_type")]
struct List {
    #[command(flatten)]
    lines: Lines,
}

/// The binding that is meant.
#[derive(Debug, clap::Args)]
struct Id {
    /// Id of the binding.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider bindings delete 0197f3a2-5b1c-7d4e-8f90-123456789abc --yes
  postrider bindings update 0197f3a2-5b1c-7d4e-8f90-123456789abc --inactive

The second one only stops routing to it.")]
struct Delete {
    /// Ids of bindings.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// A binding, as far as it is shown to people.
#[derive(Debug, Deserialize)]
struct Binding {
    id: String,
    customer_id: Option<String>,
    name: String,
    signal_filter: Filter,
    destination_id: String,
    serializer_format: String,
    #[serde(default)]
    serializer_config: Config,
    field_map: Option<Box<RawValue>>,
    delivery_policy: Policy,
    is_active: bool,
    last_status: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Deserialize)]
struct Filter {
    event_type: String,
    #[serde(rename = "match")]
    matches: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    envelope: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Policy {
    max_attempts: i64,
    #[serde(default)]
    backoff_schedule: Vec<u64>,
    timeout_ms: u64,
    rate_limit: Option<RateLimit>,
}

#[derive(Debug, Deserialize)]
struct RateLimit {
    #[serde(rename = "ratePerSec")]
    rate_per_second: f64,
    capacity: u64,
}

/// Runs `postrider bindings`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => server.list(&NOUN, Vec::new(), &args.lines, row).await,
            Command::Show(args) => {
                let answer = server.ask(Asked::get(NOUN.at(&args.id)?)).await?;
                server.show(&answer, told)
            }
            Command::Create(args) => settings::create(&server, *args).await,
            Command::Update(args) => settings::update(&server, *args).await,
            Command::Delete(args) => delete(&server, &args).await,
            Command::Preview(args) => preview::run(&server, &args).await,
            Command::Catalog(args) => catalog::run(&server, args).await,
        }
    })
}

fn row(_: &Output, binding: &Binding) -> Vec<Cell> {
    vec![
        binding.id.as_str().into(),
        binding.name.as_str().into(),
        status(binding),
        binding.signal_filter.event_type.as_str().into(),
        binding.serializer_format.as_str().into(),
        Cell::state(binding.last_status.as_deref().unwrap_or_default()),
        binding.destination_id.as_str().into(),
    ]
}

fn status(binding: &Binding) -> Cell {
    if binding.is_active { Cell::toned("active", Tone::Good) } else { Cell::toned("inactive", Tone::Warn) }
}

/// Everything that a binding is made of. Writing into a String cannot fail.
fn told(out: &Output, binding: &Binding) -> String {
    let mut text = format!("binding {}  {}\n", clean(&binding.id), out.paint(Tone::Strong, &clean(&binding.name)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<13}{value}");
    };
    let (word, tone) = if binding.is_active { ("active", Tone::Good) } else { ("inactive: no events are routed to it", Tone::Warn) };
    line("status", &out.paint(tone, word));
    let matching = binding.signal_filter.matches.as_ref().map(|json| format!(" where {}", clean(json.get()))).unwrap_or_default();
    line("wants", &format!("{}{matching}", clean(&binding.signal_filter.event_type)));
    line("destination", &clean(&binding.destination_id));
    if let Some(namespace) = &binding.customer_id {
        line("namespace", &clean(namespace));
    }
    let bare = if binding.serializer_config.envelope == Some(false) { ", the payload bare" } else { "" };
    line("sends", &format!("{}{bare}", clean(&binding.serializer_format)));
    if let Some(map) = &binding.field_map {
        line("field map", &clean(map.get()));
    }
    let policy = &binding.delivery_policy;
    let gaps: Vec<String> = policy.backoff_schedule.iter().map(|ms| Span(Duration::from_millis(*ms)).to_string()).collect();
    let after = if gaps.is_empty() { String::new() } else { format!(", after {}", gaps.join(", ")) };
    line("attempts", &format!("{}{after}", counted(policy.max_attempts, "attempt", "attempts")));
    line("timeout", &took(policy.timeout_ms as f64));
    if let Some(limit) = &policy.rate_limit {
        line("rate limit", &format!("{}, {} at once", rate(limit.rate_per_second), limit.capacity));
    }
    line(
        "last",
        &binding.last_status.as_deref().map_or_else(|| String::from("-"), |status| out.paint(Tone::of_state(status), &clean(status))),
    );
    line("created", &exact_time(out, Some(&binding.created_at)));
    line("changed", &exact_time(out, Some(&binding.updated_at)));
    text
}

async fn delete(server: &Remote, args: &Delete) -> Result<(), Failure> {
    let many = counted(i64::try_from(args.ids.len()).unwrap_or(i64::MAX), "binding", "bindings");
    ask::about_loss(&format!("Delete {many}, and cancel what waits?"), args.yes)?;
    server.only_own().await?;
    server.each(&args.ids, |id| Ok(Asked::new(Method::DELETE, NOUN.at(id)?)), "deleted").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_told_whole() {
        let sent = r#"{"id":"b1","name":"orders","signal_filter":{"event_type":"order.created","match":{"total":1.50}},"deliverable_type":"event",
            "destination_id":"d1","serializer_format":"json","serializer_config":{"envelope":false},"resolver_config":null,
            "field_map":{"drop":["a"]},"delivery_policy":{"max_attempts":3,"backoff_schedule":[1000,90000],"timeout_ms":10000,
            "rate_limit":{"ratePerSec":5,"capacity":10}},"is_active":true,"last_status":"failed",
            "created_at":"2026-01-05T07:00:00.000Z","updated_at":"2026-01-05T08:00:00.000Z"}"#;
        let told = told(&Output::plain(false), &serde_json::from_str(sent).expect("a binding"));
        for words in [
            "binding b1  orders\n",
            "wants        order.created where {\"total\":1.50}\n",
            "sends        json, the payload bare\n",
            "field map    {\"drop\":[\"a\"]}\n",
            "attempts     3 attempts, after 1s, 90s\n",
            "timeout      10.00 s\n",
            "rate limit   5.0/s, 10 at once\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
