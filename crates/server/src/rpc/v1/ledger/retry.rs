//! Deliveries called off, and tried again.

use super::explain;
use super::filter::{Wanted, wanted};
use super::list::{PIECE, piece_of, total};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::failed_precondition;
use crate::rpc::batches::refused;
use crate::rpc::page::count;
use crate::rpc::v1::page;
use crate::rpc::v1::summary::{long, word};
use postrider_core::delivery::StateKind;
use postrider_core::id::DeliveryId;
use postrider_core::key::Scope;
use postrider_core::ports::{Batch, Cancelled, MAX_BATCH, Window};
use postrider_proto::service::Answer;
use postrider_proto::v1;

/// The states in which a delivery is tried again where the request does not say, and those in which it can be.
const MEANT: [StateKind; 3] = [StateKind::Retrying, StateKind::Failed, StateKind::Expired];
const POSSIBLE: [StateKind; 5] = [StateKind::Pending, StateKind::Retrying, StateKind::Failed, StateKind::Expired, StateKind::Cancelled];

/// How many deliveries are looked at where the store does not narrow them by all that is wanted.
const MAX_LOOKED_AT: usize = 50_000;

pub(super) async fn cancel(app: &App, access: &Access, delivery_id: &str) -> Result<v1::CancelDeliveryResponse, Problem> {
    access.allow(Scope::Write)?;
    let row = explain::find(app, access, delivery_id).await?;
    match app.engine.cancel_delivery(row.delivery.id).await? {
        Cancelled::AtOnce(_) => Ok(v1::CancelDeliveryResponse { at_once: true }),
        Cancelled::AfterAttempt => Ok(v1::CancelDeliveryResponse { at_once: false }),
        Cancelled::Ended(state) => Err(failed_precondition(format!("the delivery has ended: its state is {}", word(state)))),
        Cancelled::NotFound => Err(explain::missing()),
    }
}

pub(super) async fn matching(app: &App, access: &Access, request: &v1::RetryMatchingRequest) -> Answer<v1::RetryMatchingResponse> {
    access.allow(if request.dry_run { Scope::Read } else { Scope::Write })?;
    let (most, after) = (most(request.limit)?, page::after::<DeliveryId>(&request.page_token)?);
    // Whoever goes on has come to the end.
    let is_fine = request.dry_run || after.is_some();
    let nothing = || -> Answer<v1::RetryMatchingResponse> {
        if is_fine {
            return Ok(v1::RetryMatchingResponse::default());
        }
        Err(failed_precondition("no delivery matches that could be tried again").into())
    };
    let Some(wanted) = wanted(app, access, &request.filter).await? else { return nothing() };
    let wanted = narrowed(wanted)?;
    if request.dry_run {
        let matched = if wanted.event_type.is_some() {
            looked_through(app, &wanted, None, most).await?.matched
        } else {
            total(app, &wanted.filter).await?
        };
        return Ok(v1::RetryMatchingResponse { matched: long(matched), ..Default::default() });
    }
    let Matching { mut newest, next, matched } = if wanted.event_type.is_some() {
        looked_through(app, &wanted, after, most).await?
    } else {
        let window = Window { after, skip: 0, limit: most };
        let found = app.engine.store().delivery_ids(wanted.filter.clone(), window).await.map_err(Problem::of_read)?;
        Matching { newest: found.page.items, next: found.page.next, matched: found.total }
    };
    // The oldest first.
    newest.reverse();
    let batch = app.engine.prepare_retry_of(wanted.filter.namespace.clone(), newest).await.map_err(refused)?;
    let Some(batch) = batch else { return nothing() };
    let batch = started(app, batch).await?;
    Ok(v1::RetryMatchingResponse {
        matched: long(matched),
        retry_id: batch.id.to_string(),
        total: count(batch.total),
        remaining: long(matched.saturating_sub(u64::from(batch.total))),
        next_page_token: page::next(next),
    })
}

/// How many deliveries a batch has at the most, by the `limit` of its request.
fn most(limit: i32) -> Result<u32, Problem> {
    match u32::try_from(limit) {
        Ok(0) => Ok(MAX_BATCH),
        Ok(limit) if limit <= MAX_BATCH => Ok(limit),
        _ => Err(Problem::bad_request(format!("limit: {limit} is not 1 to {MAX_BATCH}"))),
    }
}

/// Starts a batch. One that cannot be started does not stay, for nobody knows of it.
async fn started(app: &App, batch: Batch) -> Result<Batch, Problem> {
    match app.engine.start_batch(&batch).await {
        Ok(batch) => Ok(batch),
        Err(why) => {
            // Where this fails too it goes by its age.
            _ = app.engine.cancel_batch(batch.id).await;
            Err(refused(why))
        }
    }
}

/// Of these only what can be tried again.
fn narrowed(mut wanted: Wanted) -> Result<Wanted, Problem> {
    let states = &mut wanted.filter.states;
    if states.is_empty() {
        states.extend(MEANT);
        return Ok(wanted);
    }
    states.retain(|state| POSSIBLE.contains(state));
    if states.is_empty() {
        let words = POSSIBLE.map(word).join(", ");
        return Err(Problem::bad_request(format!("filter.states: only what is in one of these is tried again: {words}")));
    }
    Ok(wanted)
}

/// Deliveries that match.
struct Matching {
    /// The newest of them, as many as a batch may have, the newest first.
    newest: Vec<DeliveryId>,
    /// Behind which there are others.
    next: Option<DeliveryId>,
    /// How many there are.
    matched: u64,
}

/// Looks at them one by one, from the newest or from behind this one on.
async fn looked_through(app: &App, wanted: &Wanted, mut after: Option<DeliveryId>, most: u32) -> Result<Matching, Problem> {
    let (mut matching, mut looked_at) = (Matching { newest: Vec::new(), next: None, matched: 0 }, 0);
    loop {
        let page = piece_of(app, &wanted.filter, after, PIECE).await?;
        looked_at += page.items.len();
        for row in page.items.iter().filter(|row| wanted.has_type(row)) {
            matching.matched += 1;
            if matching.newest.len() < most as usize {
                matching.newest.push(row.delivery.id);
            } else {
                matching.next = matching.newest.last().copied();
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(matching);
        }
        if looked_at >= MAX_LOOKED_AT {
            let message = format!("more than {MAX_LOOKED_AT} deliveries would have to be looked at for the type of their event");
            return Err(failed_precondition(format!("{message}: narrow them by time, endpoint or subscription")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::ports::DeliveryFilter;

    #[test]
    fn a_batch_has_a_bound() {
        assert_eq!([0, 1, 10_000].map(most), [Ok(10_000), Ok(1), Ok(10_000)]);
        for limit in [-1, 10_001, i32::MIN] {
            assert_eq!(most(limit).expect_err("no limit").status.as_u16(), 400, "{limit}");
        }
    }

    #[test]
    fn only_what_can_be_tried_again_is() {
        let narrow = |states: &[StateKind]| {
            let filter = DeliveryFilter { states: states.iter().copied().collect(), ..DeliveryFilter::default() };
            narrowed(Wanted { filter, event_type: None }).map(|wanted| wanted.filter.states.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(narrow(&[]), Ok(MEANT.to_vec()));
        assert_eq!(narrow(&[StateKind::Succeeded, StateKind::Cancelled]), Ok(vec![StateKind::Cancelled]));
        let refused = narrow(&[StateKind::Succeeded, StateKind::Sending]).expect_err("none of these can be");
        assert!(refused.message.ends_with("pending, retrying, failed, expired, cancelled"), "{}", refused.message);
    }
}
