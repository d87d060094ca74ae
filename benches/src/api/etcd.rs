//! etcd beside us: `put` over gRPC, on the same disk, in the same run.
//!
//! The request is so small that it is written by hand: a frame of gRPC around two fields of protobuf.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use edge_tests::eventually;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderValue, TE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A running etcd; dropped, it is killed.
pub struct Etcd {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

/// One connection.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Etcd {
    /// Starts one with its usual settings.
    pub fn start(program: &Path) -> Result<Etcd> {
        let folder = tempfile::tempdir()?;
        let free = || -> Result<SocketAddr> { Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?) };
        let (address, peers) = (free()?, free()?);
        let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(folder.path())
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start etcd")?;
        let etcd = Etcd { child, address, _folder: folder };
        eventually("etcd is healthy", || {
            let answer = edge_tests::web::get(etcd.address, "localhost", "/health")?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        Ok(etcd)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Some connections.
    pub async fn connect(&self, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let tcp = TcpStream::connect(self.address).await?;
            tcp.set_nodelay(true)?;
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await?;
            tokio::spawn(connection);
            connections.push(Connection(sender));
        }
        Ok(connections)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Connection {
    /// Puts a key.
    pub async fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let mut message = Vec::with_capacity(key.len() + value.len() + 16);
        for (tag, text) in [(0x0a, key), (0x12, value)] {
            ensure!(text.len() < 1 << 14, "a length of two bytes");
            message.extend([tag, text.len() as u8 | 0x80, (text.len() >> 7) as u8]);
            message.extend_from_slice(text.as_bytes());
        }
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len())?.to_be_bytes());
        frame.append(&mut message);
        let request = Request::post("http://etcd/etcdserverpb.KV/Put")
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(Full::new(Bytes::from(frame)))?;
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        let body = answer.into_body().collect().await?;
        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
        ensure!(status == Some(&HeaderValue::from_static("0")), "etcd refused: {:?}", body.trailers());
        Ok(())
    }
}
