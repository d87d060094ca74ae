//! How many replicas a metric asks for.
//!
//! Pods that go or have failed do not count. Pods that have no figures yet, or none that can be trusted because they
//! only just start, count so that they make the answer more careful: as if they used what they should when there is to
//! be less, and nothing when there is to be more.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_api::meta::{items, number, text};
use edge_api::quantity::Quantity;
use edge_api::time::Timestamp;
use serde_json::{Value, json};

use crate::reconcile::autoscaler::sight::{Behavior, Pod, Reading, Samples};

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
    /// Replicas that there are.
    pub present: i64,
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
pub(super) fn propose(metric: &Value, reading: &Reading, load: &Load<'_>) -> Result<Proposal, Silence> {
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
            of_pods(&metric["pods"], reading, load).map_err(|why| silent("FailedGetPodsMetric", "pods", why))
        }
        "Object" => of_object(&metric["object"], reading, load)
            .map_err(|why| silent("FailedGetObjectMetric", "object", why)),
        "External" => {
            let kind = format!("{} external", text(metric, &["external", "metric", "name"]));
            of_external(&metric["external"], reading, load)
                .map_err(|why| silent("FailedGetExternalMetric", &kind, why))
        }
        other => {
            let message = format!("unknown metric source type {other:?}");
            Err(Silence { reason: "InvalidMetricSourceType", summary: message.clone(), message })
        }
    }
}

/// What a metric of the Pods asks for.
fn of_pods(source: &Value, reading: &Reading, load: &Load<'_>) -> Result<Proposal, String> {
    let name = text(source, &["metric", "name"]);
    let target = quantity(source, "averageValue").unwrap_or_default();
    let failed = |why: &str| format!("unable to get metric {name}: {why}");
    let values = match reading {
        Reading::Pods(values) => values.as_ref().map_err(|why| failed(why))?,
        _ => return Err(failed("it is not one of Pods")),
    };
    if values.is_empty() {
        return Err(failed("no metrics returned from custom metrics API"));
    }
    let used = load.pods.iter().filter_map(|pod| Some((pod.name.as_str(), *values.get(&pod.name)?)));
    let sorted = sort("", used.collect(), load)?;
    let count = by_mean(sorted, target, load);
    Ok(Proposal {
        replicas: count.replicas,
        name: format!("pods metric {name}"),
        status: json!({"type": "Pods", "pods": {"metric": source["metric"],
            "current": {"averageValue": Quantity::from_milli(count.average).to_string()}}}),
    })
}

/// What a metric of another object asks for.
fn of_object(source: &Value, reading: &Reading, load: &Load<'_>) -> Result<Proposal, String> {
    let (name, object) = (text(source, &["metric", "name"]), &source["describedObject"]);
    let kind = text(object, &["kind"]);
    let failed = |why: &str| {
        // The order is Kubernetes' own.
        format!("unable to get metric {name}: {kind} on {} {}/{why}", load.namespace, text(object, &["name"]))
    };
    let value = |reading: &Reading| match reading {
        Reading::Whole(value) => value.as_ref().copied().map_err(|why| failed(why)),
        _ => Err(failed("it is not one of an object")),
    };
    let (count, current, name) = match text(source, &["target", "type"]) {
        "Value" if quantity(source, "value").is_some() => {
            let value = value(reading)?;
            let target = quantity(source, "value").unwrap_or_default();
            (by_whole(value, target, load)?, ("value", value), format!("{kind} metric {name}"))
        }
        "AverageValue" if quantity(source, "averageValue").is_some() => {
            let (count, average) =
                by_share(value(reading)?, quantity(source, "averageValue").unwrap_or_default(), load);
            let name = format!("external metric {name}({})", selector(&source["metric"]["selector"]));
            (count, ("averageValue", average), name)
        }
        _ => {
            return Err(
                "invalid object metric source: neither a value target nor an average value target was set"
                    .to_owned(),
            );
        }
    };
    let status = json!({"type": "Object", "object": {"describedObject": object, "metric": source["metric"],
        "current": {current.0: Quantity::from_milli(current.1).to_string()}}});
    Ok(Proposal { replicas: count, name, status })
}

/// What a metric of no object asks for.
fn of_external(source: &Value, reading: &Reading, load: &Load<'_>) -> Result<Proposal, String> {
    let selector = selector(&source["metric"]["selector"]);
    let name = text(source, &["metric", "name"]);
    let failed =
        |why: &str| format!("unable to get external metric {}/{name}/{selector}: {why}", load.namespace);
    let value = match reading {
        Reading::Whole(value) => value.as_ref().copied().map_err(|why| failed(why)),
        _ => Err(failed("it is not one of no object")),
    };
    let (count, current) = match (quantity(source, "averageValue"), quantity(source, "value")) {
        (Some(target), _) => {
            let (count, average) = by_share(value?, target, load);
            (count, ("averageValue", average))
        }
        (None, Some(target)) => {
            let value = value?;
            (by_whole(value, target, load)?, ("value", value))
        }
        (None, None) => {
            return Err(
                "invalid external metric source: neither a value target nor an average value target was set"
                    .to_owned(),
            );
        }
    };
    let status = json!({"type": "External", "external": {"metric": source["metric"],
        "current": {current.0: Quantity::from_milli(current.1).to_string()}}});
    Ok(Proposal { replicas: count, name: format!("external metric {name}({selector})"), status })
}

/// A field of a metric's target, in thousandths.
fn quantity(source: &Value, field: &str) -> Option<i64> {
    Quantity::parse(text(source, &["target", field])).ok().map(|quantity| quantity.milli())
}

/// A selector as Kubernetes prints it in reasons.
fn selector(selector: &Value) -> String {
    if !selector.is_object() {
        return "nil".to_owned();
    }
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let labels: String =
        labels.map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or(""))).collect();
    let needs = items(selector, &["matchExpressions"]).iter().map(|need| {
        let values: Vec<&str> = items(need, &["values"]).iter().filter_map(Value::as_str).collect();
        format!(
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
            text(need, &["key"]),
            text(need, &["operator"]),
            values.join(" ")
        )
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        needs.collect::<String>()
    )
}

/// The replicas at which a value of the whole would be as it should be. There is one at least while it is not zero: a
/// Pod that only just starts is not ready yet, and must not go for that.
fn by_whole(value: i64, target: i64, load: &Load<'_>) -> Result<i64, String> {
    let ratio = value as f64 / target as f64;
    let least = i64::from(value > 0);
    if load.replicas == 0 {
        return Ok(times(ratio, 1).max(least));
    }
    if load.tolerance.bears(ratio) {
        return Ok(load.replicas);
    }
    if load.pods.is_empty() {
        return Err(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count"
                .to_owned(),
        );
    }
    let ready =
        load.pods.iter().filter(|pod| pod.phase == "Running" && pod.ready.is_some_and(|(ready, _)| ready));
    Ok(times(ratio, i64::try_from(ready.count()).unwrap_or(i64::MAX)).max(least))
}

/// The replicas at which each would have the share that it should have, and what its share is.
fn by_share(value: i64, target: i64, load: &Load<'_>) -> (i64, i64) {
    let ratio = value as f64 / (target as f64 * load.present as f64);
    let replicas = if load.present > 0 && load.tolerance.bears(ratio) {
        load.present
    } else {
        times(value as f64 / target as f64, 1)
    };
    let present = load.present.max(1);
    (replicas, value / present + i64::from(value % present > 0))
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

fn used<'a>(resource: &str, container: Option<&str>, load: &Load<'a>) -> Result<Milli<'a>, String> {
    let of = |pod: &'a Pod| {
        let sample = load.samples.get(&pod.name)?;
        let counted = sample.containers.iter().filter(|(name, _)| container.is_none_or(|one| one == *name));
        let amounts: Option<Vec<i64>> =
            counted.map(|(_, usage)| usage.get(resource).map(Quantity::milli)).collect();
        let amounts = amounts.filter(|amounts| !amounts.is_empty())?;
        Some((pod.name.as_str(), amounts.iter().sum()))
    };
    let all: Milli<'a> = load.pods.iter().filter_map(of).collect();
    if all.is_empty() {
        return Err(format!(
            "unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        ));
    }
    Ok(all)
}

/// Sorts the Pods by what is known of them of a resource, or of a metric, which has no name here.
fn sort<'a>(resource: &str, all: Milli<'a>, load: &Load<'a>) -> Result<Sorted<'a>, String> {
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
    let sorted = sort(resource, used(resource, container, load)?, load)?;
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
    let sorted = sort(resource, used(resource, container, load)?, load)?;
    Ok(by_mean(sorted, target, load))
}

fn by_mean(sorted: Sorted<'_>, target: i64, load: &Load<'_>) -> Count {
    let ratio = |used: &Milli<'_>| mean(used) as f64 / target as f64;
    let (now, average) = (ratio(&sorted.used), mean(&sorted.used));
    let replicas = count(sorted, load, now, |_| target, ratio);
    Count { replicas, average, percent: None }
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
