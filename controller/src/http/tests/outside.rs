//! Somebody outside who serves HTTP over TLS, with a certificate of an authority of his own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1 as http1_client;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::io::ReaderStream;

use super::harness::Api;
use crate::identity::{Authority, User};

type Forwarded = UnsyncBoxBody<Bytes, std::io::Error>;
type Answer = Arc<dyn Fn(&Parts, Bytes) -> Response<Full<Bytes>> + Send + Sync>;

#[derive(Clone)]
pub struct Outside {
    /// Whom to believe, as a `caBundle`.
    pub bundle: String,
    acceptor: TlsAcceptor,
    answer: Answer,
}

impl Outside {
    /// Somebody of these names, and of the address 127.0.0.1.
    pub fn new(
        names: &[&str],
        answer: impl Fn(&Parts, Bytes) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Outside {
        let authority = Authority::generate().unwrap();
        // TLS goes by the clock of the host.
        let now = edge_api::time::Timestamp::from(std::time::SystemTime::now()).as_seconds();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = authority.issue_server(&names, &["127.0.0.1".parse().unwrap()], now).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config
            .with_no_client_auth()
            .with_single_cert(pair.chain().unwrap(), pair.private_key().unwrap())
            .unwrap();
        Outside {
            bundle: STANDARD.encode(&authority.pair().certificates),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            answer: Arc::new(answer),
        }
    }

    /// Listens until the test ends; the answer is the address.
    pub async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        address
    }

    /// Is a Pod of the node `n1`, whose tunnel leads to it.
    pub async fn in_a_pod(&self, api: &Api) {
        let stream = api.server.connect(User::node("n1"));
        let (mut sender, connection) = http1_client::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::post("/edgectl.dev/v1/nodes/n1/tunnel")
            .header("connection", "Upgrade")
            .header("upgrade", "edgectl-tunnel")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let own = self.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let own = own.clone();
                async move { Ok::<_, Infallible>(own.forward(request)) }
            });
            http2::Builder::new(TokioExecutor::new()).serve_connection(upgraded, service).await
        });
        while !api.server.tunnels().is_connected("n1") {
            tokio::task::yield_now().await;
        }
    }

    /// What a node does with bytes for a port of the Pod.
    fn forward(self, request: Request<Incoming>) -> Response<Forwarded> {
        assert_eq!(request.uri().path(), "/portForward/default/outside/8443");
        let (ours, theirs) = tokio::io::duplex(4096);
        tokio::spawn(self.serve(theirs));
        let (reader, mut writer) = tokio::io::split(ours);
        tokio::spawn(async move {
            let mut chunks = request.into_body().into_data_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                if writer.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            let _ = writer.shutdown().await;
        });
        Response::new(
            StreamBody::new(ReaderStream::new(reader).map_ok(http_body::Frame::data)).boxed_unsync(),
        )
    }

    /// Serves one connection.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Ok(tls) = self.acceptor.accept(stream).await else { return };
        let answer = self.answer;
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(answer(&parts, body))
            }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
    }
}

/// The Service `outside` of the namespace `default` with one endpoint: a Pod of the node `n1`.
pub async fn service(api: &Api) {
    let service =
        json!({"metadata": {"name": "outside"}, "spec": {"ports": [{"name": "https", "port": 443}]}});
    api.make("/api/v1/namespaces/default/services", service).await;
    let endpoint = json!({"addresses": ["10.42.0.9"], "nodeName": "n1",
        "targetRef": {"kind": "Pod", "namespace": "default", "name": "outside"}});
    let slice = json!({
        "metadata": {"name": "outside", "labels": {"kubernetes.io/service-name": "outside"}},
        "addressType": "IPv4", "endpoints": [endpoint], "ports": [{"name": "https", "port": 8443}],
    });
    api.make("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
}
