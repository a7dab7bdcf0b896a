//! The response body: read up to the cap, decompressed, and never further than it is worth.

use crate::classify;
use crate::drive::{Alarm, until};
use crate::h1::H1;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use postrider_core::ports::{Fault, Phase};
use std::io::{self, Write};
use std::mem;
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// How many bytes beyond the cap are read to save a connection; a new one costs about as much.
const MAX_DRAIN_BYTES: u64 = 64 * 1024;

/// How long they may take to come: the outcome is known by then and waits.
const DRAIN_PATIENCE: Duration = Duration::from_millis(250);

/// What is kept of a body.
pub(crate) struct Collected {
    pub(crate) body: Bytes,
    pub(crate) truncated: bool,
    /// Whether the body was read to its end, so that an HTTP/1.1 connection can be used again.
    pub(crate) ended: bool,
}

/// What a body is read with.
pub(crate) struct Reader<'a> {
    /// The HTTP/1.1 connection that the body comes over; an HTTP/2 one moves by itself.
    pub(crate) connection: Option<&'a mut H1>,
    pub(crate) alarm: &'a mut Alarm,
    pub(crate) deadline: Instant,
    /// The span of the deadline, for its message.
    pub(crate) limit: Duration,
    pub(crate) host: &'a str,
}

impl Reader<'_> {
    /// Reads the body of a response with these headers.
    pub(crate) async fn collect(mut self, headers: &HeaderMap, mut incoming: Incoming, cap: usize) -> Result<Collected, Fault> {
        if incoming.is_end_stream() {
            return Ok(Collected { body: Bytes::new(), truncated: false, ended: true });
        }
        let mut kept = Kept::new(headers, cap);
        let mut ended = true;
        while !incoming.is_end_stream() {
            let frame = self.frame(&mut incoming, self.deadline).await;
            let failure = match frame {
                Some(None) => break,
                Some(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        kept.push(data);
                    }
                    if kept.stopped {
                        ended = self.drain(incoming).await;
                        break;
                    }
                    continue;
                }
                Some(Some(Err(error))) if ends_with_connection(headers) && classify::is_abrupt_end(&error) => {
                    ended = false;
                    break;
                }
                Some(Some(Err(error))) => classify::body(&error, self.host),
                None => classify::timed_out(Phase::Body, self.limit),
            };
            if !kept.is_full() {
                return Err(failure);
            }
            // All that was asked for is here; what the receiver does after that changes nothing.
            kept.sink.truncated = true;
            ended = false;
            break;
        }
        let (body, truncated) = kept.finish();
        Ok(Collected { body, truncated, ended })
    }

    async fn frame(&mut self, incoming: &mut Incoming, deadline: Instant) -> Option<Option<Result<Frame<Bytes>, hyper::Error>>> {
        until(self.connection.as_deref_mut(), self.alarm, deadline, pin!(incoming.frame())).await
    }

    /// Reads on to the body's end if that is near; whether it was reached.
    async fn drain(&mut self, mut incoming: Incoming) -> bool {
        // An HTTP/2 stream is reset instead, which costs its connection nothing.
        if self.connection.is_none() || incoming.size_hint().lower() > MAX_DRAIN_BYTES {
            return false;
        }
        let deadline = self.deadline.min(Instant::now() + DRAIN_PATIENCE);
        let mut drained = 0;
        while !incoming.is_end_stream() {
            match self.frame(&mut incoming, deadline).await {
                Some(None) => return true,
                Some(Some(Ok(frame))) => drained += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Some(Err(_))) | None => return false,
            }
            if drained > MAX_DRAIN_BYTES {
                return false;
            }
        }
        true
    }
}

/// Whether nothing but the connection's end tells where the body ends. Then a TLS peer that closes without its goodbye has said all.
fn ends_with_connection(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING)
}

/// The kept part of a body, growing.
struct Kept {
    decoder: Decoder,
    /// What came out, while no decoder has it.
    sink: Sink,
    /// Whether there is nothing more to gain from reading.
    stopped: bool,
    /// How many bytes may still come: a compressed stream can go on for ever without anything coming out of it.
    wire_left: u64,
    /// Whether more came than that.
    cut: bool,
}

enum Decoder {
    /// Not compressed, or in a way that we do not know: the bytes are kept as they are.
    Plain,
    Gzip(Box<MultiGzDecoder<Sink>>),
    /// `deflate` means zlib, but some servers send the bare stream: the first two bytes tell.
    DeflateUnsure(Vec<u8>),
    Zlib(Box<ZlibDecoder<Sink>>),
    Deflate(Box<DeflateDecoder<Sink>>),
}

impl Kept {
    fn new(headers: &HeaderMap, cap: usize) -> Self {
        let sink = Sink { bytes: Vec::new(), cap, truncated: false };
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let coding = match (codings.next(), codings.next()) {
            (Some(only), None) => only.to_str().unwrap_or_default().trim(),
            _ => "",
        };
        let mut kept =
            Kept { decoder: Decoder::Plain, sink, stopped: false, wire_left: (cap as u64).saturating_add(MAX_DRAIN_BYTES), cut: false };
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            kept.decoder = Decoder::Gzip(Box::new(MultiGzDecoder::new(kept.lend())));
        } else if coding.eq_ignore_ascii_case("deflate") {
            kept.decoder = Decoder::DeflateUnsure(Vec::new());
        }
        kept
    }

    fn push(&mut self, data: &[u8]) {
        self.decode(data);
        match self.wire_left.checked_sub(data.len() as u64) {
            Some(left) => self.wire_left = left,
            None => (self.stopped, self.cut) = (true, true),
        }
    }

    fn decode(&mut self, data: &[u8]) {
        let result = match &mut self.decoder {
            Decoder::Plain => self.sink.write_all(data),
            Decoder::Gzip(decoder) => decoder.write_all(data),
            Decoder::Zlib(decoder) => decoder.write_all(data),
            Decoder::Deflate(decoder) => decoder.write_all(data),
            Decoder::DeflateUnsure(start) => {
                start.extend_from_slice(data);
                let start = mem::take(start);
                return self.decide_deflate(start);
            }
        };
        // Full, at the end of what was compressed, or not what it claims to be: what came out is kept, and the status is what counts.
        self.stopped = result.is_err();
    }

    fn decide_deflate(&mut self, start: Vec<u8>) {
        let &[first, second, ..] = start.as_slice() else {
            self.decoder = Decoder::DeflateUnsure(start);
            return;
        };
        // RFC 1950, section 2.2: method 8, and a check that makes the first two bytes a multiple of 31.
        let zlib = first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0;
        let sink = self.lend();
        self.decoder =
            if zlib { Decoder::Zlib(Box::new(ZlibDecoder::new(sink))) } else { Decoder::Deflate(Box::new(DeflateDecoder::new(sink))) };
        self.decode(&start);
    }

    /// The sink, for a decoder to own.
    fn lend(&mut self) -> Sink {
        mem::replace(&mut self.sink, Sink { bytes: Vec::new(), cap: 0, truncated: false })
    }

    /// Takes the sink back, with the last bytes that the decoder holds.
    fn reclaim(&mut self) {
        let sink = match &mut self.decoder {
            Decoder::Plain | Decoder::DeflateUnsure(_) => return,
            Decoder::Gzip(decoder) => {
                let _ = decoder.try_finish();
                mem::take(decoder.get_mut())
            }
            Decoder::Zlib(decoder) => {
                let _ = decoder.try_finish();
                mem::take(decoder.get_mut())
            }
            Decoder::Deflate(decoder) => {
                let _ = decoder.try_finish();
                mem::take(decoder.get_mut())
            }
        };
        self.sink = sink;
        self.decoder = Decoder::Plain;
    }

    fn is_full(&mut self) -> bool {
        self.reclaim();
        self.sink.bytes.len() >= self.sink.cap
    }

    fn finish(mut self) -> (Bytes, bool) {
        self.reclaim();
        (Bytes::from(mem::take(&mut self.sink.bytes)), self.sink.truncated || self.cut)
    }
}

/// Takes bytes up to a cap and refuses the first one beyond it.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    cap: usize,
    truncated: bool,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.cap - self.bytes.len();
        if data.len() > room {
            self.truncated = true;
        }
        let taken = data.len().min(room);
        if taken == 0 && !data.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.bytes.is_empty() {
            // Most bodies come in one piece, and one of the exact size becomes shared bytes without another allocation.
            self.bytes.reserve_exact(taken);
        }
        self.bytes.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
