//! The bar on stderr that shows how far something is; nothing where stderr is no terminal.

use super::output::width;
use super::text::{coarse, grouped, rate};
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is drawn at the most.
const PERIOD: Duration = Duration::from_millis(100);
/// How many places the bar itself has at the most.
const BAR: usize = 30;

/// How far something is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stage {
    /// What is done.
    pub done: u64,
    /// What there is to do; none where nobody knows.
    pub total: Option<u64>,
    /// Which share of it is done, where that is known otherwise than by the total.
    pub share: Option<f64>,
}

impl Stage {
    /// Of so many.
    pub fn of(done: i64, total: i64) -> Self {
        Stage { done: u64::try_from(done).unwrap_or(0), total: u64::try_from(total).ok(), share: None }
    }

    fn share(&self) -> Option<f64> {
        let counted = self.total.filter(|total| *total > 0).map(|total| self.done as f64 / total as f64);
        self.share.or(counted).map(|share| share.clamp(0.0, 1.0))
    }
}

/// The bar.
#[derive(Debug)]
pub struct Bar {
    what: String,
    shown: bool,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    /// Of something that begins now.
    pub fn new(what: &str) -> Self {
        Bar { what: what.to_owned(), shown: std::io::stderr().is_terminal(), begun: Instant::now(), drawn: None }
    }

    /// Draws it, unless that was done just now.
    pub fn set(&mut self, stage: Stage) {
        let now = Instant::now();
        if self.shown && self.drawn.is_none_or(|drawn| now - drawn >= PERIOD) {
            self.drawn = Some(now);
            let line = line(&self.what, stage, now - self.begun, width().saturating_sub(1));
            // Nobody can be told that stderr is gone.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    /// Takes it away, so that something can be said.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    /// Says something on a line of its own above the bar.
    pub fn say(&mut self, text: &str) {
        self.clear();
        crate::cli::say(text);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What is drawn: `replaying  [#####.....]  4,120 of 10,000  98.1/s  1 min left`.
fn line(what: &str, stage: Stage, passed: Duration, places: usize) -> String {
    let number = |n: u64| grouped(i64::try_from(n).unwrap_or(i64::MAX));
    let mut tail = match stage.total {
        Some(total) => format!("  {} of {}", number(stage.done), number(total)),
        None => format!("  {}", number(stage.done)),
    };
    let seconds = passed.as_secs_f64();
    if seconds >= 1.0 && stage.done > 0 {
        tail.push_str(&format!("  {}", rate(stage.done as f64 / seconds)));
    }
    let share = stage.share();
    if let Some(share) = share.filter(|share| *share > 0.02 && *share < 1.0 && seconds >= 2.0) {
        let left = Duration::from_secs_f64((seconds * (1.0 - share) / share).min(1e9));
        tail.push_str(&format!("  {} left", coarse(left)));
    }
    let room = places.saturating_sub(what.chars().count() + tail.chars().count() + 4).min(BAR);
    let bar = match share {
        Some(share) if room >= 5 => {
            let full = (0..room).filter(|at| (*at as f64) < share * room as f64).count();
            format!("  [{}{}]", "#".repeat(full), ".".repeat(room - full))
        }
        _ => String::new(),
    };
    format!("{what}{bar}{tail}").chars().take(places).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_far_how_fast_and_how_long() {
        let shown = line("replaying", Stage::of(50, 200), Duration::from_secs(10), 80);
        assert_eq!(shown, format!("replaying  [{}{}]  50 of 200  5.0/s  30 s left", "#".repeat(8), ".".repeat(22)));
    }

    #[test]
    fn it_fits_its_place_and_needs_no_total() {
        assert_eq!(line("publishing", Stage { done: 7, ..Stage::default() }, Duration::ZERO, 80), "publishing  7");
        assert_eq!(line("replaying", Stage::of(1, 2), Duration::ZERO, 12), "replaying  1");
        assert_eq!(line("x", Stage::of(0, 0), Duration::ZERO, 80), "x  0 of 0");
    }

    #[test]
    fn the_share_may_be_known_otherwise() {
        let shown = line("publishing", Stage { done: 5, total: None, share: Some(0.5) }, Duration::from_secs(4), 60);
        assert!(shown.contains("###...") && shown.ends_with("4 s left"), "{shown}");
    }
}
