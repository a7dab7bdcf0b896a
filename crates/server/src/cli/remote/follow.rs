//! Work that goes on in the server: looked at until it ends, with a bar, and stopped by Ctrl-C.

use super::progress::{Bar, Stage};
use super::signals::Signals;
use super::{Failure, Remote};
use std::future::Future;
use std::time::Duration;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(500);
/// So many looks may fail one after the other.
const PATIENCE: u32 = 20;

/// How far work is.
#[derive(Clone, Debug)]
pub struct State {
    /// What of it is done.
    pub stage: Stage,
    /// How it ended, as the server calls it; none while it goes on.
    pub ended: Option<String>,
}

/// Work that goes on in a server.
pub trait Work {
    /// What happens, such as `replaying`.
    fn what(&self) -> &'static str;

    /// What is to be known by somebody who does not look at it any more: that it goes on, and how to look at it and stop it.
    fn left(&self) -> String;

    /// How far it is.
    fn look(&self, server: &Remote) -> impl Future<Output = Result<State, Failure>>;

    /// Has it stopped.
    fn stop(&self, server: &Remote) -> impl Future<Output = Result<(), Failure>>;
}

/// Waits for the end of work, and has it stopped at Ctrl-C, also one that came before. Answers how far it came.
///
/// # Errors
/// A server that does not answer any more, or a second Ctrl-C: the work goes on without anybody looking, which the text says.
pub async fn follow<W: Work>(server: &Remote, work: &W, signals: &mut Signals, bar: &mut Bar) -> Result<State, Failure> {
    let lost = |failure: Failure| failure.and(&work.left());
    let mut missed = 0;
    while !signals.came() {
        match signals.unless(work.look(server)).await {
            None => break,
            Some(Ok(state)) => {
                bar.set(state.stage);
                if state.ended.is_some() {
                    return Ok(state);
                }
                missed = 0;
            }
            Some(Err(failure)) if failure.again().is_some() && missed < PATIENCE => missed += 1,
            Some(Err(failure)) => return Err(lost(failure)),
        }
        signals.sleep(PERIOD).await;
    }
    bar.say("stopping; Ctrl-C once more does not wait for that");
    let stopped = signals.through(work.stop(server)).await;
    let state = signals.through(work.look(server)).await.map_err(lost)?;
    match stopped {
        // One that ended before it could be stopped is stopped, too.
        Err(failure) if state.ended.is_none() => Err(lost(failure)),
        _ => Ok(state),
    }
}
