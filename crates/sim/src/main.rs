//! `sim`: runs seeds, and says which of them break a promise.

use postrider_sim::{Options, run};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: sim [--together] [--from N] [--seeds N] | --seed N [--trace]";

/// How often progress is shown, in seeds.
const PROGRESS: u64 = 500;

struct Arguments {
    from: u64,
    seeds: u64,
    together: bool,
    trace: bool,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        // Whoever closed the pipe has seen enough, here and below.
        _ = writeln!(out, "{USAGE}");
        return ExitCode::from(2);
    };
    let (mut failed, mut events, mut exchanges) = (0u64, 0, 0);
    for done in 0..arguments.seeds {
        let seed = arguments.from + done;
        let options = Options { together: arguments.together, trace: arguments.trace, sabotage: None };
        let report = run(seed, options);
        events += report.events;
        exchanges += report.exchanges;
        if !report.violations.is_empty() {
            failed += 1;
            _ = writeln!(out, "{report}");
        }
        if (done + 1) % PROGRESS == 0 || done + 1 == arguments.seeds {
            _ = writeln!(
                out,
                "{} seeds, {events} events, {exchanges} exchanges, {failed} failed; trace of the last: {:016x}, {} lines",
                done + 1,
                report.hash,
                report.lines
            );
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments { from: 0, seeds: 1_000, together: false, trace: false };
    while let Some(name) = given.next() {
        match name.as_str() {
            "--from" => arguments.from = given.next()?.parse().ok()?,
            "--seeds" => arguments.seeds = given.next()?.parse().ok()?,
            "--seed" => (arguments.from, arguments.seeds) = (given.next()?.parse().ok()?, 1),
            "--together" => arguments.together = true,
            "--trace" => arguments.trace = true,
            _ => return None,
        }
    }
    Some(arguments)
}
