//! `postrider jobs`: bulk replays of dead letters.

use super::remote::follow::{self, State, Work};
use super::remote::progress::{Bar, Stage};
use super::remote::signals::Signals;
use super::remote::table::{Cell, Column};
use super::remote::text::grouped;
use super::remote::{self, Exit, Failure, Flags, Lines, Listing, Output, Pages, Remote, Tone, clean};
use super::{Outcome, say};
use clap::Subcommand;
use postrider_proto::v1;
use std::fmt::Write;

const COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::whole("STATE"),
    Column::number("REPLAYED"),
    Column::number("OF"),
    Column::whole("CREATED"),
    Column::text("ERROR", 10),
];

/// Flags of `postrider jobs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List bulk replays, the newest first.
    List(List),
    /// Show how far a job is, or wait for its end.
    Show(Show),
    /// Stop a job. What it has replayed goes on.
    Cancel(Id),
    /// Have a job that was stopped go on where it stood. One that failed does not: have another one replay what it left.
    Resume(Resume),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider jobs list")]
struct List {
    #[command(flatten)]
    lines: Lines,
}

/// The job that is meant.
#[derive(Debug, clap::Args)]
struct Id {
    /// Id of the job.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider jobs show 0197f3a2-5b1c-7d4e-8f90-123456789abc --wait")]
struct Show {
    /// Id of the job.
    #[arg(value_name = "ID")]
    id: String,
    /// Wait for its end, with a bar; Ctrl-C stops the job.
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  postrider jobs resume 0197f3a2-5b1c-7d4e-8f90-123456789abc")]
struct Resume {
    /// Id of the job.
    #[arg(value_name = "ID")]
    id: String,
    /// Do not wait for its end.
    #[arg(long)]
    detach: bool,
}

/// Runs `postrider jobs`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::List(args) => list(&server, &args).await,
            Command::Show(args) if args.wait => follow(&server, &args.id, &mut Signals::new()?).await,
            Command::Show(args) => show(&server, &get(&server, &args.id).await?),
            Command::Cancel(args) => cancel(&server, &args.id).await,
            Command::Resume(args) => resume(&server, &args).await,
        }
    })
}

async fn list(server: &Remote, args: &List) -> Result<(), Failure> {
    let mut pages = Pages::new(&args.lines);
    let mut listing = Listing::new(&server.out, &COLUMNS);
    while let Some(turn) = pages.next() {
        let request = v1::ListReplayJobsRequest { namespace: server.namespace.clone(), page_size: turn.size, page_token: turn.token };
        let page: v1::ListReplayJobsResponse = server.call("postrider.v1.DeadLetterService/ListReplayJobs", &request).await?;
        pages.came(page.jobs.len(), page.next_page_token);
        for job in &page.jobs {
            listing.add(job, |out| row(out, job))?;
        }
    }
    listing.end("jobs", Some(&pages))
}

fn row(out: &Output, job: &v1::ReplayJob) -> Vec<Cell> {
    vec![
        job.job_id.as_str().into(),
        Cell::state(&job.state),
        grouped(job.replayed).into(),
        grouped(job.matched).into(),
        out.time(job.created_at.as_option()).into(),
        job.error.as_str().into(),
    ]
}

async fn get(server: &Remote, id: &str) -> Result<v1::ReplayJob, Failure> {
    let request = v1::GetReplayJobRequest { job_id: id.to_owned() };
    let answer: v1::GetReplayJobResponse = server.call("postrider.v1.DeadLetterService/GetReplayJob", &request).await?;
    Ok(answer.job.into_option().unwrap_or_default())
}

fn show(server: &Remote, job: &v1::ReplayJob) -> Result<(), Failure> {
    if server.out.is_json() {
        return server.out.json_document(job);
    }
    server.out.print(&told(&server.out, job))
}

/// How far a job is. Writing into a String cannot fail.
fn told(out: &Output, job: &v1::ReplayJob) -> String {
    let mut text = format!("job {}  {}\n", job.job_id, out.paint(Tone::of_state(&job.state), &clean(&job.state)));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<14}{value}");
        }
    };
    let filter = &job.filter;
    line("namespace", &clean(&job.namespace));
    line("endpoint", &clean(&filter.endpoint_id));
    line("subscription", &clean(&filter.subscription_id));
    line("error code", &clean(&filter.error_code));
    if filter.failed_from.is_set() {
        line("failed from", &out.exact_time(filter.failed_from.as_option()));
    }
    if filter.failed_before.is_set() {
        line("and before", &out.exact_time(filter.failed_before.as_option()));
    }
    line("replayed", &format!("{} of {}", grouped(job.replayed), grouped(job.matched)));
    line("left", &if job.left > 0 { format!("{} as they were", grouped(job.left)) } else { String::new() });
    line("rate", &if job.rate_per_second > 0 { format!("at most {}/s", job.rate_per_second) } else { String::from("without a limit") });
    line("created", &out.exact_time(job.created_at.as_option()));
    if job.ended_at.is_set() {
        line("ended", &out.exact_time(job.ended_at.as_option()));
    }
    line("error", &out.paint(Tone::Bad, &clean(&job.error)));
    text
}

async fn cancel(server: &Remote, id: &str) -> Result<(), Failure> {
    let request = v1::CancelReplayJobRequest { job_id: id.to_owned() };
    let answer: v1::CancelReplayJobResponse = server.call("postrider.v1.DeadLetterService/CancelReplayJob", &request).await?;
    if server.out.is_json() {
        return server.out.json_document(&answer.job.into_option().unwrap_or_default());
    }
    say(&format!("stopped: {}; postrider jobs resume {id} has it go on", sum(&answer.job)));
    Ok(())
}

async fn resume(server: &Remote, args: &Resume) -> Result<(), Failure> {
    let request = v1::ResumeReplayJobRequest { job_id: args.id.clone() };
    // From now on there is something to be stopped.
    let mut signals = Signals::new()?;
    let call = server.call::<_, v1::ResumeReplayJobResponse>("postrider.v1.DeadLetterService/ResumeReplayJob", &request);
    let answer = signals.through(call).await?;
    if !args.detach {
        return follow(server, &args.id, &mut signals).await;
    }
    if server.out.is_json() {
        return server.out.json_document(&answer.job.into_option().unwrap_or_default());
    }
    say(&format!("goes on: {}", sum(&answer.job)));
    Ok(())
}

/// How many a job has replayed so far.
fn sum(job: &v1::ReplayJob) -> String {
    let left = if job.left > 0 { format!(", {} left as they were", grouped(job.left)) } else { String::new() };
    let letters = if job.matched == 1 { "dead letter" } else { "dead letters" };
    format!("{} of {} {letters} replayed{left}", grouped(job.replayed), grouped(job.matched))
}

/// Waits for the end of a job, which Ctrl-C stops, also one that came before.
pub async fn follow(server: &Remote, id: &str, signals: &mut Signals) -> Result<(), Failure> {
    let work = Job(id.to_owned());
    let mut bar = Bar::new(work.what());
    follow::follow(server, &work, signals, &mut bar).await?;
    drop(bar);
    let job = signals.through(get(server, id)).await?;
    if server.out.is_json() {
        server.out.json_document(&job)?;
    }
    let sum = sum(&job);
    match job.state.as_str() {
        "completed" if job.left == 0 => {
            say(&sum);
            Ok(())
        }
        "completed" => Err(Failure::new(Exit::Part, sum)),
        "cancelled" if signals.came() => {
            Err(Failure::new(Exit::Interrupted, format!("stopped: {sum}; postrider jobs resume {id} has it go on")))
        }
        _ => Err(Failure::refused(stuck(&job, &sum))),
    }
}

/// That a job ended before it was through, and how what it left is replayed: one that was stopped goes on, one that failed does not.
fn stuck(job: &v1::ReplayJob, sum: &str) -> String {
    let why = if job.error.is_empty() { String::new() } else { format!(": {}", clean(&job.error)) };
    let mend = match job.state.as_str() {
        "cancelled" => format!("postrider jobs resume {} has it go on", job.job_id),
        _ => String::from("postrider dlq replay with the same filters has another job replay what it left"),
    };
    format!("the job is {}{why}; {sum}\n{mend}", clean(&job.state))
}

/// A job that is waited for.
struct Job(String);

impl Work for Job {
    fn what(&self) -> &'static str {
        "replaying"
    }

    fn left(&self) -> String {
        let id = &self.0;
        format!("the job {id} goes on in the server: postrider jobs show {id} --wait, or postrider jobs cancel {id}")
    }

    async fn look(&self, server: &Remote) -> Result<State, Failure> {
        let job = get(server, &self.0).await?;
        let stage = Stage::of(job.replayed + job.left, job.matched.max(job.replayed + job.left));
        Ok(State { stage, ended: (job.state != "running").then_some(job.state) })
    }

    async fn stop(&self, server: &Remote) -> Result<(), Failure> {
        let request = v1::CancelReplayJobRequest { job_id: self.0.clone() };
        let _: v1::CancelReplayJobResponse = server.call("postrider.v1.DeadLetterService/CancelReplayJob", &request).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_with_what_it_replays() {
        let filter = v1::DeadLetterFilter { error_code: String::from("connector_5xx"), ..v1::DeadLetterFilter::default() };
        let job = v1::ReplayJob {
            job_id: String::from("j1"),
            state: String::from("running"),
            filter: filter.into(),
            matched: 10_000,
            replayed: 4_120,
            left: 3,
            rate_per_second: 100,
            ..v1::ReplayJob::default()
        };
        let told = told(&Output::plain(false), &job);
        for words in [
            "job j1  running\n",
            "error code    connector_5xx\n",
            "replayed      4,120 of 10,000\n",
            "left          3 as they were\n",
            "rate          at most 100/s\n",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("  endpoint"), "{told}");
        assert_eq!(sum(&job), "4,120 of 10,000 dead letters replayed, 3 left as they were");
    }

    #[test]
    fn only_a_job_that_was_stopped_is_said_to_go_on() {
        let job = |state: &str, error: &str| v1::ReplayJob {
            job_id: String::from("j1"),
            state: state.to_owned(),
            error: error.to_owned(),
            ..v1::ReplayJob::default()
        };
        let stopped = stuck(&job("cancelled", ""), "1 of 2 dead letters replayed");
        assert_eq!(stopped, "the job is cancelled; 1 of 2 dead letters replayed\npostrider jobs resume j1 has it go on");
        let failed = stuck(&job("failed", "the store is full"), "1 of 2 dead letters replayed");
        assert!(failed.starts_with("the job is failed: the store is full; 1 of 2 dead letters replayed\n"), "{failed}");
        assert!(failed.contains("postrider dlq replay") && !failed.contains("jobs resume"), "{failed}");
    }
}
