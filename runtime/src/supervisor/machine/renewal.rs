//! Containers that are to be otherwise than they are: other resources, another image.
//!
//! Resources are the node's to grant first. Where a container wants to begin anew for a change, or has to, its run ends
//! and another follows whatever the restart policy says.

use edge_api::kinds::pod::{Container, Pod, RESIZE_INFEASIBLE, ResourceRequirements};
use serde::Serialize;

use crate::supervisor::allocation::Refusal;
use crate::supervisor::crew;
use crate::supervisor::life::{Life, Now, Role, Run, Slot};
use crate::supervisor::machine::{Effect, Machine, Stage, tell, warn};

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
                let granted = wished(&self.pod);
                if self.granted != granted {
                    self.granted = granted;
                    if self.stage == Stage::Active {
                        self.resizing = Some(self.pod.metadata.generation);
                        effects.push(tell(None, "ResizeStarted", self.granted("started", None)));
                    }
                }
                effects.push(Effect::Remember);
                if self.stage == Stage::Active {
                    self.resize(now, effects);
                }
            }
            Err(refusal) => {
                if self.refusal.is_none() {
                    effects.push(Effect::Remember);
                }
                if self.refusal.as_ref() != Some(&refusal) {
                    let reason = match refusal.reason {
                        RESIZE_INFEASIBLE => "ResizeInfeasible",
                        _ => "ResizeDeferred",
                    };
                    let (wish, generation) = (wished(&self.pod), self.pod.metadata.generation);
                    let error = Some(refusal.message.as_str());
                    let message = self.resize_message(refusal.reason, &wish, generation, error);
                    effects.push(warn(None, reason, message));
                }
                self.refusal = Some(refusal);
            }
        }
    }

    /// The containers that run with other resources than they have been granted.
    pub fn unlike_granted(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let runs = matches!(slot.life, Life::Running(_) | Life::Stopping(_));
            (runs && slot.resources != self.container(index).resources).then_some(slot)
        })
    }

    /// Tells when all that run have what was granted; who does not run has it from its next start on.
    pub(super) fn tell_resized(&mut self, effects: &mut Vec<Effect>) {
        if self.stage != Stage::Active {
            self.resizing = None;
        }
        if self.resizing.is_some() && self.unlike_granted().next().is_none() {
            effects.push(tell(None, "ResizeCompleted", self.granted("completed", None)));
            self.resizing = None;
        }
    }

    /// What has become of what the node has granted.
    fn granted(&self, what: &str, error: Option<&str>) -> String {
        let generation = self.resizing.unwrap_or(self.pod.metadata.generation);
        self.resize_message(what, &self.granted, generation, error)
    }

    /// What has become of a resize, in the words of the kubelet.
    fn resize_message(
        &self,
        what: &str,
        resources: &[ResourceRequirements],
        generation: i64,
        error: Option<&str>,
    ) -> String {
        let of = |wanted: fn(Role) -> bool| {
            let all = crew::of(&self.pod).zip(resources).filter(|((_, role), _)| wanted(*role));
            all.map(|((container, _), resources)| Part {
                name: container.name.clone(),
                resources: resources.clone(),
            })
            .collect()
        };
        let told = Resize {
            init_containers: of(|role| matches!(role, Role::Init | Role::Sidecar)),
            containers: of(|role| role == Role::Main),
            generation,
            error,
        };
        format!("Pod resize {what}: {}", serde_json::to_string(&told).unwrap_or_default())
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
                // It ends anyway.
                Life::Opening(_) | Life::Running(_) if self.anew => continue,
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
        effects: &mut Vec<Effect>,
    ) {
        let slot = &mut self.slots[index];
        match result {
            Ok(()) => (slot.resources, slot.not_resized) = (resources, None),
            Err(why) if slot.not_resized.as_ref() == Some(&why) => {}
            Err(why) => {
                slot.not_resized = Some(why.clone());
                effects.push(warn(None, "ResizeError", self.granted("error", Some(&why))));
            }
        }
    }
}

/// What Events of a resize say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resize<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Part>,
    generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    resources: ResourceRequirements,
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
