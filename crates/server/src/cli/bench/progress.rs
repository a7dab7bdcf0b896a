//! The line on stderr that shows how far a run is.

use super::ledger::Ledger;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;

/// How often the line is written.
const PERIOD: Duration = Duration::from_secs(1);

/// The progress line; silent unless stderr is a terminal.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    last: Option<(Instant, u64, u64)>,
}

impl Progress {
    /// A line that may be shown.
    pub fn new(quiet: bool) -> Self {
        Progress { shown: !quiet && std::io::stderr().is_terminal(), last: None }
    }

    /// Says what comes next.
    pub fn begin(&mut self, what: &str) {
        self.last = None;
        self.write(what, true);
    }

    /// Writes the line if it is time to.
    pub fn tick(&mut self, name: &str, ledger: &Ledger) {
        if !self.shown {
            return;
        }
        let now = Instant::now();
        let (sent, arrived) = (ledger.sent(), ledger.arrived());
        let Some((at, sent_then, arrived_then)) = self.last else {
            self.last = Some((now, sent, arrived));
            return;
        };
        let passed = now - at;
        if passed >= PERIOD {
            self.last = Some((now, sent, arrived));
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / passed.as_secs_f64();
            let (sending, arriving) = (rate(sent, sent_then), rate(arrived, arrived_then));
            self.write(&format!("{name}: sent {sent} ({sending:.0}/s), arrived {arrived} ({arriving:.0}/s)"), false);
        }
    }

    /// Removes the line.
    pub fn clear(&mut self) {
        self.write("", false);
    }

    fn write(&self, text: &str, keep: bool) {
        if self.shown {
            // Nobody can be told that stderr is gone.
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}{}", if keep { "\n" } else { "" });
        }
    }
}
