//! `postrider event-types`: the types that events have, with the schemas of their payloads.

use super::remote::table::{Cell, Column};
use super::remote::{self, Failure, Flags, Lines, Listing, Output, Pages, Remote, Tone, ask, body, clean, input};
use super::{Outcome, say};
use clap::Subcommand;
use postrider_proto::webhook as w;

const COLUMNS: [Column; 5] = [
    Column::text("NAME", 20),
    Column::whole("ACTIVE"),
    Column::whole("SCHEMA"),
    Column::whole("REGISTERED"),
    Column::text("DESCRIPTION", 12),
];

/// Flags of `postrider event-types`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List event types, the newest first.
    ///
    /// Each namespace has a registry of its own; keys without a namespace keep the one that all of them share.
    List(List),
    /// Show an event type with its schema and a payload that fits it.
    Show(Name),
    /// Make an event type, or change what is given of one that is there.
    Put(Box<Put>),
    /// Delete an event type. Events and subscriptions of its name stay.
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider event-types list --active")]
struct List {
    /// Only those whose events are taken.
    #[arg(long)]
    active: bool,
    #[command(flatten)]
    lines: Lines,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider event-types show order.created")]
struct Name {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider event-types put order.created --schema @order.json --description \"An order was placed\"
  postrider event-types put order.created --inactive

A schema holds from the next event on. Events that do not fit it are taken all the same, with warnings.")]
struct Put {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// What it means, for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// JSON Schema of the payloads: as it is, @FILE, or - for stdin.
    #[arg(long, value_name = "JSON|@FILE|-")]
    schema: Option<String>,
    /// Something to keep with it; may be given several times, and replaces what was there.
    #[arg(long, value_name = "KEY=VALUE", value_parser = input::pair)]
    metadata: Vec<(String, String)>,
    /// Events of it are taken.
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Events of it are refused.
    #[arg(long)]
    inactive: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider event-types delete order.created --yes")]
struct Delete {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Runs `postrider event-types`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => list(&server, &args).await,
            Command::Show(args) => show(&server, &args.name).await,
            Command::Put(args) => put(&server, *args).await,
            Command::Delete(args) => delete(&server, &args).await,
        }
    })
}

/// The registry that is meant: that of the namespace, or of the key.
fn registry(server: &Remote) -> Option<String> {
    Some(server.namespace.clone()).filter(|namespace| !namespace.is_empty())
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = w::ListEventsRequest {
            active_only: args.active,
            pagination: Some(w::PaginationRequest { limit: turn.size, offset: turn.offset }).into(),
            namespace: registry(server),
        };
        let page: w::ListEventsResponse = server.call("webhook.EventService/ListEvents", &request).await?;
        pages.came_of(page.events.len(), page.pagination.total_count);
        for event_type in &page.events {
            listing.add(event_type, |out| row(out, event_type))?;
        }
    }
    listing.end("event types", Some(&pages))
}

fn row(out: &Output, event_type: &w::RegisteredEvent) -> Vec<Cell> {
    let active = if event_type.active { Cell::new("yes") } else { Cell::toned("no", Tone::Warn) };
    let schema = if has_schema(event_type) { "yes" } else { "" };
    let registered = out.time(event_type.created_at.as_option());
    vec![event_type.name.as_str().into(), active, schema.into(), registered.into(), event_type.description.as_str().into()]
}

fn has_schema(event_type: &w::RegisteredEvent) -> bool {
    event_type.schema.as_option().is_some_and(|schema| !schema.is_empty())
}

async fn show(server: &Remote, name: &str) -> Result<(), Failure> {
    let request = w::GetEventRequest { name: name.to_owned(), namespace: registry(server) };
    let answer: w::GetEventResponse = server.call("webhook.EventService/GetEvent", &request).await?;
    let out = &server.out;
    if out.is_json() {
        return out.json_document(&answer.event.into_option().unwrap_or_default());
    }
    let event_type = &answer.event;
    let mut text = format!("event type {}\n", out.paint(Tone::Strong, &clean(&event_type.name)));
    if !event_type.description.is_empty() {
        text.push_str(&format!("  {}\n", clean(&event_type.description)));
    }
    let active = if event_type.active { "events of it are taken" } else { "events of it are refused" };
    text.push_str(&format!("  {active}\n  registered  {}\n", out.exact_time(event_type.created_at.as_option())));
    text.push_str(&format!("  changed     {}\n", out.exact_time(event_type.updated_at.as_option())));
    if !event_type.metadata.is_empty() {
        text.push_str(&format!("  metadata    {}\n", body::pairs(&event_type.metadata)));
    }
    for (title, object) in [("schema", &event_type.schema), ("a payload that fits it", &event_type.sample_payload)] {
        if let Some(object) = object.as_option().filter(|object| !object.is_empty()) {
            let json = String::from_utf8_lossy(object.json());
            let pretty = super::listen::indented(&json).unwrap_or_else(|| json.into_owned());
            let lines: String = pretty.lines().map(|line| format!("  {}\n", clean(line))).collect();
            text.push_str(&format!("\n{title}\n{lines}"));
        }
    }
    out.print(&text)
}

async fn put(server: &Remote, args: Put) -> Result<(), Failure> {
    let schema = args.schema.as_deref().map(|given| input::object("--schema", given)).transpose()?;
    let active = if args.inactive { Some(false) } else { args.active.then_some(true) };
    let update = w::UpdateEventRequest {
        name: args.name.clone(),
        description: args.description.clone(),
        schema: schema.clone().into(),
        metadata: args.metadata.iter().cloned().collect(),
        active,
        namespace: registry(server),
    };
    let updated = server.call::<_, w::UpdateEventResponse>("webhook.EventService/UpdateEvent", &update).await;
    let verb = match updated {
        Ok(_) => "changed",
        Err(failure) if failure.exit() == remote::Exit::NotFound => {
            let register = w::RegisterEventRequest {
                name: args.name.clone(),
                description: args.description.unwrap_or_default(),
                schema: schema.into(),
                metadata: args.metadata.into_iter().collect(),
                active,
                namespace: registry(server),
            };
            let _: w::RegisterEventResponse = server.call("webhook.EventService/RegisterEvent", &register).await?;
            "registered"
        }
        Err(failure) => return Err(failure),
    };
    if server.out.is_json() {
        return show(server, &args.name).await;
    }
    say(&format!("{verb} {}", clean(&args.name)));
    Ok(())
}

async fn delete(server: &Remote, args: &Delete) -> Result<(), Failure> {
    ask::about_loss(&format!("Delete the event type {} with its schema?", clean(&args.name)), args.yes)?;
    let request = w::DeleteEventRequest { name: args.name.clone(), namespace: registry(server) };
    let _: w::DeleteEventResponse = server.call("webhook.EventService/DeleteEvent", &request).await?;
    say(&format!("deleted {}", clean(&args.name)));
    Ok(())
}
