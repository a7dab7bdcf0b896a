//! How it did over time.

use crate::http::{App, Problem};
use crate::rpc::access::timestamp;
use crate::rpc::v1::summary::long;
use postrider_core::event::Namespace;
use postrider_core::series::{Histogram, Numbers, Step};
use postrider_core::time::Timestamp;
use postrider_proto::v1;
use std::time::Duration;

/// The shortest and the longest range, in seconds: a minute and 92 days.
const RANGES: std::ops::RangeInclusive<u64> = 60..=92 * 86_400;

/// How a namespace did, or everything, for so many seconds until now.
pub(super) async fn of(app: &App, of: Option<Namespace>, range_seconds: i32) -> Result<v1::GetSeriesResponse, Problem> {
    let range = u64::try_from(range_seconds).ok().filter(|range| RANGES.contains(range));
    let message = || format!("range_seconds: {} to {}", RANGES.start(), RANGES.end());
    let range = Duration::from_secs(range.ok_or_else(|| Problem::bad_request(message()))?);
    let (step, now) = (step_of(range), app.engine.now());
    let (first, last) = (step.begin(now.before(range)), step.begin(now));
    let stored = app.engine.store().series(of, step, first, last.after(step.length())).await.map_err(Problem::of_read)?;
    let mut total = Numbers::default();
    stored.iter().for_each(|(_, numbers)| total.add(numbers));
    Ok(v1::GetSeriesResponse {
        step_seconds: i32::try_from(step.length().as_secs()).unwrap_or(i32::MAX),
        points: points(&stored, step, (first, last)),
        total: point(first, &total).into(),
    })
}

/// The shortest steps that are kept for as long as the range goes back.
fn step_of(range: Duration) -> Step {
    let reaches = |step: &Step| range <= step.kept().saturating_sub(step.length());
    Step::ALL.into_iter().find(reaches).unwrap_or(Step::Hour)
}

/// Every step from the first to the last one, whether or not something happened in it.
fn points(stored: &[(Timestamp, Numbers)], step: Step, (first, last): (Timestamp, Timestamp)) -> Vec<v1::SeriesPoint> {
    let (mut points, mut at, nothing) = (Vec::new(), first, Numbers::default());
    let mut stored = stored.iter().peekable();
    while at <= last {
        let numbers = stored.next_if(|(begin, _)| *begin <= at).map_or(&nothing, |(_, numbers)| numbers);
        points.push(point(at, numbers));
        at = at.after(step.length());
    }
    points
}

fn point(at: Timestamp, numbers: &Numbers) -> v1::SeriesPoint {
    v1::SeriesPoint {
        at: timestamp(at).into(),
        events: long(numbers.events),
        deliveries: long(numbers.deliveries),
        attempts_succeeded: long(numbers.attempts_succeeded),
        attempts_failed: long(numbers.attempts_failed),
        given_up: long(numbers.given_up),
        delivered_after: percentiles(&numbers.delivered_after).into(),
        answered_in: percentiles(&numbers.answered_in).into(),
    }
}

/// Percentiles in milliseconds; `None` of nothing.
pub(super) fn percentiles(of: &Histogram) -> Option<v1::Percentiles> {
    let millis = |share| Some(of.percentile(share)?.as_secs_f64() * 1_000.0);
    Some(v1::Percentiles { p50: millis(0.5)?, p95: millis(0.95)?, p99: millis(0.99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_shortest_steps_that_reach_back_so_far() {
        for (secs, step) in [
            (60, Step::TenSeconds),
            (7_200, Step::TenSeconds),
            (7_201, Step::TwoMinutes),
            (129_600, Step::TwoMinutes),
            (129_601, Step::Hour),
            (*RANGES.end(), Step::Hour),
        ] {
            assert_eq!(step_of(Duration::from_secs(secs)), step, "{secs}");
        }
    }

    #[test]
    fn steps_in_which_nothing_happened_are_there() {
        let at = |secs: i64| Timestamp::from_secs(1_700_000_000 + secs);
        let numbers = |events| Numbers { events, ..Numbers::default() };
        let points = points(&[(at(10), numbers(3)), (at(30), numbers(4))], Step::TenSeconds, (at(0), at(40)));
        let shown: Vec<(i64, i64)> = points.iter().map(|point| (point.at.seconds - 1_700_000_000, point.events)).collect();
        assert_eq!(shown, [(0, 0), (10, 3), (20, 0), (30, 4), (40, 0)]);
        assert!(points.iter().all(|point| point.delivered_after.is_unset()));
    }
}
