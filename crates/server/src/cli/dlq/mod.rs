//! `postrider dlq`: deliveries that failed for good, by its cause, and what people do about it.

mod deal;

use super::Outcome;
use super::remote::table::{Cell, Column};
use super::remote::text::{grouped, timestamp};
use super::remote::{self, Failure, Flags, Lines, Listing, Output, Pages, Remote, Tone, clean, input};
use clap::Subcommand;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::v1;

const COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::text("ERROR", 12),
    Column::number("ATTEMPTS"),
    Column::text("EVENT TYPE", 10),
    Column::text("ENDPOINT", 12),
    Column::whole("FAILED"),
];

const GROUP_COLUMNS: [Column; 4] =
    [Column::number("OPEN"), Column::whole("ERROR"), Column::text("ENDPOINT", 16), Column::whole("ENDPOINT ID")];

/// Flags of `postrider dlq`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List dead letters that nobody dealt with, the newest first.
    List(Box<List>),
    /// Count them by cause and endpoint, the most first, with what the cause means and what to do about it.
    Groups(Groups),
    /// Deliver dead letters after all: some by their ids at once, or all that match as a job of the server.
    ///
    /// A job goes on over restarts of the server. Ctrl-C stops it; postrider jobs resume has it go on where it stood.
    Replay(Box<deal::Replay>),
    /// Close dead letters without delivering them. Their deliveries stay as they are.
    Dismiss(Box<deal::Dismiss>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider dlq list --code connector_5xx --since 24h
  postrider dlq list --limit 0 --json | jq -r .deadLetterId")]
struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    lines: Lines,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider dlq groups --brief")]
struct Groups {
    /// Leave out what the causes mean.
    #[arg(long)]
    brief: bool,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Only those to this endpoint.
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only those for this subscription.
    #[arg(long, value_name = "ID")]
    subscription: Option<String>,
    /// Only those that failed with this error code, as postrider dlq groups shows them.
    #[arg(long, value_name = "CODE", value_parser = input::codes(), hide_possible_values = true)]
    code: Option<String>,
    /// Only those that failed at this time or later: a time, or a span before now.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    since: Option<Moment>,
    /// Only those that failed before this time.
    #[arg(long, value_name = "TIME|SPAN", value_parser = input::past)]
    before: Option<Moment>,
}

impl Filter {
    /// The flags, for others that go without them.
    pub const FLAGS: [&'static str; 5] = ["endpoint", "subscription", "code", "since", "before"];

    /// Whether nothing narrows it.
    pub fn is_all(&self) -> bool {
        let Filter { endpoint, subscription, code, since, before } = self;
        endpoint.is_none() && subscription.is_none() && code.is_none() && since.is_none() && before.is_none()
    }

    /// As the contract has it.
    pub fn message(&self, namespace: &str) -> v1::DeadLetterFilter {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        v1::DeadLetterFilter {
            namespace: namespace.to_owned(),
            endpoint_id: text(&self.endpoint),
            subscription_id: text(&self.subscription),
            error_code: text(&self.code),
            failed_from: self.since.map(timestamp).into(),
            failed_before: self.before.map(timestamp).into(),
        }
    }
}

/// Runs `postrider dlq`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => list(&server, &args).await,
            Command::Groups(args) => groups(&server, &args).await,
            Command::Replay(args) => deal::replay(&server, &args).await,
            Command::Dismiss(args) => deal::dismiss(&server, &args).await,
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = v1::ListDeadLettersRequest {
            filter: args.filter.message(&server.namespace).into(),
            page_size: turn.size,
            page_token: turn.token,
        };
        let page: v1::ListDeadLettersResponse = server.call("postrider.v1.DeadLetterService/ListDeadLetters", &request).await?;
        pages.came(page.dead_letters.len(), page.next_page_token);
        for letter in &page.dead_letters {
            listing.add(letter, |out| row(out, letter))?;
        }
    }
    listing.end("dead letters", Some(&pages))
}

fn row(out: &Output, letter: &v1::DeadLetter) -> Vec<Cell> {
    vec![
        letter.dead_letter_id.as_str().into(),
        Cell::toned(&letter.error_code, Tone::Bad),
        letter.attempts.to_string().into(),
        letter.event_type.as_str().into(),
        letter.endpoint_name.as_str().into(),
        out.time(letter.failed_at.as_option()).into(),
    ]
}

async fn groups(server: &Remote, args: &Groups) -> Result<(), Failure> {
    let request = v1::ListDeadLetterGroupsRequest { namespace: server.namespace.clone() };
    let found: v1::ListDeadLetterGroupsResponse = server.call("postrider.v1.DeadLetterService/ListDeadLetterGroups", &request).await?;
    let mut listing = Listing::new(&server.out, &GROUP_COLUMNS);
    for group in &found.groups {
        listing.add(group, |_| {
            let code = Cell::toned(&group.error_code, Tone::Bad);
            let name = if group.endpoint_name.is_empty() { "(deleted)" } else { group.endpoint_name.as_str() };
            vec![grouped(group.count).into(), code, name.into(), group.endpoint_id.as_str().into()]
        })?;
    }
    listing.end("dead letters", None)?;
    if args.brief || server.out.is_json() {
        return Ok(());
    }
    let mut told: Vec<&str> = Vec::new();
    for group in &found.groups {
        if !told.contains(&group.error_code.as_str()) {
            told.push(&group.error_code);
            let code = server.out.paint(Tone::Bad, &clean(&group.error_code));
            server.out.print(&format!("\n{code}: {}\n  {}\n", clean(&group.explanation), clean(&group.advice)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use postrider_core::error::ErrorCode;

    /// Every code that a text has as an example.
    fn examples(text: &str) -> Vec<&str> {
        text.split("--code ").skip(1).filter_map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()).collect()
    }

    #[test]
    fn examples_have_codes_that_there_are() {
        let mut texts = vec![String::from(include_str!("../../../../../docs/cli.md"))];
        let mut command = crate::cli::Cli::command();
        let dlq = command.find_subcommand_mut("dlq").expect("dlq");
        texts.extend(dlq.get_subcommands_mut().map(|sub| sub.render_long_help().to_string()));
        let codes: Vec<&str> = texts.iter().flat_map(|text| examples(text)).filter(|code| !code.is_empty()).collect();
        assert!(codes.len() >= 4, "{codes:?}");
        for code in codes {
            assert!(ErrorCode::parse(code).is_some(), "--code {code}");
        }
    }
}
