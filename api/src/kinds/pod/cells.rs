//! The columns of a Pod, and how kubectl sums up its state in one word.

use crate::kind::Column;
use crate::meta;
use crate::time::{self, Timestamp};
use serde_json::Value;

pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
    Column::new("Status", "string", "The aggregate status of the containers in this pod."),
    Column::new("Restarts", "string", "How often the containers in this pod were restarted, and when last."),
    Column::AGE,
    Column::wide("IP", "string", "The address of the pod."),
    Column::wide("Node", "string", "The node the pod is bound to."),
    Column::wide("Nominated Node", "string", "The node a preempting pod is meant for."),
    Column::wide("Readiness Gates", "string", "How many of the pod's readiness gates are true."),
];

pub(super) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match summary.restarted_at {
        Some(time) if summary.restarts > 0 => {
            format!("{} ({} ago)", summary.restarts, time::human_duration(now.since(time)))
        }
        _ => summary.restarts.to_string(),
    };
    let or_none = |text: &str| if text.is_empty() { "<none>".to_owned() } else { text.to_owned() };
    let address = match meta::text(pod, &["status", "podIP"]) {
        "" => meta::items(pod, &["status", "podIPs"]).first().map_or("", |ip| meta::text(ip, &["ip"])),
        address => address,
    };
    vec![
        meta::name(pod).into(),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.status.into(),
        restarts.into(),
        time::age(meta::creation_timestamp(pod), now).into(),
        or_none(address).into(),
        or_none(meta::text(pod, &["spec", "nodeName"])).into(),
        or_none(meta::text(pod, &["status", "nominatedNodeName"])).into(),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = meta::items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let is_true = |gate: &&Value| is_condition_true(pod, meta::text(gate, &["conditionType"]));
    format!("{}/{}", gates.iter().filter(is_true).count(), gates.len())
}

fn is_condition_true(pod: &Value, type_: &str) -> bool {
    meta::condition(pod, type_).is_some_and(|condition| meta::text(condition, &["status"]) == "True")
}

/// What kubectl says of a Pod's containers, taken together.
struct Summary {
    status: String,
    ready: usize,
    containers: usize,
    restarts: i64,
    restarted_at: Option<Timestamp>,
}

/// Whether the init containers are still at it.
enum Init {
    Busy,
    Done,
}

impl Summary {
    fn of(pod: &Value) -> Summary {
        let phase = meta::text(pod, &["status", "phase"]);
        let reason = meta::text(pod, &["status", "reason"]);
        let mut summary = Summary {
            status: if reason.is_empty() { phase } else { reason }.to_owned(),
            ready: 0,
            containers: meta::items(pod, &["spec", "containers"]).len(),
            restarts: 0,
            restarted_at: None,
        };
        if let Some(scheduled) = meta::condition(pod, "PodScheduled")
            && meta::text(scheduled, &["reason"]) == "SchedulingGated"
        {
            summary.status = "SchedulingGated".to_owned();
        }
        let init = summary.add_init_containers(pod);
        if matches!(init, Init::Done) || is_condition_true(pod, "Initialized") {
            summary.add_containers(pod);
        }
        summary.add_deletion(pod, phase);
        summary
    }

    fn add_init_containers(&mut self, pod: &Value) -> Init {
        let specs = meta::items(pod, &["spec", "initContainers"]);
        let is_sidecar = |name: &str| {
            let spec = specs.iter().find(|spec| meta::text(spec, &["name"]) == name);
            spec.is_some_and(|spec| meta::text(spec, &["restartPolicy"]) == "Always")
        };
        self.containers += specs.iter().filter(|s| meta::text(s, &["restartPolicy"]) == "Always").count();
        let (mut sidecar_restarts, mut sidecar_restarted_at) = (0, None);
        let mut init = Init::Done;
        for (i, status) in meta::items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            let sidecar = is_sidecar(meta::text(status, &["name"]));
            let restarts = meta::number(status, &["restartCount"]).unwrap_or(0);
            self.restarts += restarts;
            self.restarted_at = self.restarted_at.max(last_end(status));
            if sidecar {
                sidecar_restarts += restarts;
                sidecar_restarted_at = sidecar_restarted_at.max(last_end(status));
            }
            let terminated = meta::at(status, &["state", "terminated"]);
            if terminated.is_some_and(|t| meta::number(t, &["exitCode"]).unwrap_or(0) == 0) {
                continue;
            }
            if sidecar && meta::at(status, &["started"]) == Some(&Value::Bool(true)) {
                self.ready += usize::from(meta::at(status, &["ready"]) == Some(&Value::Bool(true)));
                continue;
            }
            let waiting = meta::text(status, &["state", "waiting", "reason"]);
            self.status = match terminated {
                Some(terminated) => format!("Init:{}", ended(terminated)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
                None => format!("Init:{i}/{}", specs.len()),
            };
            init = Init::Busy;
            break;
        }
        if matches!(init, Init::Done) || is_condition_true(pod, "Initialized") {
            // From here on the restarts of finished init containers no longer count.
            self.restarts = sidecar_restarts;
            self.restarted_at = sidecar_restarted_at;
        }
        init
    }

    fn add_containers(&mut self, pod: &Value) {
        let mut has_running = false;
        // Backwards, so that the first container's word wins.
        for status in meta::items(pod, &["status", "containerStatuses"]).iter().rev() {
            self.restarts += meta::number(status, &["restartCount"]).unwrap_or(0);
            self.restarted_at = self.restarted_at.max(last_end(status));
            let waiting = meta::text(status, &["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                self.status = waiting.to_owned();
            } else if let Some(terminated) = meta::at(status, &["state", "terminated"]) {
                self.status = ended(terminated);
            } else if meta::at(status, &["ready"]) == Some(&Value::Bool(true))
                && meta::at(status, &["state", "running"]).is_some()
            {
                has_running = true;
                self.ready += 1;
            }
        }
        if self.status == "Completed" && has_running {
            let ready = is_condition_true(pod, "Ready");
            self.status = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn add_deletion(&mut self, pod: &Value, phase: &str) {
        if meta::at(pod, &["metadata", "deletionTimestamp"]).is_none() {
            return;
        }
        if meta::text(pod, &["status", "reason"]) == "NodeLost" {
            self.status = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            self.status = "Terminating".to_owned();
        }
    }
}

/// The word for a container that has ended.
fn ended(terminated: &Value) -> String {
    let reason = meta::text(terminated, &["reason"]);
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match meta::number(terminated, &["signal"]).unwrap_or(0) {
        0 => format!("ExitCode:{}", meta::number(terminated, &["exitCode"]).unwrap_or(0)),
        signal => format!("Signal:{signal}"),
    }
}

fn last_end(status: &Value) -> Option<Timestamp> {
    Timestamp::parse(meta::text(status, &["lastState", "terminated", "finishedAt"])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(pod: Value) -> (String, String, String) {
        let now = Timestamp::parse("2026-01-01T01:00:00Z").expect("a time");
        let row = row(&pod, now);
        let text = |i: usize| row[i].as_str().expect("a text").to_owned();
        assert_eq!(row.len(), COLUMNS.len());
        (text(1), text(2), text(3))
    }

    fn spec(containers: usize) -> Value {
        let containers: Vec<Value> = (0..containers).map(|i| json!({"name": format!("c{i}")})).collect();
        json!({ "containers": containers })
    }

    #[test]
    fn a_pod_s_state_in_one_word() {
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let one = |state: Value, ready: bool| json!([{"name": "c0", "state": state, "ready": ready, "restartCount": 0}]);
        let cases = [
            (json!({"phase": "Pending"}), "0/1", "Pending", "0"),
            (
                json!({"phase": "Running", "containerStatuses": one(running.clone(), true)}),
                "1/1",
                "Running",
                "0",
            ),
            (
                json!({"phase": "Running", "containerStatuses": one(running.clone(), false)}),
                "0/1",
                "Running",
                "0",
            ),
            (
                json!({"phase": "Pending", "containerStatuses": one(json!({"waiting": {"reason": "ContainerCreating"}}), false)}),
                "0/1",
                "ContainerCreating",
                "0",
            ),
            (
                json!({"phase": "Succeeded", "containerStatuses": one(json!({"terminated": {"reason": "Completed"}}), false)}),
                "0/1",
                "Completed",
                "0",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": one(json!({"terminated": {"exitCode": 3}}), false)}),
                "0/1",
                "ExitCode:3",
                "0",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": one(json!({"terminated": {"exitCode": 137, "signal": 9}}), false)}),
                "0/1",
                "Signal:9",
                "0",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [{"name": "c0", "ready": false, "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:58:00Z"}}}]}),
                "0/1",
                "CrashLoopBackOff",
                "3 (2m ago)",
            ),
            (json!({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted", "0"),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
                "0/1",
                "SchedulingGated",
                "0",
            ),
        ];
        for (status, ready, word, restarts) in cases {
            let got = shown(json!({"spec": spec(1), "status": status}));
            assert_eq!(got, (ready.to_owned(), word.to_owned(), restarts.to_owned()));
        }
    }

    #[test]
    fn init_containers_and_sidecars_count() {
        let spec = json!({
            "containers": [{"name": "c0"}],
            "initContainers": [{"name": "i0"}, {"name": "side", "restartPolicy": "Always"}, {"name": "i1"}],
        });
        let done = json!({"name": "i0", "state": {"terminated": {"exitCode": 0}}, "restartCount": 2});
        let side = json!({"name": "side", "started": true, "ready": true, "state": {"running": {}}, "restartCount": 1});
        let busy = json!({"name": "i1", "state": {"running": {}}});
        let cases = [
            (
                json!([{"name": "i0", "state": {"waiting": {"reason": "PodInitializing"}}}]),
                "0/2",
                "Init:0/3",
                "0",
            ),
            (
                json!([{"name": "i0", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]),
                "0/2",
                "Init:Error",
                "0",
            ),
            (
                json!([{"name": "i0", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
                "0/2",
                "Init:CrashLoopBackOff",
                "0",
            ),
            (json!([done, side, busy]), "1/2", "Init:2/3", "3"),
            (json!([done, side]), "1/2", "Pending", "1"),
        ];
        for (statuses, ready, word, restarts) in cases {
            let got = shown(
                json!({"spec": spec, "status": {"phase": "Pending", "initContainerStatuses": statuses}}),
            );
            assert_eq!(got, (ready.to_owned(), word.to_owned(), restarts.to_owned()));
        }
    }

    #[test]
    fn a_deleted_pod_is_terminating_unless_it_has_ended() {
        for (phase, word) in [("Running", "Terminating"), ("Succeeded", "Succeeded")] {
            let pod = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec(1), "status": {"phase": phase}});
            assert_eq!(shown(pod).1, word);
        }
    }

    #[test]
    fn wide_cells_say_none_when_there_is_none() {
        let now = Timestamp::parse("2026-01-01T01:00:00Z").expect("a time");
        let pod = json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:54:57Z"},
            "spec": {"nodeName": "edge", "readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}]},
            "status": {"podIPs": [{"ip": "10.42.0.2"}], "conditions": [{"type": "x", "status": "True"}]},
        });
        assert_eq!(row(&pod, now)[4..], ["5m3s", "10.42.0.2", "edge", "<none>", "1/2"]);
        assert_eq!(row(&json!({}), now)[4..], ["<unknown>", "<none>", "<none>", "<none>", "<none>"]);
    }
}
