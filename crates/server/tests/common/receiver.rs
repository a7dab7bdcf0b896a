//! A webhook receiver that does as it is told and remembers what came.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// What the receiver answers to one request.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// This status, with an empty body.
    Status(u16),
    /// Nothing until [`Receiver::release`], then 200.
    Stall,
    /// Nothing until [`Receiver::release`], then this status.
    StallThen(u16),
    /// A redirect to this path of the receiver's own.
    Redirect(&'static str),
    /// 429, with this `Retry-After`.
    Limited(&'static str),
    /// This status, with a body of so many `x`.
    Body(u16, usize),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    released: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    script: Box<dyn Fn(usize) -> Reply + Send + Sync>,
}

/// Listens on a port of its own until the test ends.
pub struct Receiver {
    shared: Arc<Shared>,
    pub url: String,
}

impl Receiver {
    /// Answers every request with this status.
    pub fn answering(status: u16) -> Receiver {
        Receiver::scripted(move |_| Reply::Status(status))
    }

    /// Answers the n-th request (from 0) as the script says.
    pub fn scripted(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), script: Box::new(script) });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Receiver { shared, url }
    }

    /// Waits until this many requests came and answers all that came.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let state = self.shared.state.lock().expect("not poisoned");
        let enough = |s: &mut State| s.received.len() < count;
        let (state, timeout) = self.shared.changed.wait_timeout_while(state, super::PATIENCE, enough).expect("not poisoned");
        assert!(!timeout.timed_out(), "{} of {count} requests came", state.received.len());
        state.received.clone()
    }

    pub fn count(&self) -> usize {
        self.shared.state.lock().expect("not poisoned").received.len()
    }

    /// Answers all that stall, now and later.
    pub fn release(&self) {
        self.shared.state.lock().expect("not poisoned").released = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
        let mut writer = stream;
        while let Some(received) = read(&mut reader) {
            let index = {
                let mut state = self.state.lock().expect("not poisoned");
                state.received.push(received);
                state.received.len() - 1
            };
            self.changed.notify_all();
            let (status, stalls, header, length) = match (self.script)(index) {
                Reply::Status(status) => (status, false, String::new(), 0),
                Reply::Stall => (200, true, String::new(), 0),
                Reply::StallThen(status) => (status, true, String::new(), 0),
                Reply::Redirect(path) => (302, false, format!("location: {path}\r\n"), 0),
                Reply::Limited(wait) => (429, false, format!("retry-after: {wait}\r\n"), 0),
                Reply::Body(status, length) => (status, false, String::new(), length),
            };
            if stalls {
                let state = self.state.lock().expect("not poisoned");
                drop(self.changed.wait_while(state, |s| !s.released).expect("not poisoned"));
            }
            let body = "x".repeat(length);
            let reply = format!("HTTP/1.1 {status} Status\r\n{header}content-length: {length}\r\n\r\n{body}");
            if writer.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Reads a request; `None` where there is none any more.
pub fn read(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { method, path, headers, body })
}
