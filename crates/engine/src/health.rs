//! Endpoints whose health changes although nothing is sent to them: what is more than a day old does not count any more. Whole hours leave
//! together, so that it is looked for once an hour, as soon as that has begun.

use crate::cluster;
use crate::maintain::UPKEEP_RETRY;
use crate::shared::Shared;
use postrider_core::ports::StoreError;
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Endpoints that are brought up to date in one piece: a few milliseconds of the writer's time.
const SLICE: u32 = 500;

/// Pause between two slices, so that publishers get their turn.
const PAUSE: Duration = Duration::from_millis(20);

const MICROS_PER_HOUR: i64 = 3_600 * 1_000_000;

/// Keeps it so, at start and then every hour.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut due = Instant::now();
    loop {
        let leads = shared.leads();
        if leads && due <= Instant::now() {
            let wait = brought_up_to_date(&shared).await;
            due = Instant::now() + wait;
        }
        // Who has just come to lead looks at once.
        tokio::time::sleep_until(if leads { due } else { Instant::now() + cluster::LOOK }).await;
    }
}

/// Answers when it is to be done again.
async fn brought_up_to_date(shared: &Shared) -> Duration {
    match bring_up_to_date(shared).await {
        Ok(()) => until_next_hour(shared.now()),
        Err(error) => {
            tracing::error!(%error, cause = error.cause, "the health of endpoints cannot be brought up to date for the moment");
            UPKEEP_RETRY
        }
    }
}

async fn bring_up_to_date(shared: &Shared) -> Result<(), StoreError> {
    while shared.store.age_health(shared.now(), SLICE).await? >= SLICE {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn until_next_hour(now: Timestamp) -> Duration {
    Duration::from_micros(MICROS_PER_HOUR.abs_diff(now.as_micros().rem_euclid(MICROS_PER_HOUR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hour_is_a_moment_to_an_hour_away() {
        let from = |micros| until_next_hour(Timestamp::from_micros(micros)).as_micros();
        assert_eq!((from(0), from(1), from(-1), from(MICROS_PER_HOUR * 7 - 1)), (3_600_000_000, 3_599_999_999, 1, 1));
    }
}
