//! Deliveries that somebody wants tried again, whatever state they are in.

use super::again::{Changes, Letter, Locked, waiting};
use super::claim::runs;
use super::config::{ENDPOINT, SUBSCRIPTION};
use super::conn::{Conn, Params};
use super::error::{Result, bad_value};
use super::rows::{get, id};
use super::tx::Tx;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{Delivery, State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::id::{DeliveryId, EndpointId, SubscriptionId};
use postrider_core::ports::{Requeued, Retried};
use postrider_core::subscription::Origin;
use postrider_core::time::Timestamp;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use uuid::Uuid;

/// In the order of the ids that it is given.
const LOCK_QUEUE: &str =
    "SELECT q.id FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL (SELECT id FROM queue WHERE id = u.id FOR UPDATE) q";

/// What a document says is of interest only where it is of something that was deleted.
const CONFIGURED: &str = "SELECT c.kind, c.id, c.gone_at IS NULL, CASE WHEN c.gone_at IS NOT NULL THEN c.doc END \
     FROM unnest($1::int2[], $2::text[]) AS u (kind, id) CROSS JOIN LATERAL \
     (SELECT kind, id, gone_at, doc FROM config WHERE kind = u.kind AND id = u.id LIMIT 1) c";

const HASTEN_QUEUED: &str = "UPDATE queue SET due_at = least(due_at, $2), expires_at = NULL, cancel_wanted = false WHERE id = ANY ($1) \
     RETURNING id, claim";

const HASTEN_WAITING: &str = "UPDATE deliveries d SET due_at = least(d.due_at, $2), spent = 0, expires_at = NULL \
     FROM unnest($1::uuid[]) AS u (id) WHERE d.id = ANY (ARRAY[u.id])";

/// The queue's row is locked first, and the delivery is changed as it is then. With `+ 0` no index of what waits will do for the look at one.
const HASTEN: &str = concat!(
    "WITH queued AS (UPDATE queue SET due_at = least(due_at, $2), expires_at = NULL \
     WHERE id = $1 AND claim + 0 = 0 AND due_at IS NOT NULL AND",
    not_erased!("endpoint"),
    "RETURNING id, endpoint) UPDATE deliveries d SET due_at = least(d.due_at, $2), spent = 0, expires_at = NULL \
     FROM queued q WHERE d.id = ANY (ARRAY[q.id]) RETURNING q.endpoint"
);

/// Makes an unclaimed delivery that waits due by then; its endpoint, if that is what it is.
pub(super) async fn hasten(tx: &mut Tx, of: DeliveryId, at: Timestamp) -> Result<Option<EndpointId>> {
    let row = tx.conn.row(HASTEN, &[&of.uuid(), &at.as_micros()]).await?;
    row.map(|row| id(&row, 0, EndpointId::new)).transpose()
}

/// Has deliveries tried again at once.
pub(super) async fn retry(tx: &mut Tx, ids: &[DeliveryId], force: bool, at: Timestamp) -> Result<Vec<Retried>> {
    let mut answers = Vec::with_capacity(ids.len());
    for run in runs(ids, |id| [Some(id.uuid()), None]) {
        answers.extend(retry_at_once(tx, run, force, at).await?);
    }
    Ok(answers)
}

/// The same for different ones.
async fn retry_at_once(tx: &mut Tx, ids: &[DeliveryId], force: bool, at: Timestamp) -> Result<Vec<Retried>> {
    tx.conn.ready(&[LOCK_QUEUE]).await?;
    let (_, mut locked) = tokio::try_join!(biased; lock_queue(&tx.conn, ids), Locked::read(&tx.conn, ids, &[]))?;
    let receivers = Receivers::read(&tx.conn, &locked).await?;
    let mut changes = Changes::new(&mut tx.tallies, tx.incarnation);
    let mut decided = Vec::with_capacity(ids.len());
    for id in ids {
        let Some((delivery, _)) = locked.deliveries.remove(id) else {
            decided.push(Decided::Told(Retried::NotFound));
            continue;
        };
        let letter = locked.open.remove(id);
        let has_receiver = receivers.have(&delivery);
        decided.push(if has_receiver || delivery.progress.state == State::Sending {
            decide(delivery, letter, (force, at), &mut changes)
        } else {
            Decided::Told(Retried::Refused(delivery.progress.state.kind()))
        });
    }
    let waiting: Vec<Uuid> = decided.iter().filter_map(Decided::waiting).collect();
    let (claims, ()) = tokio::try_join!(biased; hasten_all(&tx.conn, &waiting, at), changes.store(&tx.conn))?;
    decided.into_iter().map(|decided| decided.told(&claims)).collect()
}

async fn lock_queue(conn: &Conn, ids: &[DeliveryId]) -> Result<()> {
    let ids: BTreeSet<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    conn.rows(LOCK_QUEUE, &[&ids]).await.map(drop)
}

/// What becomes of a delivery.
enum Decided {
    /// This is the answer.
    Told(Retried),
    /// It waits in this state, and is due then. The answer depends on who has it.
    Waits(StateKind, Requeued),
}

impl Decided {
    fn waiting(&self) -> Option<Uuid> {
        match self {
            Decided::Waits(_, waits) => Some(waits.delivery.uuid()),
            Decided::Told(_) => None,
        }
    }

    /// The answer, by the claims of those that wait. An engine that has one in memory overwrites what was written with what it settles;
    /// should that engine end before, whoever takes over finds what was asked for.
    fn told(self, claims: &BTreeMap<DeliveryId, i64>) -> Result<Retried> {
        let (state, waits) = match self {
            Decided::Told(answer) => return Ok(answer),
            Decided::Waits(state, waits) => (state, waits),
        };
        match claims.get(&waits.delivery) {
            Some(0) => Ok(Retried::Queued(waits)),
            Some(_) => Ok(Retried::Held { delivery: waits.delivery, endpoint: waits.endpoint, state }),
            None => Err(bad_value("a delivery that waits and has no place in the queue")),
        }
    }
}

/// Decides what becomes of a delivery that has a receiver, or is being sent.
fn decide(delivery: Delivery, letter: Option<Letter>, (force, at): (bool, Timestamp), changes: &mut Changes<'_>) -> Decided {
    let Delivery { id, endpoint, .. } = delivery;
    let state = delivery.progress.state;
    let is_wanted = match state {
        State::Sending => return Decided::Told(Retried::Held { delivery: id, endpoint, state: StateKind::Sending }),
        State::Cancelled(code) => code == ErrorCode::CancelledByHand,
        State::Succeeded => force,
        State::Pending { .. } | State::Retrying { .. } | State::Failed(_) | State::Expired => true,
    };
    if !is_wanted {
        return Decided::Told(Retried::Refused(state.kind()));
    }
    if let Some(due_at) = state.due_at() {
        return Decided::Waits(state.kind(), Requeued { delivery: id, endpoint, due_at: due_at.min(at) });
    }
    if let Some(letter) = letter {
        changes.close(&letter, DeadLetterStatus::Retried(id), Some(at));
    }
    // It is at rest, and nothing else is refused.
    let again = changes.again(delivery, (false, false), at);
    Decided::Told(again.map_or(Retried::NotFound, |delivery| Retried::Queued(waiting(&delivery))))
}

/// Makes deliveries that wait due by then; the claims on them.
async fn hasten_all(conn: &Conn, ids: &[Uuid], at: Timestamp) -> Result<BTreeMap<DeliveryId, i64>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let at = at.as_micros();
    let params: Params<'_> = &[&ids, &at];
    let (rows, _) = tokio::try_join!(biased; conn.rows(HASTEN_QUEUED, params), conn.execute(HASTEN_WAITING, params))?;
    rows.iter().map(|row| Ok((id(row, 0, DeliveryId::new)?, get(row, 1)?))).collect()
}

/// Endpoints and subscriptions that something is still sent to, or for: as an engine finds its routes.
struct Receivers {
    endpoints: BTreeSet<EndpointId>,
    /// Whether they are live; else they are bindings that were deleted, and what waits for these is still delivered.
    subscriptions: BTreeMap<SubscriptionId, bool>,
}

#[derive(Deserialize)]
struct Made {
    origin: Origin,
}

impl Receivers {
    /// Reads what is configured of the endpoints and subscriptions of these deliveries.
    async fn read(conn: &Conn, of: &Locked) -> Result<Self> {
        let mut wanted = BTreeSet::new();
        for (delivery, _) in of.deliveries.values() {
            wanted.insert((ENDPOINT, delivery.endpoint.to_string()));
            wanted.insert((SUBSCRIPTION, delivery.subscription.to_string()));
        }
        let mut receivers = Receivers { endpoints: BTreeSet::new(), subscriptions: BTreeMap::new() };
        if wanted.is_empty() {
            return Ok(receivers);
        }
        let (kinds, ids): (Vec<i16>, Vec<String>) = wanted.into_iter().unzip();
        for row in conn.rows(CONFIGURED, &[&kinds, &ids]).await? {
            receivers.note(&row)?;
        }
        Ok(receivers)
    }

    fn note(&mut self, row: &Row) -> Result<()> {
        let (kind, id, is_live): (i16, &str, bool) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
        if kind == ENDPOINT {
            self.endpoints.extend(EndpointId::parse(id).filter(|_| is_live));
            return Ok(());
        }
        let made: Option<Made> = get::<Option<&str>>(row, 3)?.map(serde_json::from_str).transpose().map_err(bad_value)?;
        if is_live || made.is_some_and(|made| made.origin == Origin::Items) {
            self.subscriptions.extend(SubscriptionId::parse(id).map(|id| (id, is_live)));
        }
        Ok(())
    }

    /// Whether there is somebody to send this delivery to.
    fn have(&self, delivery: &Delivery) -> bool {
        let is_resting = delivery.progress.state.kind().is_resting();
        let delivers = self.subscriptions.get(&delivery.subscription).is_some_and(|is_live| *is_live || !is_resting);
        delivers && self.endpoints.contains(&delivery.endpoint)
    }
}
