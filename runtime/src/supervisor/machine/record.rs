//! What is remembered of a Pod over restarts of the node, and how it goes on from there.
//!
//! What was under way when the node stopped was killed with it, and has an exit code as any that is killed.

use edge_api::compact::is_blank;
use edge_api::kinds::pod::{ContainerStateTerminated, Pod, ResourceRequirements};
use edge_api::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::supervisor::crew;
use crate::supervisor::life::{Life, Now, Role, Slot, SlotRecord};
use crate::supervisor::machine::renewal::wished;
use crate::supervisor::machine::restart::{Follows, follows};
use crate::supervisor::machine::{KILLED, Machine, Phase, Stage};

/// What is remembered of a Pod over restarts of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodRecord {
    /// When the node took it.
    pub start_time: Option<Timestamp>,
    /// Its containers.
    pub slots: Vec<SlotRecord>,
    /// How it ended.
    pub over: Option<Phase>,
    /// Why, if not by itself.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
    /// What the node has granted to its containers, if that is not what they are to have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<ResourceRequirements>,
    /// Whether its containers ended so that it could begin anew.
    #[serde(skip_serializing_if = "is_blank")]
    pub anew: bool,
    /// Whether it was initialized before it began anew.
    #[serde(skip_serializing_if = "is_blank")]
    pub initialized: bool,
}

impl Machine {
    /// What to remember.
    pub fn record(&self) -> PodRecord {
        PodRecord {
            start_time: Some(self.start_time),
            slots: self.slots.iter().map(Slot::record).collect(),
            over: match self.stage {
                Stage::Over(phase) => Some(phase),
                _ => None,
            },
            reason: self.reason.clone(),
            message: self.message.clone(),
            granted: if self.granted == wished(&self.pod) { Vec::new() } else { self.granted.clone() },
            anew: self.anew,
            initialized: self.initialized,
        }
    }

    /// Takes up what is remembered.
    pub(super) fn restore(&mut self, record: &PodRecord, now: Now) {
        let pod = self.pod.clone();
        let old = |slot: &Slot| record.slots.iter().find(|old| old.name == slot.name);
        for slot in &mut self.slots {
            let Some(old) = old(slot) else { continue };
            slot.restarts = old.restarts;
            slot.restarts_before = old.restarts_before;
            slot.ran = old.ran;
            slot.image = old.image.clone();
            slot.last.clone_from(&old.last);
            if let Some(ended) = &old.ended {
                slot.life = Life::Ended(ended.clone());
            }
        }
        // What follows the end of a run that was under way.
        let next = |slot: &Slot| {
            let (_, container) = crew::named(&pod, &slot.name)?;
            old(slot)?.begun.then(|| follows(&pod, &container, slot.role, KILLED))
        };
        let begins_anew = self.slots.iter().any(|slot| next(slot) == Some(Follows::Anew));
        if begins_anew && record.over.is_none() && !self.is_done() {
            self.anew = true;
            self.initialized |= self.slots.iter().any(|slot| slot.role == Role::Main && slot.ran);
        }
        for slot in &mut self.slots {
            if self.anew && slot.role != Role::Ephemeral {
                let ended = match std::mem::replace(&mut slot.life, Life::Idle) {
                    Life::Ended(ended) => Some(ended),
                    _ => None,
                };
                slot.restarts += u32::from(ended.is_some() || next(slot).is_some());
                slot.last = ended.or(slot.last.take());
            } else if slot.ended().is_none() && next(slot) == Some(Follows::Nothing) {
                slot.life = Life::Ended(Box::new(lost(now)));
            }
        }
    }

    /// Whether only its end is left: its main containers have ended for good, or an init container has in vain.
    fn is_done(&self) -> bool {
        let mut mains = self.slots.iter().filter(|slot| slot.role == Role::Main);
        let failed =
            |slot: &Slot| slot.role == Role::Init && !slot.has_initialized() && slot.ended().is_some();
        mains.all(|slot| slot.ended().is_some()) || self.slots.iter().any(failed)
    }
}

/// A container of a Pod that never restarts was under way when the node stopped.
fn lost(now: Now) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: KILLED,
        reason: "ContainerStatusUnknown".to_owned(),
        message: "The node stopped while the container ran".to_owned(),
        finished_at: Some(now.wall),
        ..Default::default()
    }
}

/// What the API remembers of a Pod that this node has forgotten.
pub(super) fn record_of_status(pod: &Pod) -> PodRecord {
    let status = &pod.status;
    let own = status.init_container_statuses.iter().chain(&status.container_statuses);
    let ephemeral = status.ephemeral_container_statuses.iter();
    let slots = own
        .map(|status| (status, false))
        .chain(ephemeral.map(|status| (status, true)))
        .map(|(status, once)| SlotRecord {
            name: status.name.clone(),
            restarts: u32::try_from(status.restart_count).unwrap_or(0),
            restarts_before: 0,
            begun: status.state.running.is_some(),
            ran: status.state.running.is_some() || status.last_state.terminated.is_some(),
            // Without a digest it names an image that had not been found yet, and what ran is the name of none.
            image: if status.image_id.is_empty() { " ".into() } else { status.image.as_str().into() },
            last: status.last_state.terminated.clone(),
            ended: status.state.terminated.clone().filter(|_| once),
        })
        .collect();
    let over = match pod.status.phase.as_str() {
        "Succeeded" => Some(Phase::Succeeded),
        "Failed" => Some(Phase::Failed),
        _ => None,
    };
    PodRecord {
        start_time: pod.status.start_time,
        slots,
        over,
        reason: pod.status.reason.clone(),
        message: pod.status.message.clone(),
        ..PodRecord::default()
    }
}
