//! Certificates, names and handshakes.

use crate::harness::*;
use postrider_core::ports::FaultKind;
use postrider_outbound::{ClientTls, Outbound};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// An authority that the transport under test can be told to trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        Self::named("the authority of this test")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// An acceptor with a certificate for these names.
    pub fn acceptor(&self, names: &[&str], alpn: &[&str]) -> TlsAcceptor {
        self.acceptor_with(names, alpn, |_| {})
    }

    fn acceptor_with(&self, names: &[&str], alpn: &[&str], change: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
        let mut params = CertificateParams::new(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        acceptor(certificate, key, alpn)
    }
}

fn acceptor(certificate: Certificate, key: KeyPair, alpn: &[&str]) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

fn self_signed(names: &[&str]) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    acceptor(certificate, key, &[])
}

pub fn trusting(authority: &Authority) -> Outbound {
    outbound_with(|c| c.extra_roots = vec![authority.root()])
}

/// Answers requests over TLS, and notes how each handshake went.
async fn secure(acceptor: TlsAcceptor) -> (Server, Arc<Mutex<Vec<HandshakeKind>>>) {
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&kinds);
    let server = Server::start(move |_, stream| {
        let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
        async move {
            let Ok(stream): Result<TlsStream<TcpStream>, _> = acceptor.accept(stream).await else { return };
            noted.lock().unwrap().push(stream.get_ref().1.handshake_kind().unwrap());
            let mut connection = Conn::new(stream);
            while let Some(request) = connection.request().await {
                let close = if request.body == b"close" { "connection: close\r\n" } else { "" };
                connection.send(ok_with(close, "safe")).await;
            }
        }
    })
    .await;
    (server, kinds)
}

#[tokio::test]
async fn a_good_certificate_is_trusted_and_the_connection_kept() {
    let authority = Authority::new();
    let (server, _) = secure(authority.acceptor(&["receiver.test"], &["http/1.1"])).await;
    let mut lane = lane(&trusting(&authority), &server.named("https", "receiver.test", "/"));
    let first = lane.exchange(post("1")).await;
    assert!(first.phases.tls.unwrap() > 0);
    assert_eq!(&answer(first).body[..], b"safe");
    let second = lane.exchange(post("2")).await;
    assert_eq!(second.phases.tls, None);
    answer(second);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_address_in_the_certificate_is_enough() {
    let authority = Authority::new();
    let (server, _) = secure(authority.acceptor(&["127.0.0.1"], &[])).await;
    answer(lane(&trusting(&authority), &server.named("https", "127.0.0.1", "/")).exchange(post("1")).await);
}

async fn refused(acceptor: TlsAcceptor, outbound: &Outbound) -> String {
    let (server, _) = secure(acceptor).await;
    let exchange = lane(outbound, &server.named("https", "receiver.test", "/")).exchange(post("1")).await;
    assert_eq!(exchange.phases.first_byte, None);
    fault(exchange, FaultKind::Tls).message
}

#[tokio::test]
async fn the_wrong_certificate_is_refused_with_its_reason() {
    let authority = Authority::new();
    let outbound = trusting(&authority);
    let unknown = "certificate is self-signed or its issuer is unknown";
    assert_eq!(refused(self_signed(&["receiver.test"]), &outbound).await, unknown);
    assert_eq!(refused(Authority::named("somebody").acceptor(&["receiver.test"], &[]), &outbound).await, unknown);
    assert_eq!(
        refused(authority.acceptor(&["elsewhere.test"], &[]), &outbound).await,
        "certificate is not valid for the name receiver.test"
    );
    let expired = authority.acceptor_with(&["receiver.test"], &[], |p| p.not_after = date_time_ymd(2020, 1, 1));
    assert_eq!(refused(expired, &outbound).await, "certificate expired");
    let early = authority.acceptor_with(&["receiver.test"], &[], |p| p.not_before = date_time_ymd(3000, 1, 1));
    assert_eq!(refused(early, &outbound).await, "certificate is not valid yet");
}

#[tokio::test]
async fn an_authority_as_its_own_server_is_called_self_signed() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["receiver.test".to_string()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let message = refused(acceptor(certificate, key, &[]), &outbound()).await;
    assert_eq!(message, "certificate is self-signed or its issuer is unknown");
}

#[tokio::test]
async fn any_certificate_will_do_where_none_is_checked() {
    let (server, _) = secure(self_signed(&["elsewhere.test"])).await;
    let url = server.named("https", "receiver.test", "/");
    let outbound = outbound();
    answer(lane_with(&outbound, &url, |t| t.verify_tls = false).exchange(post("1")).await);
    // What the unchecked lane has learned opens no way around the check.
    fault(lane(&outbound, &url).exchange(post("1")).await, FaultKind::Tls);
}

#[tokio::test]
async fn sessions_are_resumed() {
    let authority = Authority::new();
    let (server, kinds) = secure(authority.acceptor(&["receiver.test"], &[])).await;
    let outbound = trusting(&authority);
    for _ in 0..2 {
        answer(lane(&outbound, &server.named("https", "receiver.test", "/")).exchange(post("close")).await);
    }
    let kinds = kinds.lock().unwrap();
    assert_eq!(kinds[1], HandshakeKind::Resumed, "{kinds:?}");
}

#[tokio::test]
async fn a_port_without_tls_is_told_apart_from_one_that_hangs_up() {
    let plain = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        connection.closed().await;
    })
    .await;
    let exchange = lane(&outbound(), &plain.named("https", "receiver.test", "/")).exchange(post("1")).await;
    assert_eq!(fault(exchange, FaultKind::Tls).message, "the server does not speak TLS on this port");

    let closing = Server::start(|_, stream| async move { drop(stream) }).await;
    let exchange = lane(&outbound(), &closing.named("https", "receiver.test", "/")).exchange(post("1")).await;
    assert!(fault(exchange, FaultKind::Reset).message.ends_with("during the TLS handshake"));
}

#[tokio::test]
async fn tls_to_a_plain_client_is_not_http() {
    let (server, _) = secure(self_signed(&["receiver.test"])).await;
    let exchange = lane(&outbound(), &server.named("http", "receiver.test", "/")).exchange(post("1")).await;
    assert!(matches!(exchange.result.unwrap_err().kind, FaultKind::Protocol | FaultKind::Reset));
}

#[tokio::test]
async fn https_is_not_left_by_a_redirect() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["receiver.test"], &[]);
    let server = Server::start(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut connection = Conn::new(acceptor.accept(stream).await.unwrap());
            connection.request().await.unwrap();
            connection.send("HTTP/1.1 307 Down\r\nlocation: http://receiver.test/\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let mut lane = lane_with(&trusting(&authority), &server.named("https", "receiver.test", "/"), |t| t.follow_redirects = true);
    assert_eq!(fault(lane.exchange(post("1")).await, FaultKind::Protocol).message, "redirect to plain http refused");
}

#[tokio::test]
async fn a_body_that_ends_without_goodbye_is_whole_where_nothing_else_ends_it() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["receiver.test"], &[]);
    let server = Server::start(move |number, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut connection = Conn::new(acceptor.accept(stream).await.unwrap());
            connection.request().await.unwrap();
            let length = if number == 0 { "" } else { "content-length: 20\r\n" };
            connection.send(format!("HTTP/1.1 200 OK\r\n{length}\r\nall there is")).await;
            // Dropping the TCP stream beneath TLS sends no close_notify.
            let (tcp, _) = connection.stream.into_inner();
            drop(tcp);
        }
    })
    .await;
    let url = server.named("https", "receiver.test", "/");
    let outbound = trusting(&authority);
    assert_eq!(&answer(lane(&outbound, &url).exchange(post("1")).await).body[..], b"all there is");
    fault(lane(&outbound, &url).exchange(post("1")).await, FaultKind::Reset);
}

#[tokio::test]
async fn a_client_of_one_server_checks_whose_it_is_and_speaks_http_1() {
    let authority = Authority::new();
    let (server, _) = secure(authority.acceptor(&["receiver.test", "127.0.0.1"], &["h2", "http/1.1"])).await;
    let connect = || async { TcpStream::connect(server.address).await.unwrap() };
    let trusting = ClientTls::new(&[authority.root()]).unwrap();
    for host in ["receiver.test", "receiver.test.", "127.0.0.1"] {
        let mut stream = trusting.secure(host, connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "{host}");
        stream.write_all(b"POST / HTTP/1.1\r\nhost: receiver.test\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200", "{host}");
    }
    let wrong = trusting.secure("other.test", connect().await).await.unwrap_err();
    assert_eq!((wrong.kind, &*wrong.message), (FaultKind::Tls, "certificate is not valid for the name other.test"));
    let unknown = ClientTls::new(&[]).unwrap().secure("receiver.test", connect().await).await.unwrap_err();
    assert_eq!((unknown.kind, &*unknown.message), (FaultKind::Tls, "certificate is self-signed or its issuer is unknown"));
    let unnamed = trusting.secure("no name", connect().await).await.unwrap_err();
    assert_eq!(unnamed.kind, FaultKind::Tls);
}
