//! Numbers over time, and what is late.

use super::MemoryStore;
use super::data::Data;
use postrider_core::event::Namespace;
use postrider_core::ports::*;
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;

impl Data {
    fn add_series(&mut self, deltas: &[SeriesDelta]) {
        for (key, sum) in SeriesDelta::spread(deltas) {
            self.series.entry(key).or_default().add(&sum);
        }
    }

    fn series_of(&self, namespace: Option<Namespace>, step: Step, from: Timestamp, before: Timestamp) -> Vec<(Timestamp, Numbers)> {
        let wanted = |key: &SeriesKey| key.0 == step && key.1 == namespace && key.2 >= from && key.2 < before;
        self.series.iter().filter(|(key, _)| wanted(key)).map(|(key, numbers)| (key.2, numbers.clone())).collect()
    }

    fn forget_series(&mut self, now: Timestamp, limit: u32) -> u64 {
        let is_old = |key: &&SeriesKey| key.2.after(key.0.kept()) <= now;
        let old: Vec<SeriesKey> = self.series.keys().filter(is_old).take(limit as usize).cloned().collect();
        for key in &old {
            self.series.remove(key);
        }
        old.len() as u64
    }

    /// Of several engines beside each other those count that are alive, and of those that follow each other the last one.
    fn most_late(&self, namespace: Option<&Namespace>) -> Option<Late> {
        let is_alive = |engine: u64| !self.is_orphaned(engine, self.newest_incarnation);
        let noted = self.late.iter().filter(|(engine, _)| is_alive(**engine)).flat_map(|(_, late)| late);
        let in_scope = noted.filter(|late| namespace.is_none_or(|namespace| late.namespace == *namespace));
        in_scope.min_by_key(|late| late.due_at).cloned()
    }
}

impl SeriesStore for MemoryStore {
    fn add_series(&self, deltas: Vec<SeriesDelta>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.answer(move |data, _| data.add_series(&deltas))
    }

    fn series(
        &self,
        namespace: Option<Namespace>,
        step: Step,
        from: Timestamp,
        before: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Numbers)>, StoreError>> {
        self.answer(move |data, _| data.series_of(namespace, step, from, before))
    }

    fn forget_series(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.answer(move |data, _| data.forget_series(now, limit))
    }

    fn note_late(&self, late: Vec<Late>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.answer(move |data, me| drop(data.late.insert(me, late)))
    }

    fn most_late(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<Late>, StoreError>> {
        self.answer(move |data, _| data.most_late(namespace.as_ref()))
    }
}
