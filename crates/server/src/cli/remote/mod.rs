//! What the commands share that work on a running server.
//!
//! | module | is |
//! |---|---|
//! | `connection` | which server, and with which key: flags, variables, profiles |
//! | `profile` | the file of profiles |
//! | `failure` | why a command did not do its work, and how the process ends for that |
//! | `output` | what goes to stdout: for people or as JSON |
//! | `pages` | lists, page by page |
//! | `table` | columns that fit the terminal |
//! | `text` | times, spans and numbers as people read them |
//! | `body` | payloads, bodies and headers for people |
//! | `deliveries` | which deliveries are meant, and how one of them is shown in a line |
//! | `story` | an exchange with a receiver as text |
//! | `progress` | the bar on stderr |
//! | `follow` | work that goes on in the server, with that bar |
//! | `signals` | Ctrl-C over all of a command |
//! | `rest` | what the REST APIs have and the RPC API has not |
//! | `ask` | whether it is really meant |
//! | `input` | values that come from files and from stdin, and what flags are made of |

pub mod ask;
pub mod body;
mod connection;
pub mod deliveries;
mod failure;
pub mod follow;
pub mod input;
mod output;
mod pages;
pub mod profile;
pub mod progress;
pub mod rest;
pub mod signals;
pub mod story;
pub mod table;
pub mod text;

pub use connection::{Connection, is_open};
pub use failure::{Exit, Failure};
pub use output::{Output, Tone, View, clean};
pub use pages::{Lines, Listing, Pages};

use super::Outcome;
use super::client::{Client, Messages};
use crate::clock::SystemClock;
use parking_lot::Mutex;
use postrider_core::ports::Clock;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::v1;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::process::ExitCode;

/// What the flags of all these commands are listed under.
const HEADING: &str = "Server and output";

/// The flags that all commands have that work on a running server.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    view: View,
    /// The namespace that is meant [default: that of the profile, else that of the key; where the key sees all of them: all].
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    namespace: Option<String>,
}

/// A running server, and how to show what it answers.
pub struct Remote {
    client: Client,
    /// The namespace that is meant; empty for that of the key.
    pub namespace: String,
    /// What goes to stdout.
    pub out: Output,
    /// The namespace of things that are made, once it is known.
    own: Mutex<Option<String>>,
}

impl Remote {
    /// The server that the flags name. Nothing is sent yet.
    pub fn open(flags: &Flags) -> Result<Self, Failure> {
        Remote::with(&flags.connection, flags.namespace.clone(), Output::of(&flags.view))
    }

    /// The same from parts.
    pub fn with(connection: &Connection, namespace: Option<String>, out: Output) -> Result<Self, Failure> {
        let target = connection.target()?;
        let namespace = namespace.or(target.namespace).unwrap_or_default();
        let key = target.key.as_ref().map(|key| key.reveal());
        let client = Client::new(&target.url, key).map_err(Failure::from)?;
        Ok(Remote { client, namespace, out, own: Mutex::new(None) })
    }

    /// Calls a method, such as `postrider.v1.LedgerService/ListDeliveries`.
    pub async fn call<Q, A>(&self, method: &str, request: &Q) -> Result<A, Failure>
    where
        Q: Serialize,
        A: DeserializeOwned,
    {
        Ok(self.client.call(method, request).await?)
    }

    /// Calls a method that answers with a stream of messages.
    pub async fn stream<Q, A>(&self, method: &str, request: &Q) -> Result<Messages<A>, Failure>
    where
        Q: Serialize,
        A: DeserializeOwned,
    {
        Ok(self.client.stream(method, request).await?)
    }

    /// The URL of the server.
    pub fn url(&self) -> &str {
        self.client.url()
    }

    /// Who the key is, and who answers.
    pub async fn session(&self) -> Result<v1::GetSessionResponse, Failure> {
        self.call("postrider.v1.OverviewService/GetSession", &v1::GetSessionRequest::default()).await
    }

    /// Where what is counted now ends in time: at `before`, at the server's clock at the latest. What is counted first and dealt with after a
    /// question is counted and dealt with up to there, so that nothing is dealt with that came after the count.
    ///
    /// # Errors
    /// The server does not say what time it is there, for it does not answer or refuses the key.
    pub async fn until_now(&self, before: Option<Moment>) -> Result<Moment, Failure> {
        let session = self.session().await?;
        let now = text::moment(session.now.as_option()).unwrap_or_else(|| SystemClock.now());
        Ok(before.map_or(now, |before| before.min(now)))
    }

    /// The namespace in which something is made: that of the flags or of the profile, else that of the key.
    pub async fn own_namespace(&self) -> Result<String, Failure> {
        if !self.namespace.is_empty() {
            return Ok(self.namespace.clone());
        }
        if let Some(known) = self.own.lock().clone() {
            return Ok(known);
        }
        let session = self.session().await?;
        if session.namespace.is_empty() {
            return Err(Failure::usage("the key sees all namespaces: name the one that is meant with --namespace"));
        }
        *self.own.lock() = Some(session.namespace.clone());
        Ok(session.namespace)
    }
}

/// Runs a command to its end, and says on stderr why it did not do its work, if it did not.
pub fn run<F, Fut>(flags: &Flags, act: F) -> Outcome
where
    F: FnOnce(Remote) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    run_with(Remote::open(flags), act)
}

/// The same with a server that was found another way.
pub fn run_with<F, Fut>(remote: Result<Remote, Failure>, act: F) -> Outcome
where
    F: FnOnce(Remote) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let runtime = super::runtime()?;
    Ok(ended(remote.and_then(|remote| runtime.block_on(Box::pin(act(remote))))))
}

/// How the process ends.
pub fn ended(done: Result<(), Failure>) -> ExitCode {
    let Err(failure) = done else { return ExitCode::SUCCESS };
    let text = failure.to_string();
    if !text.is_empty() {
        super::say(&format!("postrider: {text}"));
    }
    ExitCode::from(failure.exit().code())
}
