//! Everything of the node that a Pod's worker uses: handles, no decisions.

use std::net::IpAddr;
use std::sync::Arc;

use edge_api::kinds::endpoint_slice::EndpointSlice;
use edge_api::kinds::pod::Resources;
use edge_api::kinds::service::Service;
use edge_api::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::Client;
use crate::code::CodeCache;
use crate::image::ImageStore;
use crate::log::Logs;
use crate::net::Network;
use crate::report::{Events, Statuses};
use crate::sandbox::Engine;
use crate::supervisor::address::AddressPool;
use crate::supervisor::allocation::Allocation;
use crate::supervisor::life::Now;
use crate::supervisor::roster::Roster;
use crate::sync::{Mirror, Named};
use crate::volume::Volumes;

/// The parts of a node.
pub struct Host {
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub address: IpAddr,
    /// What a container without limits may use.
    pub allocatable: Resources,
    /// The API.
    pub client: Client,
    /// The sandbox.
    pub engine: Engine,
    /// Compiled code.
    pub code: CodeCache,
    /// Images.
    pub images: Arc<ImageStore>,
    /// The image of the toolbox.
    pub toolbox: String,
    /// Volumes.
    pub volumes: Volumes,
    /// Logs.
    pub logs: Arc<Logs>,
    /// The Pod network.
    pub network: Network,
    /// Which Pods are reached by Services, to see when one is not any more.
    pub slices: Arc<Mirror<EndpointSlice>>,
    /// ConfigMaps and Secrets.
    pub named: Named,
    /// Services, for variables.
    pub services: Arc<Mirror<Service>>,
    /// Where statuses go.
    pub statuses: Statuses,
    /// Where Events go.
    pub events: Events,
    /// The node's Pod addresses.
    pub addresses: Mutex<AddressPool>,
    /// Becomes true when the node has a range of them.
    pub has_range: watch::Sender<bool>,
    /// Which containers run.
    pub roster: Roster,
    /// What the Pods have been given.
    pub allocation: Allocation,
    /// Becomes true when the host goes down: no Pod begins any more.
    pub closing: watch::Sender<bool>,
    /// The moment from which delays are counted.
    pub epoch: Instant,
}

impl Host {
    /// This moment, by both clocks.
    pub fn now(&self) -> Now {
        let wall = Timestamp::from(std::time::SystemTime::now());
        Now { mono: self.epoch.elapsed(), wall: Timestamp::from_seconds(wall.as_seconds()) }
    }
}
