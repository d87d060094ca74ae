//! Jobs that have ended and say how long they stay after that.

use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Cascade, Plan, Write};

const KIND: &Kind = &kinds::job::KIND;

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "ttl-after-finished-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if let Detail::Job((_, Some(job))) = &delta.detail
        && job.body.ttl.is_some()
        && job.body.end().is_some()
    {
        wake(delta.key.clone());
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let Some(job) = world.jobs.at(key).filter(|job| !job.meta.deleting()) else { return plan };
    let (Some(ttl), Some(end)) = (job.body.ttl, job.body.end()) else { return plan };
    let Some(since) = end.last_transition_time else { return plan };
    let then = since.plus(Duration::from_secs(ttl.unsigned_abs()));
    if then > world.now {
        plan.wake(then);
    } else {
        plan.then(Write::delete(KIND, &job.meta).planned_on(job.revision).cascading(Cascade::Foreground));
    }
    plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::reconcile::ledger::Ledger;
    use edge_api::time::Timestamp;
    use serde_json::{Value, json};

    fn plan(ttl: Value, status: Value, now: &str) -> Plan {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "namespace": "default"},
            "spec": {"ttlSecondsAfterFinished": ttl, "template": {}}, "status": {"conditions": [status]}});
        let ledger = Ledger::with(Timestamp::parse(now).unwrap(), &[job]);
        reconcile(&Name::new("default", "a"), &ledger.world())
    }

    #[test]
    fn a_job_goes_when_its_time_after_the_end_is_over() {
        let end = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        for (condition, now, deletes, wakes) in [
            (end("Complete", "True"), "2026-01-01T00:00:59Z", 0, true),
            (end("Complete", "True"), "2026-01-01T00:01:00Z", 1, false),
            (end("Failed", "True"), "2026-01-01T00:01:00Z", 1, false),
            (end("Failed", "False"), "2026-01-01T00:01:00Z", 0, false),
            (end("Suspended", "True"), "2026-01-01T00:01:00Z", 0, false),
        ] {
            let plan = plan(json!(60), condition.clone(), now);
            assert_eq!(
                (plan.writes().count(), plan.wake_at.is_some()),
                (deletes, wakes),
                "{condition} {now}"
            );
        }
    }

    #[test]
    fn a_job_without_a_time_stays_and_one_with_none_goes_at_once() {
        let end = json!({"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        for (ttl, now, deletes) in [
            (Value::Null, "2027-01-01T00:00:00Z", 0),
            (json!(0), "2026-01-01T00:00:00Z", 1),
            (json!(86_400), "2026-01-01T23:59:59Z", 0),
        ] {
            assert_eq!(plan(ttl.clone(), end.clone(), now).writes().count(), deletes, "{ttl} {now}");
        }
    }
}
