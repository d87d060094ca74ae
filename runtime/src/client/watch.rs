//! A watch as the server sends it: one JSON object per line.

use bytes::{Buf, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;

use crate::client::ClientError;
use crate::client::pool::Reply;

/// The longest line that is accepted.
const LONGEST: usize = 16 << 20;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// It is new, to this watch.
    Added,
    /// It changed.
    Modified,
    /// It is gone; the object is its last state.
    Deleted,
    /// Nothing happened up to the object's resource version.
    Bookmark,
    /// The watch failed; the object is a `Status`.
    Error,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub struct Change {
    /// What happened.
    #[serde(rename = "type")]
    pub verb: Verb,
    /// To what.
    pub object: Value,
}

/// A running watch; dropping it ends it.
pub struct WatchStream {
    body: Reply,
    buffer: BytesMut,
}

impl WatchStream {
    pub(crate) fn new(reply: Response<Reply>) -> WatchStream {
        WatchStream { body: reply.into_body(), buffer: BytesMut::new() }
    }

    /// The next change; `None` when the server ended the watch.
    pub async fn next(&mut self) -> Result<Option<Change>, ClientError> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return read(&line).map(Some);
            }
            if self.buffer.len() > LONGEST {
                return Err(ClientError::Body("a watch event is longer than 16 MiB".into()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::Http(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let line = buffer.split_to(end);
    buffer.advance(1);
    Some(line)
}

fn read(line: &[u8]) -> Result<Change, ClientError> {
    let change: Change = serde_json::from_slice(line).map_err(ClientError::Decode)?;
    if change.verb == Verb::Error {
        return Err(ClientError::of_status(StatusCode::INTERNAL_SERVER_ERROR, &change.object, line));
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_across_frames_and_errors() {
        let mut buffer = BytesMut::from(&b"{\"type\":\"ADDED\",\"object\":{}}\n{\"ty"[..]);
        let line = take_line(&mut buffer).expect("a whole line");
        assert_eq!(read(&line).expect("valid").verb, Verb::Added);
        assert!(take_line(&mut buffer).is_none());
        assert_eq!(&buffer[..], b"{\"ty");
        let gone = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        assert!(read(gone).expect_err("an error event").is_gone());
    }
}
