//! NodePorts and hostPorts: listeners that come and go with the table.

use crate::http::Response;
use crate::net::{Dialed, NetError, PodNet};
use crate::proxy::forward::Client;
use crate::proxy::ingress::Forwarder;
use crate::proxy::server::Door;
use crate::proxy::{http, ingress, splice, udp};
use crate::table::{HostPort, Origin, Protocol, Table};
use ::http::{HeaderValue, header};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::task::AbortOnDropHandle;

/// How long a client may take to show what he speaks when there is nobody to speak with.
const FIRST_BYTES: Duration = Duration::from_secs(1);

/// A port of the host that leads into the Pod network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Port {
    Node(Protocol, u16),
    Host(HostPort),
}

impl Port {
    fn protocol(self) -> Protocol {
        match self {
            Port::Node(protocol, _) => protocol,
            Port::Host(port) => port.protocol,
        }
    }

    fn address(self, any: IpAddr) -> SocketAddr {
        match self {
            Port::Node(_, port) => SocketAddr::new(any, port),
            Port::Host(port) => SocketAddr::new(port.ip.unwrap_or(any), port.port),
        }
    }
}

/// Keeps the host's ports as the table says, until dropped.
pub(crate) async fn follow(door: Arc<Door>, gateway: PodNet, any: IpAddr) {
    let tables = door.forwarder.network.tables().clone();
    let mut changes = tables.subscribe();
    let mut open: HashMap<Port, Option<AbortOnDropHandle<()>>> = HashMap::new();
    let mut seen = None;
    loop {
        let table = tables.load_full();
        if seen != Some(table.listeners_generation()) {
            seen = Some(table.listeners_generation());
            let wanted = ports_of(&table);
            open.retain(|port, _| wanted.contains(port));
            for port in wanted {
                // One that could not be bound is tried again whenever the ports change.
                if !matches!(open.get(&port), Some(Some(_))) {
                    let opened = bind(&door, &gateway, port, port.address(any)).await;
                    open.insert(port, opened);
                }
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn ports_of(table: &Table) -> Vec<Port> {
    let node_ports = table.node_ports().map(|(protocol, port)| Port::Node(protocol, port));
    node_ports.chain(table.host_ports().map(Port::Host)).collect()
}

async fn bind(
    door: &Arc<Door>,
    gateway: &PodNet,
    port: Port,
    address: SocketAddr,
) -> Option<AbortOnDropHandle<()>> {
    let task = match port.protocol() {
        Protocol::Tcp => bind_tcp(door, port, address).await,
        Protocol::Udp => bind_udp(door, gateway, port, address).await,
    };
    match task {
        Ok(task) => Some(AbortOnDropHandle::new(task)),
        Err(error) => {
            tracing::warn!(%address, protocol = port.protocol().as_str(), %error,
                "a NodePort or hostPort cannot be served on this node");
            None
        }
    }
}

async fn bind_tcp(
    door: &Arc<Door>,
    port: Port,
    address: SocketAddr,
) -> io::Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    let door = door.clone();
    Ok(tokio::spawn(async move {
        door.clone()
            .accept(listener, move |stream, peer| {
                let door = door.clone();
                async move { connect(&door, port, stream, peer).await }
            })
            .await;
    }))
}

/// One connection to the port. Handlers are called for each request, so that the Pods behind
/// may change while the connection stays.
async fn connect(door: &Door, port: Port, stream: TcpStream, peer: SocketAddr) {
    let network = &door.forwarder.network;
    let mut looked = None;
    let dialed = match port {
        Port::Node(protocol, number) => {
            let found = network.tables().load().node_port(protocol, number).cloned();
            let Some(found) = found else { return };
            let dialed = network.dial_service(&found, peer, Origin::Outside).await;
            looked = Some(found);
            dialed
        }
        Port::Host(host_port) => {
            let found = network.tables().load().host_port(&host_port);
            let Some(target) = found else { return };
            network.dial(target, peer).await
        }
    };
    match dialed {
        Ok(Dialed::Stream(far)) => splice::both_ways(stream, far).await,
        Ok(Dialed::Http(_)) => {
            // Each request takes a turn of its own.
            if let Some(port) = looked {
                port.give_back();
            }
            serve_http(door, port, stream, peer).await;
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "nobody takes the connection");
            if looked.is_some_and(|port| port.is_asleep()) {
                refuse(door, &error, stream, peer).await;
            }
        }
    }
}

/// Tells a client why his connection leads nowhere, if he speaks HTTP: nobody knows what a Service without Pods speaks.
async fn refuse(door: &Door, error: &NetError, stream: TcpStream, peer: SocketAddr) {
    let mut begin = [0; 8];
    let length = tokio::time::timeout(FIRST_BYTES, stream.peek(&mut begin)).await;
    let length = length.map_or(0, Result::unwrap_or_default);
    if !http::is_http(&begin[..length]) {
        return;
    }
    let late = *error == NetError::Timeout;
    let answer = |_| async move {
        let mut response = if late { ingress::asleep() } else { ingress::crowded() };
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    };
    http::serve(stream, peer, &door.forwarder.limits, door.drain.clone(), answer).await;
}

async fn serve_http(door: &Door, port: Port, stream: TcpStream, peer: SocketAddr) {
    let client = Client::new(peer.ip(), false);
    let answer = |request| {
        let (forwarder, client) = (door.forwarder.clone(), client.clone());
        async move { answer(&forwarder, port, &client, request).await }
    };
    http::serve(stream, peer, &door.forwarder.limits, door.drain.clone(), answer).await;
}

async fn answer(
    forwarder: &Forwarder,
    port: Port,
    client: &Client,
    request: crate::http::Request,
) -> Response {
    match port {
        Port::Node(protocol, number) => {
            let find = move |table: &Table| table.node_port(protocol, number).cloned();
            let host = request.headers().get(header::HOST).cloned();
            forwarder.forward(find, Origin::Outside, client, host, request).await
        }
        Port::Host(host_port) => forwarder.forward_to_pod(host_port, client, request).await,
    }
}

async fn bind_udp(
    door: &Arc<Door>,
    gateway: &PodNet,
    port: Port,
    address: SocketAddr,
) -> io::Result<tokio::task::JoinHandle<()>> {
    let socket = UdpSocket::bind(address).await?;
    let tables = door.forwarder.network.tables().clone();
    let target = move || {
        let table = tables.load();
        match port {
            Port::Node(protocol, number) => {
                let port = table.node_port(protocol, number)?;
                let ip = *table.service(&port.service)?.cluster_ips().first()?;
                Some(SocketAddr::new(ip, port.number))
            }
            Port::Host(host_port) => table.host_port(&host_port),
        }
    };
    let limits = door.forwarder.limits.clone();
    Ok(tokio::spawn(udp::relay(socket, gateway.clone(), limits, target)))
}
