//! A way to the server that breaks where it hurts most: around a commit.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server does not get to see the COMMIT.
    BeforeCommit,
    /// The server has committed, and nobody hears of it.
    AfterCommit,
    /// The server has committed, and says that it breaks down, as one does that cannot write its log.
    Panic,
    /// The server does not get to see the COMMIT, and not that the client is gone either.
    Stall,
    /// The server has committed, and the client waits for what it says.
    Silence,
}

/// Those that are done to a client's COMMIT, and those that are done to the server's answer.
const TO_QUESTIONS: [Cut; 2] = [Cut::BeforeCommit, Cut::Stall];
const TO_ANSWERS: [Cut; 3] = [Cut::AfterCommit, Cut::Panic, Cut::Silence];

/// In the server's words.
const PANIC: &[u8] = b"SPANIC\0VPANIC\0C53100\0Mcould not write to the log: No space left on device\0\0";

/// Hands everything on, until it is told to cut the connection on which something is committed next. The server waits for ever for whoever comes by
/// it, also in the middle of a transaction.
pub struct Proxy {
    port: u16,
    way: Arc<Way>,
}

struct Way {
    server: String,
    armed: Mutex<Option<Cut>>,
    /// Whether nobody comes through once it has cut.
    leaves: AtomicBool,
    away: watch::Sender<bool>,
}

impl Way {
    fn fires(&self, here: &[Cut]) -> Option<Cut> {
        let mut armed = self.armed.lock().expect("no panic");
        let cut = armed.take_if(|cut| here.contains(cut))?;
        if self.leaves.swap(false, Ordering::Relaxed) {
            self.away.send_replace(true);
        }
        Some(cut)
    }
}

impl Proxy {
    /// In front of the server at this address.
    pub async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let way = Way { server, armed: Mutex::new(None), leaves: AtomicBool::new(false), away: watch::Sender::new(false) };
        let way = Arc::new(way);
        let of_connections = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, of_connections.clone()));
            }
        });
        Proxy { port, way }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has the next commit cut.
    pub fn arm(&self, cut: Cut) {
        *self.way.armed.lock().expect("no panic") = Some(cut);
    }

    /// Has it cut, and with it all connections: there are no new ones until it comes back.
    pub fn arm_and_leave(&self, cut: Cut) {
        self.way.leaves.store(true, Ordering::Relaxed);
        self.arm(cut);
    }

    /// Lets everybody through again.
    pub fn come_back(&self) {
        self.way.away.send_replace(false);
    }

    /// Whether the commit that it was armed for has come.
    pub fn has_cut(&self) -> bool {
        self.way.armed.lock().expect("no panic").is_none()
    }
}

/// Until either side ends, or something is cut: then both are closed, as a rule.
async fn serve(client: TcpStream, way: Arc<Way>) -> io::Result<()> {
    let mut away = way.away.subscribe();
    if *away.borrow() {
        return Ok(());
    }
    let server = TcpStream::connect(&way.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
    // A query in one message: Q, and its text. Or one that is prepared once, as P with its name and its text, and then run as B with a portal's name
    // and its own.
    let mut commit: Option<Vec<u8>> = None;
    let asks = |kind: u8, body: &[u8]| {
        let mut texts = body.split(|byte| *byte == 0);
        let (first, second) = (texts.next(), texts.next());
        match kind {
            b'P' if second == Some(b"COMMIT") => {
                commit = first.map(<[u8]>::to_vec);
                None
            }
            b'Q' if has(body, b"COMMIT") => way.fires(&TO_QUESTIONS),
            b'B' if commit.is_some() && second == commit.as_deref() => way.fires(&TO_QUESTIONS),
            _ => None,
        }
    };
    // What was done, in the server's words: C, and the command.
    let done = |kind: u8, body: &[u8]| if kind == b'C' && body == b"COMMIT\0" { way.fires(&TO_ANSWERS) } else { None };
    let cut = tokio::select! {
        cut = up(&mut from_client, &mut to_server, asks) => cut?,
        cut = pump(&mut from_server, &mut to_client, done) => cut?,
        () = leave(&mut away) => return Ok(()),
    };
    match cut {
        Cut::BeforeCommit | Cut::AfterCommit => {}
        Cut::Panic => to_client.write_all(&message(Some(b'E'), PANIC)).await?,
        // Until the server ends it.
        Cut::Stall => {
            drop((from_client, to_client));
            let mut nowhere = tokio::io::sink();
            tokio::select! {
                heard = tokio::io::copy(&mut from_server, &mut nowhere) => {
                    heard?;
                }
                () = leave(&mut away) => {}
            }
        }
        // Until the client ends it.
        Cut::Silence => {
            from_client.read_u8().await?;
        }
    }
    Ok(())
}

/// Waits until nobody comes through any more.
async fn leave(away: &mut watch::Receiver<bool>) {
    let _ = away.wait_for(|is_away| *is_away).await;
}

/// What a client says first has no kind.
async fn up(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, cut: impl FnMut(u8, &[u8]) -> Option<Cut>) -> io::Result<Cut> {
    let body = body(from).await?;
    to.write_all(&message(None, &body)).await?;
    pump(from, to, cut).await
}

async fn pump(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, mut cut: impl FnMut(u8, &[u8]) -> Option<Cut>) -> io::Result<Cut> {
    loop {
        let kind = from.read_u8().await?;
        let mut body = body(from).await?;
        if let Some(cut) = cut(kind, &body) {
            return Ok(cut);
        }
        if kind == b'Q' && has(&body, b"SET idle_in_transaction_session_timeout") {
            // Before the zero at the end.
            body.pop();
            body.extend_from_slice(b"; SET idle_in_transaction_session_timeout = 0\0");
        }
        to.write_all(&message(Some(kind), &body)).await?;
    }
}

fn has(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|part| part == text)
}

/// What comes behind the length, which counts itself.
async fn body(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body).await?;
    Ok(body)
}

fn message(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 4;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    message
}
