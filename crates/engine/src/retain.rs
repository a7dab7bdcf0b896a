//! Retention: what is past its age goes, what belongs to erased endpoints, and where the store nears its budget more than that.

use crate::cluster;
use crate::maintain::UPKEEP_RETRY;
use crate::room;
use crate::series;
use crate::shared::Shared;
use postrider_core::ports::{PruneRequest, Pruned, REQUEST_MEMORY, StoreError};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Rows removed in one piece: a few milliseconds of the writer's time.
const SLICE: u32 = 1_000;

/// Pause between two slices, so that publishers get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// For so long after it was deleted, somebody who is publishing may still mean to use configuration. A publish takes seconds at most.
pub(crate) const IN_USE: Duration = Duration::from_secs(60);

/// How soon it is looked again for what is left of an erased endpoint: claimed deliveries end within seconds, or when their exchange does.
/// Each time that something is left the next look is twice as late, up to the second of these.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// When what is to be done next. All of it is done by one task: a store sweeps for one purpose at a time.
struct Agenda {
    /// What is too old.
    ages: Instant,
    /// What belongs to erased endpoints, as long as there is some.
    erased: Option<Instant>,
    /// How long after a look for that the next one comes.
    again: Duration,
    /// The store's room, if it is bounded.
    room: Option<Instant>,
    /// Whether there was enough room when it was looked at, or could be made.
    is_roomy: bool,
    /// How long after a look for room the next one comes.
    look: Duration,
    /// When the last one was.
    looked: Option<Instant>,
}

/// Removes what is past its retention, at start and then regularly; what belongs to erased endpoints at once; and what has ended, the oldest
/// first, when the store is nearly full.
pub(crate) async fn run(shared: Arc<Shared>) {
    let now = Instant::now();
    let mut agenda = Agenda { ages: now, erased: None, again: AGAIN.0, room: Some(now), is_roomy: true, look: room::LOOK, looked: None };
    loop {
        let leads = shared.leads();
        if leads {
            agenda.work(&shared).await;
        }
        let next = [agenda.erased, agenda.room].into_iter().flatten().fold(agenda.ages, Instant::min);
        // Who does not lead may come to.
        let next = if leads { next } else { Instant::now() + cluster::LOOK };
        tokio::select! {
            biased;
            () = shared.erased.notified() => (agenda.erased, agenda.again) = (Some(Instant::now()), AGAIN.0),
            // Where nothing could be done about it, being asked more often does not help.
            () = shared.full.notified(), if agenda.is_roomy => agenda.look_at_the_room(&shared),
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

impl Agenda {
    /// There may be too little room: at once, but where others share the store, whose news may be about anything, not all the time.
    fn look_at_the_room(&mut self, shared: &Shared) {
        let now = Instant::now();
        let again = self.looked.filter(|_| shared.store.is_shared()).map_or(now, |at| now.max(at + cluster::LOOK));
        self.room = self.room.map(|room| room.min(again));
    }

    async fn work(&mut self, shared: &Arc<Shared>) {
        let every = shared.config.retention.every;
        if self.ages <= Instant::now() {
            let result = all(shared, by_age(shared)).await;
            self.ages = Instant::now()
                + match &result {
                    Ok(Some(_)) => every,
                    // Whoever leads now does all of it. Should that be this engine again, there is no knowing how far the others came.
                    Ok(None) if !shared.leads() => Duration::ZERO,
                    Ok(None) | Err(_) => UPKEEP_RETRY.min(every),
                };
            self.looked_for_erased(result);
            // What makes room on a full disk comes first.
            series::forget(shared).await;
        } else if self.erased.is_some_and(|at| at <= Instant::now()) {
            let result = all(shared, by_no_age(shared)).await;
            self.looked_for_erased(result);
        }
        if self.room.is_some_and(|at| at <= Instant::now()) {
            let found = room::make(shared, self.is_roomy).await.unwrap_or_else(|error| {
                tracing::error!(%error, cause = error.cause, "no room can be made in the store for the moment");
                Some(false)
            });
            self.is_roomy = found.unwrap_or(true);
            // What could not go now has little chance to be gone soon, and looking at all of it takes its share of the writer.
            self.look = if self.is_roomy { room::LOOK } else { (self.look * 2).min(room::RARELY) };
            self.looked = Some(Instant::now());
            self.room = found.map(|_| Instant::now() + self.look);
        }
    }

    fn looked_for_erased(&mut self, result: Result<Option<Pruned>, StoreError>) {
        let wait = match result {
            Ok(Some(Pruned { erasing: false, .. })) => None,
            Ok(_) => Some(self.again),
            Err(error) => {
                tracing::error!(%error, cause = error.cause, "retention cannot be kept for the moment");
                Some(UPKEEP_RETRY)
            }
        };
        self.again = if wait.is_some() { (self.again * 2).min(AGAIN.1) } else { AGAIN.0 };
        self.erased = wait.map(|wait| Instant::now() + wait);
    }
}

/// Everything that is too old.
fn by_age(shared: &Shared) -> PruneRequest {
    let now = shared.now();
    let keep = shared.config.retention;
    PruneRequest {
        attempts_before: now.before(keep.attempts),
        rows_before: keep.rows.map_or(Timestamp::MIN, |age| now.before(age)),
        bodies_before: now.before(keep.bodies),
        events_before: now.before(keep.events),
        closed_before: now.before(keep.closed),
        requests_before: now.before(REQUEST_MEMORY),
        ..by_no_age(shared)
    }
}

/// Nothing for its age, but what belongs to deleted configuration.
pub(crate) fn by_no_age(shared: &Shared) -> PruneRequest {
    PruneRequest {
        attempts_before: Timestamp::MIN,
        rows_before: Timestamp::MIN,
        bodies_before: Timestamp::MIN,
        events_before: Timestamp::MIN,
        closed_before: Timestamp::MIN,
        requests_before: Timestamp::MIN,
        configuration_before: shared.now().before(IN_USE),
        limit: SLICE,
    }
}

/// Removes slice after slice; answers the last one, and none if that is somebody else's to do by now, or somebody else is still at it.
async fn all(shared: &Arc<Shared>, request: PruneRequest) -> Result<Option<Pruned>, StoreError> {
    loop {
        let pruned = slice(shared, request).await?;
        if pruned.busy {
            return Ok(None);
        }
        if !pruned.more {
            return Ok(Some(pruned));
        }
        if !shared.leads() {
            return Ok(None);
        }
    }
}

/// Removes one slice, and gives publishers their turn if more are to follow.
pub(crate) async fn slice(shared: &Arc<Shared>, request: PruneRequest) -> Result<Pruned, StoreError> {
    let pruned = shared.store.prune(request).await?;
    if pruned.more {
        tracing::debug!(?pruned, "removed a slice of what is past its retention");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(pruned)
}
