//! What the command line counts before it asks is what it deals with, however much goes on failing between the question and the answer; and flags
//! that would do nothing are refused.

use crate::common::cli::{Said, Shell};
use crate::common::receiver::{Received, read};
use crate::common::{Client, Receiver, Reply, Server};
use serde_json::Value;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

const LETTERS: [&str; 3] = ["dlq", "list", "--json"];

/// A server with two dead letters, and a command line to which one more happens each time that it goes from counting to doing.
struct Scene {
    _server: Server,
    receiver: Receiver,
    /// Straight to the server.
    shell: Shell,
    /// Past somebody who has one more delivery fail before each call of the method that is no count.
    through: Shell,
}

impl Scene {
    /// The receiver refuses so many requests: two before the count, and one between that and each deed.
    fn before(deed: &'static str, refused: usize) -> Scene {
        let receiver = Receiver::scripted(move |n| Reply::Status(if n < refused { 400 } else { 200 }));
        let server = Server::dev(&[]);
        let shell = Shell::of(&server);
        shell.done(&["endpoints", "create", &receiver.url, "--event", "*", "--max-retries", "0"]);
        for _ in 0..2 {
            one_more(server.address);
        }
        let through = Shell::at(&between(server.address, deed));
        Scene { _server: server, receiver, shell, through }
    }

    /// What a command prints that goes well and leaves so many dead letters.
    fn done(&self, words: &[&str], left: usize) -> Said {
        let said = self.through.done(words);
        self.shell.done_when(&LETTERS, |said| said.out.lines().count() == left);
        said
    }
}

/// Has one more delivery fail for good, and waits until it has.
fn one_more(server: SocketAddr) {
    let shell = Shell::at(&format!("http://{server}"));
    let before = shell.done(&LETTERS).out.lines().count();
    shell.done(&["events", "push", "order.created"]);
    shell.done_when(&LETTERS, |said| said.out.lines().count() == before + 1);
}

/// Passes requests on to a server, and has one more delivery fail before each that is a deed. Answers its URL.
fn between(server: SocketAddr, deed: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || pass_on(stream, server, deed));
        }
    });
    url
}

fn pass_on(mut writer: TcpStream, server: SocketAddr, deed: &str) {
    let mut reader = BufReader::new(writer.try_clone().expect("a handle"));
    while let Some(request) = read(&mut reader) {
        if is_deed(&request, deed) {
            one_more(server);
        }
        let own = ["host", "connection", "content-length"];
        let headers: Vec<(&str, &str)> =
            request.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())).map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = Client::new(server).call(&request.method, &request.path, &headers, &request.body);
        let (media, length) = (answer.header("content-type").unwrap_or("text/plain"), answer.body.len());
        let head = format!("HTTP/1.1 {} Status\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n", answer.status);
        if writer.write_all(&[head.as_bytes(), &answer.body].concat()).is_err() {
            return;
        }
    }
}

/// Whether a request is to the method and does more than to count.
fn is_deed(request: &Received, deed: &str) -> bool {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let counts = if deed.ends_with("/ListEventReports") { body["prepareRepush"] != true } else { body["dryRun"] == true };
    request.path.ends_with(deed) && !counts
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let shell = Shell::at("http://127.0.0.1:9");
    let id = "0197f3a2-5b1c-7d4e-8f90-123456789abc";
    for (words, named) in [
        (&["dlq", "replay", id, "--rate", "5"][..], "--rate"),
        (&["dlq", "replay", id, "--detach"], "--detach"),
        (&["events", "push", "order.created", "--concurrency", "4"], "--ndjson"),
        (&["top", "--json"], "postrider overview --json"),
    ] {
        let said = shell.run(words);
        assert!(said.code == Some(2) && said.out.is_empty() && said.talk.contains(named), "{words:?}: {:?} {}", said.code, said.talk);
    }
}

#[test]
fn only_dead_letters_that_were_counted_are_dismissed() {
    let scene = Scene::before("DeadLetterService/DismissDeadLetters", 4);
    let said = scene.done(&["dlq", "dismiss", "--all", "--yes", "--json"], 1);
    assert_eq!(said.document()["dismissed"], 2, "{}", said.talk);
    // With a time of one's own nothing comes to it either.
    let none = scene.through.run(&["dlq", "dismiss", "--before", "1h", "--yes"]);
    assert_eq!(none.code, Some(3), "{}", none.talk);
    // A time that is still to come ends at the count as well.
    let said = scene.done(&["dlq", "dismiss", "--before", "2999-01-01T00:00:00Z", "--yes", "--json"], 1);
    assert_eq!(said.document()["dismissed"], 1, "{}", said.talk);
}

#[test]
fn only_dead_letters_that_were_counted_are_replayed() {
    let scene = Scene::before("DeadLetterService/ReplayDeadLetters", 3);
    let job = scene.done(&["dlq", "replay", "--all", "--yes", "--json"], 1).document();
    assert_eq!((&job["matched"], &job["replayed"]), (&"2".into(), &"2".into()), "{job}");
    assert_eq!(scene.receiver.wait_for(5).len(), 5, "the third is left alone");
}

#[test]
fn only_deliveries_that_were_counted_are_retried() {
    let scene = Scene::before("LedgerService/RetryMatching", 3);
    let sum = scene.through.done(&["deliveries", "retry", "--state", "failed", "--yes", "--json"]).document();
    assert_eq!((&sum["matched"], &sum["queued"]), (&2.into(), &2.into()), "{sum}");
    let all = |state| ["deliveries", "list", "--json", "--state", state];
    scene.shell.done_when(&all("succeeded"), |said| said.out.lines().count() == 2);
    assert_eq!(scene.shell.done(&all("failed")).out.lines().count(), 1, "the third is left alone");
}

#[test]
fn only_events_that_were_counted_are_published_again() {
    let scene = Scene::before("webhook.EventService/ListEventReports", 3);
    let batch = scene.through.done(&["events", "repush", "--event-type", "order.created", "--yes", "--json"]).document();
    assert_eq!((&batch["total"], &batch["processed"]), (&2.into(), &2.into()), "{batch}");
    // Two, one meanwhile, and the two again.
    assert_eq!(scene.receiver.wait_for(5).len(), 5, "the third is left alone");
}
