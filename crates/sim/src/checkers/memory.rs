//! Promise 7: memory is bounded, whatever the backlog, the fan-out, the payload or the receiver does.

use crate::Checker::MemoryBounded;
use crate::world::World;
use postrider_engine::{Load, Retention};

/// Parked deliveries that are given up in one piece pass through memory (`GIVE_UP` in the engine's upkeep). So do those that expired, of which
/// a piece has a quarter of what may be held besides at the most.
const GIVEN_UP: usize = 512;

/// So many at a time are taken over from an engine that has died beside this one (`RESCUE` in the engine's upkeep).
const RESCUED: usize = 512;

/// What a delivery in memory counts besides its payload.
const OVERHEAD: usize = 512;

/// Holds what the engine has in memory against its limits, with the slack that it documents: an endpoint with nothing in memory always
/// gets one delivery, and a claim may exceed its bytes by one payload.
pub(crate) fn look(world: &World, load: Load) {
    let limits = world.plan.limits;
    let endpoints = world.plan.endpoints.len();
    let gives_up = world.plan.retention.parked < Retention::default().parked;
    let expired = if world.plan.traffic.mortal > 0 { (limits.held / 4).clamp(1, GIVEN_UP) } else { 0 };
    let rescued = if world.plan.cluster.is_some() { RESCUED } else { 0 };
    let given_up = expired + rescued + if gives_up { GIVEN_UP } else { 0 };
    let held = limits.held + endpoints + given_up;
    // The payload's own bytes, its frame, and what every delivery counts.
    let largest = world.plan.traffic.payload + 64 + OVERHEAD;
    let held_bytes = limits.held_bytes + (endpoints + given_up) * largest;
    if load.held > held || load.held_bytes > held_bytes || load.running > limits.exchanges {
        let what = format!("{load:?}, where {held} deliveries, {held_bytes} bytes and {} exchanges are allowed", limits.exchanges);
        world.violated(MemoryBounded, what);
    }
}
