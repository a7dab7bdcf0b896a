//! Ctrl-C over all of a command that works on many things.

use super::{Exit, Failure};
use crate::cli::say;
use std::future::Future;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// Ctrl-C, or SIGTERM. Once there is one of these the process does not end by itself any more: whoever has it must look at it wherever it waits.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    came: bool,
}

impl Signals {
    /// Watches for it from now on.
    pub fn new() -> Result<Self, Failure> {
        let watch = |kind| signal(kind).map_err(|error| Failure::because("cannot watch for signals", error));
        Ok(Signals { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())?, came: false })
    }

    /// Whether it came.
    pub fn came(&self) -> bool {
        self.came
    }

    /// Waits until it comes, be it the first time or once more. Whoever stops waiting misses nothing.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.came = true;
    }

    /// What work comes to that may be left alone; none where Ctrl-C comes before, or came.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.came {
            return None;
        }
        let work = Box::pin(work);
        tokio::select! {
            done = work => Some(done),
            () = self.next() => None,
        }
    }

    /// What work comes to that should come to its end: the first Ctrl-C waits for that, the second one does not.
    ///
    /// # Errors
    /// Those of the work, and the second Ctrl-C.
    pub async fn through<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut work = Box::pin(work);
        loop {
            let came = self.came;
            tokio::select! {
                done = &mut work => return done,
                () = self.next() => {
                    if came {
                        return Err(Failure::new(Exit::Interrupted, "ended at once: what was under way may have been done"));
                    }
                    say("stopping when the server has answered; Ctrl-C once more does not wait for that");
                }
            }
        }
    }

    /// Waits so long, or until Ctrl-C.
    pub async fn sleep(&mut self, time: Duration) {
        // That it came is kept.
        let _ = self.unless(sleep(time)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn after_ctrl_c_nothing_is_begun_and_what_is_under_way_ends() {
        let mut signals = Signals::new().expect("signals");
        assert_eq!((signals.unless(ready(1)).await, signals.came()), (Some(1), false));
        signals.came = true;
        assert_eq!(signals.unless(pending::<u8>()).await, None);
        signals.sleep(Duration::from_secs(3_600)).await;
        assert_eq!(signals.through(ready(Ok(2))).await, Ok(2));
    }
}
