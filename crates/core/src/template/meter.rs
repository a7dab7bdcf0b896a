//! The budget of one rendering.

use super::value::{Text, Value};
use super::{BRIEF_MADE_BYTES, BRIEF_STEPS, MAX_MADE_BYTES, MAX_OUTPUT_BYTES, MAX_STEPS};
use std::rc::Rc;

/// Why a rendering ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The template asks for what cannot be.
    Failed(String),
    /// A bound was met; the text says which.
    Bound(&'static str),
}

impl Fault {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Fault::Failed(message.into())
    }
}

pub(super) const TOO_MUCH_OUTPUT: Fault = Fault::Bound("the output would be larger than 1 MiB");
pub(super) const TOO_LONG_TEXT: Fault = Fault::Bound("a function would make a text of more than 1 MiB");
pub(super) const TOO_MUCH_MADE: Fault = Fault::Bound("functions would make more than 16 MiB of texts, lists and objects");
pub(super) const TOO_MANY_STEPS: Fault = Fault::Bound("the template takes more than 1,000,000 steps");
pub(super) const TOO_DEEP: Fault = Fault::Bound("blocks, parentheses and templates nest more than 100 levels deep");
pub(super) const TOO_DEEP_VALUE: Fault = Fault::Bound("lists and objects nest more than 128 levels deep");

/// What is left of the budget.
#[derive(Debug)]
pub(super) struct Meter {
    steps: u64,
    bytes: usize,
}

impl Meter {
    /// All that a rendering may cost.
    pub(super) fn whole() -> Self {
        Meter { steps: MAX_STEPS, bytes: MAX_MADE_BYTES }
    }

    /// What it may cost between other work.
    pub(super) fn brief() -> Self {
        Meter { steps: BRIEF_STEPS, bytes: BRIEF_MADE_BYTES }
    }

    /// Takes steps, before they are gone.
    pub(super) fn step(&mut self, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.checked_sub(steps as u64).ok_or(TOO_MANY_STEPS)?;
        Ok(())
    }

    /// Takes bytes, before they are made.
    pub(super) fn make(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TOO_MUCH_MADE)?;
        Ok(())
    }

    /// Takes what so many values in a list or an object cost.
    pub(super) fn make_values(&mut self, count: usize) -> Result<(), Fault> {
        self.step(count)?;
        self.make(count.saturating_mul(2 * size_of::<Value<'_>>()))
    }
}

/// A text that is put together within the budget.
pub(super) struct Draft<'m> {
    text: String,
    pub(super) meter: &'m mut Meter,
}

impl<'m> Draft<'m> {
    pub(super) fn new(meter: &'m mut Meter) -> Self {
        Draft { text: String::new(), meter }
    }

    pub(super) fn push(&mut self, piece: &str) -> Result<(), Fault> {
        if piece.len() > MAX_OUTPUT_BYTES - self.text.len() {
            return Err(TOO_LONG_TEXT);
        }
        self.meter.make(piece.len())?;
        self.text.push_str(piece);
        Ok(())
    }

    pub(super) fn push_char(&mut self, c: char) -> Result<(), Fault> {
        self.push(c.encode_utf8(&mut [0; 4]))
    }

    /// The same character so many times.
    pub(super) fn fill(&mut self, c: char, times: usize) -> Result<(), Fault> {
        let bytes = times.saturating_mul(c.len_utf8());
        if bytes > MAX_OUTPUT_BYTES - self.text.len() {
            return Err(TOO_LONG_TEXT);
        }
        self.meter.make(bytes)?;
        self.text.extend(std::iter::repeat_n(c, times));
        Ok(())
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }

    pub(super) fn into_value<'a>(self) -> Value<'a> {
        Value::Text(Text::Made(Rc::from(self.text)))
    }
}
