//! `postrider scheduled`: payloads that are delivered at a later time, once or again and again.

use super::remote::body::{Bodies, body};
use super::remote::table::{Cell, Column};
use super::remote::text::{bytes, timestamp};
use super::remote::{self, Exit, Failure, Flags, Lines, Listing, Output, Pages, Remote, Tone, clean, input};
use super::{Outcome, say};
use clap::Subcommand;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::v1;
use std::fmt::Write;

/// How many are looked at together for the one that is meant.
const LOOKED_AT: i32 = 500;

const COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::whole("STATUS"),
    Column::whole("DUE"),
    Column::whole("AGAIN"),
    Column::text("ENDPOINT", 12),
    Column::whole("DELIVERY"),
];

/// Flags of `postrider scheduled`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what is scheduled, what is due first coming first.
    List(List),
    /// Show a scheduled webhook with its payload.
    Show(Show),
    /// Schedule a payload for a subscription. Prints the id of the scheduled webhook.
    Create(Box<Create>),
    /// Cancel scheduled webhooks, and with them the rest of their series.
    Cancel(Cancel),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider scheduled list --status pending")]
struct List {
    /// Only those for this subscription.
    #[arg(long, value_name = "ID")]
    subscription: Option<String>,
    /// Only those with this status.
    #[arg(long, value_name = "STATUS", value_parser = ["pending", "completed", "failed"])]
    status: Option<String>,
    #[command(flatten)]
    lines: Lines,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider scheduled show 0197f3a2-5b1c-7d4e-8f90-123456789abc

It is looked for among all that are scheduled, those that are due first coming first; --subscription makes that fewer.")]
struct Show {
    /// Id of the scheduled webhook.
    #[arg(value_name = "ID")]
    id: String,
    /// Look only among those for this subscription.
    #[arg(long, value_name = "ID")]
    subscription: Option<String>,
    /// How much of the payload to show, of which the server sends up to 8 KiB.
    #[arg(long, value_name = "HOW", default_value = "short")]
    bodies: Bodies,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider scheduled create SUBSCRIPTION --at 24h --data '{\"reminder\": true}'
  postrider scheduled create SUBSCRIPTION --at 2027-01-31T08:00:00Z --again monthly --data @r.json")]
struct Create {
    /// Id of the subscription that gets it.
    #[arg(value_name = "SUBSCRIPTION")]
    subscription: String,
    /// When it is due: a time, or a span from now.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::ahead)]
    at: Moment,
    /// The payload as JSON: as it is, @FILE, or - for stdin.
    #[arg(long, short, value_name = "JSON|@FILE|-")]
    data: String,
    /// Whether it comes again.
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = ["none", "daily", "weekly", "monthly"])]
    again: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider scheduled cancel 0197f3a2-5b1c-7d4e-8f90-123456789abc")]
struct Cancel {
    /// Ids of scheduled webhooks.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// Runs `postrider scheduled`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => list(&server, &args).await,
            Command::Show(args) => show(&server, &args).await,
            Command::Create(args) => create(&server, *args).await,
            Command::Cancel(args) => cancel(&server, &args).await,
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = v1::ListScheduledRequest {
            namespace: server.namespace.clone(),
            subscription_id: args.subscription.clone().unwrap_or_default(),
            status: args.status.clone().unwrap_or_default(),
            page_size: turn.size,
            page_token: turn.token,
        };
        let page: v1::ListScheduledResponse = server.call("postrider.v1.ScheduleService/ListScheduled", &request).await?;
        pages.came(page.scheduled.len(), page.next_page_token);
        for scheduled in &page.scheduled {
            listing.add(scheduled, |out| row(out, scheduled))?;
        }
    }
    listing.end("scheduled webhooks", Some(&pages))
}

fn row(out: &Output, scheduled: &v1::Scheduled) -> Vec<Cell> {
    vec![
        scheduled.scheduled_id.as_str().into(),
        Cell::state(&scheduled.status),
        out.time(scheduled.due_at.as_option()).into(),
        scheduled.recurrence.as_str().into(),
        scheduled.endpoint_name.as_str().into(),
        scheduled.delivery_id.as_str().into(),
    ]
}

async fn show(server: &Remote, args: &Show) -> Result<(), Failure> {
    let mut token = String::new();
    loop {
        let request = v1::ListScheduledRequest {
            namespace: server.namespace.clone(),
            subscription_id: args.subscription.clone().unwrap_or_default(),
            status: String::new(),
            page_size: LOOKED_AT,
            page_token: token,
        };
        let page: v1::ListScheduledResponse = server.call("postrider.v1.ScheduleService/ListScheduled", &request).await?;
        if let Some(found) = page.scheduled.iter().find(|scheduled| scheduled.scheduled_id.eq_ignore_ascii_case(&args.id)) {
            let out = &server.out;
            return if out.is_json() { out.json_document(found) } else { out.print(&told(out, found, args.bodies)) };
        }
        if page.next_page_token.is_empty() {
            return Err(Failure::new(Exit::NotFound, format!("there is no scheduled webhook {}", clean(&args.id))));
        }
        token = page.next_page_token;
    }
}

/// A scheduled webhook with its payload. Writing into a String cannot fail.
fn told(out: &Output, scheduled: &v1::Scheduled, bodies: Bodies) -> String {
    let tone = Tone::of_state(&scheduled.status);
    let mut text = format!("scheduled {}  {}\n", clean(&scheduled.scheduled_id), out.paint(tone, &clean(&scheduled.status)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<14}{}", if value.is_empty() { "-" } else { value });
    };
    line("due", &out.exact_time(scheduled.due_at.as_option()));
    line("again", &clean(&scheduled.recurrence));
    line("subscription", &clean(&scheduled.subscription_id));
    line("endpoint", &clean(&scheduled.endpoint_name));
    line("namespace", &clean(&scheduled.namespace));
    line("delivery", &clean(&scheduled.delivery_id));
    line("created", &out.exact_time(scheduled.created_at.as_option()));
    let payload = v1::Content { bytes: scheduled.payload.clone().into_bytes(), ..v1::Content::default() };
    let shown = body(out, &payload, bodies, "  ");
    if !shown.is_empty() {
        let _ = write!(text, "\npayload\n{shown}");
    }
    if scheduled.payload_bytes > i64::try_from(scheduled.payload.len()).unwrap_or(i64::MAX) {
        let _ = writeln!(
            text,
            "  {}",
            out.paint(Tone::Dim, &format!("… all of it has {}, of which the server sends no more", bytes(scheduled.payload_bytes)))
        );
    }
    text
}

async fn create(server: &Remote, args: Create) -> Result<(), Failure> {
    let request = v1::CreateScheduledRequest {
        subscription_id: args.subscription,
        payload: input::text("--data", &args.data)?,
        due_at: timestamp(args.at).into(),
        recurrence: args.again,
    };
    let made: v1::CreateScheduledResponse = server.call("postrider.v1.ScheduleService/CreateScheduled", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&made.scheduled.into_option().unwrap_or_default());
    }
    say(&format!("due {}", server.out.exact_time(made.scheduled.due_at.as_option())));
    server.out.line(&made.scheduled.scheduled_id)
}

async fn cancel(server: &Remote, args: &Cancel) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for id in &args.ids {
        let request = v1::CancelScheduledRequest { scheduled_id: id.clone() };
        match server.call::<_, v1::CancelScheduledResponse>("postrider.v1.ScheduleService/CancelScheduled", &request).await {
            Ok(_) => say(&format!("cancelled {id}")),
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
    fn a_scheduled_webhook_is_told_with_its_payload() {
        let scheduled = v1::Scheduled {
            scheduled_id: String::from("s1"),
            status: String::from("pending"),
            recurrence: String::from("daily"),
            due_at: timestamp(Moment::from_secs(1_800_000_000)).into(),
            payload: String::from("{\"a\":1}"),
            payload_bytes: 9_000,
            ..v1::Scheduled::default()
        };
        let told = told(&Output::plain(false), &scheduled, Bodies::Short);
        for words in [
            "scheduled s1  pending\n  due           2027-01-15T08:00:00.000Z\n  again         daily\n",
            "delivery      -\n",
            "\npayload\n  {\n    \"a\": 1\n  }\n  … all of it has 8.8 KiB",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
