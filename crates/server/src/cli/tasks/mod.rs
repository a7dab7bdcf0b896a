//! `postrider tasks`: the Tasks API, in which a subscription is a URL with a secret of its own, and a task a delivery to it.

mod ingest;
mod subscriptions;

use super::Outcome;
use super::client::Asked;
use super::remote::body::{Bodies, body};
use super::remote::rest::{exact_time, segment, time};
use super::remote::table::{Cell, Column};
use super::remote::text::counted;
use super::remote::{self, Failure, Flags, Output, Remote, Tone, clean};
use clap::Subcommand;
use postrider_proto::v1;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write;

const COLUMNS: [Column; 6] = [
    Column::whole("TASK"),
    Column::whole("STATUS"),
    Column::number("ATTEMPT"),
    Column::number("HTTP"),
    Column::whole("BEGAN"),
    Column::text("ERROR", 16),
];

/// Flags of `postrider tasks`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is scheduled is among postrider scheduled, dead letters are among postrider dlq, whichever API made them. A task is a delivery:
postrider deliveries shows it too, and much more of it."
)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep subscriptions: URLs that get what is ingested for them.
    Subscriptions(subscriptions::Args),
    /// Ingest a payload for a subscription, signed where it has a secret. Prints the id of the task.
    Ingest(Box<ingest::Args>),
    /// List the latest attempts of a subscription, the newest first.
    List(List),
    /// Show a task with its payload and all of its attempts.
    Show(Show),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider tasks list 0197f3a2-5b1c-7d4e-8f90-123456789abc --limit 100")]
struct List {
    /// Id of the subscription.
    #[arg(value_name = "SUBSCRIPTION")]
    subscription: String,
    /// Most entries to show, up to 100.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider tasks show 0197f3a2-5b1c-7d4e-8f90-123456789abc")]
struct Show {
    /// Id of the task.
    #[arg(value_name = "TASK")]
    id: String,
    /// How much of the payload to show.
    #[arg(long, value_name = "HOW", default_value = "short")]
    bodies: Bodies,
}

/// An attempt, as far as it is shown to people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Log {
    delivery_task_id: String,
    /// Only in the list of a subscription.
    task_status: String,
    timestamp: String,
    attempt_number: u32,
    outcome: String,
    http_status: Option<u16>,
    error_details: Option<String>,
}

/// A task, as far as it is shown to people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Task {
    id: String,
    subscription_id: String,
    payload: String,
    status: String,
    created_at: String,
    attempt_count: u32,
    next_attempt_at: Option<String>,
    event_type: Option<String>,
    max_attempts: Option<u32>,
    waiting_for: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TaskAndLogs {
    task: Task,
    logs: Vec<Log>,
}

/// Runs `postrider tasks`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::Subscriptions(args) => subscriptions::run(&server, args).await,
            Command::Ingest(args) => ingest::run(&server, &args).await,
            Command::List(args) => list(&server, &args).await,
            Command::Show(args) => {
                let answer = server.ask(Asked::get(format!("deliveries/{}", segment(&args.id)?))).await?;
                server.show(&answer, |out, both: &TaskAndLogs| told(out, both, args.bodies))
            }
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let path = format!("subscriptions/{}/deliveries", segment(&args.subscription)?);
    let answer = server.ask(Asked::get(path).with_query(&[("limit", args.limit.to_string())])?).await?;
    let logs: Vec<Box<RawValue>> = answer.read()?;
    server.list_whole(&logs, &COLUMNS, "attempts", row)
}

fn row(out: &Output, log: &Log) -> Vec<Cell> {
    vec![
        log.delivery_task_id.as_str().into(),
        Cell::toned(&log.task_status, tone(&log.task_status)),
        log.attempt_number.to_string().into(),
        log.http_status.map(|status| status.to_string()).unwrap_or_default().into(),
        time(out, Some(&log.timestamp)).into(),
        log.error_details.as_deref().unwrap_or_default().into(),
    ]
}

/// What the status of a task says.
fn tone(status: &str) -> Tone {
    match status {
        "delivered" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// A task with its attempts. Writing into a String cannot fail.
fn told(out: &Output, both: &TaskAndLogs, bodies: Bodies) -> String {
    let TaskAndLogs { task, logs } = both;
    let mut text = format!("task {}  {}\n", clean(&task.id), out.paint(tone(&task.status), &clean(&task.status)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    line("subscription", &clean(&task.subscription_id));
    line("event type", task.event_type.as_deref().map(clean).as_deref().unwrap_or("-"));
    let of = task.max_attempts.map(|most| format!(" of {most}")).unwrap_or_default();
    line("attempts", &format!("{}{of}", task.attempt_count));
    if task.next_attempt_at.is_some() {
        line("next attempt", &exact_time(out, task.next_attempt_at.as_deref()));
    }
    if let Some(cause) = &task.waiting_for {
        line("waits for", &out.paint(Tone::Warn, &clean(cause)));
    }
    line("created", &exact_time(out, Some(&task.created_at)));
    if !logs.is_empty() {
        let _ = writeln!(text, "\n{}", counted(i64::try_from(logs.len()).unwrap_or(i64::MAX), "attempt", "attempts"));
    }
    for log in logs {
        let tone = if log.outcome == "success" { Tone::Good } else { Tone::Bad };
        let status = log.http_status.map(|status| format!("  {status}")).unwrap_or_default();
        let why = log.error_details.as_deref().map(|why| format!("  {}", clean(why))).unwrap_or_default();
        let outcome = out.paint(tone, &clean(&log.outcome).replace('_', " "));
        let _ = writeln!(text, "  {}  {outcome}{status}  {}{why}", log.attempt_number, time(out, Some(&log.timestamp)));
    }
    if bodies != Bodies::None {
        let content = v1::Content { bytes: task.payload.clone().into_bytes(), ..v1::Content::default() };
        let _ = write!(text, "\npayload\n{}", body(out, &content, bodies, "  "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_with_its_attempts() {
        let sent = r#"{"task":{"id":"t1","subscription_id":"s1","payload":"{\"a\":1}","status":"pending","created_at":"2026-01-05T08:00:00Z",
            "last_attempt_at":"2026-01-05T08:00:01Z","attempt_count":1,"next_attempt_at":"2026-01-05T08:00:10Z","event_type":null,
            "max_attempts":5,"waiting_for":null},"logs":[{"id":"l1","delivery_task_id":"t1","subscription_id":"s1","target_url":"http://h/",
            "timestamp":"2026-01-05T08:00:01Z","attempt_number":1,"outcome":"failed_attempt","http_status":503,"error_details":"busy"}]}"#;
        let told = told(&Output::plain(false), &serde_json::from_str(sent).expect("a task"), Bodies::Short);
        for words in [
            "task t1  pending\n",
            "event type    -\n",
            "attempts      1 of 5\n",
            "next attempt  2026-01-05T08:00:10.000Z\n",
            "\n1 attempt\n  1  failed attempt  503  2026-01-05T08:00:01Z  busy\n",
            "\npayload\n  {\n    \"a\": 1\n  }\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
