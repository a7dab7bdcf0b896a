//! How much of a response body is read and kept.

use crate::harness::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use postrider_core::ports::{Exchange, FaultKind, Response};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CAP: usize = 1024;

/// A server that answers every request with these bytes, and closes after the last of them if told so.
async fn serving(response: Vec<u8>, close: bool) -> Server {
    let response: Arc<[u8]> = response.into();
    Server::start(move |_, stream: TcpStream| {
        let response = Arc::clone(&response);
        async move {
            let mut connection = Conn::new(stream);
            while connection.request().await.is_some() {
                connection.send(&response).await;
                if close {
                    return;
                }
            }
        }
    })
    .await
}

/// One exchange, with a deadline of two minutes.
async fn once(server: &Server) -> Exchange {
    let mut lane = lane_with(&outbound(), &server.url("/"), |t| {
        (t.response_cap, t.timeout) = (CAP as u32, Duration::from_secs(120));
    });
    lane.exchange(post("x")).await
}

/// Microseconds: what takes less has not waited for the deadline.
const LONG_BEFORE_THE_DEADLINE: u32 = 60_000_000;

/// Two exchanges over one lane: their answer, and how many connections they took. With a paused clock the rest of a body has all the
/// time that it needs to come.
async fn twice(response: Vec<u8>) -> (Response, usize) {
    let _time = time_stands();
    let server = serving(response, false).await;
    let mut lane = lane_with(&outbound(), &server.url("/"), |t| t.response_cap = CAP as u32);
    let one = answer(lane.exchange(post("x")).await);
    let two = answer(lane.exchange(post("x")).await);
    assert_eq!(one, two);
    (one, server.accepted())
}

fn chunked(headers: &str, chunks: &[&[u8]]) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 200 OK\r\n{headers}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for chunk in chunks {
        response.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        response.extend_from_slice(chunk);
        response.extend(b"\r\n");
    }
    response.extend(b"0\r\n\r\n");
    response
}

#[tokio::test(start_paused = true)]
async fn a_body_of_just_the_cap_is_whole() {
    let body = vec![b'x'; CAP];
    for response in [ok(&body), chunked("", &[&body[..1], &body[1..]])] {
        let (response, connections) = twice(response).await;
        assert_eq!((&response.body[..], response.truncated, connections), (&body[..], false, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_a_little_longer_is_cut_and_the_connection_saved() {
    let body = vec![b'x'; CAP + 1000];
    for response in [ok(&body), chunked("", &[&body[..CAP], &body[CAP..]])] {
        let (response, connections) = twice(response).await;
        assert_eq!((&response.body[..], response.truncated, connections), (&body[..CAP], true, 1));
    }
}

#[tokio::test]
async fn a_cap_of_nothing_keeps_nothing() {
    let server = serving(ok("body"), false).await;
    let response = answer(lane_with(&outbound(), &server.url("/"), |t| t.response_cap = 0).exchange(post("x")).await);
    assert_eq!((response.body.len(), response.truncated), (0, true));
}

#[tokio::test]
async fn a_huge_body_is_not_read() {
    const SIZE: usize = 100 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let (done, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let server = Server::start(move |_, mut stream| {
        let (count, done) = (Arc::clone(&count), done.clone());
        async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let block = vec![b'x'; 64 * 1024];
            while stream.write_all(&block).await.is_ok() {
                count.fetch_add(block.len(), Ordering::SeqCst);
            }
            drop(done);
        }
    })
    .await;
    let mut lane = lane_with(&outbound(), &server.url("/"), |t| t.response_cap = CAP as u32);
    let response = answer(lane.exchange(post("x")).await);
    assert_eq!((response.body.len(), response.truncated), (CAP, true));
    // The server's writes fail, for the connection is gone while the lane is not.
    let address = server.address;
    drop(server);
    let _ = gone.recv().await;
    drop(lane);
    assert!(written.load(Ordering::SeqCst) < SIZE / 4, "{address} wrote {}", written.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_endless_chunked_body_is_cut() {
    let server = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.request().await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        loop {
            connection.send("5\r\nhello\r\n".repeat(100)).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    let response = answer(once(&server).await);
    assert_eq!((response.body.len(), response.truncated), (CAP, true));
}

#[tokio::test]
async fn a_body_that_stalls_beyond_the_cap_costs_no_timeout() {
    let server = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.request().await.unwrap();
        connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{}", "x".repeat(CAP + 1))).await;
        connection.closed().await;
    })
    .await;
    let exchange = once(&server).await;
    assert!(exchange.phases.total < LONG_BEFORE_THE_DEADLINE, "{:?}", exchange.phases);
    assert!(answer(exchange).truncated);
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(start_paused = true)]
async fn compressed_bodies_are_kept_as_they_were_meant() {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(b"hello hello hello").unwrap();
    let zlib = zlib.finish().unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
    raw.write_all(b"hello hello hello").unwrap();
    let raw = raw.finish().unwrap();
    let gz = gzip(b"hello hello hello");
    for (coding, body) in [("gzip", &gz), ("X-GZip", &gz), ("deflate", &zlib), ("Deflate", &raw)] {
        let header = format!("content-encoding: {coding}\r\n");
        let bytewise: Vec<&[u8]> = body.chunks(1).collect();
        for response in [ok_with(&header, body), chunked(&header, &bytewise)] {
            let (response, connections) = twice(response).await;
            assert_eq!((&response.body[..], response.truncated, connections), (&b"hello hello hello"[..], false, 1), "{coding}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_we_cannot_decompress_is_kept_raw() {
    for coding in [
        "content-encoding: br\r\n",
        "content-encoding: gzip, gzip\r\n",
        "content-encoding: gzip\r\ncontent-encoding: gzip\r\n",
        "content-encoding: identity\r\n",
    ] {
        let (response, _) = twice(ok_with(coding, "as it came")).await;
        assert_eq!(&response.body[..], b"as it came", "{coding}");
    }
}

#[tokio::test(start_paused = true)]
async fn broken_compression_is_not_a_failure() {
    let mut broken = gzip(&b"0123456789".repeat(50));
    let whole = broken.len();
    broken.truncate(whole - 9);
    let (response, _) = twice(ok_with("content-encoding: gzip\r\n", &broken)).await;
    assert_eq!(response.status, 200);
    assert!(response.body.starts_with(b"0123456789"));
    let (response, connections) = twice(ok_with("content-encoding: gzip\r\n", "not compressed at all")).await;
    assert_eq!((response.status, response.body.len(), connections), (200, 0, 1));
}

#[tokio::test]
async fn a_decompression_bomb_is_harmless() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 80_000);
    let server = Server::start(move |_, stream| {
        let bomb = bomb.clone();
        async move {
            let mut connection = Conn::new(stream);
            connection.request().await.unwrap();
            connection.send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n").await;
            // One after another for ever: who inflates on beyond the cap never comes to an end.
            while connection.stream.write_all(&bomb).await.is_ok() {}
        }
    })
    .await;
    let exchange = once(&server).await;
    assert!(exchange.phases.total < LONG_BEFORE_THE_DEADLINE, "{:?}", exchange.phases);
    let response = answer(exchange);
    assert_eq!((response.body.len(), response.truncated), (CAP, true));
}

/// Compressed streams may hold any number of empty pieces: there is no end to wait for, and no byte to keep.
#[tokio::test]
async fn compression_that_never_yields_anything_is_cut() {
    let empty_member = gzip(b"");
    // A zlib head, then stored blocks of no bytes.
    let empty_blocks = b"\x00\x00\x00\xff\xff".repeat(8);
    for (coding, head, piece) in [("gzip", &b""[..], empty_member), ("deflate", &b"\x78\x01"[..], empty_blocks)] {
        let server = Server::start(move |_, stream| {
            let piece = piece.repeat(20);
            async move {
                let mut connection = Conn::new(stream);
                connection.request().await.unwrap();
                connection.send(format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\n\r\n")).await;
                connection.send(head).await;
                // Until the other side has enough of it.
                while connection.stream.write_all(&piece).await.is_ok() {}
            }
        })
        .await;
        let exchange = once(&server).await;
        assert!(exchange.phases.total < LONG_BEFORE_THE_DEADLINE, "{coding}: {:?}", exchange.phases);
        let response = answer(exchange);
        assert_eq!((response.status, response.body.len(), response.truncated), (200, 0, true), "{coding}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure() {
    for hard in [false, true] {
        let server = Server::start(move |_, stream| async move {
            let mut connection = Conn::new(stream);
            connection.request().await.unwrap();
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
            if hard {
                reset(connection.stream);
            }
        })
        .await;
        let fault = fault(once(&server).await, FaultKind::Reset);
        assert!(fault.message.ends_with("while reading the response body") || fault.message.ends_with("before the response"), "{fault}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_beyond_the_cap_is_not() {
    for length in [CAP, CAP + 5] {
        let body = "x".repeat(length);
        let server = serving(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{body}").into_bytes(), true).await;
        let response = answer(once(&server).await);
        assert_eq!((response.body.len(), response.truncated), (CAP, true));
    }
}

#[tokio::test]
async fn a_body_may_end_with_its_connection() {
    let server = serving(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec(), true).await;
    let response = answer(once(&server).await);
    assert_eq!((&response.body[..], response.truncated), (&b"until the end"[..], false));
}
