//! One sorted list out of several.
//!
//! An index lists what has one namespace (or subscription) and one outcome in order. A list of more than that is put together of several
//! such runs, of which only the beginnings are read.

use rusqlite::Result;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How many entries of a run are read in one go.
const MIN_CHUNK: usize = 8;
const MAX_CHUNK: usize = 1_024;

/// A run of which some entries are in memory.
struct Run<K> {
    read: VecDeque<K>,
    /// The last entry that was read from the index.
    last: Option<K>,
    /// How many to read next.
    chunk: usize,
    /// Whether the index has no more.
    ended: bool,
}

/// The first `skip + limit` entries of all runs together, without the first `skip`, and whether more follow.
///
/// `fetch` answers up to that many entries of a run that come after an entry, or its first ones. `beside` is one more run, whole and sorted.
pub(super) fn merge<K: Ord + Clone>(
    runs: usize,
    beside: Vec<K>,
    (skip, limit): (u32, u32),
    mut fetch: impl FnMut(usize, Option<&K>, usize) -> Result<Vec<K>>,
) -> Result<(Vec<K>, bool)> {
    let (skip, limit) = (skip as usize, limit as usize);
    let first = ((skip + limit) / runs.max(1)).clamp(MIN_CHUNK, MAX_CHUNK);
    let fresh = |_| Run { read: VecDeque::new(), last: None, chunk: first, ended: false };
    let mut all: Vec<Run<K>> = (0..runs).map(fresh).collect();
    all.push(Run { read: beside.into(), last: None, chunk: 0, ended: true });
    let mut heads = BinaryHeap::with_capacity(all.len());
    for (n, run) in all.iter_mut().enumerate() {
        heads.extend(run.next(|after, chunk| fetch(n, after, chunk))?.map(|key| Reverse((key, n))));
    }
    let (mut passed, mut taken) = (0, Vec::new());
    while let Some(Reverse((key, n))) = heads.pop() {
        if passed >= skip && taken.len() >= limit {
            return Ok((taken, true));
        }
        if passed < skip {
            passed += 1;
        } else {
            taken.push(key);
        }
        heads.extend(all[n].next(|after, chunk| fetch(n, after, chunk))?.map(|key| Reverse((key, n))));
    }
    Ok((taken, false))
}

impl<K: Clone> Run<K> {
    fn next(&mut self, fetch: impl FnOnce(Option<&K>, usize) -> Result<Vec<K>>) -> Result<Option<K>> {
        if self.read.is_empty() && !self.ended {
            self.read = fetch(self.last.as_ref(), self.chunk)?.into();
            self.ended = self.read.len() < self.chunk;
            self.last = self.read.back().cloned();
            // A run that is read to its end is worth larger steps.
            self.chunk = (self.chunk * 4).min(MAX_CHUNK);
        }
        Ok(self.read.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(runs: &[Vec<u16>], beside: &[u16], skip: u32, limit: u32) -> (Vec<u16>, bool) {
        let fetch = |n: usize, after: Option<&u16>, count: usize| {
            let rest = runs[n].iter().copied().filter(|key| after.is_none_or(|after| key > after));
            Ok(rest.take(count).collect())
        };
        merge(runs.len(), beside.to_vec(), (skip, limit), fetch).expect("nothing here fails")
    }

    proptest! {
        #[test]
        fn it_is_what_sorting_everything_gives(
            keys in prop::collection::btree_map(any::<u16>(), 0usize..5, 0..200),
            skip in 0u32..150,
            limit in 0u32..150,
        ) {
            let mut runs = vec![Vec::new(); 5];
            keys.iter().for_each(|(key, run)| runs[*run].push(*key));
            let beside = runs.pop().expect("five");
            let all: Vec<u16> = keys.keys().copied().collect();
            let rest = &all[all.len().min(skip as usize)..];
            let expected = (rest[..rest.len().min(limit as usize)].to_vec(), rest.len() > limit as usize);
            prop_assert_eq!(merged(&runs, &beside, skip, limit), expected);
        }
    }

    #[test]
    fn only_the_beginnings_are_read() {
        let mut read = 0;
        let fetch = |n: usize, after: Option<&usize>, count: usize| {
            let from = after.map_or(n, |last| last + 10);
            read += count;
            Ok((0..count).map(|i| from + 10 * i).collect())
        };
        let (taken, more) = merge(10, Vec::new(), (0, 20), fetch).expect("nothing here fails");
        assert_eq!((taken, more), ((0..20).collect(), true));
        assert_eq!(read, 10 * MIN_CHUNK, "runs without an end");
    }
}
