//! How much room everything takes that is stored, and who is refused when it runs out.
//!
//! There are no files to look at: every writer counts what it stores and removes (see `tallies.rs`). That sum is read about once a second, and
//! what was promised since is added to it; nothing is refused without a look at the sum itself.

use super::conn::Conn;
use super::error::Result;
use super::rows::get;
use super::tallies::BYTES;
use crate::room::{self, accepted, refusal};
use parking_lot::Mutex;
use postrider_core::ports::{StoreError, Usage};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// What an event takes besides its payload and its texts.
pub(super) const EVENT: i64 = 1_024;

/// What a delivery takes.
pub(super) const DELIVERY: i64 = room::DELIVERY as i64;

/// What a small row takes: an attempt without bodies, a dead letter.
pub(super) const ROW: i64 = room::ROW as i64;

/// For how long a measure holds.
const HOLDS: Duration = Duration::from_secs(1);

/// The room that there is for new work.
#[derive(Debug)]
pub(super) struct Room {
    budget: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was promised, ever.
    taken: u64,
    measured: Option<Measured>,
}

/// What was used, at a time.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    used: u64,
    /// [`State::taken`] before it was measured: what was promised later may not be in it yet.
    taken: u64,
}

impl Room {
    /// With this budget, or without one.
    pub(super) fn new(budget: Option<u64>) -> Self {
        Room { budget, state: Mutex::default() }
    }

    /// How much new work there may be at all, in bytes; `None` is any.
    pub(super) fn most(&self) -> Option<u64> {
        self.budget.map(accepted)
    }

    /// Takes room for new work of about so many bytes; the answer to give if there is none.
    pub(super) async fn take(&self, conn: &Conn, bytes: u64) -> Result<std::result::Result<(), StoreError>> {
        let Some(budget) = self.budget else { return Ok(Ok(())) };
        if self.take_of_measured(bytes, Instant::now()) {
            return Ok(Ok(()));
        }
        let (at, taken) = (Instant::now(), self.state.lock().taken);
        let used = used(conn).await?;
        let mut state = self.state.lock();
        state.measured = Some(Measured { at, used, taken });
        let left = state.left(budget);
        if bytes > left {
            return Ok(Err(refusal(bytes, left)));
        }
        state.taken += bytes;
        Ok(Ok(()))
    }

    /// Takes it if there is enough by the last measure, and that still holds: then nobody has to be asked.
    pub(super) fn take_of_measured(&self, bytes: u64, now: Instant) -> bool {
        let Some(budget) = self.budget else { return true };
        let mut state = self.state.lock();
        let holds = state.measured.is_some_and(|measured| now.duration_since(measured.at) < HOLDS);
        let fits = holds && bytes <= state.left(budget);
        if fits {
            state.taken += bytes;
        }
        fits
    }

    /// How much is taken, and of how much.
    pub(super) async fn usage(&self, conn: &Conn) -> Result<Usage> {
        Ok(Usage { used_bytes: used(conn).await?, budget_bytes: self.budget })
    }
}

impl State {
    /// What is left for new work by the last measure; nothing without one.
    fn left(&self, budget: u64) -> u64 {
        let Some(measured) = self.measured else { return 0 };
        accepted(budget).saturating_sub(measured.used).saturating_sub(self.taken - measured.taken)
    }
}

/// The bytes of everything that is stored.
async fn used(conn: &Conn) -> Result<u64> {
    let sql = "SELECT coalesce(sum(n), 0)::int8 FROM tallies WHERE namespace = '' AND subscription = $1 AND endpoint = $1 AND kind = $2 \
               AND code = ''";
    let sum: i64 = get(&conn.only(sql, &[&Uuid::nil(), &BYTES]).await?, 0)?;
    Ok(u64::try_from(sum).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(room: &Room, at: Instant, used: u64) {
        let mut state = room.state.lock();
        state.measured = Some(Measured { at, used, taken: state.taken });
    }

    #[test]
    fn what_was_promised_since_counts_until_it_is_measured() {
        let (room, now) = (Room::new(Some(1_600)), Instant::now());
        assert!(!room.take_of_measured(1, now), "nothing is known");
        measured(&room, now, 1_000);
        // A sixteenth is kept for what follows.
        assert!(room.take_of_measured(400, now) && !room.take_of_measured(101, now));
        assert!(room.take_of_measured(100, now) && !room.take_of_measured(1, now));
        measured(&room, now, 1_450);
        assert!(room.take_of_measured(50, now));
        measured(&room, now, 0);
        assert!(!room.take_of_measured(1, now + HOLDS), "it does not hold any more");
    }
}
