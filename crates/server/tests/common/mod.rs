//! What the black-box tests share: the real binary as a child process, a small HTTP client, a receiver that does as it is told.
#![allow(dead_code, unused_imports, missing_docs, reason = "every test file uses its own part of this")]

pub mod cli;
pub mod client;
pub mod items;
pub mod receiver;
pub mod rpc;

pub use client::{Answer, Client};
pub use receiver::{Nobody, Receiver, Reply};

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// The longest that anything here is waited for; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

/// The binary without anything of this process's environment that could be a setting.
pub fn postrider() -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTRIDER_")) {
        command.env_remove(name);
    }
    command
}

/// A running server with a directory of its own.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub dev_key: Option<String>,
    pub directory: TempDir,
    client: Client,
    /// What it said until it had started.
    pub heard: Vec<String>,
    said: mpsc::Receiver<String>,
}

impl Server {
    /// In development mode, with more flags.
    pub fn dev(flags: &[&str]) -> Server {
        let flags: Vec<&str> = std::iter::once("--dev").chain(flags.iter().copied()).collect();
        Server::start(tempfile::tempdir().expect("a directory"), &flags, &[])
    }

    /// In production mode with a master key, loopback targets allowed.
    pub fn guarded(master_key: &str) -> Server {
        Server::start(
            tempfile::tempdir().expect("a directory"),
            &["--allow-network", "127.0.0.0/8"],
            &[("POSTRIDER_BOOTSTRAP_KEY", master_key)],
        )
    }

    pub fn start(directory: TempDir, flags: &[&str], environment: &[(&str, &str)]) -> Server {
        let mut command = postrider();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir(&directory)).args(flags);
        command.envs(environment.iter().copied()).current_dir(directory.path());
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let (sender, said) = mpsc::channel();
        lines(child.stderr.take().expect("a pipe"), sender.clone());
        lines(child.stdout.take().expect("a pipe"), sender);
        let (mut address, mut dev_key) = (None, None);
        let mut heard = Vec::new();
        // The line that begins with "try" is the last one of what is said at start.
        loop {
            let line = said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the server did not start; it said: {heard:#?}"));
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["listening", "on", url] => address = url.strip_prefix("http://").and_then(|a| a.parse().ok()),
                ["key", key] => dev_key = Some((*key).to_owned()),
                _ => {}
            }
            let is_last = words.first() == Some(&"try");
            heard.push(line);
            if is_last {
                break;
            }
        }
        let address = address.expect("the server says where it listens");
        Server { child, address, dev_key, directory, client: Client::new(address), heard, said }
    }

    pub fn data_dir(&self) -> std::path::PathBuf {
        data_dir(&self.directory)
    }

    /// Asks without a key.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.client.call(method, path, headers, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], b"")
    }

    pub fn send_json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Makes a subscription and answers its id.
    pub fn subscribe(&self, body: &Value) -> String {
        let answer = self.send_json("POST", "/subscriptions", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    pub fn subscribe_to(&self, url: &str) -> String {
        self.subscribe(&json!({ "target_url": url }))
    }

    pub fn ingest(&self, subscription: &str, body: &[u8]) -> Answer {
        self.call("POST", &format!("/ingest/{subscription}"), &[("content-type", "application/json")], body)
    }

    /// Ingests what must be accepted and answers the task's id.
    pub fn accepted(&self, subscription: &str, body: &[u8]) -> String {
        let answer = self.ingest(subscription, body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["delivery_task_id"].as_str().expect("an id").to_owned()
    }

    /// The task and its logs, as soon as they are as wanted.
    pub fn task_when(&self, task: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.value_when(&format!("/deliveries/{task}"), wanted)
    }

    pub fn task_with_status(&self, task: &str, status: &str) -> Value {
        self.task_when(task, |v| v["task"]["status"] == status)
    }

    /// What a path shows, as soon as it is as wanted. The server tells nobody when it changes, so it is asked again and again.
    pub fn value_when(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            let value = if answer.status == 200 { answer.json() } else { Value::Null };
            if wanted(&value) {
                return value;
            }
            assert!(begun.elapsed() < PATIENCE, "{path} stays {} {}", answer.status, answer.text());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the server is there");
    }

    /// Asks it to stop, waits for that, and answers how it ended, with its directory.
    pub fn stop(mut self) -> (ExitStatus, TempDir) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.child.wait().expect("it ends");
        (status, self.take_directory())
    }

    /// Kills it as a power cut would.
    pub fn crash(mut self) -> TempDir {
        self.signal(rustix::process::Signal::KILL);
        self.child.wait().expect("it ends");
        self.take_directory()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be asked")
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Waits until it has ended by itself, and keeps its directory.
    pub fn stopped(mut self) -> (ExitStatus, TempDir) {
        let status = self.child.wait().expect("it ends");
        (status, self.take_directory())
    }

    /// Asks it to stop, waits for that, and answers its directory and all that it ever said, on stderr and on stdout.
    pub fn stop_and_tell(mut self) -> (TempDir, Vec<String>) {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("it ends");
        let mut all = std::mem::take(&mut self.heard);
        all.extend(self.said.iter());
        (self.take_directory(), all)
    }

    fn take_directory(&mut self) -> TempDir {
        std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a directory"))
    }

    /// Waits for a line on stderr that contains `text`.
    pub fn says(&self, text: &str) {
        let begun = Instant::now();
        while let Ok(line) = self.said.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            if line.contains(text) {
                return;
            }
        }
        panic!("the server never said {text:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn data_dir(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("data")
}

fn lines(from: impl std::io::Read + Send + 'static, sender: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // Whoever listens may have gone; the pipe is emptied all the same.
            let _ = sender.send(line);
        }
    });
}

/// Runs the binary to its end: how it ended, stdout, stderr.
pub fn run(arguments: &[&str], directory: &Path, environment: &[(&str, &str)]) -> (ExitStatus, String, String) {
    let output = postrider().args(arguments).envs(environment.iter().copied()).current_dir(directory).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status, text(output.stdout), text(output.stderr))
}

/// The path of the next page of a list, if its answer names one.
pub fn next_page(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let path = link.strip_prefix('<').and_then(|l| l.strip_suffix(">; rel=\"next\"")).unwrap_or_else(|| panic!("{link}"));
    Some(path.to_owned())
}

/// The names of an object's fields, sorted.
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Whether a text is a time as the Tasks API shows it: `2025-05-12T12:00:00Z`.
pub fn is_whole_second(value: &Value) -> bool {
    value.as_str().is_some_and(|t| t.len() == 20 && t.ends_with('Z') && t.as_bytes()[10] == b'T')
}

/// The `X-Hub-Signature-256` of a body.
pub fn hub_signature(secret: &str, body: &[u8]) -> String {
    postrider_core::sign::SigningKey::new(secret).expect("a secret").hub(body)
}
