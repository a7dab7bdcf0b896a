//! What a subscription would have got of the newest events.

use crate::Engine;
use postrider_core::event::Event;
use postrider_core::ports::{EventFilter, PageRequest, StoreError};
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Most events that are looked through.
pub const MAX_LOOKED_THROUGH: u32 = 10_000;

/// How many of those that match, and of those that do not, are shown at the most.
pub const MAX_EXAMPLES: usize = 5;

/// What their payloads may sum up to, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// How long a look may take once it has begun.
const LONGEST: Duration = Duration::from_secs(5);

/// How long one waits until others have ended.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Events that are in memory at a time, and their payloads in bytes.
const PIECE: u32 = 500;
const PIECE_BYTES: u64 = 4 << 20;

/// What a look through the newest events has found.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// How many events were looked through.
    pub examined: u32,
    /// How many of them the subscription wants.
    pub matched: u32,
    /// When the oldest of them was accepted; `None` where there was none.
    pub oldest_at: Option<Timestamp>,
    /// The newest of those that it wants, at most [`MAX_EXAMPLES`].
    pub examples: Vec<Arc<Event>>,
    /// The newest of those that it does not want, at most [`MAX_EXAMPLES`].
    pub misses: Vec<Arc<Event>>,
}

impl Looked {
    fn add(&mut self, event: Arc<Event>, is_wanted: bool) {
        self.examined = self.examined.saturating_add(1);
        self.matched = self.matched.saturating_add(u32::from(is_wanted));
        self.oldest_at = Some(event.created_at);
        let shown = if is_wanted { &mut self.examples } else { &mut self.misses };
        if shown.len() < MAX_EXAMPLES {
            shown.push(event);
        }
    }
}

/// Why nothing was looked through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLooked {
    /// Others look, and did not end in time.
    #[error("others are looking through events")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Looks through the newest events of a subscription's namespace, up to `events` of them: which it would have got if it had been active. It need
    /// not be stored. Ends before that where the payloads sum up to 64 MiB, or after 5 s. Two look at a time, and one of a namespace; whoever waits
    /// longer than 10 s for the others is [`NotLooked::Busy`].
    pub async fn look_through(&self, wanted: &Subscription, events: u32) -> Result<Looked, NotLooked> {
        let (shared, namespace) = (&self.shared, wanted.namespace.clone());
        let places = timeout(LONGEST_WAIT, shared.looking.places(namespace.clone())).await.map_err(|_| NotLooked::Busy)?;
        let places = Arc::new(places);
        let wanted = Arc::new(Subscription { active: true, ..wanted.clone() });
        let until = Instant::now() + LONGEST;
        let (most, mut looked) = (events.min(MAX_LOOKED_THROUGH), Looked::default());
        let (mut after, mut bytes) = (None, 0_u64);
        while looked.examined < most && bytes < MAX_BYTES {
            let filter = EventFilter { namespace: Some(namespace.clone()), ..EventFilter::default() };
            let (limit, max_bytes) = ((most - looked.examined).min(PIECE), (MAX_BYTES - bytes).min(PIECE_BYTES));
            let Ok(page) = timeout_at(until, shared.store.page_of_events(filter, PageRequest { after, limit, max_bytes })).await else {
                break;
            };
            let page = page?;
            let events: Vec<Arc<Event>> = page.items.into_iter().map(|row| row.event).collect();
            let Some(judged) = judge(&wanted, events, &places, until).await else { break };
            for (event, is_wanted) in judged {
                bytes = bytes.saturating_add(event.payload.len() as u64);
                looked.add(event, is_wanted);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(looked)
    }
}

/// Holds events against a subscription, beside the runtime's threads; `None` where the time is up. What goes on then keeps its places to its end.
async fn judge<P: Send + Sync + 'static>(
    wanted: &Arc<Subscription>,
    events: Vec<Arc<Event>>,
    places: &Arc<P>,
    until: Instant,
) -> Option<Vec<(Arc<Event>, bool)>> {
    let (wanted, places) = (Arc::clone(wanted), Arc::clone(places));
    let work = move || {
        let _places = places;
        let judge = |event: Arc<Event>| {
            let is_wanted = wanted.wants(&event.event_type, &event.labels, &event.payload);
            (event, is_wanted)
        };
        events.into_iter().map(judge).collect::<Vec<_>>()
    };
    match timeout_at(until, tokio::task::spawn_blocking(work)).await.ok()? {
        Ok(judged) => Some(judged),
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // The runtime goes down.
        Err(_) => None,
    }
}
