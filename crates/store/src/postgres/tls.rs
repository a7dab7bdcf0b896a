//! The database's URL, and how connections are encrypted. The driver knows neither of libpq's two modes that check certificates, nor the files
//! that belong to them: they are taken out of the URL before it gets to see it.

use super::open_error::PgOpenError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// `sslrootcert` for the certificates that the system trusts.
const SYSTEM: &str = "system";

type Result<T> = std::result::Result<T, PgOpenError>;

/// What the URL says about encryption.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes {
    mode: Option<String>,
    root: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// That the server has its key.
    Nothing,
    /// Also who signed it.
    Chain,
    /// Also that it is for the host that was asked for.
    Name,
}

/// Reads a URL: where to connect to, and how to encrypt.
pub(super) fn read_url(url: &str) -> Result<(Config, MakeRustlsConnect)> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(PgOpenError::Url("it does not begin with postgres://".to_owned()));
    }
    // What is behind the first one would be taken for a host, and shown.
    if url.matches('@').count() > 1 {
        return Err(PgOpenError::Url(
            "there is more than one @ in it: in the user, the password and everywhere else it is written as %40".to_owned(),
        ));
    }
    let (rest, wishes) = take_wishes(url)?;
    // The driver's text names the option, and never its value.
    let mut config: Config = rest.parse().map_err(|e| PgOpenError::Url(super::error::Error::Database(e).to_string()))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(PgOpenError::Url("it names no host".to_owned()));
    }
    let (mode, check) = policy(&wishes)?;
    // No server encrypts what does not leave its machine; libpq does not ask it to either.
    let is_local = !config.get_hosts().is_empty() && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    config.ssl_mode(if is_local { SslMode::Disable } else { mode });
    let check = if is_local { Check::Nothing } else { check };
    Ok((config, MakeRustlsConnect::new(client(check, &wishes)?)))
}

/// Takes what is about encryption out of the URL's query.
fn take_wishes(url: &str) -> Result<(String, Wishes)> {
    let mut wishes = Wishes::default();
    let host = url.find('@').map_or(0, |at| at + 1);
    let Some((before, query)) = url[host..].split_once('?') else { return Ok((url.to_owned(), wishes)) };
    let head = &url[..host + before.len()];
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wish = match decoded(name)?.as_str() {
            "sslmode" => &mut wishes.mode,
            "sslrootcert" => &mut wishes.root,
            "sslcert" => &mut wishes.cert,
            "sslkey" => &mut wishes.key,
            _ => {
                kept.push(pair);
                continue;
            }
        };
        *wish = Some(decoded(value)?).filter(|value| !value.is_empty());
    }
    let rest = if kept.is_empty() { head.to_owned() } else { format!("{head}?{}", kept.join("&")) };
    Ok((rest, wishes))
}

/// `%2F` is a slash, and so on; a plus sign is itself, as it is for libpq.
fn decoded(text: &str) -> Result<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).map_err(|_| PgOpenError::Url("its query is not UTF-8".to_owned()))
}

/// What libpq makes of it: whoever names a root has it checked, whatever the mode.
fn policy(wishes: &Wishes) -> Result<(SslMode, Check)> {
    let by_root = match wishes.root.as_deref() {
        None => Check::Nothing,
        Some(SYSTEM) => Check::Name,
        Some(_) => Check::Chain,
    };
    let default = if by_root == Check::Name { "verify-full" } else { "prefer" };
    Ok(match wishes.mode.as_deref().unwrap_or(default) {
        "disable" => (SslMode::Disable, Check::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, by_root),
        "require" => (SslMode::Require, by_root),
        "verify-ca" => (SslMode::Require, if by_root == Check::Name { by_root } else { Check::Chain }),
        "verify-full" => (SslMode::Require, Check::Name),
        _ => return Err(PgOpenError::Url("sslmode is one of disable, allow, prefer, require, verify-ca and verify-full".to_owned())),
    })
}

fn client(check: Check, wishes: &Wishes) -> Result<ClientConfig> {
    let failed = |e: Error| PgOpenError::Url(format!("encryption cannot be set up: {e}"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match check {
        Check::Nothing => Arc::new(AnyCertificate(Arc::clone(&provider))),
        Check::Chain => Arc::new(AnyName(verifier(wishes, &provider)?)),
        Check::Name => verifier(wishes, &provider)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&wishes.cert, &wishes.key) {
        (Some(cert), Some(key)) => builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(failed)?,
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(PgOpenError::Url("sslcert and sslkey belong together".to_owned())),
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn verifier(wishes: &Wishes, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    match wishes.root.as_deref() {
        None | Some(SYSTEM) => {
            let native = rustls_native_certs::load_native_certs();
            for error in &native.errors {
                tracing::warn!(%error, "some of the system's root certificates cannot be read");
            }
            roots.add_parsable_certificates(native.certs);
        }
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| unreadable(file, &e))?;
            }
        }
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    built
        .map_err(|e| PgOpenError::Url(format!("there is nothing to check the server's certificate with: name a file as sslrootcert ({e})")))
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file).map_err(|e| unreadable(file, &e))?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| unreadable(file, &e))?;
    if found.is_empty() {
        return Err(unreadable(file, &"there is no certificate in it"));
    }
    Ok(found)
}

fn private_key(file: &str) -> Result<PrivateKeyDer<'static>> {
    let pem = std::fs::read(file).map_err(|e| unreadable(file, &e))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| unreadable(file, &e))
}

fn unreadable(file: &str, cause: &dyn std::fmt::Display) -> PgOpenError {
    PgOpenError::Url(format!("the file {file} cannot be read as PEM: {cause}"))
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
    ) -> std::result::Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes a certificate that is signed as it should be, whatever host it is for.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        // The name is the last thing that is looked at.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(mode: Option<&str>, root: Option<&str>) -> Wishes {
        Wishes { mode: mode.map(str::to_owned), root: root.map(str::to_owned), ..Wishes::default() }
    }

    #[test]
    fn what_is_about_encryption_is_taken_out_and_the_rest_is_kept() {
        let table = [
            ("postgres://h/d", "postgres://h/d", None, None),
            ("postgres://u:p?x@h/d?sslmode=verify-full", "postgres://u:p?x@h/d", Some("verify-full"), None),
            (
                "postgres://u@h/d?connect_timeout=3&sslmode=require&sslrootcert=%2Fa%20b.pem&options=-c%20x",
                "postgres://u@h/d?connect_timeout=3&options=-c%20x",
                Some("require"),
                Some("/a b.pem"),
            ),
            ("postgres://h?sslrootcert=", "postgres://h", None, None),
        ];
        for (url, rest, mode, root) in table {
            assert_eq!(take_wishes(url).expect("a URL"), (rest.to_owned(), wishes(mode, root)), "{url}");
        }
    }

    #[test]
    fn modes_mean_what_they_mean_for_libpq() {
        let table = [
            (None, None, (SslMode::Prefer, Check::Nothing)),
            (Some("disable"), Some("r.pem"), (SslMode::Disable, Check::Nothing)),
            (Some("require"), None, (SslMode::Require, Check::Nothing)),
            (Some("require"), Some("r.pem"), (SslMode::Require, Check::Chain)),
            (Some("verify-ca"), None, (SslMode::Require, Check::Chain)),
            (Some("verify-full"), Some("r.pem"), (SslMode::Require, Check::Name)),
            (None, Some(SYSTEM), (SslMode::Require, Check::Name)),
        ];
        for (mode, root, expected) in table {
            assert_eq!(policy(&wishes(mode, root)).expect("a mode"), expected, "{mode:?} {root:?}");
        }
        assert!(policy(&wishes(Some("verify"), None)).is_err());
    }

    #[test]
    fn urls_that_cannot_be_meant_are_refused() {
        for url in [
            "host=h password=secret",
            "postgres:///d",
            "postgres://u:p@secret@h/d",
            "postgres://u:p@secret/x@h/d",
            "postgres://u:p@secret?x@h/d",
            "postgres://u:p@secret:5@a,b/d",
            "postgres://h/d?sslmode=no",
            "postgres://h/d?nonsense=1",
        ] {
            let error = read_url(url).map(drop).expect_err("no such URL");
            assert!(matches!(error, PgOpenError::Url(_)), "{url}: {error}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_socket_is_not_encrypted() {
        let (config, _) = read_url("postgres://u@%2Frun%2Fpostgresql/d?sslmode=require").expect("a URL");
        assert_eq!(config.get_ssl_mode(), SslMode::Disable);
    }
}
