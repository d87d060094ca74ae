//! The behaviours that Kubernetes' documentation of the algorithm describes, one by one.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use edge_api::kinds::horizontal_pod_autoscaler::KIND;
use edge_api::meta::{items, text};
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::reconcile::autoscaler::pace::Memory;
use crate::reconcile::autoscaler::plan::{Decision, decide};
use crate::reconcile::autoscaler::sight::{Pod, Reading, Sample, Scale, Sight};

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
    let scale = Ok(Scale { replicas, present: replicas, selector: "app=web".to_owned() });
    let samples = samples.into_iter().flatten().collect();
    Sight { scale, pods, samples, readings: Vec::new(), wanted: false, rivals: Vec::new() }
}

/// A target of so many replicas of which one metric has been read.
fn reading(replicas: usize, reading: Reading) -> Sight {
    Sight { readings: vec![reading], ..sight(&vec![None; replicas]) }
}

/// The Service `web` is to have so many requests a second, in all or on each Pod.
fn requests(type_: &str, target: &str) -> Value {
    let field = if type_ == "Value" { "value" } else { "averageValue" };
    json!({"type": "Object", "object": {"describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"},
        "metric": {"name": "http_requests_per_second"}, "target": {"type": type_, field: target}}})
}

/// A target that the autoscaler has scaled to zero, and the value of its metric.
fn asleep(value: Result<i64, &str>) -> Sight {
    reading(0, Reading::Whole(value.map_err(str::to_owned)))
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
fn a_metric_of_the_pods_is_compared_with_what_each_should_have() {
    let metric = json!({"type": "Pods", "pods": {"metric": {"name": "http_requests_per_second"},
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    let spec = || json!({"metrics": [metric]});
    let values = |all: &[i64]| {
        let named = all.iter().enumerate().map(|(i, value)| (format!("p{i}"), *value));
        Reading::Pods(Ok(named.collect()))
    };
    for (what, pods, all, expected) in [
        ("as it should be", 2, vec![10_000, 10_500], 2),
        ("twice as much", 2, vec![20_000, 20_000], 4),
        ("half", 4, vec![5_000; 4], 2),
        ("nothing at all", 4, vec![0; 4], 1),
        ("upwards a Pod that says nothing counts as idle", 2, vec![40_000], 4),
        ("downwards as busy", 2, vec![1_000], 2),
    ] {
        assert_eq!(replicas(spec(), &reading(pods, values(&all))), expected, "{what}");
    }
    let mut starting = reading(2, values(&[40_000, 40_000]));
    starting.pods[1].phase = "Pending".to_owned();
    assert_eq!(replicas(spec(), &starting), 4, "a Pod that is pending counts as idle");
    starting.pods[1].phase = "Running".to_owned();
    starting.pods[1].ready = None;
    assert_eq!(replicas(spec(), &starting), 8, "readiness is of the processor's time alone");
    let decision = once(spec(), &reading(2, values(&[20_000, 21_000])));
    assert_eq!(decision.rescale.clone().unwrap().reason, "pods metric http_requests_per_second above target");
    assert_eq!(
        decision.status["currentMetrics"][0],
        json!({"type": "Pods", "pods": {"metric": {"name": "http_requests_per_second"}, "current": {"averageValue": "20500m"}}})
    );
    let nobody = once(spec(), &reading(2, values(&[])));
    assert_eq!(
        message(&nobody, "ScalingActive"),
        "the HPA was unable to compute the replica count: unable to get metric http_requests_per_second: no metrics \
         returned from custom metrics API"
    );
    assert_eq!(reason(&nobody, "ScalingActive"), "False FailedGetPodsMetric");
}

#[test]
fn a_metric_of_an_object_is_compared_as_a_whole_or_by_its_share() {
    let whole = |value| Reading::Whole(Ok(value));
    for (what, type_, pods, value, expected) in [
        ("within the tolerance", "Value", 2, 10_900, 2),
        ("twice as much", "Value", 2, 20_000, 4),
        ("half", "Value", 4, 5_000, 2),
        ("little is more than nothing", "Value", 4, 1, 1),
        ("each has what it should", "AverageValue", 2, 20_000, 2),
        ("each has more", "AverageValue", 2, 45_000, 5),
        ("each has less", "AverageValue", 4, 11_000, 2),
    ] {
        let spec = json!({"metrics": [requests(type_, "10")]});
        assert_eq!(replicas(spec, &reading(pods, whole(value))), expected, "{what}");
    }
    let mut starting = reading(2, whole(20_000));
    starting.pods[1].ready = Some((false, at(10)));
    let spec = |type_: &str| json!({"metrics": [requests(type_, "10")]});
    assert_eq!(replicas(spec("Value"), &starting), 2, "only Pods that are ready take their share");
    starting.pods[0].ready = None;
    assert_eq!(replicas(spec("Value"), &starting), 1, "but what starts is not stopped under load");
    let decision = once(spec("Value"), &reading(2, whole(20_500)));
    assert_eq!(
        decision.rescale.clone().unwrap().reason,
        "Service metric http_requests_per_second above target"
    );
    assert_eq!(decision.status["currentMetrics"][0]["object"]["current"], json!({"value": "20500m"}));
    assert_eq!(decision.status["currentMetrics"][0]["object"]["describedObject"]["name"], "web");
    let shared = once(spec("AverageValue"), &reading(2, whole(45_001)));
    assert_eq!(
        shared.rescale.clone().unwrap().reason,
        "external metric http_requests_per_second(nil) above target"
    );
    assert_eq!(shared.status["currentMetrics"][0]["object"]["current"], json!({"averageValue": "22501m"}));
    let why = "unable to fetch metrics from custom metrics API: nobody knows".to_owned();
    let unknown = once(spec("Value"), &reading(1, Reading::Whole(Err(why))));
    assert_eq!(
        message(&unknown, "ScalingActive"),
        "the HPA was unable to compute the replica count: unable to get metric http_requests_per_second: Service on \
         default web/unable to fetch metrics from custom metrics API: nobody knows"
    );
    let neither = once(spec("Utilization"), &reading(1, whole(1)));
    assert!(message(&neither, "ScalingActive").ends_with(
        "invalid object metric source: neither a value target nor an average value target was set"
    ));
}

#[test]
fn a_metric_of_no_object_is_compared_likewise() {
    let metric = |field: &str, target: &str| {
        json!({"type": "External", "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"of": "web"}}},
            "target": {"type": if field == "value" { "Value" } else { "AverageValue" }, field: target}}})
    };
    let spec = |field: &str| json!({"metrics": [metric(field, "30")]});
    assert_eq!(replicas(spec("value"), &reading(2, Reading::Whole(Ok(60_000)))), 4);
    assert_eq!(replicas(spec("averageValue"), &reading(2, Reading::Whole(Ok(150_000)))), 5);
    let decision = once(spec("averageValue"), &reading(2, Reading::Whole(Ok(150_000))));
    let selector = "&LabelSelector{MatchLabels:map[string]string{of: web,},MatchExpressions:[]LabelSelectorRequirement{},}";
    assert_eq!(
        decision.rescale.clone().unwrap().reason,
        format!("external metric queue({selector}) above target")
    );
    assert_eq!(decision.status["currentMetrics"][0]["external"]["current"], json!({"averageValue": "75"}));
    let why = "unable to fetch metrics from external metrics API: no external metrics API (external.metrics.k8s.io) \
               registered";
    let unknown = once(spec("value"), &reading(1, Reading::Whole(Err(why.to_owned()))));
    assert_eq!(reason(&unknown, "ScalingActive"), "False FailedGetExternalMetric");
    assert_eq!(
        unknown.said[1].2,
        format!(
            "invalid metrics (1 invalid out of 1), first error is: failed to get queue external metric value: unable \
             to get external metric default/queue/{selector}: {why}"
        )
    );
}

/// An autoscaler that may scale to zero, with its conditions.
fn sleeper(spec: Value, conditions: &Value) -> Value {
    let mut spec = spec;
    spec["minReplicas"] = spec.get("minReplicas").cloned().unwrap_or_else(|| json!(0));
    let mut scaler = scaler(spec);
    scaler["status"] = json!({"conditions": conditions});
    scaler
}

fn ours() -> Value {
    json!([{"type": "ScaledToZero", "status": "True", "reason": "ScaledToZero"}])
}

#[test]
fn a_target_without_requests_goes_to_zero_after_its_window() {
    let window = |seconds: i64| {
        json!({"metrics": [requests("Value", "10")],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": seconds}}})
    };
    let scaler = sleeper(window(60), &json!([]));
    let mut memory = Memory::default();
    let mut counts = Vec::new();
    for second in [0, 30, 59, 61] {
        let seen = reading(1, Reading::Whole(Ok(0)));
        let decision = decide(&scaler, &seen, &mut memory, at(NOW + second));
        counts.push(decision.rescale.map_or(1, |rescale| rescale.to));
    }
    assert_eq!(counts, [1, 1, 1, 0]);
    let busy = reading(1, Reading::Whole(Ok(1)));
    let decision = decide(&sleeper(window(0), &json!([])), &busy, &mut Memory::default(), at(NOW));
    assert_eq!(decision.rescale, None, "a single request keeps it");
    let unknown = reading(1, Reading::Whole(Err("silence".to_owned())));
    let decision = decide(&sleeper(window(0), &json!([])), &unknown, &mut Memory::default(), at(NOW));
    assert_eq!(decision.rescale, None, "what is not known is not nothing");
    let idle = reading(3, Reading::Whole(Ok(0)));
    let mut decision = decide(&sleeper(window(0), &json!([])), &idle, &mut Memory::default(), at(NOW));
    let before = decision.falling_asleep(at(NOW)).unwrap();
    assert_eq!(
        (&before["desiredReplicas"], before["conditions"].to_string().contains("\"ScaledToZero\"")),
        (&json!(0), true)
    );
    decision.settle(&Ok(()), at(NOW));
    assert_eq!(reason(&decision, "ScaledToZero"), "True ScaledToZero");
    assert_eq!(message(&decision, "ScaledToZero"), "the HPA controller scaled the workload to zero");
    assert_eq!(decision.said[0].2, "New size: 0; reason: All metrics below target");
}

#[test]
fn a_target_that_was_scaled_to_zero_comes_back_with_the_first_request() {
    let spec = || json!({"metrics": [requests("Value", "10")]});
    let back = |spec: Value, seen: &Sight| {
        decide(&sleeper(spec, &ours()), seen, &mut Memory::default(), at(NOW))
            .rescale
            .map_or(0, |rescale| rescale.to)
    };
    let behaved =
        |rules: Value| json!({"metrics": [requests("Value", "10")], "behavior": {"scaleUp": rules}});
    let percent = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    for (what, spec, seen, expected) in [
        ("no request", spec(), asleep(Ok(0)), 0),
        ("one request", spec(), asleep(Ok(1)), 1),
        ("many requests", spec(), asleep(Ok(35_000)), 4),
        ("more than come at once", spec(), asleep(Ok(900_000)), 4),
        ("each has its share", json!({"metrics": [requests("AverageValue", "10")]}), asleep(Ok(21_000)), 3),
        ("it is not known", spec(), asleep(Err("silence")), 0),
        ("a share of nothing", behaved(json!({"policies": percent})), asleep(Ok(900_000)), 1),
        ("nobody waits for a window", behaved(json!({"stabilizationWindowSeconds": 600})), asleep(Ok(1)), 1),
        ("it may not grow", behaved(json!({"selectPolicy": "Disabled"})), asleep(Ok(1)), 0),
    ] {
        assert_eq!(back(spec.clone(), &seen), expected, "{what}");
        let wanted = Sight { wanted: true, ..seen };
        let grows = what != "it may not grow";
        assert_eq!(
            back(spec, &wanted),
            expected.max(i64::from(grows)),
            "{what}, but a node says that requests wait"
        );
    }
    let wanted = Sight { wanted: true, ..asleep(Err("silence")) };
    let mut decision = decide(&sleeper(spec(), &ours()), &wanted, &mut Memory::default(), at(NOW));
    decision.settle(&Ok(()), at(NOW));
    assert_eq!(decision.said.last().unwrap().2, "New size: 1; reason: requests wait for a Pod");
    assert_eq!(reason(&decision, "ScaledToZero"), "False NotScaledToZero");
    assert_eq!(message(&decision, "ScaledToZero"), "the HPA controller did not scale the workload to zero");
    let mut starting = reading(1, Reading::Whole(Ok(0)));
    (starting.pods[0].ready, starting.wanted) = (None, true);
    let now = json!({"metrics": [requests("Value", "10")], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}});
    let decision = decide(&sleeper(now, &json!([])), &starting, &mut Memory::default(), at(NOW));
    assert_eq!(decision.rescale, None, "it is not stopped while requests wait for it");
}

#[test]
fn a_target_that_somebody_else_scaled_to_zero_stays_there() {
    let metrics = || json!({"metrics": [requests("Value", "10")]});
    let paused = decide(
        &sleeper(metrics(), &json!([])),
        &Sight { wanted: true, ..asleep(Ok(900_000)) },
        &mut Memory::default(),
        at(NOW),
    );
    assert_eq!((paused.rescale.clone(), paused.status["desiredReplicas"].as_i64()), (None, Some(0)));
    assert_eq!(reason(&paused, "ScalingActive"), "False ScalingDisabled");
    let mut raised = metrics();
    raised["minReplicas"] = json!(2);
    for (what, value) in [("idle", Ok(0)), ("busy", Ok(1)), ("unknown", Err("silence"))] {
        let seen = asleep(value);
        let decision = decide(&sleeper(raised.clone(), &ours()), &seen, &mut Memory::default(), at(NOW));
        assert_eq!(
            decision.rescale.map(|rescale| rescale.to),
            Some(2),
            "it may not be zero any more, {what}"
        );
    }
    let resource = json!({"metrics": [utilization(50)]});
    let decision = decide(&sleeper(resource, &ours()), &sight(&[]), &mut Memory::default(), at(NOW));
    assert_eq!(reason(&decision, "ScalingActive"), "False ScalingDisabled", "nothing would bring it back");
    let back = reading(1, Reading::Whole(Ok(10_000)));
    let decision = decide(&sleeper(metrics(), &ours()), &back, &mut Memory::default(), at(NOW));
    assert_eq!(
        reason(&decision, "ScaledToZero"),
        "False NotScaledToZero",
        "somebody else has brought it back"
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
fn what_limits_a_recommendation_is_told() {
    let down = |policy: Value| json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [policy]}}});
    let slowly = down(json!({"type": "Pods", "value": 1, "periodSeconds": 60}));
    let with = |mut spec: Value, field: &str, value: i64| {
        spec[field] = json!(value);
        spec
    };
    for (spec, used, expected) in [
        (json!({}), vec![Some(60); 2], "False DesiredWithinRange"),
        (json!({}), vec![Some(500); 2], "True ScaleUpLimit"),
        (with(json!({}), "maxReplicas", 3), vec![Some(500); 2], "True TooManyReplicas"),
        (slowly.clone(), vec![Some(1); 4], "True ScaleDownLimit"),
        (with(slowly, "minReplicas", 3), vec![Some(1); 4], "True TooFewReplicas"),
    ] {
        assert_eq!(reason(&once(spec.clone(), &sight(&used)), "ScalingLimited"), expected, "{spec}");
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
    seen.scale = Ok(Scale { replicas: 1, present: 1, selector: String::new() });
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
