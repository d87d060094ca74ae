//! What is in the store, as controllers and the scheduler see it: small structs with indexes, at one revision.
//!
//! One writer applies the store's changes in order, so every kind shows the same moment of history and a reader can
//! tell exactly which writes it has seen. Objects are kept as a small struct of the fields somebody reads plus the
//! stored bytes, which are the store's own and cost nothing twice. Nothing here decides anything, writes anything or
//! knows of controllers.

mod object;
mod selector;
mod shape;

mod index;

mod capacity;
mod graph;

mod world;

pub use capacity::{Capacity, Totals, Waiting, node_helps};
pub use graph::{Entry, Graph};
pub use index::Mirror;
pub use object::{LAST_APPLIED, Meta, Name, Object, Owner, Shape, tree};
pub use selector::{Labels, Requirement, Selector};
pub use shape::{
    Bare, Budget, ClusterRole, Completion, Concurrency, Condition, CronJob, DaemonSet, Deployment,
    EndpointSlice, IntOrPercent, Job, Lease, Namespace, Node, NodeAffinity, NodeCondition, NodeTerm, Phase,
    Pod, PodPort, PreferredTerm, Quota, Replacement, ReplicaSet, Resources, Revision, Rolling, SERVICE_NAME,
    Service, ServicePort, Signing, StatefulSet, Strategy, TEMPLATE_HASH, Taint, Toleration, fnv,
    template_digest, tolerates,
};
pub use world::{Delta, Detail, Failure, NODE_LEASES, ROOT_CA, Settings, World};
