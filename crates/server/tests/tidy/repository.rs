//! The files of the repository, as git lists them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
pub struct File {
    /// Its path from the top, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl File {
    /// A file for the rules' own tests.
    pub fn sample(path: &str, text: &str) -> Self {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is Rust that only tests use: a tests directory, or a file that `#[cfg(test)] mod tests;` names.
    pub fn is_test(&self) -> bool {
        let mut parts = self.path.rsplit('/');
        let name = parts.next().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs") || parts.any(|part| part == "tests" || part == "benches")
    }

    /// Whether somebody else wrote it: lock files and licences are as they are.
    pub fn is_foreign(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        matches!(name, "LICENSE" | "Cargo.lock" | "package-lock.json") || name.ends_with(".snap")
    }

    /// A finding at a line, counted from 1.
    pub fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// A finding for every line that `finds` something in.
    pub fn lines_where(&self, finds: impl Fn(&str) -> Option<String>) -> Vec<String> {
        self.text.lines().enumerate().filter_map(|(index, line)| finds(line).map(|what| self.at(index + 1, &what))).collect()
    }
}

/// The repository that this crate is in.
pub struct Repository {
    top: PathBuf,
    files: Vec<File>,
}

impl Repository {
    /// Reads every text file that git tracks or would add.
    pub fn open() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&top)
            .output()
            .expect("git lists the files");
        assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
        let names = String::from_utf8(listed.stdout).expect("paths are UTF-8");
        let files: Vec<File> = names.split('\0').filter(|name| !name.is_empty()).filter_map(|name| read(&top, name)).collect();
        assert!(files.iter().filter(|file| file.is_rust()).count() > 20, "git listed hardly any source file: {names}");
        Repository { top, files }
    }

    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The text of one file, if there is one.
    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.top.join(path)).ok()
    }

    /// Whether there is a file or folder.
    pub fn has(&self, path: &Path) -> bool {
        self.top.join(path).exists()
    }
}

/// `None` for what is no text, or was deleted and is still listed.
fn read(top: &Path, name: &str) -> Option<File> {
    let text = std::fs::read_to_string(top.join(name)).ok()?;
    Some(File { path: name.to_owned(), text })
}
