//! `postrider batches`: deliveries that are retried and events that are published again, many at a time.

use super::remote::follow::{State, Work, follow};
use super::remote::progress::{Bar, Stage};
use super::remote::signals::Signals;
use super::remote::text::{counted, grouped};
use super::remote::{self, Exit, Failure, Flags, Remote, Tone, clean};
use super::{Outcome, say};
use clap::Subcommand;
use postrider_proto::webhook as w;

/// Flags of `postrider batches`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how far a batch is, or wait for its end.
    Show(Show),
    /// Stop a batch. What it has done stays done.
    Cancel(Cancel),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider batches show 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider batches show 0197f3a2-5b1c-7d4e-8f90-123456789abc --wait

postrider deliveries retry and postrider events repush say the id of a batch where they cannot wait for its end.")]
struct Show {
    /// Id of the batch.
    #[arg(value_name = "ID")]
    id: String,
    /// Wait for its end, with a bar; Ctrl-C stops the batch.
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider batches cancel 0197f3a2-5b1c-7d4e-8f90-123456789abc")]
struct Cancel {
    /// Id of the batch.
    #[arg(value_name = "ID")]
    id: String,
}

/// What a batch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It retries deliveries.
    Retry,
    /// It publishes events again.
    Repush,
}

/// A batch of the server.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What it does.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// How many entries others before it are through with, which count as well.
    pub before: i64,
    /// How many entries there are in all of them, if more than these.
    pub all: i64,
}

/// Runs `postrider batches`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::Show(args) => {
                let (batch, status) = Batch::find(&server, &args.id).await?;
                if args.wait { wait(&server, &batch).await } else { batch.show(&server, &status) }
            }
            Command::Cancel(args) => cancel(&server, &args.id).await,
        }
    })
}

async fn wait(server: &Remote, batch: &Batch) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut bar = Bar::new(batch.what());
    follow(server, batch, &mut signals, &mut bar).await?;
    drop(bar);
    let status = signals.through(batch.status(server)).await?;
    batch.show(server, &status)?;
    match (status.status.as_str(), status.failed) {
        ("completed", 0) => Ok(()),
        ("completed", failed) => {
            Err(Failure::new(Exit::Part, format!("{} could not be done", counted(i64::from(failed), "entry", "entries"))))
        }
        _ if signals.came() => Err(Failure::new(Exit::Interrupted, "stopped: what it has done stays done")),
        (ended, _) => Err(Failure::refused(format!("the batch is {ended}"))),
    }
}

async fn cancel(server: &Remote, id: &str) -> Result<(), Failure> {
    let (batch, _) = Batch::find(server, id).await?;
    batch.stop(server).await?;
    let status = batch.status(server).await?;
    if server.out.is_json() {
        return batch.show(server, &status);
    }
    say(&format!("stopped: {} of {} entries done", grouped(i64::from(status.processed)), grouped(i64::from(status.total))));
    Ok(())
}

impl Batch {
    /// One that stands for itself.
    pub fn new(kind: Kind, id: String) -> Self {
        Batch { kind, id, before: 0, all: 0 }
    }

    /// The one with this id, whatever it does, and how far it is.
    async fn find(server: &Remote, id: &str) -> Result<(Batch, w::BatchJobStatus), Failure> {
        let retry = Batch::new(Kind::Retry, id.to_owned());
        match retry.status(server).await {
            Ok(status) => Ok((retry, status)),
            Err(failure) if failure.exit() == Exit::NotFound => {
                let repush = Batch { kind: Kind::Repush, ..retry };
                let status = repush.status(server).await?;
                Ok((repush, status))
            }
            Err(failure) => Err(failure),
        }
    }

    /// How far it is.
    pub async fn status(&self, server: &Remote) -> Result<w::BatchJobStatus, Failure> {
        let status = match self.kind {
            Kind::Retry => {
                let request = w::GetRetryStatusRequest { retry_id: self.id.clone() };
                let answer: w::GetRetryStatusResponse = server.call("webhook.DeliveryService/GetRetryStatus", &request).await?;
                answer.batch
            }
            Kind::Repush => {
                let request = w::GetRepushStatusRequest { repush_id: self.id.clone() };
                let answer: w::GetRepushStatusResponse = server.call("webhook.EventService/GetRepushStatus", &request).await?;
                answer.batch
            }
        };
        Ok(status.into_option().unwrap_or_default())
    }

    fn show(&self, server: &Remote, status: &w::BatchJobStatus) -> Result<(), Failure> {
        let out = &server.out;
        if out.is_json() {
            return out.json_document(status);
        }
        let what = match self.kind {
            Kind::Retry => "retry of deliveries",
            Kind::Repush => "re-push of events",
        };
        let tone = if status.status == "cancelled" { Tone::Warn } else { Tone::of_state(&status.status) };
        let (done, total) = (grouped(i64::from(status.processed)), grouped(i64::from(status.total)));
        let mut text = format!("batch {}  {}\n", clean(&self.id), out.paint(tone, &clean(&status.status)));
        text.push_str(&format!("  {:<14}{what}\n  {:<14}{done} of {total}\n", "what", "done"));
        if status.failed > 0 {
            text.push_str(&format!("  {:<14}{}\n", "failed", out.paint(Tone::Bad, &grouped(i64::from(status.failed)))));
        }
        text.push_str(&format!("  {:<14}{}\n", "created", out.exact_time(status.created_at.as_option())));
        out.print(&text)
    }
}

impl Work for Batch {
    fn what(&self) -> &'static str {
        match self.kind {
            Kind::Retry => "retrying",
            Kind::Repush => "publishing again",
        }
    }

    fn left(&self) -> String {
        let id = &self.id;
        format!("the batch {id} goes on in the server: postrider batches show {id} --wait, or postrider batches cancel {id}")
    }

    async fn look(&self, server: &Remote) -> Result<State, Failure> {
        let batch = self.status(server).await?;
        let is_going_on = matches!(batch.status.as_str(), "pending" | "processing");
        let total = (self.before + i64::from(batch.total)).max(self.all);
        let stage = Stage::of(self.before + i64::from(batch.processed), total);
        Ok(State { stage, ended: (!is_going_on).then_some(batch.status) })
    }

    async fn stop(&self, server: &Remote) -> Result<(), Failure> {
        match self.kind {
            Kind::Retry => {
                let request = w::CancelRetryRequest { retry_id: self.id.clone() };
                let _: w::CancelRetryResponse = server.call("webhook.DeliveryService/CancelRetry", &request).await?;
            }
            Kind::Repush => {
                let request = w::CancelRepushRequest { repush_id: self.id.clone() };
                let _: w::CancelRepushResponse = server.call("webhook.EventService/CancelRepush", &request).await?;
            }
        }
        Ok(())
    }
}
