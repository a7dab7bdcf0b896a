//! What came of a delivery, as it is stored, and what follows from it.

use crate::dispatch::InFlight;
use crate::job::Job;
use crate::meta;
use crate::send::Sent;
use crate::shared::Shared;
use postrider_core::attempt::{Attempt, AttemptError, Outcome, Phases, Verdict};
use postrider_core::delivery::{Progress, State, StateKind, Step, transition};
use postrider_core::error::ErrorCode;
use postrider_core::id::{DeadLetterId, EndpointId};
use postrider_core::ports::{NewDeadLetter, Settled, Settlement};
use postrider_core::retry::jitter_seed;
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Why a delivery expired, for people.
const EXPIRED: &str = "its time to live ran out before it could be delivered";

/// Why an attempt was broken off by a server that goes on, for people.
const CUT_OFF: &str = "the server could not reach its database during this attempt, and other nodes may have taken over";

/// How long after its event a delivery is made at the most: what is made later is made again, by a person. Later slices of a fan-out that takes longer
/// are taken for that too.
const MADE_WITH_EVENT: Duration = Duration::from_secs(60);

/// After how long a delivery is looked at again of which nobody could say where it leads.
const HELD: Duration = Duration::from_secs(1);

/// What follows once an outcome is stored.
pub(crate) enum After {
    Nothing,
    /// The delivery rests.
    LetGo {
        endpoint: EndpointId,
        bytes: usize,
    },
    /// The delivery waits in the store.
    Stored {
        endpoint: EndpointId,
        bytes: usize,
        due: Timestamp,
    },
    /// The delivery waits in memory for its retry.
    Wait(Box<Job>),
}

/// An outcome and what follows from it.
pub(crate) struct Entry {
    pub(super) settlement: Settlement,
    pub(super) after: After,
    /// When the delivery was made, where it is to be counted how long it took.
    pub(super) made_at: Option<Timestamp>,
}

impl After {
    /// What follows if it was not stored because somebody else has the delivery now, or it is gone, or if it was called off: here it is only
    /// forgotten.
    pub(super) fn given(self, settled: Settled) -> After {
        match (self, settled) {
            (after, Settled::Stored) => after,
            (After::Nothing, _) => After::Nothing,
            (After::LetGo { endpoint, bytes } | After::Stored { endpoint, bytes, .. }, _) => After::LetGo { endpoint, bytes },
            (After::Wait(job), _) => After::LetGo { endpoint: job.delivery.endpoint, bytes: job.cost() },
        }
    }
}

impl Entry {
    /// What came of a worker's turn.
    pub(crate) fn sent(shared: &Shared, job: Job, sent: Sent) -> Self {
        match sent {
            Sent::Attempted { attempt, verdict, .. } => attempted(shared, job, attempt, &verdict),
            Sent::Expired => Entry::expired(shared, job),
            Sent::Cancelled(code) => cancelled(job, code),
            Sent::Parked | Sent::Withheld => Entry::back(job),
            Sent::Held => Entry::held(job, shared.now().after(HELD)),
            Sent::CutOff(attempt) => Entry::cut_off(job, *attempt, shared.now()),
        }
    }

    /// A delivery goes back to the store as it is.
    pub(crate) fn back(job: Job) -> Self {
        let progress = job.delivery.progress;
        let after =
            After::Stored { endpoint: job.delivery.endpoint, bytes: job.cost(), due: progress.state.due_at().unwrap_or(Timestamp::MIN) };
        Entry { settlement: settlement(&job, progress, None), after, made_at: None }
    }

    /// A delivery goes back to the store and is looked at again then: others of its endpoint are not to wait behind it.
    fn held(mut job: Job, until: Timestamp) -> Self {
        let progress = &mut job.delivery.progress;
        progress.state = match progress.state {
            State::Pending { due_at } => State::Pending { due_at: due_at.max(until) },
            State::Retrying { due_at } => State::Retrying { due_at: due_at.max(until) },
            other => other,
        };
        Entry::back(job)
    }

    /// A delivery that waited for longer than it was worth making.
    pub(crate) fn expired(shared: &Shared, job: Job) -> Self {
        ended(shared, job, Step::Expire, EXPIRED)
    }

    /// A delivery that waited too long for its endpoint, or for longer than it was worth making.
    pub(crate) fn given_up(shared: &Shared, job: Job) -> Self {
        if job.delivery.progress.is_expired(shared.now()) {
            return Entry::expired(shared, job);
        }
        ended(shared, job, Step::GiveUp(ErrorCode::DestinationDisabled), "its endpoint stayed disabled for too long")
    }

    /// An attempt that nobody saw the end of: the delivery goes on at once, by way of the store.
    pub(crate) fn interrupted(job: Job, attempt: Option<Attempt>, recorded: bool, at: Timestamp) -> Self {
        let attempt = attempt.map(|attempt| Attempt {
            outcome: Some(Outcome {
                // The clock may have been set back since it began.
                finished_at: at.max(attempt.started_at),
                http_status: None,
                error: Some(AttemptError { code: ErrorCode::Interrupted, message: "the server ended during this attempt".to_owned() }),
                phases: Phases::default(),
                request_body: None,
                request_truncated: false,
                response_body: bytes::Bytes::new(),
                response_truncated: false,
                response_headers: None,
            }),
            ..attempt
        });
        let started = transition(job.delivery.progress, Step::Start).unwrap_or(job.delivery.progress);
        let progress = transition(started, Step::Interrupt { at }).unwrap_or(started);
        let mut settlement = settlement(&job, progress, attempt);
        settlement.attempt_recorded = recorded;
        if recorded {
            settlement.from = StateKind::Sending;
        }
        let after = After::Stored { endpoint: job.delivery.endpoint, bytes: job.cost(), due: at };
        Entry { settlement, after, made_at: None }
    }

    /// An attempt that this engine broke off, for others may have taken over. Whether it was recorded as under way is said when it lands.
    fn cut_off(job: Job, attempt: Attempt, at: Timestamp) -> Self {
        let mut entry = Entry::interrupted(job, Some(attempt), false, at);
        let outcome = entry.settlement.attempt.as_mut().and_then(|attempt| attempt.outcome.as_mut());
        if let Some(error) = outcome.and_then(|outcome| outcome.error.as_mut()) {
            CUT_OFF.clone_into(&mut error.message);
        }
        entry
    }

    /// An exchange takes its time: people shall see that it is under way, and a crash shall leave its trace.
    pub(super) fn started(shared: &Shared, flight: &InFlight) -> Option<Self> {
        let delivery = &flight.job.delivery;
        let routes = shared.routes.load();
        let route = routes.route_of_queued(delivery, &shared.config.user_agent)?;
        let progress = transition(delivery.progress, Step::Start).ok()?;
        let mut settlement = settlement(&flight.job, progress, Some(flight.attempt(Arc::clone(&route.url))));
        settlement.keep_claim = true;
        Some(Entry { settlement, after: After::Nothing, made_at: None })
    }

    /// How many rows it stores, about.
    pub(super) fn weight(&self) -> usize {
        1 + self.settlement.follow_up.as_ref().map_or(0, |event| 1 + event.deliveries.len())
    }

    /// Told under the dispatcher's lock whether the attempt was recorded as under way.
    pub(crate) fn landed(&mut self, recorded: bool) {
        if recorded {
            self.settlement.from = StateKind::Sending;
            self.settlement.attempt_recorded = true;
        }
    }
}

fn settlement(job: &Job, progress: Progress, attempt: Option<Attempt>) -> Settlement {
    Settlement {
        delivery: job.delivery.id,
        namespace: job.delivery.namespace.clone(),
        subscription: job.delivery.subscription,
        from: job.stored,
        progress,
        attempt,
        attempt_recorded: false,
        keep_claim: false,
        dead_letter: None,
        follow_up: None,
    }
}

fn attempted(shared: &Shared, mut job: Job, attempt: Attempt, verdict: &Verdict) -> Entry {
    // A gap counts from now where the clock was set back since the attempt began.
    let at = attempt.outcome.as_ref().map_or(attempt.started_at, |o| o.finished_at).min(shared.now());
    let routes = shared.routes.load();
    let before = job.delivery.progress;
    let progress = transition(before, Step::Start).and_then(|started| {
        let route = routes.route_of_queued(&job.delivery, &shared.config.user_agent);
        let seed = jitter_seed(shared.config.seed, job.delivery.id, started.attempts);
        match route {
            Some(route) => transition(started, Step::Finish { at, verdict, policy: &route.subscription.retry, seed }),
            // Deleted meanwhile: a success still counts, anything else is tried once more at once, which cancels it.
            None if *verdict == Verdict::Success => Ok(Progress { state: State::Succeeded, ..started }),
            None => transition(started, Step::Interrupt { at }),
        }
    });
    if let Verdict::Permanent { code, disable: true } = *verdict {
        shared.disable(job.delivery.endpoint, code);
    }
    // A job is only ever sent from a waiting state, so both steps apply; if one did not, the delivery would go back as it was.
    let Ok(progress) = progress else {
        return Entry::back(job);
    };
    let mut settlement = settlement(&job, progress, None);
    let error = attempt.outcome.as_ref().and_then(|o| o.error.as_ref());
    settlement.dead_letter = dead_letter(shared, &progress, error.map(|e| e.message.as_str()), at);
    settlement.follow_up = meta::follow_up(shared, &routes, &job, &progress, Some(&attempt));
    job.delivery.last_attempt_at = Some(attempt.started_at);
    settlement.attempt = Some(attempt);
    // What somebody made again was made long ago: how long it took says nothing of the server or of the receiver.
    let is_new = job.delivery.created_at.since(job.event.created_at) < MADE_WITH_EVENT;
    let is_plain = progress.state == State::Succeeded && progress.uncounted() == 0 && is_new;
    let made_at = is_plain.then_some(job.delivery.created_at);
    let (endpoint, bytes) = (job.delivery.endpoint, job.cost());
    let after = match progress.state.due_at() {
        None => After::LetGo { endpoint, bytes },
        Some(due) if shared.dispatcher.keeps(endpoint, due, at) => {
            settlement.keep_claim = true;
            job.delivery.progress = progress;
            job.stored = progress.state.kind();
            After::Wait(Box::new(job))
        }
        Some(due) => After::Stored { endpoint, bytes, due },
    };
    Entry { settlement, after, made_at }
}

/// A delivery ends without an exchange because nobody wants it any more. It leaves no dead letter.
fn cancelled(job: Job, code: ErrorCode) -> Entry {
    match transition(job.delivery.progress, Step::Cancel(code)) {
        Ok(progress) => resting(&job, progress),
        Err(_) => Entry::back(job),
    }
}

/// A delivery ends without an exchange; `message` tells people why.
fn ended(shared: &Shared, job: Job, step: Step<'_>, message: &str) -> Entry {
    let Ok(progress) = transition(job.delivery.progress, step) else {
        return Entry::back(job);
    };
    let mut entry = resting(&job, progress);
    entry.settlement.dead_letter = dead_letter(shared, &progress, Some(message), shared.now());
    entry.settlement.follow_up = meta::follow_up(shared, &shared.routes.load(), &job, &progress, None);
    entry
}

fn resting(job: &Job, progress: Progress) -> Entry {
    let after = After::LetGo { endpoint: job.delivery.endpoint, bytes: job.cost() };
    Entry { settlement: settlement(job, progress, None), after, made_at: None }
}

/// A delivery that ends without success leaves a dead letter; a cancelled one does not, for somebody wanted it so.
fn dead_letter(shared: &Shared, progress: &Progress, message: Option<&str>, at: Timestamp) -> Option<NewDeadLetter> {
    let code = match progress.state {
        State::Failed(code) => code,
        State::Expired => ErrorCode::Expired,
        _ => return None,
    };
    let message = message.unwrap_or(code.as_str()).to_owned();
    Some(NewDeadLetter { id: DeadLetterId::new(shared.new_id()), code, message, at })
}
