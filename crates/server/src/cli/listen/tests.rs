//! The command over real sockets.

use super::*;
use clap::Parser;
use std::sync::mpsc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    let words = ["listen", "--listen", "127.0.0.1:0"].into_iter().chain(line.split_whitespace());
    Line::try_parse_from(words).expect("flags").args
}

/// A writer that hands over each line, so that a test can wait for it.
struct Lines(mpsc::Sender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            // The test has seen enough lines.
            let _ = self.0.send(String::from_utf8_lossy(&line).trim_end().to_string());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn post(address: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!("POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// The address in the first line of talk.
async fn address(talk: mpsc::Receiver<String>) -> (String, mpsc::Receiver<String>) {
    let (line, talk) = tokio::task::spawn_blocking(move || (talk.recv(), talk)).await.expect("no panic");
    let line = line.expect("the address");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address").to_string();
    (address, talk)
}

#[tokio::test]
async fn a_counted_run_prints_each_request_answers_it_and_sums_up() {
    let (data_in, data) = mpsc::channel();
    let (talk_in, talk) = mpsc::channel();
    let running = tokio::spawn(async move {
        let args = args("--json --count 2 --fail-first 1 --secret s3cret");
        listen(&args, std::future::pending(), &mut Lines(data_in, Vec::new()), &mut Lines(talk_in, Vec::new())).await
    });
    let (address, talk) = address(talk).await;
    let key = postrider_core::sign::SigningKey::new("s3cret").expect("a secret");
    let signed = format!("X-Hub-Signature-256: {}\r\nwebhook-id: msg_1\r\n", key.hub(b"{}"));
    assert!(post(&address, &signed, "{}").await.starts_with("HTTP/1.1 500 "));
    assert!(post(&address, &signed, "{}").await.starts_with("HTTP/1.1 200 "));
    let summary = running.await.expect("no panic").expect("a clean end");
    assert_eq!(summary, Summary { requests: 2, succeeded: 1, duplicates: 0, good: 2, bad: 0, unchecked: 0 });
    let printed: Vec<serde_json::Value> = data.iter().map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    assert_eq!(printed.iter().map(|line| line["status"].as_u64()).collect::<Vec<_>>(), [Some(500), Some(200)]);
    assert_eq!(talk.iter().collect::<Vec<_>>(), [summary.to_string()]);
}

#[tokio::test]
async fn an_interruption_ends_it_in_peace_and_quiet_says_nothing() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    stop.send(()).expect("somebody waits");
    let (mut data, mut talk) = (Vec::new(), Vec::new());
    let interrupted = async move { stopped.await.unwrap_or_default() };
    let summary = listen(&args("--quiet"), interrupted, &mut data, &mut talk).await.expect("a clean end");
    assert_eq!((summary, data.len(), talk.len()), (Summary::default(), 0, 0));
}

#[tokio::test]
async fn a_port_in_use_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut args = args("");
    args.listen = taken.local_addr().expect("an address");
    let error = listen(&args, std::future::pending(), &mut Vec::new(), &mut Vec::new()).await.expect_err("a port in use");
    assert!(error.to_string().contains(&format!("cannot listen on {}", args.listen)), "{error}");
}

/// A stdout whose reader has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let (talk_in, talk) = mpsc::channel();
    let running = tokio::spawn(async move { listen(&args(""), std::future::pending(), &mut Gone, &mut Lines(talk_in, Vec::new())).await });
    let (address, _talk) = address(talk).await;
    post(&address, "", "{}").await;
    let summary = running.await.expect("no panic").expect("no error");
    assert_eq!(summary.requests, 1);
}
