//! A way to the server that breaks where it hurts most: around a commit.

use std::io;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server does not get to see the COMMIT.
    BeforeCommit,
    /// The server has committed, and nobody hears of it.
    AfterCommit,
}

/// Hands everything on, until it is told to cut the connection on which something is committed next.
pub struct Proxy {
    port: u16,
    armed: Arc<Mutex<Option<Cut>>>,
}

impl Proxy {
    /// In front of the server at this address.
    pub async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let armed = Arc::new(Mutex::new(None));
        let of_connections = armed.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server.clone(), of_connections.clone()));
            }
        });
        Proxy { port, armed }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has the next commit cut.
    pub fn arm(&self, cut: Cut) {
        *self.armed.lock().expect("no panic") = Some(cut);
    }

    /// Whether the commit that it was armed for has come.
    pub fn has_cut(&self) -> bool {
        self.armed.lock().expect("no panic").is_none()
    }
}

/// Until either side ends, or something is cut: then both are closed.
async fn serve(client: TcpStream, server: String, armed: Arc<Mutex<Option<Cut>>>) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let fires = |here: Cut| armed.lock().expect("no panic").take_if(|cut| *cut == here).is_some();
    // A query in one message, as transactions are ended: Q, and its text.
    let asks = |kind: u8, body: &[u8]| kind == b'Q' && body.windows(6).any(|text| text == b"COMMIT") && fires(Cut::BeforeCommit);
    // What was done, in the server's words: C, and the command.
    let done = |kind: u8, body: &[u8]| kind == b'C' && body == b"COMMIT\0" && fires(Cut::AfterCommit);
    tokio::select! {
        ended = up(from_client, to_server, asks) => ended,
        ended = pump(from_server, to_client, done) => ended,
    }
}

/// What a client says first has no kind.
async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_cut: impl Fn(u8, &[u8]) -> bool) -> io::Result<()> {
    let body = body(&mut from).await?;
    to.write_all(&message(None, &body)).await?;
    pump(from, to, is_cut).await
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_cut: impl Fn(u8, &[u8]) -> bool) -> io::Result<()> {
    loop {
        let kind = from.read_u8().await?;
        let body = body(&mut from).await?;
        if is_cut(kind, &body) {
            return Ok(());
        }
        to.write_all(&message(Some(kind), &body)).await?;
    }
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
