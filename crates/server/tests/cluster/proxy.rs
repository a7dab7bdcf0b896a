//! A node's own way to the database, which can be stopped up or cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What becomes of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is handed on.
    Open,
    /// It is kept, both ways, and handed on once the way is open again: nobody is told anything, connections stay, new ones are taken and get no
    /// answer. As in a network that loses packets, what was sent arrives late, also what should not have any effect any more.
    Stalled,
    /// Connections are closed, old ones and new ones.
    Cut,
}

/// In front of a server.
pub struct Proxy {
    pub port: u16,
    way: watch::Sender<Way>,
}

impl Proxy {
    /// In front of what listens on this port.
    pub fn start(runtime: &Runtime, server: u16) -> Proxy {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let way = watch::Sender::new(Way::Open);
        let of_connections = way.subscribe();
        runtime.spawn(async move {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server, of_connections.clone()));
            }
        });
        Proxy { port, way }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn serve(client: TcpStream, server: SocketAddr, way: watch::Receiver<Way>) -> io::Result<()> {
    until_not(way.clone(), Way::Stalled).await;
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        ended = pump(from_client, to_server, way.clone()) => ended,
        ended = pump(from_server, to_client, way.clone()) => ended,
        () = until_cut(way) => Ok(()),
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: watch::Receiver<Way>) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        until_not(way.clone(), Way::Stalled).await;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n]).await?;
    }
}

async fn until_not(mut way: watch::Receiver<Way>, not: Way) {
    // An error is that the test is over.
    drop(way.wait_for(|way| *way != not).await);
}

async fn until_cut(mut way: watch::Receiver<Way>) {
    if way.wait_for(|way| *way == Way::Cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}
