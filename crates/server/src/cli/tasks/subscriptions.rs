//! `postrider tasks subscriptions`.

use crate::cli::client::Asked;
use crate::cli::remote::rest::{exact_time, segment, time};
use crate::cli::remote::table::{Cell, Column};
use crate::cli::remote::text::counted;
use crate::cli::remote::{Failure, Output, Remote, Tone, ask, clean, input};
use crate::cli::say;
use clap::Subcommand;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use std::fmt::Write;

const COLUMNS: [Column; 5] =
    [Column::whole("ID"), Column::whole("STATUS"), Column::text("EVENT TYPES", 12), Column::whole("CREATED"), Column::text("URL", 20)];

/// Flags of `postrider tasks subscriptions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all subscriptions that the key sees, whichever API made them, the oldest first.
    List,
    /// Show a subscription. Whether it has a secret is said, and nothing more of it.
    Show(Id),
    /// Make a subscription. Prints its id.
    Create(Create),
    /// Change what is given of a subscription, and leave the rest as it is. One that the server has disabled is active again.
    Update(Update),
    /// Delete subscriptions with their URLs. What waits for them is never sent, their history stays until its retention.
    Delete(Delete),
}

/// The subscription that is meant.
#[derive(Debug, clap::Args)]
struct Id {
    /// Id of the subscription.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider tasks subscriptions create https://shop.example.com/hooks
  postrider tasks subscriptions create https://shop.example.com/ --event 'order.*' --secret @key")]
struct Create {
    /// Where to send, http or https.
    #[arg(value_name = "URL")]
    target: String,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider tasks subscriptions update SUBSCRIPTION --to https://shop.example.com/new
  postrider tasks subscriptions update 0197f3a2-5b1c-7d4e-8f90-123456789abc --without secret")]
struct Update {
    /// Id of the subscription.
    #[arg(value_name = "ID")]
    id: String,
    /// Where to send from now on.
    #[arg(long = "to", value_name = "URL")]
    target: Option<String>,
    /// What to take away.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    without: Vec<Without>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider tasks subscriptions delete 0197f3a2-5b1c-7d4e-8f90-123456789abc --yes")]
struct Delete {
    /// Ids of subscriptions.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// What is the same for making and changing one.
#[derive(Debug, clap::Args)]
struct Settings {
    /// The secret: what is ingested must be signed with it, and what is delivered is. - reads it from stdin, @FILE from a file.
    #[arg(long, value_name = "SECRET|@FILE|-")]
    secret: Option<String>,
    /// An event type that it takes, such as order.created, or `order.*` for all below that; may be given several times, and replaces those it has
    /// [default of a new one: all].
    #[arg(long = "event", short, value_name = "TYPE")]
    events: Vec<String>,
}

/// What can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Without {
    /// The secret: nothing is signed any more, and ingesting wants a key.
    Secret,
    /// The event types: it takes all of them.
    Events,
}

/// A request; what it leaves out stays.
#[derive(Debug, Default, Serialize)]
struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_types: Option<Option<Vec<String>>>,
}

/// A subscription, as far as it is shown to people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subscription {
    id: String,
    target_url: String,
    secret: Option<String>,
    event_types: Option<String>,
    created_at: String,
    updated_at: String,
    disabled_at: Option<String>,
    disabled_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Made {
    id: String,
}

impl Subscription {
    fn status(&self) -> &'static str {
        if self.disabled_at.is_some() { "disabled" } else { "active" }
    }

    fn wants(&self) -> String {
        self.event_types.as_deref().map_or_else(|| String::from("every event"), clean)
    }
}

impl Settings {
    fn request(self) -> Result<Request, Failure> {
        Ok(Request {
            target_url: None,
            secret: self.secret.as_deref().map(|given| input::secret("--secret", given).map(Some)).transpose()?,
            event_types: (!self.events.is_empty()).then_some(Some(self.events)),
        })
    }
}

impl Update {
    fn request(self) -> Result<(String, Request), Failure> {
        let mut request = self.settings.request()?;
        for without in self.without {
            let is_given = match without {
                Without::Secret => request.secret.replace(None).is_some(),
                Without::Events => request.event_types.replace(None).is_some(),
            };
            if is_given {
                return Err(Failure::usage("something is given and taken away with --without: leave one of the two"));
            }
        }
        request.target_url = self.target;
        Ok((self.id, request))
    }
}

/// Runs `postrider tasks subscriptions`.
pub async fn run(server: &Remote, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::List => list(server).await,
        Command::Show(args) => {
            let answer = server.ask(Asked::get(at(&args.id)?)).await?;
            server.show(&answer, told)
        }
        Command::Create(args) => create(server, args).await,
        Command::Update(args) => update(server, args).await,
        Command::Delete(args) => delete(server, &args).await,
    }
}

fn at(id: &str) -> Result<String, Failure> {
    Ok(format!("subscriptions/{}", segment(id)?))
}

async fn list(server: &Remote) -> Result<(), Failure> {
    server.only_own().await?;
    let all: Vec<Box<RawValue>> = server.ask(Asked::get("subscriptions")).await?.read()?;
    server.list_whole(&all, &COLUMNS, "subscriptions", row)
}

fn row(out: &Output, subscription: &Subscription) -> Vec<Cell> {
    vec![
        subscription.id.as_str().into(),
        Cell::state(subscription.status()),
        subscription.wants().into(),
        time(out, Some(&subscription.created_at)).into(),
        subscription.target_url.as_str().into(),
    ]
}

/// Everything that a subscription is made of. Writing into a String cannot fail.
fn told(out: &Output, subscription: &Subscription) -> String {
    let mut text = format!("subscription {}\n", clean(&subscription.id));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10}{value}");
    };
    let status = subscription.status();
    let why = match &subscription.disabled_reason {
        Some(reason) => format!(" for {} since {}", clean(reason), time(out, subscription.disabled_at.as_deref())),
        None => String::new(),
    };
    line("status", &format!("{}{why}", out.paint(Tone::of_state(status), status)));
    line("url", &clean(&subscription.target_url));
    line("takes", &subscription.wants());
    line("secret", if subscription.secret.is_some() { "it has one" } else { "none: what is ingested wants a key, and nothing is signed" });
    line("created", &exact_time(out, Some(&subscription.created_at)));
    line("changed", &exact_time(out, Some(&subscription.updated_at)));
    text
}

async fn create(server: &Remote, args: Create) -> Result<(), Failure> {
    let mut request = args.settings.request()?;
    request.target_url = Some(args.target);
    server.only_own().await?;
    let answer = server.ask(Asked::new(Method::POST, "subscriptions").with_json(&request)?).await?;
    server.show(&answer, |_, made: &Made| format!("{}\n", made.id))
}

async fn update(server: &Remote, args: Update) -> Result<(), Failure> {
    let (id, request) = args.request()?;
    let asked = Asked::new(Method::PUT, at(&id)?).with_json(&request)?;
    if serde_json::to_value(&request).is_ok_and(|written| written == json!({})) {
        return Err(Failure::usage("nothing is to be changed: give what, see --help"));
    }
    server.only_own().await?;
    server.ask(asked).await?;
    say("changed");
    Ok(())
}

async fn delete(server: &Remote, args: &Delete) -> Result<(), Failure> {
    let many = counted(i64::try_from(args.ids.len()).unwrap_or(i64::MAX), "subscription", "subscriptions");
    ask::about_loss(&format!("Delete {many}, and cancel what waits?"), args.yes)?;
    server.only_own().await?;
    server.each(&args.ids, |id| Ok(Asked::new(Method::DELETE, at(id)?)), "deleted").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_told_without_its_secret() {
        let sent = r#"{"id":"s1","target_url":"https://h/","secret":"********","event_types":"order.*","created_at":"2026-01-05T08:00:00Z",
            "updated_at":"2026-01-05T08:00:00Z","disabled_at":"2026-01-05T09:00:00Z","disabled_reason":"endpoint_gone"}"#;
        let told = told(&Output::plain(false), &serde_json::from_str(sent).expect("a subscription"));
        for words in ["status    disabled for endpoint_gone since 2026-01-05T09:00:00Z\n", "takes     order.*\n", "secret    it has one\n"]
        {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("***"), "{told}");
    }

    #[test]
    fn what_is_taken_away_is_null() {
        let request = |events: &[&str], without: &[Without]| {
            let settings = Settings { secret: None, events: events.iter().map(|name| (*name).to_owned()).collect() };
            let update = Update { id: String::from("id"), target: None, without: without.to_vec(), settings };
            update.request().map(|(_, request)| serde_json::to_value(&request).expect("JSON"))
        };
        assert_eq!(request(&["a", "b"], &[Without::Secret]), Ok(json!({"secret": null, "event_types": ["a", "b"]})));
        assert_eq!(request(&[], &[Without::Events]), Ok(json!({"event_types": null})));
        request(&["a"], &[Without::Events]).expect_err("both");
    }
}
