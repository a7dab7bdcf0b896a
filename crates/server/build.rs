//! Embeds what the page at `/docs` needs, if `scripts/setup docs` has made it. Without it the build works too, and the page is a plain one.
#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let folder = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../../web/docs/dist");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            entries.push(format!("    ({name:?}, include_bytes!({:?})),\n", std::path::absolute(&path)?));
        }
    }
    entries.sort();
    std::fs::write(Path::new(&variable("OUT_DIR")?).join("docs.rs"), format!("&[\n{}]\n", entries.concat()))?;
    Ok(())
}
