//! `postrider endpoints`: where events are sent, and how that goes.

mod secrets;
mod settings;
pub mod show;

use super::remote::story::{self, How};
use super::remote::table::{Cell, Column};
use super::remote::text::{counted, percent, took};
use super::remote::{self, Exit, Failure, Flags, Lines, Listing, Output, Pages, Remote, Tone, ask, clean};
use super::{Outcome, say};
use clap::Subcommand;
use postrider_proto::{v1, webhook as w};

const COLUMNS: [Column; 7] = [
    Column::whole("ID"),
    Column::text("NAME", 10),
    Column::whole("STATUS"),
    Column::whole("HEALTH"),
    Column::number("SUCCESS 24H"),
    Column::number("DEAD"),
    Column::text("URL", 20),
];

/// Flags of `postrider endpoints`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List endpoints with how they do, the newest first.
    List(Box<List>),
    /// Show an endpoint: how it does and why, how it is called, and what it is subscribed to.
    Show(Id),
    /// Make an endpoint with a subscription to each event type.
    ///
    /// Prints its id, and the signing secret if the server made it. That secret cannot be read again.
    Create(Box<settings::Create>),
    /// Change what is given of an endpoint, and leave the rest as it is.
    Update(Box<settings::Update>),
    /// Send nothing to endpoints until they are resumed. What is published meanwhile waits, or is recorded as missed.
    Pause(Ids),
    /// Go on sending to paused endpoints.
    Resume(Ids),
    /// Go on sending to endpoints that the server has disabled.
    Enable(Ids),
    /// Delete endpoints with their subscriptions. What waits for them is cancelled, their history stays.
    Delete(Delete),
    /// Send a test request to an endpoint, and show what came of it.
    Test(Test),
    /// Make a new signing secret. The one before signs too for a while, so that receivers can change over.
    ///
    /// Prints the new secret, which cannot be read again, unless it was given.
    RotateSecret(secrets::Rotate),
    /// End a rotation: from now on only the newest secret signs.
    EndRotation(Id),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider endpoints list --health unhealthy
  postrider endpoints list --text billing --json | jq -r .url")]
struct List {
    /// Only those with this status.
    #[arg(long, value_name = "STATUS", value_parser = ["active", "paused", "disabled"])]
    status: Option<String>,
    /// Only those that do like this.
    #[arg(long, value_name = "HEALTH", value_parser = ["healthy", "degraded", "unhealthy", "idle"])]
    health: Option<String>,
    /// Only those whose name, URL or id contains this.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    lines: Lines,
}

/// The endpoint that is meant.
#[derive(Debug, clap::Args)]
struct Id {
    /// Id of the endpoint.
    #[arg(value_name = "ID")]
    id: String,
}

/// The endpoints that are meant.
#[derive(Debug, clap::Args)]
struct Ids {
    /// Ids of endpoints.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider endpoints delete 0197f3a2-5b1c-7d4e-8f90-123456789abc --yes")]
struct Delete {
    /// Ids of endpoints.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider endpoints test 0197f3a2-5b1c-7d4e-8f90-123456789abc

Exit code 1 where the request did not succeed.")]
struct Test {
    /// Id of the endpoint.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    how: How,
}

/// Runs `postrider endpoints`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => list(&server, &args).await,
            Command::Show(args) => show::run(&server, &args.id).await,
            Command::Create(args) => settings::create(&server, *args).await,
            Command::Update(args) => settings::update(&server, *args).await,
            Command::Pause(args) => set_status(&server, &args.ids, "paused").await,
            Command::Resume(args) | Command::Enable(args) => set_status(&server, &args.ids, "active").await,
            Command::Delete(args) => delete(&server, &args).await,
            Command::Test(args) => test(&server, &args).await,
            Command::RotateSecret(args) => secrets::rotate(&server, &args).await,
            Command::EndRotation(args) => secrets::end(&server, &args.id).await,
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = v1::ListEndpointsRequest {
            namespace: server.namespace.clone(),
            status: args.status.clone().unwrap_or_default(),
            health: args.health.clone().unwrap_or_default(),
            text: args.text.clone().unwrap_or_default(),
            page_size: turn.size,
            page_token: turn.token,
        };
        let page: v1::ListEndpointsResponse = server.call("postrider.v1.EndpointService/ListEndpoints", &request).await?;
        pages.came(page.endpoints.len(), page.next_page_token);
        for endpoint in &page.endpoints {
            listing.add(endpoint, |_| row(endpoint))?;
        }
    }
    listing.end("endpoints", Some(&pages))
}

fn row(endpoint: &v1::EndpointSummary) -> Vec<Cell> {
    let dead = match endpoint.open_dead_letters {
        0 => Cell::toned("0", Tone::Dim),
        some => Cell::toned(&remote::text::grouped(some), Tone::Bad),
    };
    vec![
        endpoint.endpoint_id.as_str().into(),
        endpoint.name.as_str().into(),
        Cell::state(&endpoint.status),
        Cell::state(&endpoint.health),
        percent(endpoint.success_rate).into(),
        dead,
        endpoint.url.as_str().into(),
    ]
}

async fn set_status(server: &Remote, ids: &[String], status: &str) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for id in ids {
        let request = v1::SetEndpointStatusRequest { endpoint_id: id.clone(), status: status.to_owned() };
        match server.call::<_, v1::SetEndpointStatusResponse>("postrider.v1.EndpointService/SetEndpointStatus", &request).await {
            Ok(answer) if server.out.is_json() => server.out.json_line(&answer.endpoint.into_option().unwrap_or_default())?,
            Ok(answer) => say(&format!("{} is {}", label(&answer.endpoint), answer.endpoint.status)),
            Err(failure) => {
                say(&format!("{id}: {failure}"));
                failed.push(failure);
            }
        }
    }
    Failure::of_many(ids.len(), &failed)
}

/// What an endpoint is called, for people.
fn label(endpoint: &v1::EndpointSummary) -> String {
    if endpoint.name.is_empty() { clean(&endpoint.url) } else { format!("{} ({})", clean(&endpoint.name), clean(&endpoint.url)) }
}

async fn delete(server: &Remote, args: &Delete) -> Result<(), Failure> {
    let many = counted(i64::try_from(args.ids.len()).unwrap_or(i64::MAX), "endpoint", "endpoints");
    let whose = if args.ids.len() == 1 { "its" } else { "their" };
    ask::about_loss(&format!("Delete {many} with {whose} subscriptions, and cancel what waits?"), args.yes)?;
    let mut failed = Vec::new();
    for id in &args.ids {
        let request = w::UnregisterWebhookRequest { webhook_id: id.clone(), namespace: server.namespace.clone() };
        match server.call::<_, w::UnregisterWebhookResponse>("webhook.WebhookService/UnregisterWebhook", &request).await {
            Ok(_) => say(&format!("deleted {id}")),
            Err(failure) => {
                say(&format!("{id}: {failure}"));
                failed.push(failure);
            }
        }
    }
    Failure::of_many(args.ids.len(), &failed)
}

async fn test(server: &Remote, args: &Test) -> Result<(), Failure> {
    let request = v1::TestEndpointRequest { endpoint_id: args.id.clone() };
    let tested: v1::TestEndpointResponse = server.call("postrider.v1.EndpointService/TestEndpoint", &request).await?;
    let out: &Output = &server.out;
    if out.is_json() {
        out.json_document(&tested)?;
    } else {
        out.print(&story::attempt(out, &tested.attempt, args.how))?;
    }
    if tested.success {
        say("the receiver took it");
        return Ok(());
    }
    let took = tested.attempt.phases.as_option().map_or_else(String::new, |phases| format!(" after {}", took(phases.total)));
    Err(Failure::new(Exit::Refused, format!("the receiver did not take it{took}")))
}
