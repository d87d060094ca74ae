//! UDP ports of the host: each client gets a socket on the Pod network.

use crate::net::{PodNet, Udp};
use crate::proxy::config::Limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The longest datagram.
const BUFFER: usize = 65_536;

struct Session {
    socket: Udp,
    /// Rings when the client sends, so that silence can be told.
    heard: Notify,
}

/// Relays between a socket of the host and `target`'s answer for each datagram, until dropped.
pub(crate) async fn relay(
    socket: UdpSocket,
    gateway: PodNet,
    limits: Arc<Limits>,
    target: impl Fn() -> Option<SocketAddr>,
) {
    let socket = Arc::new(socket);
    let sessions: Arc<Mutex<HashMap<SocketAddr, Arc<Session>>>> = Arc::default();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        // An error is an ICMP answer to something sent before.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        while tasks.try_join_next().is_some() {}
        let Some(target) = target() else { continue };
        let known = sessions.lock().get(&client).cloned();
        let session = match known {
            Some(session) => session,
            None => {
                if sessions.lock().len() >= limits.udp_clients {
                    continue;
                }
                let Ok(udp) = gateway.udp_bind((Ipv4Addr::UNSPECIFIED, 0).into()) else { continue };
                let session = Arc::new(Session { socket: udp, heard: Notify::new() });
                sessions.lock().insert(client, session.clone());
                let (socket, sessions) = (socket.clone(), sessions.clone());
                let (silence, answers) = (limits.udp_silence, session.clone());
                tasks.spawn(async move {
                    carry_answers(&socket, client, &answers, silence).await;
                    sessions.lock().remove(&client);
                });
                session
            }
        };
        session.heard.notify_one();
        if let Err(error) = session.socket.send_to(&buffer[..length], target).await {
            tracing::debug!(%client, %error, "datagram was not delivered");
        }
    }
}

async fn carry_answers(
    socket: &UdpSocket,
    client: SocketAddr,
    session: &Session,
    silence: std::time::Duration,
) {
    loop {
        tokio::select! {
            answer = session.socket.recv_from() => match answer {
                Ok((payload, _)) => drop(socket.send_to(&payload, client).await),
                Err(_) => return,
            },
            () = session.heard.notified() => {}
            () = tokio::time::sleep(silence) => return,
        }
    }
}
