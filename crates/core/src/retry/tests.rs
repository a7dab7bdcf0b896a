use super::*;
use proptest::prelude::*;
use uuid::Uuid;

fn secs(policy: &RetryPolicy) -> Vec<u64> {
    let exact = RetryPolicy { jitter_percent: 0, ..policy.clone() };
    (1..policy.max_attempts).map(|spent| exact.gap(spent, 1).as_secs()).collect()
}

#[test]
fn the_documented_ladders() {
    let tasks = RetryPolicy::tasks();
    assert_eq!((tasks.max_attempts, tasks.jitter_percent), (5, 0));
    assert_eq!(secs(&tasks), [10, 30, 60, 300]);
    assert_eq!(tasks.gap(5, 0), Duration::from_secs(900), "the fifth gap is there for a policy with more attempts");

    let items = RetryPolicy::items();
    assert_eq!((items.max_attempts, items.jitter_percent), (7, 10));
    assert_eq!(secs(&items), [30, 120, 480, 1_800, 7_200, 28_800]);

    let rpc = RetryPolicy::rpc(3, Duration::from_secs(60));
    assert_eq!((rpc.max_attempts, rpc.jitter_percent), (4, 10));
    assert_eq!(secs(&rpc), [60, 120, 240]);
    assert_eq!(RetryPolicy::rpc(u32::MAX, Duration::ZERO).max_attempts, u32::MAX);
}

#[test]
fn doubling_stops_at_a_day_however_often_it_is_done() {
    let rpc = RetryPolicy { jitter_percent: 0, ..RetryPolicy::rpc(10, Duration::from_secs(3_600)) };
    assert_eq!(rpc.gap(5, 0), Duration::from_secs(16 * 3_600));
    for spent in [6, 64, 65, 128, 129, 130, 1_000, u32::MAX] {
        assert_eq!(rpc.gap(spent, 0), MAX_EXPONENTIAL_GAP, "after {spent}");
    }
}

#[test]
fn a_short_list_repeats_its_last_gap_and_an_empty_one_waits_not_at_all() {
    let list = |gaps: &[u64]| RetryPolicy { max_attempts: 9, schedule: super::list(gaps), jitter_percent: 50 };
    let short = RetryPolicy { jitter_percent: 0, ..list(&[1, 2]) };
    assert_eq!([1, 2, 3, u32::MAX].map(|n| short.gap(n, 0).as_secs()), [1, 2, 2, 2]);
    assert_eq!(short.gap(0, 0).as_secs(), 1, "zero counts as the first");
    assert_eq!(list(&[]).gap(3, 7), Duration::ZERO);
}

#[test]
fn jitter_reaches_both_sides_and_depends_on_the_seed_alone() {
    let policy = RetryPolicy { max_attempts: 2, schedule: list(&[100]), jitter_percent: 10 };
    let gaps: Vec<Duration> = (0..1_000).map(|seed| policy.gap(1, jitter_seed(seed, DeliveryId::new(Uuid::nil()), 1))).collect();
    let (least, most) = (gaps.iter().min().expect("gaps"), gaps.iter().max().expect("gaps"));
    assert!(*least < Duration::from_secs(91) && *least >= Duration::from_secs(90), "{least:?}");
    assert!(*most > Duration::from_secs(109) && *most <= Duration::from_secs(110), "{most:?}");
    assert_eq!(policy.gap(1, 42), policy.gap(1, 42));
    for (percent, reach) in [(50, 50), (100, 100), (255, 100)] {
        let policy = RetryPolicy { jitter_percent: percent, ..policy.clone() };
        let longest = (0..1_000).map(|seed| policy.gap(1, seed)).max();
        assert!(longest > Some(Duration::from_secs(99 + reach)), "{percent}: {longest:?}");
    }
}

#[test]
fn policies_survive_json() {
    for policy in [RetryPolicy::tasks(), RetryPolicy::items(), RetryPolicy::rpc(3, Duration::from_millis(1_500))] {
        let json = serde_json::to_string(&policy).expect("serialises");
        assert_eq!(serde_json::from_str::<RetryPolicy>(&json).expect("deserialises"), policy, "{json}");
    }
}

#[test]
fn retry_after_in_seconds() {
    let now = Timestamp::from_secs(1_700_000_000);
    let read = |text| parse_retry_after(text, now);
    assert_eq!(read("120"), Some(Duration::from_secs(120)));
    assert_eq!(read(" 007 "), Some(Duration::from_secs(7)));
    assert_eq!(read("99999999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
    for nothing in ["", " ", "0", "000", "-5", "+5", "1.5", "1e3", "soon", "12 0", "0x10", "٣"] {
        assert_eq!(read(nothing), None, "{nothing:?}");
    }
}

#[test]
fn retry_after_as_a_date() {
    // 1994-11-06T08:49:37Z is 784111777.
    let before = Timestamp::from_secs(784_111_717);
    for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
        assert_eq!(parse_retry_after(date, before), Some(Duration::from_secs(60)), "{date}");
        assert_eq!(parse_retry_after(date, before.after(Duration::from_secs(60))), None, "now: {date}");
        assert_eq!(parse_retry_after(date, Timestamp::from_secs(1_700_000_000)), None, "past: {date}");
    }
    assert_eq!(parse_retry_after("Sun, 31 Nov 1994 08:49:37 GMT", before), None, "no such day");
    assert!(parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", before).is_some());
}

proptest! {
    #[test]
    fn a_gap_stays_within_its_jitter(base in 0u64..200_000, cap in 0u64..200_000, spent: u32, percent: u8, seed: u64) {
        let schedule = Schedule::Exponential { base: Duration::from_secs(base), cap: Duration::from_secs(cap) };
        let policy = RetryPolicy { max_attempts: 5, schedule, jitter_percent: percent };
        let exact = RetryPolicy { jitter_percent: 0, ..policy.clone() }.gap(spent, seed);
        let reach = exact.mul_f64(f64::from(percent.min(100)) / 100.0) + Duration::from_nanos(1_000);
        let gap = policy.gap(spent, seed);
        prop_assert!(exact <= Duration::from_secs(cap));
        prop_assert!(gap <= exact + reach, "{gap:?} of {exact:?}");
        prop_assert!(gap >= exact.saturating_sub(reach), "{gap:?} of {exact:?}");
    }

    #[test]
    fn no_numbers_overflow(secs: u64, nanos in 0u32..1_000_000_000, spent: u32, percent: u8, seed: u64) {
        let huge = Duration::new(secs, nanos);
        for schedule in [Schedule::List(vec![huge]), Schedule::Exponential { base: huge, cap: Duration::MAX }] {
            RetryPolicy { max_attempts: 1, schedule, jitter_percent: percent }.gap(spent, seed);
        }
    }

    #[test]
    fn every_part_of_a_seed_changes_half_of_its_bits(process: u64, id: u128, attempt: u32, bit in 0u32..224) {
        let (mut process2, mut id2, mut attempt2) = (process, id, attempt);
        match bit {
            0..64 => process2 ^= 1 << bit,
            64..192 => id2 ^= 1 << (bit - 64),
            _ => attempt2 ^= 1 << (bit - 192),
        }
        let seed = |process, id, attempt| jitter_seed(process, DeliveryId::new(Uuid::from_u128(id)), attempt);
        let changed = (seed(process, id, attempt) ^ seed(process2, id2, attempt2)).count_ones();
        // 32 bits on average, with a deviation of 4: seven of those away from it is a broken mixer and not bad luck.
        prop_assert!((5..=59).contains(&changed), "{changed} bits");
    }

    #[test]
    fn no_header_panics(text: String, now: i64) {
        if let Some(wait) = parse_retry_after(&text, Timestamp::from_micros(now)) {
            prop_assert!(!wait.is_zero());
        }
    }
}
