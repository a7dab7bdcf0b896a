//! What a namespace has: counts that the store keeps with every write, summed.

use super::super::access::Scope;
use super::super::page::count;
use crate::http::{App, Problem};
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::EndpointStatus;
use postrider_proto::webhook as w;

/// The counts of what a request is about: its webhooks, and the deliveries that are kept, whichever API made them, those of deleted
/// subscriptions among them.
pub(super) async fn of(app: &App, scope: &Scope) -> Result<w::NamespaceStats, Problem> {
    let routes = app.engine.routes();
    let webhooks = || routes.endpoints().filter(|endpoint| scope.has(&endpoint.namespace));
    let (total_webhooks, active_webhooks) =
        (webhooks().count(), webhooks().filter(|endpoint| endpoint.status == EndpointStatus::Active).count());
    let counts = match scope {
        Scope::All => app.engine.store().delivery_counts(None).await,
        Scope::One(namespace) => app.engine.store().delivery_counts(Some(namespace.clone())).await,
        Scope::Nothing => Ok(Counts::default()),
    };
    let counts = counts.map_err(Problem::of_read)?;
    Ok(w::NamespaceStats { total_webhooks: count(total_webhooks), active_webhooks: count(active_webhooks), ..deliveries(&counts) })
}

/// Deliveries by state.
type Counts = [u64; StateKind::ALL.len()];

fn deliveries(counts: &Counts) -> w::NamespaceStats {
    let of = |states: &[StateKind]| -> u64 { states.iter().map(|state| counts[*state as usize]).sum() };
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
