//! What the API is told about a Pod: pure, from its machine.

use std::net::IpAddr;

use edge_api::kinds::pod::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    DISRUPTION_TARGET, PodIp, PodStatus, RESIZE_IN_PROGRESS, RESIZE_PENDING, VolumeMount, VolumeMountStatus,
};
use edge_api::meta::Condition;

use crate::supervisor::life::{Life, Now, Role, Slot};
use crate::supervisor::machine::{EVICTED, Machine, Phase, RESTARTING_ALL, TERMINATED};
use crate::supervisor::waiting::{back_off, failed};

/// The addresses that a status names.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The Pod's.
    pub pod: Option<IpAddr>,
    /// The node's.
    pub host: IpAddr,
}

/// The Pod's status; `before` are the conditions reported last, whose times stay while they do not change.
pub fn status(machine: &Machine, addresses: Addresses, before: &[Condition], now: Now) -> PodStatus {
    let phase = machine.phase();
    let statuses = |roles: &[Role]| {
        let all = machine.slots().iter().enumerate().filter(|(_, slot)| roles.contains(&slot.role));
        all.map(|(index, slot)| container(machine, index, slot)).collect::<Vec<_>>()
    };
    let ips = |ip: Option<IpAddr>| ip.map(|ip| PodIp { ip: ip.to_string() }).into_iter().collect::<Vec<_>>();
    let text = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    PodStatus {
        observed_generation: generation(machine),
        phase: format!("{phase:?}"),
        conditions: conditions(machine, phase, before, now),
        reason: machine.reason().to_owned(),
        message: machine.message().to_owned(),
        host_ip: addresses.host.to_string(),
        host_ips: ips(Some(addresses.host)),
        pod_ip: text(addresses.pod),
        pod_ips: ips(addresses.pod),
        start_time: Some(machine.start_time()),
        init_container_statuses: statuses(&[Role::Init, Role::Sidecar]),
        container_statuses: statuses(&[Role::Main]),
        ephemeral_container_statuses: statuses(&[Role::Ephemeral]),
        ..PodStatus::default()
    }
}

/// What the Pod was when this was said of it; Pods of older servers do not tell.
fn generation(machine: &Machine) -> Option<i64> {
    Some(machine.pod().metadata.generation).filter(|generation| *generation > 0)
}

fn container(machine: &Machine, index: usize, slot: &Slot) -> ContainerStatus {
    let spec = machine.container(index);
    let mut status = ContainerStatus {
        name: slot.name.clone(),
        restart_count: i32::try_from(slot.restarts).unwrap_or(i32::MAX),
        image: match &slot.life {
            // It may be to have another one by now.
            Life::Opening(_) | Life::Running(_) | Life::Stopping(_) | Life::Ended(_)
                if !slot.image.is_empty() =>
            {
                slot.image.to_string()
            }
            _ => spec.image.clone(),
        },
        image_id: slot.image_id.clone(),
        started: Some(slot.is_started()),
        ready: match slot.role {
            Role::Init => slot.ended().is_some_and(|ended| ended.exit_code == 0),
            Role::Ephemeral => false,
            Role::Sidecar | Role::Main => slot.is_ready() && !withdrawn(machine),
        },
        state: state(machine, slot),
        volume_mounts: spec.volume_mounts.iter().map(mounted).collect(),
        ..ContainerStatus::default()
    };
    status.container_id = match &slot.life {
        Life::Opening(run) | Life::Running(run) | Life::Stopping(run) => run.id.clone(),
        Life::Ended(ended) => ended.container_id.clone(),
        _ => slot.last.as_ref().map(|last| last.container_id.clone()).unwrap_or_default(),
    };
    if matches!(slot.life, Life::Opening(_) | Life::Running(_) | Life::Stopping(_)) {
        status.allocated_resources = spec.resources.requests.clone();
        status.resources = Some(Box::new(slot.resources.clone()));
    }
    if let Some(last) = &slot.last {
        status.last_state = ended_state(last);
    }
    status
}

/// A volume as its container sees it. No volume has others mounted in it, so that what is to be read only is so throughout.
fn mounted(mount: &VolumeMount) -> VolumeMountStatus {
    let throughout = match mount.recursive_read_only.as_deref() {
        Some("IfPossible" | "Enabled") => "Enabled",
        _ => "Disabled",
    };
    VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.then(|| throughout.to_owned()),
    }
}

fn state(machine: &Machine, slot: &Slot) -> ContainerState {
    let waiting = |reason: &str, message: String| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: reason.to_owned(), message }),
        ..ContainerState::default()
    };
    match &slot.life {
        Life::Running(run) | Life::Stopping(run) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(run.since) }),
            ..ContainerState::default()
        },
        Life::Ended(ended) => ended_state(ended),
        Life::NoImage { failure, .. } | Life::NotCreated { failure, .. } | Life::Fetching(Some(failure)) => {
            let (reason, message) = failed(slot, failure);
            waiting(reason, message)
        }
        Life::Waiting { delay, .. } if !delay.is_zero() => {
            waiting("CrashLoopBackOff", back_off(machine.pod(), &slot.name, *delay))
        }
        Life::Idle | Life::Waiting { .. } if machine.is_ending_anew() && slot.role != Role::Ephemeral => {
            waiting(RESTARTING_ALL.0, RESTARTING_ALL.1.to_owned())
        }
        // Between the end of a run and its first restart, which follows at once.
        Life::Waiting { .. } | Life::Fetching(_) | Life::Starting | Life::Opening(_)
            if slot.last.is_some() =>
        {
            slot.last.as_deref().map(ended_state).unwrap_or_default()
        }
        _ if slot.role == Role::Main && !machine.has_initialized() => {
            waiting("PodInitializing", String::new())
        }
        _ => waiting("ContainerCreating", String::new()),
    }
}

fn ended_state(ended: &ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(Box::new(ended.clone())), ..ContainerState::default() }
}

/// Whether no request is to reach the Pod any more. One that is deleted serves who has nobody else for as long as its
/// `preStop` takes.
fn withdrawn(machine: &Machine) -> bool {
    machine.is_ending() && !machine.is_taking_leave()
}

fn conditions(machine: &Machine, phase: Phase, before: &[Condition], now: Now) -> Vec<Condition> {
    let over = matches!(phase, Phase::Succeeded | Phase::Failed);
    let lacking = |wanted: &dyn Fn(&Slot) -> bool| -> Vec<&str> {
        machine.slots().iter().filter(|slot| wanted(slot)).map(|slot| slot.name.as_str()).collect()
    };
    let initialized = if machine.is_initialized() || phase == Phase::Succeeded {
        (true, if phase == Phase::Succeeded { "PodCompleted" } else { "" }, String::new())
    } else {
        let uninitialized = lacking(&|slot| !slot.has_initialized());
        let message = format!("containers with incomplete status: [{}]", uninitialized.join(" "));
        (false, "ContainersNotInitialized", message)
    };
    let withdrawn = withdrawn(machine);
    let unready =
        lacking(&|slot| matches!(slot.role, Role::Sidecar | Role::Main) && (withdrawn || !slot.is_ready()));
    let containers_ready = match phase {
        Phase::Succeeded => (false, "PodCompleted", String::new()),
        Phase::Failed => (false, "PodFailed", String::new()),
        _ if unready.is_empty() => (true, "", String::new()),
        _ => {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            (false, "ContainersNotReady", message)
        }
    };
    let gates = closed_gates(machine);
    let ready = match containers_ready.0 && !gates.is_empty() {
        true => (false, "ReadinessGatesNotReady", gates.join(", ")),
        false => containers_ready.clone(),
    };
    let sandbox = (machine.is_prepared() && !over, "", String::new());
    let wanted = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", (true, "", String::new())),
    ];
    let pending = machine.refusal().filter(|_| !over);
    let pending = pending.map(|refusal| (RESIZE_PENDING, (true, refusal.reason, refusal.message.clone())));
    let resizing = resizing(machine).map(|found| (RESIZE_IN_PROGRESS, found));
    let evicted = matches!(machine.reason(), EVICTED | TERMINATED)
        .then(|| (DISRUPTION_TARGET, (true, "TerminationByKubelet", machine.message().to_owned())));
    let anew = machine.may_begin_anew().then(|| (RESTARTING, anew(machine, phase)));
    let all = wanted.into_iter().chain(pending).chain(resizing).chain(anew).chain(evicted);
    let observed_generation = generation(machine);
    let told = |(type_, found)| Condition { observed_generation, ..condition(type_, found, before, now) };
    all.map(told).collect()
}

/// The condition of a Pod that may begin anew in its place.
const RESTARTING: &str = "AllContainersRestarting";

/// Whether it is about to.
fn anew(machine: &Machine, phase: Phase) -> (bool, &'static str, String) {
    match phase {
        Phase::Succeeded => (false, "PodCompleted", String::new()),
        Phase::Failed => (false, "PodFailed", String::new()),
        _ if machine.is_ending_anew() => {
            (true, "RestartAllContainersStarted", "container exited with restart policy rule".to_owned())
        }
        _ => (false, "", String::new()),
    }
}

/// What is to be said of containers that do not have the resources they are to have.
fn resizing(machine: &Machine) -> Option<(bool, &'static str, String)> {
    let all: Vec<_> = machine.unlike_granted().collect();
    let problems: Vec<_> = all
        .iter()
        .filter_map(|slot| Some(format!("container {}: {}", slot.name, slot.not_resized.as_ref()?)))
        .collect();
    match (all.is_empty(), problems.is_empty()) {
        (true, _) => None,
        (false, true) => Some((true, "", String::new())),
        (false, false) => Some((true, "Error", problems.join("; "))),
    }
}

/// What is wrong with each readiness gate that does not hold.
fn closed_gates(machine: &Machine) -> Vec<String> {
    let pod = machine.pod();
    let closed = |gate: &str| match pod.status.conditions.iter().find(|found| found.type_ == gate) {
        None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
        Some(found) if found.status != "True" => {
            let status = &found.status;
            Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {status}"))
        }
        Some(_) => None,
    };
    pod.spec.readiness_gates.iter().filter_map(|gate| closed(&gate.condition_type)).collect()
}

fn condition(type_: &str, found: (bool, &str, String), before: &[Condition], now: Now) -> Condition {
    let (holds, reason, message) = found;
    let status = if holds { "True" } else { "False" };
    let same = before.iter().find(|old| old.type_ == type_ && old.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: same.and_then(|old| old.last_transition_time).or(Some(now.wall)),
        ..Condition::default()
    }
}
