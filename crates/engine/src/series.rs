//! What happens, in numbers over time, and what is late.
//!
//! What was stored is counted in memory, a group at a time, and added to the store every two seconds: a crash takes no more than that of the charts
//! with it, and the way of an event pays for no row. What is late is looked for every five seconds, and noted where it has changed.
//!
//! Each event, delivery and outcome is counted by the engine that stored it, once it knows that it is stored: what the store took while its answer was
//! lost is not. Events that the server makes of itself (`delivery.item.*`) are no events here; their deliveries are. What cannot be added waits in
//! memory, within bounds.

use crate::shared::Shared;
use parking_lot::Mutex;
use postrider_core::delivery::StateKind;
use postrider_core::event::Namespace;
use postrider_core::ports::{Late, NewEvent, SeriesDelta, Settled, Settlement, StoreError, StoreErrorKind};
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// How often what happened is added to the store, if anything did.
const FLUSH: Duration = Duration::from_secs(2);

/// So many of the shortest steps wait for a store that does not take them, the newest ones: a minute. While it takes nothing at all, nothing is counted
/// either.
const STEPS: usize = 6;

/// Numbers that wait, of namespaces in steps: some hundred bytes each. What happens in other namespaces meanwhile counts for everything alone.
const ENTRIES: usize = 10_000;

/// How many of them are added in one piece: some milliseconds of the store's writer, between which others come.
const SLICE: usize = 500;

/// How often it is looked for what is late.
const LOOK: Duration = Duration::from_secs(5);

/// So long after its time a delivery is late.
const LATE: Duration = Duration::from_secs(1);

/// Namespaces whose worst is noted, those first in which it is the worst.
const MOST_LATE: usize = 1_000;

/// Numbers forgotten in one piece, and how many pieces at a time: what makes room on a full disk does not wait for longer than that takes.
const FORGET: u32 = 1_000;
const PIECES: usize = 200;

/// Pause between two such pieces, so that publishers get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// What came of a group, by tenant.
#[derive(Debug, Default)]
pub(crate) struct Part(BTreeMap<Namespace, Numbers>);

impl Part {
    fn of(&mut self, namespace: &Namespace) -> &mut Numbers {
        self.0.entry(namespace.clone()).or_default()
    }

    /// An event is stored, with so many deliveries.
    pub(crate) fn event(&mut self, namespace: &Namespace, deliveries: usize) {
        self.of(namespace).events += 1;
        self.deliveries(namespace, deliveries);
    }

    /// Events are stored, each with its deliveries.
    pub(crate) fn events<'a>(&mut self, events: impl IntoIterator<Item = &'a NewEvent>) {
        for event in events {
            self.event(&event.namespace, event.deliveries.len());
        }
    }

    /// So many deliveries are stored of an event that was there.
    pub(crate) fn deliveries(&mut self, namespace: &Namespace, deliveries: usize) {
        self.of(namespace).deliveries += deliveries as u64;
    }

    /// What became of a delivery has its answer from the store. `made_at`: when it was made, if it is to be counted how long it took.
    pub(crate) fn answered(&mut self, settlement: &Settlement, made_at: Option<Timestamp>, how: Settled) {
        match how {
            Settled::Stored => self.settled(settlement, made_at),
            Settled::CalledOff => {
                self.settled(settlement, None);
                self.given_up(&settlement.namespace);
            }
            Settled::Fenced => {}
        }
    }

    fn settled(&mut self, settlement: &Settlement, made_at: Option<Timestamp>) {
        let outcome = settlement.attempt.as_ref().and_then(|attempt| attempt.outcome.as_ref());
        if let Some(outcome) = outcome {
            let numbers = self.of(&settlement.namespace);
            *(if outcome.error.is_none() { &mut numbers.attempts_succeeded } else { &mut numbers.attempts_failed }) += 1;
            if outcome.http_status.is_some() {
                numbers.answered_in.record(outcome.phases.exchange().into());
            }
            if let Some(made_at) = made_at {
                let took = outcome.finished_at.since(made_at).as_micros();
                numbers.delivered_after.record(u64::try_from(took).unwrap_or(u64::MAX));
            }
        }
        if matches!(settlement.progress.state.kind(), StateKind::Failed | StateKind::Expired | StateKind::Cancelled) {
            self.given_up(&settlement.namespace);
        }
        // The event of the server's own that tells of it is none that anybody published.
        if let Some(event) = &settlement.follow_up {
            self.deliveries(&event.namespace, event.deliveries.len());
        }
    }

    /// A delivery ended without success.
    pub(crate) fn given_up(&mut self, namespace: &Namespace) {
        self.of(namespace).given_up += 1;
    }
}

/// What happened and is not in the store yet.
#[derive(Debug, Default)]
pub(crate) struct Series {
    waiting: Mutex<Waiting>,
    /// One adds to the store at a time: what failed is put back before anybody else takes what waits.
    flushing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By the shortest step, and tenant; without one of those that are not told apart.
    steps: BTreeMap<Timestamp, BTreeMap<Option<Namespace>, Numbers>>,
    /// How many numbers that are.
    entries: usize,
}

impl Series {
    /// Counts what came of a group by now.
    pub(crate) fn add(&self, now: Timestamp, part: Part) {
        if part.0.is_empty() {
            return;
        }
        let at = Step::TenSeconds.begin(now);
        let mut waiting = self.waiting.lock();
        for (namespace, numbers) in part.0 {
            waiting.add(at, Some(namespace), numbers);
        }
    }

    fn take(&self) -> Vec<SeriesDelta> {
        let Waiting { steps, .. } = std::mem::take(&mut *self.waiting.lock());
        let of_step = |(at, of): (Timestamp, BTreeMap<Option<Namespace>, Numbers>)| {
            of.into_iter().map(move |(namespace, numbers)| SeriesDelta { namespace, at, numbers })
        };
        steps.into_iter().flat_map(of_step).collect()
    }

    fn put_back(&self, deltas: Vec<SeriesDelta>) {
        let mut waiting = self.waiting.lock();
        for SeriesDelta { namespace, at, numbers } in deltas {
            waiting.add(at, namespace, numbers);
        }
    }
}

impl Waiting {
    fn add(&mut self, at: Timestamp, namespace: Option<Namespace>, numbers: Numbers) {
        if numbers.is_empty() {
            return;
        }
        let step = self.steps.entry(at).or_default();
        let has_place = self.entries < ENTRIES || step.contains_key(&namespace);
        match step.entry(namespace.filter(|_| has_place)) {
            Entry::Occupied(mut there) => there.get_mut().add(&numbers),
            Entry::Vacant(place) => {
                place.insert(numbers);
                self.entries += 1;
            }
        }
        while self.steps.len() > STEPS
            && let Some((_, gone)) = self.steps.pop_first()
        {
            self.entries -= gone.len();
            tracing::warn!("charts will lack ten seconds: the store has not taken their numbers for a minute");
        }
    }
}

/// Adds what happened to the store every two seconds.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut is_failing = false;
    loop {
        tokio::time::sleep(FLUSH).await;
        let flushed = flush(&shared).await;
        if let Err(error) = flushed.as_ref()
            && !is_failing
        {
            tracing::warn!(%error, cause = error.cause, "the numbers for charts cannot be stored for the moment: they wait in memory");
        }
        is_failing = flushed.is_err();
    }
}

/// Adds what happened so far to the store, piece by piece.
pub(crate) async fn flush(shared: &Shared) -> Result<(), StoreError> {
    let series = &shared.series;
    let _one = series.flushing.lock().await;
    let mut deltas = series.take();
    while !deltas.is_empty() {
        let rest = deltas.split_off(deltas.len().min(SLICE));
        if let Err(error) = shared.store.add_series(deltas.clone()).await {
            // Where nobody knows whether they were added they are let go: rather too little than the same twice.
            if error.kind != StoreErrorKind::Unknown {
                series.put_back(deltas);
            }
            series.put_back(rest);
            return Err(error);
        }
        deltas = rest;
    }
    Ok(())
}

/// Forgets what has been kept for long enough, for all engines, as long as that is this one's to do: so many pieces, and what is left the next time.
pub(crate) async fn forget(shared: &Shared) {
    for _ in 0..PIECES {
        if !shared.leads() || shared.is_stopping() {
            return;
        }
        match shared.store.forget_series(shared.now(), FORGET).await {
            Ok(forgotten) if forgotten >= u64::from(FORGET) => tokio::time::sleep(PAUSE).await,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, cause = error.cause, "old numbers of charts are not forgotten for the moment");
                return;
            }
        }
    }
}

/// Notes what is late, where that has changed.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut noted = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let late = late(&shared);
        if late == noted {
            continue;
        }
        match shared.store.note_late(late.clone()).await {
            Ok(()) => noted = late,
            Err(error) => tracing::debug!(%error, cause = error.cause, "what is late cannot be noted for the moment"),
        }
    }
}

/// The worst of each namespace.
fn late(shared: &Shared) -> Vec<Late> {
    let routes = shared.routes.load();
    let mut worst: BTreeMap<Namespace, Late> = BTreeMap::new();
    for (endpoint, due_at) in shared.dispatcher.late(shared.now().before(LATE)) {
        // What waits for one that is gone is not sent: it only has to be ended.
        let Some(known) = routes.endpoint(endpoint) else { continue };
        let namespace = known.namespace.clone();
        let late = Late { namespace: namespace.clone(), endpoint, due_at };
        let there = worst.entry(namespace).or_insert_with(|| late.clone());
        if (late.due_at, late.endpoint) < (there.due_at, there.endpoint) {
            *there = late;
        }
    }
    let mut worst: Vec<Late> = worst.into_values().collect();
    if worst.len() > MOST_LATE {
        worst.sort_by_key(|late| (late.due_at, late.endpoint));
        worst.truncate(MOST_LATE);
        worst.sort();
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(n: usize) -> Namespace {
        Namespace::new(&format!("n{n}")).expect("a name by the rule")
    }

    fn part(namespaces: std::ops::Range<usize>) -> Part {
        let mut part = Part::default();
        namespaces.for_each(|n| part.event(&named(n), 2));
        part
    }

    fn events(deltas: &[SeriesDelta]) -> u64 {
        deltas.iter().map(|delta| delta.numbers.events).sum()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + secs)
    }

    #[test]
    fn what_happens_is_told_apart_by_step_and_tenant() {
        let series = Series::default();
        for secs in [1, 9, 10, 19, 2] {
            series.add(at(secs), part(0..2));
        }
        let deltas = series.take();
        let found: Vec<_> = deltas.iter().map(|d| (d.at, d.namespace.clone(), d.numbers.events, d.numbers.deliveries)).collect();
        let expected = [(0, 0, 3), (0, 1, 3), (10, 0, 2), (10, 1, 2)];
        assert_eq!(found, expected.map(|(secs, n, events)| (at(secs), Some(named(n)), events, 2 * events)));
        assert!(series.take().is_empty());
        series.put_back(deltas);
        series.add(at(3), part(1..2));
        assert_eq!(series.take().iter().map(|d| d.numbers.events).collect::<Vec<_>>(), [3, 4, 2, 2]);
    }

    /// A store that takes nothing for long, and tenants without end: what waits stays within its bounds, and the newest is there.
    #[test]
    fn what_waits_is_bounded() {
        let series = Series::default();
        for secs in (0..100).step_by(10) {
            series.add(at(secs), part(0..10));
        }
        let deltas = series.take();
        assert_eq!((deltas.len(), deltas.first().map(|delta| delta.at)), (10 * STEPS, Some(at(40))));

        series.add(at(0), part(0..ENTRIES));
        series.add(at(10), part(ENTRIES - 5..ENTRIES + 5));
        series.add(at(0), part(0..5));
        let waiting = series.waiting.lock().entries;
        assert_eq!(waiting, ENTRIES + 1);
        let deltas = series.take();
        assert_eq!((deltas.len(), events(&deltas)), (ENTRIES + 1, ENTRIES as u64 + 15), "none is lost");
        let (nameless, named): (Vec<_>, Vec<_>) = deltas.into_iter().partition(|delta| delta.namespace.is_none());
        assert_eq!((events(&nameless), nameless[0].at), (10, at(10)));
        assert_eq!(named.iter().filter(|delta| delta.numbers.events == 2).count(), 5, "who has a place is counted there");
        assert_eq!(series.waiting.lock().entries, 0);
    }
}
