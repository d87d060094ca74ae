//! Containers that are to be otherwise than they are: other resources, another image.
//!
//! Resources are the node's to grant first. Where a container wants to begin anew for a change, or has to, its run ends
//! and another follows whatever the restart policy says.

use edge_api::kinds::pod::{Container, Pod, ResourceRequirements};

use crate::supervisor::allocation::Refusal;
use crate::supervisor::crew;
use crate::supervisor::life::{Life, Now, Role, Run};
use crate::supervisor::machine::{Effect, Machine, Stage, tell};

impl Machine {
    /// Asks the node for what the containers are to have now, if that is something else than it has granted.
    pub(super) fn reconsider(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let wished = wished(&self.pod);
        if wished != self.granted {
            effects.push(Effect::Ask(self.amounts(&wished)));
            return;
        }
        if self.refusal.take().is_some() {
            // It is content with what it has: nobody else is to wait for it.
            effects.push(Effect::Ask(self.allocated()));
            return;
        }
        self.resize(now, effects);
    }

    pub(super) fn grant(&mut self, result: Result<(), Refusal>, now: Now, effects: &mut Vec<Effect>) {
        match result {
            Ok(()) => {
                self.refusal = None;
                self.granted = wished(&self.pod);
                effects.push(Effect::Remember);
                if self.stage == Stage::Active {
                    self.resize(now, effects);
                }
            }
            Err(refusal) => {
                if self.refusal.is_none() {
                    effects.push(Effect::Remember);
                }
                self.refusal = Some(refusal);
            }
        }
    }

    /// Gives containers that run what they are to have now; some begin anew for it, as they wish.
    fn resize(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let container = self.container(index).into_owned();
            let slot = &mut self.slots[index];
            let Life::Running(run) = &slot.life else { continue };
            if slot.resources == container.resources {
                slot.not_resized = None;
                continue;
            }
            if !wants_new_run(&container, &slot.resources) {
                effects.push(Effect::Resize(index));
                continue;
            }
            let (run, why) = (run.clone(), format!("Container {} resize requires restart", slot.name));
            self.renew(index, run, why, now, effects);
        }
    }

    /// Ends the run of a container to begin another, whatever the restart policy says.
    fn renew(&mut self, index: usize, run: Run, why: String, now: Now, effects: &mut Vec<Effect>) {
        let slot = &mut self.slots[index];
        slot.life = Life::Stopping(run);
        slot.renewed = true;
        effects.push(tell(Some(index), "Killing", why));
        effects.push(self.stop(index, None, now));
    }

    /// Containers that are to have another image than they run, or wait for, begin anew with that, and without the
    /// delays of the old one.
    pub(super) fn change_images(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let running = match &slot.life {
                Life::Opening(run) | Life::Running(run) => match slot.role {
                    Role::Main => Some((run.clone(), "Container", ", will be restarted")),
                    Role::Sidecar => Some((run.clone(), "Init container", "")),
                    Role::Init | Role::Ephemeral => continue,
                },
                Life::Waiting { .. } | Life::NoImage { .. } | Life::NotCreated { .. } => None,
                _ => continue,
            };
            if crew::at(&self.pod, index).is_none_or(|container| container.image == *slot.wanted) {
                continue;
            }
            slot.forget_retries();
            slot.delay = None;
            if let Some((run, kind, rest)) = running {
                let why = format!("{kind} {} definition changed{rest}", slot.name);
                self.renew(index, run, why, now, effects);
            } else if let Life::Waiting { until: due, .. }
            | Life::NoImage { retry: due, .. }
            | Life::NotCreated { retry: due, .. } = &mut slot.life
            {
                *due = now.mono;
            }
        }
    }

    pub(super) fn resized(
        &mut self,
        index: usize,
        resources: ResourceRequirements,
        result: Result<(), String>,
    ) {
        let slot = &mut self.slots[index];
        match result {
            Ok(()) => (slot.resources, slot.not_resized) = (resources, None),
            Err(why) => slot.not_resized = Some(why),
        }
    }
}

/// What each container is to have.
pub(super) fn wished(pod: &Pod) -> Vec<ResourceRequirements> {
    crew::of(pod).map(|(container, _)| container.resources.clone()).collect()
}

/// Whether a resource changes that the container wants to begin anew for.
fn wants_new_run(container: &Container, before: &ResourceRequirements) -> bool {
    let now = &container.resources;
    container.resize_policy.iter().filter(|policy| policy.restart_policy == "RestartContainer").any(
        |policy| {
            let name = &policy.resource_name;
            now.limits.get(name) != before.limits.get(name)
                || now.requests.get(name) != before.requests.get(name)
        },
    )
}
