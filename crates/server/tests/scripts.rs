//! `scripts/postgres` in the hands of somebody who is not root, whoever runs the tests.

use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tempfile::TempDir;

/// The longest that anything here is waited for, and a cluster is made first; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// The user `nobody` and its group: root runs the script as these.
const NOBODY: u32 = 65_534;

/// What the script runs beside the server: tells what it was given and what the server answers, and ends with the status that it is told.
const COMMAND: &str = r#"
echo "user=$POSTRIDER_TEST_POSTGRES_USER"
echo "directory=$POSTRIDER_TEST_POSTGRES_DIR"
"$POSTRIDER_TEST_POSTGRES_BIN/psql" "$POSTRIDER_TEST_DATABASE_URL" -XAtc "SELECT 'answer=' || 6 * 7"
read -r status
exit "$status"
"#;

/// Who the script and its server belong to.
fn user() -> u32 {
    if geteuid().is_root() { NOBODY } else { geteuid().as_raw() }
}

/// The script while it runs, in a directory of its user's.
struct Running {
    script: Child,
    told: ChildStdin,
    said: mpsc::Receiver<String>,
    /// Where its server lives.
    home: PathBuf,
    place: TempDir,
}

impl Running {
    /// Returns once the command has told everything.
    fn start() -> Running {
        let place = place();
        let mut script = script(place.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the script starts");
        let (told, output) = (script.stdin.take().expect("a pipe"), BufReader::new(script.stdout.take().expect("a pipe")));
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Whoever listens may have gone; the pipe is emptied all the same.
                let _ = sender.send(line);
            }
        });
        // From here on the script ends with this, also where something is not as it should be.
        let mut running = Running { script, told, said, home: PathBuf::new(), place };
        let heard: Vec<String> = (0..4).map_while(|_| running.said.recv_timeout(PATIENCE).ok()).collect();
        let [version, user, directory, answer] = heard.as_slice() else { panic!("it said no more than {heard:#?}") };
        // Nothing comes before it: what is installed already is not installed again, which would take root.
        assert!(version.starts_with("== postgres (PostgreSQL) "), "{heard:#?}");
        assert_eq!((user.as_str(), answer.as_str()), ("user=", "answer=42"));
        let own = Path::new(directory.strip_prefix("directory=").expect("a directory"));
        assert!(own.is_dir(), "{}", own.display());
        running.home = own.parent().expect("it lies in the server's").to_owned();
        running
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.told, "{line}").expect("the command listens");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.script), signal).expect("the script is there");
    }

    /// Who the processes of its server belong to: those that work in its directory.
    fn owners(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
        let ours = processes.filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|at| at.starts_with(&self.home)));
        ours.filter_map(|process| process.metadata().ok()).map(|metadata| metadata.uid()).collect()
    }

    /// How the script ends, with all that it has started: its output ends with the last who could write to it. It must leave nothing.
    fn ended(mut self) -> ExitStatus {
        let more = self.said.recv_timeout(PATIENCE);
        assert_eq!(more, Err(RecvTimeoutError::Disconnected), "it does not end");
        let status = self.script.wait().expect("it ends");
        assert!(self.owners().is_empty(), "processes of its server are left");
        assert!(!self.home.exists(), "{} is left", self.home.display());
        let left: Vec<_> = fs::read_dir(temporary(self.place.path())).expect("a directory").collect();
        assert!(left.is_empty(), "{left:?}");
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already. Its server ends with it however it ends, and the command with its input.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// A directory of the user's with what the script needs: the repository may lie where only root gets at it.
fn place() -> TempDir {
    // Not below TMPDIR, which may lie there too.
    let place = tempfile::tempdir_in("/tmp").expect("a directory");
    let (folder, repository) = (place.path().join("scripts"), Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts"));
    let mut made = vec![place.path().to_owned(), folder.clone(), temporary(place.path())];
    for directory in &made[1..] {
        fs::create_dir(directory).expect("a directory");
    }
    for name in ["common.sh", "postgres", "setup"] {
        fs::copy(repository.join(name), folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        made.push(folder.join(name));
    }
    for path in &made {
        chown(path, Some(user()), geteuid().is_root().then_some(NOBODY)).expect("its owner is changed");
    }
    place
}

/// Where the script is to put what lasts as long as it does.
fn temporary(place: &Path) -> PathBuf {
    place.join("tmp")
}

/// The script with the command, as the user.
fn script(place: &Path) -> Command {
    let path = place.join("scripts/postgres");
    let mut command = if geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups").arg(path);
        command
    } else {
        Command::new(path)
    };
    // The tests themselves are run by the script: what it has set for them is not what it sets here.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTRIDER_")) {
        command.env_remove(name);
    }
    command.args(["run", "bash", "-euc", COMMAND]).current_dir(place).env("HOME", place).env("TMPDIR", temporary(place));
    command
}

#[test]
fn a_plain_user_gets_a_server_of_its_own_for_as_long_as_the_command_runs() {
    let mut running = Running::start();
    let owners = running.owners();
    assert!(!owners.is_empty() && owners.iter().all(|owner| *owner == user()), "{owners:?}");
    running.tell("7");
    assert_eq!(running.ended().code(), Some(7));
}

#[test]
fn a_plain_user_who_stops_the_script_stops_the_command_and_the_server() {
    let running = Running::start();
    assert!(!running.owners().is_empty());
    running.signal(Signal::TERM);
    // As a shell says it of a command that a signal ended.
    assert_eq!(running.ended().code(), Some(128 + Signal::TERM.as_raw()));
}
