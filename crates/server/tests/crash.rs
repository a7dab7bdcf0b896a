//! The kill test: the real binary under load, killed with SIGKILL at random moments again and again.
//!
//! Afterwards the receiver's log and the API must agree: every acknowledged event was delivered, none twice except those that were in
//! flight at a kill, none again that the API had shown as delivered, all requests of one event carry one key, and every delivery's history
//! is consistent. `CRASH_KILLS` sets the number of kills (25 if unset), `CRASH_SEED` repeats the moments of a run.
#![allow(missing_docs, reason = "a test")]

#[path = "crash/audit.rs"]
mod audit;
mod common;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/receiver.rs"]
mod receiver;

use audit::Shown;
use common::Server;
use load::Load;
use receiver::Receiver;
use std::time::Duration;
use tokio::time::Instant;

/// Shortest and longest time under load before a kill, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 60..450;

/// The same of each fifth life: long enough for most of its deliveries to be long done when it ends.
const LONG_LIFE_MS: std::ops::Range<u64> = 4_000..6_000;

/// How many of the newest tasks are looked at in one go.
const LOOK_AT: usize = 4;

/// Retries come quickly, so that crashes meet them in every state.
const FLAGS: [&str; 4] = ["--tasks-retry", "150ms,150ms,150ms,150ms", "--tasks-max-attempts", "50"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_made_twice_but_what_was_in_flight() {
    let kills = number("CRASH_KILLS", 25);
    let seed = number("CRASH_SEED", std::process::id().into());
    eprintln!("killing the server {kills} times; CRASH_SEED={seed} repeats it");
    let mut rng = fastrand::Rng::with_seed(seed);
    let receiver = Receiver::start();
    let mut server = start(tempfile::tempdir().expect("a directory"));
    let subscription = server.subscribe_to(&receiver.url);
    let load = Load::start(&subscription, seed);
    let mut shown = Shown::new();
    for kill in 1..=kills {
        let life = Duration::from_millis(rng.u64(if kill % 5 == 0 { LONG_LIFE_MS } else { LIFE_MS }));
        load.aim(server.address);
        load.wait_for_acknowledgements(1);
        look_until(Instant::now() + life, &server, &load, kill - 1, &mut shown);
        let at = Instant::now();
        let directory = server.crash();
        receiver.killed(at);
        load.pause();
        eprintln!("kill {kill} after {life:?}: {} acknowledged, {} received", load.acknowledged(), receiver.count());
        server = start(directory);
    }
    let acknowledged = load.finish();
    assert!(acknowledged.len() as u64 > kills * 10, "only {} events were acknowledged: this proves nothing", acknowledged.len());
    audit::everything_arrives(&receiver, &acknowledged);
    audit::history_is_consistent(&server, &acknowledged);
    audit::no_needless_duplicates(&receiver, kills);
    assert!(shown.len() as u64 > kills, "only {} tasks were ever seen as delivered: this proves nothing", shown.len());
    audit::what_was_shown_as_delivered_stays_so(&receiver, &shown);
    let (status, _directory) = server.stop();
    assert!(status.success(), "the server did not stop cleanly: {status}");
}

/// Asks for the newest tasks again and again until the moment of the kill, and remembers which the API showed as delivered.
fn look_until(kill: Instant, server: &Server, load: &Load, life: u64, shown: &mut Shown) {
    while Instant::now() < kill {
        for delivery in load.newest(LOOK_AT) {
            if !shown.contains_key(&delivery) && server.get(&format!("/deliveries/{delivery}")).json()["task"]["status"] == "delivered" {
                shown.insert(delivery, life);
            }
        }
        // Looking is not to be the load.
        std::thread::park_timeout(Duration::from_millis(5).min(kill.saturating_duration_since(Instant::now())));
    }
}

fn start(directory: tempfile::TempDir) -> Server {
    let flags: Vec<&str> = std::iter::once("--dev").chain(FLAGS).collect();
    Server::start(directory, &flags, &[])
}
