//! Lease: a sign of life.

use crate::compact::object;
use crate::error::FieldError;
use crate::kind::{Column, Kind, Volatility, Written};
use crate::meta;
use crate::meta::ObjectMeta;
use crate::time::MicroTime;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

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
    columns: &[Column::NAME, Column::new("Holder", "string", "Who holds the lease."), Column::AGE],
    row,
    checks,
    volatility,
    ..Kind::PLAIN
};

fn row(lease: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(lease).into(),
        meta::text(lease, &["spec", "holderIdentity"]).into(),
        time::age(meta::creation_timestamp(lease), now).into(),
    ]
}

fn checks(lease: &At<'_>, errors: &mut Errors) {
    let spec = lease.get("spec");
    let duration = spec.get("leaseDurationSeconds");
    if duration.number().is_some_and(|seconds| seconds <= 0) {
        errors.push(FieldError::invalid(&duration.path, duration.value, "must be greater than 0"));
    }
    validate::not_negative(&spec.get("leaseTransitions"), errors);
}

/// A renewal by the same holder comes again soon.
fn volatility(written: Written<'_>) -> Volatility {
    let Written { old, new, .. } = written;
    if !old.is_null() && meta::equal_but(new, old, &[&["spec", "renewTime"]]) {
        Volatility::Volatile
    } else {
        Volatility::Durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_renewal_may_be_lost() {
        let lease = |holder: &str, time: &str, transitions: i64| {
            json!({"metadata": {"name": "a", "resourceVersion": time},
                "spec": {"holderIdentity": holder, "renewTime": time, "leaseTransitions": transitions}})
        };
        let old = lease("a", "1", 1);
        let cases = [
            (Value::Null, old.clone(), Volatility::Durable),
            (old.clone(), lease("a", "2", 1), Volatility::Volatile),
            (old.clone(), lease("b", "2", 1), Volatility::Durable),
            (old.clone(), lease("a", "2", 2), Volatility::Durable),
        ];
        for (old, new, expected) in cases {
            assert_eq!(KIND.volatility(Written { old: &old, new: &new, user: "" }), expected, "{new}");
        }
    }
}
