//! The events that follow from outcomes: `delivery.item.completed` and `delivery.item.failed` (contract of the Items API, section 9.4).

use crate::job::Job;
use crate::publish::{Publish, To, plan};
use crate::route::Routes;
use crate::shared::Shared;
use postrider_core::attempt::Attempt;
use postrider_core::delivery::{Progress, State};
use postrider_core::event::SchemaCheck;
use postrider_core::ports::NewEvent;
use postrider_core::signal::{ITEM_COMPLETED, ITEM_FAILED, ItemEnded, is_reserved};
use postrider_core::subscription::Origin;
use std::collections::BTreeMap;

/// How many deliveries of such an event are stored with the outcome that made it; others follow in slices, as those of a large fan-out do.
/// A group of outcomes is one commit, in which every outcome may have an event: so what hangs on one must be little, whatever its tenant
/// has bound to it.
const FIRST_SLICE: usize = 16;

/// The event that a delivery makes by coming to rest, if it makes one and anybody wants it. It is stored with the outcome, in one piece.
///
/// Only deliveries of bindings make such events, and none whose own event is one of them. A cancelled delivery makes none: somebody wanted
/// it so. `attempt` is the one that decided, where there was one.
pub(crate) fn follow_up(
    shared: &Shared,
    routes: &Routes,
    job: &Job,
    progress: &Progress,
    attempt: Option<&Attempt>,
) -> Option<Box<NewEvent>> {
    let event_type = match progress.state {
        State::Succeeded => ITEM_COMPLETED,
        State::Failed(_) | State::Expired => ITEM_FAILED,
        _ => return None,
    };
    let delivery = &job.delivery;
    let is_of_a_binding =
        routes.route_of_queued(delivery, &shared.config.user_agent).is_some_and(|r| r.subscription.origin == Origin::Items);
    if !is_of_a_binding || is_reserved(&job.event.event_type) || !routes.may_match(&delivery.namespace, event_type) {
        return None;
    }
    let ended = ItemEnded {
        item_id: attempt.map(|attempt| attempt.id),
        binding_id: delivery.subscription,
        destination_id: delivery.endpoint,
        source_event_id: delivery.event,
        source_event_type: &job.event.event_type,
        attempts: progress.attempts,
        http_status: attempt.and_then(|attempt| attempt.outcome.as_ref()?.http_status),
        error_code: progress.state.reason(),
    };
    let payload = ended.payload();
    let matched = routes.matching(&delivery.namespace, event_type, &BTreeMap::new(), &payload);
    if matched.routes.is_empty() && matched.skipped.is_empty() {
        return None;
    }
    let publish = Publish {
        namespace: delivery.namespace.clone(),
        event_type: event_type.into(),
        payload,
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        idempotency_key: None,
        ttl: None,
        schema_check: SchemaCheck::Unchecked,
        to: To::Matching,
    };
    Some(Box::new(plan(shared, publish, matched, FIRST_SLICE.min(shared.config.limits.fan_out_slice))))
}
