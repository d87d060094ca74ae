//! The words of a watch stream.
//!
//! Names and framing only. Cursors, bookmarks' timing and selectors' transitions belong to the
//! API server; the node's list-then-watch language belongs to the node.

use serde_json::Value;

use crate::protobuf::wire::put_bytes;
use crate::protobuf::{self, EncodeError};

/// What happened to an object, as a watch says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The object is new, or newly matches the selector.
    Added,
    /// The object changed.
    Modified,
    /// The object is gone, or no longer matches the selector.
    Deleted,
    /// Nothing changed up to the revision in the object's metadata.
    Bookmark,
    /// The stream ends; the object is a `Status`.
    Error,
}

impl Event {
    /// The name on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Event::Added => "ADDED",
            Event::Modified => "MODIFIED",
            Event::Deleted => "DELETED",
            Event::Bookmark => "BOOKMARK",
            Event::Error => "ERROR",
        }
    }

    /// The event of a name on the wire.
    pub fn from_wire(name: &str) -> Option<Event> {
        [Event::Added, Event::Modified, Event::Deleted, Event::Bookmark, Event::Error]
            .into_iter()
            .find(|event| event.wire() == name)
    }
}

/// One line of a watch stream, newline included, around an object that is already JSON.
pub fn line(event: Event, object: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(event.wire().as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line
}

/// One frame of a watch stream in protobuf: its length in four bytes, then a `WatchEvent` around the object's envelope.
pub fn frame(event: Event, object: &Value) -> Result<Vec<u8>, EncodeError> {
    let (mut raw, mut body) = (Vec::new(), Vec::new());
    put_bytes(&mut raw, 1, &protobuf::encode(object)?);
    put_bytes(&mut body, 1, event.wire().as_bytes());
    put_bytes(&mut body, 2, &raw);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    Ok([&length.to_be_bytes()[..], &body].concat())
}

/// A bookmark's object for a kind at a revision; `initial_end` marks the end of the initial
/// events of a streaming list.
pub fn bookmark(api_version: &str, kind: &str, revision: u64, initial_end: bool) -> Value {
    let mut metadata = serde_json::json!({
        "resourceVersion": revision.to_string(),
        "creationTimestamp": null,
    });
    if initial_end {
        metadata["annotations"] = serde_json::json!({ "k8s.io/initial-events-end": "true" });
    }
    serde_json::json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for event in [Event::Added, Event::Modified, Event::Deleted, Event::Bookmark, Event::Error] {
            assert_eq!(Event::from_wire(event.wire()), Some(event));
        }
        assert_eq!(Event::from_wire("added"), None);
    }

    #[test]
    fn a_line_is_one_json_object() {
        let line = line(Event::Added, br#"{"a":1}"#);
        assert_eq!(line, b"{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n");
    }

    #[test]
    fn a_frame_says_its_length_and_holds_an_envelope() {
        let object = bookmark("v1", "Pod", 7, true);
        let frame = frame(Event::Bookmark, &object).expect("a Pod has numbers");
        assert_eq!(frame[..4], u32::try_from(frame.len() - 4).expect("it is short").to_be_bytes());
        assert_eq!(frame[4..14], *b"\x0a\x08BOOKMARK");
        let magic = frame.windows(4).position(|window| window == protobuf::MAGIC).expect("an envelope");
        let read = protobuf::decode(&frame[magic..]).expect("what was written");
        assert_eq!(read["metadata"]["resourceVersion"], "7");
    }
}
