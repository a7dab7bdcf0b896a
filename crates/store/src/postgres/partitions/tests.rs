use super::*;
use postrider_core::id::IdGen;
use std::time::Duration;

/// 2026-11-23T04:00:00Z.
const NOW: Timestamp = Timestamp::from_secs(1_795_406_400);

fn deliveries() -> &'static Table {
    TABLES.iter().find(|table| table.name == "deliveries").expect("one of them")
}

#[test]
fn names_say_the_days() {
    let day = Day::of(NOW);
    let named = |days: Days| TABLES.iter().map(|table| table.partition(days)).collect::<Vec<String>>();
    assert_eq!(named(Days::new(day, 1)), ["events_p20261123", "event_labels_p20261123", "deliveries_p20261123", "attempts_p20261123"]);
    assert_eq!(named(Days::new(day, 16))[2], "deliveries_p20261123_16d");
    for days in [Days::new(day, 1), Days::new(day, 2), Days::new(day, LONGEST)] {
        for (name, table) in named(days).iter().zip(&TABLES) {
            let of: Vec<Option<Days>> = TABLES.iter().map(|other| other.days_of(name)).collect();
            assert_eq!(of.iter().flatten().collect::<Vec<_>>(), [&days], "{name} is of one table");
            assert_eq!(table.days_of(name), Some(days));
        }
    }
    for other in [
        "deliveries_default",
        "deliveries_p2026112",
        "deliveries_p20261323",
        "deliveries_p20260230",
        "deliveriesp20261123",
        "deliveries_p20261123_",
        "deliveries_p20261123_4",
        "deliveries_p20261123_1d",
        "deliveries_p20261123_-4d",
        "deliveries_p20261123_04d",
        "queue_p20261123",
        "",
    ] {
        assert!(deliveries().days_of(other).is_none(), "{other}");
    }
}

#[test]
fn days_begin_at_midnight() {
    let day = Day::of(NOW);
    assert_eq!(day.start().rfc3339(0), "2026-11-23T00:00:00Z");
    assert_eq!(Day::of(Timestamp::from_micros(day.start().as_micros() - 1)), day.after(-1));
    assert_eq!(day.after(8).digits(), "20261201");
    assert_eq!(Day::parse("20280229").map(Day::digits).as_deref(), Some("20280229"));
}

#[test]
fn ids_of_days_are_within_their_bounds() {
    for number in [1, 4] {
        let (days, mut ids) = (Days::new(Day::of(NOW), number), IdGen::new(1));
        let ((from, to), (next, _)) = (days.bounds(), Days::new(days.to, 1).bounds());
        assert!(from < to && to == next, "no id is between two partitions");
        let (first, last) = (days.from.start(), days.to.start().before(Duration::from_millis(1)));
        for at in [first, NOW, last] {
            let id = ids.next(at);
            assert!(from <= id && id < to, "{at:?}");
        }
        assert!(ids.next(days.to.start()) >= to);
    }
}

#[test]
fn a_partition_has_the_bounds_of_its_days() {
    let days = Days::new(Day::of(NOW), 1);
    let (sql, (from, to)) = (deliveries().making(days, false), days.bounds());
    assert!(sql.contains("CREATE TABLE deliveries_p20261123 (LIKE deliveries INCLUDING ALL) WITH (fillfactor = 70, "), "{sql}");
    assert!(sql.ends_with(&format!("ATTACH PARTITION deliveries_p20261123 FOR VALUES FROM ('{from}') TO ('{to}')")), "{sql}");
    assert!(!sql.contains("DELETE") && deliveries().making(days, true).contains("DELETE FROM deliveries_default WHERE id >= "));
    assert!(deliveries().strays.contains("FROM deliveries_default WHERE id >= $1::uuid AND id < $2::uuid ORDER BY id LIMIT $3"));
}

#[test]
fn what_is_there_is_not_wanted() {
    let today = Day::of(NOW);
    let day = |from, number| Days::new(today.after(from), number);
    assert_eq!(wanted(&[], today), [day(0, 1), day(1, 1), day(2, 1)]);
    assert_eq!(wanted(&[day(-1, 1), day(0, 1), day(2, 1)], today), [day(1, 1)]);
    assert!(wanted(&[day(-3, 10)], today).is_empty());
    // What is kept reaches back for thirty days: four of them go together, but not into those that are there.
    assert_eq!(wanted(&[day(-30, 30), day(1, 1)], today), [day(0, 1), day(2, 4)]);
}

/// Over years, whatever is kept: by the day's upkeep, with what is past its age removed.
#[test]
fn there_are_never_many() {
    for (kept, most, coarsest) in [(1, 5, 1), (3, 6, 1), (30, 16, 8), (90, 17, 16), (365, 19, 128), (100_000, 25, LONGEST)] {
        let begin = Day::of(NOW);
        let (mut there, mut seen, mut longest): (Vec<Days>, usize, i64) = (Vec::new(), 0, 0);
        for n in 0..3_650 {
            let today = begin.after(n);
            there.retain(|days| days.to > today.after(-kept.max(BEHIND)));
            there.extend(wanted(&there, today));
            there.sort_unstable();
            assert!(there.windows(2).all(|pair| pair[0].to == pair[1].from), "no gap, and nothing twice: {there:?}");
            assert!((0..=AHEAD).all(|ahead| there.iter().any(|days| days.contains(today.after(ahead)))));
            seen = seen.max(there.len());
            // When it has found its measure.
            if n > 4 * kept {
                longest = longest.max(there.iter().map(|days| days.number()).max().unwrap_or(0));
            }
        }
        assert!(seen <= most, "{kept} days: {seen} partitions");
        assert!(longest <= coarsest, "{kept} days: one of {longest} days");
    }
}
