//! `postrider deliveries retry`.

use crate::cli::batches::{Batch, Kind};
use crate::cli::remote::deliveries::Filter;
use crate::cli::remote::follow::follow;
use crate::cli::remote::progress::Bar;
use crate::cli::remote::signals::Signals;
use crate::cli::remote::text::counted;
use crate::cli::remote::{Exit, Failure, Remote, ask};
use crate::cli::say;
use postrider_proto::{v1, webhook as w};
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// Counts, and begins a batch.
const RETRY: &str = "postrider.v1.LedgerService/RetryMatching";
/// With a rate each batch has as many as there may be in this time.
const SECOND: Duration = Duration::from_secs(1);

/// Flags of `postrider deliveries retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider deliveries retry 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider deliveries retry --state failed --category timeout --since 2h --dry-run
  postrider deliveries retry --state failed --code connector_5xx --rate 50 --yes

With filters this goes on, the newest first, until all that match and were there when they were
counted are queued for retry; Ctrl-C stops it and says how far it came. What is queued by then stays
so.")]
pub struct Args {
    /// Ids of deliveries.
    #[arg(value_name = "ID", conflicts_with_all = Filter::FLAGS)]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Send again what has succeeded, too: receivers get it twice.
    #[arg(long, requires = "ids")]
    force: bool,
    /// Most deliveries that are queued for retry in a second, so that a receiver that just came back is not overrun [default: about 1,000].
    #[arg(long, value_name = "N", conflicts_with = "ids", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    rate: Option<i32>,
    /// Only say how many there are.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Retries deliveries.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    match (args.ids.is_empty(), args.filter.is_all()) {
        (false, _) => by_ids(server, args).await,
        (true, false) => by_filter(server, args).await,
        (true, true) => Err(Failure::usage("name deliveries by their ids, or narrow them, for example with --state failed")),
    }
}

async fn by_ids(server: &Remote, args: &Args) -> Result<(), Failure> {
    if args.dry_run {
        return server.out.matched(i64::try_from(args.ids.len()).unwrap_or(i64::MAX), "delivery", "deliveries");
    }
    let mut failed = Vec::new();
    for id in &args.ids {
        let request = w::RetryDeliveryRequest {
            namespace: server.namespace.clone(),
            delivery_id: id.clone(),
            webhook_id: String::new(),
            force: args.force,
        };
        match server.call::<_, w::RetryDeliveryResponse>("webhook.DeliveryService/RetryDelivery", &request).await {
            Ok(answer) if server.out.is_json() => server.out.json_line(&answer)?,
            Ok(_) => say(&format!("{id} is queued for retry")),
            Err(failure) => {
                say(&format!("{id}: {failure}"));
                failed.push(failure);
            }
        }
    }
    Failure::of_many(args.ids.len(), &failed)
}

async fn by_filter(server: &Remote, args: &Args) -> Result<(), Failure> {
    // What is made while somebody thinks about the question was not counted.
    let before = Some(server.until_now(args.filter.before).await?);
    let filter = Filter { before, ..args.filter.clone() }.message(server);
    let mut request = v1::RetryMatchingRequest { filter: filter.into(), dry_run: true, ..v1::RetryMatchingRequest::default() };
    let found: v1::RetryMatchingResponse = server.call(RETRY, &request).await?;
    if args.dry_run {
        return server.out.matched(found.matched, "delivery", "deliveries");
    }
    if found.matched == 0 {
        return Err(Failure::new(Exit::NotFound, "no delivery matches"));
    }
    ask::about_many(&format!("Retry {}?", counted(found.matched, "delivery", "deliveries")), found.matched, args.yes)?;
    request.dry_run = false;
    request.limit = args.rate.unwrap_or_default();
    // Until now Ctrl-C ends the process, for nothing was done.
    let mut signals = Signals::new()?;
    let mut sum = Sum { matched: found.matched, ..Sum::default() };
    let done = all_batches(server, request, &mut signals, &mut sum).await;
    if server.out.is_json() {
        server.out.json_document(&sum)?;
    }
    done?;
    sum.ended(signals.came())
}

/// Retries batch after batch: each those that are older than the ones before it, so that none is taken twice.
async fn all_batches(server: &Remote, mut request: v1::RetryMatchingRequest, signals: &mut Signals, sum: &mut Sum) -> Result<(), Failure> {
    let mut bar = Bar::new("retrying");
    loop {
        let next = Instant::now() + SECOND;
        let begun = signals.through(server.call::<_, v1::RetryMatchingResponse>(RETRY, &request)).await;
        let begun = begun.map_err(|failure| sum.until(failure))?;
        if begun.retry_id.is_empty() {
            // What was left is not there any more.
            sum.is_over = true;
            return Ok(());
        }
        let batch = Batch { kind: Kind::Retry, id: begun.retry_id, before: sum.queued + sum.failed, all: sum.matched };
        let followed = follow(server, &batch, signals, &mut bar).await;
        followed.map_err(|failure| sum.until(failure))?;
        let status = signals.through(batch.status(server)).await.map_err(|failure| sum.until(failure))?;
        sum.add(&status);
        sum.is_over = begun.next_page_token.is_empty();
        if sum.is_over || sum.is_cut_off() || signals.came() {
            return Ok(());
        }
        request.page_token = begun.next_page_token;
        if request.limit > 0 {
            signals.sleep(next.saturating_duration_since(Instant::now())).await;
            if signals.came() {
                return Ok(());
            }
        }
    }
}

/// What became of all batches.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Sum {
    /// How many deliveries matched at the beginning.
    matched: i64,
    /// How many are queued for retry.
    queued: i64,
    /// How many could not be.
    failed: i64,
    /// How the last batch ended.
    #[serde(skip)]
    status: String,
    /// Whether that was the last one that there is.
    #[serde(skip)]
    is_over: bool,
}

impl Sum {
    fn add(&mut self, batch: &w::BatchJobStatus) {
        self.queued += i64::from(batch.processed.saturating_sub(batch.failed));
        self.failed += i64::from(batch.failed);
        self.status.clone_from(&batch.status);
    }

    /// Whether the last batch did not come to its end.
    fn is_cut_off(&self) -> bool {
        !matches!(self.status.as_str(), "" | "completed" | "failed")
    }

    /// Why it does not go on, with how far it came.
    fn until(&self, failure: Failure) -> Failure {
        if self.status.is_empty() { failure } else { failure.and(&format!("{self} until then, and stay so")) }
    }

    fn ended(&self, interrupted: bool) -> Result<(), Failure> {
        match (self.is_over && !self.is_cut_off(), interrupted) {
            (true, _) if self.failed == 0 => {
                say(&self.to_string());
                Ok(())
            }
            (true, _) if self.queued == 0 => Err(Failure::refused(self.to_string())),
            (true, _) => Err(Failure::new(Exit::Part, self.to_string())),
            (false, true) => Err(Failure::new(Exit::Interrupted, format!("stopped: {self}, and stay so"))),
            (false, false) => Err(Failure::refused(format!("somebody else stopped it: the last batch is {}. {self}", self.status))),
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} queued for retry", counted(self.queued, "delivery", "deliveries"))?;
        if self.failed > 0 {
            write!(f, ", {} could not be, or had succeeded meanwhile", counted(self.failed, "other", "others"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_summed_up() {
        let batch = |status: &str, processed, failed| w::BatchJobStatus {
            status: status.to_owned(),
            total: 10,
            processed,
            failed,
            ..w::BatchJobStatus::default()
        };
        let exit = |sum: &Sum, interrupted| sum.ended(interrupted).map_err(|failure| failure.exit());
        let mut sum = Sum { matched: 13, is_over: true, ..Sum::default() };
        sum.add(&batch("completed", 10, 0));
        assert_eq!((sum.to_string().as_str(), exit(&sum, false)), ("10 deliveries queued for retry", Ok(())));
        sum.add(&batch("failed", 3, 3));
        assert_eq!(sum.to_string(), "10 deliveries queued for retry, 3 others could not be, or had succeeded meanwhile");
        assert_eq!((exit(&sum, false), exit(&sum, true)), (Err(Exit::Part), Err(Exit::Part)));
        sum.is_over = false;
        assert_eq!(exit(&sum, true), Err(Exit::Interrupted));
        sum.add(&batch("cancelled", 1, 0));
        sum.is_over = true;
        assert_eq!((exit(&sum, true), exit(&sum, false)), (Err(Exit::Interrupted), Err(Exit::Refused)));
        assert_eq!(serde_json::to_value(&sum).expect("JSON"), serde_json::json!({"matched": 13, "queued": 11, "failed": 3}));
    }

    #[test]
    fn a_failure_tells_how_far_it_came() {
        let mut sum = Sum::default();
        assert_eq!(sum.until(Failure::refused("x")), Failure::refused("x"));
        sum.add(&w::BatchJobStatus { status: String::from("completed"), processed: 2, ..w::BatchJobStatus::default() });
        assert_eq!(sum.until(Failure::refused("x")).to_string(), "x\n2 deliveries queued for retry until then, and stay so");
    }
}
