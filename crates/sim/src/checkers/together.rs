//! Where several engines share the store: what each of them could know of what the others did.

use super::Whole;
use crate::records::Exchanged;
use crate::world::World;
use postrider_core::endpoint::Endpoint;
use postrider_core::time::Timestamp;

/// Whether what came of exchange `a` may have been lost before `b` began: by then others went on without who made `a`.
pub(super) fn is_lost_between(world: &World, a: &Exchanged, b: &Exchanged) -> bool {
    a.by != b.by && world.state().processes[a.by].lost_at().is_some_and(|at| at <= b.began)
}

/// Whether exchange `b` may come after `a`, the one before it of the same delivery: two engines are as careful as one, unless one of them
/// was taken for dead.
pub(super) fn follows(world: &World, whole: &Whole, a: &Exchanged, b: &Exchanged) -> Result<(), &'static str> {
    let is_next = b.number == a.number + 1;
    if is_lost_between(world, a, b) {
        // Whether there was an attempt is only known if it took long enough.
        return if is_next || b.number == a.number { Ok(()) } else { Err("the number is not the one after those that are stored") };
    }
    match a.result.map(|(ended, _)| ended).or(a.cut) {
        None => Err("both at the same time"),
        Some(ended) if ended > b.began => Err("both at the same time"),
        Some(_) if !is_next => Err("a number was left out or used again"),
        Some(_) if a.is_success() && !whole.is_replayed_between(a, b) => Err("the receiver had taken it"),
        Some(_) => Ok(()),
    }
}

/// Until when an exchange counts against what its endpoint takes at a time: those of the dead do not. Who was taken for dead breaks off exchanges
/// with endpoints that have a limit of their own before that, and lets the others run on.
pub(super) fn counts_until(world: &World, endpoint: &Endpoint, exchange: &Exchanged) -> Timestamp {
    let state = world.state();
    let by = &state.processes[exchange.by];
    let runs_on = by.lost_at().filter(|_| endpoint.concurrency.is_none());
    let ends = [exchange.result.map(|(at, _)| at), exchange.cut, by.gone_at(), runs_on];
    ends.into_iter().flatten().min().unwrap_or(Timestamp::MAX)
}
