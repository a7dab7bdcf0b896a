//! Which endpoints have deliveries that should have been attempted a while ago.

use super::Dispatcher;
use super::queue::{Blocked, Queue};
use super::state::State;
use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;

/// Endpoints that are looked at under one lock.
const AT_A_TIME: usize = 1_000;

impl Dispatcher {
    /// Endpoints of this engine with deliveries that wait although they were due by then, each with when the first of them was: of those that are
    /// ready in memory, and of those that only the store has, as far as it is known when they are due. Deliveries to parked endpoints are not late.
    pub(crate) fn late(&self, by: Timestamp) -> Vec<(EndpointId, Timestamp)> {
        // Nearly always there are few of them.
        let waiting = self.state.lock().waiting();
        let mut late = Vec::new();
        for some in waiting.chunks(AT_A_TIME) {
            let state = self.state.lock();
            late.extend(some.iter().filter_map(|endpoint| Some((*endpoint, state.late_since(*endpoint, by)?))));
        }
        late
    }
}

impl State {
    /// Endpoints with deliveries that might be sent.
    fn waiting(&self) -> Vec<EndpointId> {
        let waits = |queue: &Queue| queue.blocked != Blocked::Parked && (!queue.ready.is_empty() || queue.stored_due.is_some());
        self.queues.iter().filter(|(_, queue)| waits(queue)).map(|(endpoint, _)| *endpoint).collect()
    }

    fn late_since(&self, endpoint: EndpointId, by: Timestamp) -> Option<Timestamp> {
        let queue = self.queues.get(&endpoint).filter(|queue| queue.blocked != Blocked::Parked)?;
        if !self.ownership.owns(endpoint) {
            return None;
        }
        let ready = queue.ready.front().and_then(|job| job.delivery.progress.state.due_at());
        // Of what others have told of nobody knows yet since when it is due.
        let stored = queue.stored_due.filter(|due| *due > Timestamp::MIN);
        ready.into_iter().chain(stored).min().filter(|due| *due <= by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::dispatch::Settings;
    use crate::testing::{BEGINNING, endpoint_id, job_for};
    use postrider_core::id::SubscriptionId;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn ready(dispatcher: &Dispatcher, endpoint: EndpointId) {
        let mut state = dispatcher.state.lock();
        let job = job_for(SubscriptionId::new(uuid::Uuid::from_u128(7)), endpoint, 7);
        state.add(endpoint, job.cost());
        state.enqueue(job);
    }

    #[test]
    fn what_waits_past_its_time_is_late_in_memory_and_in_the_store() {
        let dispatcher = Dispatcher::new(Limits::default(), false);
        let [a, b, c] = [1, 2, 3].map(endpoint_id);
        let late = |by| {
            let mut late = dispatcher.late(by);
            late.sort_unstable();
            late
        };
        ready(&dispatcher, a);
        dispatcher.note_stored([b], BEGINNING.after(SECOND));
        dispatcher.note_stored([c], Timestamp::MIN);
        assert!(late(BEGINNING.before(SECOND)).is_empty());
        assert_eq!(late(BEGINNING), [(a, BEGINNING)]);
        assert_eq!(late(BEGINNING.after(SECOND)), [(a, BEGINNING), (b, BEGINNING.after(SECOND))], "nobody knows of the third");
        dispatcher.note_stored([a], BEGINNING.before(SECOND));
        assert_eq!(late(BEGINNING), [(a, BEGINNING.before(SECOND))], "the store has an older one");
        let parked = Settings { parked: true, ..Settings::default() };
        [a, b].iter().for_each(|endpoint| dispatcher.state.lock().configure(*endpoint, parked));
        assert!(late(BEGINNING.after(SECOND)).is_empty(), "they wait for a person");
        dispatcher.state.lock().configure(b, Settings::default());
        assert_eq!(late(BEGINNING.after(SECOND)), [(b, BEGINNING.after(SECOND))]);
    }

    #[test]
    fn what_another_engine_sends_is_not_late_here() {
        let dispatcher = Dispatcher::new(Limits::default(), true);
        dispatcher.note_stored([endpoint_id(1)], BEGINNING);
        assert!(dispatcher.late(BEGINNING.after(SECOND)).is_empty());
    }
}
