//! The Node object and its Lease.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use edge_api::kinds::storage_class::LOCAL_DIRECTORY;
use edge_api::time::{MicroTime, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::client::backoff::Backoff;
use crate::client::{Client, ClientError, Patch, Resource};
use crate::report::machine::Machine;

/// Where Leases of nodes are.
const LEASES: &str = "kube-node-lease";

/// What is reported about the node.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The Node's name.
    pub name: String,
    /// The address under which other hosts know it.
    pub address: IpAddr,
    /// Labels beside the usual ones.
    pub labels: Vec<(String, String)>,
    /// The host.
    pub machine: Machine,
    /// How often the Lease is renewed.
    pub heartbeat: Duration,
    /// Where the directories of volumes are made.
    pub volumes: PathBuf,
}

/// Keeps Node and Lease as they should be.
pub struct Registrar {
    client: Client,
    registration: Registration,
    /// The Node's `spec.podCIDR`, once it has one.
    range: watch::Sender<Option<String>>,
    /// The Node's UID.
    uid: String,
    /// Conditions reported last, without their heartbeat.
    conditions: Vec<(&'static str, bool, String)>,
    registered: watch::Sender<bool>,
    /// The host is going down.
    closing: bool,
}

impl Registrar {
    /// Nothing is sent before [`Registrar::run`].
    pub fn new(client: Client, registration: Registration) -> Registrar {
        Registrar {
            client,
            registration,
            range: watch::Sender::new(None),
            uid: String::new(),
            conditions: Vec::new(),
            registered: watch::Sender::new(false),
            closing: false,
        }
    }

    /// The node's part of the Pod range, when it is known.
    pub fn range(&self) -> watch::Receiver<Option<String>> {
        self.range.subscribe()
    }

    /// Becomes true when Node, status and Lease are in the API.
    pub fn registered(&self) -> watch::Receiver<bool> {
        self.registered.subscribe()
    }

    /// Registers and then keeps the heartbeat for as long as it is polled; when the host is going down, the node is not
    /// ready any more.
    pub async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        while let Err(error) = self.register().await {
            tracing::debug!(node = self.registration.name, %error, "the node is not registered yet");
            backoff.wait().await;
        }
        self.registered.send_replace(true);
        let mut beat = tokio::time::interval(self.registration.heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beat.tick().await;
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                Ok(_) = closing.wait_for(|closing| *closing), if !self.closing => self.closing = true,
            }
            if let Err(error) = self.beat().await {
                tracing::debug!(node = self.registration.name, %error, "a heartbeat was missed");
            }
        }
    }

    async fn register(&mut self) -> Result<(), ClientError> {
        let name = self.registration.name.clone();
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": self.labels(), "annotations": self.annotations()},
        });
        let node = match self.client.create(&Resource::NODES.all(), &node).await {
            Err(error) if error.is_conflict() => {
                let patch = json!({"metadata": {"labels": self.labels(), "annotations": self.annotations()}});
                self.client.patch(&Resource::NODES.named("", &name), Patch::Merge, &patch).await?
            }
            other => other?,
        };
        self.fit(&node["spec"]);
        self.conditions = self.judge();
        let status = self.status(Timestamp::from(std::time::SystemTime::now()), None);
        self.patch_status(&status).await?;
        self.renew().await?;
        self.learn().await
    }

    /// No more Pods than there are addresses for; answers whether fewer than before.
    fn fit(&mut self, spec: &Value) -> bool {
        let pods = &mut self.registration.machine.pods;
        let before = *pods;
        if let Some(room) = spec["podCIDR"].as_str().and_then(room) {
            *pods = before.min(room);
        }
        *pods < before
    }

    /// Reads the Pod range. The control plane sets it when it has heard how many Pods the node can run, and may give
    /// fewer addresses than that.
    async fn learn(&mut self) -> Result<(), ClientError> {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        loop {
            let node = self.client.get(&Resource::NODES.named("", &self.registration.name)).await?;
            node["metadata"]["uid"].as_str().unwrap_or_default().clone_into(&mut self.uid);
            if let Some(range) = node["spec"]["podCIDR"].as_str().filter(|range| !range.is_empty()) {
                self.range.send_replace(Some(range.to_owned()));
                if self.fit(&node["spec"]) {
                    let now = Timestamp::from(std::time::SystemTime::now());
                    self.patch_status(&self.status(now, Some(&self.conditions))).await?;
                }
                return Ok(());
            }
            backoff.wait().await;
        }
    }

    async fn beat(&mut self) -> Result<(), ClientError> {
        self.renew().await?;
        let found = self.judge();
        if found != self.conditions {
            let before = std::mem::replace(&mut self.conditions, found);
            let status = self.status(Timestamp::from(std::time::SystemTime::now()), Some(&before));
            self.patch_status(&status).await?;
        }
        Ok(())
    }

    async fn renew(&self) -> Result<(), ClientError> {
        let now = MicroTime(Timestamp::from(std::time::SystemTime::now()));
        let name = &self.registration.name;
        let seconds = (self.registration.heartbeat.as_secs() * 4).max(4);
        let spec = json!({"holderIdentity": name, "leaseDurationSeconds": seconds, "renewTime": now});
        let path = Resource::LEASES.named(LEASES, name);
        match self.client.patch(&path, Patch::Merge, &json!({"spec": spec})).await {
            Err(error) if error.is_not_found() => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": name, "namespace": LEASES, "ownerReferences": self.owner()},
                    "spec": spec,
                });
                self.client.create(&Resource::LEASES.within(LEASES), &lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    fn owner(&self) -> Value {
        if self.uid.is_empty() {
            return json!([]);
        }
        json!([{"apiVersion": "v1", "kind": "Node", "name": self.registration.name, "uid": self.uid}])
    }

    async fn patch_status(&self, status: &Value) -> Result<(), ClientError> {
        let path = Resource::NODES.part("", &self.registration.name, "status");
        self.client.patch(&path, Patch::Strategic, &json!({"status": status})).await.map(drop)
    }

    /// The guests' architecture is WebAssembly; the system that carries the volumes and names is Linux.
    fn labels(&self) -> Map<String, Value> {
        let name = self.registration.name.as_str();
        let usual = [
            ("kubernetes.io/hostname", name),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "wasm32"),
        ];
        let own = self.registration.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        usual.into_iter().chain(own).map(|(key, value)| (key.to_owned(), value.into())).collect()
    }

    fn annotations(&self) -> Value {
        json!({LOCAL_DIRECTORY: self.registration.volumes.display().to_string()})
    }

    fn judge(&self) -> Vec<(&'static str, bool, String)> {
        let pressure = self.registration.machine.pressure();
        vec![
            ("MemoryPressure", pressure.memory, "KubeletHasSufficientMemory".to_owned()),
            ("DiskPressure", pressure.disk, "KubeletHasNoDiskPressure".to_owned()),
            ("PIDPressure", pressure.pids, "KubeletHasSufficientPID".to_owned()),
            ("Ready", !self.closing, "KubeletReady".to_owned()),
        ]
    }

    fn status(&self, now: Timestamp, before: Option<&[(&'static str, bool, String)]>) -> Value {
        let machine = &self.registration.machine;
        let conditions: Vec<Value> =
            self.conditions.iter().map(|found| condition(found, now, before)).collect();
        json!({
            "capacity": machine.capacity(),
            "allocatable": machine.allocatable(),
            "nodeInfo": machine.info(),
            "addresses": [
                {"type": "InternalIP", "address": self.registration.address.to_string()},
                {"type": "Hostname", "address": self.registration.name},
            ],
            "conditions": conditions,
        })
    }
}

/// How many Pods have addresses in a `podCIDR`: all but the network's, the node's own and the broadcast's.
fn room(range: &str) -> Option<u64> {
    let prefix: u32 = range.split_once('/')?.1.parse().ok()?;
    1_u64.checked_shl(32_u32.checked_sub(prefix)?)?.checked_sub(3)
}

fn condition(
    found: &(&'static str, bool, String),
    now: Timestamp,
    before: Option<&[(&'static str, bool, String)]>,
) -> Value {
    let (type_, holds, calm) = found;
    let (reason, message) = match (*type_, *holds) {
        ("Ready", true) => (calm.as_str(), "the node runs Pods"),
        ("Ready", false) => ("KubeletNotReady", "node is shutting down"),
        ("MemoryPressure", true) => ("KubeletHasInsufficientMemory", "the node is short of memory"),
        ("DiskPressure", true) => ("KubeletHasDiskPressure", "the node's disk is almost full"),
        ("PIDPressure", true) => ("KubeletHasInsufficientPID", "the node is short of process numbers"),
        ("MemoryPressure", false) => (calm.as_str(), "the node has sufficient memory available"),
        ("DiskPressure", false) => (calm.as_str(), "the node has no disk pressure"),
        (_, _) => (calm.as_str(), "the node has sufficient PID available"),
    };
    let mut condition = json!({
        "type": type_, "status": if *holds { "True" } else { "False" },
        "reason": reason, "message": message, "lastHeartbeatTime": now.seconds(),
    });
    let same = before.is_some_and(|before| before.iter().any(|old| old.0 == *type_ && old.1 == *holds));
    if !same {
        condition["lastTransitionTime"] = now.seconds().into();
    }
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_room_for_all_but_three() {
        for (range, pods) in [
            ("10.42.0.0/24", Some(253)),
            ("10.42.0.0/18", Some(16_381)),
            ("10.42.0.0/30", Some(1)),
            ("10.42.0.0/31", None),
            ("10.42.0.0/33", None),
            ("", None),
        ] {
            assert_eq!(room(range), pods, "{range}");
        }
    }
}
