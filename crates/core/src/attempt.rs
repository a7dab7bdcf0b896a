//! Attempts: one HTTP exchange each, and what its outcome means.

use crate::error::{Category, ErrorCode};
use crate::id::{AttemptId, DeliveryId, EndpointId, SubscriptionId};
use crate::ports::{Exchange, Fault, FaultKind};
use crate::retry::MAX_FREE_WAIT;
use crate::subscription::Origin;
use crate::time::Timestamp;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

mod head;
#[cfg(test)]
mod tests;

pub use head::{HeadBlock, MAX_HEAD_BLOCK_BYTES};

/// Longest error message kept with an attempt, in bytes (contract of the Tasks API, section 8.16).
pub const MAX_ERROR_MESSAGE_BYTES: usize = 500;

/// The longest `Retry-After` that is honoured (design, section 2), but for [`MAX_FREE_WAIT`].
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// One HTTP exchange for a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// The delivery it was made for.
    pub delivery: DeliveryId,
    /// That delivery's subscription.
    pub subscription: SubscriptionId,
    /// Where it went.
    pub endpoint: EndpointId,
    /// 1, 2, 3 … over retries and replays of the delivery.
    pub number: u32,
    /// The URL at the time.
    pub target_url: Arc<str>,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended; `None` while it is under way.
    pub outcome: Option<Outcome>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When it ended.
    pub finished_at: Timestamp,
    /// The status that the receiver answered, if it answered.
    pub http_status: Option<u16>,
    /// What went wrong; `None` for a success.
    pub error: Option<AttemptError>,
    /// How long each part took.
    pub phases: Phases,
    /// What was sent, where that differs from the event's payload: its beginning, up to a cap of the engine's. `None` says that the payload
    /// itself was sent, or that nothing was.
    pub request_body: Option<Bytes>,
    /// Whether the request went on after that.
    pub request_truncated: bool,
    /// The beginning of the response body, up to the endpoint's cap.
    pub response_body: Bytes,
    /// Whether the response went on after that.
    pub response_truncated: bool,
    /// The headers of the response. `None` where there was no response, where retention took them with the bodies, and in lists that show
    /// no more than the beginning of these.
    pub response_headers: Option<HeadBlock>,
}

impl Outcome {
    /// Its class.
    pub fn category(&self) -> Category {
        self.error.as_ref().map_or(Category::Success, |error| error.code.category())
    }
}

/// What went wrong with an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// Stable, for programs.
    pub code: ErrorCode,
    /// For people, at most [`MAX_ERROR_MESSAGE_BYTES`].
    pub message: String,
}

/// How long the parts of an exchange took, in microseconds; `None` where it did not come to that, or a kept connection made it unnecessary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Resolving the name.
    pub dns: Option<u32>,
    /// Connecting.
    pub tcp: Option<u32>,
    /// The TLS handshake.
    pub tls: Option<u32>,
    /// From sending the request to the response's head.
    pub first_byte: Option<u32>,
    /// The whole exchange.
    pub total: u32,
}

impl Phases {
    /// From sending the request to having the whole response or the error, in microseconds: [`Phases::total`] without what it took to connect.
    /// 0 where there never was a connection.
    pub fn exchange(&self) -> u32 {
        let connecting = [self.dns, self.tcp, self.tls].into_iter().flatten().fold(0, u32::saturating_add);
        self.total.saturating_sub(connecting)
    }
}

/// What an outcome means for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Success,
    /// Try again, if the policy has attempts left.
    Retry {
        /// Why it failed.
        code: ErrorCode,
        /// How long the receiver asked to wait.
        retry_after: Option<Duration>,
        /// Whether the attempt costs nothing of the policy (RPC contract, 429).
        free: bool,
    },
    /// Trying again cannot help.
    Permanent {
        /// Why it failed.
        code: ErrorCode,
        /// Whether the endpoint must be disabled, with this code as the reason.
        disable: bool,
    },
}

impl Verdict {
    /// The code of a failure.
    pub fn code(&self) -> Option<ErrorCode> {
        match *self {
            Verdict::Success => None,
            Verdict::Retry { code, .. } | Verdict::Permanent { code, .. } => Some(code),
        }
    }
}

/// Judges an exchange by the rules of the API through which the subscription was made. `expected` are the statuses that are a success where
/// these rules let the endpoint say so; every 2xx where it says nothing.
pub fn judge(origin: Origin, expected: &[u16], exchange: &Exchange) -> Verdict {
    match &exchange.result {
        Ok(response) if origin == Origin::Rpc && !expected.is_empty() => {
            if expected.contains(&response.status) {
                return Verdict::Success;
            }
            match judge_status(origin, response.status, response.retry_after) {
                Verdict::Success => Verdict::Permanent { code: ErrorCode::UnexpectedStatus, disable: false },
                failure => failure,
            }
        }
        Ok(response) => judge_status(origin, response.status, response.retry_after),
        Err(fault) => judge_fault(origin, fault),
    }
}

fn judge_status(origin: Origin, status: u16, retry_after: Option<Duration>) -> Verdict {
    let retry_after = retry_after.map(|d| d.min(MAX_RETRY_AFTER));
    let retry = |code| Verdict::Retry { code, retry_after: None, free: false };
    let waits = |code| Verdict::Retry { code, retry_after, free: false };
    let permanent = |code| Verdict::Permanent { code, disable: false };
    let disables = |code| Verdict::Permanent { code, disable: true };
    match (origin, status) {
        (_, 200..=299) => Verdict::Success,
        (_, 410) => disables(ErrorCode::EndpointGone),
        (Origin::Rpc, 429) => {
            Verdict::Retry { code: ErrorCode::RateLimited, retry_after: retry_after.map(|wait| wait.min(MAX_FREE_WAIT)), free: true }
        }
        (_, 429) => waits(ErrorCode::RateLimited),
        (_, 503) => waits(ErrorCode::Connector5xx),
        (_, 500..=599) => retry(ErrorCode::Connector5xx),
        (Origin::Tasks, 300..=399) | (Origin::Items, 300..=399) => retry(ErrorCode::RedirectBlocked),
        (Origin::Tasks, 401 | 403) => retry(ErrorCode::AuthFailed),
        (Origin::Tasks, 400..=499) => retry(ErrorCode::Connector4xx),
        (Origin::Tasks, _) => retry(ErrorCode::UnexpectedStatus),
        (Origin::Items, 401 | 403) => disables(ErrorCode::AuthFailed),
        (Origin::Items, 408 | 425) => waits(ErrorCode::Connector4xx),
        (Origin::Rpc, 401 | 403) => permanent(ErrorCode::AuthFailed),
        (_, 400..=499) => permanent(ErrorCode::Connector4xx),
        (_, _) => permanent(ErrorCode::UnexpectedStatus),
    }
}

fn judge_fault(origin: Origin, fault: &Fault) -> Verdict {
    let code = match fault.kind {
        FaultKind::Dns => ErrorCode::DnsError,
        // One code for both in the contract of the Items API, section 11; the message tells them apart.
        FaultKind::Refused if origin == Origin::Items => ErrorCode::ConnectionError,
        FaultKind::Refused => ErrorCode::ConnectionRefused,
        FaultKind::Reset | FaultKind::Unreachable => ErrorCode::ConnectionError,
        FaultKind::Tls => ErrorCode::TlsError,
        FaultKind::Timeout(_) => ErrorCode::DeliveryTimeout,
        FaultKind::Blocked => ErrorCode::SsrfBlocked,
        FaultKind::Protocol => ErrorCode::ProtocolError,
        FaultKind::Withheld => ErrorCode::Interrupted,
    };
    let permanent = match origin {
        Origin::Tasks => false,
        Origin::Items => code == ErrorCode::SsrfBlocked,
        Origin::Rpc => matches!(code, ErrorCode::SsrfBlocked | ErrorCode::DnsError | ErrorCode::TlsError | ErrorCode::ProtocolError),
    };
    if permanent {
        Verdict::Permanent { code, disable: origin == Origin::Items && code == ErrorCode::SsrfBlocked }
    } else {
        Verdict::Retry { code, retry_after: None, free: false }
    }
}
