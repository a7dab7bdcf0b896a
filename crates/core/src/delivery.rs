//! Deliveries: one event for one subscription, and the one function that decides what becomes of it.

use crate::attempt::Verdict;
use crate::error::ErrorCode;
use crate::event::Namespace;
use crate::id::{DeliveryId, EndpointId, EventSeq, SubscriptionId};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// One event for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event it carries.
    pub event: EventSeq,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// Why it exists.
    pub subscription: SubscriptionId,
    /// Where it goes.
    pub endpoint: EndpointId,
    /// How far it is.
    pub progress: Progress,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its newest attempt began.
    pub last_attempt_at: Option<Timestamp>,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// Attempts begun so far, over retries and replays: the newest attempt's number.
    pub attempts: u32,
    /// How many of the policy's attempts are used up; a replay starts this anew.
    pub spent: u32,
    /// When it is no longer worth making.
    pub expires_at: Option<Timestamp>,
}

/// Where a delivery stands. A waiting one always says until when, an ended one why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No attempt of this round yet.
    Pending {
        /// When the first attempt is due.
        due_at: Timestamp,
    },
    /// An exchange is under way.
    Sending,
    /// The last attempt failed, another follows.
    Retrying {
        /// When it is due.
        due_at: Timestamp,
    },
    /// The receiver took it.
    Succeeded,
    /// Given up.
    Failed(ErrorCode),
    /// Its time to live ran out first.
    Expired,
    /// Ended without the receiver: its endpoint or subscription was deleted, or a person called it off.
    Cancelled(ErrorCode),
}

/// [`State`] without what comes with it: what counters count and stores index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StateKind {
    /// See [`State::Pending`].
    Pending = 0,
    /// See [`State::Sending`].
    Sending = 1,
    /// See [`State::Retrying`].
    Retrying = 2,
    /// See [`State::Succeeded`].
    Succeeded = 3,
    /// See [`State::Failed`].
    Failed = 4,
    /// See [`State::Expired`].
    Expired = 5,
    /// See [`State::Cancelled`].
    Cancelled = 6,
}

impl StateKind {
    /// Every kind, in the order of its number.
    pub const ALL: [StateKind; 7] = [
        StateKind::Pending,
        StateKind::Sending,
        StateKind::Retrying,
        StateKind::Succeeded,
        StateKind::Failed,
        StateKind::Expired,
        StateKind::Cancelled,
    ];

    /// The kind with this number.
    pub fn from_number(n: u8) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }

    /// Whether nothing more happens by itself.
    pub fn is_resting(self) -> bool {
        self >= StateKind::Succeeded
    }
}

impl State {
    /// The kind of this state.
    pub fn kind(&self) -> StateKind {
        match self {
            State::Pending { .. } => StateKind::Pending,
            State::Sending => StateKind::Sending,
            State::Retrying { .. } => StateKind::Retrying,
            State::Succeeded => StateKind::Succeeded,
            State::Failed(_) => StateKind::Failed,
            State::Expired => StateKind::Expired,
            State::Cancelled(_) => StateKind::Cancelled,
        }
    }

    /// When the next attempt is due, if one is.
    pub fn due_at(&self) -> Option<Timestamp> {
        match *self {
            State::Pending { due_at } | State::Retrying { due_at } => Some(due_at),
            _ => None,
        }
    }

    /// Why it ended, if it ended without success.
    pub fn reason(&self) -> Option<ErrorCode> {
        match *self {
            State::Failed(code) | State::Cancelled(code) => Some(code),
            State::Expired => Some(ErrorCode::Expired),
            _ => None,
        }
    }

    /// Puts a stored state together again; `None` if the parts do not belong together.
    pub fn from_parts(kind: StateKind, due_at: Option<Timestamp>, reason: Option<ErrorCode>) -> Option<Self> {
        Some(match kind {
            StateKind::Pending => State::Pending { due_at: due_at? },
            StateKind::Retrying => State::Retrying { due_at: due_at? },
            StateKind::Sending => State::Sending,
            StateKind::Succeeded => State::Succeeded,
            StateKind::Failed => State::Failed(reason?),
            StateKind::Expired => State::Expired,
            StateKind::Cancelled => State::Cancelled(reason?),
        })
    }
}

/// What happens to a delivery.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// An exchange begins.
    Start,
    /// The exchange ended at `at` and was judged.
    Finish {
        /// When it ended; gaps count from here.
        at: Timestamp,
        /// What it means.
        verdict: &'a Verdict,
        /// How hard to try.
        policy: &'a RetryPolicy,
        /// Where the jitter comes from.
        seed: u64,
    },
    /// The process ended during the exchange; nobody knows how it went. Costs no attempt of the policy.
    Interrupt {
        /// When that was found.
        at: Timestamp,
    },
    /// The time to live ran out.
    Expire,
    /// The delivery ends without the receiver.
    Cancel(ErrorCode),
    /// The delivery is given up without another attempt: it waited too long for its endpoint.
    GiveUp(ErrorCode),
    /// A person does not want to wait for the next attempt: it is due at once, with a fresh budget of attempts and no time to live, as after
    /// a replay.
    Hasten {
        /// When.
        at: Timestamp,
    },
    /// A person wants it made again: a fresh budget of attempts and no time to live.
    Replay {
        /// When.
        at: Timestamp,
    },
}

impl Step<'_> {
    fn name(&self) -> &'static str {
        match self {
            Step::Start => "start",
            Step::Finish { .. } => "finish",
            Step::Interrupt { .. } => "interrupt",
            Step::Expire => "expire",
            Step::Cancel(_) => "cancel",
            Step::GiveUp(_) => "give up",
            Step::Hasten { .. } => "hasten",
            Step::Replay { .. } => "replay",
        }
    }
}

/// A step that does not apply to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {from:?} cannot {step}")]
pub struct Refused {
    /// The state it is in.
    pub from: StateKind,
    /// The step that was tried.
    pub step: &'static str,
}

impl Progress {
    /// A delivery that was just made.
    pub fn new(due_at: Timestamp, expires_at: Option<Timestamp>) -> Self {
        Progress { state: State::Pending { due_at }, attempts: 0, spent: 0, expires_at }
    }

    /// How many attempts have ended that its budget of now does not count: those of rounds before this one, and those that cost nothing.
    pub fn uncounted(&self) -> u32 {
        self.attempts.saturating_sub(self.spent).saturating_sub(u32::from(self.state == State::Sending))
    }

    /// Whether its time to live has run out at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Decides every change of every delivery.
pub fn transition(from: Progress, step: Step<'_>) -> Result<Progress, Refused> {
    let refused = Err(Refused { from: from.state.kind(), step: step.name() });
    let waiting = from.state.due_at().is_some();
    let to = |state| Ok(Progress { state, ..from });
    match step {
        Step::Start if waiting => Ok(Progress { state: State::Sending, attempts: from.attempts.saturating_add(1), ..from }),
        Step::Finish { at, verdict, policy, seed } if from.state == State::Sending => Ok(finish(from, at, verdict, policy, seed)),
        Step::Interrupt { at } if from.state == State::Sending => to(State::Retrying { due_at: at }),
        Step::Expire if waiting => to(State::Expired),
        Step::Cancel(code) if waiting => to(State::Cancelled(code)),
        Step::GiveUp(code) if waiting => to(State::Failed(code)),
        Step::Hasten { at } => {
            let state = match from.state {
                State::Pending { due_at } => State::Pending { due_at: due_at.min(at) },
                State::Retrying { due_at } => State::Retrying { due_at: due_at.min(at) },
                _ => return refused,
            };
            Ok(Progress { state, attempts: from.attempts, spent: 0, expires_at: None })
        }
        Step::Replay { at } if from.state.kind().is_resting() => {
            Ok(Progress { state: State::Pending { due_at: at }, attempts: from.attempts, spent: 0, expires_at: None })
        }
        _ => refused,
    }
}

fn finish(from: Progress, at: Timestamp, verdict: &Verdict, policy: &RetryPolicy, seed: u64) -> Progress {
    match *verdict {
        Verdict::Success => Progress { state: State::Succeeded, spent: from.spent.saturating_add(1), ..from },
        Verdict::Permanent { code, .. } => Progress { state: State::Failed(code), spent: from.spent.saturating_add(1), ..from },
        Verdict::Retry { code, retry_after, free } => {
            let spent = from.spent.saturating_add(u32::from(!free));
            if spent >= policy.max_attempts {
                return Progress { state: State::Failed(code), spent, ..from };
            }
            let gap = if free {
                retry_after.unwrap_or(crate::retry::DEFAULT_FREE_WAIT)
            } else {
                policy.gap(spent, seed).max(retry_after.unwrap_or_default())
            };
            // Never later than the end of its life: that is when it must be seen to expire.
            let due_at = at.after(gap).min(from.expires_at.unwrap_or(Timestamp::MAX));
            Progress { state: State::Retrying { due_at }, spent, ..from }
        }
    }
}
