//! A receiver of very many numbered events: it keeps nothing of them but how often which number has come.

use crate::common::PATIENCE;
use crate::common::receiver::read;
use serde_json::Value;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked whether all have come.
const LOOK: Duration = Duration::from_millis(50);

struct Shared {
    /// Which of the numbers have come, and how many that are.
    came: Vec<AtomicBool>,
    different: AtomicUsize,
    requests: AtomicUsize,
    /// Bodies with another number, or none.
    strange: Mutex<Vec<String>>,
}

/// Listens on a port of its own until the test ends, and answers 200.
pub struct Tally {
    shared: Arc<Shared>,
    pub url: String,
}

impl Tally {
    /// Of payloads `{"n": NUMBER}` with all numbers below this one.
    pub fn of(numbers: usize) -> Tally {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            came: (0..numbers).map(|_| AtomicBool::new(false)).collect(),
            different: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            strange: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Tally { shared, url }
    }

    /// Waits until each number has come, for as long as there are always some that had not.
    pub fn wait_for_all(&self) {
        let all = self.shared.came.len();
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let different = self.shared.different.load(Ordering::Relaxed);
            if different == all {
                return;
            }
            if different > before {
                (before, since) = (different, Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "{different} of {all} numbers came, and then no other one");
            std::thread::park_timeout(LOOK);
        }
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// What came that should not have.
    pub fn strange(&self) -> Vec<String> {
        self.shared.strange.lock().expect("not poisoned").clone()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        // Answers go out one by one. Who has gone already gets none.
        let _ = stream.set_nodelay(true);
        let Ok(reading) = stream.try_clone() else { return };
        let (mut reader, mut writer) = (BufReader::new(reading), stream);
        while let Some(request) = read(&mut reader) {
            self.note(&request.body);
            if writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }

    fn note(&self, body: &[u8]) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let payload: Option<Value> = serde_json::from_slice(body).ok();
        let number = payload.and_then(|payload| usize::try_from(payload["n"].as_u64()?).ok());
        match number.and_then(|number| self.came.get(number)) {
            None => self.strange.lock().expect("not poisoned").push(String::from_utf8_lossy(body).into_owned()),
            Some(came) => {
                if !came.swap(true, Ordering::Relaxed) {
                    self.different.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}
