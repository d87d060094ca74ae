//! How many replicas a metric asks for.
//!
//! Pods that go or have failed do not count. Pods that have no figures yet, or none that can be trusted because they
//! only just start, count so that they make the answer more careful: as if they used what they should when there is to
//! be less, and nothing when there is to be more.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_api::meta::{number, text};
use edge_api::quantity::Quantity;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::reconcile::autoscaler::sight::{Behavior, Pod, Samples};

/// How far the load may be off what it should be without anything being done, if nothing else is said.
const TOLERANCE: f64 = 0.1;
/// For how long after its start a Pod's processor time says little.
const INITIALIZATION: Duration = Duration::from_secs(300);
/// Within how long after its start a Pod that is not ready has never been ready.
const INITIAL_READINESS: Duration = Duration::from_secs(30);

/// What a metric asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Proposal {
    /// So many replicas.
    pub replicas: i64,
    /// What it is called in reasons.
    pub name: String,
    /// Its place in `status.currentMetrics`.
    pub status: Value,
}

/// Why a metric says nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Silence {
    /// In one word.
    pub reason: &'static str,
    /// In one sentence, for the condition.
    pub message: String,
    /// The same, for what is said of all metrics together.
    pub summary: String,
}

/// What is measured.
pub(super) struct Load<'a> {
    /// Replicas as they are wished for.
    pub replicas: i64,
    /// The target's Pods.
    pub pods: &'a [Pod],
    /// What they use.
    pub samples: &'a Samples,
    /// What is tolerated.
    pub tolerance: Tolerance,
    /// The namespace.
    pub namespace: &'a str,
    /// The present.
    pub now: Timestamp,
}

/// How far the load may be off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    up: f64,
    down: f64,
}

impl Tolerance {
    /// What the behaviour says.
    pub(super) fn of(behavior: Option<&Behavior>) -> Tolerance {
        let said = |tolerance: Option<Quantity>| {
            // Exact enough: a tolerance is a small fraction.
            tolerance.map_or(TOLERANCE, |quantity| quantity.milli() as f64 / 1000.0)
        };
        Tolerance {
            up: said(behavior.and_then(|behavior| behavior.scale_up.tolerance)),
            down: said(behavior.and_then(|behavior| behavior.scale_down.tolerance)),
        }
    }

    fn bears(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What one of the metrics asks for.
pub(super) fn propose(metric: &Value, load: &Load<'_>) -> Result<Proposal, Silence> {
    let silent = |reason, kind: &str, message: String| Silence {
        reason,
        summary: format!("failed to get {kind} metric value: {message}"),
        message,
    };
    match text(metric, &["type"]) {
        "Resource" => of_resource(&metric["resource"], None, load).map_err(|why| {
            let kind = format!("{} resource", text(metric, &["resource", "name"]));
            silent("FailedGetResourceMetric", &kind, why)
        }),
        "ContainerResource" => {
            let source = &metric["containerResource"];
            of_resource(source, Some(text(source, &["container"])), load).map_err(|why| {
                let kind = format!("{} container", text(source, &["name"]));
                silent("FailedGetContainerResourceMetric", &kind, why)
            })
        }
        "Pods" => {
            let name = text(metric, &["pods", "metric", "name"]);
            Err(silent("FailedGetPodsMetric", "pods", no_custom_metrics(name)))
        }
        "Object" => {
            let name = text(metric, &["object", "metric", "name"]);
            Err(silent("FailedGetObjectMetric", "object", no_custom_metrics(name)))
        }
        "External" => {
            let name = text(metric, &["external", "metric", "name"]);
            let message = format!(
                "unable to get external metric {}/{name}: unable to fetch metrics from external metrics API: no \
                 external metrics API (external.metrics.k8s.io) registered",
                load.namespace
            );
            Err(silent("FailedGetExternalMetric", &format!("{name} external"), message))
        }
        other => {
            let message = format!("unknown metric source type {other:?}");
            Err(Silence { reason: "InvalidMetricSourceType", summary: message.clone(), message })
        }
    }
}

fn no_custom_metrics(name: &str) -> String {
    format!(
        "unable to get metric {name}: unable to fetch metrics from custom metrics API: no custom metrics API \
         (custom.metrics.k8s.io) registered"
    )
}

/// What is used of a resource, by all containers or by one.
fn of_resource(source: &Value, container: Option<&str>, load: &Load<'_>) -> Result<Proposal, String> {
    let resource = text(source, &["name"]);
    let average = Quantity::parse(text(source, &["target", "averageValue"])).ok();
    let percent = number(source, &["target", "averageUtilization"]);
    let (count, name) = match (average, percent) {
        (Some(average), _) => {
            let count = by_value(resource, container, average.milli(), load)
                .map_err(|why| format!("failed to get {resource} usage: {why}"))?;
            (count, "")
        }
        (None, Some(percent)) => {
            let count = by_utilization(resource, container, percent, load)
                .map_err(|why| format!("failed to get {resource} utilization: {why}"))?;
            (count, " utilization (percentage of request)")
        }
        (None, None) => {
            return Err(
                "invalid resource metric source: neither an average utilization target nor an average \
                        value (usage) target was set"
                    .to_owned(),
            );
        }
    };
    let mut current = json!({"averageValue": Quantity::from_milli(count.average).to_string()});
    if let Some(percent) = count.percent {
        current["averageUtilization"] = percent.into();
    }
    let (name, status) = match container {
        None => (
            format!("{resource} resource{name}"),
            json!({"type": "Resource", "resource": {"name": resource, "current": current}}),
        ),
        Some(container) => (
            format!("{resource} container resource{name}"),
            json!({"type": "ContainerResource",
                "containerResource": {"name": resource, "container": container, "current": current}}),
        ),
    };
    Ok(Proposal { replicas: count.replicas, name, status })
}

/// What a resource asks for, and how it is used.
struct Count {
    replicas: i64,
    /// The mean of a Pod, in thousandths.
    average: i64,
    /// The same in hundredths of what was asked for.
    percent: Option<i64>,
}

/// Thousandths by the Pod's name.
type Milli<'a> = BTreeMap<&'a str, i64>;

/// The target's Pods, by how far they can be measured.
struct Sorted<'a> {
    /// How many count.
    ready: i64,
    /// What those use.
    used: Milli<'a>,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
}

fn used<'a>(resource: &str, container: Option<&str>, load: &Load<'a>) -> Milli<'a> {
    let of = |pod: &'a Pod| {
        let sample = load.samples.get(&pod.name)?;
        let counted = sample.containers.iter().filter(|(name, _)| container.is_none_or(|one| one == *name));
        let amounts: Option<Vec<i64>> =
            counted.map(|(_, usage)| usage.get(resource).map(Quantity::milli)).collect();
        let amounts = amounts.filter(|amounts| !amounts.is_empty())?;
        Some((pod.name.as_str(), amounts.iter().sum()))
    };
    load.pods.iter().filter_map(of).collect()
}

fn sort<'a>(resource: &str, container: Option<&str>, load: &Load<'a>) -> Result<Sorted<'a>, String> {
    let all = used(resource, container, load);
    if all.is_empty() {
        return Err(format!(
            "unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        ));
    }
    if load.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".to_owned());
    }
    let mut sorted = Sorted { ready: 0, used: Milli::new(), unready: Vec::new(), missing: Vec::new() };
    for pod in load.pods {
        if pod.going || pod.phase == "Failed" {
            continue;
        }
        let name = pod.name.as_str();
        match all.get(name) {
            _ if pod.phase == "Pending" => sorted.unready.push(name),
            None => sorted.missing.push(name),
            Some(_) if resource == "cpu" && !is_settled(pod, load) => sorted.unready.push(name),
            Some(amount) => {
                sorted.ready += 1;
                sorted.used.insert(name, *amount);
            }
        }
    }
    if sorted.used.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    Ok(sorted)
}

/// Whether a Pod's processor time is what it will go on using.
fn is_settled(pod: &Pod, load: &Load<'_>) -> bool {
    let (Some((ready, since)), Some(started)) = (pod.ready, pod.started) else { return false };
    if started.plus(INITIALIZATION) > load.now {
        let measured =
            load.samples.get(&pod.name).is_some_and(|sample| sample.at >= since.plus(sample.window));
        return ready && measured;
    }
    ready || started.plus(INITIAL_READINESS) <= since
}

fn by_utilization(
    resource: &str,
    container: Option<&str>,
    target: i64,
    load: &Load<'_>,
) -> Result<Count, String> {
    let sorted = sort(resource, container, load)?;
    let requests = requests(resource, container, load)?;
    let percent = |used: &Milli<'_>| {
        let known = used.iter().filter_map(|(name, amount)| Some((*amount, *requests.get(name)?)));
        let (used, asked) = known.fold((0i64, 0i64), |(used, asked), (a, b)| (used + a, asked + b));
        (asked != 0).then(|| used.saturating_mul(100) / asked)
    };
    let now = percent(&sorted.used).ok_or("no metrics returned matched known pods")?;
    let ratio = |percent: i64| percent as f64 / target as f64;
    let average = mean(&sorted.used);
    let fallback = |name: &str| requests.get(name).map_or(0, |asked| asked * target.max(100) / 100);
    let replicas = count(sorted, load, ratio(now), fallback, |used| percent(used).map_or(1.0, ratio));
    Ok(Count { replicas, average, percent: Some(now) })
}

fn by_value(resource: &str, container: Option<&str>, target: i64, load: &Load<'_>) -> Result<Count, String> {
    let sorted = sort(resource, container, load)?;
    let ratio = |used: &Milli<'_>| mean(used) as f64 / target as f64;
    let (now, average) = (ratio(&sorted.used), mean(&sorted.used));
    let replicas = count(sorted, load, now, |_| target, ratio);
    Ok(Count { replicas, average, percent: None })
}

fn mean(used: &Milli<'_>) -> i64 {
    used.values().sum::<i64>() / i64::try_from(used.len().max(1)).unwrap_or(i64::MAX)
}

/// The replicas at which the load would be what it should be. `ratio` is how it is now of how it should be, `full` what
/// a Pod uses that does as it should, `again` the ratio with those added that could not be measured.
fn count<'a>(
    mut sorted: Sorted<'a>,
    load: &Load<'_>,
    ratio: f64,
    full: impl Fn(&str) -> i64,
    again: impl Fn(&Milli<'a>) -> f64,
) -> i64 {
    let more_with_unready = !sorted.unready.is_empty() && ratio > 1.0;
    if !more_with_unready && sorted.missing.is_empty() {
        return if load.tolerance.bears(ratio) { load.replicas } else { times(ratio, sorted.ready) };
    }
    for name in &sorted.missing {
        sorted.used.insert(name, if ratio < 1.0 { full(name) } else { 0 });
    }
    if more_with_unready {
        sorted.used.extend(sorted.unready.iter().map(|name| (*name, 0)));
    }
    let careful = again(&sorted.used);
    let turned = ratio < 1.0 && careful > 1.0 || ratio > 1.0 && careful < 1.0;
    if turned || load.tolerance.bears(careful) {
        return load.replicas;
    }
    let replicas = times(careful, i64::try_from(sorted.used.len()).unwrap_or(i64::MAX));
    let contradicts = careful < 1.0 && replicas > load.replicas || careful > 1.0 && replicas < load.replicas;
    if contradicts { load.replicas } else { replicas }
}

/// A number of Pods times a ratio, rounded up.
fn times(ratio: f64, pods: i64) -> i64 {
    // Saturates, as conversions from floating point do.
    (ratio * pods as f64).ceil() as i64
}

/// What every Pod asks for of a resource.
fn requests<'a>(resource: &str, container: Option<&str>, load: &Load<'a>) -> Result<Milli<'a>, String> {
    let of = |pod: &'a Pod| {
        if container.is_none()
            && let Some(whole) = pod.requests.get(resource)
        {
            return Ok((pod.name.as_str(), whole.milli()));
        }
        let counted = || pod.containers.iter().filter(|(name, _)| container.is_none_or(|one| one == name));
        if let Some(container) = container.filter(|_| counted().next().is_none()) {
            return Err(format!("container {container} not found in Pod {}", pod.name));
        }
        let mut sum = 0;
        for (name, requests) in counted() {
            let missing =
                || format!("missing request for {resource} in container {name} of Pod {}", pod.name);
            sum += requests.get(resource).ok_or_else(missing)?.milli();
        }
        Ok((pod.name.as_str(), sum))
    };
    load.pods.iter().map(of).collect()
}
