//! Slots: which node sends to which endpoints, and what one leaves for the next to know.
//!
//! Every node works out by itself who should have a slot, from the nodes that are alive: the one with the greatest weight for it. A node that comes
//! so takes about as many slots from each of the others, and what one had that went is shared out among those that are left. A slot is taken only
//! from nobody or from a node that has ended, by a statement that sees to it that nobody was quicker; who should not have it any more leaves it.

use super::conn::Conn;
use super::error::{Error, Result, bad_value};
use super::rows::{get, id};
use postrider_core::id::EndpointId;
use postrider_core::ports::{Leaving, Limiters, Slot, SlotSet, Survey, TakenSlot};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_postgres::Row;
use uuid::Uuid;

/// Nobody.
const NOBODY: i64 = 0;

/// No rate limit is full again later than that: what is longer is a fault, and would be beyond what the database can say.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const SLOTS: &str = "SELECT slot, owner, clean FROM slots ORDER BY slot";

const ALIVE: &str = "SELECT incarnation, resigned FROM nodes WHERE ended_at IS NULL";

/// Whoever asks for slots wants some again.
const COME_BACK: &str = "UPDATE nodes SET resigned = false WHERE incarnation = $1 AND resigned";

/// From whom they are taken is said by `owner`: that of nobody stays clean if it was.
const TAKE: &str = "UPDATE slots s SET owner = $1, clean = s.clean AND s.owner = 0 \
     FROM unnest($2::int2[], $3::int8[]) AS u (slot, owner) WHERE s.slot = ANY (ARRAY[u.slot]) AND s.owner = u.owner \
     AND EXISTS (SELECT FROM living n WHERE n.incarnation = $1) RETURNING s.slot, s.clean";

const LEFT_TO_KNOW: &str = "SELECT endpoint, slot, (extract(epoch FROM full_at - clock_timestamp()) * 1000000)::int8 \
     FROM handovers WHERE slot = ANY ($1::int2[]) AND full_at > clock_timestamp()";

const BUSY: &str = "SELECT h.endpoint, h.slot FROM handovers h WHERE h.holder <> 0 AND h.holder <> $1 \
     AND EXISTS (SELECT FROM living n WHERE n.incarnation = h.holder)";

const LEAVE: &str = "UPDATE slots SET owner = 0, clean = true WHERE slot = ANY ($2::int2[]) AND owner = $1 RETURNING slot";

/// Whoever has left all of them is about to stop: the others need not wait until it has. One that has just joined has not come yet, likewise.
const RESIGN: &str = "UPDATE nodes SET resigned = true WHERE incarnation = $1 AND ended_at IS NULL \
     AND NOT EXISTS (SELECT FROM slots s WHERE s.owner = $1)";

/// What was left before is out of date, but for who still has exchanges under way.
const CLEAR: &str = "WITH kept AS (SELECT k.slot, k.endpoint FROM handovers k WHERE k.slot = ANY ($2::int2[]) AND k.holder <> 0 AND k.holder <> $1 \
     AND EXISTS (SELECT FROM living n WHERE n.incarnation = k.holder) ORDER BY k.slot, k.endpoint FOR UPDATE), \
     blank AS (UPDATE handovers h SET full_at = NULL FROM kept WHERE h.slot = ANY (ARRAY[kept.slot]) AND h.endpoint = ANY (ARRAY[kept.endpoint])) \
     DELETE FROM handovers d WHERE d.slot = ANY ($2::int2[]) AND (d.slot, d.endpoint) NOT IN (SELECT slot, endpoint FROM kept)";

const TELL: &str = "INSERT INTO handovers AS h (slot, endpoint, full_at, holder) \
     SELECT u.slot, u.endpoint, clock_timestamp() + u.full_in::float8 * interval '1 microsecond', u.holder \
     FROM unnest($1::int2[], $2::uuid[], $3::int8[], $4::int8[]) AS u (slot, endpoint, full_in, holder) \
     ON CONFLICT (slot, endpoint) DO UPDATE SET full_at = excluded.full_at, holder = CASE h.holder WHEN 0 THEN excluded.holder ELSE h.holder END";

const FREE: &str = "UPDATE handovers h SET holder = 0 FROM unnest($2::int2[], $3::uuid[]) AS u (slot, endpoint) \
     WHERE h.slot = ANY (ARRAY[u.slot]) AND h.endpoint = ANY (ARRAY[u.endpoint]) AND h.holder = $1";

/// Bits without any order, the same in every release.
fn mix(n: u64) -> u64 {
    // The finalizer of splitmix64.
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Who of these should have the slot.
fn chosen(slot: Slot, of: &[i64]) -> Option<i64> {
    let weight = |node: i64| mix(mix(node.cast_unsigned()) ^ u64::from(slot.0));
    of.iter().copied().max_by_key(|node| (weight(*node), *node))
}

fn slot(row: &Row, column: usize) -> Result<Slot> {
    u8::try_from(get::<i16>(row, column)?).map(Slot).map_err(bad_value)
}

fn numbers(slots: &SlotSet) -> Vec<i16> {
    slots.iter().map(|slot| i16::from(slot.0)).collect()
}

/// Takes what falls to this node and is free, and says how it stands. Each statement is for itself: what was taken stays taken if the rest fails,
/// and the next look says so.
pub(super) async fn survey(conn: &Conn, me: i64, known: &SlotSet) -> Result<Survey> {
    conn.ready(&[SLOTS, ALIVE]).await?;
    // Whoever has a slot was among the nodes before, so that they are read behind the slots.
    let (slots, alive) = tokio::try_join!(biased; conn.rows(SLOTS, &[]), conn.rows(ALIVE, &[]))?;
    let alive = alive.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<BTreeMap<i64, bool>>>()?;
    match alive.get(&me) {
        None => return Err(Error::Lost),
        Some(false) => {}
        Some(true) => drop(conn.execute(COME_BACK, &[&me]).await?),
    }
    let candidates: Vec<i64> = alive.iter().filter(|(node, resigned)| !**resigned || **node == me).map(|(node, _)| *node).collect();
    // What the engine does not know of yet, and whether it was left cleanly.
    let (mut survey, mut new, mut free) = (Survey::default(), BTreeMap::new(), Vec::new());
    for row in &slots {
        let (slot, owner): (Slot, i64) = (slot(row, 0)?, get(row, 1)?);
        let is_mine = chosen(slot, &candidates) == Some(me);
        if owner == me {
            survey.owned.insert(slot);
            if !is_mine {
                survey.to_leave.insert(slot);
            }
            if !known.contains(slot) {
                new.insert(slot, get::<bool>(row, 2)?);
            }
        } else if is_mine && !alive.contains_key(&owner) {
            free.push((i16::from(slot.0), owner));
        }
    }
    if !free.is_empty() {
        let (slots, owners): (Vec<i16>, Vec<i64>) = free.into_iter().unzip();
        for row in &conn.rows(TAKE, &[&me, &slots, &owners]).await? {
            let slot = slot(row, 0)?;
            survey.owned.insert(slot);
            new.insert(slot, get::<bool>(row, 1)?);
        }
    }
    survey.taken = left_to_know(conn, new).await?;
    survey.busy = busy(conn, me, &survey.owned).await?;
    Ok(survey)
}

/// What is known of the limits of these slots' endpoints.
async fn left_to_know(conn: &Conn, new: BTreeMap<Slot, bool>) -> Result<Vec<TakenSlot>> {
    let clean: SlotSet = new.iter().filter(|(_, clean)| **clean).map(|(slot, _)| *slot).collect();
    let mut left: BTreeMap<Slot, Vec<(EndpointId, Duration)>> = BTreeMap::new();
    if !clean.is_empty() {
        for row in &conn.rows(LEFT_TO_KNOW, &[&numbers(&clean)]).await? {
            let full_in = u64::try_from(get::<i64>(row, 2)?).unwrap_or(0);
            left.entry(slot(row, 1)?).or_default().push((id(row, 0, EndpointId::new)?, Duration::from_micros(full_in)));
        }
    }
    let limiters = |(slot, clean): (Slot, bool)| match (clean, left.remove(&slot)) {
        (false, _) => TakenSlot { slot, limiters: Limiters::Unknown },
        (true, None) => TakenSlot { slot, limiters: Limiters::Full },
        (true, Some(known)) => TakenSlot { slot, limiters: Limiters::Known(known) },
    };
    Ok(new.into_iter().map(limiters).collect())
}

/// Endpoints with which others that are alive still have exchanges under way.
async fn busy(conn: &Conn, me: i64, owned: &SlotSet) -> Result<BTreeSet<EndpointId>> {
    let mut busy = BTreeSet::new();
    for row in &conn.rows(BUSY, &[&me]).await? {
        if owned.contains(slot(row, 1)?) {
            busy.insert(id(row, 0, EndpointId::new)?);
        }
    }
    Ok(busy)
}

/// Leaves those of the slots that are this node's, with what there is to know of their endpoints, all at once.
pub(super) async fn leave(conn: &Conn, me: i64, leaving: &Leaving) -> Result<()> {
    conn.batch("BEGIN").await?;
    let rows = conn.rows(LEAVE, &[&me, &numbers(&leaving.slots)]).await?;
    let left: SlotSet = rows.iter().map(|row| slot(row, 0)).collect::<Result<_>>()?;
    if !left.is_empty() {
        conn.execute(CLEAR, &[&me, &numbers(&left)]).await?;
        let told = Told::of(me, leaving, &left);
        if !told.endpoints.is_empty() {
            conn.execute(TELL, &[&told.slots, &told.endpoints, &told.full_in, &told.holders]).await?;
        }
        // Last, for this node's heartbeats wait for whoever has changed its row.
        conn.execute(RESIGN, &[&me]).await?;
    }
    conn.batch("COMMIT").await
}

/// Rows of what is left to know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    slots: Vec<i16>,
    endpoints: Vec<Uuid>,
    /// In microseconds from now.
    full_in: Vec<Option<i64>>,
    holders: Vec<i64>,
}

impl Told {
    /// Those of these slots, one for each endpoint, in the order in which all lock them.
    fn of(me: i64, leaving: &Leaving, left: &SlotSet) -> Self {
        let mut told: BTreeMap<(Slot, EndpointId), (Option<i64>, i64)> = BTreeMap::new();
        for (endpoint, full_in) in &leaving.limiters {
            let micros = i64::try_from((*full_in).min(LONGEST).as_micros()).unwrap_or(0);
            told.insert((Slot::of(endpoint.uuid()), *endpoint), (Some(micros), NOBODY));
        }
        for endpoint in &leaving.busy {
            told.entry((Slot::of(endpoint.uuid()), *endpoint)).or_insert((None, NOBODY)).1 = me;
        }
        let mut rows = Told::default();
        for ((slot, endpoint), (full_in, holder)) in told.into_iter().filter(|((slot, _), _)| left.contains(*slot)) {
            rows.slots.push(i16::from(slot.0));
            rows.endpoints.push(endpoint.uuid());
            rows.full_in.push(full_in);
            rows.holders.push(holder);
        }
        rows
    }
}

/// This node has no exchanges with these endpoints any more.
pub(super) async fn free(conn: &Conn, me: i64, endpoints: &[EndpointId]) -> Result<()> {
    let all: BTreeSet<(Slot, EndpointId)> = endpoints.iter().map(|endpoint| (Slot::of(endpoint.uuid()), *endpoint)).collect();
    let (slots, endpoints): (Vec<i16>, Vec<Uuid>) = all.into_iter().map(|(slot, endpoint)| (i16::from(slot.0), endpoint.uuid())).unzip();
    conn.execute(FREE, &[&me, &slots, &endpoints]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(alive: &[i64]) -> BTreeMap<i64, usize> {
        let mut shares = BTreeMap::new();
        for slot in Slot::all() {
            *shares.entry(chosen(slot, alive).expect("somebody")).or_default() += 1;
        }
        shares
    }

    #[test]
    fn slots_are_shared_out_evenly() {
        for first in [1, 2, 1_000, i64::MAX - 20] {
            for nodes in 2..=8 {
                let alive: Vec<i64> = (first..first + nodes).collect();
                let fair = 256.0 / nodes as f64;
                let shares = shares(&alive);
                assert_eq!(shares.len() as i64, nodes);
                for (node, share) in shares {
                    // Four times the deviation that chance has.
                    let off = (share as f64 - fair).abs();
                    assert!(off < 4.0 * fair.sqrt(), "{node} of {alive:?} has {share} of 256");
                }
            }
        }
        assert_eq!(chosen(Slot(7), &[]), None);
        assert_eq!(shares(&[5]).get(&5), Some(&256));
    }

    #[test]
    fn whoever_goes_moves_only_what_was_its_own() {
        let all = [3, 7, 12, 40];
        for gone in all {
            let rest: Vec<i64> = all.into_iter().filter(|node| *node != gone).collect();
            for slot in Slot::all() {
                let before = chosen(slot, &all);
                if before != Some(gone) {
                    assert_eq!(chosen(slot, &rest), before, "{slot:?} without {gone}");
                }
            }
        }
    }

    /// Nodes of different releases must agree.
    #[test]
    fn who_is_chosen_stays_so() {
        let chosen: Vec<_> = [0, 1, 2, 100, 255].map(|slot| chosen(Slot(slot), &[1, 2, 3])).into_iter().flatten().collect();
        assert_eq!(chosen, [3, 3, 1, 1, 2]);
    }

    #[test]
    fn an_endpoint_is_told_of_once_and_only_where_its_slot_was_left() {
        let ids: Vec<EndpointId> = (1..=3).map(|n| EndpointId::new(Uuid::from_u128(n))).collect();
        let slot = |n: usize| Slot::of(ids[n].uuid());
        let second = Duration::from_secs(1);
        let leaving =
            Leaving { slots: SlotSet::ALL, limiters: vec![(ids[0], second), (ids[2], Duration::MAX)], busy: vec![ids[1], ids[0]] };
        let told = Told::of(9, &leaving, &[slot(0), slot(1)].into_iter().collect());
        let row =
            |n: usize| told.endpoints.iter().position(|endpoint| *endpoint == ids[n].uuid()).map(|at| (told.full_in[at], told.holders[at]));
        assert_eq!((row(0), row(1), row(2)), (Some((Some(1_000_000), 9)), Some((None, 9)), None));
        assert_eq!(Told::of(9, &leaving, &SlotSet::default()), Told::default());
    }
}
