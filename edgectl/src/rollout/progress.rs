//! What a rollout has come to, by the status of what rolls out, in kubectl's words.

use serde_json::Value;

/// What a rollout has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on; what is waited for.
    Going(String),
    /// It is done.
    Done(String),
    /// It goes no further.
    Failed(String),
}

/// Of a Deployment, a DaemonSet or a StatefulSet.
pub fn progress(kind: &str, object: &Value) -> Progress {
    match kind {
        "DaemonSet" => daemon_set(object),
        "StatefulSet" => stateful_set(object),
        _ => deployment(object),
    }
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn is_unseen(object: &Value) -> bool {
    count(&object["metadata"]["generation"]) > count(&object["status"]["observedGeneration"])
}

/// With `OnDelete` whoever deletes Pods decides.
fn rolls(object: &Value) -> Result<(), Progress> {
    match object["spec"]["updateStrategy"]["type"].as_str() {
        None | Some("RollingUpdate") => Ok(()),
        _ => Err(Progress::Failed("rollout status is only available for RollingUpdate strategy type".into())),
    }
}

fn deployment(object: &Value) -> Progress {
    let (name, spec, status) = (name(object), &object["spec"], &object["status"]);
    if is_unseen(object) {
        return Progress::Going("Waiting for deployment spec update to be observed...".to_owned());
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if conditions.iter().any(|condition| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    }) {
        return Progress::Failed(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let (wanted, updated) = (spec["replicas"].as_i64().unwrap_or(1), count(&status["updatedReplicas"]));
    let (all, available) = (count(&status["replicas"]), count(&status["availableReplicas"]));
    let waiting = |what: String| {
        Progress::Going(format!("Waiting for deployment \"{name}\" rollout to finish: {what}..."))
    };
    if updated < wanted {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if all > updated {
        waiting(format!("{} old replicas are pending termination", all - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        Progress::Done(format!("deployment \"{name}\" successfully rolled out"))
    }
}

fn daemon_set(object: &Value) -> Progress {
    let (name, status) = (name(object), &object["status"]);
    if let Err(failed) = rolls(object) {
        return failed;
    }
    if is_unseen(object) {
        return Progress::Going("Waiting for daemon set spec update to be observed...".to_owned());
    }
    let (wanted, updated) =
        (count(&status["desiredNumberScheduled"]), count(&status["updatedNumberScheduled"]));
    let available = count(&status["numberAvailable"]);
    let waiting = |what: String| {
        Progress::Going(format!("Waiting for daemon set \"{name}\" rollout to finish: {what}..."))
    };
    if updated < wanted {
        waiting(format!("{updated} out of {wanted} new pods have been updated"))
    } else if available < wanted {
        waiting(format!("{available} of {wanted} updated pods are available"))
    } else {
        Progress::Done(format!("daemon set \"{name}\" successfully rolled out"))
    }
}

fn stateful_set(object: &Value) -> Progress {
    let (spec, status) = (&object["spec"], &object["status"]);
    if let Err(failed) = rolls(object) {
        return failed;
    }
    if count(&status["observedGeneration"]) == 0 || is_unseen(object) {
        return Progress::Going("Waiting for statefulset spec update to be observed...".to_owned());
    }
    let (wanted, ready) = (spec["replicas"].as_i64().unwrap_or(1), count(&status["readyReplicas"]));
    if ready < wanted {
        return Progress::Going(format!("Waiting for {} pods to be ready...", wanted - ready));
    }
    let updated = count(&status["updatedReplicas"]);
    // What kubectl says of every StatefulSet of a server that fills the partition in, be it zero.
    if let Some(partition) = spec["updateStrategy"]["rollingUpdate"]["partition"].as_i64() {
        let meant = wanted - partition;
        return if updated < meant {
            Progress::Going(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {meant} new pods have been updated..."
            ))
        } else {
            Progress::Done(format!("partitioned roll out complete: {updated} new pods have been updated..."))
        };
    }
    let revision = |field: &str| status[field].as_str().unwrap_or_default();
    let (current, update) = (revision("currentRevision"), revision("updateRevision"));
    if current != update {
        return Progress::Going(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {update}..."
        ));
    }
    let at = count(&status["currentReplicas"]);
    Progress::Done(format!("statefulset rolling update complete {at} pods at revision {current}..."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(kind: &str, spec: &Value, table: &[(Value, Result<&str, &str>)]) {
        for (status, words) in table {
            let object =
                json!({"metadata": {"name": "web", "generation": 2}, "spec": spec, "status": status});
            let wanted = match words {
                Ok(words) => Progress::Done((*words).to_owned()),
                Err(words) => Progress::Going((*words).to_owned()),
            };
            assert_eq!(progress(kind, &object), wanted);
        }
    }

    #[test]
    fn a_deployment_is_followed() {
        let table = [
            (json!({"observedGeneration": 1}), Err("Waiting for deployment spec update to be observed...")),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 1, "replicas": 3}),
                Err(
                    "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...",
                ),
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4}),
                Err(
                    "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...",
                ),
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
                Err(
                    "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...",
                ),
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
                Ok("deployment \"web\" successfully rolled out"),
            ),
        ];
        check("Deployment", &json!({"replicas": 3}), &table);
        let late = json!({"metadata": {"name": "web"},
            "status": {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}});
        let words = "deployment \"web\" exceeded its progress deadline";
        assert_eq!(progress("Deployment", &late), Progress::Failed(words.to_owned()));
    }

    #[test]
    fn a_daemon_set_is_followed() {
        let table = [
            (json!({"observedGeneration": 1}), Err("Waiting for daemon set spec update to be observed...")),
            (
                json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1}),
                Err(
                    "Waiting for daemon set \"web\" rollout to finish: 1 out of 3 new pods have been updated...",
                ),
            ),
            (
                json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}),
                Err("Waiting for daemon set \"web\" rollout to finish: 2 of 3 updated pods are available..."),
            ),
            (
                json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}),
                Ok("daemon set \"web\" successfully rolled out"),
            ),
        ];
        check("DaemonSet", &json!({"updateStrategy": {"type": "RollingUpdate"}}), &table);
    }

    #[test]
    fn a_stateful_set_is_followed() {
        let ready = |updated: u32| {
            json!({"observedGeneration": 2, "readyReplicas": 3, "currentReplicas": 3, "updatedReplicas": updated,
                "currentRevision": "web-1", "updateRevision": if updated == 3 { "web-1" } else { "web-2" }})
        };
        let table = [
            (json!({"observedGeneration": 1}), Err("Waiting for statefulset spec update to be observed...")),
            (json!({"observedGeneration": 2, "readyReplicas": 1}), Err("Waiting for 2 pods to be ready...")),
            (ready(1), Err("waiting for statefulset rolling update to complete 1 pods at revision web-2...")),
            (ready(3), Ok("statefulset rolling update complete 3 pods at revision web-1...")),
        ];
        check("StatefulSet", &json!({"replicas": 3}), &table);
        let part = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}});
        let table = [
            (
                ready(1),
                Err("Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated..."),
            ),
            (ready(2), Ok("partitioned roll out complete: 2 new pods have been updated...")),
        ];
        check("StatefulSet", &part, &table);
    }

    #[test]
    fn what_others_roll_out_is_not_followed() {
        for kind in ["DaemonSet", "StatefulSet"] {
            let object = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
            let words = "rollout status is only available for RollingUpdate strategy type";
            assert_eq!(progress(kind, &object), Progress::Failed(words.to_owned()));
        }
    }
}
