//! One body type for requests and responses, without an allocation for the usual kinds.

use crate::http::InFlight;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// In how many places one body counts at most: its Pod, its Service and its Ingress.
const COUNTED: usize = 3;

/// The body of a request or response: empty, whole, arriving from a connection, or any other
/// [`http_body::Body`] in a box.
#[derive(Default)]
pub struct Body {
    inner: Inner,
    /// End when the body does.
    work: [Option<InFlight>; COUNTED],
}

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Whole(Bytes),
    Incoming(hyper::body::Incoming),
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection it came from failed.
    #[error("connection failed while the body was read")]
    Connection(#[from] hyper::Error),
    /// The producer of the body failed.
    #[error("body ended early: {0}")]
    Producer(String),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Inner::Empty.into()
    }

    /// A body whose bytes are all there.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::empty() } else { Inner::Whole(bytes).into() }
    }

    /// Counts as work in progress until the body is read to its end or dropped.
    pub fn counted(mut self, work: InFlight) -> Self {
        if let Some(place) = self.work.iter_mut().find(|place| place.is_none()) {
            *place = Some(work);
        }
        self
    }

    /// Any other body; costs one allocation.
    pub fn new<B, E>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = E> + Send + 'static,
        E: Into<BodyError> + 'static,
    {
        let body = http_body_util::BodyExt::map_err(body, Into::into);
        Inner::Boxed(UnsyncBoxBody::new(body)).into()
    }
}

impl From<Inner> for Body {
    fn from(inner: Inner) -> Self {
        Body { inner, work: Default::default() }
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Self {
        Inner::Incoming(incoming).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body::whole(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::whole(text)
    }
}

impl From<std::convert::Infallible> for BodyError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<std::io::Error> for BodyError {
    fn from(error: std::io::Error) -> Self {
        BodyError::Producer(error.to_string())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.inner {
            Inner::Empty => "empty",
            Inner::Whole(_) => "whole",
            Inner::Incoming(_) => "incoming",
            Inner::Boxed(_) => "boxed",
        };
        f.debug_tuple("Body").field(&kind).finish()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inner = &mut self.get_mut().inner;
        match inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::Connection),
            Inner::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Whole(_) => false,
            Inner::Incoming(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(body) => body.size_hint(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn every_kind_yields_its_bytes() {
        let boxed = Body::new(http_body_util::Full::new(Bytes::from_static(b"boxed")));
        let cases = [(Body::empty(), ""), (Body::from("whole"), "whole"), (boxed, "boxed")];
        for (body, want) in cases {
            assert_eq!(body.size_hint().exact(), Some(want.len() as u64));
            let got = body.collect().await.expect("no body here fails").to_bytes();
            assert_eq!(got, want.as_bytes());
        }
    }
}
