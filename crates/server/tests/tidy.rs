//! Keeps the whole repository tidy: what reviewers would otherwise have to say again and again.
//!
//! Every rule looks at the files that git knows or would add, and says how to mend what it finds.

mod tidy {
    pub mod errors;
    pub mod repository;
    pub mod rust;
    pub mod words;
}

use tidy::repository::{File, Repository};

/// Fails with every finding, each on a line of its own, and with the advice of the rule.
fn check(advice: &str, rule: impl Fn(&File) -> Vec<String>) {
    let findings: Vec<String> = Repository::open().files().iter().flat_map(rule).collect();
    report(advice, &findings);
}

fn report(advice: &str, findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n\n{advice}\n", findings.join("\n"));
}

#[test]
fn files_are_short() {
    check("Split the file by topic: at most 400 lines of source, 600 of tests.", tidy::rust::long_file);
}

#[test]
fn functions_are_short() {
    check("Split the function: at most 70 lines, so that it fits a screen.", tidy::rust::long_functions);
}

#[test]
fn crates_have_a_map() {
    check("Begin lib.rs and main.rs with a `//!` comment that says what the crate is and where things are.", tidy::rust::missing_map);
}

#[test]
fn sources_do_not_panic_on_what_can_happen() {
    check("Return the error, or use `expect` with the reason why it cannot happen.", tidy::rust::unwraps);
}

#[test]
fn only_the_command_line_prints() {
    check("Use `tracing`, or write to a writer that the command line hands in; only crates/server/src/cli prints.", tidy::rust::prints);
}

#[test]
fn nothing_is_left_unfinished() {
    check("Finish it, or take it out; what has to wait is an issue, not a mark in the code.", tidy::words::unfinished);
}

#[test]
fn every_test_runs() {
    check("Make the test run everywhere, or delete it: a test that is skipped proves nothing.", tidy::words::skipped_tests);
}

#[test]
fn no_paths_of_one_machine() {
    check("Use a path relative to the repository, a temporary directory, or a name such as DIR.", tidy::words::machine_paths);
}

#[test]
fn lines_end_cleanly() {
    check(
        "Take out the blanks at the end of the line, carriage returns and tabs in Rust, and end the file with one newline.",
        tidy::words::untidy_ends,
    );
}

#[test]
fn figures_are_measured() {
    check(
        "Measure it (docs/performance.md says how) and write the figure down: … stands for one that nobody has measured.",
        tidy::words::unmeasured,
    );
}

#[test]
fn links_lead_somewhere() {
    let repository = Repository::open();
    let findings: Vec<String> = repository.files().iter().flat_map(|file| tidy::words::dead_links(&repository, file)).collect();
    report("Correct the link: it is relative to the file that it stands in.", &findings);
}

#[test]
fn the_readme_names_the_first_commands() {
    let readme = Repository::open().read("README.md").unwrap_or_default();
    let commands = ["make demo", "make test"].into_iter();
    let missing: Vec<String> =
        commands.filter(|name| !readme.contains(name)).map(|name| format!("README.md does not name `{name}`")).collect();
    report("The README must name the commands that the design fixes.", &missing);
}

#[test]
fn every_error_code_has_a_page() {
    let findings = tidy::errors::pages(&Repository::open());
    report("Give each code of crates/core/src/error.rs a page docs/errors/CODE.md, and delete pages of codes that are gone.", &findings);
}

#[test]
fn the_rules_find_what_they_look_for() {
    tidy::rust::self_test();
    tidy::words::self_test();
    tidy::errors::self_test();
}
