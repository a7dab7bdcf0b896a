//! The command line beside a server, as a person at a shell has it, and what was typed and answered as a text that is the same each time.

use super::{PATIENCE, Server, postrider};
use serde_json::Value;
use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// What a command answered.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub talk: String,
}

impl Said {
    /// The lines of stdout, each as JSON.
    pub fn objects(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// What is on stdout, as one JSON document.
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.talk))
    }

    /// The first line of stdout.
    pub fn first(&self) -> String {
        self.out.lines().next().unwrap_or_else(|| panic!("nothing was printed, but said: {}", self.talk)).to_owned()
    }
}

/// A shell with a directory and a configuration of its own, for one server.
pub struct Shell {
    url: String,
    key: Option<String>,
    pub directory: TempDir,
    transcript: String,
    masks: Masks,
}

impl Shell {
    pub fn of(server: &Server) -> Self {
        Shell::at(&format!("http://{}", server.address))
    }

    pub fn at(url: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Shell { url: url.to_owned(), key: None, directory, transcript: String::new(), masks: Masks::default() }
    }

    /// The same with a key in the environment.
    pub fn with_key(self, key: &str) -> Self {
        Shell { key: Some(key.to_owned()), ..self }
    }

    /// Puts a file into its directory.
    pub fn file(&self, name: &str, content: &str) {
        std::fs::write(self.directory.path().join(name), content).expect("a file");
    }

    /// A command of the binary, not begun yet.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = postrider();
        command.args(words).current_dir(self.directory.path()).env("POSTRIDER_URL", &self.url);
        command.envs(self.key.iter().map(|key| ("POSTRIDER_KEY", key)));
        command.env("XDG_CONFIG_HOME", self.directory.path().join("config")).env_remove("COLUMNS").env_remove("NO_COLOR");
        command
    }

    /// Runs a command to its end, with this on stdin.
    pub fn feed(&self, words: &[&str], input: &str) -> Said {
        let mut child = begun(self.command(words));
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code(), out: text(output.stdout), talk: text(output.stderr) }
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Said {
        self.feed(words, "")
    }

    /// What a command prints that must go well.
    pub fn done(&self, words: &[&str]) -> Said {
        let said = self.run(words);
        assert_eq!(said.code, Some(0), "postrider {words:?}: {}{}", said.out, said.talk);
        said
    }

    /// What a command that must go well prints once that is as wanted.
    pub fn done_when(&self, words: &[&str], wanted: impl Fn(&Said) -> bool) -> Said {
        let begun = Instant::now();
        loop {
            let said = self.done(words);
            if wanted(&said) {
                return said;
            }
            assert!(begun.elapsed() < PATIENCE, "postrider {words:?} still says {}{}", said.out, said.talk);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Runs a command and writes it and what it answered into the transcript.
    pub fn typed(&mut self, words: &[&str]) -> Said {
        let said = self.run(words);
        let shown = words.iter().map(|word| if word.contains([' ', '{', '*']) { format!("'{word}'") } else { (*word).to_owned() });
        let line = shown.collect::<Vec<_>>().join(" ");
        let mut text = format!("$ postrider {line}\n{}", said.out);
        for talk in said.talk.lines() {
            text.push_str(&format!("! {talk}\n"));
        }
        if said.code != Some(0) {
            text.push_str(&format!("[exit code {}]\n", said.code.map_or_else(|| String::from("none"), |code| code.to_string())));
        }
        let masked = self.masks.mask(&text);
        self.transcript.push_str(&format!("{masked}\n"));
        said
    }

    /// Everything that was typed and answered, without what differs from run to run and from release to release.
    pub fn transcript(&self) -> String {
        let directory = self.directory.path().display().to_string();
        self.transcript.trim_end().replace(&directory, "DIRECTORY").replace(env!("CARGO_PKG_VERSION"), "RELEASE")
    }
}

/// Checks that the columns of a table lie below their titles: to the left of each title, or else to its right, is nothing in any row.
pub fn assert_aligned(table: &str) {
    let lines: Vec<Vec<char>> = table.lines().map(|line| line.chars().collect()).collect();
    let (head, rows) = lines.split_first().expect("a head");
    let blank = |line: &[char], at: usize| line.get(at).is_none_or(|c| *c == ' ');
    let is_free_before = |line: &[char], at: usize| (at.saturating_sub(2)..at).all(|before| blank(line, before));
    let is_free_from = |line: &[char], at: usize| blank(line, at) && blank(line, at + 1);
    for begin in (0..head.len()).filter(|at| !blank(head, *at) && is_free_before(head, *at)) {
        let end = (begin..head.len()).find(|at| is_free_from(head, *at)).unwrap_or(head.len());
        let is_left = rows.iter().all(|row| is_free_before(row, begin) && !blank(row, begin));
        let is_right = rows.iter().all(|row| is_free_from(row, end) && !blank(row, end - 1));
        let title: String = head[begin..end].iter().collect();
        assert!(is_left || is_right, "the column {title:?} is not below its title:\n{table}");
    }
}

/// Begins a command with pipes on all sides.
pub fn begun(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

/// Sends Ctrl-C and waits for the end.
pub fn interrupt(child: &mut Child) -> ExitStatus {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::INT).expect("it is there");
    child.wait().expect("it ends")
}

/// What differs from run to run, and its names: the same id has the same name all along.
#[derive(Default)]
struct Masks {
    ids: Vec<String>,
}

impl Masks {
    fn mask(&mut self, text: &str) -> String {
        text.lines().filter(|line| !is_bar(line)).map(|line| self.line(line) + "\n").collect()
    }

    fn line(&mut self, line: &str) -> String {
        // Times in a body may have more digits or fewer.
        if line.trim_start().starts_with("content-length:") {
            return String::from("  content-length: N");
        }
        let mut masked = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (name, length) = self.token(rest, masked.chars().next_back());
            masked.push_str(&name);
            rest = &rest[length..];
        }
        // Columns are as wide as what was masked.
        while masked.contains("   ") {
            masked = masked.replace("   ", "  ");
        }
        masked.trim_end().to_owned()
    }

    /// What stands for the beginning of a text, and how long that beginning is.
    fn token(&mut self, text: &str, before: Option<char>) -> (String, usize) {
        let plain = text.chars().next().map(String::from).unwrap_or_default();
        let plain_length = plain.len();
        if before.is_some_and(|c| c.is_alphanumeric()) {
            return (plain, plain_length);
        }
        let head = |length: usize| text.get(..length).unwrap_or_default();
        if is_shaped(head(36), "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
            return (self.name(head(36)), 36);
        }
        let run = |from: usize, is_part: fn(char) -> bool| {
            from + text[from..].chars().take_while(|c| is_part(*c)).map(char::len_utf8).sum::<usize>()
        };
        if is_shaped(head(19), "dddd-dd-ddTdd:dd:dd") {
            return (String::from("TIME"), run(19, |c| c.is_ascii_digit() || matches!(c, '.' | 'Z')));
        }
        if text.starts_with("127.0.0.1:") {
            return (String::from("127.0.0.1:PORT"), run(10, |c| c.is_ascii_digit()));
        }
        for prefix in ["whsec_", "pr_", "push-", "msg_"] {
            if text.starts_with(prefix) {
                let end = run(prefix.len(), |c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '*'));
                return (format!("{prefix}SECRET"), end);
            }
        }
        let word = run(0, |c| c.is_ascii_alphanumeric());
        if word >= 24 {
            return (String::from("KEY"), word);
        }
        let digits = run(0, |c| c.is_ascii_digit() || c == '.');
        let unit = [" ms", " s", " min", " KiB"].into_iter().find(|unit| {
            let after = text[digits..].strip_prefix(unit);
            after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric()))
        });
        match unit {
            Some(unit) if digits > 0 => (format!("N{unit}"), digits + unit.len()),
            // Seconds since 1970.
            _ if digits >= 10 => (String::from("NUMBER"), digits),
            _ if digits > 0 => (text[..digits].to_owned(), digits),
            _ => (plain, plain_length),
        }
    }

    fn name(&mut self, id: &str) -> String {
        let at = self.ids.iter().position(|known| known == id).unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("ID-{}", at + 1)
    }
}

/// Whether a line is a part of a waterfall: which parts there are depends on the connection.
fn is_bar(line: &str) -> bool {
    line.chars().filter(|c| matches!(c, '█' | '·')).count() >= 30
}

/// Whether a text has the form: `x` is a hexadecimal digit, `d` a decimal one.
fn is_shaped(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.chars().zip(shape.chars()).all(|(c, of)| match of {
            'x' => c.is_ascii_hexdigit(),
            'd' => c.is_ascii_digit(),
            other => c == other,
        })
}
