//! Lease: a sign of life.

use crate::compact::object;
use crate::kind::Kind;
use crate::meta::ObjectMeta;
use crate::time::MicroTime;

object! {
    /// A Lease.
    struct Lease {
        /// Metadata.
        metadata: ObjectMeta,
        /// Who holds it.
        spec: LeaseSpec,
    }

    /// Who holds a lease.
    struct LeaseSpec {
        /// The holder.
        holder_identity: Option<String>,
        /// How long a sign of life counts.
        lease_duration_seconds: Option<i32>,
        /// When it was taken.
        acquire_time: Option<MicroTime>,
        /// The last sign of life.
        renew_time: Option<MicroTime>,
        /// How often the holder changed.
        lease_transitions: Option<i32>,
    }
}

/// The table entry.
pub static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    schema: "io.k8s.api.coordination.v1.Lease",
    ..Kind::PLAIN
};
