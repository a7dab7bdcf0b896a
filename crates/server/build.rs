//! Embeds what people open in a browser: the dashboard and what the page at `/docs` needs, if `scripts/setup` has made them. Without them the
//! build works too, and the pages are plain ones.
#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    embed("web/dist", "dashboard.rs")?;
    embed("web/docs/dist", "docs.rs")
}

/// Lists the packed files of a folder of the repository, as names without `.gz` and contents, in a file that is included.
fn embed(folder: &str, list: &str) -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let folder = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../..").join(folder);
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries = Vec::new();
    gather(&folder, "", &mut entries)?;
    entries.sort();
    std::fs::write(Path::new(&variable("OUT_DIR")?).join(list), format!("&[\n{}]\n", entries.concat()))?;
    Ok(())
}

fn gather(folder: &Path, prefix: &str, entries: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            gather(&path, &format!("{prefix}{name}/"), entries)?;
        } else if path.extension().is_some_and(|extension| extension == "gz") {
            let name = format!("{prefix}{}", path.file_stem().unwrap_or_default().to_string_lossy());
            entries.push(format!("    ({name:?}, include_bytes!({:?})),\n", std::path::absolute(&path)?));
        }
    }
    Ok(())
}
