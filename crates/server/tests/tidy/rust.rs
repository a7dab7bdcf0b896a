//! Rules about Rust source (and the length of TypeScript).

use super::repository::File;

const MAX_SOURCE_LINES: usize = 400;
const MAX_TEST_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;

pub fn long_file(file: &File) -> Vec<String> {
    if !file.is_rust() && !file.path.ends_with(".ts") && !file.path.ends_with(".svelte") {
        return Vec::new();
    }
    let limit = if file.is_test() { MAX_TEST_LINES } else { MAX_SOURCE_LINES };
    let lines = file.text.lines().count();
    if lines > limit { vec![format!("{}: {lines} lines, {limit} are allowed", file.path)] } else { Vec::new() }
}

/// Finds functions by indentation, which rustfmt guarantees: a function ends at the first `}` under its `fn`.
pub fn long_functions(file: &File) -> Vec<String> {
    if !file.is_rust() || file.is_test() {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let rest = &lines[start..];
        // A declaration without a body, or a body on the same line.
        let head = rest.iter().position(|l| l.trim_end().ends_with(['{', ';', '}'])).unwrap_or(0);
        if !rest[head].trim_end().ends_with('{') {
            continue;
        }
        let length = rest.iter().position(|l| *l == end).map_or(rest.len(), |at| at + 1);
        if length > MAX_FUNCTION_LINES {
            found.push(file.at(start + 1, &format!("`{name}` has {length} lines, {MAX_FUNCTION_LINES} are allowed")));
        }
    }
    found
}

/// The name in a line that begins a function.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(after) = rest.strip_prefix("pub") {
        rest = match after.strip_prefix('(') {
            Some(restricted) => restricted.split_once(')')?.1,
            None => after,
        }
        .trim_start();
    }
    for word in ["default ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

pub fn missing_map(file: &File) -> Vec<String> {
    let is_root = file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs");
    if is_root && !file.text.starts_with("//! ") { vec![format!("{}: no module documentation", file.path)] } else { Vec::new() }
}

pub fn unwraps(file: &File) -> Vec<String> {
    in_product_code(file, |line| line.contains(".unwrap()").then(|| "`.unwrap()`".to_owned()))
}

pub fn prints(file: &File) -> Vec<String> {
    if file.path.starts_with("crates/server/src/cli/") {
        return Vec::new();
    }
    in_product_code(file, |line| {
        ["println!", "eprintln!", "print!(", "eprint!("].into_iter().find(|word| line.contains(word)).map(|word| format!("`{word}`"))
    })
}

/// Lines of Rust under `src` that are neither tests nor comments.
fn in_product_code(file: &File, finds: impl Fn(&str) -> Option<String>) -> Vec<String> {
    if !file.is_rust() || !file.path.contains("/src/") || file.is_test() {
        return Vec::new();
    }
    let mut inside_tests = None;
    let mut found = Vec::new();
    let mut lines = file.text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(end) = &inside_tests {
            if line == end {
                inside_tests = None;
            }
        } else if line.trim() == "#[cfg(test)]" {
            inside_tests = test_item_end(&mut lines);
        } else if !line.trim_start().starts_with("//")
            && let Some(what) = finds(line)
        {
            found.push(file.at(index + 1, &what));
        }
    }
    found
}

/// The line that ends the item after `#[cfg(test)]`, unless the item is a single line.
fn test_item_end<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    let (_, item) = lines.find(|(_, line)| !line.trim_start().starts_with("#["))?;
    let indent = &item[..item.len() - item.trim_start().len()];
    let one_line = item.trim_end().ends_with([';', '}', ',']);
    (!one_line).then(|| format!("{indent}}}"))
}

pub fn self_test() {
    let long = |lines: usize| "x\n".repeat(lines);
    assert!(long_file(&File::sample("crates/a/src/b.rs", &long(400))).is_empty());
    assert_eq!(long_file(&File::sample("crates/a/src/b.rs", &long(401))).len(), 1);
    assert!(long_file(&File::sample("crates/a/tests/b.rs", &long(401))).is_empty());
    assert_eq!(long_file(&File::sample("crates/a/src/b/tests.rs", &long(601))).len(), 1);

    let function = |body: usize| {
        format!("impl A {{\n    pub(crate) async fn b<T>(\n        t: T,\n    ) {{\n{}    }}\n}}\n", "        x();\n".repeat(body))
    };
    assert!(long_functions(&File::sample("crates/a/src/b.rs", &function(66))).is_empty());
    assert_eq!(
        long_functions(&File::sample("crates/a/src/b.rs", &function(67))),
        ["crates/a/src/b.rs:2: `b` has 71 lines, 70 are allowed"]
    );
    assert!(long_functions(&File::sample("crates/a/src/b.rs", &format!("fn a();\n{}", long(100)))).is_empty());

    assert_eq!(missing_map(&File::sample("crates/a/src/lib.rs", "pub mod b;\n")).len(), 1);
    assert!(missing_map(&File::sample("crates/a/src/lib.rs", "//! A.\n")).is_empty());

    let unwrapping = "fn a() {\n    b.unwrap();\n}\n\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn c() {\n        b.unwrap();\n    }\n}\n// .unwrap()\nfn d() {\n    e.unwrap();\n}\n";
    assert_eq!(
        unwraps(&File::sample("crates/a/src/b.rs", unwrapping)),
        ["crates/a/src/b.rs:2: `.unwrap()`", "crates/a/src/b.rs:14: `.unwrap()`"]
    );
    assert!(unwraps(&File::sample("crates/a/tests/b.rs", unwrapping)).is_empty());
    let declared = "#[cfg(test)]\nmod tests;\nfn a() {\n    println!();\n}\n";
    assert_eq!(prints(&File::sample("crates/a/src/b.rs", declared)), ["crates/a/src/b.rs:4: `println!`"]);
    assert!(prints(&File::sample("crates/server/src/cli/demo.rs", declared)).is_empty());
    assert!(prints(&File::sample("crates/a/examples/b.rs", declared)).is_empty());
}
