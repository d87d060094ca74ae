//! `sessionAffinity: ClientIP`: which endpoint a client had last.

use crate::table::ServicePort;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Clients remembered; beyond it those that expired go, or all.
const REMEMBERED: usize = 65_536;

type Client = (Arc<str>, u16, IpAddr);

/// The endpoints clients had, for Services that want it.
#[derive(Default)]
pub(crate) struct Affinities(Mutex<HashMap<Client, (SocketAddr, Instant)>>);

impl Affinities {
    /// The endpoint the client had, if its time has not run out.
    pub(crate) fn get(&self, port: &ServicePort, client: IpAddr) -> Option<SocketAddr> {
        port.affinity?;
        let known = self.0.lock();
        let (endpoint, until) = known.get(&(port.service.clone(), port.number, client))?;
        (*until > Instant::now()).then_some(*endpoint)
    }

    /// Remembers the endpoint from now on for the Service's time.
    pub(crate) fn keep(&self, port: &ServicePort, client: IpAddr, endpoint: SocketAddr) {
        let Some(time) = port.affinity else { return };
        let now = Instant::now();
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, (_, until)| *until > now);
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((port.service.clone(), port.number, client), (endpoint, now + time));
    }
}
