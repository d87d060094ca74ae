//! A load client that costs little: HTTP/1.1 over TLS, JSON, one connection a caller, all on one thread.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use edge_tests::Cluster;
use edge_tests::api::Api;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where ConfigMaps are made.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// One connection of an administrator.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    api: Api,
    token: HeaderValue,
}

impl Connection {
    /// A new one, with the kubeconfig's token.
    pub async fn to(cluster: &Cluster) -> Result<Connection> {
        let api = Api::of(cluster);
        let token = HeaderValue::from_str(&format!("Bearer {}", api.token()))?;
        Ok(Connection { sender: connect(&api).await?, api, token })
    }

    /// Some of them.
    pub async fn several(cluster: &Cluster, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::to(cluster).await?);
        }
        Ok(connections)
    }

    /// Sends a request; the answer's body is read to its end.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        media: &'static str,
        body: Bytes,
    ) -> Result<Bytes> {
        Ok(self.open(method, path, media, body).await?.collect().await?.to_bytes())
    }

    /// Makes a ConfigMap.
    pub async fn create(&mut self, name: &str, value: &str) -> Result<Bytes> {
        let body = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"{name}\"}},\"data\":{{\"value\":\"{value}\"}}}}"
        );
        self.call(Method::POST, MAPS, "application/json", body.into()).await
    }

    /// Sends a request; the answer's body is still to be read.
    pub async fn open(
        &mut self,
        method: Method,
        path: &str,
        media: &'static str,
        body: Bytes,
    ) -> Result<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(AUTHORIZATION, &self.token)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, media)
            .body(Full::new(body))?;
        if self.sender.ready().await.is_err() {
            // It has been idle for so long that the server closed it.
            self.sender = connect(&self.api).await?;
            self.sender.ready().await?;
        }
        let answer = self.sender.send_request(request).await.context("no answer")?;
        if !matches!(answer.status(), StatusCode::OK | StatusCode::CREATED) {
            let code = answer.status();
            bail!(
                "{path}: {code}: {}",
                String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes())
            );
        }
        Ok(answer.into_body())
    }
}

async fn connect(api: &Api) -> Result<SendRequest<Full<Bytes>>> {
    let tcp = TcpStream::connect(api.address()).await?;
    tcp.set_nodelay(true)?;
    let mut tls = api.tls();
    Arc::make_mut(&mut tls).alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::IpAddress(api.address().ip().into());
    let stream = TlsConnector::from(tls).connect(name, tcp).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
