//! HTTP on the Pod network: a handler of this node is called, anything else gets a connection.

use crate::http::{Body, Handler, HandlerError, Request, Response, SharedHandler};
use crate::net::network::{Inner, Network, Place, join};
use crate::net::pod::{Pod, Tcp};
use crate::net::stream::Stream;
use crate::net::upstream::send_fresh;
use crate::net::wait::Waited;
use crate::net::{NetError, outside};
use crate::table::{Origin, ServicePort, Table};
use futures::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Why an exchange brought no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// No endpoint took the request. It was not executed and comes back.
    #[error("no endpoint takes the request")]
    Unsent {
        /// Why the last endpoint did not.
        #[source]
        error: NetError,
        /// The request, untouched.
        request: Box<Request>,
    },
    /// The Service is scaled to zero, and no endpoint came in the time that a request may wait.
    #[error("no endpoint of a Service that was scaled to zero became ready in time")]
    Asleep,
    /// The Service is scaled to zero, and as many requests wait for it as may.
    #[error("too many requests wait for a Service that is scaled to zero")]
    Crowded,
    /// The Service or port does not exist.
    #[error("no such Service or port")]
    NoService,
    /// The local handler took the request and failed.
    #[error("handler gave no response")]
    Handler(#[source] HandlerError),
    /// The connection broke, or what came was not HTTP.
    #[error("HTTP exchange failed")]
    Protocol(#[source] hyper::Error),
}

impl ExchangeError {
    pub(crate) fn unsent(error: NetError, request: Request) -> Self {
        ExchangeError::Unsent { error, request: Box::new(request) }
    }
}

/// On whose behalf a request is sent.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Which traffic policies apply.
    pub origin: Origin,
    /// Whom session affinity is about.
    pub client: IpAddr,
    /// Whom the backend sees as its peer; connections are kept for each.
    pub source: IpAddr,
}

impl Network {
    /// Sends a request to an endpoint of the Service port that `find` names, in the client's
    /// turn. Endpoints that refuse before anything is sent are passed over. While none takes it,
    /// waits up to `patience` for one that does, since a rolling update may leave a moment
    /// without any; for a Service that is scaled to zero, [`Limits::hold`](crate::net::Limits::hold).
    pub async fn exchange(
        &self,
        find: impl Fn(&Table) -> Option<Arc<ServicePort>>,
        caller: Caller,
        request: Request,
        patience: Duration,
    ) -> Result<Response, ExchangeError> {
        self.0.exchange(find, caller, request, patience).await
    }

    /// Sends a request to one endpoint, likewise without anything lost when it refuses.
    pub async fn exchange_at(
        &self,
        endpoint: SocketAddr,
        client: IpAddr,
        request: Request,
    ) -> Result<Response, ExchangeError> {
        self.0.exchange_at(endpoint, client, request).await
    }
}

impl Inner {
    pub(crate) async fn exchange(
        &self,
        find: impl Fn(&Table) -> Option<Arc<ServicePort>>,
        caller: Caller,
        request: Request,
        patience: Duration,
    ) -> Result<Response, ExchangeError> {
        let port = find(&self.tables.load()).ok_or(ExchangeError::NoService)?;
        let present = port.tally.begin();
        let response = self.exchange_patiently(&port, find, caller, request, patience).await?;
        Ok(response.map(|body| body.counted(present)))
    }

    async fn exchange_patiently(
        &self,
        port: &ServicePort,
        find: impl Fn(&Table) -> Option<Arc<ServicePort>>,
        caller: Caller,
        mut request: Request,
        patience: Duration,
    ) -> Result<Response, ExchangeError> {
        match self.exchange_once(port, caller, request).await {
            Err(ExchangeError::Unsent { request: back, .. }) => request = *back,
            done => return done,
        }
        let mut wait = self.wait(patience);
        loop {
            // Looked at after subscribing, so that nothing is missed in between.
            let port = find(&self.tables.load()).ok_or(ExchangeError::NoService)?;
            match self.exchange_once(&port, caller, request).await {
                Err(ExchangeError::Unsent { error, request: back }) => {
                    request = *back;
                    match wait.again(&port).await {
                        Ok(()) => {}
                        Err(Waited::InVain) => return Err(ExchangeError::unsent(error, request)),
                        Err(Waited::Asleep) => return Err(ExchangeError::Asleep),
                        Err(Waited::Crowded) => return Err(ExchangeError::Crowded),
                    }
                }
                done => return done,
            }
        }
    }

    async fn exchange_once(
        &self,
        port: &ServicePort,
        caller: Caller,
        mut request: Request,
    ) -> Result<Response, ExchangeError> {
        let mut last = NetError::ConnectionRefused;
        for endpoint in self.ordered(port, caller.origin, caller.client) {
            match self.exchange_at(endpoint, caller.source, request).await {
                Err(ExchangeError::Unsent { error, request: back }) => {
                    last = error;
                    request = *back;
                }
                done => {
                    self.keep_affinity(port, caller.client, endpoint);
                    return done;
                }
            }
        }
        Err(ExchangeError::unsent(last, request))
    }

    pub(crate) async fn exchange_at(
        &self,
        to: SocketAddr,
        client: IpAddr,
        request: Request,
    ) -> Result<Response, ExchangeError> {
        let holder = match self.place(to) {
            Ok(Place::Pod(pod)) => pod.tcp_at(to).map(|holder| (pod, holder)),
            Ok(Place::Outside) => return self.exchange_outside(to, client, request).await,
            Err(error) => return Err(ExchangeError::unsent(error, request)),
        };
        match holder {
            Some((pod, Tcp::Http(handler))) => {
                let _present = pod.tally.stay();
                taken(&pod, call(&handler, request).await)
            }
            Some((pod, Tcp::Listening(_))) => {
                let _present = pod.tally.stay();
                taken(&pod, self.exchange_stream(&pod, to, client, request).await)
            }
            _ => Err(ExchangeError::unsent(NetError::ConnectionRefused, request)),
        }
    }

    pub(crate) async fn exchange_stream(
        &self,
        pod: &Arc<Pod>,
        to: SocketAddr,
        client: IpAddr,
        request: Request,
    ) -> Result<Response, ExchangeError> {
        let from = SocketAddr::new(client, pod.ephemeral_port());
        let open = || join(pod, to, from);
        self.upstreams.send((client, to), request, open, || !pod.is_draining()).await
    }

    async fn exchange_outside(
        &self,
        to: SocketAddr,
        client: IpAddr,
        request: Request,
    ) -> Result<Response, ExchangeError> {
        let from = SocketAddr::new(client, 0);
        match outside::connect(to, from, &self.config.limits).await {
            Ok(stream) => send_fresh(stream, request).await,
            Err(error) => Err(ExchangeError::unsent(error, request)),
        }
    }
}

/// Counts what a Pod did not refuse.
fn taken(pod: &Pod, outcome: Result<Response, ExchangeError>) -> Result<Response, ExchangeError> {
    if !matches!(outcome, Err(ExchangeError::Unsent { .. })) {
        pod.tally.count();
    }
    outcome
}

pub(crate) async fn call(handler: &SharedHandler, request: Request) -> Result<Response, ExchangeError> {
    match handler.call(request).await {
        Err(HandlerError::Refused { request, .. }) => {
            Err(ExchangeError::Unsent { error: NetError::ConnectionRefused, request })
        }
        Err(error) => Err(ExchangeError::Handler(error)),
        Ok(response) => Ok(response),
    }
}

/// A handler whose calls count as work of its Pod until their responses are read.
pub(crate) struct Counted {
    pod: Arc<Pod>,
    handler: SharedHandler,
}

impl Counted {
    pub(crate) fn new(pod: Arc<Pod>, handler: SharedHandler) -> Self {
        Counted { pod, handler }
    }
}

impl Handler for Counted {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, HandlerError>> {
        let Some(work) = self.pod.begin_work() else {
            let refused = HandlerError::refused("the Pod has ended", request);
            return Box::pin(std::future::ready(Err(refused)));
        };
        let answer = self.handler.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| body.counted(work))) })
    }
}

/// Speaks HTTP/1 or HTTP/2 on a stream for a handler.
pub(crate) async fn serve_stream(stream: Stream, handler: SharedHandler) {
    let peer = stream.peer_addr();
    if let Err(error) = serve(stream, handler).await {
        tracing::debug!(%peer, error, "HTTP connection to a handler ended early");
    }
}

/// The same on a stream that comes from nowhere in the Pod network.
pub async fn serve_duplex(stream: tokio::io::DuplexStream, handler: SharedHandler) {
    if let Err(error) = serve(stream, handler).await {
        tracing::debug!(error, "HTTP connection to a handler ended early");
    }
}

async fn serve<S>(stream: S, handler: SharedHandler) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let answer = handler.call(request.map(Body::from));
        async move { Ok::<_, std::convert::Infallible>(answer.await.unwrap_or_else(|error| failure(&error))) }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.serve_connection(TokioIo::new(stream), service).await
}

fn failure(error: &HandlerError) -> Response {
    let status = match error {
        HandlerError::Refused { .. } => http::StatusCode::SERVICE_UNAVAILABLE,
        HandlerError::Timeout => http::StatusCode::GATEWAY_TIMEOUT,
        HandlerError::Failed(_) => http::StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
