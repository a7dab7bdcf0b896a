//! Several nodes over one PostgreSQL, from outside: three real processes, each with a way of its own to a server that the test may crash, under
//! load from publishers that remember what they were promised.
//!
//! After every fault: no acknowledged event is lost, nothing is made twice but what was in flight, others go on within six seconds, and everything
//! is as it should be within ten. `POSTRIDER_CHAOS_SECONDS` has faults follow each other for so long (`make chaos`), `POSTRIDER_CHAOS_SEED` repeats
//! their order.
#![allow(missing_docs, reason = "a test")]

#[path = "cluster/audit.rs"]
mod audit;
mod common;
#[path = "cluster/configuration.rs"]
mod configuration;
#[path = "cluster/limits.rs"]
mod limits;
#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/nodes.rs"]
mod nodes;
#[path = "cluster/postgres.rs"]
mod postgres;
#[path = "cluster/proxy.rs"]
mod proxy;
#[path = "cluster/receiver.rs"]
mod receiver;
#[path = "cluster/world.rs"]
mod world;

use std::time::Duration;
use tokio::time::Instant;
use world::World;

/// The longest that anything is waited for that has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long faults follow each other where nobody says it.
const CHAOS_SECONDS: u64 = 12;

/// The pause after one, in milliseconds.
const QUIET_MS: std::ops::Range<u64> = 300..2_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One fault, and what must be true after it.
fn survives(fault: impl FnOnce(&mut World) -> Instant) {
    let mut world = World::start();
    let over = fault(&mut world);
    world.recover(over);
    world.finish();
}

#[test]
fn a_node_that_is_killed() {
    survives(|world| world.kill(1));
}

#[test]
fn a_node_that_stands_still_past_its_lease() {
    survives(|world| world.stand_still(2));
}

#[test]
fn a_node_whose_packets_are_lost_past_its_lease() {
    survives(|world| world.lose_packets(0));
}

#[test]
fn a_database_that_crashes() {
    survives(World::crash_database);
}

#[test]
fn connections_that_are_ended_again_and_again() {
    survives(World::end_connections);
}

#[test]
fn connections_that_are_all_taken() {
    survives(World::exhaust_connections);
}

#[test]
fn limits_hold_while_nodes_come_and_go() {
    limits::hold_while_nodes_come_and_go();
}

#[test]
fn limits_hold_when_a_node_is_killed() {
    limits::hold_when_a_node_is_killed();
}

#[test]
fn the_configuration_reaches_all_nodes_within_a_second() {
    configuration::reaches_all_nodes();
}

#[test]
fn what_one_node_does_all_nodes_show() {
    configuration::is_live_on_every_node();
}

#[test]
fn chaos() {
    let (seconds, seed) = (number("POSTRIDER_CHAOS_SECONDS", CHAOS_SECONDS), number("POSTRIDER_CHAOS_SEED", std::process::id().into()));
    eprintln!("faults for {seconds} s; POSTRIDER_CHAOS_SEED={seed} repeats their order");
    let (mut rng, mut world, begun) = (fastrand::Rng::with_seed(seed), World::start(), Instant::now());
    while begun.elapsed() < Duration::from_secs(seconds) {
        let n = rng.usize(0..world.cluster.count());
        let over = match rng.u8(0..7) {
            0 => world.kill(n),
            1 => world.stand_still(n),
            2 => world.lose_packets(n),
            3 => world.cut_off(n),
            4 => world.crash_database(),
            5 => world.end_connections(),
            _ => world.exhaust_connections(),
        };
        world.recover(over);
        std::thread::park_timeout(Duration::from_millis(rng.u64(QUIET_MS)));
    }
    world.finish();
}
