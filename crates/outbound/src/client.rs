//! TLS for who calls one server and keeps its own connections, such as the command line: the roots are those that deliveries trust.

use crate::{OutboundError, classify, route, tls};
use postrider_core::ports::Fault;
use rustls_pki_types::CertificateDer;
use std::fmt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes connections secure, and checks whose they are.
#[derive(Clone)]
pub struct ClientTls(TlsConnector);

impl ClientTls {
    /// Reads the system's roots, which `SSL_CERT_FILE` and `SSL_CERT_DIR` may name; where it has none, Mozilla's are trusted.
    ///
    /// # Errors
    /// Only for a broken one of `extra_roots`.
    pub fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, OutboundError> {
        Ok(ClientTls(tls::of_client(extra_roots)?))
    }

    /// Makes a connection to `host` secure, for HTTP/1.1. The host is a name, or an IP address without brackets.
    ///
    /// # Errors
    /// What is wrong with the certificate, or where the handshake broke off.
    pub async fn secure<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = route::tls_name(host, host.parse().ok())?;
        self.0.connect(name, stream).await.map_err(|error| classify::handshake(&error, host))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}
