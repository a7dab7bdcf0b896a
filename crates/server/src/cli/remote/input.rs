//! Values that come from files and from stdin, and what flags are made of.

use super::Failure;
use super::text::flag_time;
use crate::cli::say;
use crate::clock::SystemClock;
use clap::builder::PossibleValuesParser;
use postrider_core::error::ErrorCode;
use postrider_core::ports::Clock;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::Object;
use serde_json::value::RawValue;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most bytes that are read for one value; the server takes less.
const MAX_BYTES: u64 = 64 << 20;

/// Whether something has read stdin.
static STDIN_TAKEN: AtomicBool = AtomicBool::new(false);

/// Stdin for whoever reads all of it: nothing is left for another flag.
pub fn take_stdin() -> Result<io::Stdin, Failure> {
    if STDIN_TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Failure::usage(
            "only one flag can read stdin: give the other value as @FILE, or the key as --key-file FILE or POSTRIDER_KEY",
        ));
    }
    Ok(io::stdin())
}

/// A file, or stdin where it is called `-`.
pub fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let name = if file == Path::new("-") { String::from("stdin") } else { file.display().to_string() };
    let failed = |error: io::Error| Failure::usage(format!("cannot read {name}: {error}"));
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        take_stdin()?.lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    let read = read.map_err(failed)?;
    if read as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("{name} has more than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

/// What a flag says: itself, the content of a file for `@FILE`, or what comes on stdin for `-`.
pub fn value(text: &str) -> Result<Vec<u8>, Failure> {
    match text.strip_prefix('@') {
        Some(file) => read(Path::new(file)),
        None if text == "-" => read(Path::new("-")),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// The same, which must be text. `flag` is what it is called.
pub fn text(flag: &str, given: &str) -> Result<String, Failure> {
    String::from_utf8(value(given)?).map_err(|_| Failure::usage(format!("{flag}: that is no text in UTF-8")))
}

/// The same, which must be a JSON object and stays as it is written.
pub fn object(flag: &str, given: &str) -> Result<Object, Failure> {
    Object::parse(&value(given)?).map_err(|error| Failure::usage(format!("{flag}: {error}")))
}

/// The same of any JSON, which stays as it is written.
pub fn json(flag: &str, given: &str) -> Result<Box<RawValue>, Failure> {
    let bytes = value(given)?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::usage(format!("{flag}: that is no JSON: {error}")))
}

/// A secret of a flag: `-` reads it from the first line of stdin, so that it is in no list of processes and in no history.
pub fn secret(flag: &str, given: &str) -> Result<String, Failure> {
    let whole = match given {
        "-" => first_line(flag)?,
        _ if given.starts_with('@') => text(flag, given)?,
        _ => given.to_owned(),
    };
    match whole.lines().next().map(str::trim) {
        Some(secret) if !secret.is_empty() => Ok(secret.to_owned()),
        _ => Err(Failure::usage(format!("{flag}: it is empty"))),
    }
}

/// The first line of stdin, without waiting for others: whoever sits at a terminal is told.
fn first_line(flag: &str) -> Result<String, Failure> {
    let stdin = take_stdin()?;
    if stdin.is_terminal() {
        say(&format!("{flag}: paste it, then Enter"));
    }
    let mut line = Vec::new();
    let read = stdin.lock().take(MAX_BYTES).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?;
    String::from_utf8(line).map_err(|_| Failure::usage(format!("{flag}: that is no text in UTF-8")))
}

/// `KEY=VALUE` of a flag.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form KEY=VALUE")),
    }
}

/// `NAME: VALUE` or `NAME=VALUE` of a flag, as headers are written.
pub fn header(text: &str) -> Result<(String, String), String> {
    let split = text.split_once([':', '=']).map(|(name, value)| (name.trim(), value.trim()));
    match split {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form NAME: VALUE")),
    }
}

/// The error codes that there are; their number makes a help hard to read, so that only whoever gives another one sees them.
pub fn codes() -> PossibleValuesParser {
    PossibleValuesParser::new(ErrorCode::ALL.iter().map(|code| code.as_str()))
}

/// A time that is over, of a flag: RFC 3339, or a span before now.
pub fn past(text: &str) -> Result<Moment, String> {
    flag_time(text, SystemClock.now(), false)
}

/// A time that is ahead, of a flag: RFC 3339, or a span from now.
pub fn ahead(text: &str) -> Result<Moment, String> {
    flag_time(text, SystemClock.now(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_headers_are_taken_apart() {
        let both = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!((pair("a=b=c"), pair("a=")), (both("a", "b=c"), both("a", "")));
        assert_eq!((header("X-A: b:c"), header("x-a=b")), (both("X-A", "b:c"), both("x-a", "b")));
        for bad in ["", "a", "=b"] {
            pair(bad).expect_err(bad);
            header(bad).expect_err(bad);
        }
    }

    #[test]
    fn values_come_as_they_are_or_from_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("v.json");
        std::fs::write(&file, "{\"a\": 1.50}\n").expect("a file");
        let named = format!("@{}", file.display());
        assert_eq!(object("--data", &named).expect("an object").json().as_ref(), b"{\"a\": 1.50}");
        assert_eq!(json("--match", &named).expect("JSON").get(), "{\"a\": 1.50}");
        assert!(json("--match", "{").expect_err("no JSON").to_string().starts_with("--match: that is no JSON"));
        assert_eq!(text("--template", "as it is").expect("text"), "as it is");
        assert!(object("--data", "[1]").expect_err("no object").to_string().contains("--data: it must be a JSON object"));
        value("@/nowhere/at/all").expect_err("no file");
        secret("--secret", "  ").expect_err("empty");
    }
}
