//! Errors of hyper, rustls and the kernel as faults: short, without addresses of ours, URLs or secrets.

use postrider_core::ports::{Fault, FaultKind, Phase};
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io;
use std::time::Duration;

/// Longest text of a library that is passed on inside a message, in characters.
const MAX_FOREIGN_TEXT: usize = 160;

pub(crate) fn fault(kind: FaultKind, message: impl Into<String>) -> Fault {
    Fault { kind, message: message.into() }
}

/// The deadline of `limit` passed in `phase`.
pub(crate) fn timed_out(phase: Phase, limit: Duration) -> Fault {
    fault(FaultKind::Timeout(phase), format!("timed out after {limit:?} while {}", phase.as_str()))
}

/// Why an address could not be dialled.
pub(crate) fn dial(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => fault(FaultKind::Refused, "connection refused"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => fault(FaultKind::Reset, "connection reset while connecting"),
        io::ErrorKind::TimedOut => fault(FaultKind::Timeout(Phase::Connect), "the network gave up connecting"),
        _ => io_fault(error, "connecting"),
    }
}

/// Why a TLS handshake with `host` failed. A connection that breaks during the handshake is a matter of the network and not of trust.
pub(crate) fn handshake(error: &io::Error, host: &str) -> Fault {
    match find::<rustls::Error>(error) {
        Some(tls) => fault(FaultKind::Tls, tls_text(tls, host)),
        None => io_fault(error, "during the TLS handshake"),
    }
}

/// Why no response came.
pub(crate) fn response(error: &hyper::Error, host: &str) -> Fault {
    if let Some(tls) = find::<rustls::Error>(error) {
        return fault(FaultKind::Tls, tls_text(tls, host));
    }
    if error.is_parse_too_large() {
        return fault(FaultKind::Protocol, "the response head is too large");
    }
    if error.is_parse() {
        return fault(FaultKind::Protocol, format!("the answer is not HTTP: {}", clip(&error.to_string())));
    }
    if error.is_user() {
        return fault(FaultKind::Protocol, format!("the request cannot be sent: {}", clip(&error.to_string())));
    }
    if let Some(io) = find::<io::Error>(error) {
        return io_fault(io, "before the response");
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return fault(FaultKind::Reset, "connection closed before the response");
    }
    fault(FaultKind::Reset, clip(&innermost(error)))
}

/// Why a response body ended early.
pub(crate) fn body(error: &hyper::Error, host: &str) -> Fault {
    if let Some(tls) = find::<rustls::Error>(error) {
        return fault(FaultKind::Tls, tls_text(tls, host));
    }
    match find::<io::Error>(error) {
        Some(io) if matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            fault(FaultKind::Protocol, format!("the response body is malformed: {}", clip(&io.to_string())))
        }
        Some(io) => io_fault(io, "while reading the response body"),
        None => fault(FaultKind::Reset, "connection closed while reading the response body"),
    }
}

/// Whether the stream just ended, as a TLS peer ends it that does not say goodbye.
pub(crate) fn is_abrupt_end(error: &hyper::Error) -> bool {
    find::<io::Error>(error).is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof)
}

fn io_fault(error: &io::Error, when: &str) -> Fault {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused => fault(FaultKind::Refused, format!("connection refused {when}")),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::NotConnected => {
            fault(FaultKind::Reset, format!("connection reset {when}"))
        }
        K::UnexpectedEof | K::WriteZero => fault(FaultKind::Reset, format!("connection closed {when}")),
        K::TimedOut => fault(FaultKind::Reset, format!("connection lost {when}: the peer stopped answering")),
        K::HostUnreachable => fault(FaultKind::Unreachable, format!("host unreachable {when}")),
        K::NetworkUnreachable | K::NetworkDown => fault(FaultKind::Unreachable, format!("network unreachable {when}")),
        K::AddrNotAvailable => fault(FaultKind::Unreachable, format!("no local address or port left {when}")),
        _ => fault(FaultKind::Unreachable, format!("network failure {when}: {}", clip(&error.to_string()))),
    }
}

fn tls_text(error: &rustls::Error, host: &str) -> String {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(certificate) => certificate_text(certificate, host),
        E::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            "the server wants a client certificate".to_string()
        }
        E::AlertReceived(AlertDescription::UnrecognisedName) => format!("the server does not know the name {host}"),
        E::InvalidMessage(_) => "the server does not speak TLS on this port".to_string(),
        E::NoCertificatesPresented => "the server showed no certificate".to_string(),
        other => clip(&other.to_string()),
    }
}

fn certificate_text(error: &CertificateError, host: &str) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".to_string(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate is not valid yet".to_string(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("certificate is not valid for the name {host}")
        }
        CertificateError::UnknownIssuer => "certificate is self-signed or its issuer is unknown".to_string(),
        CertificateError::Revoked => "certificate was revoked".to_string(),
        CertificateError::BadSignature => "certificate has a bad signature".to_string(),
        // What webpki says of a leaf that is its own authority. Its error type is not public here; only the wording hangs on the text.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "certificate is self-signed or its issuer is unknown".to_string()
        }
        other => format!("certificate is not valid: {}", clip(&other.to_string())),
    }
}

/// The first error of type `E` in the chain, looking into what an [`io::Error`] wraps, which its `source` skips.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    deepest.to_string()
}

/// Foreign text on one line and not longer than a message should be.
fn clip(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_FOREIGN_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_refusals_have_kinds_of_their_own() {
        // Linux: ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, ENETDOWN, EMFILE, EACCES.
        for code in [101, 113, 99, 100, 24, 13] {
            assert_eq!(dial(&io::Error::from_raw_os_error(code)).kind, FaultKind::Unreachable, "{code}");
        }
        // ECONNREFUSED, ECONNRESET, ETIMEDOUT.
        assert_eq!(dial(&io::Error::from_raw_os_error(111)).kind, FaultKind::Refused);
        assert_eq!(dial(&io::Error::from_raw_os_error(104)).kind, FaultKind::Reset);
        assert_eq!(dial(&io::Error::from_raw_os_error(110)).kind, FaultKind::Timeout(Phase::Connect));
        // EPIPE while a handshake is on the way.
        assert_eq!(handshake(&io::Error::from_raw_os_error(32), "x").kind, FaultKind::Reset);
    }

    #[test]
    fn what_tls_says_is_found_inside_an_io_error() {
        let wrapped = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        assert_eq!(handshake(&wrapped(alert), "x"), fault(FaultKind::Tls, "the server wants a client certificate"));
        let revoked = rustls::Error::InvalidCertificate(CertificateError::Revoked);
        assert_eq!(handshake(&wrapped(revoked), "x").message, "certificate was revoked");
    }

    #[test]
    fn foreign_text_stays_on_one_short_line() {
        assert_eq!(clip("a\r\nb"), "a  b");
        assert_eq!(clip(&"ü".repeat(1000)).chars().count(), MAX_FOREIGN_TEXT);
    }
}
