//! `postrider events repush`.

use super::list::Which;
use crate::cli::batches::{Batch, Kind};
use crate::cli::remote::follow::{Work, follow};
use crate::cli::remote::progress::Bar;
use crate::cli::remote::signals::Signals;
use crate::cli::remote::text::{counted, grouped, timestamp};
use crate::cli::remote::{Exit, Failure, Remote, ask};
use crate::cli::say;
use postrider_proto::webhook as w;
use std::time::Duration;

/// Flags of `postrider events repush`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider events repush 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider events repush --event-type order.created --since 2h --dry-run
  postrider events repush --label region=eu --since 2026-11-01T00:00:00Z --yes

With filters the newest 10,000 events that match and were there when they were counted are published
again, in the order in which they came; Ctrl-C stops that.")]
pub struct Args {
    /// Ids of events.
    #[arg(value_name = "ID", conflicts_with_all = ["event_type", "labels", "since", "before", "invalid"])]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Only say how many there are.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Publishes again.
pub async fn run(server: &Remote, args: &Args) -> Result<(), Failure> {
    match (args.ids.is_empty(), args.which.is_all()) {
        (false, _) => by_ids(server, args).await,
        (true, false) => by_filter(server, args).await,
        (true, true) => {
            Err(Failure::usage("name events by their ids, or narrow them with --event-type, --label, --since, --before or --invalid"))
        }
    }
}

async fn by_ids(server: &Remote, args: &Args) -> Result<(), Failure> {
    if args.dry_run {
        return server.out.matched(i64::try_from(args.ids.len()).unwrap_or(i64::MAX), "event", "events");
    }
    let mut failed: Vec<Failure> = Vec::new();
    for id in &args.ids {
        let request = w::RePushEventRequest { event_id: id.clone() };
        match server.call::<_, w::RePushEventResponse>("webhook.EventService/RePushEvent", &request).await {
            Ok(published) if server.out.is_json() => server.out.json_line(&published)?,
            Ok(published) => server.out.line(&published.event_id)?,
            Err(failure) => {
                say(&format!("{id}: {failure}"));
                failed.push(failure);
            }
        }
    }
    Failure::of_many(args.ids.len(), &failed)
}

async fn by_filter(server: &Remote, args: &Args) -> Result<(), Failure> {
    let which = &args.which;
    // What is published while somebody thinks about the question was not counted.
    let before = server.until_now(which.before).await?;
    let mut request = w::ListEventReportsRequest {
        namespace: server.namespace.clone(),
        event_name: which.event_type.clone(),
        pagination: Some(w::PaginationRequest { limit: 1, offset: 0 }).into(),
        schema_valid: which.invalid.then_some(false),
        labels: which.labels.iter().cloned().collect(),
        // The contract has those after a time, not those at it.
        created_after: which.since.map(|at| timestamp(at.before(Duration::from_micros(1)))).into(),
        created_before: timestamp(before).into(),
        prepare_repush: false,
    };
    let found: w::ListEventReportsResponse = server.call("webhook.EventService/ListEventReports", &request).await?;
    let count = i64::from(found.pagination.total_count);
    if args.dry_run {
        return server.out.matched(count, "event", "events");
    }
    if count == 0 {
        return Err(Failure::new(Exit::NotFound, "no event matches"));
    }
    let events = counted(count, "event", "events");
    ask::about_many(&format!("Publish {events} again? Receivers get them as new ones."), count, args.yes)?;
    request.prepare_repush = true;
    // What is prepared and not started does nothing: until then Ctrl-C ends the process.
    let prepared: w::ListEventReportsResponse = server.call("webhook.EventService/ListEventReports", &request).await?;
    if prepared.repush_id.is_empty() {
        return Err(Failure::new(Exit::NotFound, "no event matches any more"));
    }
    let batch = Batch::new(Kind::Repush, prepared.repush_id);
    let mut signals = Signals::new()?;
    let start = w::RePushEventsRequest { repush_id: batch.id.clone() };
    let started = signals.through(server.call::<_, w::RePushEventsResponse>("webhook.EventService/RePushEvents", &start)).await;
    started.map_err(|failure| match failure.exit() {
        // Whether it was started is not known.
        Exit::Unreachable | Exit::Interrupted => failure.and(&batch.left()),
        _ => failure,
    })?;
    let mut bar = Bar::new(batch.what());
    follow(server, &batch, &mut signals, &mut bar).await?;
    drop(bar);
    let status = signals.through(batch.status(server)).await?;
    if server.out.is_json() {
        server.out.json_document(&status)?;
    }
    ended(&status, signals.came())
}

/// How a batch ended.
fn ended(batch: &w::BatchJobStatus, interrupted: bool) -> Result<(), Failure> {
    let done = counted(i64::from(batch.processed.saturating_sub(batch.failed)), "event", "events");
    match (batch.status.as_str(), batch.failed) {
        ("completed", 0) => {
            say(&format!("{done} published again"));
            Ok(())
        }
        ("completed", failed) => Err(Failure::new(Exit::Part, format!("{done} published again, {failed} could not be"))),
        _ if interrupted => {
            let all = grouped(i64::from(batch.total));
            Err(Failure::new(Exit::Interrupted, format!("stopped: {done} of {all} published again")))
        }
        (status, _) => Err(Failure::refused(format!("the batch is {status}; {done} published again"))),
    }
}
