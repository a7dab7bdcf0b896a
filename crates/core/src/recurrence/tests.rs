use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect(text)
}

fn series(recurrence: Recurrence, anchor: &str, count: usize) -> Vec<String> {
    let anchor = at(anchor);
    let next = |after: &Timestamp| recurrence.next_after(anchor, *after);
    std::iter::successors(Some(anchor), next).take(count).map(|t| t.rfc3339(0)).collect()
}

#[test]
fn names_round_trip() {
    for r in Recurrence::ALL {
        assert_eq!(Recurrence::parse(r.as_str()), Some(r));
        assert_eq!(serde_json::to_string(&r).expect("json"), format!("\"{}\"", r.as_str()));
    }
    assert_eq!(Recurrence::parse("Daily"), None);
    assert_eq!(Recurrence::parse(""), None);
}

#[test]
fn nothing_recurs_never() {
    assert_eq!(Recurrence::None.next_after(at("2026-01-01T00:00:00Z"), Timestamp::MIN), None);
}

#[test]
fn days_and_weeks() {
    assert_eq!(
        series(Recurrence::Daily, "2024-02-28T23:59:59Z", 3),
        ["2024-02-28T23:59:59Z", "2024-02-29T23:59:59Z", "2024-03-01T23:59:59Z"]
    );
    assert_eq!(
        series(Recurrence::Weekly, "2025-12-29T08:00:00Z", 3),
        ["2025-12-29T08:00:00Z", "2026-01-05T08:00:00Z", "2026-01-12T08:00:00Z"]
    );
}

#[test]
fn short_months_take_their_last_day_and_long_ones_come_back() {
    let expected = ["2025-12-31T09:30:00Z", "2026-01-31T09:30:00Z", "2026-02-28T09:30:00Z", "2026-03-31T09:30:00Z", "2026-04-30T09:30:00Z"];
    assert_eq!(series(Recurrence::Monthly, "2025-12-31T09:30:00Z", 5), expected);
    assert_eq!(
        series(Recurrence::Monthly, "2024-01-30T00:00:00Z", 3),
        ["2024-01-30T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-30T00:00:00Z"]
    );
    assert_eq!(series(Recurrence::Monthly, "2024-02-29T00:00:00Z", 13).last().map(String::as_str), Some("2025-02-28T00:00:00Z"));
}

#[test]
fn strictly_after_and_never_before_the_anchor() {
    let anchor = at("2026-03-15T12:00:00.000001Z");
    for r in [Recurrence::Daily, Recurrence::Weekly, Recurrence::Monthly] {
        assert_eq!(r.next_after(anchor, Timestamp::MIN), Some(anchor));
        assert_eq!(r.next_after(anchor, anchor.before(Duration::from_micros(1))), Some(anchor));
        assert!(r.next_after(anchor, anchor) > Some(anchor));
    }
    assert_eq!(Recurrence::Monthly.next_after(anchor, at("2026-07-15T12:00:00Z")), Some(at("2026-07-15T12:00:00.000001Z")));
    assert_eq!(Recurrence::Monthly.next_after(anchor, at("2026-07-15T12:00:00.000001Z")), Some(at("2026-08-15T12:00:00.000001Z")));
}

#[test]
fn years_of_downtime_do_not_end_a_series() {
    let anchor = at("2000-01-31T00:00:00Z");
    assert_eq!(Recurrence::Daily.next_after(anchor, at("2026-02-10T00:00:00Z")), Some(at("2026-02-11T00:00:00Z")));
    assert_eq!(Recurrence::Monthly.next_after(anchor, at("2026-02-10T00:00:00Z")), Some(at("2026-02-28T00:00:00Z")));
}

#[test]
fn the_end_of_time_ends_a_series_without_a_panic() {
    let late = at("9999-12-30T00:00:00Z");
    for r in [Recurrence::Daily, Recurrence::Weekly, Recurrence::Monthly] {
        assert_eq!(r.next_after(late, Timestamp::MAX), None);
        assert_eq!(r.next_after(Timestamp::MIN, Timestamp::MAX), None);
        assert_eq!(r.next_after(Timestamp::MIN, Timestamp::MIN), None);
    }
    assert_eq!(Recurrence::Monthly.next_after(late, late), None);
}

/// 1902 to 2100.
fn instant() -> impl Strategy<Value = Timestamp> {
    (-2_145_916_800_000_000i64..4_102_444_800_000_000).prop_map(Timestamp::from_micros)
}

proptest! {
    #[test]
    fn an_occurrence_is_in_the_series_and_none_lies_between(anchor in instant(), after in instant()) {
        for (r, days) in [(Recurrence::Daily, 1), (Recurrence::Weekly, 7)] {
            let next = r.next_after(anchor, after).expect("in range");
            let period = Duration::from_secs(days * 86_400);
            prop_assert!(next > after && next >= anchor);
            prop_assert_eq!((next.as_micros() - anchor.as_micros()) % (days as i64 * DAY_MICROS), 0);
            prop_assert!(next == anchor || next.before(period) <= after);
        }
    }

    #[test]
    fn a_month_is_a_calendar_month(anchor in instant(), after in instant()) {
        let next = Recurrence::Monthly.next_after(anchor, after).expect("in range");
        prop_assert!(next > after && next >= anchor);
        prop_assert_eq!(next.as_micros().rem_euclid(DAY_MICROS), anchor.as_micros().rem_euclid(DAY_MICROS));
        let (first, date) = (civil(anchor).expect("date"), civil(next).expect("date"));
        prop_assert_eq!(date.day(), first.day().min(date.days_in_month()));
        // The occurrence a month earlier is not after `after`.
        if next != anchor {
            let before = date.first_of_month().yesterday().expect("in range");
            let day = first.day().min(before.days_in_month());
            let gap = i64::from(date.day()) + i64::from(before.day()) - i64::from(day);
            prop_assert!(next.as_micros() - gap * DAY_MICROS <= after.as_micros());
        }
    }

    #[test]
    fn nothing_panics(anchor: i64, after: i64) {
        for r in Recurrence::ALL {
            if let Some(next) = r.next_after(Timestamp::from_micros(anchor), Timestamp::from_micros(after)) {
                prop_assert!(next.as_micros() > after);
            }
        }
    }
}
