//! What follows the end of a container: nothing, its next run, or a new beginning of the whole Pod.
//!
//! A container's own rules come first, then its own policy, then that of its Pod
//! (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules>). A Pod that begins anew
//! keeps its address and its volumes. Its containers end at once, without hooks and without grace; its init containers
//! run again before the others; an ephemeral container stays as it is. The container that began it waits for it as long
//! as it would wait for a restart of its own.

use std::time::Duration;

use edge_api::kinds::pod::{Container, ContainerStateTerminated, Pod};

use crate::sandbox::{Exit, ExitReason};
use crate::supervisor::life::{Life, Now, Role, Run, Slot};
use crate::supervisor::machine::{Effect, Machine, Stage, tell, terminated};

/// What follows the end of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// It has ended for good.
    Nothing,
    /// It runs again.
    Run,
    /// All of the Pod begins anew.
    Anew,
}

/// The action of a rule after which the whole Pod begins anew.
const ALL: &str = "RestartAllContainers";

/// The reason and the message of containers that wait for the others to end.
pub const RESTARTING_ALL: (&str, &str) =
    ("RestartingAllContainers", "The container is removed because RestartAllContainers in place");

/// What follows when a container has ended with a code.
pub(super) fn follows(pod: &Pod, container: &Container, role: Role, code: i32) -> Follows {
    let rule = container.restart_policy_rules.iter().find(|rule| rule.matches(code));
    let own = container.restart_policy.as_deref().unwrap_or(&pod.spec.restart_policy);
    let again = match (role, rule) {
        (Role::Ephemeral, _) => false,
        (_, Some(rule)) if rule.action == ALL => return Follows::Anew,
        // What is to run before the others has done so.
        (Role::Init, _) if code == 0 => false,
        (Role::Sidecar, _) | (_, Some(_)) => true,
        (Role::Init | Role::Main, None) => own != "Never" && (code != 0 || own != "OnFailure"),
    };
    if again { Follows::Run } else { Follows::Nothing }
}

impl Machine {
    /// Whether an end of one of its containers lets the Pod begin anew.
    pub fn may_begin_anew(&self) -> bool {
        let mut rules = self.pod.spec.all_containers().flat_map(|container| &container.restart_policy_rules);
        rules.any(|rule| rule.action == ALL)
    }

    /// Whether its containers end so that it can begin anew.
    pub fn is_ending_anew(&self) -> bool {
        self.anew && self.stage == Stage::Active
    }

    /// Ends all containers after the end of one that lets the Pod begin anew, and lets that one wait for its time. Who has
    /// no run that must end first is at the beginning already.
    pub(super) fn begin_anew(
        &mut self,
        index: usize,
        run: &Run,
        ended: Box<ContainerStateTerminated>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let code = ended.exit_code;
        let slot = &mut self.slots[index];
        let why = format!("Container {} exited with code {code}, triggering pod restart", slot.name);
        effects.push(tell(Some(index), "RestartAllContainers", why));
        // Its own end stays what it was: it says why.
        slot.wait(now, now.mono.saturating_sub(run.began), ended);
        self.anew = true;
        for (other, slot) in self.slots.iter_mut().enumerate() {
            if other == index || slot.role == Role::Ephemeral {
                continue;
            }
            match std::mem::replace(&mut slot.life, Life::Idle) {
                Life::Ended(ended) => {
                    slot.last = Some(ended);
                    slot.restarts += 1;
                }
                Life::Waiting { .. } => slot.restarts += 1,
                Life::Stopping(run) => {
                    slot.life = Life::Stopping(run);
                    effects.push(Effect::Kill(other));
                }
                // It is ended as soon as it can be.
                life @ (Life::Starting | Life::Opening(_) | Life::Running(_)) => slot.life = life,
                Life::Idle | Life::Fetching(_) | Life::NoImage { .. } | Life::NotCreated { .. } => {}
            }
            slot.forget_retries();
        }
    }

    /// Takes note of the end of a container that had to end for it.
    pub(super) fn ended_for_anew(
        &mut self,
        index: usize,
        run: &Run,
        exit: Exit,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let killed = exit.reason == ExitReason::Killed;
        let mut ended = terminated(run, exit, now);
        if killed {
            (ended.reason, ended.message) = (RESTARTING_ALL.0.to_owned(), RESTARTING_ALL.1.to_owned());
        }
        let slot = &mut self.slots[index];
        slot.last = Some(Box::new(ended));
        slot.life = Life::Idle;
        slot.restarts += 1;
        slot.renewed = false;
        effects.push(Effect::Remember);
    }

    /// Ends what still runs, and begins when nothing does and it is time.
    pub(super) fn advance_anew(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut waits = false;
        let slots = self.slots.iter_mut().enumerate();
        for (index, slot) in slots.filter(|(_, slot)| slot.role != Role::Ephemeral) {
            match &slot.life {
                Life::Opening(run) | Life::Running(run) => {
                    slot.life = Life::Stopping(run.clone());
                    effects.push(Effect::Kill(index));
                    waits = true;
                }
                Life::Starting | Life::Stopping(_) => waits = true,
                Life::Waiting { until, .. } => waits |= now.mono < *until,
                _ => {}
            }
        }
        if waits {
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.role != Role::Ephemeral) {
            if let Life::Waiting { .. } = std::mem::replace(&mut slot.life, Life::Idle) {
                slot.restarts += 1;
            }
            slot.restarts_before = slot.restarts;
        }
        self.anew = false;
        effects.push(Effect::Remember);
    }

    /// When it can begin anew, if that is all that it waits for.
    pub(super) fn anew_at(&self) -> Option<Duration> {
        let own = self.slots.iter().filter(|slot| slot.role != Role::Ephemeral);
        let until = |slot: &Slot| match slot.life {
            Life::Waiting { until, .. } => Some(until),
            _ => None,
        };
        if own.clone().any(Slot::is_alive) { None } else { own.filter_map(until).max() }
    }
}
