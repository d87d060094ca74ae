//! Events: gone an hour after they were last seen.
//!
//! One key and one timer for all of them, set to when the oldest one expires.

use std::time::Duration;

use edge_api::kinds;

use crate::mirror::{Delta, Detail, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

/// How long an Event is kept after it was last seen.
const LIFE: Duration = Duration::from_secs(3600);
/// How much longer one may stay, so that many go together.
const SLACK: Duration = Duration::from_secs(60);
/// How many one plan deletes.
const BATCH: usize = 500;

/// The table's entry.
pub const CONTROLLER: Controller = Controller { name: "event-ttl-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    if matches!(delta.detail, Detail::Event) {
        wake(Name::default());
    }
}

fn reconcile(_: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let expired = world.events.oldest().take_while(|(seen, _)| seen.plus(LIFE) <= world.now).take(BATCH);
    let names = expired.map(|(_, key)| Name::at_end_of(key));
    plan.together(names.map(|name| Write::expire(&kinds::event::KIND, name)).collect());
    if !plan.stages.is_empty() {
        plan.wake(world.now);
    } else if let Some((seen, _)) = world.events.oldest().next() {
        plan.wake(seen.plus(LIFE).plus(SLACK));
    }
    plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use edge_api::time::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::reconcile::ledger::Ledger;

    #[test]
    fn events_go_an_hour_after_they_were_last_seen_together_if_they_can() {
        let start = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let event = |name: &str, minute: u64| {
            let seen = start.plus(Duration::from_secs(60 * minute));
            json!({"apiVersion": "v1", "kind": "Event", "lastTimestamp": seen,
                "metadata": {"name": name, "namespace": "default", "creationTimestamp": start}})
        };
        let ledger = Ledger::with(start, &[event("a", 0), event("b", 1), event("c", 30)]);
        let mut world = ledger.world();
        let plan = reconcile(&Name::default(), &world);
        assert_eq!((plan.writes().count(), plan.wake_at), (0, Some(start.plus(LIFE + SLACK))));
        world.now = start.plus(LIFE + SLACK);
        let plan = reconcile(&Name::default(), &world);
        let gone: Vec<String> = plan.writes().map(|write| write.key.name.to_string()).collect();
        assert_eq!(gone, ["a", "b"]);
    }
}
