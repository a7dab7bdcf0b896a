//! What happened, line by line: hashed always, so that two runs can be compared, and printed on request.

use postrider_core::time::Timestamp;
use std::fmt::{self, Write as _};
use std::io::Write as _;

/// FNV-1a, 64 bit: good enough to tell two runs apart, and the same everywhere.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: u64,
    printing: bool,
}

impl Trace {
    pub(crate) fn new(printing: bool) -> Self {
        Trace { hash: OFFSET, lines: 0, printing }
    }

    /// Notes one thing that happened in a life at a time.
    pub(crate) fn line(&mut self, life: usize, at: Timestamp, what: fmt::Arguments<'_>) {
        self.lines += 1;
        // Hashing cannot fail.
        _ = writeln!(self, "{life} {} {what}", at.as_micros());
        if self.printing {
            // Whoever closed the pipe has seen enough.
            _ = writeln!(std::io::stdout(), "{life} {} {what}", at.rfc3339(6));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }
}

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        Ok(())
    }
}
