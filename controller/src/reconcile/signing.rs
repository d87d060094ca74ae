//! CertificateSigningRequests go when nobody can want them any more: an hour after the decision, and after a day without
//! a certificate.

use std::time::Duration;

use edge_api::kind::Kind;
use edge_api::kinds;
use edge_api::time::Timestamp;

use crate::mirror::{Delta, Detail, Name, Object, Signing, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

const KIND: &Kind = &kinds::certificate_signing_request::KIND;

/// How long one stays that was denied, that failed, or whose certificate was issued.
const DECIDED: Duration = Duration::from_secs(3600);
/// How long one stays that has no certificate.
const PENDING: Duration = Duration::from_secs(24 * 3600);

/// The table's entry.
pub const CONTROLLER: Controller =
    Controller { name: "certificatesigningrequest-cleaner-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if matches!(delta.detail, Detail::Signing((_, Some(_)))) {
        wake(delta.key.clone());
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let Some(request) = world.signings.at(key).filter(|request| !request.meta.deleting()) else {
        return Plan::nothing();
    };
    let end = end(request).unwrap_or(world.now);
    if end <= world.now {
        return Plan::of(Write::delete(KIND, &request.meta));
    }
    let mut plan = Plan::nothing();
    plan.wake(end);
    plan
}

/// When the request is of no more use.
fn end(request: &Object<Signing>) -> Option<Timestamp> {
    let decided = |kind: &str| {
        let condition = request.body.conditions.iter().find(|condition| condition.kind == kind)?;
        let time = condition.last_update_time.or(condition.last_transition_time);
        time.or(request.meta.creation_timestamp)
    };
    let issued = decided("Approved").filter(|_| request.body.issued);
    let over = [issued, decided("Denied"), decided("Failed")].into_iter().flatten().min();
    match over {
        Some(time) => Some(time.plus(DECIDED)),
        None => Some(request.meta.creation_timestamp?.plus(PENDING)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::reconcile::ledger::Ledger;

    #[test]
    fn requests_go_when_they_are_of_no_more_use() {
        let made = Timestamp::from_seconds(0);
        let decided = made.plus(Duration::from_secs(600));
        let request = |condition: &str, certificate: Value| {
            json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                "metadata": {"name": "r", "creationTimestamp": made},
                "status": {"certificate": certificate,
                    "conditions": [{"type": condition, "status": "True", "lastUpdateTime": decided}]}})
        };
        let hour = decided.plus(DECIDED);
        for (request, expected) in [
            (request("Denied", json!(null)), hour),
            (request("Failed", json!(null)), hour),
            (request("Approved", json!("eA==")), hour),
            (request("Approved", json!(null)), made.plus(PENDING)),
            (request("Other", json!(null)), made.plus(PENDING)),
        ] {
            let key = Name::new("", "r");
            let mut world = Ledger::with(made, std::slice::from_ref(&request)).world();
            let plan = reconcile(&key, &world);
            assert_eq!((plan.writes().count(), plan.wake_at), (0, Some(expected)), "{request}");
            world.now = expected;
            assert_eq!(reconcile(&key, &world).writes().count(), 1, "{request}");
        }
    }
}
