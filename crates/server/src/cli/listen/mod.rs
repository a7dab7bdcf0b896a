//! `postrider listen`: a receiver for trying things out. It prints what comes and can be told to fail.

mod args;
mod print;

pub use args::Args;
pub(super) use print::indented;

use super::{CommandError, Outcome};
use crate::clock::SystemClock;
use crate::receiver::{Received, Receiver, Settings, Verdict};
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long answers that have begun may take once it ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Runs `postrider listen` until it is interrupted or has taken as many requests as it was told to.
pub fn run(args: Args) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::new("cannot start a runtime", error))?;
    runtime.block_on(async {
        let interrupted = interruption().map_err(|error| CommandError::new("cannot watch for signals", error))?;
        listen(&args, interrupted, &mut io::stdout(), &mut io::stderr()).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Ends with the first Ctrl-C or SIGTERM.
pub(super) fn interruption() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn listen(
    args: &Args,
    interrupted: impl Future<Output = ()>,
    data: &mut (dyn Write + Send),
    talk: &mut (dyn Write + Send),
) -> Result<Summary, CommandError> {
    let settings = Settings {
        path: args.path.clone(),
        behaviour: args.behaviour()?,
        forward: args.forward()?,
        verifier: args.verifier()?,
        clock: Arc::new(SystemClock),
    };
    let cannot = |error| CommandError::new(format_args!("cannot listen on {}", args.listen), error);
    let listener = TcpListener::bind(args.listen).await.map_err(cannot)?;
    let mut receiver = Receiver::start(listener, settings).map_err(cannot)?;
    if !args.quiet {
        let path = args.path.as_deref().unwrap_or("/");
        // Talk that nobody hears is no reason to stop.
        let whom = args.forward.as_deref().map_or_else(String::new, |url| format!(", passing on to {url}"));
        let _ = writeln!(talk, "listening on http://{}{path}{whom} (Ctrl-C ends)", receiver.address());
    }
    let mut summary = Summary::default();
    let ended = print_all(args, &mut receiver, interrupted, data, &mut summary).await;
    receiver.stop(LAST_ANSWERS).await;
    if !args.quiet {
        let _ = writeln!(talk, "{summary}");
    }
    match ended {
        // `postrider listen | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(summary),
        Err(error) => Err(CommandError::new("cannot write to stdout", error)),
        Ok(()) => Ok(summary),
    }
}

async fn print_all(
    args: &Args,
    receiver: &mut Receiver,
    interrupted: impl Future<Output = ()>,
    data: &mut (dyn Write + Send),
    summary: &mut Summary,
) -> io::Result<()> {
    let mut interrupted = std::pin::pin!(interrupted);
    while args.count.is_none_or(|count| summary.requests < count) {
        let request = tokio::select! {
            _ = interrupted.as_mut() => break,
            request = receiver.next() => request,
        };
        let Some(request) = request else { break };
        summary.add(&request);
        let text = if args.json { print::json(&request).map_err(io::Error::other)? + "\n" } else { print::text(&request, args.full) };
        data.write_all(text.as_bytes())?;
        data.flush()?;
    }
    Ok(())
}

/// What came in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Summary {
    requests: u64,
    succeeded: u64,
    duplicates: u64,
    good: u64,
    bad: u64,
    unchecked: u64,
}

impl Summary {
    fn add(&mut self, request: &Received) {
        self.requests += 1;
        self.succeeded += u64::from(request.reply.is_success());
        self.duplicates += u64::from(request.duplicate);
        for finding in &request.signatures {
            match finding.verdict {
                Verdict::Ok => self.good += 1,
                Verdict::Bad(_) => self.bad += 1,
                Verdict::NotChecked(_) => self.unchecked += 1,
            }
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { requests, succeeded, duplicates, good, bad, unchecked } = self;
        write!(f, "{requests} requests, {succeeded} answered with success, {duplicates} duplicates; ")?;
        write!(f, "signatures: {good} ok, {bad} bad, {unchecked} not checked")
    }
}

#[cfg(test)]
mod tests;
