//! All mirrors together, at one revision.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use edge_api::catalogue::{Catalogue, Interner};
use edge_api::kind::Kind;
use edge_api::kinds::KINDS;
use edge_api::kinds::custom_resource_definition::Definition;
use edge_api::time::Timestamp;
use serde::Deserialize;

use crate::mirror::events::Events;
use crate::mirror::fleet::{Fleet, Packing};
use crate::mirror::graph::{Entry, Graph};
use crate::mirror::index::Mirror;
use crate::mirror::object::{Meta, MetaOnly, Name, Object, Shape, read};
use crate::mirror::shape::{
    Bare, Budget, Claim, ClusterRole, CronJob, DaemonSet, Deployment, EndpointSlice, Job, Lease, Namespace,
    Node, Pod, Quota, ReplicaSet, Revision, Service, Signing, StatefulSet, StorageClass, Taint, Volume,
};
use crate::mirror::storage::Storage;
use crate::mirror::tally::Sight;
use crate::mirror::waiting::Waiting;

/// What controllers know of the cluster beside its objects.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The addresses of Pods, such as `10.42.0.0/16`.
    pub pod_range: String,
    /// The certificate of the cluster's authority, PEM.
    pub authority: String,
    /// The same of who passes requests on in somebody's name.
    pub front_proxy_authority: String,
    /// The address of the Service `kubernetes`.
    pub service_address: String,
    /// Where the API server listens.
    pub api_address: Option<SocketAddr>,
    /// What makes the kinds of custom resources.
    pub kinds: Interner,
    /// Which nodes are filled first.
    pub packing: Packing,
}

/// Why the last plan of the key at hand could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The write that failed, as conditions name it: `FailedCreate`, `FailedDelete` or `FailedUpdate`; or `Panicked`.
    pub reason: &'static str,
    /// What the API said.
    pub message: String,
}

impl Failure {
    /// Making the plan, or carrying it out, met a bug.
    pub fn panicked() -> Failure {
        Failure { reason: "Panicked", message: "the controller panicked".to_owned() }
    }
}

/// Everything a plan may look at.
#[derive(Debug, Default)]
pub struct World {
    /// The time for which plans are made.
    pub now: Timestamp,
    /// The revision that all mirrors show.
    pub revision: u64,
    /// Why the last plan of the key at hand failed, if it did.
    pub failure: Option<Failure>,
    /// What is configured.
    pub settings: Settings,
    /// Namespaces.
    pub namespaces: Mirror<Namespace>,
    /// Nodes.
    pub nodes: Mirror<Node>,
    /// The Leases of nodes.
    pub leases: Mirror<Lease>,
    /// Pods.
    pub pods: Mirror<Pod>,
    /// ReplicaSets.
    pub replica_sets: Mirror<ReplicaSet>,
    /// Deployments.
    pub deployments: Mirror<Deployment>,
    /// ReplicationControllers, which are ReplicaSets with a plainer selector.
    pub replication_controllers: Mirror<ReplicaSet>,
    /// StatefulSets.
    pub stateful_sets: Mirror<StatefulSet>,
    /// DaemonSets.
    pub daemon_sets: Mirror<DaemonSet>,
    /// ControllerRevisions.
    pub revisions: Mirror<Revision>,
    /// Jobs.
    pub jobs: Mirror<Job>,
    /// CronJobs.
    pub cron_jobs: Mirror<CronJob>,
    /// PodDisruptionBudgets.
    pub budgets: Mirror<Budget>,
    /// Services.
    pub services: Mirror<Service>,
    /// EndpointSlices.
    pub slices: Mirror<EndpointSlice>,
    /// Endpoints.
    pub endpoints: Mirror<Bare>,
    /// CustomResourceDefinitions.
    pub definitions: Mirror<Definition>,
    /// ServiceAccounts.
    pub service_accounts: Mirror<Bare>,
    /// PersistentVolumeClaims.
    pub claims: Mirror<Claim>,
    /// PersistentVolumes.
    pub volumes: Mirror<Volume>,
    /// StorageClasses.
    pub storage_classes: Mirror<StorageClass>,
    /// CertificateSigningRequests.
    pub signings: Mirror<Signing>,
    /// ResourceQuotas.
    pub quotas: Mirror<Quota>,
    /// ValidatingAdmissionPolicies.
    pub policies: Mirror<Bare>,
    /// ClusterRoles.
    pub cluster_roles: Mirror<ClusterRole>,
    /// ConfigMaps.
    pub config_maps: Mirror<Bare>,
    /// Secrets.
    pub secrets: Mirror<Bare>,
    /// Who belongs to whom, all kinds but Events.
    pub graph: Graph,
    /// The nodes as the scheduler sees them.
    pub fleet: Fleet,
    /// The Pods that wait for a node.
    pub waiting: Waiting,
    /// Who uses which claim, and what is not bound.
    pub storage: Storage,
    /// Pods that have ended, the oldest first.
    pub finished: BTreeSet<(Option<Timestamp>, Name)>,
    /// When each node was last heard of, by the clock of this process: another host's clock may be anything.
    pub heard: HashMap<Arc<str>, Timestamp>,
    /// Since when each node has the taints that do not say it themselves.
    tainted: HashMap<Arc<str>, Vec<(Taint, Timestamp)>>,
    /// Events.
    pub events: Events,
    catalogue: Catalogue,
    /// The kind in which the objects of each definition are stored, by what their keys begin with.
    stored: HashMap<String, &'static Kind>,
    defined: HashMap<Name, Vec<&'static Kind>>,
}

/// The namespace of the Leases by which nodes say that they live.
pub const NODE_LEASES: &str = "kube-node-lease";

/// The name of the ConfigMap with the authority's certificate.
pub const ROOT_CA: &str = "kube-root-ca.crt";

/// An object's change, before and after.
#[derive(Debug)]
pub struct Delta {
    /// The kind.
    pub kind: &'static Kind,
    /// Which object.
    pub key: Name,
    /// Its metadata before; none if it is new.
    pub before: Option<Arc<Meta>>,
    /// Its metadata now; none if it is gone.
    pub after: Option<Arc<Meta>>,
    /// The same with what its kind has beside.
    pub detail: Detail,
}

/// Before and after of the kinds that controllers read.
#[derive(Debug)]
pub enum Detail {
    /// A Namespace.
    Namespace(Pair<Namespace>),
    /// A Node.
    Node(Pair<Node>),
    /// A Lease.
    Lease(Pair<Lease>),
    /// A Pod.
    Pod(Pair<Pod>),
    /// A ReplicaSet.
    ReplicaSet(Pair<ReplicaSet>),
    /// A Deployment.
    Deployment(Pair<Deployment>),
    /// A ReplicationController.
    ReplicationController(Pair<ReplicaSet>),
    /// A StatefulSet.
    StatefulSet(Pair<StatefulSet>),
    /// A DaemonSet.
    DaemonSet(Pair<DaemonSet>),
    /// A ControllerRevision.
    Revision(Pair<Revision>),
    /// A Job.
    Job(Pair<Job>),
    /// A CronJob.
    CronJob(Pair<CronJob>),
    /// A PodDisruptionBudget.
    Budget(Pair<Budget>),
    /// A Service.
    Service(Pair<Service>),
    /// An EndpointSlice.
    EndpointSlice(Pair<EndpointSlice>),
    /// An Endpoints.
    Endpoints(Pair<Bare>),
    /// A CustomResourceDefinition.
    Definition(Pair<Definition>),
    /// A ServiceAccount.
    ServiceAccount(Pair<Bare>),
    /// A PersistentVolumeClaim.
    Claim(Pair<Claim>),
    /// A PersistentVolume.
    Volume(Pair<Volume>),
    /// A StorageClass.
    StorageClass(Pair<StorageClass>),
    /// A CertificateSigningRequest.
    Signing(Pair<Signing>),
    /// A ResourceQuota.
    Quota(Pair<Quota>),
    /// A ValidatingAdmissionPolicy.
    Policy(Pair<Bare>),
    /// A ClusterRole.
    ClusterRole(Pair<ClusterRole>),
    /// A ConfigMap.
    ConfigMap(Pair<Bare>),
    /// A Secret.
    Secret(Pair<Bare>),
    /// An Event.
    Event,
    /// Anything else.
    Other,
}

/// An object before and after.
pub type Pair<T> = (Option<Arc<Object<T>>>, Option<Arc<Object<T>>>);

static BY_PREFIX: LazyLock<HashMap<String, &'static Kind>> = LazyLock::new(|| {
    let originals = KINDS.iter().filter(|kind| kind.alias.is_none());
    originals.map(|kind| (kind.key_prefix(), *kind)).collect()
});

/// What the keys of CustomResourceDefinitions begin with.
const DEFINITIONS: &str = "/apiextensions.k8s.io/customresourcedefinitions/";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventForm {
    metadata: Meta,
    #[serde(default)]
    last_timestamp: Option<Timestamp>,
}

/// A stored object on its way into its mirror.
struct Seen<'a> {
    revision: u64,
    namespace: &'a str,
    name: &'a str,
    now: Option<(&'a Arc<Meta>, &'a Bytes)>,
}

/// Brings one mirror up to date.
fn follow<T: Shape>(
    mirror: &mut Mirror<T>,
    wrap: fn(Pair<T>) -> Detail,
    seen: &Seen<'_>,
) -> serde_json::Result<Detail> {
    let pair = match seen.now {
        Some((meta, source)) => {
            let mut body = read(source, T::read)?;
            let (place, before) = mirror.find(seen.namespace, seen.name).unzip();
            let sibling = || mirror.owned_by(&meta.controller()?.uid).next();
            if let Some(alike) = before.or_else(sibling) {
                body.share(&alike.body);
            }
            let (meta, source) = (meta.clone(), source.clone());
            let object = Arc::new(Object { revision: seen.revision, meta, body, source });
            let place = place.filter(|_| *object.meta.namespace == *seen.namespace);
            (mirror.put(object.clone(), place), Some(object))
        }
        None => (mirror.remove(seen.namespace, seen.name), None),
    };
    Ok(wrap(pair))
}

impl World {
    /// An empty world with these settings.
    pub fn new(settings: Settings) -> World {
        World { fleet: Fleet::new(settings.packing), settings, ..World::default() }
    }

    /// The kind an object says it is, custom kinds included.
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<&'static Kind> {
        self.catalogue.by_kind(api_version, kind)
    }

    /// The kind and the name of a store key; none for what is no object of ours.
    fn parse_key<'k>(&self, key: &'k str) -> Option<(&'static Kind, &'k str, &'k str)> {
        let (rest, name) = key.rsplit_once('/')?;
        let (prefix, namespace) = rest.rsplit_once('/')?;
        let kind = BY_PREFIX.get(prefix).or_else(|| self.stored.get(prefix))?;
        Some((kind, namespace, name))
    }

    /// Learns the kinds of a definition, or forgets them.
    fn define(&mut self, key: &Name, after: Option<&Bytes>) {
        let before = self.defined.remove(key).unwrap_or_default();
        for kind in before {
            self.stored.remove(&kind.key_prefix());
        }
        if let Some(source) = after {
            let defined = self.settings.kinds.kinds_of(&serde_json::from_slice(source).unwrap_or_default());
            for one in defined.iter().filter(|one| one.storage) {
                self.stored.insert(one.kind.key_prefix(), one.kind);
            }
            self.defined.insert(key.clone(), defined.iter().map(|one| one.kind).collect());
        }
        self.catalogue = Catalogue::new(self.defined.values().flatten().copied());
    }

    /// The metadata of an object of any kind but Event, if it is there.
    pub fn found(&self, kind: &Kind, key: &Name) -> Option<&Arc<Meta>> {
        self.graph.at(&kind.key(&key.namespace, &key.name)).map(|entry| &entry.meta)
    }

    /// Follows one change of the store. `after` is none for a deletion. Keys of no kind are passed over.
    pub fn apply(&mut self, key: impl Into<Arc<str>>, revision: u64, after: Option<&Bytes>) -> Option<Delta> {
        self.see(&key.into(), revision, after)
    }

    fn see(&mut self, key: &Arc<str>, revision: u64, after: Option<&Bytes>) -> Option<Delta> {
        self.revision = self.revision.max(revision);
        let (kind, namespace, name) = self.parse_key(key)?;
        let unreadable = |error: serde_json::Error| {
            tracing::error!(kind = kind.kind, namespace, name, revision, %error, "cannot be read, controllers pass it over");
        };
        if kind.plural == "events" && kind.custom.is_none() {
            self.event(key, after).map_err(unreadable).ok()?;
            let key = Name::new(namespace, name);
            return Some(Delta { kind, key, before: None, after: None, detail: Detail::Event });
        }
        let found = self.graph.find(key).map(|(place, entry)| (place, entry.meta.clone()));
        let (place, before) = found.unzip();
        let meta = match after {
            Some(source) => {
                let form = read(source, |bytes| serde_json::from_slice::<MetaOnly>(bytes));
                let mut meta = form.map_err(unreadable).ok()?.metadata;
                if let Some(alike) = before.as_deref().or_else(|| self.sibling(&meta)) {
                    meta.share(alike);
                }
                Some(Arc::new(meta))
            }
            None => None,
        };
        let now = meta.as_ref().zip(after);
        let seen = Seen { revision, namespace, name, now };
        let detail = self.follow(kind, &seen).map_err(unreadable).ok()?;
        let sight = Sight { pods: &self.pods, namespaces: &self.namespaces };
        match &detail {
            Detail::Pod((old, new)) => {
                self.fleet.pod(old.as_ref(), new.as_ref(), sight, revision);
                self.waiting.pod(old.as_deref(), new.as_deref(), revision);
                self.finish(old.as_deref(), new.as_deref());
                self.storage.pod(old.as_deref(), new.as_deref());
            }
            Detail::Node((old, new)) => {
                self.fleet.node(old.as_ref(), new.as_ref(), sight, revision);
                self.waiting.node(old.as_deref(), new.as_deref(), revision);
                self.hear_node(name, old.as_deref(), new.as_deref());
            }
            Detail::Namespace((old, new)) => {
                let labels = |one: &Option<Arc<Object<Namespace>>>| {
                    one.as_ref().map(|one| one.meta.labels.clone()).unwrap_or_default()
                };
                if labels(old) != labels(new) {
                    self.fleet.namespace(sight, revision);
                }
            }
            Detail::Claim((old, new)) => {
                self.storage.claim(old.as_ref(), new.as_ref());
                self.waiting.help_all(revision);
            }
            Detail::Volume((old, new)) => {
                self.storage.volume(old.as_ref(), new.as_ref());
                self.waiting.help_all(revision);
            }
            Detail::StorageClass(_) => self.waiting.help_all(revision),
            Detail::Lease((old, Some(new)))
                if namespace == NODE_LEASES
                    && old.as_ref().is_none_or(|old| old.body.renewed != new.body.renewed) =>
            {
                self.heard.insert(name.into(), self.now);
            }
            _ => {}
        }
        let known = before.as_ref().or(meta.as_ref());
        let name = known.map_or_else(|| Name::new(namespace, name), |meta| meta.key());
        if matches!(detail, Detail::Definition(_)) {
            self.define(&name, after);
        }
        match &meta {
            Some(meta) => self.graph.put(key, Entry { kind, revision, meta: meta.clone() }, place),
            None => self.graph.remove(key),
        }
        Some(Delta { kind, key: name, before, after: meta, detail })
    }

    /// An object that has the same owner.
    fn sibling(&self, meta: &Meta) -> Option<&Meta> {
        self.graph.dependents(&meta.controller()?.uid).next().map(|entry| &*entry.meta)
    }

    fn follow(&mut self, kind: &Kind, seen: &Seen<'_>) -> serde_json::Result<Detail> {
        match (kind.group, kind.plural) {
            ("", "namespaces") => follow(&mut self.namespaces, Detail::Namespace, seen),
            ("", "nodes") => follow(&mut self.nodes, Detail::Node, seen),
            ("coordination.k8s.io", "leases") => follow(&mut self.leases, Detail::Lease, seen),
            ("", "pods") => follow(&mut self.pods, Detail::Pod, seen),
            ("apps", "replicasets") => follow(&mut self.replica_sets, Detail::ReplicaSet, seen),
            ("apps", "deployments") => follow(&mut self.deployments, Detail::Deployment, seen),
            ("", "replicationcontrollers") => {
                follow(&mut self.replication_controllers, Detail::ReplicationController, seen)
            }
            ("apps", "statefulsets") => follow(&mut self.stateful_sets, Detail::StatefulSet, seen),
            ("apps", "daemonsets") => follow(&mut self.daemon_sets, Detail::DaemonSet, seen),
            ("apps", "controllerrevisions") => follow(&mut self.revisions, Detail::Revision, seen),
            ("batch", "jobs") => follow(&mut self.jobs, Detail::Job, seen),
            ("batch", "cronjobs") => follow(&mut self.cron_jobs, Detail::CronJob, seen),
            ("policy", "poddisruptionbudgets") => follow(&mut self.budgets, Detail::Budget, seen),
            ("", "services") => follow(&mut self.services, Detail::Service, seen),
            ("discovery.k8s.io", "endpointslices") => follow(&mut self.slices, Detail::EndpointSlice, seen),
            ("", "endpoints") => follow(&mut self.endpoints, Detail::Endpoints, seen),
            ("apiextensions.k8s.io", "customresourcedefinitions") => {
                follow(&mut self.definitions, Detail::Definition, seen)
            }
            ("", "serviceaccounts") => follow(&mut self.service_accounts, Detail::ServiceAccount, seen),
            ("", "persistentvolumeclaims") => follow(&mut self.claims, Detail::Claim, seen),
            ("", "persistentvolumes") => follow(&mut self.volumes, Detail::Volume, seen),
            ("storage.k8s.io", "storageclasses") => {
                follow(&mut self.storage_classes, Detail::StorageClass, seen)
            }
            ("certificates.k8s.io", "certificatesigningrequests") => {
                follow(&mut self.signings, Detail::Signing, seen)
            }
            ("", "resourcequotas") => follow(&mut self.quotas, Detail::Quota, seen),
            ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
                follow(&mut self.policies, Detail::Policy, seen)
            }
            ("rbac.authorization.k8s.io", "clusterroles") => {
                follow(&mut self.cluster_roles, Detail::ClusterRole, seen)
            }
            ("", "configmaps") => follow(&mut self.config_maps, Detail::ConfigMap, seen),
            ("", "secrets") => follow(&mut self.secrets, Detail::Secret, seen),
            _ => Ok(Detail::Other),
        }
    }

    fn finish(&mut self, before: Option<&Object<Pod>>, after: Option<&Object<Pod>>) {
        let place = |pod: &Object<Pod>| (pod.meta.creation_timestamp, pod.key());
        if let Some(old) = before.filter(|pod| pod.body.finished()) {
            self.finished.remove(&place(old));
        }
        if let Some(new) = after.filter(|pod| pod.body.finished()) {
            self.finished.insert(place(new));
        }
    }

    fn hear_node(&mut self, name: &str, before: Option<&Object<Node>>, after: Option<&Object<Node>>) {
        let Some(new) = after else {
            self.heard.remove(name);
            self.tainted.remove(name);
            return;
        };
        self.see_taints(name, &new.body.taints);
        let beat = |node: &Object<Node>| node.body.ready().and_then(|ready| ready.last_heartbeat_time);
        if before.is_none_or(|old| beat(old) != beat(new)) {
            self.heard.insert(name.into(), self.now);
        }
    }

    fn see_taints(&mut self, name: &str, taints: &[Taint]) {
        let old = self.tainted.remove(name).unwrap_or_default();
        let since =
            |taint: &Taint| old.iter().find(|(known, _)| known == taint).map_or(self.now, |(_, at)| *at);
        let timeless =
            taints.iter().filter(|taint| taint.effect == "NoExecute" && taint.time_added.is_none());
        let seen: Vec<_> = timeless.map(|taint| (taint.clone(), since(taint))).collect();
        if !seen.is_empty() {
            self.tainted.insert(name.into(), seen);
        }
    }

    /// Since when a node has a taint: what that says, or when it was seen first.
    pub fn tainted_since(&self, node: &str, taint: &Taint) -> Timestamp {
        let seen = || self.tainted.get(node)?.iter().find(|(known, _)| known == taint).map(|(_, at)| *at);
        taint.time_added.or_else(seen).unwrap_or(self.now)
    }

    /// This process did not run for a while: nothing can be said about what was not heard in that time.
    pub fn slept(&mut self, time: Duration) {
        for heard in self.heard.values_mut() {
            *heard = heard.plus(time);
        }
    }

    /// The clock was set back: what was heard was heard as long ago as before.
    pub fn set_back(&mut self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let tainted = self.tainted.values_mut().flatten().map(|(_, at)| at);
        for heard in self.heard.values_mut().chain(tainted) {
            *heard = Timestamp::from_micros(heard.as_micros().saturating_sub(micros));
        }
    }

    fn event(&mut self, key: &Arc<str>, after: Option<&Bytes>) -> serde_json::Result<()> {
        let Some(source) = after else {
            self.events.remove(key);
            return Ok(());
        };
        let form: EventForm = read(source, |bytes| serde_json::from_slice(bytes))?;
        let time = form.last_timestamp.or(form.metadata.creation_timestamp);
        self.events.put(key, time.unwrap_or(Timestamp::from_seconds(0)));
        Ok(())
    }

    /// Shows a whole new state, at `revision`: what was missed is told as changes, also for what is gone.
    pub fn reset<'a>(
        &mut self,
        revision: u64,
        items: impl Iterator<Item = (&'a Arc<str>, u64, &'a Bytes)>,
    ) -> Vec<Delta> {
        let mut gone: HashSet<Arc<str>> = self.graph.keys().cloned().collect();
        self.events = Events::default();
        let mut deltas = Vec::new();
        // Definitions first: without them the keys of custom resources mean nothing.
        let (first, others): (Vec<_>, Vec<_>) = items.partition(|(key, _, _)| key.starts_with(DEFINITIONS));
        for (key, revision, source) in first.into_iter().chain(others) {
            if let Some(delta) = self.see(key, revision, Some(source)) {
                gone.remove(key);
                deltas.push(delta);
            }
        }
        // And definitions last, for the same reason.
        let mut gone: Vec<Arc<str>> = gone.into_iter().collect();
        gone.sort_unstable();
        gone.sort_by_key(|key| key.starts_with(DEFINITIONS));
        for key in gone {
            deltas.extend(self.see(&key, revision, None));
        }
        self.revision = self.revision.max(revision);
        deltas
    }
}
