//! `postrider demo` and `postrider bench`, as people run them.

use crate::common;

use crate::common::{Client, run};
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
    // What comes between two frames is drawn in neither: the last state is, always.
    assert!(out.contains("200 in 3 tries"), "{out}");
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
fn listen_does_as_its_flags_say_until_ctrl_c() {
    let mut command = common::postrider();
    command.args(["listen", "--listen", "127.0.0.1:0", "--fail-first", "1", "--fail-status", "429", "--retry-after", "7", "--json"]);
    let mut listener = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut talk = BufReader::new(listener.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut lines = BufReader::new(listener.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let greeting = talk.next().expect("it says where it listens");
    let address = greeting.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect(&greeting);
    let client = Client::new(address.parse().expect("an address"));
    let failed = client.call("POST", "/hook", &[], b"{}");
    assert_eq!((failed.status, failed.header("retry-after")), (429, Some("7")));
    let taken = client.call("POST", "/hook", &[], b"{}");
    assert_eq!((taken.status, taken.header("retry-after")), (200, None));
    for status in [429, 200] {
        let line: serde_json::Value = serde_json::from_str(&lines.next().expect("a line")).expect("JSON");
        assert_eq!((line["status"].as_u64(), line["path"].as_str()), (Some(status), Some("/hook")), "{line}");
    }
    kill_process(Pid::from_child(&listener), Signal::INT).expect("it is there");
    assert!(talk.any(|line| line.contains("2 requests")), "it sums up at its end");
    assert!(listener.wait().expect("it ends").success());
}

#[test]
fn flags_without_effect_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for (flags, environment, words) in [
        (&["listen", "--fail-status", "503"][..], &[][..], "--fail-first"),
        (&["listen", "--listen", "127.0.0.1:0", "--retry-after", "5"], &[], "--retry-after goes with answers that are not a 2xx"),
        (&["bench", "--only-direct", "--hang", "1"], &[], "cannot be used with"),
        (&["bench", "--events", "1"], &[("POSTRIDER_API_KEY", "pr_x")], "POSTRIDER_API_KEY, is for the server at --url"),
    ] {
        let (status, out, talk) = run(flags, directory.path(), environment);
        assert!(!status.success() && out.is_empty() && talk.contains(words), "{flags:?}: {talk}");
    }
}

/// Coarsely, for every machine: were the others to wait for receivers that hang, half of them would wait for a deadline, which is 10 s.
#[test]
fn receivers_that_hang_do_not_hold_up_the_others() {
    let directory = tempfile::tempdir().expect("a directory");
    let load = ["--events", "3000", "--endpoints", "40", "--hang", "4", "--rate", "1000", "--warmup", "0s", "--skip-direct"];
    let flags: Vec<&str> = ["bench", "--json", "--quiet"].into_iter().chain(load).collect();
    let (status, out, talk) = run(&flags, directory.path(), &[]);
    assert!(status.success(), "{talk}{out}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
    let server = &report["server"];
    assert_eq!((&server["delivered"], &server["lost"]), (&2_700.into(), &0.into()), "{report:#}");
    assert!(server["hung_requests"].as_u64().is_some_and(|requests| requests >= 4), "{report:#}");
    let p50 = server["arrival_latency_us"]["p50"].as_u64().expect("a latency");
    assert!(p50 < 5_000_000, "half of the others waited for longer than {p50} us");
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
