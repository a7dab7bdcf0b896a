//! The log: on stderr, text for people or JSON for machines, and never a secret or a payload.

use clap::ValueEnum;
use parking_lot::Mutex;
use serde::Deserialize;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

/// What the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Its name in flags and files.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// What is logged unless something else is asked for.
pub const DEFAULT_FILTER: &str = "info";

/// Checks a filter such as `info` or `warn,postrider_engine=debug`.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::builder().parse(filter).map(drop).map_err(|e| format!("{filter:?} is not a log filter: {e}"))
}

/// Begins to log. A second call in one process changes nothing.
pub fn start(format: LogFormat, filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that somebody has installed a log before; theirs stays.
    let _ = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

/// Lets one line a second into the log, so that what fails at every request does not fill the disk that it fails for.
#[derive(Debug)]
pub struct Sparingly(Mutex<(Option<Instant>, u64)>);

impl Sparingly {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Nothing was logged yet.
    pub const fn new() -> Self {
        Sparingly(Mutex::new((None, 0)))
    }

    /// Whether to log now, and how many lines were left out since the last one.
    pub fn now(&self) -> Option<u64> {
        let mut state = self.0.lock();
        let now = Instant::now();
        match state.0 {
            Some(last) if now.duration_since(last) < Self::PAUSE => {
                state.1 += 1;
                None
            }
            _ => {
                state.0 = Some(now);
                Some(std::mem::take(&mut state.1))
            }
        }
    }
}

impl Default for Sparingly {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_second_counts_the_others() {
        let sparingly = Sparingly::new();
        assert_eq!((sparingly.now(), sparingly.now(), sparingly.now()), (Some(0), None, None));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((sparingly.now(), sparingly.now()), (Some(2), None));
    }

    #[test]
    fn filters_are_checked() {
        assert!(check_filter("info,postrider_engine=debug").is_ok());
        assert!(check_filter("=!").is_err());
    }
}
