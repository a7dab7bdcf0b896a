//! `postrider events push --ndjson`: an event for each line, several at a time, and again without publishing anything twice.

use super::push::{self, seconds};
use crate::cli::remote::progress::{Bar, Stage};
use crate::cli::remote::signals::Signals;
use crate::cli::remote::text::counted;
use crate::cli::remote::{Exit, Failure, Remote, input};
use crate::cli::say;
use aws_lc_rs::digest;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use postrider_core::hex;
use postrider_proto::{Object, webhook as w};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Longest line, in bytes: with what is put around it a request stays below the 4 MiB that the server takes.
const MAX_LINE: usize = (4 << 20) - (16 << 10);
/// How often a line is offered to a server that is away or busy.
const TRIES: u32 = 6;
/// The pause before it is offered again; it doubles each time.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause that a server can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The rate is not made up for what was missed before that.
const MAX_LAG: Duration = Duration::from_secs(1);

/// What is wrong with a line that is not told from an equal one of another stream.
const NO_KEY: &str = "it has no \"id\", and what comes over a pipe has no name to make one of: give --resume-key TEXT, another one for each stream, so that \
                      the same lines once more publish nothing twice and others that look like them are published";

/// What is to be published, and how.
pub struct Bulk {
    file: PathBuf,
    namespace: String,
    /// What the ids of lines are made of that have none; where there is none, each must have its own.
    resume_key: Option<String>,
    /// Whether that is the place of the file, and was not given.
    is_by_place: bool,
    /// What lines have that do not say otherwise.
    event_type: Option<String>,
    labels: Vec<(String, String)>,
    metadata: Vec<(String, String)>,
    ttl_seconds: i64,
    concurrency: usize,
    gap: Option<Duration>,
}

impl Bulk {
    /// As the flags say.
    pub fn new(file: PathBuf, args: push::Args, namespace: String) -> Self {
        // Another file of this name is another one, and a pipe may bring anything.
        let place = std::fs::canonicalize(&file).ok().filter(|place| place.is_file());
        let is_by_place = args.resume_key.is_none() && place.is_some();
        Bulk {
            namespace,
            resume_key: args.resume_key.or_else(|| place.map(|place| place.to_string_lossy().into_owned())),
            is_by_place,
            event_type: args.event_type,
            labels: args.labels,
            metadata: args.metadata,
            ttl_seconds: seconds(args.ttl),
            concurrency: usize::from(args.concurrency),
            gap: args.rate.map(|rate| Duration::from_secs(1) / rate),
            file,
        }
    }
}

/// A line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(alias = "event_type")]
    event: Option<String>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(alias = "dedup_key")]
    id: Option<String>,
    ttl_seconds: Option<i64>,
}

/// A line as it was read.
struct Raw {
    number: u64,
    /// Bytes of the file up to its end.
    end: u64,
    text: Vec<u8>,
}

/// Lines as they are read, or why there are no more.
type Coming = mpsc::Receiver<Result<Raw, Failure>>;

/// What became of a line.
enum Fate {
    New {
        warnings: bool,
    },
    Duplicate,
    Refused(String),
    /// Nobody knows, and the lines behind it would fare no better.
    Lost(Failure),
}

/// What became of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Tally {
    published: u64,
    duplicates: u64,
    refused: u64,
    /// Of those published: how many do not fit the schema of their type.
    with_warnings: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |n: u64, one: &str, others: &str| counted(i64::try_from(n).unwrap_or(i64::MAX), one, others);
        write!(f, "{} published", count(self.published, "event", "events"))?;
        if self.with_warnings > 0 {
            write!(f, ", {} not fitting the schema of the type", count(self.with_warnings, "of them", "of them"))?;
        }
        if self.duplicates > 0 {
            write!(f, ", {} there before", count(self.duplicates, "was", "were"))?;
        }
        if self.refused > 0 {
            write!(f, ", {} refused", count(self.refused, "was", "were"))?;
        }
        Ok(())
    }
}

/// Why no more lines are begun.
enum Stop {
    Interrupted,
    /// A second Ctrl-C: those under way are not waited for.
    AtOnce,
    Lost(Failure),
}

/// Publishes the lines.
pub async fn run(server: &Remote, bulk: &Bulk) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let (mut lines, size) = open(&bulk.file, bulk.concurrency)?;
    let (mut tally, mut stop, mut ended, mut passed) = (Tally::default(), None, false, 0);
    let (stopping, stopped) = watch::channel(false);
    let mut due = bulk.gap.map(|_| Instant::now());
    let mut bar = Bar::new("publishing");
    let mut under_way: FuturesUnordered<LocalBoxFuture<'_, (u64, u64, Fate)>> = FuturesUnordered::new();
    while !(under_way.is_empty() && (ended || stop.is_some())) {
        let may_begin = !ended && stop.is_none() && under_way.len() < bulk.concurrency;
        tokio::select! {
            () = signals.next() => {
                if stop.is_some() {
                    stop = Some(Stop::AtOnce);
                    break;
                }
                stop = Some(Stop::Interrupted);
                bar.say("stopping after the lines that are under way; Ctrl-C once more does not wait for them");
            }
            Some((number, end, fate)) = under_way.next(), if !under_way.is_empty() => {
                passed = end.max(passed);
                if let Err(failure) = note(fate, number, &mut tally, &mut bar) {
                    let _ = stop.get_or_insert(Stop::Lost(failure));
                }
            }
            line = next(&mut lines, due), if may_begin => match line {
                None => ended = true,
                Some(Err(failure)) => stop = Some(Stop::Lost(failure)),
                Some(Ok(raw)) => {
                    due = due.zip(bulk.gap).map(|(due, gap)| due.max(Instant::now() - MAX_LAG) + gap);
                    under_way.push(Box::pin(publish(server, bulk, stopped.clone(), raw)));
                }
            },
        }
        if stop.is_some() {
            let _ = stopping.send_replace(true);
        }
        let share = size.filter(|size| *size > 0).map(|size| passed as f64 / size as f64);
        bar.set(Stage { done: tally.published + tally.duplicates + tally.refused, total: None, share });
    }
    bar.clear();
    report(server, bulk, tally, stop)
}

/// The next line, not before it is due. What is stopped waiting for is not lost.
async fn next(lines: &mut Coming, due: Option<Instant>) -> Option<Result<Raw, Failure>> {
    if let Some(due) = due {
        sleep_until(due).await;
    }
    lines.recv().await
}

/// Counts what became of a line; a refused one is told.
fn note(fate: Fate, number: u64, tally: &mut Tally, bar: &mut Bar) -> Result<(), Failure> {
    match fate {
        Fate::New { warnings } => {
            tally.published += 1;
            tally.with_warnings += u64::from(warnings);
        }
        Fate::Duplicate => tally.duplicates += 1,
        Fate::Refused(why) => {
            tally.refused += 1;
            bar.say(&format!("line {number}: {why}"));
        }
        Fate::Lost(failure) => return Err(failure),
    }
    Ok(())
}

/// Says what became of all lines.
fn report(server: &Remote, bulk: &Bulk, tally: Tally, stop: Option<Stop>) -> Result<(), Failure> {
    if server.out.is_json() {
        server.out.json_document(&tally)?;
    }
    match stop {
        Some(Stop::Interrupted) => {
            let text = format!("interrupted: {tally}. The same command once more publishes the rest, and nothing twice");
            Err(Failure::new(Exit::Interrupted, text))
        }
        Some(Stop::AtOnce) => {
            let text = format!(
                "ended at once: {tally}, and lines that were under way may be. The same command once more publishes the rest, and nothing twice"
            );
            Err(Failure::new(Exit::Interrupted, text))
        }
        Some(Stop::Lost(failure)) if failure.exit() == Exit::Usage => Err(failure.and(&format!("{tally} until then"))),
        Some(Stop::Lost(failure)) => {
            let text = format!("{failure}\n{tally} until then. The same command once more publishes the rest, and nothing twice");
            Err(Failure::new(failure.exit(), text))
        }
        None if tally.refused > 0 => Err(Failure::new(Exit::Part, tally.to_string())),
        None => {
            say(&tally.to_string());
            if bulk.is_by_place && tally.published == 0 && tally.duplicates > 0 {
                say(
                    "nothing of it is new. If this is not the file that was published before but one that looks like it, give it a --resume-key",
                );
            }
            Ok(())
        }
    }
}

/// Publishes a line; one that nobody answered to is offered again, which its id makes safe.
async fn publish(server: &Remote, bulk: &Bulk, stopping: watch::Receiver<bool>, raw: Raw) -> (u64, u64, Fate) {
    let fate = match request(bulk, &raw) {
        Ok(request) if request.id.is_none() => Fate::Lost(Failure::usage(format!("line {}: {NO_KEY}", raw.number))),
        Ok(request) => offer(server, &request, stopping).await,
        Err(why) => Fate::Refused(why),
    };
    (raw.number, raw.end, fate)
}

async fn offer(server: &Remote, request: &w::PushEventRequest, mut stopping: watch::Receiver<bool>) -> Fate {
    let mut tried = 0;
    loop {
        let answer: Result<w::PushEventResponse, Failure> = server.call("webhook.EventService/PushEvent", request).await;
        tried += 1;
        let failure = match answer {
            Ok(answer) if answer.duplicate => return Fate::Duplicate,
            Ok(answer) => return Fate::New { warnings: !answer.warnings.is_empty() },
            Err(failure) => failure,
        };
        match failure.again() {
            Some(wait) if tried < TRIES => {
                let pause = sleep(wait.max(PAUSE * 2u32.pow(tried - 1)).min(MAX_PAUSE));
                tokio::select! {
                    () = pause => {}
                    // Also where nobody could say so any more.
                    _ = stopping.wait_for(|is_stopping| *is_stopping) => return Fate::Lost(failure),
                }
            }
            Some(_) => return Fate::Lost(failure),
            None if failure.exit() == Exit::NotAllowed => return Fate::Lost(failure),
            None => return Fate::Refused(failure.to_string()),
        }
    }
}

/// What is asked for a line, or what is wrong with that. One that neither has an id nor can get one has none.
fn request(bulk: &Bulk, raw: &Raw) -> Result<w::PushEventRequest, String> {
    if raw.text.len() > MAX_LINE {
        return Err(format!("it has {} bytes, and an event may have 4 MiB", raw.text.len()));
    }
    let line: Line<'_> = serde_json::from_slice(&raw.text).map_err(|error| error.to_string())?;
    let event = line.event.or_else(|| bulk.event_type.clone()).ok_or("it names no \"event\", and there is no TYPE on the command line")?;
    let payload = line.payload.map(|payload| Object::parse(payload.get().as_bytes())).transpose();
    let payload = payload.map_err(|error| format!("\"payload\": {error}"))?.ok_or("it has no \"payload\"")?;
    let over = |own: BTreeMap<String, String>, given: &[(String, String)]| given.iter().cloned().chain(own).collect();
    Ok(w::PushEventRequest {
        namespace: bulk.namespace.clone(),
        event,
        payload: Some(payload).into(),
        ttl_seconds: line.ttl_seconds.unwrap_or(bulk.ttl_seconds),
        metadata: over(line.metadata, &bulk.metadata),
        id: line.id.or_else(|| bulk.resume_key.as_deref().map(|of| key(of, raw))),
        labels: over(line.labels, &bulk.labels),
    })
}

/// The same for the same line of the same file, whenever that is published.
fn key(of: &str, raw: &Raw) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(of.len() as u64).to_be_bytes());
    context.update(of.as_bytes());
    context.update(&raw.number.to_be_bytes());
    context.update(&raw.text);
    format!("push-{}", hex::encode(context.finish().as_ref()))
}

/// Reads lines on a thread of their own, for files cannot be waited for otherwise. Answers them, and how many bytes there are if that is known.
fn open(file: &Path, ahead: usize) -> Result<(Coming, Option<u64>), Failure> {
    let (sender, lines) = mpsc::channel(ahead);
    if file == Path::new("-") {
        let stdin = input::take_stdin()?;
        std::thread::spawn(move || read(BufReader::new(stdin), &sender));
        return Ok((lines, None));
    }
    let opened = File::open(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    let size = opened.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
    std::thread::spawn(move || read(BufReader::new(opened), &sender));
    Ok((lines, size))
}

fn read(mut from: impl BufRead, to: &mpsc::Sender<Result<Raw, Failure>>) {
    let (mut number, mut end) = (0, 0);
    loop {
        let mut text = Vec::new();
        // One that is too long is read up to there and refused; its rest is passed over.
        let most = MAX_LINE as u64 + 2;
        let read = match from.by_ref().take(most).read_until(b'\n', &mut text) {
            Ok(0) => return,
            Ok(read) => read as u64,
            Err(error) => {
                // Whoever does not listen any more has stopped.
                let _ = to.blocking_send(Err(Failure::because(format_args!("cannot read line {}", number + 1), error)));
                return;
            }
        };
        number += 1;
        end += read;
        if read == most && !text.ends_with(b"\n") {
            end += rest(&mut from);
        }
        let blank = text.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
        text.truncate(text.len() - blank);
        if !text.is_empty() && to.blocking_send(Ok(Raw { number, end, text })).is_err() {
            return;
        }
    }
}

/// Passes over the rest of a line; answers how long that was.
fn rest(from: &mut impl BufRead) -> u64 {
    let mut passed = 0;
    loop {
        let (used, is_end) = match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok([]) | Err(_) => return passed,
            Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (bytes.len(), false),
            },
        };
        from.consume(used);
        passed += used as u64;
        if is_end {
            return passed;
        }
    }
}

#[cfg(test)]
mod tests;
