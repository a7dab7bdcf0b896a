//! Rules about words and lines in any text file.

use super::repository::{File, Repository};
use std::path::{Path, PathBuf};

/// Where the words that rules look for are written down.
fn is_this_test(file: &File) -> bool {
    file.path.starts_with("crates/server/tests/tidy")
}

/// Whether `word` stands in `line` by itself.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part_of_name) && !line[at + word.len()..].chars().next().is_some_and(part_of_name)
    })
}

pub fn unfinished(file: &File) -> Vec<String> {
    if is_this_test(file) || file.is_foreign() {
        return Vec::new();
    }
    file.lines_where(|line| {
        let marked = ["TODO", "FIXME", "XXX", "HACK"].into_iter().find(|word| has_word(line, word));
        let called = || ["todo!(", "unimplemented!("].into_iter().find(|call| line.contains(call));
        marked.or_else(called).or_else(|| placeholder(line)).map(|what| format!("`{what}`"))
    })
}

/// The first `@@NAME@@` of a line, which somebody meant to fill in: capitals, digits and `_`.
fn placeholder(line: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    line.match_indices("@@").find_map(|(at, _)| {
        let name = line[at + 2..].split("@@").next().unwrap_or_default();
        let end = at + 2 + name.len() + 2;
        let is_one = end <= line.len() && name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(is_part);
        is_one.then(|| &line[at..end])
    })
}

pub fn skipped_tests(file: &File) -> Vec<String> {
    const SKIPS: [&str; 8] =
        ["#[ignore", "test.skip(", "test.only(", "test.todo(", "it.skip(", "describe.skip(", "pytest.mark.skip", "pytest.skip("];
    let is_code = [".rs", ".ts", ".mjs", ".py", ".svelte"].into_iter().any(|end| file.path.ends_with(end));
    if !is_code || is_this_test(file) {
        return Vec::new();
    }
    file.lines_where(|line| SKIPS.into_iter().find(|skip| line.contains(skip)).map(|skip| format!("`{skip}`")))
}

pub fn machine_paths(file: &File) -> Vec<String> {
    if is_this_test(file) || file.is_foreign() {
        return Vec::new();
    }
    const ROOTS: [&str; 4] = ["/home/", "/root/", "/work/", "/Users/"];
    file.lines_where(|line| {
        ROOTS
            .into_iter()
            .find(|root| line.match_indices(root).any(|(at, _)| begins_path(line, at)))
            .map(|root| format!("a path under `{root}`"))
    })
}

/// Whether the path at `at` is absolute rather than the rest of a longer one or of a URL.
fn begins_path(line: &str, at: usize) -> bool {
    !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*' | '~' | ')'))
}

pub fn untidy_ends(file: &File) -> Vec<String> {
    if file.is_foreign() {
        return Vec::new();
    }
    let mut found = file.lines_where(|line| {
        let blank = !file.path.ends_with(".md") && line.ends_with([' ', '\t']);
        let tab = file.is_rust() && line.contains('\t');
        (blank || tab).then(|| "a blank at the end, or a tab".to_owned())
    });
    if file.text.contains('\r') {
        found.push(format!("{}: carriage returns", file.path));
    }
    if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        found.push(format!("{}: does not end with one newline", file.path));
    }
    found
}

/// Figures that are left out of the tables of the pages that consist of them. `…` in code is the name of something that is left out there.
pub fn unmeasured(file: &File) -> Vec<String> {
    if !matches!(file.path.as_str(), "docs/performance.md" | "docs/scaling.md") {
        return Vec::new();
    }
    let is_left_out = |cell: &str| cell.split('`').step_by(2).any(|text| text.contains('…'));
    file.lines_where(|line| {
        let count = line.strip_prefix('|').map_or(0, |cells| cells.split('|').filter(|cell| is_left_out(cell)).count());
        (count > 0).then(|| format!("{count} cells of the table have … in place of a figure"))
    })
}

/// Links in Markdown to files that are not there.
pub fn dead_links(repository: &Repository, file: &File) -> Vec<String> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    link_targets(&file.text)
        .into_iter()
        .filter(|(_, target)| !repository.has(&resolved(folder, target)))
        .map(|(line, target)| file.at(line, &format!("the link to `{target}` leads nowhere")))
        .collect()
}

fn resolved(folder: &Path, target: &str) -> PathBuf {
    match target.strip_prefix('/') {
        Some(from_top) => PathBuf::from(from_top),
        None => folder.join(target),
    }
}

/// Local targets of `[text](target)` outside code blocks, without their fragments, with their lines.
fn link_targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let Some((target, _)) = line[at + 2..].split_once(')') else {
                continue;
            };
            let target = target.split(['#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((index + 1, target));
            }
        }
    }
    found
}

pub fn self_test() {
    let source = |text: &str| File::sample("crates/a/src/b.rs", text);
    assert_eq!(unfinished(&source("x // TODO: y\n")).len(), 1);
    assert_eq!(unfinished(&source("todo!()\n")).len(), 1);
    assert!(unfinished(&source("let TODOS = HACKNEY;\n")).is_empty());
    let page = File::sample("docs/a.md", "| @@BINARY_MB@@ MB |\n@@ -1,2 +1,2 @@\n@@a@@ b@@B\n@@ x @@JS_KB2@@\n");
    assert_eq!(unfinished(&page).len(), 2, "{:?}", unfinished(&page));
    assert_eq!([placeholder("a @@A_1@@ b @@C@@"), placeholder("@@@@ @@A@ @@"), placeholder("@@A")], [Some("@@A_1@@"), None, None]);
    assert_eq!(skipped_tests(&source("#[ignore = \"slow\"]\n")).len(), 1);
    assert_eq!(skipped_tests(&File::sample("a.py", "@pytest.mark.skip\n")).len(), 1);
    assert_eq!(machine_paths(&source("let a = \"/home/me\";\n")).len(), 1);
    assert!(machine_paths(&source("https://example.com/home/ and $DIR/target/work/x\n")).is_empty());
    assert_eq!(untidy_ends(&source("a \n")).len(), 1);
    assert_eq!(untidy_ends(&source("a")).len(), 1);
    assert_eq!(untidy_ends(&source("a\n\n")).len(), 1);
    assert!(untidy_ends(&source("a\n")).is_empty());
    let page = |line: &str| unmeasured(&File::sample("docs/scaling.md", line)).len();
    assert_eq!(["| a | … |\n", "| d = … s | 2 |\n", "| a | `SET …` 1 |\n", "… cores\n"].map(page), [1, 1, 0, 0]);
    assert_eq!(link_targets("a [b](c.md#d) [e](https://f) [g](#h)\n```\n[i](j)\n```\n"), [(1, "c.md")]);
    assert_eq!(resolved(Path::new("docs"), "../README.md"), Path::new("docs/../README.md"));
}
