//! Promise 8 again: the history of a delivery is complete and agrees with its state.

use super::Whole;
use crate::Checker::NothingSilent;
use crate::world::World;
use postrider_core::delivery::{Delivery, State};
use postrider_core::error::ErrorCode;

pub(super) fn check(world: &World, whole: &Whole) {
    for delivery in whole.deliveries.values() {
        if let Err(what) = history(whole, delivery) {
            let state = delivery.progress.state;
            let what = format!("delivery {} is {state:?}, but {what}", delivery.id);
            world.violated(NothingSilent, what);
        }
    }
}

fn history(whole: &Whole, delivery: &Delivery) -> Result<(), String> {
    let made = delivery.progress.attempts;
    let attempts = whole.attempts.get(&delivery.id);
    let numbers = attempts.map(|a| a.keys().copied().collect::<Vec<_>>()).unwrap_or_default();
    if numbers != (1..=made).collect::<Vec<_>>() {
        return Err(format!("of {made} attempts {numbers:?} are recorded"));
    }
    for attempt in attempts.into_iter().flat_map(|a| a.values()) {
        let is_last = attempt.number == made;
        let under_way = is_last && delivery.progress.state == State::Sending;
        if attempt.outcome.is_none() != under_way {
            return Err(format!("attempt {} has the outcome {:?}", attempt.number, attempt.outcome));
        }
        agrees_with_the_network(whole, delivery, attempt)?;
    }
    let last = attempts.and_then(|a| a.get(&made)).and_then(|a| a.outcome.as_ref());
    let code = last.and_then(|o| o.error.as_ref()).map(|e| e.code);
    let right = match delivery.progress.state {
        State::Succeeded => last.is_some() && code.is_none(),
        State::Retrying { .. } => code.is_some(),
        State::Failed(ErrorCode::DestinationDisabled) => true,
        State::Failed(reason) => code == Some(reason),
        _ => true,
    };
    if right { Ok(()) } else { Err(format!("its last attempt ended with {last:?}")) }
}

/// An attempt says what the network saw; one that was interrupted says so.
fn agrees_with_the_network(whole: &Whole, delivery: &Delivery, attempt: &postrider_core::attempt::Attempt) -> Result<(), String> {
    let Some(outcome) = &attempt.outcome else { return Ok(()) };
    let number = attempt.number;
    if outcome.finished_at < attempt.started_at {
        return Err(format!("attempt {number} ended before it began"));
    }
    let code = outcome.error.as_ref().map(|e| e.code);
    if code == Some(ErrorCode::Interrupted) {
        return Ok(());
    }
    let mut seen = whole.exchanges_of(delivery.id).filter(|e| e.number == number);
    let agrees = seen.any(|e| match &e.result {
        Some((_, Ok(answer))) => outcome.http_status == Some(answer.status),
        Some((_, Err(_))) => outcome.http_status.is_none() && code.is_some(),
        None => false,
    });
    if agrees { Ok(()) } else { Err(format!("attempt {number} tells what the network did not see: {outcome:?}")) }
}
