//! `postrider destinations`: where the Items API sends to.

mod settings;

use super::Outcome;
use super::client::Asked;
use super::remote::rest::{Noun, exact_time, time};
use super::remote::table::{Cell, Column};
use super::remote::text::{bytes, counted, took};
use super::remote::{self, Exit, Failure, Flags, Lines, Output, Remote, Tone, ask, clean};
use clap::Subcommand;
use http::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The destinations of the Items API.
const NOUN: Noun = Noun {
    path: "v1/delivery/destinations",
    what: "destinations",
    columns: &[
        Column::whole("ID"),
        Column::text("NAME", 10),
        Column::whole("STATUS"),
        Column::whole("LAST DELIVERY"),
        Column::whole("ENDED"),
        Column::text("URL", 20),
    ],
};

/// Flags of `postrider destinations`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A destination is an endpoint: postrider endpoints and the dashboard show it too, with how it does. Bindings bring events to it.
These commands want a key of a namespace, in development mode too: its start prints one."
)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List destinations, the newest first.
    List(List),
    /// Show a destination. Credentials, secrets and headers that look like them are masked.
    Show(Id),
    /// Make a destination. Prints its id.
    Create(Box<settings::Create>),
    /// Change what is given of a destination, and leave the rest as it is. One that the server has disabled is active again.
    Update(Box<settings::Update>),
    /// Send a signed delivery.test to a destination, and tell what came of it. It counts nowhere, and disables nothing.
    Test(Test),
    /// Delete destinations with their bindings, items and dead letters, for good. What waits for them is never sent; the events stay.
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider destinations list
  postrider destinations list --limit 0 --json | jq -r 'select(.disabled_at) | .id'")]
struct List {
    #[command(flatten)]
    lines: Lines,
}

/// The destination that is meant.
#[derive(Debug, clap::Args)]
struct Id {
    /// Id of the destination.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider destinations test 0197f3a2-5b1c-7d4e-8f90-123456789abc

Exit code 1 where the receiver did not take it.")]
struct Test {
    /// Id of the destination.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider destinations delete 0197f3a2-5b1c-7d4e-8f90-123456789abc --yes
  postrider destinations update 0197f3a2-5b1c-7d4e-8f90-123456789abc --paused

The second one stops sending and loses nothing.")]
struct Delete {
    /// Ids of destinations.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// A destination, as far as it is shown to people.
#[derive(Debug, Default, Deserialize)]
struct Destination {
    id: String,
    customer_id: Option<String>,
    name: String,
    config: Config,
    has_auth_config: bool,
    has_signing_secret: bool,
    payload_cap_bytes: Option<i64>,
    is_active: bool,
    disabled_at: Option<String>,
    disabled_reason: Option<String>,
    last_delivery_at: Option<String>,
    last_delivery_status: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// What came of a test.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tested {
    success: bool,
    http_status: Option<u16>,
    duration_ms: u64,
    message: Option<String>,
    error_code: Option<String>,
}

impl Destination {
    fn status(&self) -> &'static str {
        match (self.is_active, &self.disabled_at) {
            (true, _) => "active",
            (false, Some(_)) => "disabled",
            (false, None) => "paused",
        }
    }
}

/// Runs `postrider destinations`.
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
            Command::Test(args) => test(&server, &args.id).await,
            Command::Delete(args) => delete(&server, &args).await,
        }
    })
}

fn row(out: &Output, destination: &Destination) -> Vec<Cell> {
    vec![
        destination.id.as_str().into(),
        destination.name.as_str().into(),
        Cell::state(destination.status()),
        time(out, destination.last_delivery_at.as_deref()).into(),
        Cell::state(destination.last_delivery_status.as_deref().unwrap_or_default()),
        destination.config.url.as_str().into(),
    ]
}

/// Everything that a destination is made of. Writing into a String cannot fail.
fn told(out: &Output, destination: &Destination) -> String {
    let mut text = format!("destination {}  {}\n", clean(&destination.id), out.paint(Tone::Strong, &clean(&destination.name)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<15}{value}");
    };
    let status = destination.status();
    let why = match &destination.disabled_reason {
        Some(reason) => format!(" for {} since {}", clean(reason), time(out, destination.disabled_at.as_deref())),
        None => String::new(),
    };
    line("status", &format!("{}{why}", out.paint(Tone::of_state(status), status)));
    line("url", &clean(&destination.config.url));
    if let Some(namespace) = &destination.customer_id {
        line("namespace", &clean(namespace));
    }
    for (name, value) in &destination.config.headers {
        line("header", &format!("{}: {}", clean(name), clean(value)));
    }
    line("credentials", if destination.has_auth_config { "there are some" } else { "none" });
    line("signed", if destination.has_signing_secret { "with its secret" } else { "no: it has no secret" });
    if let Some(cap) = destination.payload_cap_bytes {
        line("largest body", &bytes(cap));
    }
    let last = match &destination.last_delivery_status {
        Some(status) => {
            format!("{}, {}", out.paint(Tone::of_state(status), &clean(status)), time(out, destination.last_delivery_at.as_deref()))
        }
        None => String::from("-"),
    };
    line("last delivery", &last);
    line("created", &exact_time(out, Some(&destination.created_at)));
    line("changed", &exact_time(out, Some(&destination.updated_at)));
    text
}

async fn test(server: &Remote, id: &str) -> Result<(), Failure> {
    server.only_own().await?;
    let answer = server.ask(Asked::new(Method::POST, format!("{}/test", NOUN.at(id)?))).await?;
    server.show(&answer, tested)?;
    let tested: Tested = answer.read()?;
    if tested.success { Ok(()) } else { Err(Failure::new(Exit::Refused, "the receiver did not take it")) }
}

fn tested(out: &Output, tested: &Tested) -> String {
    let status = tested.http_status.map_or_else(|| String::from("no answer"), |status| status.to_string());
    let tone = if tested.success { Tone::Good } else { Tone::Bad };
    let mut text = format!("{} in {}", out.paint(tone, &status), took(tested.duration_ms as f64));
    let code = tested.error_code.as_deref().map(clean);
    for more in [code, tested.message.as_deref().map(clean)].into_iter().flatten().filter(|more| !more.is_empty()) {
        let _ = write!(text, "  {more}");
    }
    text + "\n"
}

async fn delete(server: &Remote, args: &Delete) -> Result<(), Failure> {
    let many = counted(i64::try_from(args.ids.len()).unwrap_or(i64::MAX), "destination", "destinations");
    let whose = if args.ids.len() == 1 { "its" } else { "their" };
    ask::about_loss(&format!("Delete {many} with {whose} bindings, items and dead letters, for good?"), args.yes)?;
    server.only_own().await?;
    server.each(&args.ids, |id| Ok(Asked::new(Method::DELETE, NOUN.at(id)?)), "deleted").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_told_without_its_secrets() {
        let sent = r#"{"id":"d1","name":"shop","type":"webhook","config":{"url":"https://h/","headers":{"X-Token":"********"}},
            "has_auth_config":true,"has_signing_secret":false,"payload_cap_bytes":1048576,"is_active":false,
            "disabled_at":"2026-01-05T08:00:00.000Z","disabled_reason":"endpoint_gone","last_delivery_at":null,"last_delivery_status":null,
            "created_at":"2026-01-05T07:00:00.000Z","updated_at":"2026-01-05T08:00:00.000Z"}"#;
        let destination: Destination = serde_json::from_str(sent).expect("a destination");
        let told = told(&Output::plain(false), &destination);
        for words in [
            "destination d1  shop\n",
            "status         disabled for endpoint_gone since 2026-01-05T08:00:00Z\n",
            "header         X-Token: ********\n",
            "signed         no: it has no secret\n",
            "largest body   1.0 MiB\n",
            "last delivery  -\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[test]
    fn a_test_is_told_in_a_line() {
        let of = |json: &str| tested(&Output::plain(false), &serde_json::from_str(json).expect("a test"));
        let good = r#"{"success":true,"httpStatus":204,"durationMs":12,"message":null,"errorCode":null}"#;
        assert_eq!(of(good), "204 in 12 ms\n");
        let bad = r#"{"success":false,"httpStatus":null,"durationMs":3,"message":"nobody listens","errorCode":"connection_refused"}"#;
        assert_eq!(of(bad), "no answer in 3.0 ms  connection_refused  nobody listens\n");
    }
}
