//! Publishers at every node, that go on through every fault and remember what they were promised.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// Connections that publish at each node at the same time.
const PUBLISHERS: usize = 3;

/// Between two events of one connection, so that two cores carry three nodes, a database and this.
const PAUSE: Duration = Duration::from_millis(25);

/// Before a node that does not listen is tried again.
const LATER: Duration = Duration::from_millis(100);

/// How long an answer is waited for: longer than a node tries to store something.
const PATIENCE: Duration = Duration::from_secs(15);

/// An event that was promised to be delivered.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// The node that did.
    pub node: usize,
    pub at: Instant,
}

#[derive(Default)]
struct State {
    /// Where nodes listen; who has no address is left alone.
    targets: Vec<Option<SocketAddr>>,
    promised: BTreeMap<u64, Promise>,
    /// Answers that say that it was not stored, by their status.
    refused: BTreeMap<u16, u64>,
    /// Requests without an answer: whether they are stored, nobody knows.
    unknown: u64,
    finished: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    next: AtomicU64,
    types: Vec<String>,
    key: String,
}

/// What came of all of it.
pub struct Outcome {
    pub promised: BTreeMap<u64, Promise>,
    pub refused: BTreeMap<u16, u64>,
    pub unknown: u64,
}

pub struct Load {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Publishes events of these types in turn, with this key, at as many nodes as have an address now.
    pub fn start(key: &str, types: Vec<String>, targets: Vec<Option<SocketAddr>>) -> Load {
        let nodes = targets.len();
        let state = Mutex::new(State { targets, ..State::default() });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), next: AtomicU64::new(0), types, key: key.to_owned() });
        let publisher = |n: usize| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.run(n % nodes))
        };
        Load { publishers: (0..nodes * PUBLISHERS).map(publisher).collect(), shared }
    }

    /// Where nodes listen from now on.
    pub fn aim(&self, targets: &[Option<SocketAddr>]) {
        let mut state = self.shared.state.lock().expect("not poisoned");
        for (target, now) in state.targets.iter_mut().zip(targets) {
            *target = *now;
        }
    }

    pub fn promised(&self) -> BTreeMap<u64, Promise> {
        self.shared.state.lock().expect("not poisoned").promised.clone()
    }

    /// Ends, and answers what came of it.
    pub fn finish(self) -> Outcome {
        self.shared.state.lock().expect("not poisoned").finished = true;
        self.shared.changed.notify_all();
        for publisher in self.publishers {
            publisher.join().expect("a publisher ends well");
        }
        let State { promised, refused, unknown, .. } = std::mem::take(&mut *self.shared.state.lock().expect("not poisoned"));
        eprintln!("{} events were acknowledged, {unknown} got no answer, refused by status: {refused:?}", promised.len());
        Outcome { promised, refused, unknown }
    }
}

impl Shared {
    fn run(&self, node: usize) {
        while let Some(target) = self.target(node) {
            let published = target.and_then(|address| self.publish_over(node, address));
            if published.is_none() {
                self.pause(LATER);
            }
        }
    }

    /// Where this node listens, if it does; `None` at the end.
    fn target(&self, node: usize) -> Option<Option<SocketAddr>> {
        let state = self.state.lock().expect("not poisoned");
        (!state.finished).then(|| state.targets[node])
    }

    fn pause(&self, pause: Duration) {
        let state = self.state.lock().expect("not poisoned");
        drop(self.changed.wait_timeout_while(state, pause, |state| !state.finished).expect("not poisoned"));
    }

    /// Until the connection ends, which answers `None`, or the node is somewhere else.
    fn publish_over(&self, node: usize, address: SocketAddr) -> Option<()> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        while self.target(node) == Some(Some(address)) {
            let event = self.next.fetch_add(1, Ordering::Relaxed);
            let of = usize::try_from(event).unwrap_or_default() % self.types.len();
            let body = format!("{{\"event_type\": \"{}\", \"payload\": {{\"event\": {event}}}}}", self.types[of]);
            let request = format!(
                "POST /v1/delivery/events HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                self.key,
                body.len()
            );
            let answer = writer.write_all(request.as_bytes()).ok().and_then(|()| status(&mut reader));
            let at = Instant::now();
            let mut state = self.state.lock().expect("not poisoned");
            match answer {
                Some(202) => _ = state.promised.insert(event, Promise { node, at }),
                Some(status) => *state.refused.entry(status).or_default() += 1,
                None => {
                    state.unknown += 1;
                    return None;
                }
            }
            drop(state);
            self.pause(PAUSE);
        }
        Some(())
    }
}

/// Reads a whole answer; `None` if the connection ended first.
fn status(reader: &mut BufReader<TcpStream>) -> Option<u16> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
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
    Some(status)
}
