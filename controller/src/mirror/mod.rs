//! What is in the store, as controllers and the scheduler see it: small structs with indexes, at one revision.
//!
//! One writer applies the store's changes in order, so every kind shows the same moment of history and a reader can
//! tell exactly which writes it has seen. Objects are kept as a small struct of the fields somebody reads plus the
//! stored bytes, which are the store's own and cost nothing twice. Nothing here decides anything, writes anything or
//! knows of controllers.

mod object;
mod selector;

mod index;

mod shape;

mod events;
mod graph;
mod storage;
mod tree;
mod waiting;

mod tally;
mod totals;

mod fleet;

mod world;

pub use events::Events;
pub use fleet::{
    Amounts, Class, Extent, Fleet, HOSTNAME, Order, Packing, Place, Standing, USUAL, WHOLE, goodness, share,
};
pub use graph::{Entry, Graph};
pub use index::Mirror;
pub use object::{LAST_APPLIED, Meta, Name, Object, Owner, Shape, tree};
pub use selector::{Labels, Requirement, Selector};
pub use shape::{
    Bare, Binding, Budget, Claim, ClusterRole, Completion, Concurrency, Condition, CronJob, DaemonSet,
    Deployment, EndpointSlice, IntOrPercent, Job, LARGE_IMAGE, Lease, Likeness, Load, Namespace, Node,
    NodeAffinity, NodeCondition, NodeTerm, Peers, Phase, Pod, PodClaim, PodPort, PodTerm, PreferredTerm,
    Quota, Replacement, ReplicaSet, Resources, Revision, Rolling, SERVICE_NAME, Service, ServicePort,
    Signing, Social, Spread, StatefulSet, StorageClass, Strategy, TEMPLATE_HASH, Taint, Toleration, Volume,
    fnv, is_default, template_digest, tolerates,
};
pub use storage::{Storage, is_bound};
pub use tally::{Key, Question, Role, Sight, Tallies, Tally};
pub use totals::Totals;
pub use tree::{Branch, Sum, Tree};
pub use waiting::{Turn, Waiting, holds, node_helps, turn, waits};
pub use world::{Delta, Detail, Failure, NODE_LEASES, ROOT_CA, Settings, World};
