//! Lists of deliveries.

use super::filter::{Wanted, wanted};
use super::places::Turns;
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::v1::page;
use crate::rpc::v1::summary::{delivery_summary, long};
use postrider_core::id::DeliveryId;
use postrider_core::ports::{DeliveryFilter, DeliveryRow, Page, Window};
use postrider_proto::service::Answer;
use postrider_proto::v1;

/// How many deliveries are looked at for a page where the store does not narrow them by all that is wanted.
const LOOKED_AT: usize = 5_000;

/// How many of these at a time.
pub(super) const PIECE: u32 = 500;

pub(super) async fn list(
    app: &App,
    turns: &Turns,
    access: &Access,
    request: &v1::ListDeliveriesRequest,
) -> Answer<v1::ListDeliveriesResponse> {
    let (size, after) = (page::size(request.page_size), page::after::<DeliveryId>(&request.page_token)?);
    let Some(wanted) = wanted(app, access, &request.filter).await? else {
        return Ok(v1::ListDeliveriesResponse { total: request.count.then_some(0), ..Default::default() });
    };
    let _turn = if wanted.event_type.is_some() { Some(turns.turn(access).await?) } else { None };
    let found = page_of(app, &wanted, after, size).await?;
    let total = if request.count && wanted.event_type.is_none() { Some(long(total(app, &wanted.filter).await?)) } else { None };
    let routes = app.engine.routes();
    let deliveries = found.items.iter().map(|row| delivery_summary(&routes, row)).collect();
    Ok(v1::ListDeliveriesResponse { deliveries, next_page_token: page::next(found.next), total })
}

/// How many match.
pub(super) async fn total(app: &App, filter: &DeliveryFilter) -> Result<u64, Problem> {
    let found = app.engine.store().find_deliveries(filter.clone(), Window::first(1)).await.map_err(Problem::of_read)?;
    Ok(found.total)
}

/// A page of those that are wanted. By the type of the event the store does not narrow them: after [`LOOKED_AT`] that were looked at the page ends,
/// with fewer than it might have.
pub(super) async fn page_of(
    app: &App,
    wanted: &Wanted,
    mut after: Option<DeliveryId>,
    limit: u32,
) -> Result<Page<DeliveryRow, DeliveryId>, Problem> {
    if wanted.event_type.is_none() {
        return piece_of(app, &wanted.filter, after, limit).await;
    }
    let (mut items, mut looked_at) = (Vec::new(), 0);
    loop {
        let piece = piece_of(app, &wanted.filter, after, PIECE).await?;
        looked_at += piece.items.len();
        let mut rows = piece.items.into_iter();
        while let Some(row) = rows.next() {
            if !wanted.has_type(&row) {
                continue;
            }
            let id = row.delivery.id;
            items.push(row);
            if items.len() >= limit as usize {
                let more = rows.next().is_some() || piece.next.is_some();
                return Ok(Page { items, next: Some(id).filter(|_| more) });
            }
        }
        after = piece.next;
        if after.is_none() || looked_at >= LOOKED_AT {
            return Ok(Page { items, next: after });
        }
    }
}

/// A page as the store has it.
pub(super) async fn piece_of(
    app: &App,
    filter: &DeliveryFilter,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Page<DeliveryRow, DeliveryId>, Problem> {
    app.engine.store().page_of_deliveries(filter.clone(), Window { after, skip: 0, limit }).await.map_err(Problem::of_read)
}
