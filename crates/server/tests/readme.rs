//! The commands under "Use it" in the README: all at once into a shell, as they stand there, with other ports.

mod common;

use common::BINARY;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The first block of commands under the heading.
fn block() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(file).expect("the README");
    let (_, rest) = readme.split_once("## Use it\n").expect("the heading");
    let (_, rest) = rest.split_once("```sh\n").expect("a block of commands");
    let (block, _) = rest.split_once("```").expect("its end");
    block.to_owned()
}

/// A port that nobody has right now.
fn port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// A shell that has a process group to itself, with all that it leaves in the background. It ends however the test ends.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        // Usually nobody is left.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A shell in a directory where the binary lies as a build leaves it, which tells everything into this file.
fn shell(directory: &Path, server: SocketAddr, said: &File) -> Shell {
    let release = directory.join("target/release");
    std::fs::create_dir_all(&release).expect("a directory");
    std::os::unix::fs::symlink(BINARY, release.join("postrider")).expect("a link");
    let mut command = Command::new("sh");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTRIDER_")) {
        command.env_remove(name);
    }
    // Where the block does not say it, the server is at the default address, which may be taken here.
    command.env("POSTRIDER_LISTEN", server.to_string()).env("POSTRIDER_URL", format!("http://{server}"));
    command.env("XDG_CONFIG_HOME", directory).env("TMPDIR", directory).env("no_proxy", "127.0.0.1");
    let copy = || Stdio::from(said.try_clone().expect("another handle"));
    command.arg("-u").current_dir(directory).stdin(Stdio::piped()).stdout(copy()).stderr(copy());
    Shell(command.process_group(0).spawn().expect("a shell"))
}

#[test]
fn ten_lines_lead_to_a_webhook_that_was_delivered_verified_and_retried() {
    let directory = tempfile::tempdir().expect("a directory");
    let (server, receiver) = (port(), port());
    let block = block();
    assert_eq!(block.lines().count(), 10, "{block}");
    for part in ["127.0.0.1:8080", "127.0.0.1:9000", "timeout 5 "] {
        assert!(block.contains(part), "{part} is not in the block any more: {block}");
    }
    // Other tests run beside this one, so that the second attempt may take longer than for somebody at a terminal.
    let pasted = block.replace("127.0.0.1:8080", &server.to_string()).replace("127.0.0.1:9000", &receiver.to_string());
    let pasted = pasted.replace("timeout 5 ", "timeout 10 ");
    // Then the dashboard, and the end of both that go on in the background: the shell itself hears the signal too.
    let page = directory.path().join("page.html");
    let after = format!(
        "curl -so '{}' -w 'page: %{{http_code}} %{{content_type}}\\n' http://{server}/\ntrap : TERM\nkill -TERM 0\nwait\n",
        page.display()
    );

    let file = directory.path().join("said.txt");
    let mut shell = shell(directory.path(), server, &File::create(&file).expect("a file"));
    let mut typed = shell.0.stdin.take().expect("a pipe");
    typed.write_all(format!("{pasted}{after}").as_bytes()).expect("it reads");
    drop(typed);
    shell.0.wait().expect("it ends");

    let said = String::from_utf8_lossy(&std::fs::read(&file).expect("what it said")).into_owned();
    let tailed = said.lines().find(|line| line.contains("order.created -> shop") && line.contains("succeeded"));
    assert!(tailed.is_some_and(|line| line.contains("2/4")), "`tail` does not show it as delivered: {said}");
    for words in ["attempt 1  500", "attempt 2  200", "signed: Standard Webhooks", "4711"] {
        assert!(said.contains(words), "`show` does not tell of {words:?}: {said}");
    }
    for words in ["-> 500", "-> 200", "(standard): ok"] {
        assert!(said.contains(words), "the receiver does not tell of {words:?}: {said}");
    }
    assert!(!said.contains("BAD") && !said.contains(": not found"), "{said}");
    assert!(said.contains("page: 200 text/html; charset=utf-8"), "{said}");
    let page = std::fs::read_to_string(page).expect("the page");
    assert!(page.to_lowercase().contains("<!doctype html>"), "{page}");
}
