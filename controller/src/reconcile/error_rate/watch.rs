//! When the rollout of a Deployment is looked at.

use std::time::Duration;

use edge_api::meta::{self, number, text};
use edge_api::rollout::{ErrorRate, Guard, REQUEST_FAILURE};
use edge_api::time::Timestamp;
use serde_json::Value;

/// The bounds of the time between two looks.
const OFTEN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(15);

/// What a Deployment allows its new Pods; none if it does not ask, or waits.
pub(super) fn asked(deployment: &Value) -> Option<ErrorRate> {
    let waits = meta::at(deployment, &["spec", "paused"]).is_some_and(|paused| *paused == true);
    let goes = meta::deletion_timestamp(deployment).is_some();
    Guard::of(&meta::annotations(deployment)).error_rate.filter(|_| !waits && !goes)
}

/// When to look at a Deployment next; never while it is not rolled out. `looked` is the last time.
pub(super) fn next(deployment: &Value, looked: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let window = asked(deployment)?.window;
    let progress = meta::condition(deployment, "Progressing")?;
    let failing = meta::condition(deployment, REQUEST_FAILURE).is_some();
    let reason = text(progress, &["reason"]);
    if failing || reason == "ProgressDeadlineExceeded" {
        return None;
    }
    let period = (window / 6).clamp(OFTEN, SELDOM);
    let next = looked.map_or(now, |looked| looked.plus(period));
    let count = |field: &str| number(deployment, &["status", field]);
    if reason != "NewReplicaSetAvailable" || count("updatedReplicas") != count("replicas") {
        return Some(next);
    }
    let complete = Timestamp::parse(text(progress, &["lastUpdateTime"])).ok()?;
    let end = complete.plus(window);
    (looked.unwrap_or(now) < end).then(|| next.min(end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(second)
    }

    #[test]
    fn a_rollout_is_looked_at_until_its_window_is_over() {
        // asked, reason, since, all Pods are new, last look, next look; now is 100.
        let cases = [
            ("nobody asked", "", "ReplicaSetUpdated", 90, false, None, None),
            ("other wishes", "progress-deadline", "ReplicaSetUpdated", 90, false, None, None),
            ("a rollout is looked at at once", "error-rate", "ReplicaSetUpdated", 90, false, None, Some(100)),
            ("and again", "error-rate", "ReplicaSetUpdated", 90, false, Some(100), Some(110)),
            ("when it is complete", "error-rate", "NewReplicaSetAvailable", 90, true, Some(100), Some(110)),
            ("a last time", "error-rate", "NewReplicaSetAvailable", 45, true, Some(100), Some(105)),
            ("and no more", "error-rate", "NewReplicaSetAvailable", 40, true, Some(100), None),
            ("long ago", "error-rate", "NewReplicaSetAvailable", 10, true, None, None),
            ("but for the next one", "error-rate", "NewReplicaSetAvailable", 10, false, None, Some(100)),
            ("one that failed is told", "error-rate", "ProgressDeadlineExceeded", 90, false, None, None),
        ];
        for (name, wish, reason, since, all_new, looked, expected) in cases {
            let deployment = json!({
                "metadata": {"annotations": {"edgectl.dev/rollback-on": wish}},
                "status": {"replicas": 3, "updatedReplicas": if all_new { 3 } else { 1 },
                    "conditions": [{"type": "Progressing", "reason": reason, "lastUpdateTime": at(since)}]},
            });
            assert_eq!(next(&deployment, looked.map(at), at(100)), expected.map(at), "{name}");
            let mut paused = deployment.clone();
            paused["spec"]["paused"] = json!(true);
            assert_eq!(next(&paused, looked.map(at), at(100)), None, "{name}, paused");
            let mut failing = deployment;
            let condition = json!({"type": REQUEST_FAILURE, "status": "True"});
            failing["status"]["conditions"]
                .as_array_mut()
                .into_iter()
                .for_each(|all| all.push(condition.clone()));
            assert_eq!(next(&failing, looked.map(at), at(100)), None, "{name}, decided");
        }
    }
}
