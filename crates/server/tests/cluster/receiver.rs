//! The receiver: its log says what came, when, over which connection, and how many requests for the same place were under way then.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How long what begins with `/slow` is worked on.
const SLOW: Duration = Duration::from_millis(60);

/// A request that came.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The number in the event's payload.
    pub event: u64,
    /// Its path: each destination has its own.
    pub path: String,
    /// What names the delivery, in all of its attempts.
    pub key: String,
    pub at: Instant,
    /// The sender's port.
    pub peer: u16,
    /// Requests with this path that were under way then, this one included.
    pub at_once: u32,
}

#[derive(Default)]
struct Log {
    arrivals: Vec<Arrival>,
    under_way: HashMap<String, u32>,
    released: bool,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    changed: Condvar,
}

/// Listens on a port of its own until the test ends, and answers 200: at once, after a moment what begins with `/slow`, and after
/// [`Receiver::release`] what begins with `/hang`.
pub struct Receiver {
    shared: Arc<Shared>,
    place: String,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let place = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::<Shared>::default();
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || shared.serve(stream, peer.port()));
            }
        });
        Receiver { shared, place }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.place)
    }

    /// Everything that came, in the order in which it did.
    pub fn log(&self) -> Vec<Arrival> {
        self.shared.log.lock().expect("not poisoned").arrivals.clone()
    }

    /// Waits until so many requests with this path have come; answers whether they did.
    pub fn wait_for(&self, path: &str, count: usize, patience: Duration) -> bool {
        let log = self.shared.log.lock().expect("not poisoned");
        let too_few = |log: &mut Log| log.arrivals.iter().filter(|arrival| arrival.path == path).count() < count;
        !self.shared.changed.wait_timeout_while(log, patience, too_few).expect("not poisoned").1.timed_out()
    }

    /// Answers all that hang, now and later.
    pub fn release(&self) {
        self.shared.log.lock().expect("not poisoned").released = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, peer: u16) {
        // Answers go out one by one. Who has gone already gets none.
        let _ = stream.set_nodelay(true);
        let Ok(reading) = stream.try_clone() else { return };
        let (mut reader, mut writer) = (BufReader::new(reading), stream);
        while let Some(request) = crate::common::receiver::read(&mut reader) {
            self.note(&request, peer);
            if request.path.starts_with("/slow") {
                std::thread::park_timeout(SLOW);
            } else if request.path.starts_with("/hang") {
                let log = self.log.lock().expect("not poisoned");
                drop(self.changed.wait_while(log, |log| !log.released).expect("not poisoned"));
            }
            // Before the answer: with it the sender may begin the next one.
            if let Some(count) = self.log.lock().expect("not poisoned").under_way.get_mut(&request.path) {
                *count -= 1;
            }
            if writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }

    fn note(&self, request: &crate::common::receiver::Received, peer: u16) {
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("the payload arrives as it was sent");
        let event = body["event"].as_u64().expect("a number");
        let key = request.headers.get("idempotency-key").cloned().expect("a key");
        let mut log = self.log.lock().expect("not poisoned");
        let count = log.under_way.entry(request.path.clone()).or_default();
        *count += 1;
        let at_once = *count;
        log.arrivals.push(Arrival { event, path: request.path.clone(), key, at: Instant::now(), peer, at_once });
        drop(log);
        self.changed.notify_all();
    }
}
