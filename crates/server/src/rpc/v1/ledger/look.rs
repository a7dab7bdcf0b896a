//! Looks at the newest deliveries and attempts, for all who watch the same.

use super::filter::Wanted;
use super::list::{PIECE, piece_of};
use super::told::Mark;
use crate::http::{App, Problem};
use crate::rpc::v1::summary::delivery_summary;
use parking_lot::Mutex;
use postrider_core::id::{AttemptId, DeliveryId};
use postrider_core::ports::{AttemptFilter, DeliveryFilter, DeliveryRow, Window};
use postrider_engine::Routes;
use postrider_proto::v1;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// For how long what one has seen is good enough for others.
pub(super) const FRESH: Duration = Duration::from_millis(200);

/// How many look at the same time, at whatever: a look may take a reader of the store for long, and other lists want one too.
const LOOKERS: usize = 2;

/// A delivery as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) id: DeliveryId,
    pub(super) mark: Mark,
    pub(super) summary: v1::DeliverySummary,
}

impl Seen {
    pub(super) fn of(routes: &Routes, row: &DeliveryRow) -> Self {
        Seen { id: row.delivery.id, mark: Mark::of(row), summary: delivery_summary(routes, row) }
    }
}

/// What there was.
#[derive(Debug)]
pub(super) struct Look {
    /// The newest deliveries that are wanted, the newest first.
    pub(super) deliveries: Vec<Seen>,
    /// These, and those between them of events of other types.
    pub(super) on_page: BTreeSet<DeliveryId>,
    /// The last of these, where more follow.
    pub(super) end: Option<DeliveryId>,
    /// The newest attempts, with the delivery of each and whether it had ended.
    pub(super) attempts: Vec<(AttemptId, DeliveryId, bool)>,
}

/// What was seen last, and when. Whoever looks while somebody else does waits for what that one sees.
type Place = tokio::sync::Mutex<Option<(Instant, Arc<Look>)>>;

/// The place of those who want the same, that many of it, for as long as one of them watches.
type Places = BTreeMap<(u32, Arc<Wanted>), Weak<Place>>;

/// The places of those who watch.
pub(super) struct Looks {
    places: Mutex<Places>,
    turns: Arc<Semaphore>,
}

/// Looks for somebody.
pub(super) struct Looker {
    app: Arc<App>,
    wanted: Arc<Wanted>,
    limit: u32,
    place: Arc<Place>,
    turns: Arc<Semaphore>,
}

impl Default for Looks {
    fn default() -> Self {
        Looks { places: Mutex::default(), turns: Arc::new(Semaphore::new(LOOKERS)) }
    }
}

impl Looks {
    /// For a watcher, which shares what it sees with those who want the same.
    pub(super) fn looker(&self, app: &Arc<App>, wanted: &Arc<Wanted>, limit: u32) -> Looker {
        let mut places = self.places.lock();
        let key = (limit, Arc::clone(wanted));
        let known = places.get(&key).and_then(Weak::upgrade);
        let place = known.unwrap_or_else(|| {
            // What those kept who are gone goes with them; what is left is as many as watch.
            places.retain(|_, place| place.strong_count() > 0);
            let place = Arc::new(Place::default());
            places.insert(key, Arc::downgrade(&place));
            place
        });
        Looker { app: Arc::clone(app), wanted: Arc::clone(wanted), limit, place, turns: Arc::clone(&self.turns) }
    }
}

impl Looker {
    /// What there is, or was [a moment](FRESH) ago.
    pub(super) async fn look(&self) -> Result<Arc<Look>, Problem> {
        let mut last = self.place.lock().await;
        if let Some((at, look)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(look));
        }
        // They are never closed.
        let _turn = self.turns.acquire().await;
        let at = Instant::now();
        let look = Arc::new(self.fresh().await?);
        *last = Some((at, Arc::clone(&look)));
        Ok(look)
    }

    async fn fresh(&self) -> Result<Look, Problem> {
        // By the type of its event the store does not narrow them.
        let limit = if self.wanted.event_type.is_some() { PIECE } else { self.limit };
        let page = piece_of(&self.app, &self.wanted.filter, None, limit).await?;
        let DeliveryFilter { namespace, endpoint, subscription, event, .. } = self.wanted.filter.clone();
        let filter = AttemptFilter { namespace, subscription, endpoint, event, ..AttemptFilter::default() };
        let found = self.app.engine.store().find_attempts(filter, Window::first(self.limit)).await.map_err(Problem::of_read)?;
        let routes = self.app.engine.routes();
        let wanted = page.items.iter().filter(|row| self.wanted.has_type(row));
        Ok(Look {
            deliveries: wanted.map(|row| Seen::of(&routes, row)).collect(),
            on_page: page.items.iter().map(|row| row.delivery.id).collect(),
            end: page.next,
            attempts: found.page.items.iter().map(|attempt| (attempt.id, attempt.delivery, attempt.end.is_some())).collect(),
        })
    }
}
