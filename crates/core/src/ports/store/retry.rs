//! Deliveries that somebody wants tried again.

use super::Requeued;
use crate::delivery::StateKind;
use crate::id::{DeliveryId, EndpointId};

/// What became of a delivery that is to be tried again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is in the index of due deliveries: pending again if it had ended, or due now if it waited there.
    Queued(Requeued),
    /// An engine has it in memory, in this state as far as the store knows. While it is being sent nothing was changed. One that waits is due
    /// with a fresh budget in the store, for whoever takes over from that engine; the engine itself must be told.
    Held {
        /// The delivery.
        delivery: DeliveryId,
        /// Where it goes.
        endpoint: EndpointId,
        /// How it stands.
        state: StateKind,
    },
    /// Nothing was changed, its dead letter neither: it succeeded, and that was not asked for; it was cancelled, and not by hand; or there is
    /// nobody to send it to, for its subscription or its endpoint is gone. The state is the one that it is in.
    Refused(StateKind),
    /// There is no such delivery.
    NotFound,
}

impl Retried {
    /// The delivery, where it is on its way to its next attempt.
    pub fn waiting(&self) -> Option<DeliveryId> {
        match *self {
            Retried::Queued(again) => Some(again.delivery),
            Retried::Held { delivery, state: StateKind::Pending | StateKind::Retrying, .. } => Some(delivery),
            Retried::Held { .. } | Retried::Refused(_) | Retried::NotFound => None,
        }
    }

    /// Whether nothing comes of it: it is neither on its way nor being sent.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Retried::Refused(_) | Retried::NotFound)
    }
}
