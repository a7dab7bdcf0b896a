//! `postrider deliveries`: what became of each event at each subscription, live and afterwards.

mod cancel;
mod retry;
mod show;
mod tail;

use super::Outcome;
use super::remote::deliveries::{COLUMNS, Filter, row};
use super::remote::{self, Failure, Flags, Lines, Listing, Pages, Remote};
use clap::Subcommand;
use postrider_proto::v1;

/// Flags of `postrider deliveries`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List deliveries, the newest first.
    List(Box<List>),
    /// Tell the whole story of a delivery: why it was made, each attempt with its parts, what was sent and answered, and what is next.
    Show(show::Args),
    /// Show deliveries live, a line for each change, until Ctrl-C.
    Tail(Box<tail::Args>),
    /// Retry deliveries, at once and with a fresh budget of attempts: some by their ids, or all that match.
    Retry(Box<retry::Args>),
    /// Cancel deliveries that wait. They get no dead letter, and can be retried.
    Cancel(cancel::Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider deliveries list --state failed --since 1h
  postrider deliveries list --endpoint ENDPOINT --category timeout --count
  postrider deliveries list --state failed --limit 0 --json | jq -r .deliveryId")]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Only print how many match.
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    lines: Lines,
}

/// Runs `postrider deliveries`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) if args.count => count(&server, &args.filter).await,
            Command::List(args) => list(&server, &args).await,
            Command::Show(args) => show::run(&server, &args).await,
            Command::Tail(args) => tail::run(&server, &args).await,
            Command::Retry(args) => retry::run(&server, &args).await,
            Command::Cancel(args) => cancel::run(&server, &args).await,
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = v1::ListDeliveriesRequest {
            filter: args.filter.message(server).into(),
            page_size: turn.size,
            page_token: turn.token,
            count: false,
        };
        let page: v1::ListDeliveriesResponse = server.call("postrider.v1.LedgerService/ListDeliveries", &request).await?;
        pages.came(page.deliveries.len(), page.next_page_token);
        for delivery in &page.deliveries {
            listing.add(delivery, |out| row(out, delivery))?;
        }
    }
    listing.end("deliveries", Some(&pages))
}

async fn count(server: &Remote, filter: &Filter) -> Result<(), Failure> {
    let request = v1::ListDeliveriesRequest {
        filter: filter.message(server).into(),
        page_size: 1,
        count: true,
        ..v1::ListDeliveriesRequest::default()
    };
    let page: v1::ListDeliveriesResponse = server.call("postrider.v1.LedgerService/ListDeliveries", &request).await?;
    let Some(total) = page.total else {
        return Err(Failure::refused(
            "no number is kept of deliveries by the type of their event: leave --event-type out, or count a list with --limit 0",
        ));
    };
    server.out.matched(total, "delivery", "deliveries")
}
