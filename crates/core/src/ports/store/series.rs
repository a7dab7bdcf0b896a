//! Numbers over time, of all engines together, and what is late.

use super::StoreError;
use crate::event::Namespace;
use crate::id::EndpointId;
use crate::ports::BoxFuture;
use crate::series::{Numbers, Step};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// What happened in a namespace, to be added to what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesDelta {
    /// The tenant; `None` for several that are not told apart: then the numbers are added to those of everything alone.
    pub namespace: Option<Namespace>,
    /// When it happened: at any instant of the shortest step.
    pub at: Timestamp,
    /// What happened.
    pub numbers: Numbers,
}

/// Which numbers are kept: those of a step of this length, of a namespace or of everything (`None`), by when the step began.
pub type SeriesKey = (Step, Option<Namespace>, Timestamp);

impl SeriesDelta {
    /// What these come to: what is to be added to which of the numbers that are kept.
    pub fn spread(deltas: &[SeriesDelta]) -> BTreeMap<SeriesKey, Numbers> {
        let mut sums: BTreeMap<SeriesKey, Numbers> = BTreeMap::new();
        for SeriesDelta { namespace, at, numbers } in deltas {
            for step in Step::ALL {
                let begin = step.begin(*at);
                sums.entry((step, None, begin)).or_default().add(numbers);
                if namespace.is_some() {
                    sums.entry((step, namespace.clone(), begin)).or_default().add(numbers);
                }
            }
        }
        sums
    }
}

/// A delivery that should have been attempted a while ago.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Late {
    /// The tenant.
    pub namespace: Namespace,
    /// Where it goes.
    pub endpoint: EndpointId,
    /// When its attempt was due.
    pub due_at: Timestamp,
}

/// Keeps [`Numbers`] by [`Step`]s of time, for each namespace and for everything, and what each engine has to say about what is late.
///
/// Engines add what they saw every few seconds, so that one that dies takes no more than that with it. Nothing is counted for a read.
pub trait SeriesStore: Send + Sync + 'static {
    /// Adds to the numbers of each step, of the namespaces and of everything, in one piece. It may wait a moment for company. Never refused for
    /// want of a budget.
    fn add_series(&self, deltas: Vec<SeriesDelta>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The numbers of the steps that began from then on and before that, ascending; of one namespace if given, and of everything otherwise. Only
    /// those in which something happened. Costs what it answers.
    fn series(
        &self,
        namespace: Option<Namespace>,
        step: Step,
        from: Timestamp,
        before: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Numbers)>, StoreError>>;

    /// Forgets up to `limit` numbers of steps that began [longer ago](Step::kept) than they are kept; answers how many. As many as the limit says
    /// that there may be more.
    fn forget_series(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// What is late as this engine sees it, each endpoint once, in place of all that it noted before.
    fn note_late(&self, late: Vec<Late>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Of what engines noted that are alive, in this namespace if one is given: what should have been attempted the longest ago.
    fn most_late(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<Late>, StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_is_added_to_every_step_of_its_namespace_and_of_everything() {
        let (everything, acme) = (None, Namespace::new("acme").ok());
        let at = Timestamp::from_secs(1_700_000_005);
        let delta = |namespace: &Option<Namespace>, events| SeriesDelta {
            namespace: namespace.clone(),
            at,
            numbers: Numbers { events, ..Numbers::default() },
        };
        let sums = SeriesDelta::spread(&[delta(&acme, 3), delta(&everything, 4), delta(&acme, 5)]);
        let events: Vec<_> =
            sums.iter().map(|((step, namespace, begin), sum)| (*step, namespace, at.since(*begin).as_secs(), sum.events)).collect();
        let expected: Vec<_> = [(Step::TenSeconds, 5), (Step::TwoMinutes, 85), (Step::Hour, 805)]
            .into_iter()
            .flat_map(|(step, since)| [(step, &everything, since, 12), (step, &acme, since, 8)])
            .collect();
        assert_eq!(events, expected);
    }
}
