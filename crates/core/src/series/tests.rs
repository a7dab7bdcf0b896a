use super::*;
use proptest::prelude::*;

fn histogram(micros: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    micros.iter().for_each(|micros| histogram.record(*micros));
    histogram
}

/// Times of every size, few of which are alike.
fn times() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![0..64_u64, 0..100_000_u64, 0..10_000_000_000_u64, any::<u64>()], 1..200)
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let counts = (0..1_000_u64, any::<u64>(), 0..1_000_u64, 0..200_u64, 0..1_u64);
    (counts, times(), times()).prop_map(|((events, deliveries, attempts_succeeded, attempts_failed, given_up), one, other)| Numbers {
        events,
        deliveries,
        attempts_succeeded,
        attempts_failed,
        given_up,
        delivered_after: histogram(&one),
        answered_in: histogram(&other),
    })
}

#[test]
fn classes_follow_each_other_without_gaps() {
    for micros in 0..100_000_u64 {
        let step = class_of(micros + 1) - class_of(micros);
        assert!(step <= 1, "{micros}");
    }
    assert_eq!((class_of(0), class_of(15), class_of(16), class_of(17), class_of(u64::MAX)), (0, 15, 16, 16, CLASSES - 1));
    for class in 0..CLASSES {
        let micros = u64::try_from(middle_of(class).as_micros()).expect("it was made of 64 bits");
        assert_eq!(class_of(micros), class, "what stands for a class is in it");
    }
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    assert_eq!(Histogram::default().percentile(0.5), None);
    let short = histogram(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let of = |share| short.percentile(share).map(|time| time.as_micros());
    assert_eq!([0.0, 0.5, 0.9, 0.95, 1.0].map(of), [1, 5, 9, 10, 10].map(Some));
    assert_eq!(histogram(&[7]).percentile(0.99), Some(Duration::from_micros(7)));
}

#[test]
fn a_usual_second_takes_little_room() {
    let mut numbers = Numbers { events: 20_000, deliveries: 20_000, attempts_succeeded: 20_000, ..Numbers::default() };
    for n in 0..20_000_u64 {
        numbers.delivered_after.record(1_000 + n % 5_000);
        numbers.answered_in.record(300 + n % 900);
    }
    let bytes = numbers.encode().len();
    assert!(bytes < 150, "{bytes} bytes");
    assert_eq!(Numbers::default().encode().len(), 8);
}

#[test]
fn bytes_that_are_no_numbers_are_told_from_them() {
    let none = Numbers::default().encode();
    assert_eq!(Numbers::decode(&none), Some(Numbers::default()));
    let [version, events] = [0, 1].map(|at| {
        let mut other = none.clone();
        other[at] = 0xff;
        Numbers::decode(&other)
    });
    assert_eq!((version, events), (None, None));
    assert_eq!(Numbers::decode(&[]), None);
    assert_eq!(Numbers::decode(&[none.as_slice(), &[0]].concat()), None, "there is more");
    // Of the first histogram: more classes than there are, one of nothing, one twice, one that is none.
    for bad in [&[0xff_u8, 0x7f][..], &[1, 3, 0], &[2, 3, 1, 0, 1], &[1, 0xf0, 0x03, 1]] {
        let bytes = [&none[..6], bad, &[0]].concat();
        assert_eq!(Numbers::decode(&bytes), None, "{bad:?}");
    }
    let bytes = [&none[..6], &[1, 0xef, 0x03, 1], &[0]].concat();
    assert_eq!(Numbers::decode(&bytes).map(|numbers| numbers.delivered_after), Some(histogram(&[u64::MAX])), "the last class");
}

#[test]
fn steps_are_made_of_whole_shorter_ones() {
    let at = Timestamp::from_secs(1_700_000_000);
    assert_eq!(Step::ALL.map(|step| at.since(step.begin(at)).as_secs()), [0, 80, 800]);
    assert_eq!(Step::ALL.map(|step| step.kept().as_secs()), [7_210, 129_720, 7_952_400]);
    for pair in Step::ALL.windows(2) {
        assert_eq!(pair[1].length().as_secs() % pair[0].length().as_secs(), 0);
    }
    let before = Timestamp::from_micros(-1);
    assert_eq!(Step::TenSeconds.begin(before), Timestamp::from_secs(-10));
    assert!(Step::Hour.begin(Timestamp::MIN) <= Timestamp::MIN && Step::Hour.begin(Timestamp::MAX) <= Timestamp::MAX);
}

proptest! {
    #[test]
    fn percentiles_are_within_a_tenth(mut micros in times()) {
        let histogram = histogram(&micros);
        micros.sort_unstable();
        for share in [0.5, 0.95, 0.99] {
            let rank = (share * micros.len() as f64).ceil() as usize;
            let exact = micros[rank.max(1) - 1] as f64;
            let found = histogram.percentile(share).expect("there is something").as_micros() as f64;
            prop_assert!((found - exact).abs() <= exact * 0.1, "{found} for {exact}");
        }
    }

    #[test]
    fn what_is_made_into_bytes_comes_back(numbers in numbers()) {
        prop_assert_eq!(Numbers::decode(&numbers.encode()), Some(numbers));
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(numbers) = Numbers::decode(&bytes) {
            prop_assert_eq!(Numbers::decode(&numbers.encode()), Some(numbers));
        }
    }

    #[test]
    fn sums_are_the_same_in_any_order(a in numbers(), b in numbers(), c in numbers()) {
        let sum = |of: [&Numbers; 3]| {
            let mut sum = Numbers::default();
            of.into_iter().for_each(|numbers| sum.add(numbers));
            sum
        };
        let all = sum([&a, &b, &c]);
        prop_assert_eq!(&all, &sum([&c, &a, &b]));
        let mut with_nothing = all.clone();
        with_nothing.add(&Numbers::default());
        prop_assert_eq!(&all, &with_nothing);
        prop_assert!(!all.is_empty());
    }

    #[test]
    fn an_instant_lies_in_its_step(micros in -4_000_000_000_000_000_i64..4_000_000_000_000_000) {
        let at = Timestamp::from_micros(micros);
        for step in Step::ALL {
            let begin = step.begin(at);
            prop_assert!(begin <= at && at < begin.after(step.length()));
            prop_assert_eq!(step.begin(begin), begin);
        }
    }
}
