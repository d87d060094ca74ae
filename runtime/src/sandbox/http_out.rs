//! Outgoing `wasi:http`, 0.2 and 0.3, by the Pod's network.

use std::future::Future;
use std::time::Duration;

use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::http::{Body, BodyError, HandlerError};
use crate::net::{HttpError, NetError, PodNet};

/// Until the head of a response when the guest sets no time of its own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

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

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
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
pub(super) fn body_in(body: WasiBody) -> Body {
    Body::new(body.map_err(|error| BodyError::Producer(error.to_string())))
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
