//! The behaviours that Kubernetes' documentation of the algorithm describes, one by one.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use edge_api::kinds::horizontal_pod_autoscaler::KIND;
use edge_api::meta::{items, text};
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::reconcile::autoscaler::pace::Memory;
use crate::reconcile::autoscaler::plan::{Decision, decide};
use crate::reconcile::autoscaler::sight::{Pod, Sample, Scale, Sight};

/// An hour after all Pods started.
const NOW: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// A Pod that asks for 100m, started and became ready long ago, and uses so many thousandths.
fn pod(name: &str, used: Option<i64>) -> (Pod, Option<(String, Sample)>) {
    let pod = Pod::of(&json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}]},
        "status": {"phase": "Running", "startTime": at(0),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(5)}]},
    }));
    let sample = used.map(|milli| {
        let metrics = json!({"timestamp": at(NOW - 1), "window": "15s",
            "containers": [{"name": "c", "usage": {"cpu": format!("{milli}m"), "memory": "50Mi"}}]});
        (name.to_owned(), Sample::of(&metrics))
    });
    (pod, sample)
}

/// A target with Pods that use so much each.
fn sight(used: &[Option<i64>]) -> Sight {
    let pods = used.iter().enumerate().map(|(i, used)| pod(&format!("p{i}"), *used));
    let (pods, samples): (Vec<Pod>, Vec<_>) = pods.unzip();
    let replicas = i64::try_from(used.len()).unwrap();
    let scale = Ok(Scale { replicas, selector: "app=web".to_owned() });
    Sight { scale, pods, samples: samples.into_iter().flatten().collect(), rivals: Vec::new() }
}

fn utilization(percent: i64) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn scaler(spec: Value) -> Value {
    let mut scaler = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u"},
        "spec": {"minReplicas": 1, "maxReplicas": 100, "metrics": [utilization(50)],
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    for (field, value) in spec.as_object().unwrap() {
        scaler["spec"][field] = value.clone();
    }
    KIND.default(&mut scaler);
    scaler
}

/// What is decided at once, as if nothing was known from before.
fn once(spec: Value, sight: &Sight) -> Decision {
    decide(&scaler(spec), sight, &mut Memory::default(), at(NOW))
}

/// The replicas there are to be, without rules that slow it down.
fn replicas(spec: Value, sight: &Sight) -> i64 {
    let free = json!({"scaleUp": {"policies": [{"type": "Percent", "value": 1000, "periodSeconds": 15}]},
        "scaleDown": {"stabilizationWindowSeconds": 0}});
    let mut spec = spec;
    if spec.get("behavior").is_none() {
        spec["behavior"] = free;
    }
    let now = sight.scale.as_ref().unwrap().replicas;
    once(spec, sight).rescale.map_or(now, |rescale| rescale.to)
}

fn word(decision: &Decision, kind: &str, field: &str) -> String {
    let mut conditions = items(&decision.status, &["conditions"]).iter();
    conditions
        .find(|condition| text(condition, &["type"]) == kind)
        .map_or(String::new(), |condition| text(condition, &[field]).to_owned())
}

fn reason(decision: &Decision, kind: &str) -> String {
    format!("{} {}", word(decision, kind, "status"), word(decision, kind, "reason"))
}

fn message(decision: &Decision, kind: &str) -> String {
    word(decision, kind, "message")
}

#[test]
fn replicas_follow_the_ratio_of_the_current_to_the_desired_value() {
    let average = |value: &str| {
        json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "AverageValue", "averageValue": value}}}]})
    };
    let container = |name: &str| {
        json!({"metrics": [{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": name,
            "target": {"type": "Utilization", "averageUtilization": 50}}}]})
    };
    for (what, spec, used, expected) in [
        ("200m of 100m doubles", average("100m"), [Some(200); 2], 4),
        ("50m of 100m halves", average("100m"), [Some(50); 2], 1),
        ("the answer is rounded up", average("100m"), [Some(130); 2], 3),
        ("utilisation is of what was asked for", json!({}), [Some(100); 2], 4),
        ("a container is measured alone", container("c"), [Some(100); 2], 4),
        ("a container that is not there is not measured", container("d"), [Some(100); 2], 2),
    ] {
        assert_eq!(replicas(spec, &sight(&used)), expected, "{what}");
    }
}

#[test]
fn nothing_is_done_within_the_tolerance() {
    let tolerant = |tolerance: &str| json!({"behavior": {"scaleUp": {"tolerance": tolerance}, "scaleDown": {"stabilizationWindowSeconds": 0}}});
    assert_eq!(replicas(json!({}), &sight(&[Some(55); 4])), 4, "a tenth more");
    assert_eq!(replicas(json!({}), &sight(&[Some(45); 4])), 4, "a tenth less");
    assert_eq!(replicas(json!({}), &sight(&[Some(56); 4])), 5, "beyond it");
    assert_eq!(replicas(tolerant("0.05"), &sight(&[Some(54); 4])), 5, "a tolerance of its own");
    assert_eq!(replicas(tolerant("0.05"), &sight(&[Some(46); 4])), 4, "which is upwards alone");
}

#[test]
fn pods_that_go_or_have_failed_do_not_count() {
    let mut seen = sight(&[Some(100), Some(100), Some(1), Some(1)]);
    seen.pods[2].going = true;
    seen.pods[3].phase = "Failed".to_owned();
    seen.scale.as_mut().unwrap().replicas = 2;
    assert_eq!(replicas(json!({}), &seen), 4);
}

#[test]
fn missing_metrics_make_it_careful() {
    for (what, used, expected) in [
        ("downwards they count as fully used", vec![Some(10), Some(10), None, None], 4),
        ("upwards as not used", vec![Some(100), Some(100), Some(100), None], 6),
        ("which may leave it within the tolerance", vec![Some(100), Some(100), None, None], 4),
        ("or turn it round, and then nothing is done", vec![Some(60), None, None, None], 4),
    ] {
        assert_eq!(replicas(json!({}), &sight(&used)), expected, "{what}");
    }
}

#[test]
fn a_pod_that_is_not_yet_ready_counts_as_unused_when_there_is_to_be_more() {
    let starting = |change: fn(&mut Pod)| {
        let mut seen = sight(&[Some(100), Some(100), Some(100), Some(500)]);
        change(&mut seen.pods[3]);
        replicas(json!({}), &seen)
    };
    assert_eq!(starting(|pod| pod.phase = "Pending".to_owned()), 6);
    assert_eq!(starting(|pod| pod.ready = None), 6);
    assert_eq!(starting(|pod| pod.ready = Some((false, at(10)))), 6, "never ready since its start");
    assert_eq!(starting(|pod| pod.ready = Some((false, at(1800)))), 16, "was ready before");
    let fresh = |ready_since| {
        let mut seen = sight(&[Some(100), Some(100), Some(100), Some(500)]);
        seen.pods[3].started = Some(at(NOW - 60));
        seen.pods[3].ready = Some((true, at(ready_since)));
        replicas(json!({}), &seen)
    };
    assert_eq!(fresh(NOW - 10), 6, "no whole window since it became ready");
    assert_eq!(fresh(NOW - 50), 16, "a whole window since");
    let mut down = sight(&[Some(10), Some(10), Some(10), Some(500)]);
    down.pods[3].phase = "Pending".to_owned();
    assert_eq!(replicas(json!({}), &down), 1, "downwards they are left out");
    let mut memory = sight(&[Some(100); 2]);
    memory.pods[1].ready = None;
    let spec = json!({"metrics": [{"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "25Mi"}}}]});
    assert_eq!(replicas(spec, &memory), 4, "memory counts from the beginning");
}

#[test]
fn the_metric_that_asks_for_most_decides() {
    let external = json!({"type": "External", "external": {"metric": {"name": "queue"},
        "target": {"type": "AverageValue", "averageValue": "30"}}});
    let both = json!({"metrics": [utilization(50), utilization(20)]});
    let decision = once(both, &sight(&[Some(80); 2]));
    let rescale = decision.rescale.clone().unwrap();
    assert_eq!(
        (rescale.to, rescale.reason.as_str()),
        (4, "cpu resource utilization (percentage of request) above target")
    );
    assert_eq!(reason(&decision, "ScalingLimited"), "True ScaleUpLimit");
    let with_unknown = json!({"metrics": [external, utilization(50)]});
    let up = once(with_unknown.clone(), &sight(&[Some(100); 2]));
    assert_eq!(up.rescale.clone().unwrap().to, 4, "one that says nothing does not hinder more");
    assert_eq!(reason(&up, "ScalingActive"), "True ValidMetricFound");
    let down = once(with_unknown, &sight(&[Some(10); 2]));
    assert_eq!(down.rescale, None, "but it hinders fewer");
    assert_eq!(reason(&down, "ScalingActive"), "False FailedGetExternalMetric");
    let said: Vec<&str> = down.said.iter().map(|(_, reason, _)| *reason).collect();
    assert_eq!(said, ["FailedGetExternalMetric", "FailedComputeMetricsReplicas"]);
    assert_eq!(down.status["currentMetrics"][0], json!({"type": ""}));
    assert_eq!(
        down.status["currentMetrics"][1]["resource"]["current"],
        json!({"averageUtilization": 10, "averageValue": "10m"})
    );
}

#[test]
fn metrics_without_a_source_say_so() {
    let target = json!({"type": "AverageValue", "averageValue": "1", "value": "1"});
    for (kind, field, expected) in [
        ("Pods", "pods", "FailedGetPodsMetric"),
        ("Object", "object", "FailedGetObjectMetric"),
        ("External", "external", "FailedGetExternalMetric"),
    ] {
        let metric = json!({"type": kind, field: {"metric": {"name": "m"}, "target": target}});
        let decision = once(json!({"metrics": [metric]}), &sight(&[Some(10)]));
        assert_eq!(reason(&decision, "ScalingActive"), format!("False {expected}"));
        assert_eq!(reason(&decision, "AbleToScale"), "True SucceededGetScale");
    }
    let silent = once(json!({}), &sight(&[None]));
    assert_eq!(
        message(&silent, "ScalingActive"),
        "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for \
         resource cpu: no metrics returned from resource metrics API"
    );
    assert_eq!(
        silent.said[1].2,
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get \
         cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API"
    );
    let mut asks_for_nothing = sight(&[Some(10)]);
    asks_for_nothing.pods[0].containers[0].1.clear();
    assert!(
        message(&once(json!({}), &asks_for_nothing), "ScalingActive")
            .ends_with("failed to get cpu utilization: missing request for cpu in container c of Pod p0")
    );
}

#[test]
fn the_bounds_hold_before_anything_is_measured() {
    let cases = [
        (json!({"maxReplicas": 2}), 3, Some((2, "Current number of replicas above Spec.MaxReplicas"))),
        (json!({"minReplicas": 4}), 3, Some((4, "Current number of replicas below Spec.MinReplicas"))),
        (json!({}), 0, None),
    ];
    for (spec, now, expected) in cases {
        let mut seen = sight(&[]);
        seen.scale.as_mut().unwrap().replicas = now;
        let decision = once(spec, &seen);
        let rescale = decision.rescale.as_ref().map(|rescale| (rescale.to, rescale.reason.as_str()));
        assert_eq!(rescale, expected);
        if now == 0 {
            assert_eq!(reason(&decision, "ScalingActive"), "False ScalingDisabled");
        }
    }
    let most = once(json!({"maxReplicas": 3}), &sight(&[Some(100); 2]));
    assert_eq!(
        (most.rescale.clone().unwrap().to, reason(&most, "ScalingLimited")),
        (3, "True TooManyReplicas".to_owned())
    );
    let least = once(
        json!({"minReplicas": 2, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}),
        &sight(&[Some(1); 3]),
    );
    assert_eq!(
        (least.rescale.clone().unwrap().to, reason(&least, "ScalingLimited")),
        (2, "True TooFewReplicas".to_owned())
    );
}

/// Looks again and again, so many seconds apart, at a target that follows.
fn story(spec: &Value, replicas: i64, seconds: i64, load: &[i64]) -> Vec<i64> {
    let scaler = scaler(spec.clone());
    let (mut memory, mut now, mut replicas) = (Memory::default(), at(NOW), replicas);
    let mut counts = Vec::new();
    for total in load {
        let used = vec![Some(total / replicas); usize::try_from(replicas).unwrap()];
        let decision = decide(&scaler, &sight(&used), &mut memory, now);
        if let Some(rescale) = decision.rescale {
            let behavior = serde_json::from_value(scaler["spec"]["behavior"].clone()).ok();
            memory.scaled(rescale.from, rescale.to, behavior.as_ref(), now);
            replicas = rescale.to;
        }
        counts.push(replicas);
        now = now.plus(Duration::from_secs(seconds.unsigned_abs()));
    }
    counts
}

#[test]
fn replicas_go_only_when_no_higher_recommendation_is_recent() {
    assert_eq!(story(&json!({}), 4, 100, &[50, 50, 50, 50]), [4, 4, 4, 1], "five minutes by default");
    let minute = json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}});
    assert_eq!(story(&minute, 4, 30, &[50, 50, 50, 50]), [4, 4, 1, 1]);
    let decision = once(json!({}), &sight(&[Some(1); 4]));
    assert_eq!(reason(&decision, "AbleToScale"), "True ScaleDownStabilized");
    let up = json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 60}}});
    assert_eq!(story(&up, 1, 30, &[200, 200, 200]), [1, 1, 4], "and come so if that is asked for");
    assert_eq!(reason(&once(up, &sight(&[Some(200)])), "AbleToScale"), "True ScaleUpStabilized");
}

#[test]
fn without_rules_replicas_at_most_double_or_come_to_four() {
    assert_eq!(story(&json!({}), 1, 15, &[5000, 5000, 5000]), [4, 8, 16]);
}

#[test]
fn policies_bound_what_changes_in_a_period() {
    let rules = |direction: &str, select: &str, policies: Value| json!({"behavior": {direction: {"selectPolicy": select, "policies": policies, "stabilizationWindowSeconds": 0}}});
    let both = json!([{"type": "Pods", "value": 4, "periodSeconds": 60}, {"type": "Percent", "value": 10, "periodSeconds": 60}]);
    let slow = json!([{"type": "Pods", "value": 1, "periodSeconds": 60}]);
    for (what, spec, replicas, seconds, load, expected) in [
        (
            "the documentation's example: ten percent, then four Pods",
            rules("scaleDown", "Max", both.clone()),
            80,
            60,
            vec![10; 4],
            vec![72, 64, 57, 51],
        ),
        ("the least change", rules("scaleDown", "Min", both.clone()), 80, 60, vec![10; 2], vec![76, 72]),
        (
            "the period is not over",
            rules("scaleDown", "Max", slow.clone()),
            10,
            30,
            vec![10; 4],
            vec![9, 9, 8, 8],
        ),
        ("upwards", rules("scaleUp", "Max", slow), 1, 30, vec![5000; 4], vec![2, 2, 3, 3]),
        (
            "upwards in percent, rounded up",
            rules("scaleUp", "Min", both.clone()),
            1,
            60,
            vec![5000; 3],
            vec![2, 3, 4],
        ),
        ("not at all", rules("scaleDown", "Disabled", both), 8, 60, vec![10; 2], vec![8, 8]),
    ] {
        assert_eq!(story(&spec, replicas, seconds, &load), expected, "{what}");
    }
}

#[test]
fn what_became_of_a_change_is_told() {
    let decided = once(json!({}), &sight(&[Some(100); 2]));
    let mut done = decided.clone();
    done.settle(&Ok(()), at(NOW));
    assert_eq!(reason(&done, "AbleToScale"), "True SucceededRescale");
    assert_eq!(done.status["lastScaleTime"], json!(at(NOW)));
    assert_eq!((&done.status["currentReplicas"], &done.status["desiredReplicas"]), (&json!(2), &json!(4)));
    assert_eq!(
        done.said[0].2,
        "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    );
    let mut failed = decided;
    failed.settle(&Err("no".to_owned()), at(NOW));
    assert_eq!(reason(&failed, "AbleToScale"), "False FailedUpdateScale");
    assert_eq!((failed.said[0].1, failed.status["desiredReplicas"].as_i64()), ("FailedRescale", Some(2)));
}

#[test]
fn a_target_that_cannot_be_seen_or_told_apart_is_left_alone() {
    let mut seen = sight(&[Some(100)]);
    seen.rivals = vec!["other".to_owned(), "web".to_owned()];
    assert_eq!(reason(&once(json!({}), &seen), "ScalingActive"), "False AmbiguousSelector");
    seen.scale = Ok(Scale { replicas: 1, selector: String::new() });
    assert_eq!(reason(&once(json!({}), &seen), "ScalingActive"), "False InvalidSelector");
    seen.scale = Err("deployments.apps \"web\" not found".to_owned());
    let gone = once(json!({}), &seen);
    assert_eq!(reason(&gone, "AbleToScale"), "False FailedGetScale");
    assert_eq!(
        message(&gone, "AbleToScale"),
        "the HPA controller was unable to get the target's current scale: deployments.apps \"web\" not found"
    );
    assert_eq!(gone.said[0].1, "FailedGetScale");
}
