//! What a namespace has: counts that the store keeps with every write, summed.

use super::super::access::Scope;
use super::super::page::count;
use crate::http::{App, Problem};
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::ports::Counters;
use postrider_proto::webhook as w;
use std::collections::BTreeSet;

/// The counts of what a request is about: its webhooks, and the deliveries of what is subscribed to them, through whichever API.
pub(super) async fn of(app: &App, scope: &Scope) -> Result<w::NamespaceStats, Problem> {
    let routes = app.engine.routes();
    let webhooks = || routes.endpoints().filter(|endpoint| scope.has(&endpoint.namespace));
    // Of a deleted binding what waits is still delivered.
    let subscriptions: BTreeSet<_> =
        routes.subscriptions().chain(routes.retired()).filter(|s| scope.has(&s.namespace)).map(|s| s.id).collect();
    let (total_webhooks, active_webhooks) =
        (webhooks().count(), webhooks().filter(|endpoint| endpoint.status == EndpointStatus::Active).count());
    let counters = app.engine.store().counters(subscriptions.into_iter().collect()).await.map_err(Problem::of_read)?;
    Ok(w::NamespaceStats { total_webhooks: count(total_webhooks), active_webhooks: count(active_webhooks), ..deliveries(&counters) })
}

fn deliveries(counters: &[Counters]) -> w::NamespaceStats {
    let of = |states: &[StateKind]| -> u64 {
        counters.iter().flat_map(|counters| states.iter().map(|state| counters.deliveries[*state as usize])).sum()
    };
    let succeeded = of(&[StateKind::Succeeded]);
    let failed = of(&[StateKind::Failed, StateKind::Expired, StateKind::Cancelled]);
    let pending = of(&[StateKind::Pending, StateKind::Sending, StateKind::Retrying]);
    let ended = succeeded + failed;
    w::NamespaceStats {
        total_deliveries: count(ended + pending),
        successful_deliveries: count(succeeded),
        failed_deliveries: count(failed),
        pending_deliveries: count(pending),
        success_rate: if ended == 0 { 0.0 } else { succeeded as f64 / ended as f64 },
        ..w::NamespaceStats::default()
    }
}
