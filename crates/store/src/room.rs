//! The room that a store may take, where it has a budget: who is refused when it runs out, and how much something is going to take.

use postrider_core::ports::{BatchEntries, NewEvent, StoreError, StoreErrorKind};
use postrider_core::schedule::Scheduled;

/// This part of the room is kept for what follows from what was accepted: attempts with their bodies, dead letters, retries, slices of fan-outs.
/// A delivery takes about 1 KiB of it and what its attempts keep of the responses: the head, most often 0.3 to 1 KiB and 4 KiB at the most, and the
/// beginning of the body. So of 1 GiB some 30,000 to 60,000 deliveries can end while nothing new is accepted, and some 8,000 where every receiver
/// answers with as much as is kept. What goes beyond that is stored all the same, for it must be.
const RESERVE_SHARE: u64 = 16;

/// What an event takes besides its payload: its row and its places in indexes, and the rest of a page that a large payload leaves empty.
const EVENT: u64 = 1_024;
const LARGE_PAYLOAD: usize = 2_048;
const REST_OF_A_PAGE: u64 = 4_096;

/// What a label takes besides its own text and that text in an index.
const LABEL: u64 = 64;

/// What a delivery takes, with its places in indexes.
pub(crate) const DELIVERY: u64 = 512;

/// What a small row takes, with its places in indexes: a job, a request, an attempt without bodies.
pub(crate) const ROW: u64 = 512;

/// Up to how much of a store's room new work is accepted, in bytes.
pub(crate) fn accepted(room: u64) -> u64 {
    room - room / RESERVE_SHARE
}

fn payload(bytes: usize) -> u64 {
    bytes as u64 + if bytes > LARGE_PAYLOAD { REST_OF_A_PAGE } else { 0 }
}

/// About what an event with its deliveries takes; rather more than less.
pub(crate) fn event(event: &NewEvent) -> u64 {
    let texts = event.labels.iter().chain(&event.metadata).map(|(name, value)| name.len() + value.len() + 8).sum::<usize>();
    let labels = event.labels.iter().map(|(name, value)| LABEL + (name.len() + value.len()) as u64).sum::<u64>();
    EVENT + payload(event.payload.len()) + texts as u64 + labels + DELIVERY * event.deliveries.len() as u64
}

/// About what an occurrence takes.
pub(crate) fn occurrence(row: &Scheduled) -> u64 {
    EVENT + payload(row.payload.len())
}

/// About what a batch with these entries takes.
pub(crate) fn batch(entries: &BatchEntries) -> u64 {
    ROW + payload(match entries {
        BatchEntries::Events(events) => 8 * events.len(),
        BatchEntries::Deliveries(ids) => 16 * ids.len(),
    })
}

/// The answer to what there is no room for.
pub(crate) fn refusal(wanted: u64, left: u64) -> StoreError {
    let cause = format!("about {wanted} bytes are wanted and {left} are left for new work");
    StoreError { kind: StoreErrorKind::OverBudget, cause }
}
