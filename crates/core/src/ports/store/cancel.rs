//! Deliveries that somebody calls off.

use super::Settlement;
use crate::delivery::{StateKind, Step, transition};
use crate::error::ErrorCode;
use crate::id::EndpointId;

/// What became of a delivery that was to be called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has ended, and is never sent again by itself. It went to this endpoint.
    AtOnce(EndpointId),
    /// An engine has it in hand: an attempt is under way, or may be. It ends after that, unless it succeeds.
    AfterAttempt,
    /// It had ended before, and nothing was changed. The state is the one that it is in.
    Ended(StateKind),
    /// There is no such delivery.
    NotFound,
}

impl Settlement {
    /// What is stored instead of it where somebody wants the delivery called off: it does not wait, it has ended. `None` where it does not leave it
    /// waiting: what is being sent, and what has ended, is not called off.
    pub fn called_off(&self) -> Option<Settlement> {
        let progress = transition(self.progress, Step::Cancel(ErrorCode::CancelledByHand)).ok()?;
        Some(Settlement { progress, keep_claim: false, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{Progress, State};
    use crate::event::Namespace;
    use crate::id::{DeliveryId, SubscriptionId};
    use crate::time::Timestamp;
    use uuid::Uuid;

    #[test]
    fn only_what_would_wait_is_called_off() {
        let due_at = Timestamp::from_secs(5);
        let settlement = |state| Settlement {
            delivery: DeliveryId::new(Uuid::from_u128(1)),
            namespace: Namespace::default_namespace(),
            subscription: SubscriptionId::new(Uuid::from_u128(2)),
            from: StateKind::Pending,
            progress: Progress { state, attempts: 3, spent: 2, expires_at: Some(due_at) },
            attempt: None,
            attempt_recorded: false,
            keep_claim: true,
            dead_letter: None,
            follow_up: None,
        };
        for state in [State::Pending { due_at }, State::Retrying { due_at }] {
            let ended = settlement(state).called_off().expect("it would wait");
            let progress = Progress { state: State::Cancelled(ErrorCode::CancelledByHand), ..settlement(state).progress };
            assert_eq!((ended.progress, ended.keep_claim, ended.from), (progress, false, StateKind::Pending));
        }
        let ended = [State::Succeeded, State::Failed(ErrorCode::DnsError), State::Expired, State::Cancelled(ErrorCode::EndpointDeleted)];
        for state in ended.into_iter().chain([State::Sending]) {
            assert!(settlement(state).called_off().is_none(), "{state:?}");
        }
    }
}
