//! A webhook receiver for `listen`, `demo` and tests: it takes HTTP/1.1 requests, checks their signatures, tells what came and
//! answers as it was told to, which includes failing, stalling and resetting.
//!
//! It knows the wire and nothing of the server that sends: `bench` has a lighter one of its own.
//!
//! | module | is |
//! |---|---|
//! | [`behaviour`] | what to answer, and when to fail |
//! | [`signatures`] | which signatures a request carries and whether they verify |
//! | [`forward`] | passing requests on to somebody else |
//! | [`record`] | one received request, and whether it came before |
//! | [`serve`] | the listener and its connections |

pub mod behaviour;
pub mod forward;
pub mod record;
pub mod serve;
pub mod signatures;

#[cfg(test)]
mod tests;

pub use behaviour::{Behaviour, Fault, Faults, Reply};
pub use forward::{Forward, Passed};
pub use record::Received;
pub use serve::{Receiver, Settings};
pub use signatures::{Finding, Verdict, Verifier};
