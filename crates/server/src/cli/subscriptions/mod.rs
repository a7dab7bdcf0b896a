//! `postrider subscriptions`: which events an endpoint gets, and in what form.

mod preview;
mod settings;
mod templates;

use super::endpoints::show::{states, wants};
use super::remote::body::headers;
use super::remote::table::{Cell, Column};
use super::remote::text::{counted, took};
use super::remote::{self, Failure, Flags, Lines, Listing, Output, Pages, Remote, Tone, ask, clean};
use super::{Outcome, say};
use crate::config::value::Span;
use clap::Subcommand;
use postrider_proto::{v1, webhook as w};
use std::fmt::Write;
use std::time::Duration;

const COLUMNS: [Column; 5] =
    [Column::whole("ID"), Column::text("EVENT TYPE", 12), Column::whole("ENDPOINT"), Column::text("LABELS", 8), Column::whole("CREATED")];

/// Flags of `postrider subscriptions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the subscriptions of a namespace, the newest first.
    List(List),
    /// Show a subscription with everything that it is made of.
    Show(Id),
    /// Subscribe an endpoint to an event type. Prints the id of the subscription.
    Create(Box<settings::Create>),
    /// Change what is given of a subscription, and leave the rest as it is.
    Update(Box<settings::Update>),
    /// Delete subscriptions. What waits for them is cancelled, their history stays.
    Delete(Delete),
    /// Tell which of the latest events a subscription like this would have got, and what would have been sent. Nothing is sent.
    Preview(Box<preview::Args>),
    /// Show what a template makes of an event type: of the sample of its schema, or of its newest event. Nothing is sent.
    TryTemplate(templates::Try),
    /// List the functions that templates can call.
    Functions(templates::Functions),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider subscriptions list --endpoint 0197f3a2-5b1c-7d4e-8f90-123456789abc")]
struct List {
    /// Only those of this endpoint.
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only those to this event type, as it was given.
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    #[command(flatten)]
    lines: Lines,
}

/// The subscription that is meant.
#[derive(Debug, clap::Args)]
struct Id {
    /// Id of the subscription.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider subscriptions delete 0197f3a2-5b1c-7d4e-8f90-123456789abc --yes")]
struct Delete {
    /// Ids of subscriptions.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Runs `postrider subscriptions`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => list(&server, &args).await,
            Command::Show(args) => show(&server, &args.id).await,
            Command::Create(args) => settings::create(&server, *args).await,
            Command::Update(args) => settings::update(&server, *args).await,
            Command::Delete(args) => delete(&server, &args).await,
            Command::Preview(args) => preview::run(&server, *args).await,
            Command::TryTemplate(args) => templates::try_out(&server, &args).await,
            Command::Functions(args) => templates::functions(&server, &args).await,
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    let namespace = server.own_namespace().await?;
    while let Some(turn) = pages.next() {
        let request = w::ListSubscriptionsRequest {
            webhook_id: args.endpoint.clone().unwrap_or_default(),
            namespace: namespace.clone(),
            pagination: Some(w::PaginationRequest { limit: turn.size, offset: turn.offset }).into(),
            event_name: args.event.clone().unwrap_or_default(),
        };
        let page: w::ListSubscriptionsResponse = server.call("webhook.SubscriptionService/ListSubscriptions", &request).await?;
        pages.came_of(page.subscriptions.len(), page.pagination.total_count);
        for subscription in &page.subscriptions {
            listing.add(subscription, |out| row(out, subscription))?;
        }
    }
    listing.end("subscriptions", Some(&pages))
}

fn row(out: &Output, subscription: &w::EventSubscription) -> Vec<Cell> {
    vec![
        subscription.subscription_id.as_str().into(),
        subscription.event_name.as_str().into(),
        subscription.webhook_id.as_str().into(),
        remote::body::pairs(&subscription.label_filters).into(),
        out.time(subscription.created_at.as_option()).into(),
    ]
}

async fn show(server: &Remote, id: &str) -> Result<(), Failure> {
    let request = v1::GetSubscriptionRequest { subscription_id: id.to_owned() };
    let answer: v1::GetSubscriptionResponse = server.call("postrider.v1.EndpointService/GetSubscription", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&answer.subscription.into_option().unwrap_or_default());
    }
    server.out.print(&told(&server.out, &answer.subscription))
}

/// Everything that a subscription is made of. Writing into a String cannot fail.
fn told(out: &Output, subscription: &v1::SubscriptionDetail) -> String {
    let mut text = format!("subscription {}  {}\n", subscription.subscription_id, out.paint(Tone::Strong, &clean(&subscription.name)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    let (word, tone) = if subscription.active { ("active", Tone::Good) } else { ("inactive: no events are routed to it", Tone::Warn) };
    line("status", &out.paint(tone, word));
    line("wants", &wants(subscription));
    line("endpoint", &clean(&subscription.endpoint_id));
    line("namespace", &clean(&subscription.namespace));
    line("made by", &format!("the {} API", clean(&subscription.origin)));
    line("sends", &format!("{} with a body of kind {}", clean(&subscription.method), clean(&subscription.body)));
    if subscription.timeout_seconds > 0.0 {
        line("timeout", &took(subscription.timeout_seconds * 1_000.0));
    }
    line("attempts", &attempts(subscription));
    line("deliveries", &states(&subscription.deliveries));
    line("created", &out.exact_time(subscription.created_at.as_option()));
    line("changed", &out.exact_time(subscription.updated_at.as_option()));
    text.push_str(&headers(out, &subscription.headers, "  header      "));
    let note = if subscription.template_enabled { "" } else { " (switched off)" };
    for (title, block) in [(format!("template{note}"), &subscription.template), (String::from("field map"), &subscription.field_map)] {
        if !block.is_empty() {
            let lines: String = block.lines().map(|line| format!("  {}\n", clean(&line.replace('\t', "    ")))).collect();
            let _ = write!(text, "\n{title}\n{lines}");
        }
    }
    text
}

/// How often it is tried, and with which pauses.
fn attempts(subscription: &v1::SubscriptionDetail) -> String {
    let gap = |seconds: &f64| Span(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))).to_string();
    let gaps: Vec<String> = subscription.gaps_seconds.iter().map(gap).collect();
    let many = counted(i64::from(subscription.max_attempts), "attempt", "attempts");
    if gaps.is_empty() { many } else { format!("{many}, after {}", gaps.join(", ")) }
}

async fn delete(server: &Remote, args: &Delete) -> Result<(), Failure> {
    let many = counted(i64::try_from(args.ids.len()).unwrap_or(i64::MAX), "subscription", "subscriptions");
    ask::about_loss(&format!("Delete {many}, and cancel what waits?"), args.yes)?;
    let mut failed = Vec::new();
    for id in &args.ids {
        let request = w::DeleteSubscriptionRequest { subscription_id: id.clone(), namespace: server.namespace.clone() };
        match server.call::<_, w::DeleteSubscriptionResponse>("webhook.SubscriptionService/DeleteSubscription", &request).await {
            Ok(_) => say(&format!("deleted {id}")),
            Err(failure) => {
                say(&format!("{id}: {failure}"));
                failed.push(failure);
            }
        }
    }
    Failure::of_many(args.ids.len(), &failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_told_whole() {
        let told = told(
            &Output::plain(false),
            &v1::SubscriptionDetail {
                subscription_id: String::from("s1"),
                origin: String::from("items"),
                active: true,
                event_types: vec![String::from("order.*")],
                labels: [(String::from("region"), String::from("eu"))].into_iter().collect(),
                r#match: String::from("{\"total\":1}"),
                method: String::from("POST"),
                body: String::from("template"),
                template: String::from("{{ .payload }}\nx"),
                max_attempts: 3,
                gaps_seconds: vec![1.0, 90.0],
                ..v1::SubscriptionDetail::default()
            },
        );
        for words in [
            "wants       order.* with region=eu where {\"total\":1}",
            "attempts    3 attempts, after 1s, 90s",
            "\ntemplate (switched off)\n  {{ .payload }}\n  x\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
