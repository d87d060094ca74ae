//! Questions to a container over the Pod network: whether a port is open, what a path answers, whether a gRPC
//! service is well.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut as _, Bytes, BytesMut};
use edge_api::int_or_string::IntOrString;
use edge_api::kinds::pod::{Container, GrpcAction, HttpGetAction, TcpSocketAction};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Empty, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use crate::http::{Body, HandlerError};
use crate::net::{Dialed, NetError};
use crate::supervisor::context::Context;

/// The path of gRPC's health service.
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// The longest answer about health.
const LONGEST: usize = 64 * 1024;
/// What gRPC says of a method that is not there.
const UNIMPLEMENTED: &str = "12";

/// Why a question brought no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The port is not open.
    #[error("dial tcp {0}: {what}", what = undialled(.1))]
    Dial(SocketAddr, NetError),
    /// A path was not answered.
    #[error("Get \"http://{0}{1}\": {2}")]
    Get(SocketAddr, String, Box<AskError>),
    /// Nothing that can be dialled is named.
    #[error("{0}")]
    Target(String),
    /// A header that cannot be sent.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The connection broke, or what came was not HTTP.
    #[error(transparent)]
    Protocol(#[from] hyper::Error),
    /// The handler failed.
    #[error(transparent)]
    Handler(#[from] HandlerError),
    /// There is no health service.
    #[error("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {0}")]
    NoHealth(String),
    /// The call failed.
    #[error("error: health rpc probe failed: {0}")]
    Call(String),
    /// The service is not well.
    #[error("service unhealthy (responded with {0:?})")]
    Unhealthy(&'static str),
}

/// An error of a connection as Go's dialler tells it.
fn undialled(error: &NetError) -> String {
    match error {
        NetError::ConnectionRefused | NetError::ConnectionReset | NetError::Unreachable(_) => {
            format!("connect: {error}")
        }
        NetError::Timeout => "i/o timeout".to_owned(),
        other => other.to_string(),
    }
}

/// Whether a port is open.
pub async fn tcp(context: &Context, container: &Container, action: &TcpSocketAction) -> Result<(), AskError> {
    let to = target(context, container, &action.host, &action.port)?;
    dial(context, to).await.map(drop)
}

/// How a path is answered.
pub async fn http(
    context: &Context,
    container: &Container,
    get: &HttpGetAction,
    agent: &'static str,
) -> Result<StatusCode, AskError> {
    let to = target(context, container, &get.host, &get.port)?;
    let path = if get.path.starts_with('/') { get.path.clone() } else { format!("/{}", get.path) };
    let failed = |error| AskError::Get(to, path.clone(), Box::new(error));
    get_path(context, to, &path, get, agent).await.map_err(failed)
}

async fn get_path(
    context: &Context,
    to: SocketAddr,
    path: &str,
    get: &HttpGetAction,
    agent: &'static str,
) -> Result<StatusCode, AskError> {
    let mut request = Request::builder()
        .uri(path)
        .header(header::HOST, to.to_string())
        .header(header::USER_AGENT, agent)
        .header(header::ACCEPT, "*/*")
        .body(())?;
    for one in &get.http_headers {
        let name = HeaderName::try_from(one.name.as_str()).map_err(http::Error::from)?;
        let value = HeaderValue::try_from(one.value.as_str()).map_err(http::Error::from)?;
        request.headers_mut().insert(name, value);
    }
    match dial(context, to).await? {
        Dialed::Http(handler) => Ok(handler.call(request.map(|()| Body::empty())).await?.status()),
        Dialed::Stream(stream) => {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
            Ok(sender.send_request(request.map(|()| Empty::<Bytes>::new())).await?.status())
        }
    }
}

/// Whether a gRPC service says that it is well, by `grpc.health.v1`.
pub async fn grpc(context: &Context, action: &GrpcAction) -> Result<(), AskError> {
    let to = target(context, &Container::default(), "", &IntOrString::Int(action.port))?;
    let question = question(to, action.service.as_deref().unwrap_or_default())?;
    match dial(context, to).await? {
        Dialed::Http(handler) => {
            let answer = handler.call(question.map(Body::whole)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            verdict(&head.headers, body.map_err(|error| AskError::Call(error.to_string()))?)
        }
        Dialed::Stream(stream) => check(stream, question).await,
    }
}

async fn check(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    question: Request<Bytes>,
) -> Result<(), AskError> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, body) = sender.send_request(question.map(Full::new)).await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(AskError::Call(format!("unexpected HTTP status code {}", head.status.as_u16())));
    }
    let body = Limited::new(body, LONGEST).collect().await;
    verdict(&head.headers, body.map_err(|error| AskError::Call(error.to_string()))?)
}

/// `HealthCheckRequest`: field 1, the service's name; as a gRPC message.
fn question(to: SocketAddr, service: &str) -> Result<Request<Bytes>, AskError> {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    Ok(Request::post(format!("http://{to}{CHECK}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.37")
        .body(framed.freeze())?)
}

/// Reads the answer: its `grpc-status` and `HealthCheckResponse`.
fn verdict(head: &HeaderMap, body: Collected<Bytes>) -> Result<(), AskError> {
    let trailers = body.trailers().cloned().unwrap_or_default();
    let word = |name: &str| {
        let value = trailers.get(name).or_else(|| head.get(name))?;
        Some(value.to_str().ok()?.to_owned())
    };
    let message = word("grpc-message").unwrap_or_default();
    match word("grpc-status").as_deref() {
        Some("0") => {}
        Some(UNIMPLEMENTED) => return Err(AskError::NoHealth(message)),
        Some(code) => return Err(AskError::Call(format!("rpc error: code = {code} desc = {message}"))),
        None => return Err(AskError::Call("no grpc-status".to_owned())),
    }
    match serving_status(&body.to_bytes()) {
        1 => Ok(()),
        2 => Err(AskError::Unhealthy("NOT_SERVING")),
        3 => Err(AskError::Unhealthy("SERVICE_UNKNOWN")),
        _ => Err(AskError::Unhealthy("UNKNOWN")),
    }
}

/// `HealthCheckResponse`: field 1, a small number; what is not there is zero.
fn serving_status(framed: &[u8]) -> u8 {
    match framed {
        [0, _, _, _, 2, 0x08, status, ..] => *status,
        _ => 0,
    }
}

async fn dial(context: &Context, to: SocketAddr) -> Result<Dialed, AskError> {
    let from = SocketAddr::new(context.host.address, 0);
    context.host.network.look_in(to, from).await.map_err(|error| AskError::Dial(to, error))
}

/// The address to ask: the Pod's, unless the question names one.
fn target(
    context: &Context,
    container: &Container,
    host: &str,
    port: &IntOrString,
) -> Result<SocketAddr, AskError> {
    let ip = match host {
        "" => context.ip.get().copied().ok_or_else(|| AskError::Target("the Pod has no address".into()))?,
        host => {
            host.parse::<IpAddr>().map_err(|_| AskError::Target(format!("{host:?} is not an address")))?
        }
    };
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => match name.parse() {
            Ok(number) => Some(number),
            Err(_) => container.ports.iter().find(|port| port.name == *name).map(|port| port.container_port),
        },
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    let number = number.ok_or_else(|| AskError::Target(format!("no port {port:?}")))?;
    Ok(SocketAddr::new(ip, number))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use hyper::body::Incoming;
    use hyper::service::service_fn;

    use super::*;

    /// Asks a service that answers with this body and these trailers; gives what it heard, too.
    async fn asked(
        service: &str,
        body: &'static [u8],
        trailers: &'static [(&'static str, &'static str)],
    ) -> (Vec<u8>, Result<(), String>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (heard, mut hearing) = tokio::sync::mpsc::channel(1);
        let answer = service_fn(move |request: Request<Incoming>| {
            let heard = heard.clone();
            async move {
                assert_eq!(request.uri().path(), CHECK);
                assert_eq!(request.headers()[header::CONTENT_TYPE], "application/grpc");
                let question = request.into_body().collect().await.expect("a question").to_bytes();
                heard.send(question.to_vec()).await.expect("it is waited for");
                let mut last = HeaderMap::new();
                for (name, value) in trailers {
                    last.insert(*name, HeaderValue::from_static(value));
                }
                let frames =
                    [Frame::data(Bytes::from_static(body)), Frame::trailers(last)].map(Ok::<_, Infallible>);
                Ok::<_, Infallible>(Response::new(StreamBody::new(futures::stream::iter(frames))))
            }
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let server = tokio::spawn(server.serve_connection(TokioIo::new(far), answer));
        let question = question(([10, 42, 0, 2], 50051).into(), service).expect("a request");
        let result = check(near, question).await.map_err(|error| error.to_string());
        server.abort();
        (hearing.recv().await.expect("a question"), result)
    }

    #[tokio::test]
    async fn grpc_health() {
        let (heard, result) = asked("web", &[0, 0, 0, 0, 2, 8, 1], &[("grpc-status", "0")]).await;
        assert_eq!((heard.as_slice(), result), (&b"\0\0\0\0\x05\x0a\x03web"[..], Ok(())));
        let (heard, result) = asked("", &[0, 0, 0, 0, 2, 8, 2], &[("grpc-status", "0")]).await;
        assert_eq!(heard, [0; 5]);
        assert_eq!(result, Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()));
        let (_, unknown) = asked("", &[0, 0, 0, 0, 0], &[("grpc-status", "0")]).await;
        assert_eq!(unknown, Err("service unhealthy (responded with \"UNKNOWN\")".to_owned()));
        let (_, none) = asked("", &[], &[("grpc-status", "12"), ("grpc-message", "no such method")]).await;
        assert!(none.expect_err("none").ends_with("(grpc.health.v1.Health): no such method"));
        let (_, failed) = asked("", &[], &[("grpc-status", "5"), ("grpc-message", "who?")]).await;
        assert_eq!(failed, Err("error: health rpc probe failed: rpc error: code = 5 desc = who?".to_owned()));
        let (_, mute) = asked("", &[0, 0, 0, 0, 2, 8, 1], &[]).await;
        assert!(mute.is_err(), "an answer without a status is none");
    }

    #[test]
    fn long_names_of_services() {
        let question = question(([10, 42, 0, 2], 1).into(), &"a".repeat(300)).expect("a request");
        assert_eq!(question.body()[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }
}
