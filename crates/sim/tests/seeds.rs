//! Seeds that must keep every promise, in ten parts so that a failure is found where it is. `SIM_SEEDS` and `SIM_FROM` choose others.

use postrider_sim::{Options, run};

const SEEDS: u64 = 300;
const PARTS: u64 = 10;

fn chosen(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn part(number: u64) {
    let (from, seeds) = (chosen("SIM_FROM", 0), chosen("SIM_SEEDS", SEEDS));
    let failed: Vec<String> = (from..from + seeds)
        .filter(|seed| seed % PARTS == number)
        .map(|seed| run(seed, Options::default()))
        .filter(|report| !report.violations.is_empty())
        .map(|report| report.to_string())
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

macro_rules! parts {
    ($($name:ident = $number:literal;)*) => {$(
        #[test]
        fn $name() {
            part($number);
        }
    )*};
}

parts! {
    seeds_ending_in_0_keep_every_promise = 0;
    seeds_ending_in_1_keep_every_promise = 1;
    seeds_ending_in_2_keep_every_promise = 2;
    seeds_ending_in_3_keep_every_promise = 3;
    seeds_ending_in_4_keep_every_promise = 4;
    seeds_ending_in_5_keep_every_promise = 5;
    seeds_ending_in_6_keep_every_promise = 6;
    seeds_ending_in_7_keep_every_promise = 7;
    seeds_ending_in_8_keep_every_promise = 8;
    seeds_ending_in_9_keep_every_promise = 9;
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [3, 14, 15, 92, 65, 35] {
        let (first, second) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!((first.hash, first.lines), (second.hash, second.lines), "seed {seed}");
    }
}

#[test]
fn different_seeds_do_different_things() {
    let hashes: std::collections::BTreeSet<u64> = (0..20).map(|seed| run(seed, Options::default()).hash).collect();
    assert_eq!(hashes.len(), 20);
}
