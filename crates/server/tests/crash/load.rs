//! Publishers that go on through every crash and remember what they were promised.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Connections that publish at the same time.
const PUBLISHERS: usize = 16;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    /// Where to publish to; nobody publishes while there is no address.
    address: Option<SocketAddr>,
    /// Changes with every address, so that nobody goes on with an old one.
    generation: u64,
    /// Delivery ids of acknowledged events by the number in the event.
    acknowledged: BTreeMap<u64, String>,
    since_aimed: u64,
    finished: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    next: AtomicU64,
    path: String,
}

pub struct Load {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(subscription: &str, seed: u64) -> Load {
        let path = format!("/ingest/{subscription}");
        let next = AtomicU64::new(seed % 1_000 * 1_000_000);
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), next, path });
        let publisher = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.publish())
        };
        Load { publishers: (0..PUBLISHERS).map(publisher).collect(), shared }
    }

    /// Publishes to this address from now on.
    pub fn aim(&self, address: SocketAddr) {
        self.change(|state| {
            state.address = Some(address);
            state.generation += 1;
            state.since_aimed = 0;
        });
    }

    /// Publishes nothing until the next [`Load::aim`].
    pub fn pause(&self) {
        self.change(|state| state.address = None);
    }

    pub fn acknowledged(&self) -> usize {
        self.shared.state.lock().expect("not poisoned").acknowledged.len()
    }

    /// The deliveries of the events that were acknowledged last.
    pub fn newest(&self, count: usize) -> Vec<String> {
        self.shared.state.lock().expect("not poisoned").acknowledged.values().rev().take(count).cloned().collect()
    }

    /// Waits until so many were acknowledged since the last [`Load::aim`].
    pub fn wait_for_acknowledgements(&self, count: u64) {
        let state = self.shared.state.lock().expect("not poisoned");
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |s| s.since_aimed < count);
        assert!(!waited.expect("not poisoned").1.timed_out(), "nothing was acknowledged");
    }

    /// Ends; answers what was acknowledged.
    pub fn finish(self) -> BTreeMap<u64, String> {
        self.change(|state| state.finished = true);
        for publisher in self.publishers {
            publisher.join().expect("a publisher ends well");
        }
        std::mem::take(&mut self.shared.state.lock().expect("not poisoned").acknowledged)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().expect("not poisoned"));
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn publish(&self) {
        let mut generation = 0;
        while let Some((address, newer)) = self.target(generation) {
            generation = newer;
            // A killed server ends the connection in the middle of anything; the next generation connects anew.
            if let Ok(stream) = TcpStream::connect(address) {
                self.publish_over(stream);
            }
        }
    }

    /// Waits for an address of a later generation; `None` at the end.
    fn target(&self, generation: u64) -> Option<(SocketAddr, u64)> {
        let state = self.state.lock().expect("not poisoned");
        let wait = |s: &mut State| !s.finished && (s.address.is_none() || s.generation == generation);
        let state = self.changed.wait_while(state, wait).expect("not poisoned");
        if state.finished { None } else { state.address.map(|address| (address, state.generation)) }
    }

    fn publish_over(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            self.state.lock().expect("not poisoned").address?;
            let event = self.next.fetch_add(1, Ordering::Relaxed);
            let body = format!("{{\"event\": {event}}}");
            let request = format!("POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", self.path, body.len());
            writer.write_all(request.as_bytes()).ok()?;
            let delivery = accepted(&mut reader)?;
            let mut state = self.state.lock().expect("not poisoned");
            state.acknowledged.insert(event, delivery);
            state.since_aimed += 1;
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Reads a whole 202 and answers the delivery's id; `None` if the connection ended first.
fn accepted(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let status = line.clone();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    assert!(status.starts_with("HTTP/1.1 202 "), "{status}{}", String::from_utf8_lossy(&body));
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    Some(body["delivery_task_id"].as_str().expect("an id").to_owned())
}
