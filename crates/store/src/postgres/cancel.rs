//! Deliveries that somebody calls off.

use super::again::Locked;
use super::error::Result;
use super::rows::get;
use super::tallies::Of;
use super::tx::Tx;
use postrider_core::delivery::{Delivery, StateKind, Step, transition};
use postrider_core::error::ErrorCode;
use postrider_core::id::DeliveryId;
use postrider_core::ports::Cancelled;
use uuid::Uuid;

/// Who has a delivery that does not rest. Its row in the queue is locked before the delivery.
const HOLDER: &str = "SELECT q.claim FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL \
     (SELECT claim FROM queue WHERE id = u.id FOR UPDATE) q";

/// 6 is the number of [`StateKind::Cancelled`].
const END: &str = "WITH ended AS (UPDATE deliveries d SET state = 6, due_at = NULL, reason = $2, kept_letter = false \
     FROM unnest($1::uuid[]) AS u (id) WHERE d.id = ANY (ARRAY[u.id]) \
     RETURNING d.id, d.namespace, d.subscription, d.endpoint, d.state, d.reason, d.created_at), \
     gone AS (DELETE FROM queue WHERE id = ANY ($1::uuid[])) \
     INSERT INTO unsuccessful (id, namespace, subscription, endpoint, state, reason, created_at) SELECT * FROM ended \
     ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason";
const _: () = assert!(StateKind::Cancelled as u8 == 6);

const WANTED: &str = "UPDATE queue SET cancel_wanted = true WHERE id = ANY ($1::uuid[])";

/// Ends a delivery that waits, or notes that whoever has it is to.
pub(super) async fn cancel(tx: &mut Tx, of: DeliveryId) -> Result<Cancelled> {
    let id = [of.uuid()];
    let ids = &id[..];
    let holder = tx.conn.row(HOLDER, &[&ids]).await?;
    // As it is now that nobody else can change it.
    let mut locked = Locked::read(&tx.conn, &[of], &[]).await?;
    let Some((delivery, _)) = locked.deliveries.remove(&of) else { return Ok(Cancelled::NotFound) };
    let from = delivery.progress.state.kind();
    if from.is_resting() {
        return Ok(Cancelled::Ended(from));
    }
    let claim: Option<i64> = holder.map(|row| get(&row, 0)).transpose()?;
    if claim == Some(0) && transition(delivery.progress, Step::Cancel(ErrorCode::CancelledByHand)).is_ok() {
        end(tx, &delivery, ids).await?;
        return Ok(Cancelled::AtOnce(delivery.endpoint));
    }
    // One that was made again between these two looks has no holder that is known: it is called off as if it had one.
    tx.conn.execute(WANTED, &[&ids]).await?;
    Ok(Cancelled::AfterAttempt)
}

async fn end(tx: &mut Tx, delivery: &Delivery, ids: &[Uuid]) -> Result<()> {
    let by_hand = ErrorCode::CancelledByHand.as_str();
    tx.conn.execute(END, &[&ids, &by_hand]).await?;
    let of = Of { namespace: &delivery.namespace, subscription: delivery.subscription, endpoint: delivery.endpoint };
    tx.tallies.moved(of, delivery.progress.state.kind(), StateKind::Cancelled);
    Ok(())
}
