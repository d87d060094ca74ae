//! Ports of Pods on this host, by real kubectl: a handler and a socket.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use edge_tests::yaml::Pod;
use edge_tests::{Cluster, Shape, eventually, tool, web};

/// A kubectl that forwards, and where it listens.
struct Forward {
    child: Child,
    /// Held open: kubectl goes on saying what it does.
    _said: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Forward {
    /// `websockets`: whether kubectl asks for one; otherwise it speaks SPDY alone, as most programs in Go do.
    fn to(cluster: &Cluster, kubectl: &Path, pod: &str, port: u16, websockets: bool) -> Forward {
        let mut command = Command::new(kubectl);
        cluster.prepare(command.args(["port-forward", pod, &format!(":{port}")]));
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("it says {line:?}"));
        Forward { child, _said: said, address: ([127, 0, 0, 1], port).into() }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ports_are_reached(tool: &str, websockets: bool) {
    let Some(kubectl) = tool::find(tool) else { return };
    let cluster = Cluster::start(Shape::Whole);
    cluster.apply(&Pod::new("web", "hello-http").container("ports: [{containerPort: 8080}]").yaml());
    cluster.apply(&Pod::new("echo", "echo-tcp").args(&["7000"]).yaml());
    for pod in ["pod/web", "pod/echo"] {
        cluster.edgectl(&["wait", "--for=condition=ready", pod, "--timeout=60s"]).ok();
    }
    let handler = Forward::to(&cluster, &kubectl, "web", 8080, websockets);
    for _ in 0..3 {
        let answer = web::get(handler.address, "web", "/").unwrap();
        assert!(answer.status == 200 && answer.body.contains("web"), "{answer:?}");
    }
    let socket = Forward::to(&cluster, &kubectl, "echo", 7000, websockets);
    let text = b"bytes ".repeat(50_000);
    eventually("the socket echoes", || echo(socket.address, &text).map_err(|error| error.to_string()));
}

/// Sends text and reads as much back.
fn echo(address: SocketAddr, text: &[u8]) -> std::io::Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (mut writer, mut reader) = (stream.try_clone()?, stream);
    let sent = text.to_vec();
    let writing = std::thread::spawn(move || writer.write_all(&sent));
    let mut back = vec![0; text.len()];
    reader.read_exact(&mut back)?;
    writing.join().unwrap()?;
    if back == text { Ok(()) } else { Err(std::io::Error::other("it says something else")) }
}

#[test]
fn ports_of_a_handler_and_of_a_socket_are_reached() {
    ports_are_reached("kubectl-1_32", true);
}

#[test]
fn ports_are_reached_with_the_newest_kubectl() {
    ports_are_reached("kubectl-1_37", true);
}

#[test]
fn ports_are_reached_over_spdy() {
    ports_are_reached("kubectl-1_37", false);
}
