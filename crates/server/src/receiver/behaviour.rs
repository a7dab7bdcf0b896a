//! What the receiver answers, and when it fails.

use bytes::Bytes;
use http::StatusCode;
use std::time::Duration;

/// Which requests meet the fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Faults {
    /// None.
    Never,
    /// All.
    Always,
    /// The first so many, counted over all senders.
    First(u64),
    /// Each so-manieth: `Every(3)` is the third, the sixth and so on. `Every(0)` is none.
    Every(u64),
    /// This share of them (0 to 1), drawn from a seeded sequence.
    Rate(f64),
}

/// What a request that meets the fault gets instead of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status.
    Status(StatusCode),
    /// No answer, on a connection that stays open.
    Stall,
    /// A TCP reset after the request has been read.
    Reset,
}

/// How a receiver treats its senders.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The status of a request that meets no fault.
    pub answer: StatusCode,
    /// The body of every answer.
    pub body: Bytes,
    /// `Retry-After`, in seconds, of every answer that is not a 2xx.
    pub retry_after: Option<u32>,
    /// How long each answer, reset or refusal waits.
    pub delay: Duration,
    /// Which requests meet the fault.
    pub faults: Faults,
    /// The fault.
    pub fault: Fault,
    /// Where the sequence behind [`Faults::Rate`] starts; the same seed fails the same requests.
    pub seed: u64,
}

impl Default for Behaviour {
    /// Answers 200 at once, always.
    fn default() -> Self {
        Behaviour {
            answer: StatusCode::OK,
            body: Bytes::new(),
            retry_after: None,
            delay: Duration::ZERO,
            faults: Faults::Never,
            fault: Fault::Status(StatusCode::INTERNAL_SERVER_ERROR),
            seed: 1,
        }
    }
}

/// What one request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer with this status.
    Status(StatusCode),
    /// No answer, see [`Fault::Stall`].
    Stall,
    /// A reset, see [`Fault::Reset`].
    Reset,
}

impl Reply {
    /// Whether the sender will count the request as delivered.
    pub fn is_success(self) -> bool {
        matches!(self, Reply::Status(status) if status.is_success())
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Status(status) => write!(f, "{}", status.as_u16()),
            Reply::Stall => f.write_str("stall"),
            Reply::Reset => f.write_str("reset"),
        }
    }
}

/// A behaviour under way: decides request by request.
#[derive(Debug)]
pub struct Script {
    faults: Faults,
    fault: Fault,
    answer: StatusCode,
    rng: fastrand::Rng,
    decided: u64,
}

impl Script {
    /// A script at its beginning.
    pub fn new(behaviour: &Behaviour) -> Self {
        Script {
            faults: behaviour.faults,
            fault: behaviour.fault,
            answer: behaviour.answer,
            rng: fastrand::Rng::with_seed(behaviour.seed),
            decided: 0,
        }
    }

    /// What the next request gets.
    pub fn decide(&mut self) -> Reply {
        self.decided += 1;
        let fails = match self.faults {
            Faults::Never => false,
            Faults::Always => true,
            Faults::First(n) => self.decided <= n,
            Faults::Every(n) => n > 0 && self.decided.is_multiple_of(n),
            Faults::Rate(share) => self.rng.f64() < share,
        };
        match (fails, self.fault) {
            (false, _) => Reply::Status(self.answer),
            (true, Fault::Status(status)) => Reply::Status(status),
            (true, Fault::Stall) => Reply::Stall,
            (true, Fault::Reset) => Reply::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(faults: Faults, requests: usize) -> Vec<usize> {
        let mut script = Script::new(&Behaviour { faults, ..Behaviour::default() });
        (1..=requests).filter(|_| !script.decide().is_success()).collect()
    }

    #[test]
    fn faults_hit_the_requests_they_name() {
        assert!(failures(Faults::Never, 5).is_empty());
        assert_eq!(failures(Faults::Always, 3), [1, 2, 3]);
        assert_eq!(failures(Faults::First(2), 5), [1, 2]);
        assert_eq!(failures(Faults::Every(3), 7), [3, 6]);
        assert!(failures(Faults::Every(0), 3).is_empty());
        assert!(failures(Faults::Rate(0.0), 50).is_empty());
        assert_eq!(failures(Faults::Rate(1.0), 3), [1, 2, 3]);
    }

    #[test]
    fn a_rate_is_about_that_share_and_repeatable() {
        let first = failures(Faults::Rate(0.3), 2_000);
        assert!((500..700).contains(&first.len()), "{} of 2000 failed", first.len());
        assert_eq!(first, failures(Faults::Rate(0.3), 2_000));
    }

    #[test]
    fn the_fault_decides_what_a_failure_is() {
        let reply = |fault| Script::new(&Behaviour { faults: Faults::Always, fault, ..Behaviour::default() }).decide();
        assert_eq!(reply(Fault::Status(StatusCode::GONE)), Reply::Status(StatusCode::GONE));
        assert_eq!(reply(Fault::Stall), Reply::Stall);
        assert_eq!(reply(Fault::Reset), Reply::Reset);
    }
}
