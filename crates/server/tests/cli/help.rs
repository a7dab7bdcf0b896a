//! What `--help` says of every command, under snapshot: it is documentation. `INSTA_UPDATE=always` writes the snapshots anew.

use crate::common;

use std::collections::BTreeSet;

/// The help of a command.
fn help(path: &[String]) -> String {
    let mut command = common::postrider();
    let output = command.args(path).arg("--help").env_remove("COLUMNS").output().expect("the binary runs");
    assert!(output.status.success(), "{path:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The commands that a help lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What goes on on the next line is further to the right.
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(String::from).collect()
}

/// The lines among the examples of a help with which no command begins: what was too wide for the line before it.
fn broken(help: &str) -> Vec<&str> {
    let after = help.lines().skip_while(|line| !matches!(*line, "Example:" | "Examples:")).skip(1);
    after
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("  postrider ") && !line.starts_with("  pass show "))
        .collect()
}

#[test]
fn every_command_is_documented() {
    let mut paths = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop() {
        let text = help(&path);
        assert!(text.lines().next().is_some_and(|line| line.len() > 10), "{path:?} says nothing of itself: {text}");
        assert!(broken(&text).is_empty(), "{path:?}: examples are too wide for a line, and go on with {:?}", broken(&text));
        for name in commands(&text) {
            paths.push(path.iter().cloned().chain([name]).collect());
        }
        let name = if path.is_empty() { String::from("postrider") } else { path.join("-") };
        insta::assert_snapshot!(name.as_str(), text);
        seen.insert(name);
    }
    for name in
        ["events-push", "deliveries-tail", "dlq-replay", "endpoints-rotate-secret", "subscriptions-preview", "top", "serve", "tasks-ingest"]
    {
        assert!(seen.contains(name), "{name} is not listed: {seen:?}");
    }
}

#[test]
fn shells_and_man_know_the_commands() {
    let run = |words: &[&str]| {
        let output = common::postrider().args(words).output().expect("the binary runs");
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).contains("rotate-secret"), "{shell}");
    }
    assert!(run(&["man"]).contains("Exit codes"), "the page of postrider tells the exit codes");
}
