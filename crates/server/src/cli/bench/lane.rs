//! A connection of the generator: HTTP/1.1, or HTTP/2 for gRPC.

use crate::cli::CommandError;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// How a gRPC call ended: 0 is well.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Why it did not.
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// gRPC, over HTTP/2.
    Grpc,
}

/// An open connection, on which one exchange follows the other.
#[derive(Debug)]
pub enum Lane {
    /// HTTP/1.1.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// gRPC, over HTTP/2.
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Lane {
    /// Connects, or says at once why that is not possible.
    pub async fn open(address: SocketAddr, speaks: Speaks) -> Result<Lane, CommandError> {
        if speaks == Speaks::Http1 {
            return connect_once(address).await.map(Lane::Http1);
        }
        let stream = stream(address).await?;
        let made = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| cannot(address, &error))?;
        // Its end shows at the sender.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
        Ok(Lane::Grpc(sender))
    }

    /// Whether the connection is still there.
    pub async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Lane::Http1(sender) => sender.ready().await,
            Lane::Grpc(sender) => sender.ready().await,
        }
    }

    /// One exchange, its answer read to the end so that the connection is free again; gives the first part of its body. A gRPC call that
    /// failed has the status that it would have had over HTTP, and its message as the body.
    pub async fn exchange(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<(StatusCode, Bytes)> {
        let answer = match self {
            Lane::Http1(sender) => sender.send_request(request).await?,
            Lane::Grpc(sender) => sender.send_request(request).await?,
        };
        let (status, mut trailers) = (answer.status(), answer.headers().clone());
        let mut body = answer.into_body();
        let mut first = Bytes::new();
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) if first.is_empty() => first = data,
                Ok(_) => {}
                // Where a call fails early they are among the headers.
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(match self {
            Lane::Http1(_) => (status, first),
            Lane::Grpc(_) => of_call(status, first, &trailers),
        })
    }
}

fn of_call(status: StatusCode, body: Bytes, trailers: &HeaderMap) -> (StatusCode, Bytes) {
    let failed = match trailers.get(GRPC_STATUS).map(|code| code.as_bytes()) {
        Some(b"0") => return (status, body),
        Some(b"8") => StatusCode::TOO_MANY_REQUESTS,
        Some(b"14") => StatusCode::SERVICE_UNAVAILABLE,
        _ if status != StatusCode::OK => status,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = trailers.get(GRPC_MESSAGE).map(|message| Bytes::copy_from_slice(message.as_bytes()));
    (failed, message.unwrap_or(body))
}

/// Connects over HTTP/1.1, or says at once why that is not possible.
pub async fn connect_once(address: SocketAddr) -> Result<http1::SendRequest<Full<Bytes>>, CommandError> {
    let stream = stream(address).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| cannot(address, &error))?;
    // Its end shows at the sender.
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    Ok(sender)
}

async fn stream(address: SocketAddr) -> Result<TcpStream, CommandError> {
    let stream = TcpStream::connect(address).await.map_err(|error| cannot(address, &error))?;
    stream.set_nodelay(true).map_err(|error| cannot(address, &error))?;
    Ok(stream)
}

fn cannot(address: SocketAddr, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(format_args!("cannot connect to {address}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_call_has_the_status_that_its_trailers_tell() {
        let told = |status: u16, code: Option<&'static str>, message: Option<&'static str>| {
            let mut trailers = HeaderMap::new();
            trailers.extend(code.map(|code| (GRPC_STATUS, HeaderValue::from_static(code))));
            trailers.extend(message.map(|message| (GRPC_MESSAGE, HeaderValue::from_static(message))));
            let (status, body) = of_call(StatusCode::from_u16(status).expect("a status"), Bytes::from_static(b"body"), &trailers);
            (status.as_u16(), String::from_utf8(body.to_vec()).expect("text"))
        };
        assert_eq!(told(200, Some("0"), None), (200, "body".into()));
        assert_eq!(told(200, Some("8"), Some("full")), (429, "full".into()));
        assert_eq!(told(200, Some("14"), Some("later")), (503, "later".into()));
        assert_eq!(told(200, Some("3"), Some("wrong")), (500, "wrong".into()));
        assert_eq!(told(200, None, None), (500, "body".into()), "it broke off");
        assert_eq!(told(415, None, None), (415, "body".into()));
    }
}
