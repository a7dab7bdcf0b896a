//! The file of profiles: where servers are, and with which keys to ask them. Only its owner can read it.

use super::Failure;
use crate::cli::say;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

/// A server and who asks it.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Where it is.
    pub url: String,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The namespace that is meant where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// All profiles.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// The one that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Reads the file; where there is none, there are no profiles.
    pub fn read() -> Result<Self, Failure> {
        let Some(path) = path() else { return Ok(Profiles::default()) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Profiles::default()),
            Err(error) => return Err(Failure::because(path.display(), error)),
        };
        if fs::metadata(&path).is_ok_and(|about| about.permissions().mode() & 0o077 != 0) {
            say(&format!("postrider: others on this machine can read {}, and there may be keys in it: chmod 600 it", path.display()));
        }
        // Not the error's own text, which shows the line, and with that perhaps a key.
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
            Failure::because(format_args!("{}, line {line}", path.display()), error.message())
        })
    }

    /// Writes the file anew, readable for its owner only.
    pub fn write(&self) -> Result<PathBuf, Failure> {
        let path = path().ok_or_else(|| Failure::refused("there is no home directory to keep profiles in: set XDG_CONFIG_HOME or HOME"))?;
        let failed = |error: io::Error| Failure::because(path.display(), error);
        let text = toml::to_string(self).map_err(|error| Failure::because("the profiles cannot be written", error))?;
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        }
        let fresh = path.with_extension(format!("toml.{}", std::process::id()));
        // What an earlier process of this number left behind: a file that is there would keep its permissions.
        let _ = fs::remove_file(&fresh);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(failed)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(|error| {
            // It is of no use to anybody.
            let _ = fs::remove_file(&fresh);
            failed(error)
        })?;
        Ok(path)
    }

    /// The profile of this name.
    pub fn named(&self, name: &str) -> Result<&Profile, Failure> {
        self.profiles.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let known = if known.is_empty() { String::from("there are none yet") } else { format!("there are {}", known.join(", ")) };
            Failure::usage(format!("there is no profile {name:?} ({known}): postrider profiles set makes one"))
        })
    }

    /// The one that is used where none is named, if there is one.
    pub fn current(&self) -> Result<Option<&Profile>, Failure> {
        self.current.as_deref().map(|name| self.named(name)).transpose()
    }
}

/// Where the file is, by the rules of the XDG base directories.
fn path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(directory.join("postrider/profiles.toml"))
}

/// Whether a profile may be called so.
pub fn check_name(name: &str) -> Result<String, String> {
    let is_fine =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if is_fine { Ok(name.to_owned()) } else { Err(String::from("a name is 1 to 64 letters, digits, -, _ or .")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_as_they_were_written() {
        let profile = Profile { url: String::from("https://h"), key: Some(String::from("pr_k")), namespace: None };
        let all = Profiles { current: Some(String::from("a.b")), profiles: BTreeMap::from([(String::from("a.b"), profile)]) };
        let text = toml::to_string(&all).expect("TOML");
        let read: Profiles = toml::from_str(&text).expect(&text);
        assert_eq!(read.current().expect("it is there").map(|p| (p.url.as_str(), p.key.as_deref())), Some(("https://h", Some("pr_k"))));
        assert!(read.named("c").err().is_some_and(|failure| failure.to_string().contains("there are a.b")));
    }

    #[test]
    fn names_are_plain() {
        for bad in ["", "a b", "ä", "a/b"] {
            check_name(bad).expect_err(bad);
        }
        check_name("prod-1.eu").expect("a name");
    }
}
