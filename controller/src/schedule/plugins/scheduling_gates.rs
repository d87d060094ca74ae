//! SchedulingGates: a Pod with gates is not looked at until whoever set them has taken them away.

use crate::schedule::ask::Ask;
use crate::schedule::plugins::Plugin;

/// The table's entry.
pub const PLUGIN: Plugin = Plugin { name: "SchedulingGates", bars: Some(gated), ..Plugin::NOTHING };

fn gated(ask: &Ask<'_>) -> Option<String> {
    ask.pod.body.gated.then(|| "Scheduling is blocked due to non-empty scheduling gates".to_owned())
}
