//! Seeds that must keep every promise, in parts so that a failure is found where it is: ten where one engine lives several times, five where several
//! share the store. `SIM_SEEDS` and `SIM_FROM` choose others.

use postrider_sim::{Options, run};

const SEEDS: u64 = 300;
const PARTS: u64 = 10;

const SEEDS_TOGETHER: u64 = 100;
const PARTS_TOGETHER: u64 = 5;

const TOGETHER: Options = Options { together: true, trace: false, sabotage: None };

fn chosen(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn part(number: u64) {
    keep_every_promise(SEEDS, |seed| seed % PARTS == number, Options::default());
}

fn part_together(number: u64) {
    keep_every_promise(SEEDS_TOGETHER, |seed| seed % PARTS_TOGETHER == number, TOGETHER);
}

fn keep_every_promise(seeds: u64, is_one: impl Fn(&u64) -> bool, options: Options) {
    let (from, seeds) = (chosen("SIM_FROM", 0), chosen("SIM_SEEDS", seeds));
    let failed: Vec<String> = (from..from + seeds)
        .filter(is_one)
        .map(|seed| run(seed, options))
        .filter(|report| !report.violations.is_empty())
        .map(|report| report.to_string())
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

macro_rules! parts {
    ($part:ident: $($name:ident = $number:literal;)*) => {$(
        #[test]
        fn $name() {
            $part($number);
        }
    )*};
}

parts! {
    part:
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

parts! {
    part_together:
    engines_that_share_a_store_keep_every_promise_in_seeds_like_0 = 0;
    engines_that_share_a_store_keep_every_promise_in_seeds_like_1 = 1;
    engines_that_share_a_store_keep_every_promise_in_seeds_like_2 = 2;
    engines_that_share_a_store_keep_every_promise_in_seeds_like_3 = 3;
    engines_that_share_a_store_keep_every_promise_in_seeds_like_4 = 4;
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [3, 14, 15, 92, 65, 35] {
        let (first, second) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!((first.hash, first.lines), (second.hash, second.lines), "seed {seed}");
    }
    for seed in [3, 14, 15] {
        let (first, second) = (run(seed, TOGETHER), run(seed, TOGETHER));
        assert_eq!((first.hash, first.lines), (second.hash, second.lines), "seed {seed}, together");
    }
}

#[test]
fn engines_that_share_a_store_have_something_to_share() {
    let reports: Vec<_> = (0..10).map(|seed| run(seed, TOGETHER)).collect();
    assert!(reports.iter().all(|report| report.lives > 1 && report.events > 0), "{reports:?}");
    assert!(reports.iter().any(|report| report.lives > 4) && reports.iter().any(|report| report.exchanges > 100), "{reports:?}");
}

#[test]
fn different_seeds_do_different_things() {
    let hashes: std::collections::BTreeSet<u64> = (0..20).map(|seed| run(seed, Options::default()).hash).collect();
    assert_eq!(hashes.len(), 20);
}
