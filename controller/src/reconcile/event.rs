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

fn wakes(delta: &Delta, world: &World, wake: &mut dyn FnMut(Name)) {
    // With older Events the timer is set already.
    if matches!(delta.detail, Detail::Event) && world.events.len() <= 1 {
        wake(Name::default());
    }
}

fn reconcile(_: &Name, world: &World) -> Plan {
    let mut plan = Plan::nothing();
    let expired = world.events.iter().take_while(|(seen, _)| seen.plus(LIFE) <= world.now).take(BATCH);
    plan.together(expired.map(|(_, key)| Write::expire(&kinds::event::KIND, key.clone())).collect());
    let stays = world.events.iter().find(|(seen, _)| seen.plus(LIFE) > world.now);
    match stays {
        _ if !plan.stages.is_empty() => plan.wake(world.now),
        Some((seen, _)) => plan.wake(seen.plus(LIFE).plus(SLACK)),
        None => {}
    }
    plan
}
