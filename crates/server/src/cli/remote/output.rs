//! What goes to stdout: text for people, JSON for programs.

use super::{Failure, HEADING, failure::Exit, text};
use crate::cli::listen::indented;
use crate::clock::SystemClock;
use postrider_core::ports::Clock;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::Timestamp;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The width of a terminal that does not tell its own.
const USUAL_WIDTH: usize = 100;

/// The flags that say how things are shown.
#[derive(Clone, Debug, clap::Args)]
pub struct View {
    /// Print JSON as the API has it: one document, lists one object a line. That of the RPC API leaves out zeros and empty texts, and has 64-bit
    /// numbers as texts.
    #[arg(long, global = true, help_heading = HEADING)]
    json: bool,
    /// When to use colours; auto is on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = HEADING)]
    color: When,
    /// Show times as they are, in UTC, instead of how long ago they were.
    #[arg(long, global = true, help_heading = HEADING)]
    utc: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a piece of text says besides its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// It is well.
    Good,
    /// Look at it.
    Warn,
    /// It is bad.
    Bad,
    /// It matters less.
    Dim,
    /// It matters more.
    Strong,
}

impl Tone {
    /// What the state of a delivery, of a job, of a scheduled webhook or of an endpoint says.
    pub fn of_state(state: &str) -> Tone {
        match state {
            "succeeded" | "active" | "healthy" | "completed" => Tone::Good,
            "failed" | "expired" | "disabled" | "unhealthy" => Tone::Bad,
            "retrying" | "paused" | "degraded" => Tone::Warn,
            "cancelled" | "idle" => Tone::Dim,
            _ => Tone::Plain,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Strong => "1",
        }
    }
}

/// How things are shown.
#[derive(Clone, Debug)]
pub struct Output {
    json: bool,
    colored: bool,
    utc: bool,
    width: Option<usize>,
}

impl Output {
    /// As the flags and the terminal say.
    pub fn of(view: &View) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_bare =
            std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let colored = match view.color {
            When::Auto => is_terminal && !is_bare,
            When::Always => true,
            When::Never => false,
        };
        Output { json: view.json, colored, utc: view.utc, width: is_terminal.then(width) }
    }

    /// Plain text of any width, or JSON.
    pub fn plain(json: bool) -> Self {
        Output { json, colored: false, utc: true, width: None }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether there are colours.
    pub fn is_colored(&self) -> bool {
        self.colored
    }

    /// The same without colours, for what is painted in another way.
    pub fn without_colors(&self) -> Self {
        Output { colored: false, ..self.clone() }
    }

    /// Columns of the terminal; none where stdout is no terminal and lines may have any length.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Prints text as it is.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Enough, ""),
            _ => Failure::because("cannot write to stdout", error),
        })
    }

    /// Prints a line.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{text}\n"))
    }

    /// Prints JSON on one line.
    pub fn json_line<M: Serialize>(&self, value: &M) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::because("cannot write JSON", error))?;
        self.line(&text)
    }

    /// Prints JSON with line breaks.
    pub fn json_document<M: Serialize>(&self, value: &M) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::because("cannot write JSON", error))?;
        self.line(&text)
    }

    /// Prints JSON that is there as text, with line breaks and otherwise as it is.
    pub fn json_text(&self, json: &str) -> Result<(), Failure> {
        self.line(&indented(json).unwrap_or_else(|| json.to_owned()))
    }

    /// Prints how many there are: for people with the words for one and for several, the number alone where stdout is no terminal.
    pub fn matched(&self, many: i64, one: &str, several: &str) -> Result<(), Failure> {
        match (self.json, self.width) {
            (true, _) => self.json_document(&serde_json::json!({ "matched": many })),
            (false, Some(_)) => self.line(&text::counted(many, one, several)),
            (false, None) => self.line(&many.to_string()),
        }
    }

    /// Text in its colour.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if self.colored && tone != Tone::Plain && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }

    /// A time as it is wanted; `-` where there is none.
    pub fn time(&self, at: Option<&Timestamp>) -> String {
        match text::moment(at) {
            None => String::from("-"),
            Some(at) if self.utc => at.rfc3339(0),
            Some(at) => text::ago(at, SystemClock.now()),
        }
    }

    /// A time with milliseconds and, unless times are wanted as they are, with how long ago that was; `-` where there is none.
    pub fn exact_time(&self, at: Option<&Timestamp>) -> String {
        let Some(at) = text::moment(at) else { return String::from("-") };
        if self.utc { at.rfc3339(3) } else { format!("{} ({})", at.rfc3339(3), text::ago(at, SystemClock.now())) }
    }

    /// The time of day for a line of a log: in UTC, with milliseconds; with the day where times are wanted as they are.
    pub fn clock(&self, at: Moment) -> String {
        let whole = at.rfc3339(3);
        if self.utc { whole } else { whole.get(11..23).unwrap_or(&whole).to_owned() }
    }
}

/// Columns of the terminal.
pub fn width() -> usize {
    crossterm::terminal::size().map_or(USUAL_WIDTH, |(columns, _)| usize::from(columns)).max(20)
}

/// Text that may come from anybody, so that it cannot steer the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_turning(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether a character turns the direction of those that follow it, so that a line could show something else than it is.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(clean("größe 大"), "größe 大");
    }

    #[test]
    fn colours_are_put_only_where_they_are_wanted() {
        let plain = Output::plain(false);
        assert_eq!(plain.paint(Tone::Bad, "failed"), "failed");
        let colored = Output { colored: true, ..plain };
        assert_eq!(colored.paint(Tone::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!(colored.paint(Tone::Plain, "x"), "x");
    }

    #[test]
    fn times_are_shown_as_wanted() {
        let at = Timestamp::from_unix(1_747_051_200, 5_000_000);
        let utc = Output::plain(false);
        assert_eq!(
            (utc.time(Some(&at)), utc.exact_time(Some(&at))),
            (String::from("2025-05-12T12:00:00Z"), String::from("2025-05-12T12:00:00.005Z"))
        );
        assert_eq!(utc.time(None), "-");
        let ago = Output { utc: false, ..utc };
        assert!(ago.time(Some(&at)).ends_with(" ago"), "{}", ago.time(Some(&at)));
        assert_eq!(ago.clock(Moment::from_micros(1_747_051_200_005_000)), "12:00:00.005");
    }
}
