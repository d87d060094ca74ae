//! Messages on a stream of bytes, each with its length before it: how control plane and node speak of a session that
//! goes both ways, such as a command in a container.
//!
//! A message is what a WebSocket of Kubernetes' `channel.k8s.io` carries: the number of a channel and its bytes. What
//! the channels mean is told by [`STDIN`] and its neighbours.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// To the command.
pub const STDIN: u8 = 0;
/// From the command.
pub const STDOUT: u8 = 1;
/// From the command.
pub const STDERR: u8 = 2;
/// What became of the command: a `Status`, the last message.
pub const ERROR: u8 = 3;
/// The size of the terminal.
pub const RESIZE: u8 = 4;
/// No more comes on the channel that follows.
pub const CLOSE: u8 = 255;

/// The longest message.
pub const LONGEST: usize = 1 << 20;
/// Bytes of a length.
const LENGTH: usize = 4;

/// A length that no message has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes; the longest has {LONGEST}")]
pub struct TooLong(usize);

/// A message of a channel, as it travels.
pub fn frame(channel: u8, bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(LENGTH + 1 + bytes.len());
    // A message longer than the longest is the reader's to refuse.
    out.put_u32(u32::try_from(bytes.len() + 1).unwrap_or(u32::MAX));
    out.put_u8(channel);
    out.put_slice(bytes);
    out.freeze()
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole message: channel and bytes. An empty one is passed over.
    pub fn next_message(&mut self) -> Result<Option<(u8, Bytes)>, TooLong> {
        loop {
            let Some(length) = self.0.first_chunk::<LENGTH>() else { return Ok(None) };
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > LONGEST + 1 {
                return Err(TooLong(length));
            }
            if self.0.len() < LENGTH + length {
                return Ok(None);
            }
            self.0.advance(LENGTH);
            let mut message = self.0.split_to(length).freeze();
            if !message.is_empty() {
                return Ok(Some((message.get_u8(), message)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let mut stream = Vec::new();
        for (channel, bytes) in [(STDIN, &b"hello"[..]), (STDOUT, b""), (CLOSE, b"\0")] {
            stream.extend_from_slice(&frame(channel, bytes));
        }
        // However the stream is cut.
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                frames.push(piece);
                while let Some((channel, bytes)) = frames.next_message().expect("short enough") {
                    found.push((channel, bytes.to_vec()));
                }
            }
            assert_eq!(found, [(STDIN, b"hello".to_vec()), (STDOUT, vec![]), (CLOSE, vec![0])]);
        }
        let mut frames = Frames::default();
        frames.push(&[255, 255, 255, 255]);
        assert_eq!(frames.next_message(), Err(TooLong(4_294_967_295)));
    }
}
