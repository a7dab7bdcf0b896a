//! `postrider namespaces`: the tenants of a server.

use super::Outcome;
use super::remote::table::Column;
use super::remote::{self, Failure, Flags, Lines, Listing, Pages, Remote};
use clap::Subcommand;
use postrider_proto::v1;

const COLUMNS: [Column; 1] = [Column::whole("NAME")];

/// Flags of `postrider namespaces`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the namespaces that have endpoints, subscriptions, event types or keys and that the key sees, by name.
    List(List),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider namespaces list
  postrider namespaces list --prefix customer- --limit 0

With --json each line is {\"namespace\": NAME}.")]
struct List {
    /// Only those that begin with this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    lines: Lines,
}

/// Runs `postrider namespaces`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => list(&server, &args).await,
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = v1::ListNamespacesRequest { prefix: args.prefix.clone(), page_size: turn.size, page_token: turn.token };
        let page: v1::ListNamespacesResponse = server.call("postrider.v1.OverviewService/ListNamespaces", &request).await?;
        pages.came(page.namespaces.len(), page.next_page_token);
        for name in &page.namespaces {
            listing.add(&serde_json::json!({ "namespace": name }), |_| vec![name.as_str().into()])?;
        }
    }
    listing.end("namespaces", Some(&pages))
}
