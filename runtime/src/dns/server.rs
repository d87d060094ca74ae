//! The sockets of the DNS server: UDP and TCP on one port.

use crate::dns::message::Transport;
use crate::dns::resolver::{Resolver, Step};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Questions of UDP clients that wait for other servers.
const WAITING: usize = 1024;
/// Connections at once.
const CONNECTIONS: usize = 256;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// Packets answered before others get a turn.
const BATCH: usize = 64;
/// The longest question over UDP: a name, EDNS and room for its options.
const MAX_QUESTION: usize = 4096;
/// Free ports tried when any will do and UDP's is taken for TCP.
const TRIES: usize = 16;

/// The address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("DNS cannot listen on {address} ({protocol})")]
pub struct BindError {
    address: SocketAddr,
    protocol: &'static str,
    #[source]
    source: io::Error,
}

/// A bound DNS server.
#[derive(Debug)]
pub struct Server {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    address: SocketAddr,
    resolver: Arc<Resolver>,
}

impl Server {
    /// Binds UDP and TCP; with port 0, one free port for both.
    pub async fn bind(address: SocketAddr, resolver: Arc<Resolver>) -> Result<Server, BindError> {
        let mut tries = if address.port() == 0 { TRIES } else { 1 };
        loop {
            tries -= 1;
            match bind_both(address).await {
                Ok((udp, tcp, address)) => {
                    resolver.exclude(address);
                    return Ok(Server { udp: Arc::new(udp), tcp, address, resolver });
                }
                Err(error) if tries == 0 => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped, which ends everything it started.
    pub async fn run(self) {
        tokio::join!(serve_udp(self.udp, self.resolver.clone()), serve_tcp(self.tcp, self.resolver),);
    }
}

async fn bind_both(address: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), BindError> {
    let error = |protocol| move |source| BindError { address, protocol, source };
    let tcp = TcpListener::bind(address).await.map_err(error("TCP"))?;
    let bound = tcp.local_addr().map_err(error("TCP"))?;
    let udp = UdpSocket::bind(bound).await.map_err(error("UDP"))?;
    Ok((udp, tcp, bound))
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let waiting = Arc::new(Semaphore::new(WAITING));
    let mut tasks = JoinSet::new();
    let mut packet = vec![0; MAX_QUESTION];
    let mut out = Vec::with_capacity(1500);
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..BATCH {
            // An error but WouldBlock is an ICMP answer to something sent before.
            let (length, client) = match socket.try_recv_from(&mut packet) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => continue,
            };
            let question = &packet[..length];
            match resolver.answer(question, Transport::Udp, &mut out) {
                // A full send buffer loses the answer, as the network may.
                Step::Answered => drop(socket.try_send_to(&out, client)),
                Step::Ignored => {}
                Step::Elsewhere(query, alias) => {
                    let Ok(permit) = waiting.clone().try_acquire_owned() else { continue };
                    let (socket, resolver) = (socket.clone(), resolver.clone());
                    let question = question.to_vec();
                    tasks.spawn(async move {
                        let mut out = Vec::new();
                        let alias = alias.as_deref();
                        let transport = Transport::Udp;
                        resolver.ask_others(&question, &query, alias, transport, &mut out).await;
                        drop(socket.send_to(&out, client).await);
                        drop(permit);
                    });
                }
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
}

async fn serve_tcp(listener: TcpListener, resolver: Arc<Resolver>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let resolver = resolver.clone();
                tasks.spawn(async move {
                    if let Err(error) = serve_stream(stream, &resolver).await {
                        tracing::debug!(%error, "DNS connection ended");
                    }
                    drop(permit);
                });
            }
            // Out of descriptors, mostly: wait for some to come back.
            Err(error) => {
                tracing::warn!(%error, "DNS cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn serve_stream(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut packet = Vec::new();
    loop {
        let read = tokio::time::timeout(SILENCE, read_message(&mut stream, &mut packet)).await;
        let Ok(true) = read.map_err(|_| io::ErrorKind::TimedOut)? else { return Ok(()) };
        let Some(answer) = resolver.respond(&packet, true).await else { return Ok(()) };
        let mut message = Vec::with_capacity(answer.len() + 2);
        message.extend_from_slice(&(answer.len() as u16).to_be_bytes());
        message.extend_from_slice(&answer);
        let written = tokio::time::timeout(SILENCE, stream.write_all(&message)).await;
        written.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}

/// Reads one message; false at the end of the stream.
async fn read_message(stream: &mut TcpStream, packet: &mut Vec<u8>) -> io::Result<bool> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    packet.resize(length.into(), 0);
    stream.read_exact(packet).await?;
    Ok(true)
}
