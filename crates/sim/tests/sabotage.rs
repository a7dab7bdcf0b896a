//! The proof that the checkers can fail: each port that breaks its contract is caught, and by the checker whose promise it breaks.

use postrider_sim::{Checker, Options, Sabotage, run};

/// Within so many seeds a sabotage must be found. Not every world gives it an opportunity.
const SEEDS: u64 = 60;

fn is_caught(sabotage: Sabotage, by: Checker) {
    is_caught_in(Options { sabotage: Some(sabotage), ..Options::default() }, by);
}

fn is_caught_in(options: Options, by: Checker) {
    let caught = (0..SEEDS).any(|seed| run(seed, options).violations.iter().any(|v| v.checker == by));
    assert!(caught, "{by} did not find {:?} in {SEEDS} seeds", options.sabotage);
}

/// Each engine keeps the limits then, and all of them together do not.
#[test]
fn a_store_that_forgets_what_was_left_of_limits() {
    let sabotage = Some(Sabotage::ForgetsHandovers);
    is_caught_in(Options { sabotage, together: true, ..Options::default() }, Checker::LimitsAreKept);
}

#[test]
fn a_failing_seed_says_how_to_replay_it() {
    let options = Options { sabotage: Some(Sabotage::AcknowledgesWithoutStoring), ..Options::default() };
    let report = (0..SEEDS).map(|seed| run(seed, options)).find(|report| !report.violations.is_empty()).expect("it is found");
    let (seed, text) = (report.seed, report.to_string());
    let first = &report.violations[0];
    assert!(text.starts_with(&format!("seed {seed} failed: {}: {}\n", first.checker, first.what)), "{text}");
    assert!(text.ends_with(&format!("-- --seed {seed} --trace")), "{text}");
    let again = run(seed, options);
    assert_eq!((again.hash, again.violations), (report.hash, report.violations));
}

macro_rules! sabotages {
    ($($name:ident: $sabotage:ident is caught by $checker:ident;)*) => {$(
        #[test]
        fn $name() {
            is_caught(Sabotage::$sabotage, Checker::$checker);
        }
    )*};
}

sabotages! {
    a_store_that_acknowledges_without_storing: AcknowledgesWithoutStoring is caught by AcknowledgedIsDurable;
    a_store_that_keeps_events_without_deliveries: StoresEventsAlone is caught by AcknowledgedIsDurable;
    retention_that_removes_what_is_too_young: PrunesTooEarly is caught by AcknowledgedIsDurable;
    a_network_that_repeats_requests: RepeatsRequests is caught by AtLeastOnceRecognisably;
    a_store_that_settles_without_storing: SettlesWithoutStoring is caught by AtLeastOnceRecognisably;
    a_network_that_makes_one_exchange_at_a_time: OneAtATime is caught by Isolation;
    a_store_that_hides_its_backlog: ForgetsTheBacklog is caught by NoForgottenDelivery;
    a_store_that_forgets_claims: ForgetsClaims is caught by NoForgottenDelivery;
    a_network_that_changes_bodies: ChangesBytes is caught by BytesAreExact;
    a_store_that_hands_out_too_much: ClaimsWithoutLimit is caught by MemoryBounded;
    a_store_that_forgets_the_limits_of_endpoints: ForgetsLimits is caught by LimitsAreKept;
    a_network_that_hides_retry_after: HidesRetryAfter is caught by LimitsAreKept;
    a_store_that_panics: Panics is caught by NoPanic;
    a_store_that_shortens_lives: ExpiresEarly is caught by AcknowledgedIsDurable;
    a_store_that_loses_retry_policies: ForgetsRetries is caught by AcknowledgedIsDurable;
    a_store_that_loses_dead_letters: DropsDeadLetters is caught by NothingSilent;
}
