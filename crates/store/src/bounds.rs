//! How much work gathers before it is written, and for how long. The same for every database that writes in groups.

use std::time::Duration;

/// How much may wait, in units of weight (about one row, or one page of payload, each). Callers beyond it wait for room, so that memory stays bounded.
pub(crate) const MAX_WAITING: u32 = 16_384;

/// How much goes into one transaction. More gains nothing and makes everybody in the group wait longer.
pub(crate) const MAX_GROUP: u32 = 4_096;

/// How long patient work waits for company at most.
pub(crate) const LINGER: Duration = Duration::from_millis(2);
