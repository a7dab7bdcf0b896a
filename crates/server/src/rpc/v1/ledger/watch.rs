//! The live stream of deliveries: the newest ones at first, then what is new or changed.
//!
//! A watcher looks at the store a few times a second, as somebody would who asks for the list again and again, and tells what differs from what it
//! has told. So it sees what every node does, and what is too much for it costs nobody anything: it is counted and not told.

use super::filter::{Wanted, wanted};
use super::list::{PIECE, page_of, piece_of};
use super::look::{Look, Looker, Looks, Seen};
use super::places::{Watchers, Watching};
use super::told::Told;
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::timestamp;
use crate::rpc::v1::summary::long;
use connectrpc::ConnectError;
use futures_util::stream;
use postrider_core::id::{AttemptId, DeliveryId, KeyId};
use postrider_core::ports::{DeliveryRow, MAX_DELIVERY_KEYS};
use postrider_proto::service::{Answer, Stream};
use postrider_proto::v1;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// How many deliveries come at a time where the request does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Most deliveries that come at a time.
const MAX_LIMIT: u32 = 500;

/// How often the store is looked at. What was looked up is never older than what was told before: this is longer than looks are
/// [fresh](super::look::FRESH).
const TICK: Duration = Duration::from_millis(250);

/// How often once nothing has changed for [`LIVELY`].
const QUIET_TICK: Duration = Duration::from_secs(1);
const LIVELY: Duration = Duration::from_secs(5);

/// After how long a message without anything new comes.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// After how long a watcher has to call again.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How many deliveries that are not among the newest are looked up at a time, in one read: each of those that are told for the first time may have to
/// be told as ended, too.
const MAX_LOOKUPS: usize = 200;

/// Of how many parts of its time a watcher looks in one: where the store takes long it is looked at less often.
const REST: u32 = 4;

/// How far those are counted that were too fast: so many keys, at first so many at a time and then twice as many each time; or so many pages, where a
/// key does not tell what is wanted.
const MAX_PASSED_KEYS: usize = 20_000;
const FIRST_KEYS: u32 = 200;
const MAX_PASSED_PAGES: usize = 4;

const _: () = assert!(TICK.as_millis() > super::look::FRESH.as_millis());

/// Begins to watch.
pub(super) async fn watch(
    app: &Arc<App>,
    (places, looks): (&Arc<Watchers>, &Looks),
    access: &Access,
    request: &v1::WatchDeliveriesRequest,
) -> Answer<Stream<v1::WatchDeliveriesResponse>> {
    let limit = match u32::try_from(request.limit) {
        Ok(0) => DEFAULT_LIMIT,
        Ok(limit) if limit <= MAX_LIMIT => limit,
        _ => return Err(Problem::bad_request(format!("limit: 1 to {MAX_LIMIT}")).into()),
    };
    let wanted = wanted(app, access, &request.filter).await?;
    let wanted = wanted.ok_or_else(|| Problem::not_found("there is no such namespace or event to be watched"))?;
    let place = places.place(access).map_err(ConnectError::resource_exhausted)?;
    let (wanted, begun) = (Arc::new(wanted), Instant::now());
    let watcher = Watcher {
        app: Arc::clone(app),
        looker: looks.looker(app, &wanted, limit),
        wanted,
        limit,
        key: access.key,
        told: Told::new(limit as usize),
        attempts: BTreeMap::new(),
        newest: None,
        look_at: begun,
        ends_at: begun + LONGEST,
        changed_at: begun,
        sent_at: None,
        _place: place,
    };
    let begin = Some((watcher, app.stopping.clone()));
    Ok(Box::pin(stream::unfold(begin, |state| async move {
        let (mut watcher, mut stopping) = state?;
        let next = tokio::select! {
            biased;
            () = stopped(&mut stopping) => Err(ConnectError::unavailable("the server is stopping: watch again in a moment")),
            next = watcher.next() => next,
        };
        match next {
            Ok(Some(message)) => Some((Ok(message), Some((watcher, stopping)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })))
}

/// Ends when the server stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Whoever would tell is gone at the latest then.
    _ = stopping.wait_for(|stopping| *stopping).await;
}

struct Watcher {
    app: Arc<App>,
    looker: Looker,
    wanted: Arc<Wanted>,
    limit: u32,
    key: Option<KeyId>,
    told: Told,
    /// The newest attempts that were there at the last look, and whether each had ended.
    attempts: BTreeMap<AttemptId, bool>,
    /// The newest delivery by then; `None` before the first look.
    newest: Option<DeliveryId>,
    look_at: Instant,
    ends_at: Instant,
    changed_at: Instant,
    sent_at: Option<Instant>,
    _place: Watching,
}

/// What is told, the newest first, and how many deliveries were too fast.
type News = (Vec<v1::DeliverySummary>, u64);

impl Watcher {
    /// The next message, once there is something to tell or it is time for a sign of life; `None` when the time is over.
    async fn next(&mut self) -> Answer<Option<v1::WatchDeliveriesResponse>> {
        loop {
            sleep_until(self.look_at).await;
            self.check_key()?;
            if Instant::now() >= self.ends_at {
                return Ok(None);
            }
            let begun = Instant::now();
            let (changed, passed) = match self.newest {
                None => self.first().await?,
                Some(newest) => self.news(newest).await?,
            };
            let (now, is_news) = (Instant::now(), !changed.is_empty() || passed > 0);
            if is_news {
                self.changed_at = now;
            }
            let pause = if now - self.changed_at < LIVELY { TICK } else { QUIET_TICK };
            self.look_at = now + pause.max((now - begun).saturating_mul(REST).min(HEARTBEAT));
            if is_news || self.sent_at.is_none_or(|sent_at| now - sent_at >= HEARTBEAT) {
                self.sent_at = Some(now);
                let at = timestamp(self.app.engine.now()).into();
                return Ok(Some(v1::WatchDeliveriesResponse { changed, passed: long(passed), at }));
            }
        }
    }

    /// What was shown when the watcher came may be worth nothing any more.
    fn check_key(&self) -> Answer<()> {
        let (routes, now) = (self.app.engine.routes(), self.app.engine.now());
        let is_valid = |id| routes.key(id).is_some_and(|key| key.is_valid(now));
        if self.key.is_none_or(is_valid) { Ok(()) } else { Err(ConnectError::unauthenticated("the API key was revoked or has expired")) }
    }

    /// The newest deliveries. What happens from then on is told beside them.
    async fn first(&mut self) -> Result<News, Problem> {
        let look = self.looker.look().await?;
        self.attempts = look.attempts.iter().map(|(id, _, has_ended)| (*id, *has_ended)).collect();
        let page = page_of(&self.app, &self.wanted, None, self.limit).await?;
        self.newest = Some(page.items.first().map_or(DeliveryId::new(Uuid::nil()), |row| row.delivery.id));
        let routes = self.app.engine.routes();
        let mut changed = Vec::with_capacity(page.items.len());
        for seen in page.items.iter().map(|row| Seen::of(&routes, row)) {
            self.told.note(seen.id, seen.mark, true);
            changed.push(seen.summary);
        }
        Ok((changed, 0))
    }

    /// What differs from what was told.
    async fn news(&mut self, newest: DeliveryId) -> Result<News, Problem> {
        let look = self.looker.look().await?;
        let passed = match look.end {
            Some(end) if end > newest => self.passed(end, newest).await?,
            _ => 0,
        };
        self.newest = self.newest.max(look.on_page.last().copied());
        let mut changed = BTreeMap::new();
        for seen in &look.deliveries {
            if self.told.note(seen.id, seen.mark, true) {
                changed.insert(Reverse(seen.id), seen.summary.clone());
            }
        }
        let others = self.others(&look);
        let found = self.deliveries(&others).await?;
        let routes = self.app.engine.routes();
        for id in others {
            let Some(row) = found.get(&id) else {
                self.told.forget(id);
                continue;
            };
            let (seen, is_wanted) = (Seen::of(&routes, row), self.wanted.has(row));
            if self.told.note(id, seen.mark, is_wanted) {
                changed.insert(Reverse(id), seen.summary);
            }
        }
        Ok((changed.into_values().collect(), passed))
    }

    /// How many deliveries there are between these two that are wanted, as far as they are counted.
    async fn passed(&self, before: DeliveryId, newest: DeliveryId) -> Result<u64, Problem> {
        let (mut after, mut count) = (before, 0);
        if !self.wanted.is_told_by_keys() {
            for _ in 0..MAX_PASSED_PAGES {
                let page = piece_of(&self.app, &self.wanted.filter, Some(after), PIECE).await?;
                let between = page.items.iter().take_while(|row| row.delivery.id > newest);
                count += between.filter(|row| self.wanted.has_type(row)).count() as u64;
                match page.next {
                    Some(next) if next > newest => after = next,
                    _ => break,
                }
            }
            return Ok(count);
        }
        let (routes, namespace) = (self.app.engine.routes(), &self.wanted.filter.namespace);
        let (mut piece, mut looked_at) = (FIRST_KEYS, 0);
        while looked_at < MAX_PASSED_KEYS {
            let keys = self.app.engine.store().delivery_keys(namespace.clone(), Some(after), piece).await.map_err(Problem::of_read)?;
            looked_at += keys.len();
            let between = keys.iter().take_while(|key| key.id > newest);
            count += between.filter(|key| self.wanted.has_key(&routes, key)).count() as u64;
            match keys.last() {
                Some(last) if last.id > newest && keys.len() == piece as usize => after = last.id,
                _ => break,
            }
            piece = (2 * piece).min(MAX_DELIVERY_KEYS);
        }
        Ok(count)
    }

    /// Deliveries beside those on the page of which there may be something to tell: those that have left it, what was told as going on, and older ones
    /// of which an attempt has begun or ended. Those that the watcher has seen come first: what it shows must not stay as it was.
    fn others(&mut self, look: &Look) -> BTreeSet<DeliveryId> {
        let mut others = BTreeSet::new();
        if self.wanted.may_lose() {
            others.extend(self.told.lost(&look.on_page, look.end, MAX_LOOKUPS));
        }
        let room = MAX_LOOKUPS.saturating_sub(others.len());
        others.extend(self.told.open(&look.on_page, self.app.engine.now(), room));
        let is_news =
            |(id, of, has_ended): &&(AttemptId, DeliveryId, bool)| self.attempts.get(id) != Some(has_ended) && !look.on_page.contains(of);
        let (known, unknown): (Vec<(AttemptId, DeliveryId, bool)>, Vec<_>) =
            look.attempts.iter().filter(is_news).partition(|(_, of, _)| self.told.has(*of));
        let mut left = BTreeSet::new();
        for (id, of, _) in known.into_iter().chain(unknown) {
            if others.len() < MAX_LOOKUPS || others.contains(&of) {
                others.insert(of);
            } else {
                // It is news the next time too.
                left.insert(id);
            }
        }
        let seen = look.attempts.iter().filter(|(id, ..)| !left.contains(id));
        self.attempts = seen.map(|(id, _, has_ended)| (*id, *has_ended)).collect();
        others
    }

    /// Those of these deliveries that are there, as a list shows them: in one read, however many they are.
    async fn deliveries(&self, of: &BTreeSet<DeliveryId>) -> Result<BTreeMap<DeliveryId, DeliveryRow>, Problem> {
        if of.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (ids, namespace) = (of.iter().copied().collect(), self.wanted.filter.namespace.clone());
        let found = self.app.engine.store().deliveries_by_id(ids, namespace).await.map_err(Problem::of_read)?;
        Ok(found.into_iter().map(|row| (row.delivery.id, row)).collect())
    }
}
