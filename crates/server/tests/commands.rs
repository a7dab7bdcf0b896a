//! `postrider demo` and `postrider bench`, as people run them.

mod common;

use common::run;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// The configuration of another server in the same directory: with one attempt the demonstration would never end.
const ELSEWHERE: &str = "port_file = 'elsewhere'\nmax_body = '1KiB'\n[tasks]\nmax_attempts = 1\n";

#[test]
fn the_demonstration_ends_when_everything_is_delivered() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("postrider.toml"), ELSEWHERE).expect("a file");
    let flags = ["demo", "--events", "1", "--pause", "0ms", "--exit", "--listen", "127.0.0.1:0"];
    let (status, out, talk) = run(&flags, directory.path(), &[("POSTRIDER_BOOTSTRAP_KEY", "short")]);
    assert!(status.success(), "{talk}");
    assert!(
        talk.contains("1 events, 3 deliveries in 5 attempts, 1 of them failed first and recovered; every signature verified"),
        "{talk}"
    );
    assert!(out.contains("503 1x, retrying") && out.contains("200 in 3 tries"), "{out}");
    assert!(!directory.path().join("elsewhere").exists(), "it has taken over another server's configuration");
}

#[test]
fn ctrl_c_ends_the_demonstration_cleanly() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = common::postrider();
    command.args(["demo", "--events", "10000", "--pause", "1ms", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    let command = command.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = command.spawn().expect("the binary starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("200 in 1 try")), "nothing was ever delivered");
    kill_process(Pid::from_child(&demo), Signal::INT).expect("it is there");
    assert_eq!(lines.filter(|line| line.is_empty()).count(), 0);
    assert!(demo.wait().expect("it ends").success());
    // Its server had time to close its store: what it wrote is in one file.
    let log = directory.path().join("data/postrider.db-wal");
    assert!(!log.exists() || std::fs::metadata(&log).expect("a file").len() == 0, "the store was not closed");
}

#[test]
fn the_benchmark_measures_a_server_of_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["bench", "--events", "500", "--connections", "4", "--warmup", "0s", "--json", "--quiet"];
    let (status, out, talk) = run(&flags, directory.path(), &[]);
    assert!(status.success(), "{talk}{out}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(report["ok"], true, "{report:#}");
    let server = &report["server"];
    assert_eq!((&server["accepted"], &server["delivered"], &server["lost"]), (&500.into(), &500.into(), &0.into()), "{report:#}");
    assert!(server["ratio_to_direct_percent"].as_f64().is_some_and(|percent| percent > 0.0), "{report:#}");
    assert!(server["usage"]["server_cpu_s"].is_number(), "{report:#}");
}
