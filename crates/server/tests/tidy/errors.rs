//! Every error code has a page of advice.

use super::repository::Repository;
use std::collections::BTreeSet;

const SOURCE: &str = "crates/core/src/error.rs";
const FOLDER: &str = "docs/errors/";
/// What every page has to answer.
const SECTIONS: [&str; 3] = ["## What happened", "## What Postrider does", "## What to do"];

pub fn pages(repository: &Repository) -> Vec<String> {
    let codes = codes(&repository.read(SOURCE).unwrap_or_default());
    assert!(codes.len() > 10, "hardly any code found in {SOURCE}: {codes:?}");
    let mut found = Vec::new();
    let mut described = BTreeSet::new();
    for file in repository.files() {
        let Some(code) = file.path.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".md")) else {
            continue;
        };
        if code == "README" {
            continue;
        }
        described.insert(code.to_owned());
        if !file.text.starts_with(&format!("# {code}\n")) {
            found.push(file.at(1, &format!("does not begin with `# {code}`")));
        }
        for section in SECTIONS.into_iter().filter(|section| !file.text.lines().any(|line| line == *section)) {
            found.push(format!("{}: the section `{section}` is missing", file.path));
        }
    }
    found.extend(codes.difference(&described).map(|code| format!("{FOLDER}{code}.md is missing")));
    found.extend(described.difference(&codes).map(|code| format!("{FOLDER}{code}.md: {SOURCE} has no such code")));
    found
}

/// The texts in lines such as `Name = "text";`.
fn codes(source: &str) -> BTreeSet<String> {
    source.lines().filter_map(code).map(str::to_owned).collect()
}

fn code(line: &str) -> Option<&str> {
    let (name, rest) = line.trim().split_once(" = \"")?;
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    is_name.then(|| rest.strip_suffix("\";")).flatten()
}

pub fn self_test() {
    assert_eq!(code("    DnsError = \"dns_error\";"), Some("dns_error"));
    assert_eq!(code("    let x = \"dns_error\";"), None);
    assert_eq!(code("    /// DnsError = \"x\";"), None);
}
