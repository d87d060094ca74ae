//! Questions we have no answer to go to the host's resolvers.

use crate::dns::cache::{Cache, Foreign};
use crate::dns::resolv_conf::ResolvConf;
use crate::dns::wire::{self, Edns, Malformed, Name};
use parking_lot::Mutex;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// How long one server has for one try.
const TRY: Duration = Duration::from_secs(2);
/// How often the list of servers is gone through.
const ROUNDS: usize = 2;
/// Questions under way at once; beyond it they fail.
const UNDER_WAY: usize = 512;
/// How often at most the resolv.conf is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where questions go that the cluster does not answer.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// The servers of a resolv.conf, read again when it has changed.
    ResolvConf(PathBuf),
    /// These servers.
    Servers(Vec<SocketAddr>),
}

/// Why a question got no answer from elsewhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("no server to ask")]
    NoServer,
    #[error("too many questions under way")]
    Busy,
    #[error("no server answered")]
    NoAnswer,
}

/// Asks other servers and remembers.
pub(crate) struct Forwarder {
    upstream: Upstream,
    /// Our own listening addresses: never asked.
    own: Mutex<Vec<SocketAddr>>,
    host: Mutex<Option<Host>>,
    cache: Cache,
    under_way: Semaphore,
}

struct Host {
    conf: Arc<ResolvConf>,
    modified: Option<SystemTime>,
    looked: Instant,
}

impl Forwarder {
    pub(crate) fn new(upstream: Upstream) -> Self {
        Forwarder {
            upstream,
            own: Mutex::default(),
            host: Mutex::default(),
            cache: Cache::default(),
            under_way: Semaphore::new(UNDER_WAY),
        }
    }

    /// Names an address of ours, to be left out from now on.
    pub(crate) fn exclude(&self, own: SocketAddr) {
        self.own.lock().push(own);
    }

    /// The host's search domains and servers.
    pub(crate) fn host(&self) -> Arc<ResolvConf> {
        let path = match &self.upstream {
            Upstream::Servers(servers) => {
                return Arc::new(ResolvConf { servers: servers.clone(), search: Vec::new(), ndots: 1 });
            }
            Upstream::ResolvConf(path) => path,
        };
        let mut host = self.host.lock();
        if let Some(host) = host.as_ref().filter(|host| host.looked.elapsed() < LOOK_EVERY) {
            return host.conf.clone();
        }
        let modified = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let conf = match host.as_ref().filter(|host| host.modified == modified) {
            Some(unchanged) => unchanged.conf.clone(),
            None => Arc::new(ResolvConf::parse(&std::fs::read_to_string(path).unwrap_or_default())),
        };
        *host = Some(Host { conf: conf.clone(), modified, looked: Instant::now() });
        conf
    }

    fn host_servers(&self) -> Vec<SocketAddr> {
        let own = self.own.lock();
        let is_own = |server: &SocketAddr| {
            own.iter().any(|own| {
                own.port() == server.port()
                    && (own.ip() == server.ip() || own.ip().is_unspecified() && server.ip().is_loopback())
            })
        };
        self.host().servers.iter().filter(|server| !is_own(server)).copied().collect()
    }

    /// An answer that is remembered.
    pub(crate) fn remembered(&self, name: &Name, kind: u16, dnssec_ok: bool) -> Option<Vec<u8>> {
        let now = Instant::now();
        Some(self.cache.get(&(name.as_bytes().into(), kind, dnssec_ok), now)?.aged(now))
    }

    /// The answer of the host's resolvers, remembered or fresh.
    pub(crate) async fn ask(&self, name: &Name, kind: u16, dnssec_ok: bool) -> Result<Vec<u8>, ForwardError> {
        if let Some(remembered) = self.remembered(name, kind, dnssec_ok) {
            return Ok(remembered);
        }
        let answer = self.ask_servers(&self.host_servers(), name, kind, dnssec_ok).await?;
        let packet = answer.packet.to_vec();
        self.cache.put((name.as_bytes().into(), kind, dnssec_ok), answer);
        Ok(packet)
    }

    /// The answer of the first of these servers that gives one.
    pub(crate) async fn ask_servers(
        &self,
        servers: &[SocketAddr],
        name: &Name,
        kind: u16,
        dnssec_ok: bool,
    ) -> Result<Foreign, ForwardError> {
        let _permit = self.under_way.try_acquire().map_err(|_| ForwardError::Busy)?;
        if servers.is_empty() {
            return Err(ForwardError::NoServer);
        }
        let mut refusal = None;
        for _ in 0..ROUNDS {
            for server in servers {
                match tokio::time::timeout(TRY, exchange(*server, name, kind, dnssec_ok)).await {
                    Ok(Ok(answer)) if is_final(&answer) => return Ok(answer),
                    Ok(Ok(answer)) => refusal = Some(answer),
                    Ok(Err(error)) => tracing::debug!(%server, %error, "resolver"),
                    Err(_) => tracing::debug!(%server, "resolver did not answer in time"),
                }
            }
        }
        refusal.ok_or(ForwardError::NoAnswer)
    }
}

/// Whether another server need not be asked: it said yes, no or nothing.
fn is_final(answer: &Foreign) -> bool {
    let code = answer.packet[3] & 0xf;
    code == wire::Code::NoError as u8 || code == wire::Code::NoSuchName as u8
}

async fn exchange(server: SocketAddr, name: &Name, kind: u16, dnssec_ok: bool) -> io::Result<Foreign> {
    let id = fastrand::u16(..);
    let edns = Edns { udp_size: 1232, version: 0, dnssec_ok };
    let query = wire::write_query(id, name, kind, Some(edns));
    let packet = over_udp(server, &query).await?;
    let truncated = packet[2] & 0x02 != 0;
    let packet = if truncated { over_tcp(server, &query).await? } else { packet };
    Foreign::read(&packet, Instant::now()).map_err(io::Error::other)
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A fresh, connected socket each time: the kernel's random port makes forging hard.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut packet = vec![0; 4096];
    loop {
        let length = socket.recv(&mut packet).await?;
        if answers(query, &packet[..length]) {
            packet.truncate(length);
            return Ok(packet);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut message = (query.len() as u16).to_be_bytes().to_vec();
    message.extend_from_slice(query);
    stream.write_all(&message).await?;
    let length = stream.read_u16().await?;
    let mut packet = vec![0; length.into()];
    stream.read_exact(&mut packet).await?;
    if answers(query, &packet) { Ok(packet) } else { Err(io::Error::other(Malformed)) }
}

/// Whether the packet is a response to exactly this query.
fn answers(query: &[u8], packet: &[u8]) -> bool {
    let same_question = || {
        let (asked, asked_end) = wire::read_name(query, wire::HEADER).ok()?;
        let (said, said_end) = wire::read_name(packet, wire::HEADER).ok()?;
        let fixed = query.get(asked_end..asked_end + 4)? == packet.get(said_end..said_end + 4)?;
        Some(fixed && asked_end == said_end && asked.as_bytes() == said.as_bytes())
    };
    packet.len() >= wire::HEADER
        && packet[..2] == query[..2]
        && packet[2] & 0x80 != 0
        && wire::counts(packet)[0] == 1
        && same_question() == Some(true)
}
