//! `postrider dlq replay` and `dismiss`.

use super::Filter;
use crate::cli::jobs;
use crate::cli::remote::progress::{Bar, Stage};
use crate::cli::remote::signals::Signals;
use crate::cli::remote::text::counted;
use crate::cli::remote::{Exit, Failure, Remote, ask};
use crate::cli::say;
use postrider_proto::v1;

/// Most ids of a call.
const IDS_AT_ONCE: usize = 100;

/// Flags of `postrider dlq replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider dlq replay 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider dlq replay --code connector_5xx --since 2h --rate 50
  postrider dlq replay --all --dry-run")]
pub struct Replay {
    #[command(flatten)]
    which: Which,
    /// Most dead letters that a job replays in a second.
    #[arg(long, value_name = "N", conflicts_with = "ids", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    rate: i32,
    /// Do not wait for the job: print its id, which postrider jobs show takes.
    #[arg(long, conflicts_with = "ids")]
    detach: bool,
}

/// Flags of `postrider dlq dismiss`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider dlq dismiss 0197f3a2-5b1c-7d4e-8f90-123456789abc
  postrider dlq dismiss --before 30d --yes")]
pub struct Dismiss {
    #[command(flatten)]
    which: Which,
}

/// What is dealt with.
#[derive(Debug, clap::Args)]
struct Which {
    /// Ids of dead letters.
    #[arg(value_name = "ID", conflicts_with_all = Filter::FLAGS)]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All of the namespace.
    #[arg(long, conflicts_with_all = Filter::FLAGS, conflicts_with = "ids")]
    all: bool,
    /// Only say how many there are.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

impl Which {
    /// Whether they are named by a filter; usage where nothing is named at all.
    fn is_filter(&self) -> Result<bool, Failure> {
        if self.ids.is_empty() && self.filter.is_all() && !self.all {
            return Err(Failure::usage(
                "name dead letters by their ids, narrow them with --endpoint, --code, --since or --before, or say --all",
            ));
        }
        Ok(self.ids.is_empty())
    }

    /// The filter, without what fails from now on: nobody counts that, so that it is left alone.
    async fn until_now(&self, server: &Remote) -> Result<v1::DeadLetterFilter, Failure> {
        let namespace = server.own_namespace().await?;
        let before = Some(server.until_now(self.filter.before).await?);
        Ok(Filter { before, ..self.filter.clone() }.message(&namespace))
    }
}

/// Has dead letters delivered after all.
pub async fn replay(server: &Remote, args: &Replay) -> Result<(), Failure> {
    let which = &args.which;
    if !which.is_filter()? {
        return replay_ids(server, which).await;
    }
    let mut request = v1::ReplayDeadLettersRequest {
        filter: which.until_now(server).await?.into(),
        rate_per_second: args.rate,
        dry_run: true,
        ..v1::ReplayDeadLettersRequest::default()
    };
    let found: v1::ReplayDeadLettersResponse = server.call("postrider.v1.DeadLetterService/ReplayDeadLetters", &request).await?;
    if which.dry_run {
        return told(server, found.matched);
    }
    if found.matched == 0 {
        return Err(Failure::new(Exit::NotFound, "no dead letter matches"));
    }
    ask::about_many(&format!("Replay {}?", counted(found.matched, "dead letter", "dead letters")), found.matched, which.yes)?;
    request.dry_run = false;
    // From now on there is something to be stopped: until now Ctrl-C ended the process, for nothing was done.
    let mut signals = Signals::new()?;
    let call = server.call::<_, v1::ReplayDeadLettersResponse>("postrider.v1.DeadLetterService/ReplayDeadLetters", &request);
    let begun = signals.through(call).await?;
    let Some(job) = begun.job.into_option() else {
        return Err(Failure::new(Exit::NotFound, "no dead letter matches any more"));
    };
    if args.detach {
        return if server.out.is_json() { server.out.json_document(&job) } else { server.out.line(&job.job_id) };
    }
    jobs::follow(server, &job.job_id, &mut signals).await
}

async fn replay_ids(server: &Remote, which: &Which) -> Result<(), Failure> {
    let (mut open, mut replayed, mut under_way) = (0, 0, 0);
    for ids in which.ids.chunks(IDS_AT_ONCE) {
        let request = v1::ReplayDeadLettersRequest {
            dead_letter_ids: ids.to_vec(),
            dry_run: which.dry_run,
            ..v1::ReplayDeadLettersRequest::default()
        };
        let answer: v1::ReplayDeadLettersResponse = server.call("postrider.v1.DeadLetterService/ReplayDeadLetters", &request).await?;
        open += answer.matched;
        replayed += i64::from(answer.replayed);
        under_way += i64::from(answer.under_way);
    }
    if which.dry_run {
        return told(server, open);
    }
    if under_way > 0 {
        say(&format!("{} being delivered again already", counted(under_way, "is", "are")));
    }
    done(server, which, (replayed, under_way), "replayed")
}

/// Closes dead letters.
pub async fn dismiss(server: &Remote, args: &Dismiss) -> Result<(), Failure> {
    let which = &args.which;
    if !which.is_filter()? {
        let mut dismissed = 0;
        let mut open = 0;
        for ids in which.ids.chunks(IDS_AT_ONCE) {
            let request = v1::DismissDeadLettersRequest {
                dead_letter_ids: ids.to_vec(),
                dry_run: which.dry_run,
                ..v1::DismissDeadLettersRequest::default()
            };
            let answer: v1::DismissDeadLettersResponse = server.call("postrider.v1.DeadLetterService/DismissDeadLetters", &request).await?;
            dismissed += i64::from(answer.dismissed);
            open += answer.remaining;
        }
        return if which.dry_run { told(server, open) } else { done(server, which, (dismissed, 0), "dismissed") };
    }
    let filter = which.until_now(server).await?;
    let mut request = v1::DismissDeadLettersRequest { filter: filter.into(), dry_run: true, ..v1::DismissDeadLettersRequest::default() };
    let found: v1::DismissDeadLettersResponse = server.call("postrider.v1.DeadLetterService/DismissDeadLetters", &request).await?;
    if which.dry_run {
        return told(server, found.remaining);
    }
    if found.remaining == 0 {
        return Err(Failure::new(Exit::NotFound, "no dead letter matches"));
    }
    let question = format!("Dismiss {}? They are not delivered then.", counted(found.remaining, "dead letter", "dead letters"));
    ask::about_loss(&question, which.yes)?;
    request.dry_run = false;
    dismiss_all(server, &request, found.remaining).await
}

/// Dismisses piece by piece, until none is left or Ctrl-C. The filter ends in time, so that it comes to an end however much fails meanwhile.
async fn dismiss_all(server: &Remote, request: &v1::DismissDeadLettersRequest, total: i64) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut bar = Bar::new("dismissing");
    let mut dismissed = 0;
    let done = loop {
        // The piece that is under way is done in any case: how many it were is to be known.
        let call = server.call::<_, v1::DismissDeadLettersResponse>("postrider.v1.DeadLetterService/DismissDeadLetters", request);
        match signals.through(call).await {
            Ok(answer) => {
                dismissed += i64::from(answer.dismissed);
                bar.set(Stage::of(dismissed, total.max(dismissed)));
                if signals.came() || answer.remaining == 0 || answer.dismissed == 0 {
                    break Ok(());
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    drop(bar);
    if server.out.is_json() {
        server.out.json_document(&serde_json::json!({ "dismissed": dismissed }))?;
    }
    let sum = format!("{} dismissed", counted(dismissed, "dead letter", "dead letters"));
    done.map_err(|failure| failure.and(&format!("{sum} until then")))?;
    if signals.came() {
        return Err(Failure::new(Exit::Interrupted, format!("stopped: {sum}")));
    }
    say(&sum);
    Ok(())
}

/// How many would be dealt with.
fn told(server: &Remote, open: i64) -> Result<(), Failure> {
    server.out.matched(open, "dead letter", "dead letters")
}

/// How many of those that were named were dealt with, and with how many nothing had to be done; the others were not open any more, or are not there.
fn done(server: &Remote, which: &Which, (dealt, needless): (i64, i64), verb: &str) -> Result<(), Failure> {
    let named = i64::try_from(which.ids.len()).unwrap_or(i64::MAX).saturating_sub(needless);
    if server.out.is_json() {
        server.out.json_document(&serde_json::json!({ verb: dealt }))?;
    }
    let sum = format!("{} {verb}", counted(dealt, "dead letter", "dead letters"));
    match dealt {
        0 if needless == 0 => Err(Failure::new(Exit::NotFound, format!("{sum}: none of these is open"))),
        some if some < named => Err(Failure::new(Exit::Part, format!("{sum} of {named}: the others are not open"))),
        _ => {
            say(&sum);
            Ok(())
        }
    }
}
