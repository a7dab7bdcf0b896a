//! The receiver of the kill test: its log says what came, in which life of the server, and what it was answered.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Of so many requests one is answered 503, so that retries are under way when the server dies.
const FAIL_EVERY: usize = 23;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The number in the event's payload.
    pub event: u64,
    pub key: String,
    pub delivery: String,
    pub attempt: u32,
    /// How many kills there had been.
    pub life: u64,
    pub at: Instant,
    pub answered: u16,
}

#[derive(Default)]
struct Log {
    received: Vec<Received>,
    kills: Vec<Instant>,
    /// The other ends of the connections that are open.
    open: HashSet<SocketAddr>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    more: Condvar,
}

pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    pub url: String,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                for_thread.log.lock().expect("not poisoned").open.insert(peer);
                for_thread.more.notify_all();
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || {
                    shared.serve(stream);
                    shared.log.lock().expect("not poisoned").open.remove(&peer);
                    shared.more.notify_all();
                });
            }
        });
        Receiver { shared, address, url: format!("http://{address}/") }
    }

    /// The server was killed at `at` and is gone. Waits until all that it had sent is in the log, so that nothing of its life counts to the next.
    pub fn killed(&self, at: Instant) {
        // Connections are accepted in their order: once this one is, all of the server's were.
        let probe = TcpStream::connect(self.address).expect("the receiver listens");
        let own = probe.local_addr().expect("an address");
        let log = self.shared.log.lock().expect("not poisoned");
        let busy = |log: &mut Log| !(log.open.len() == 1 && log.open.contains(&own));
        let (mut log, timeout) = self.shared.more.wait_timeout_while(log, PATIENCE, busy).expect("not poisoned");
        assert!(!timeout.timed_out(), "connections of the killed server stay open");
        log.kills.push(at);
    }

    pub fn count(&self) -> usize {
        self.shared.log.lock().expect("not poisoned").received.len()
    }

    /// Everything that came, and the moments of the kills.
    pub fn log(&self) -> (Vec<Received>, Vec<Instant>) {
        let log = self.shared.log.lock().expect("not poisoned");
        (log.received.clone(), log.kills.clone())
    }

    /// Waits until the log is as wanted; answers whether it came to that.
    pub fn wait_until(&self, patience: Duration, wanted: impl Fn(&[Received]) -> bool) -> bool {
        let log = self.shared.log.lock().expect("not poisoned");
        let waited = self.shared.more.wait_timeout_while(log, patience, |log| !wanted(&log.received));
        !waited.expect("not poisoned").1.timed_out()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        // Answers go out one by one.
        stream.set_nodelay(true).expect("a socket option");
        let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
        let mut writer = stream;
        while let Some(mut received) = read(&mut reader) {
            let reason = {
                let mut log = self.log.lock().expect("not poisoned");
                received.life = log.kills.len() as u64;
                received.answered = if log.received.len() % FAIL_EVERY == FAIL_EVERY - 1 { 503 } else { 200 };
                let status = received.answered;
                log.received.push(received);
                status
            };
            self.more.notify_all();
            if writer.write_all(format!("HTTP/1.1 {reason} X\r\ncontent-length: 0\r\n\r\n").as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut received =
        Received { event: 0, key: String::new(), delivery: String::new(), attempt: 0, life: 0, at: Instant::now(), answered: 0 };
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "idempotency-key" => received.key = value.to_owned(),
            "x-postrider-delivery-id" => received.delivery = value.to_owned(),
            "x-postrider-attempt" => received.attempt = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: serde_json::Value = serde_json::from_slice(&body).expect("the payload arrives as it was sent");
    received.event = body["event"].as_u64().expect("a number");
    Some(received)
}
