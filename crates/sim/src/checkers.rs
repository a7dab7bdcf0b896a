//! One checker for each promise of the design. They judge what the world remembers, and know nothing of how the engine works.

pub(crate) mod durable;
pub(crate) mod gone;
mod history;
mod isolation;
mod limits;
pub(crate) mod memory;
mod recognisable;
mod silent;
mod together;
mod whole;

pub(crate) use whole::Whole;

use crate::world::World;

/// Judges the world when all its lives are over.
pub(crate) fn check(world: &World) {
    let whole = Whole::of(world);
    durable::check(world, &whole);
    recognisable::check(world, &whole);
    isolation::check(world, &whole);
    limits::check(world, &whole);
    silent::check(world, &whole);
    history::check(world, &whole);
}
