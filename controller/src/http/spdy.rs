//! SPDY/3.1, as far as clients of Kubernetes speak it.
//!
//! Pure: bytes in, frames and bytes out. Read are streams that a client opens, their headers, data, resets and pings;
//! windows and settings are passed over, since clients of Kubernetes do not keep to them. Replies carry no headers.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// Words that the compression of headers knows from the beginning, each with its length before it.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
/// What it knows beside.
const TAIL: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request",
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented",
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00",
    " Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,",
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,",
    "deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
);
/// The checksum by which a client says that it means these words.
const WORDS_ID: [u8; 4] = [0xe3, 0xc6, 0xa7, 0xc2];

/// The largest headers, in bytes.
const HEADERS: usize = 64 * 1024;
/// The longest frame that is taken, but for data, which is passed on as it comes.
const LONGEST: usize = 1 << 20;
/// How far back the compression of headers looks.
const WINDOW: usize = 32 * 1024;

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS_FRAME: u16 = 8;
const FIN: u8 = 1;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// It opens a stream.
    Open {
        /// Its number.
        stream: u32,
        /// Its headers.
        headers: BTreeMap<String, String>,
    },
    /// Bytes of a stream.
    Data {
        /// Which one.
        stream: u32,
        /// The bytes.
        bytes: Bytes,
        /// Whether they are the last.
        last: bool,
    },
    /// It gives a stream up.
    Reset {
        /// Which one.
        stream: u32,
    },
    /// It asks for the same back, to be answered by [`ping`].
    Ping(u32),
    /// It goes.
    GoAway,
}

/// A frame that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed frame")]
pub struct Malformed;

/// Cuts what a client sends into frames.
pub struct Reader {
    buffer: BytesMut,
    headers: Inflater,
    /// The data frame that is being read.
    data: Option<Data>,
}

/// What is still to come of a data frame.
#[derive(Debug, Clone, Copy)]
struct Data {
    stream: u32,
    left: usize,
    last: bool,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { buffer: BytesMut::new(), headers: Inflater::new(), data: None }
    }
}

impl Reader {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that means something, if it is whole; of data as much as is there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        loop {
            if let Some(data) = self.data.take() {
                return Ok(self.next_data(data));
            }
            let Some(head) = self.buffer.first_chunk::<8>().copied() else { return Ok(None) };
            let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
            let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            if word >> 31 == 0 {
                self.buffer.advance(8);
                self.data = Some(Data { stream: word, left: length, last: head[4] & FIN != 0 });
                continue;
            }
            if length > LONGEST {
                return Err(Malformed);
            }
            if self.buffer.len() < 8 + length {
                return Ok(None);
            }
            self.buffer.advance(8);
            let body = self.buffer.split_to(length).freeze();
            let (version, kind) = ((word >> 16) as u16, word as u16);
            if version != VERSION {
                return Err(Malformed);
            }
            if let Some(frame) = self.control(kind, body)? {
                return Ok(Some(frame));
            }
        }
    }

    fn next_data(&mut self, Data { stream, left, last }: Data) -> Option<Frame> {
        let bytes = self.buffer.split_to(left.min(self.buffer.len())).freeze();
        let rest = left - bytes.len();
        if rest > 0 {
            self.data = Some(Data { stream, left: rest, last });
        }
        let something = left == 0 || !bytes.is_empty();
        something.then_some(Frame::Data { stream, bytes, last: last && rest == 0 })
    }

    fn control(&mut self, kind: u16, mut body: Bytes) -> Result<Option<Frame>, Malformed> {
        let least = match kind {
            SYN_STREAM => 10,
            RST_STREAM => 8,
            PING | HEADERS_FRAME => 4,
            _ => 0,
        };
        if body.len() < least {
            return Err(Malformed);
        }
        Ok(match kind {
            SYN_STREAM => {
                let stream = body.get_u32() & 0x7fff_ffff;
                body.advance(6);
                Some(Frame::Open { stream, headers: pairs(&self.headers.inflate(&body)?)? })
            }
            // The compression goes on from frame to frame, so what it says has to be read.
            HEADERS_FRAME => self.headers.inflate(&body[4..]).map(|_| None)?,
            RST_STREAM => Some(Frame::Reset { stream: body.get_u32() & 0x7fff_ffff }),
            // A server's own have even numbers: those come back.
            PING => Some(body.get_u32()).filter(|id| id % 2 == 1).map(Frame::Ping),
            GOAWAY => Some(Frame::GoAway),
            _ => None,
        })
    }
}

/// Names and values, each with its length before it.
fn pairs(mut block: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    let mut pairs = BTreeMap::new();
    for _ in 0..number(&mut block)? {
        let name = string(&mut block)?.to_ascii_lowercase();
        pairs.insert(name, string(&mut block)?);
    }
    Ok(pairs)
}

fn number(block: &mut &[u8]) -> Result<usize, Malformed> {
    let (head, rest) = block.split_first_chunk::<4>().ok_or(Malformed)?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*head)).map_err(|_| Malformed)
}

fn string(block: &mut &[u8]) -> Result<String, Malformed> {
    let length = number(block)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Malformed)
}

/// What headers of one direction are compressed with.
struct Inflater {
    state: Box<DecompressorOxide>,
    window: Box<[u8]>,
    at: usize,
    begun: bool,
}

impl Inflater {
    fn new() -> Inflater {
        let mut known = Vec::with_capacity(WINDOW);
        for word in WORDS {
            known.extend_from_slice(&u32::try_from(word.len()).unwrap_or(0).to_be_bytes());
            known.extend_from_slice(word.as_bytes());
        }
        known.extend_from_slice(TAIL.as_bytes());
        let at = known.len();
        known.resize(WINDOW, 0);
        Inflater { state: Box::default(), window: known.into(), at, begun: false }
    }

    fn inflate(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        if !self.begun {
            let (head, rest) = bytes.split_first_chunk::<6>().ok_or(Malformed)?;
            if head[1] & 0x20 == 0 || head[2..] != WORDS_ID {
                return Err(Malformed);
            }
            bytes = rest;
            self.begun = true;
        }
        let mut out = Vec::new();
        loop {
            let (status, read, written) = decompress(
                &mut self.state,
                bytes,
                &mut self.window,
                self.at,
                inflate_flags::TINFL_FLAG_HAS_MORE_INPUT,
            );
            out.extend_from_slice(&self.window[self.at..self.at + written]);
            self.at = (self.at + written) % WINDOW;
            bytes = &bytes[read..];
            match status {
                TINFLStatus::NeedsMoreInput => return Ok(out),
                TINFLStatus::HasMoreOutput if out.len() <= HEADERS => {}
                _ => return Err(Malformed),
            }
        }
    }
}

/// What is sent in one direction.
#[derive(Debug, Default)]
pub struct Writer {
    begun: bool,
}

impl Writer {
    /// Takes a stream that the client opened.
    pub fn accept(&mut self, stream: u32) -> Bytes {
        // No headers at all, which is four zeros, stored and not compressed; then nothing, stored, on which Go's reader
        // hands out what it has.
        const NONE: [u8; 14] = [0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let mut body = BytesMut::new();
        body.put_u32(stream);
        if !std::mem::replace(&mut self.begun, true) {
            body.put_slice(&[0x78, 0x01]);
        }
        body.put_slice(&NONE);
        control(SYN_REPLY, &body)
    }
}

/// The ping with which a server asks whether anybody is there.
pub const OWN_PING: u32 = 2;

/// A ping, or the answer to one.
pub fn ping(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

/// Bytes of a stream.
pub fn data(stream: u32, bytes: &[u8], last: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + bytes.len());
    out.put_u32(stream);
    out.put_u8(if last { FIN } else { 0 });
    out.put_uint(bytes.len() as u64, 3);
    out.put_slice(bytes);
    out.freeze()
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + body.len());
    out.put_u16(VERSION);
    out.put_u16(kind);
    out.put_u8(0);
    out.put_uint(body.len() as u64, 3);
    out.put_slice(body);
    out.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_words_are_those_of_the_standard() {
        let inflater = Inflater::new();
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in &inflater.window[..inflater.at] {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        assert_eq!((b << 16 | a).to_be_bytes(), WORDS_ID);
        assert_eq!(inflater.at, 1423);
    }

    /// Two streams as Go's implementation opens them, with headers that refer to the words and to each other.
    const OPENED: &str = concat!(
        "800300010000003d0000000100000000000078f9e3c6a7c202253a48f95b044eea16061606409ab308125f99a074cc68",
        "004e892545a989b9d0c2863515141500000000ffff800300010000001600000003000000000000225333a8a44a04000000ffff"
    );

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        hex.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn streams_are_opened_and_their_headers_read() {
        let stream = bytes(OPENED);
        for size in [1, 5, stream.len()] {
            let mut reader = Reader::default();
            let mut opened = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(piece);
                while let Some(frame) = reader.next_frame().unwrap() {
                    let Frame::Open { stream, headers } = frame else { panic!("{frame:?}") };
                    assert_eq!((headers["port"].as_str(), headers["requestid"].as_str()), ("8080", "0"));
                    opened.push((stream, headers["streamtype"].clone()));
                }
            }
            assert_eq!(opened, [(1, "error".to_owned()), (3, "data".to_owned())]);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut reader = Reader::default();
        reader.push(&data(3, b"hello", true));
        reader.push(&ping(OWN_PING));
        reader.push(&ping(7));
        let last = Frame::Data { stream: 3, bytes: "hello".into(), last: true };
        assert_eq!(reader.next_frame(), Ok(Some(last)));
        assert_eq!(reader.next_frame(), Ok(Some(Frame::Ping(7))));
        let mut writer = Writer::default();
        assert_eq!(&writer.accept(1)[..14], [0x80, 3, 0, 2, 0, 0, 0, 20, 0, 0, 0, 1, 0x78, 1]);
        assert_eq!(writer.accept(3)[7], 18, "the second goes on with the first's compression");
        reader.push(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(reader.next_frame(), Err(Malformed));
    }

    #[test]
    fn data_is_passed_on_as_it_comes() {
        let mut reader = Reader::default();
        reader.push(&[0, 0, 0, 3, FIN, 0xff, 0xff, 0xff]);
        assert_eq!(reader.next_frame(), Ok(None));
        let (piece, mut left) = (vec![7; 1 << 20], 0x00ff_ffff);
        while left > 0 {
            let some = piece.len().min(left);
            left -= some;
            reader.push(&piece[..some]);
            let bytes = piece[..some].to_vec().into();
            assert_eq!(reader.next_frame(), Ok(Some(Frame::Data { stream: 3, bytes, last: left == 0 })));
        }
        reader.push(&data(3, b"", true));
        assert_eq!(reader.next_frame(), Ok(Some(Frame::Data { stream: 3, bytes: Bytes::new(), last: true })));
        assert_eq!(reader.next_frame(), Ok(None));
    }

    #[test]
    fn headers_that_no_client_writes_are_refused() {
        let mut reader = Reader::default();
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(&[0x78, 0x9c, 1, 2, 3, 4, 5]);
        reader.push(&control(SYN_STREAM, &body));
        assert_eq!(reader.next_frame(), Err(Malformed));
    }
}
