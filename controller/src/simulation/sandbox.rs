//! A Pod as it runs on a node: one life with a few stages, each of which the node has to tell; the end too, before it
//! takes away what was deleted, and though it may never have begun.

use std::sync::Arc;

use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::mirror::{Name, Object, Phase, Pod};

/// How far a Pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is being started.
    Starting,
    /// It runs and does not serve yet, or again.
    Running,
    /// It serves.
    Ready,
    /// It has ended with this code.
    Over(u8),
}

/// When a Pod that ends is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Whenever it ends.
    Always,
    /// When it ends badly.
    OnFailure,
    /// Not at all.
    Never,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Which Pod.
    pub key: Name,
    /// Which one of that name.
    pub uid: Arc<str>,
    /// How far it has come.
    pub stage: Stage,
    /// Whether the API knows.
    pub told: bool,
    /// When something is to be done about it.
    pub next: Option<Timestamp>,
    /// When it is to have ended, if somebody deleted it.
    pub end: Option<Timestamp>,
    /// How often it was started again.
    pub restarts: i64,
    /// Whether it ends by itself.
    pub ends: bool,
    restart: Restart,
    container: String,
}

impl Sandbox {
    /// A Pod that the node has not run since it started itself; it goes on at `then`.
    pub fn new(pod: &Object<Pod>, then: Timestamp) -> Sandbox {
        let tree = pod.tree();
        let restart = match tree["spec"]["restartPolicy"].as_str() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        };
        // One that ran before the node died has ended with it.
        let ran = pod.body.phase == Phase::Running;
        let over = pod.body.finished() || pod.meta.deleting() && !ran;
        let mut sandbox = Sandbox {
            key: pod.key(),
            uid: pod.meta.uid.clone(),
            stage: Stage::Starting,
            told: true,
            next: Some(then),
            end: None,
            restarts: pod.body.restarts,
            ends: restart != Restart::Always,
            restart,
            container: tree["spec"]["containers"][0]["name"].as_str().unwrap_or_default().to_owned(),
        };
        if over || pod.meta.deleting() && restart == Restart::Always {
            sandbox.stage = Stage::Over(137);
            sandbox.told = pod.body.finished();
        } else if ran && restart == Restart::Never {
            sandbox.go(Stage::Over(137), then);
        } else if ran {
            sandbox.restarts += 1;
        }
        sandbox
    }

    /// Whether anything of it runs.
    pub fn runs(&self) -> bool {
        !matches!(self.stage, Stage::Over(_))
    }

    /// The next stage, which is to be told.
    pub fn go(&mut self, stage: Stage, now: Timestamp) {
        self.stage = stage;
        self.told = false;
        self.next = Some(now);
    }

    /// It is to have ended at `end`.
    pub fn end_by(&mut self, end: Timestamp) {
        if self.end.is_none() {
            self.end = Some(end);
            self.next = Some(self.next.map_or(end, |next| next.min(end)));
        }
    }

    /// What is due happens. It may serve at once when it starts; if it ends by itself then with `code`.
    pub fn step(&mut self, now: Timestamp, at_once: bool, code: u8) {
        if self.runs() && self.end.is_some_and(|end| end <= now) {
            // What was told to go ends well if it ends by itself, as often as not.
            let code = if self.ends && at_once { 143 } else { code };
            return self.go(Stage::Over(code), now);
        }
        if !self.told {
            return;
        }
        match self.stage {
            Stage::Starting if at_once => self.go(Stage::Ready, now),
            Stage::Starting => self.go(Stage::Running, now),
            Stage::Running => self.go(Stage::Ready, now),
            Stage::Ready if self.ends && code != 0 && self.restart == Restart::OnFailure => {
                self.restarts += 1;
                self.go(Stage::Running, now);
            }
            Stage::Ready if self.ends => self.go(Stage::Over(code), now),
            Stage::Ready | Stage::Over(_) => self.next = None,
        }
        if let Some(end) = self.end {
            self.next = Some(self.next.map_or(end, |next| next.min(end)));
        }
    }
}

/// What a node says of a Pod, as a patch of its status.
pub fn status(sandbox: &Sandbox, now: Timestamp) -> Value {
    let (phase, ready, state) = match sandbox.stage {
        Stage::Starting => ("Pending", false, json!({"waiting": {"reason": "ContainerCreating"}})),
        Stage::Running => ("Running", false, json!({"running": {"startedAt": now}})),
        Stage::Ready => ("Running", true, json!({"running": {"startedAt": now}})),
        Stage::Over(code) => {
            let (phase, reason) = if code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
            let ended = json!({"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now});
            (phase, false, json!({"terminated": ended}))
        }
    };
    let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now});
    json!({
        "metadata": {"uid": &*sandbox.uid},
        "status": {
            "phase": phase, "podIP": "10.42.0.9", "podIPs": [{"ip": "10.42.0.9"}],
            "conditions": [condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", ready), condition("Ready", ready)],
            "containerStatuses": [{"name": sandbox.container, "image": "simulated", "imageID": "",
                "ready": ready, "restartCount": sandbox.restarts, "state": state}],
        },
    })
}
