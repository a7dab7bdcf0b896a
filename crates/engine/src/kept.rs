//! What is made of texts, kept while it is used and forgotten where there is no room: templates and schemas take many times the memory of
//! their texts, and there can be as many of these as tenants write.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What was made of the texts that were asked for last, within a bound on memory.
pub(crate) struct Kept<T> {
    /// Most memory that all of it may take, in bytes.
    most: usize,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    by_text: HashMap<Arc<str>, Entry<T>>,
    /// The texts in the order in which they were last asked for.
    by_use: BTreeMap<u64, Arc<str>>,
    /// How often something was asked for.
    uses: u64,
    /// What all of it takes.
    bytes: usize,
}

struct Entry<T> {
    made: T,
    bytes: usize,
    used: u64,
}

impl<T: Clone> Kept<T> {
    pub(crate) fn new(most: usize) -> Self {
        Kept { most, inner: Mutex::new(Inner { by_text: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0 }) }
    }

    /// What was made of a text; what is not there is made, and kept if it is no error. `memory` tells what it takes, in bytes. Two who ask for
    /// the same at once may both make it.
    pub(crate) fn get<E>(&self, text: &Arc<str>, make: impl FnOnce() -> Result<T, E>, memory: impl FnOnce(&T) -> usize) -> Result<T, E> {
        if let Some(made) = self.inner.lock().find(text) {
            return Ok(made);
        }
        // Without the lock, for it can take its time.
        let made = make()?;
        // Its text may be kept by nobody else.
        let bytes = memory(&made).saturating_add(text.len());
        if bytes <= self.most {
            self.inner.lock().keep(text, made.clone(), bytes, self.most);
        }
        Ok(made)
    }

    /// How many are kept, and what they take, in bytes.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.by_text.len(), inner.bytes)
    }
}

impl<T: Clone> Inner<T> {
    fn find(&mut self, text: &Arc<str>) -> Option<T> {
        let entry = self.by_text.get_mut(text)?;
        self.uses += 1;
        let text = self.by_use.remove(&entry.used)?;
        entry.used = self.uses;
        self.by_use.insert(self.uses, text);
        Some(entry.made.clone())
    }

    fn keep(&mut self, text: &Arc<str>, made: T, bytes: usize, most: usize) {
        self.forget(text);
        while self.bytes.saturating_add(bytes) > most
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            let oldest = Arc::clone(oldest);
            self.forget(&oldest);
        }
        self.uses += 1;
        self.bytes += bytes;
        self.by_use.insert(self.uses, Arc::clone(text));
        self.by_text.insert(Arc::clone(text), Entry { made, bytes, used: self.uses });
    }

    fn forget(&mut self, text: &Arc<str>) {
        if let Some(entry) = self.by_text.remove(text) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;

    #[test]
    fn what_was_asked_for_last_is_kept_within_the_bound() {
        let (kept, made) = (Kept::new(300), Cell::new(0));
        let text = |name: &str| Arc::<str>::from(name.repeat(10));
        let get = |name: &str| {
            let make = || {
                made.set(made.get() + 1);
                Ok::<_, Infallible>(name.to_owned())
            };
            let Ok(got) = kept.get(&text(name), make, |_| 90);
            assert_eq!(got, name);
            made.get()
        };
        // Another one of the same text is the same.
        assert_eq!([get("a"), get("a"), get("b"), get("c")], [1, 1, 2, 3]);
        assert_eq!(kept.size(), (3, 300));
        // `b` was not asked for the longest.
        assert_eq!([get("a"), get("d"), get("a"), get("c"), get("b")], [3, 4, 4, 4, 5]);
        assert_eq!(kept.size(), (3, 300));
        for n in 0..1_000 {
            get(&n.to_string());
            assert!(kept.size().1 <= 300);
        }
    }

    #[test]
    fn what_is_too_large_or_no_good_is_not_kept() {
        let kept = Kept::<u8>::new(300);
        let text = Arc::<str>::from("text");
        assert_eq!(kept.get(&text, || Ok::<_, u8>(1), |_| 297), Ok(1));
        assert_eq!(kept.size(), (0, 0));
        assert_eq!(kept.get(&text, || Err(2), |_| 1), Err(2));
        assert_eq!(kept.size(), (0, 0));
        assert_eq!(kept.get(&text, || Ok::<_, u8>(3), |_| 296), Ok(3));
        assert_eq!((kept.get(&text, || Err(4), |_| 1), kept.size()), (Ok(3), (1, 300)));
    }
}
