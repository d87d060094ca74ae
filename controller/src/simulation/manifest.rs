//! What users write: a workload of each kind, as chance has it, within what Kubernetes allows.

use edge_api::kind::Kind;
use edge_api::kinds;
use fastrand::Rng;
use serde_json::{Value, json};

/// Where everything lives.
pub const NAMESPACE: &str = "default";

/// The kinds of workloads, as often as they are to come.
const KINDS: &[&Kind] = &[
    &kinds::deployment::KIND,
    &kinds::deployment::KIND,
    &kinds::deployment::KIND,
    &kinds::replica_set::KIND,
    &kinds::stateful_set::KIND,
    &kinds::stateful_set::KIND,
    &kinds::daemon_set::KIND,
    &kinds::job::KIND,
    &kinds::job::KIND,
    &kinds::cron_job::KIND,
];

/// A kind of workload.
pub fn kind(rng: &mut Rng) -> &'static Kind {
    KINDS[rng.usize(..KINDS.len())]
}

/// An image, one of a few, so that people now and then go back.
pub fn image(rng: &mut Rng) -> String {
    format!("v{}", rng.u8(..4))
}

/// A workload of this kind; `size` is about how many Pods it may have.
pub fn workload(kind: &Kind, name: &str, size: i64, rng: &mut Rng) -> Value {
    let mut object = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name, "namespace": NAMESPACE},
    });
    object["spec"] = match kind.kind {
        "Deployment" => deployment(name, size, rng),
        "ReplicaSet" => sized(name, size, rng),
        "StatefulSet" => stateful_set(name, size, rng),
        "DaemonSet" => daemon_set(name, rng),
        "Job" => job(size, rng),
        _ => cron_job(rng),
    };
    object
}

/// A budget for the Pods of a workload.
pub fn budget(name: &str, rng: &mut Rng) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}});
    match rng.u8(..3) {
        0 => spec["minAvailable"] = json!(rng.i64(0..3)),
        1 => spec["maxUnavailable"] = json!(rng.i64(0..3)),
        _ => spec["maxUnavailable"] = json!("40%"),
    }
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

fn template(name: &str, restart: &str, rng: &mut Rng) -> Value {
    let mut spec = json!({
        "restartPolicy": restart, "terminationGracePeriodSeconds": rng.i64(1..30),
        "containers": [{"name": "c", "image": image(rng), "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}}}],
    });
    if rng.bool() {
        // Patience with a node that is gone: less than the default, so that stories are short.
        let toleration = |key: &str, seconds: i64| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        let seconds = rng.i64(5..90);
        spec["tolerations"] = json!([
            toleration("node.kubernetes.io/not-ready", seconds),
            toleration("node.kubernetes.io/unreachable", seconds),
        ]);
    }
    let labels = if name.is_empty() { json!({}) } else { json!({"app": name}) };
    json!({"metadata": {"labels": labels}, "spec": spec})
}

fn sized(name: &str, size: i64, rng: &mut Rng) -> Value {
    let mut spec = json!({
        "replicas": rng.i64(1..=size), "selector": {"matchLabels": {"app": name}},
        "template": template(name, "Always", rng),
    });
    if rng.u8(..5) == 0 {
        spec["minReadySeconds"] = json!(rng.i64(1..15));
    }
    spec
}

fn deployment(name: &str, size: i64, rng: &mut Rng) -> Value {
    let mut spec = sized(name, size, rng);
    spec["strategy"] = strategy(rng);
    spec["revisionHistoryLimit"] = json!(rng.i64(0..4));
    spec
}

/// How a Deployment replaces its Pods.
pub fn strategy(rng: &mut Rng) -> Value {
    const AMOUNTS: &[&str] = &["0", "1", "2", "3", "10%", "25%", "50%", "100%"];
    let amount = |text: &str| text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
    if rng.u8(..4) == 0 {
        return json!({"type": "Recreate", "rollingUpdate": null});
    }
    let surge = AMOUNTS[rng.usize(..AMOUNTS.len())];
    let least = usize::from(surge == "0");
    let missing = AMOUNTS[rng.usize(least..AMOUNTS.len())];
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": amount(surge), "maxUnavailable": amount(missing)}})
}

fn stateful_set(name: &str, size: i64, rng: &mut Rng) -> Value {
    let mut spec = sized(name, size.min(6), rng);
    spec["serviceName"] = json!(name);
    spec["podManagementPolicy"] = json!(if rng.u8(..3) == 0 { "Parallel" } else { "OrderedReady" });
    spec["updateStrategy"] = rolling_numbers(rng);
    if rng.u8(..4) == 0 {
        spec["ordinals"] = json!({"start": rng.i64(1..4)});
    }
    spec
}

/// How a StatefulSet replaces its Pods.
pub fn rolling_numbers(rng: &mut Rng) -> Value {
    let mut rolling = json!({"partition": if rng.bool() { 0 } else { rng.i64(0..4) }});
    match rng.u8(..4) {
        0 => rolling["maxUnavailable"] = json!(rng.i64(1..4)),
        1 => rolling["maxUnavailable"] = json!("40%"),
        _ => rolling["maxUnavailable"] = json!(1),
    }
    json!({"type": "RollingUpdate", "rollingUpdate": rolling})
}

fn daemon_set(name: &str, rng: &mut Rng) -> Value {
    let mut spec = sized(name, 1, rng);
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("replicas");
    }
    spec["updateStrategy"] = daemon_strategy(rng);
    spec
}

/// How a DaemonSet replaces its Pods.
pub fn daemon_strategy(rng: &mut Rng) -> Value {
    let amounts = [json!(1), json!(2), json!("30%"), json!("100%")];
    let amount = rng.choice(&amounts).cloned().unwrap_or_default();
    let rolling = match rng.bool() {
        true => json!({"maxSurge": amount, "maxUnavailable": 0}),
        false => json!({"maxSurge": 0, "maxUnavailable": amount}),
    };
    json!({"type": "RollingUpdate", "rollingUpdate": rolling})
}

fn job(size: i64, rng: &mut Rng) -> Value {
    let completions = rng.i64(1..=size);
    let mut spec =
        json!({"completions": completions, "parallelism": rng.i64(1..=3), "backoffLimit": rng.i64(0..5)});
    let indexed = rng.bool();
    let never = rng.u8(..3) > 0;
    if indexed {
        spec["completionMode"] = json!("Indexed");
        if never && rng.u8(..3) == 0 {
            spec["backoffLimitPerIndex"] = json!(rng.i64(0..3));
            spec["maxFailedIndexes"] = json!(rng.i64(0..=completions));
        }
    }
    if never && rng.u8(..3) == 0 {
        spec["podFailurePolicy"] = json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}},
            {"action": "Count", "onExitCodes": {"operator": "In", "values": [3]}},
        ]});
    } else if rng.u8(..3) == 0 {
        spec["podReplacementPolicy"] = json!("Failed");
    }
    if rng.u8(..6) == 0 {
        spec["activeDeadlineSeconds"] = json!(rng.i64(20..300));
    }
    if rng.u8(..6) == 0 {
        spec["ttlSecondsAfterFinished"] = json!(rng.i64(0..60));
    }
    spec["template"] = template("", if never { "Never" } else { "OnFailure" }, rng);
    spec
}

fn cron_job(rng: &mut Rng) -> Value {
    let policies = ["Allow", "Forbid", "Replace"];
    json!({
        "schedule": "* * * * *", "concurrencyPolicy": policies[rng.usize(..3)],
        "successfulJobsHistoryLimit": rng.i64(0..3), "failedJobsHistoryLimit": rng.i64(0..3),
        "startingDeadlineSeconds": rng.i64(20..200),
        "jobTemplate": {"spec": {"backoffLimit": rng.i64(0..2), "template": template("", "Never", rng)}},
    })
}
