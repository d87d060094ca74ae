//! Watches as answers: one JSON document a line, or one frame of protobuf, made when it happens.

use std::pin::Pin;

use bytes::Bytes;
use edge_api::kind::Kind;
use edge_api::protobuf::{self, EncodeError};
use edge_api::table::{self, Headings};
use edge_api::watch::{self, Event};
use http::{HeaderValue, header};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::http::body::{Body, Response};
use crate::http::form::{Encoding, Form, View};
use crate::http::metrics::Running;
use crate::http::reply::Wish;
use crate::http::status;
use crate::registry::{ApiError, Reason, Registry, Watch, WatchEvent};
use crate::store::Revision;

/// What a stream is made from.
struct Source {
    kind: &'static Kind,
    wish: Wish,
    watch: Watch,
    registry: Registry,
    /// Made once: with a thousand watches, asking anew for every event costs as much as the event.
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    headings: Headings,
    ended: bool,
    _running: Running,
}

/// The changes of a watch.
pub fn watch(
    registry: &Registry,
    wish: Wish,
    kind: &'static Kind,
    watch: Result<Watch, ApiError>,
    draining: CancellationToken,
    running: Running,
) -> Result<Response, ApiError> {
    let encoding = wish.form.encoding;
    let known = wish.form.view == View::Metadata || protobuf::knows(&kind.api_version(), kind.kind);
    if encoding == Encoding::Yaml || encoding == Encoding::Protobuf && !known {
        return Err(ApiError::new(
            Reason::NotAcceptable,
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch",
        ));
    }
    let chunks: crate::http::body::Chunks = match watch {
        // A watch that begins too far back is refused as one that falls behind: by an event.
        Err(error) if error.reason == Reason::Expired => {
            Box::pin(futures::stream::iter([Ok(failure(encoding, &error))]))
        }
        Err(error) => return Err(error),
        Ok(watch) => {
            let source = Box::new(Source {
                kind,
                wish,
                watch,
                registry: registry.clone(),
                draining: Box::pin(draining.cancelled_owned()),
                headings: Headings::Shown,
                ended: false,
                _running: running,
            });
            Box::pin(futures::stream::unfold(source, step))
        }
    };
    let mut response = Response::new(Body::Chunks(chunks));
    let media = match encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::Yaml => "application/json",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

/// The next chunk. What it is made from is boxed, since the stream hands it in and out for every event.
async fn step(mut source: Box<Source>) -> Option<(std::io::Result<Bytes>, Box<Source>)> {
    if source.ended {
        return None;
    }
    let next = tokio::select! {
        biased;
        next = source.watch.next() => next,
        () = source.draining.as_mut() => return None,
    };
    let bytes = match next {
        Ok(Some(events)) => source.lines(&events),
        Ok(None) => return None,
        Err(error) => {
            source.ended = true;
            failure(source.wish.form.encoding, &error)
        }
    };
    Some((Ok(bytes), source))
}

impl Source {
    fn lines(&mut self, events: &[WatchEvent]) -> Bytes {
        let mut out = Vec::with_capacity(events.len() * 512);
        for event in events {
            match event {
                WatchEvent::Object(event, object) if self.wish.form == Form::JSON => {
                    object.write_event(*event, &mut out);
                }
                WatchEvent::Object(event, object) => {
                    let value = self.view(object.value(), object.revision);
                    self.put(*event, &value, &mut out);
                }
                WatchEvent::Bookmark { revision, initial } => {
                    let value =
                        watch::bookmark(&self.kind.api_version(), self.kind.kind, revision.0, *initial);
                    let value = self.view(value, *revision);
                    self.put(Event::Bookmark, &value, &mut out);
                }
            }
        }
        out.into()
    }

    /// Adds an event; one that cannot be told ends the watch.
    fn put(&mut self, event: Event, value: &Value, out: &mut Vec<u8>) {
        let encoding = self.wish.form.encoding;
        if let Err(error) = put(encoding, event, value, out) {
            self.ended = true;
            out.extend_from_slice(&failure(encoding, &ApiError::internal(error)));
        }
    }

    fn view(&mut self, value: Value, revision: Revision) -> Value {
        match self.wish.form.view {
            View::Whole => value,
            View::Metadata => table::partial(&value),
            View::Table => {
                let headings = std::mem::replace(&mut self.headings, Headings::Omitted);
                let metadata = json!({"resourceVersion": revision.to_string()});
                let now = self.registry.now();
                table::table(self.kind, [&value], metadata, self.wish.include, headings, now)
            }
        }
    }
}

fn put(encoding: Encoding, event: Event, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if encoding == Encoding::Protobuf {
        out.extend_from_slice(&watch::frame(event, value)?);
    } else {
        let json = serde_json::to_vec(value).expect("a tree is JSON and a vector takes it");
        out.extend_from_slice(&watch::line(event, &json));
    }
    Ok(())
}

fn failure(encoding: Encoding, error: &ApiError) -> Bytes {
    let mut out = Vec::new();
    put(encoding, Event::Error, &status::object(error), &mut out)
        .expect("a Status has numbers for its fields");
    out.into()
}
