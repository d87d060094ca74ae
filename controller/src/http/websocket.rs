//! The frames of WebSockets, the server's half of RFC 6455.
//!
//! Pure: bytes in, events and bytes out. No extensions, no text messages of our own; what is sent is binary.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest message that is taken.
const LONGEST: usize = 1 << 20;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Message(Bytes),
    /// Is anybody there? To be answered by [`pong`].
    Ping(Bytes),
    /// It goes.
    Close,
}

/// Why a client is not listened to any longer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A frame that no client may send.
    #[error("a malformed frame")]
    Frame,
    /// More than is taken.
    #[error("a message of more than {LONGEST} bytes")]
    TooLong,
}

/// Cuts what a client sends into events.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    message: BytesMut,
    fragmented: bool,
}

impl Reader {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, if it is whole.
    pub fn next_event(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            let Some((first, payload)) = self.next_frame()? else { return Ok(None) };
            let last = first & 0x80 != 0;
            match first & 0x0f {
                PING => return Ok(Some(Event::Ping(payload.freeze()))),
                PONG => {}
                CLOSE => return Ok(Some(Event::Close)),
                kind @ (CONTINUATION | TEXT | BINARY) => {
                    if (kind == CONTINUATION) != self.fragmented {
                        return Err(Malformed::Frame);
                    }
                    if self.message.len() + payload.len() > LONGEST {
                        return Err(Malformed::TooLong);
                    }
                    self.message.unsplit(payload);
                    self.fragmented = !last;
                    if last {
                        return Ok(Some(Event::Message(self.message.split().freeze())));
                    }
                }
                _ => return Err(Malformed::Frame),
            }
        }
    }

    /// The first byte and the unmasked payload of the next frame.
    fn next_frame(&mut self) -> Result<Option<(u8, BytesMut)>, Malformed> {
        let [first, second, rest @ ..] = &*self.buffer else { return Ok(None) };
        let (first, short) = (*first, second & 0x7f);
        // Clients mask, and use no extension.
        if second & 0x80 == 0 || first & 0x70 != 0 {
            return Err(Malformed::Frame);
        }
        let (length, header) = match (short, rest) {
            (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (usize::try_from(length).unwrap_or(usize::MAX), 10)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (usize::from(short), 2),
        };
        if length > LONGEST {
            return Err(Malformed::TooLong);
        }
        if first & 0x08 != 0 && (length > 125 || first & 0x80 == 0) {
            return Err(Malformed::Frame);
        }
        if self.buffer.len() < header + 4 + length {
            return Ok(None);
        }
        self.buffer.advance(header);
        let mask = self.buffer.split_to(4);
        let mut payload = self.buffer.split_to(length);
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        Ok(Some((first, payload)))
    }
}

/// A binary message.
pub fn message(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(10 + payload.len());
    begin(BINARY, payload.len(), &mut out);
    out.put_slice(payload);
    out.freeze()
}

/// Is anybody there?
pub fn ping() -> Bytes {
    let mut out = BytesMut::with_capacity(2);
    begin(PING, 0, &mut out);
    out.freeze()
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(2 + payload.len());
    begin(PONG, payload.len(), &mut out);
    out.put_slice(payload);
    out.freeze()
}

/// The end, in order.
pub fn close() -> Bytes {
    const NORMAL: u16 = 1000;
    let mut out = BytesMut::with_capacity(4);
    begin(CLOSE, 2, &mut out);
    out.put_u16(NORMAL);
    out.freeze()
}

fn begin(kind: u8, length: usize, out: &mut BytesMut) {
    out.put_u8(0x80 | kind);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.put_u8(short),
        (_, Ok(length)) => {
            out.put_u8(126);
            out.put_u16(length);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A frame as clients send it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            length @ 0..=125 => out.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                out.push(0x80 | 126);
                out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let long = vec![7; 300];
        let mut stream = masked(0x82, b"one");
        stream.extend(masked(0x02, b"tw"));
        stream.extend(masked(0x89, b"?"));
        stream.extend(masked(0x80, b"o"));
        stream.extend(masked(0x82, &long));
        stream.extend(masked(0x88, &[3, 232]));
        for size in [1, 2, 3, 7, stream.len()] {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(piece);
                while let Some(event) = reader.next_event().unwrap() {
                    events.push(event);
                }
            }
            assert_eq!(
                events,
                [
                    Event::Message("one".into()),
                    Event::Ping("?".into()),
                    Event::Message("two".into()),
                    Event::Message(long.clone().into()),
                    Event::Close
                ]
            );
        }
    }

    #[test]
    fn what_no_client_may_send_is_refused() {
        for (bytes, expected) in [
            (vec![0x82, 0x01, 0], Malformed::Frame),
            (vec![0xc2, 0x80, 0, 0, 0, 0], Malformed::Frame),
            (vec![0x80, 0x80, 0, 0, 0, 0], Malformed::Frame),
            (vec![0x83, 0x80, 0, 0, 0, 0], Malformed::Frame),
            (vec![0x09, 0x80, 0, 0, 0, 0], Malformed::Frame),
            (vec![0x82, 0xff, 1, 0, 0, 0, 0, 0, 0, 0], Malformed::TooLong),
        ] {
            let mut reader = Reader::default();
            reader.push(&bytes);
            assert_eq!(reader.next_event(), Err(expected), "{bytes:x?}");
        }
    }

    #[test]
    fn lengths_are_written_shortest() {
        assert_eq!(&message(b"\x01a")[..], [0x82, 2, 1, b'a']);
        assert_eq!(&message(&[0; 126])[..4], [0x82, 126, 0, 126]);
        assert_eq!(&message(&[0; 70_000])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 17, 112]);
        assert_eq!((&pong(b"x")[..], &close()[..]), (&[0x8a, 1, b'x'][..], &[0x88, 2, 3, 232][..]));
        assert_eq!(&ping()[..], [0x89, 0]);
    }
}
