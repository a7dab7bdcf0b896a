//! The two TLS policies: certificates checked, or not. A client of one server checks them.

use crate::OutboundError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// HTTP/1.1 in a handshake.
const HTTP1: &[u8] = b"http/1.1";

/// What deliveries speak, what they like best coming first.
const BOTH: [&[u8]; 2] = [b"h2", HTTP1];

/// A client configuration per policy. Each remembers its own sessions: one that was never checked must not spare a check.
pub(crate) struct Tls {
    checked: TlsConnector,
    unchecked: TlsConnector,
}

impl Tls {
    pub(crate) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, OutboundError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(extra_roots, &provider)?;
        Ok(Tls {
            checked: connector(Arc::clone(&provider), verifier, &BOTH)?,
            unchecked: connector(Arc::clone(&provider), Arc::new(AnyCertificate(provider)), &BOTH)?,
        })
    }

    pub(crate) fn connector(&self, verify: bool) -> &TlsConnector {
        if verify { &self.checked } else { &self.unchecked }
    }
}

/// For [`crate::ClientTls`]: certificates are checked, and HTTP/1.1 is all that is spoken.
pub(crate) fn of_client(extra_roots: &[CertificateDer<'static>]) -> Result<TlsConnector, OutboundError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(extra_roots, &provider)?;
    Ok(connector(provider, verifier, &[HTTP1])?)
}

fn verifier(extra_roots: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots(extra_roots)?), Arc::clone(provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

fn connector(provider: Arc<CryptoProvider>, verifier: Arc<dyn ServerCertVerifier>, protocols: &[&[u8]]) -> Result<TlsConnector, Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The system's roots, or Mozilla's where the system has none (a minimal container), and the extra ones.
fn roots(extra: &[CertificateDer<'static>]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read");
    }
    store.add_parsable_certificates(native.certs);
    if store.is_empty() {
        tracing::info!("the system has no root certificates; using the built-in ones");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for root in extra {
        store.add(root.clone())?;
    }
    Ok(store)
}

/// Takes any certificate, but still has the server prove that it owns the key in it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
