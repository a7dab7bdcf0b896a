//! Templates for bodies: the language of Go's `text/template`, as the RPC API's transforms speak it, with bounds on all that it may cost.
//!
//! Whoever may write a subscription may write a template, and it runs for every attempt. So each rendering has a budget ([`MAX_STEPS`],
//! [`MAX_MADE_BYTES`], [`MAX_OUTPUT_BYTES`], [`MAX_DEPTH`]) that is looked at *before* work is done: an evaluation can be slow by no more than
//! its steps, and ends in an error that says which bound it met. There is no clock in it: how long a step takes is known well enough
//! (a step is one node, one value or [`BYTES_A_STEP`] bytes looked at), so that the number of steps bounds the time, too.
//!
//! The evaluator is our own. The crate gtmpl-ng speaks the same language, but its parser descends once per parenthesis and has no bound on
//! that, its evaluator has none on loops and output, its functions are plain function pointers that no budget can be handed to, its numbers
//! are 64 bits wide, and `break`, `continue`, `html` and `js` are not in it.
//!
//! What differs from Go, on purpose:
//!
//! | here | in Go |
//! |---|---|
//! | a number of the payload prints as it is spelled there: `9007199254740993`, `1000000`, `1.50` | it is a float64: `9.007199254740992e+15`, `1e+06`, `1.5` |
//! | numbers compare by value, whatever their kind | `eq` of a float and an integer is an error |
//! | cutting (`slice`, `truncate`, `ellipsis`) is by bytes, but never inside a character: the cut moves to its beginning | half a character stays |
//! | text is UTF-8: `base64decode` of other bytes is an error | any bytes |
//! | `repeat` of more than [`MAX_REPEAT`] is an error | no bound |
//! | `range` over a whole number of the payload counts | an error, for it is a float64 |
//! | no complex numbers, no channels, no functions as values, and of methods only those of times that [`functions`] leads to | all of them |
//!
//! | file | holds |
//! |---|---|
//! | `lex`, `parse`, `tree` | from text to a checked tree |
//! | `source` | a template's text with its tree |
//! | `eval` | from a tree and a context to text |
//! | `meter` | the budget |
//! | `value`, `number`, `read` | what a template works with; JSON into values |
//! | `print`, `printf` | values into text, as Go's `fmt` does |
//! | `table` | which functions there are; their bodies in `logic`, `text`, `escape`, `data`, `math`, `moment` |

use crate::time::Timestamp;
use bytes::Bytes;
use std::fmt;

mod data;
mod escape;
mod eval;
mod layout;
mod lex;
mod logic;
mod math;
mod meter;
mod moment;
mod number;
mod parse;
mod print;
mod printf;
mod read;
mod source;
mod table;
mod text;
mod tree;
mod value;

#[cfg(test)]
mod tests;

use meter::{Fault, Meter};
pub use source::Source;
pub use table::{FunctionInfo, functions};

/// Longest template, in bytes: far more than a body needs that is written by hand, and few enough to parse at once (about a millisecond).
pub const MAX_SOURCE_BYTES: usize = 64 * 1_024;

/// Longest output, and longest text that a function makes, in bytes: 1 MiB (contract of the RPC API, section 6).
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// All that functions may make in one rendering together, in bytes. It bounds memory, for what is made may be kept in variables.
pub const MAX_MADE_BYTES: usize = 16 << 20;

/// Most steps of one rendering: some tenths of a second at the worst, far below the 5 s of the RPC API's contract (section 6).
pub const MAX_STEPS: u64 = 1_000_000;

/// How many bytes of its arguments a function looks at for one step.
pub const BYTES_A_STEP: usize = 256;

/// Longest payload that a template is tried on between other work ([`Template::render_briefly`]), in bytes: some dozens of microseconds to read.
pub const BRIEF_PAYLOAD_BYTES: usize = 64 * 1_024;

/// Most steps of that: a fiftieth of [`MAX_STEPS`], so some milliseconds at the worst. A template for a body takes some hundreds.
pub const BRIEF_STEPS: u64 = 20_000;

/// What functions may make in that, in bytes.
pub const BRIEF_MADE_BYTES: usize = 256 * 1_024;

/// How deep blocks, parentheses and templates that call templates may nest, together. It bounds the stack.
pub const MAX_DEPTH: u32 = 100;

/// How deep lists and objects may nest, in the payload (as [`serde_json`] has it) and in what functions make of it.
pub const MAX_VALUE_DEPTH: u16 = 128;

/// Most values in a payload. Each takes some dozens of bytes beside its text while a template works with it.
pub const MAX_VALUES: usize = 250_000;

/// Longest number in a payload, in characters. To look at a number once is one step, so it must not be long.
pub const MAX_NUMBER_BYTES: usize = 1_000;

/// Most repetitions that `repeat` makes (the later versions of the RPC API's contract, section 6).
pub const MAX_REPEAT: i64 = 1_000;

/// Longest message of a [`TemplateError`], in bytes. Messages can quote the template and the payload.
pub const MAX_MESSAGE_BYTES: usize = 300;

/// A parsed template. Parsing checks all that Go checks then: syntax, names of functions and variables. It is cheap to share and to keep.
#[derive(Clone, Debug)]
pub struct Template {
    tree: std::sync::Arc<tree::Tree>,
}

/// What a template works with: its fields are the keys of `.`.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// `.event_id`: the event's UUID.
    pub event_id: &'a str,
    /// `.event_name`: its type.
    pub event_name: &'a str,
    /// `.timestamp`: when this attempt began, as RFC 3339 in UTC with whole seconds. `now` is the same instant, as a time.
    pub timestamp: Timestamp,
    /// `.attempt`: 1 for the first.
    pub attempt: u32,
    /// `.payload`: JSON, within [`MAX_VALUES`], [`MAX_VALUE_DEPTH`] and [`MAX_NUMBER_BYTES`].
    pub payload: &'a [u8],
}

/// Why a text is no template, or why one gave no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TemplateError {
    /// What kind of trouble it is.
    pub kind: TemplateErrorKind,
    /// The line of the template, from 1; 0 where it is no line's fault.
    pub line: u32,
    /// What is wrong, for people; at most [`MAX_MESSAGE_BYTES`].
    pub message: String,
}

/// Kinds of [`TemplateError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateErrorKind {
    /// The text is no template.
    Syntax,
    /// It is one, but not for this context: a function got what it cannot work with.
    Failed,
    /// It met one of its bounds.
    Bound,
    /// The payload is no JSON, is nested too deep, has too many values or too long a number.
    Payload,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

impl TemplateError {
    fn new(kind: TemplateErrorKind, line: u32, mut message: String) -> Self {
        if message.len() > MAX_MESSAGE_BYTES {
            message.truncate(text::floor(&message, MAX_MESSAGE_BYTES - '…'.len_utf8()));
            message.push('…');
        }
        TemplateError { kind, line, message }
    }

    fn of(fault: Fault, line: u32) -> Self {
        match fault {
            Fault::Failed(message) => TemplateError::new(TemplateErrorKind::Failed, line, message),
            Fault::Bound(bound) => TemplateError::new(TemplateErrorKind::Bound, line, bound.to_owned()),
        }
    }
}

impl Template {
    /// Parses a template of at most [`MAX_SOURCE_BYTES`]. The first fault ends it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_SOURCE_BYTES {
            return Err(TemplateError::new(TemplateErrorKind::Syntax, 0, "a template is at most 65,536 bytes".to_owned()));
        }
        let tree = parse::parse(text).map_err(|(line, message)| TemplateError::new(TemplateErrorKind::Syntax, line, message))?;
        Ok(Template { tree: std::sync::Arc::new(tree) })
    }

    /// Renders it; the output is UTF-8 of at most [`MAX_OUTPUT_BYTES`]. The same context always gives the same output.
    pub fn render(&self, context: &Context<'_>) -> Result<Bytes, TemplateError> {
        self.run(context, Meter::whole())
    }

    /// The same, where it takes no more than a moment: `None` says that it would be more work than is done between other work, and that
    /// [`Template::render`] tells what comes of it. The bounds are [`BRIEF_PAYLOAD_BYTES`], [`BRIEF_STEPS`] and [`BRIEF_MADE_BYTES`].
    pub fn render_briefly(&self, context: &Context<'_>) -> Option<Result<Bytes, TemplateError>> {
        if context.payload.len() > BRIEF_PAYLOAD_BYTES {
            return None;
        }
        let made = self.run(context, Meter::brief());
        // Whichever bound that was: with the whole budget it may be another one, or none.
        let is_over = made.as_ref().is_err_and(|error| error.kind == TemplateErrorKind::Bound);
        (!is_over).then_some(made)
    }

    fn run(&self, context: &Context<'_>, meter: Meter) -> Result<Bytes, TemplateError> {
        let payload =
            read::payload(context.payload).map_err(|message| TemplateError::new(TemplateErrorKind::Payload, 0, message.to_owned()))?;
        let stamp = context.timestamp.rfc3339(0);
        let mut run = eval::Run::new(&self.tree, context.timestamp, meter);
        let dot = value::root(context, &stamp, payload);
        match run.whole(dot) {
            Ok(()) => Ok(Bytes::from(run.into_output())),
            Err(fault) => Err(TemplateError::of(fault, run.line())),
        }
    }
}
