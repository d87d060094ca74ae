//! Outgoing `wasi:http`, 0.2 and 0.3, by the Pod's network.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::http::{Body, BodyError, HandlerError};
use crate::net::{HttpError, NetError, PodNet};

/// Until the head of a response when the guest sets no time of its own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// How long the rest of a body that nobody wants is taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// And at most so many bytes of it.
const MOST_UNWANTED: usize = 64 << 10;

/// Sends what a guest sends.
pub(super) struct Outgoing {
    net: PodNet,
}

impl Outgoing {
    /// Sends by `net`.
    pub(super) fn new(net: PodNet) -> Outgoing {
        Outgoing { net }
    }
}

type Answered = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answered, Error>> + Send> {
        let net = self.net.clone();
        Box::new(async move {
            let request = request.map(body_in);
            let limit = time_limit(options);
            let response = tokio::time::timeout(limit, net.send_http(request))
                .await
                .map_err(|_| Error::ConnectionReadTimeout)?
                .map_err(error_out)?;
            let finished = Box::new(async { Ok(()) });
            Ok((response.map(body_out), finished as Box<dyn Future<Output = _> + Send>))
        })
    }
}

fn time_limit(options: Option<RequestOptions>) -> Duration {
    let Some(options) = options else { return DEFAULT_TIMEOUT };
    match (options.connect_timeout, options.first_byte_timeout) {
        (None, None) => DEFAULT_TIMEOUT,
        (connect, first_byte) => {
            let connect = connect.unwrap_or(DEFAULT_TIMEOUT);
            connect.saturating_add(first_byte.unwrap_or(DEFAULT_TIMEOUT)).min(DEFAULT_TIMEOUT)
        }
    }
}

/// A guest's body as the node passes it on.
fn body_in(body: WasiBody) -> Body {
    Body::new(Sent(Some(body)).map_err(|error| BodyError::Producer(error.to_string())))
}

/// A guest's body on its way. Who answers without having read it lets go of it, maybe before the guest has said that
/// there is nothing in it; then the guest would be told that it cannot be written, although it has an answer. So the
/// rest is taken for a while, as by the other side of a connection.
struct Sent(Option<WasiBody>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(PATIENCE, discard(body)));
        }
    }
}

async fn discard(mut body: WasiBody) {
    let mut left = MOST_UNWANTED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length > left {
            return;
        }
        left -= length;
    }
}

/// A body of the node as a guest reads it.
pub(super) fn body_out(body: Body) -> WasiBody {
    body.map_err(|error| match error {
        BodyError::Connection(error) => Error::Hyper(error),
        other => Error::InternalError(Some(other.to_string())),
    })
    .boxed_unsync()
}

fn error_out(error: HttpError) -> Error {
    match error {
        HttpError::Net(error) => connect_error(error),
        HttpError::Uri => Error::HttpRequestUriInvalid,
        HttpError::Protocol(error) => Error::Hyper(error),
        HttpError::Tls(reason) => Error::Tls(std::io::Error::other(reason)),
        HttpError::Handler(HandlerError::Timeout) => Error::HttpResponseTimeout,
        HttpError::Handler(HandlerError::Refused { .. }) => Error::DestinationUnavailable,
        HttpError::Handler(HandlerError::Failed(_)) => Error::HttpResponseIncomplete,
    }
}

fn connect_error(error: NetError) -> Error {
    let rcode = |name: &str| Error::DnsError { rcode: Some(name.into()), info_code: None };
    match error {
        NetError::AccessDenied(_) => Error::DestinationIpProhibited,
        NetError::Unreachable(_) | NetError::OtherNode { .. } => Error::DestinationIpUnroutable,
        NetError::ConnectionRefused => Error::ConnectionRefused,
        NetError::ConnectionReset | NetError::ConnectionAborted => Error::ConnectionTerminated,
        NetError::Timeout => Error::ConnectionTimeout,
        NetError::SocketLimit => Error::ConnectionLimitReached,
        NetError::NameUnresolvable => rcode("NXDOMAIN"),
        NetError::ResolverTemporary | NetError::ResolverPermanent => rcode("SERVFAIL"),
        other => Error::InternalError(Some(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    use super::*;

    type Piece = Result<Frame<Bytes>, Error>;

    fn written_at() -> (mpsc::Sender<Piece>, Body) {
        let (writer, mut reader) = mpsc::channel(1);
        let pieces = futures::stream::poll_fn(move |cx| reader.poll_recv(cx));
        (writer, body_in(StreamBody::new(pieces).boxed_unsync()))
    }

    /// A body that nobody has read, and the end at which it is written.
    fn unread() -> mpsc::Sender<Piece> {
        let (writer, body) = written_at();
        drop(body);
        writer
    }

    fn piece(length: usize) -> Piece {
        Ok(Frame::data(Bytes::from(vec![b'x'; length])))
    }

    #[tokio::test]
    async fn what_nobody_reads_can_be_written() {
        let writer = unread();
        for _ in 0..8 {
            writer.send(piece(1000)).await.expect("it is taken");
        }
    }

    #[tokio::test]
    async fn nobody_takes_without_end_what_nobody_reads() {
        let writer = unread();
        let mut taken = 0;
        while writer.send(piece(10_000)).await.is_ok() {
            taken += 10_000;
        }
        assert!((MOST_UNWANTED..MOST_UNWANTED + 30_000).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn a_body_is_passed_on() {
        let (writer, body) = written_at();
        writer.send(piece(3)).await.expect("room");
        drop(writer);
        assert_eq!(body.collect().await.expect("whole").to_bytes(), "xxx");
    }
}
