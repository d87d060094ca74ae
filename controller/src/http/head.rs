//! The head of an HTTP/1 request, watched while it comes in, so that one that is too large is answered with a `Status`.
//!
//! hyper answers such heads itself, with a code and nothing else, and can be told no other words; a URL of 64 KiB it
//! cannot even represent. So what is too large is cut off before hyper sees it: the beginning is closed in a way that it
//! reads as a small request, the rest is read and thrown away, and whoever answers looks at [`Watch::cut`] first. After
//! that nothing more is heard of the sender. On HTTP/2, and once a connection is something else than HTTP, nothing is
//! looked at; of a head that comes while the request before it is not answered yet, the beginning is not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::body::{Body, Response};

/// The longest first line, in bytes; what is cut there is longer than any URL that is served.
const LINE: usize = 62 * 1024;
/// The longest head, in bytes.
pub const HEAD: usize = 120 * 1024;
/// The most lines of a head, the first with them: hyper takes a hundred header fields.
pub const LINES: u32 = 97;
/// How much of what is too large is read and thrown away, so that its sender comes to read the answer.
const THROWN_AWAY: usize = 4 << 20;

/// What of a head was too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The first line, with the URL.
    Line,
    /// The lines after it.
    Fields,
}

/// What both sides of hyper know of a connection. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    answered: AtomicU64,
    over: AtomicBool,
    cut: AtomicU8,
}

impl Watch {
    /// Looks at nothing any more.
    pub fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }

    fn note(&self, cut: Cut) {
        self.0.cut.store(if cut == Cut::Line { 1 } else { 2 }, Ordering::Relaxed);
    }

    /// What was cut off the request, if anything was.
    pub fn cut(&self) -> Option<Cut> {
        match self.0.cut.load(Ordering::Relaxed) {
            1 => Some(Cut::Line),
            2 => Some(Cut::Fields),
            _ => None,
        }
    }

    /// The answer to a request; when it has been sent the next head may come.
    pub fn answer(&self, response: Response) -> http::Response<Answer> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.end();
        }
        response.map(|body| Answer { body, watch: self.clone() })
    }
}

/// The body of an answer that tells when it has been sent.
pub struct Answer {
    body: Body,
    watch: Watch,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watch.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose heads are watched.
pub struct Watched<S> {
    stream: S,
    watch: Watch,
    stage: Stage,
    /// After how many answers the head began.
    answered: u64,
}

/// What the next byte belongs to.
enum Stage {
    /// A head.
    Head(Gauge),
    /// Whatever comes after a head until the request was answered.
    Body,
    /// The rest of a head that was cut; and what hyper is told in its place.
    Rest(Gauge, &'static [u8]),
    /// Nothing; what hyper is still to be told.
    End(&'static [u8]),
}

/// How much of a head has come.
#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    size: usize,
    /// The last four bytes.
    last: u32,
    /// The lines that are complete.
    lines: u32,
}

impl Gauge {
    /// Takes a byte; whether the head ends with it.
    fn take(&mut self, byte: u8) -> bool {
        self.size += 1;
        self.last = self.last << 8 | u32::from(byte);
        self.lines += u32::from(byte == b'\n');
        self.last == 0x0d0a_0d0a || self.last & 0xffff == 0x0a0a
    }

    /// What of it is too large.
    fn excess(&self) -> Option<Cut> {
        match self.lines {
            0 if self.size > LINE => Some(Cut::Line),
            0 => None,
            lines => (self.size > HEAD || lines > LINES).then_some(Cut::Fields),
        }
    }
}

/// What makes a small request of a head that was cut after this byte.
fn ending(cut: Cut, last: u8) -> &'static [u8] {
    match (cut, last) {
        (Cut::Line, _) => b" HTTP/1.1\r\nconnection: close\r\n\r\n",
        (Cut::Fields, b'\r') => b"\nconnection: close\r\n\r\n",
        (Cut::Fields, b'\n') => b"connection: close\r\n\r\n",
        (Cut::Fields, _) => b":\r\nconnection: close\r\n\r\n",
    }
}

impl<S> Watched<S> {
    /// The stream, watched.
    pub fn new(stream: S, watch: Watch) -> Watched<S> {
        Watched { stream, watch, stage: Stage::Head(Gauge::default()), answered: 0 }
    }

    /// Looks at bytes that came; how many of them hyper may see.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let mut seen = bytes.len();
        for (at, byte) in bytes.iter().enumerate() {
            match &mut self.stage {
                Stage::Head(gauge) => {
                    let before = gauge.last as u8;
                    if gauge.take(*byte) {
                        self.stage = Stage::Body;
                    } else if let Some(cut) = gauge.excess() {
                        self.watch.note(cut);
                        self.stage = Stage::Rest(*gauge, ending(cut, before));
                        seen = at;
                    }
                }
                Stage::Rest(gauge, told) => {
                    if gauge.take(*byte) || gauge.size > THROWN_AWAY {
                        self.stage = Stage::End(told);
                    }
                }
                Stage::Body | Stage::End(_) => break,
            }
        }
        seen
    }

    /// Begins a new head if the last request was answered.
    fn turn(&mut self) {
        let answered = self.watch.0.answered.load(Ordering::Relaxed);
        if matches!(self.stage, Stage::Body) && answered != self.answered {
            self.stage = Stage::Head(Gauge::default());
            self.answered = answered;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.turn();
            let over = this.watch.0.over.load(Ordering::Relaxed);
            match &mut this.stage {
                Stage::End(told) if !told.is_empty() => {
                    let (now, later) = told.split_at(told.len().min(buffer.remaining()));
                    buffer.put_slice(now);
                    *told = later;
                    return Poll::Ready(Ok(()));
                }
                // An end would tell hyper that nobody waits for the answer.
                Stage::End(_) => {
                    let mut bytes = [0; 4096];
                    let mut thrown_away = ReadBuf::new(&mut bytes);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut thrown_away))?;
                    if thrown_away.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stage::Rest(_, told) => {
                    let mut bytes = [0; 4096];
                    let mut thrown_away = ReadBuf::new(&mut bytes);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut thrown_away))?;
                    match thrown_away.filled() {
                        [] => this.stage = Stage::End(told),
                        bytes => drop(this.look(bytes)),
                    }
                }
                Stage::Head(_) if !over => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
                    let came = buffer.filled().len() - before;
                    let seen = this.look(&buffer.filled()[before..]);
                    buffer.set_filled(before + seen);
                    // Nothing would mean the end.
                    if seen > 0 || came == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stage::Head(_) | Stage::Body => return Pin::new(&mut this.stream).poll_read(cx, buffer),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What hyper sees of what is sent in pieces of this size, and what was cut.
    async fn seen(sent: &[u8], piece: usize) -> (Vec<u8>, Option<Cut>) {
        let mut stream = in_pieces(sent, piece);
        let watch = Watch::default();
        let mut out = Vec::new();
        Watched::new(&mut stream, watch.clone()).read_to_end(&mut out).await.unwrap();
        (out, watch.cut())
    }

    /// A stream that gives at most so many bytes at a time.
    fn in_pieces(sent: &[u8], piece: usize) -> impl AsyncRead + Unpin + use<'_> {
        let chunks = sent.chunks(piece).map(|chunk| io::Result::Ok(Bytes::copy_from_slice(chunk)));
        tokio_util::io::StreamReader::new(futures::stream::iter(chunks))
    }

    #[tokio::test]
    async fn what_is_small_passes_as_it_is() {
        let body = "x".repeat(2 * HEAD);
        let head = format!(
            "POST / HTTP/1.1\r\na: {}\r\ncontent-length: {}\r\n\r\n",
            "b".repeat(HEAD - 100),
            body.len()
        );
        let lines = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(96));
        for sent in [
            lines,
            format!("{head}{body}"),
            "GET / HTTP/1.1\n\n".to_owned(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + &body,
        ] {
            for piece in [1000, 7000, sent.len()] {
                assert!(seen(sent.as_bytes(), piece).await == (sent.clone().into_bytes(), None));
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_large_becomes_a_small_request() {
        let line = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "u".repeat(1_000_000));
        let fields = format!("GET / HTTP/1.1\r\n{}\r\n", "name: value\r\n".repeat(50_000));
        let endless = format!("GET / HTTP/1.1\r\nname: {}", "v".repeat(2 * THROWN_AWAY));
        for (sent, cut) in [(line, Cut::Line), (fields, Cut::Fields), (endless, Cut::Fields)] {
            for piece in [333, 5000, 8192, 1 << 20] {
                let (given, found) = seen(sent.as_bytes(), piece).await;
                assert_eq!(found, Some(cut));
                assert!(given.len() < HEAD + 100 && given.ends_with(b"\r\nconnection: close\r\n\r\n"));
                let lines: Vec<&str> = std::str::from_utf8(&given).unwrap().split("\r\n").collect();
                assert!(lines[0].starts_with("GET /") && lines[0].ends_with(" HTTP/1.1"));
                let fields = &lines[1..lines.len() - 2];
                assert!(fields.iter().all(|line| line.contains(':') && !line.contains('\r')), "{fields:?}");
            }
        }
    }

    #[tokio::test]
    async fn each_head_is_watched_and_nothing_after_an_upgrade() {
        let head = b"GET / HTTP/1.1\r\n\r\n";
        let long = [b"GET /".as_slice(), &b"u".repeat(LINE)].concat();
        for (status, cut) in [(200, Some(Cut::Line)), (101, None)] {
            let (watch, mut buffer) = (Watch::default(), vec![0; head.len()]);
            let sent = [head.as_slice(), &long].concat();
            let mut watched = Watched::new(in_pieces(&sent, head.len()), watch.clone());
            watched.read_exact(&mut buffer).await.unwrap();
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            drop(watch.answer(response));
            watched.read_to_end(&mut buffer).await.unwrap();
            assert_eq!(watch.cut(), cut, "{status}");
        }
    }
}
