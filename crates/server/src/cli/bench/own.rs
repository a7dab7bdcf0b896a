//! The benchmark's own server: the same binary as a child process, so that what it uses is measured apart.

use crate::cli::CommandError;
use crate::random;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the server may take until it accepts requests.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often its port file and its end are looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How much of the end of its log is shown when it fails.
const SHOWN_LOG_BYTES: usize = 2_000;

/// A running server of our own. Dropping it kills it and, unless it is to be kept, removes its directory.
#[derive(Debug)]
pub struct OwnServer {
    child: Child,
    directory: PathBuf,
    /// Whether the directory was made by us and may be removed.
    remove: bool,
    /// `host:port` that it listens on.
    pub address: String,
    /// A key to read and write in its namespace `default`.
    pub key: String,
}

impl OwnServer {
    /// Starts `postrider serve --dev` on a free port with its data in `data_dir` or a fresh directory, which `keep` leaves behind.
    pub async fn start(data_dir: Option<&Path>, keep: bool, arguments: &[String]) -> Result<Self, CommandError> {
        let program = std::env::current_exe().map_err(|error| CommandError::new("cannot find this program's own file", error))?;
        let directory = match data_dir {
            Some(named) => empty(named)?,
            None => std::env::temp_dir().join(format!("postrider-bench-{}-{:08x}", std::process::id(), random::seed() as u32)),
        };
        let cannot = |error| CommandError::new(format_args!("cannot write in {}", directory.display()), error);
        fs::create_dir_all(&directory).map_err(cannot)?;
        // Absolute, for the server works in that directory lest it read a configuration file of this one.
        let directory = directory.canonicalize().map_err(cannot)?;
        let (port_file, log) = (directory.join("port"), File::create(directory.join("server.log")).map_err(cannot)?);
        let data = directory.join("data");
        let key = make_key(&program, &data)?;
        let mut command = clean(&program);
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        command.arg("--port-file").arg(&port_file).args(arguments);
        command.env("POSTRIDER_LOG", "warn").current_dir(&directory);
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(cannot)?).stderr(log);
        let child = command.spawn().map_err(|error| CommandError::new("cannot start the server", error))?;
        let mut server = OwnServer { child, directory, remove: data_dir.is_none() && !keep, address: String::new(), key };
        server.address = server.await_port(&port_file).await?;
        Ok(server)
    }

    async fn await_port(&mut self, port_file: &Path) -> Result<String, CommandError> {
        let began = Instant::now();
        loop {
            // The line is complete once it ends.
            if let Ok(text) = fs::read_to_string(port_file)
                && let Some(line) = text.strip_suffix('\n')
            {
                return Ok(line.trim().to_string());
            }
            self.check()?;
            if began.elapsed() > START_TIMEOUT {
                return Err(self.failed(format_args!("the server accepted no request within {} s", START_TIMEOUT.as_secs())));
            }
            sleep(LOOK).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its data and log are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// An error with the end of its log if it has ended.
    pub fn check(&mut self) -> Result<(), CommandError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.failed(format_args!("the server has ended ({status})"))),
            Ok(None) => Ok(()),
            Err(error) => Err(CommandError::new("cannot watch the server", error)),
        }
    }

    fn failed(&self, what: std::fmt::Arguments<'_>) -> CommandError {
        let log = fs::read(self.directory.join("server.log")).unwrap_or_default();
        let end = String::from_utf8_lossy(&log[log.len().saturating_sub(SHOWN_LOG_BYTES)..]);
        CommandError(format!("{what}; the end of its log:\n{}", end.trim_end()))
    }

    /// Stops it in good order; says how it ended.
    pub async fn stop(mut self) -> Result<ExitStatus, CommandError> {
        let cannot = |error| CommandError::new("cannot stop the server", error);
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already; waiting for it tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < STOP_TIMEOUT {
            if let Some(status) = self.child.try_wait().map_err(cannot)? {
                return Ok(status);
            }
            sleep(LOOK).await;
        }
        self.child.kill().map_err(cannot)?;
        self.child.wait().map_err(cannot)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.remove {
            // What cannot be removed lies in the temporary directory.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// This program without the settings of the environment, which are meant for other servers.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTRIDER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Makes a key in a store that no server has opened yet.
fn make_key(program: &Path, data: &Path) -> Result<String, CommandError> {
    let mut command = clean(program);
    command.args(["keys", "create", "--namespace", "default", "--scopes", "read,write", "--data-dir"]).arg(data);
    let output = command.stdin(Stdio::null()).output().map_err(|error| CommandError::new("cannot make a key", error))?;
    if !output.status.success() {
        return Err(CommandError::new("cannot make a key", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// The directory, if it is absent or empty: a measurement must not write into somebody's data.
fn empty(directory: &Path) -> Result<PathBuf, CommandError> {
    if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(CommandError(format!("--data-dir {} is not empty: choose a new directory", directory.display())));
    }
    Ok(directory.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_used() {
        let directory = tempfile::tempdir().expect("a directory");
        empty(directory.path()).expect("an empty one");
        empty(&directory.path().join("new")).expect("one that is not there yet");
        fs::write(directory.path().join("postrider.db"), "data").expect("a file");
        let error = empty(directory.path()).expect_err("somebody's data");
        assert!(error.to_string().contains("not empty"), "{error}");
    }
}
