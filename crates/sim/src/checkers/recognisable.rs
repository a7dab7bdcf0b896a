//! Promise 2: at least once, recognisably. One key for each event and subscription, no request too many, attempts in order.

use super::{Whole, together};
use crate::Checker::AtLeastOnceRecognisably;
use crate::records::Exchanged;
use crate::world::World;
use postrider_core::delivery::{Delivery, State};
use postrider_core::event::Event;
use postrider_core::id::idempotency_key;

pub(super) fn check(world: &World, whole: &Whole) {
    for (id, numbers) in &whole.exchanges_of {
        let Some(delivery) = whole.deliveries.get(id) else {
            if numbers.iter().all(|n| is_to_erased(whole, &whole.exchanges[*n])) {
                continue;
            }
            let what = format!("something was sent for {id}, which was never stored");
            world.violated(AtLeastOnceRecognisably, what);
            continue;
        };
        let exchanges: Vec<&Exchanged> = numbers.iter().map(|n| &whole.exchanges[*n]).collect();
        let key = idempotency_key(delivery.subscription, delivery.event);
        let event = whole.events.get(&delivery.event);
        for exchange in &exchanges {
            if exchange.key != key || !event.is_some_and(|event| names(exchange, event)) {
                let what = format!("attempt {} of {id} has another key or event", exchange.number);
                world.violated(AtLeastOnceRecognisably, what);
            }
        }
        first(world, delivery, exchanges[0]);
        for pair in exchanges.windows(2) {
            if let Err(what) = follows(world, whole, delivery, pair[0], pair[1]) {
                let (a, b) = (pair[0], pair[1]);
                let what = format!("delivery {id}, attempt {} at {:?} and then {} at {:?}: {what}", a.number, a.began, b.number, b.began);
                world.violated(AtLeastOnceRecognisably, what);
            }
        }
    }
}

/// What was published while its endpoint was being erased is not stored, and may have been sent before the engine knew.
fn is_to_erased(whole: &Whole, exchange: &Exchanged) -> bool {
    let event = whole.events.values().find(|event| names(exchange, event));
    let is_of = |event: &Event| {
        let erased = whole.subscriptions.keys().filter(|id| whole.is_erased(**id));
        erased.into_iter().any(|id| idempotency_key(*id, event.seq) == exchange.key)
    };
    event.is_some_and(|event| is_of(event))
}

fn first(world: &World, delivery: &Delivery, exchange: &Exchanged) {
    if exchange.number != 1 {
        let what = format!("delivery {} begins with attempt {}", delivery.id, exchange.number);
        world.violated(AtLeastOnceRecognisably, what);
    }
}

/// Whether exchange `b` may come after `a`, the one before it of the same delivery.
fn follows(world: &World, whole: &Whole, delivery: &Delivery, a: &Exchanged, b: &Exchanged) -> Result<(), &'static str> {
    if world.plan.cluster.is_some() {
        return together::follows(world, whole, a, b);
    }
    let replayed = || whole.is_replayed_between(a, b);
    if a.life == b.life {
        return match &a.result {
            None => Err("both at the same time"),
            Some((ended, _)) if *ended > b.began => Err("both at the same time"),
            Some(_) if b.number != a.number + 1 => Err("a number was left out or used again"),
            Some(_) if a.is_success() && !replayed() => Err("the receiver had taken it"),
            Some(_) => Ok(()),
        };
    }
    let state = world.state();
    // What the store knew when `a` had been made, and when `b` was about to be.
    let (after_a, before_b) = (&state.ends[a.life], &state.ends[b.life - 1]);
    let known = |end: &crate::records::EndOfLife| end.progress.get(&delivery.id).copied();
    let (Some(then), Some(now)) = (known(after_a), known(before_b)) else {
        return Err("it was sent before it was stored");
    };
    if b.number != now.attempts + 1 {
        return Err("the number is not the one after those that are stored");
    }
    let settled = then.attempts >= a.number && then.state != State::Sending;
    if a.is_success() && settled && !replayed() {
        return Err("the receiver had taken it, and that was stored");
    }
    if a.is_success() && !settled && after_a.clean {
        return Err("the receiver had taken it, and there was no crash");
    }
    Ok(())
}

/// Whether the request says that it is about this event: by its id, or for bindings by its number.
fn names(exchange: &Exchanged, event: &Event) -> bool {
    exchange.event == event.id.to_string() || exchange.event == event.seq.to_string()
}
