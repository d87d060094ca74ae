//! `/stats/summary`: what the node, its Pods and their containers use, in the form of the kubelet's Summary API.
//!
//! Nothing is sampled between questions. A rate is taken over the time since an earlier question if that is at most
//! a minute ago; otherwise the question takes a second, over which the rate then is.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::report::machine;
use crate::supervisor::roster::{Measured, Roster};

/// The shortest time over which a rate is taken.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// An earlier question this old makes way for the newest.
const RENEWED: Duration = Duration::from_secs(15);

/// Answers what is used now.
pub struct Summary {
    node: String,
    roster: Roster,
    base: Mutex<Option<Sample>>,
}

/// CPU times at one moment.
struct Sample {
    at: Instant,
    busy: Duration,
    containers: HashMap<(String, String), Duration>,
}

impl Sample {
    fn take(measured: &[Measured]) -> Sample {
        let containers =
            measured.iter().map(|m| ((m.pod.uid.clone(), m.container.clone()), m.usage.cpu_time)).collect();
        Sample { at: Instant::now(), busy: machine::busy(), containers }
    }

    /// CPU time of a container since `base`. One that was started since then has used all of its time since then.
    fn since(&self, base: &Sample, key: &(String, String)) -> Duration {
        let now = self.containers.get(key).copied().unwrap_or_default();
        let then = base.containers.get(key).copied().unwrap_or_default();
        // A container that was started anew has less than its predecessor had.
        now.checked_sub(then).unwrap_or(now)
    }
}

impl Summary {
    /// Of the node called `node`, whose containers are on `roster`.
    pub fn new(node: String, roster: Roster) -> Summary {
        Summary { node, roster, base: Mutex::new(None) }
    }

    /// What is used now. Takes a second when nobody has asked for a minute.
    pub async fn answer(&self) -> Value {
        let mut base = self.base.lock().await;
        let known = base.take().filter(|sample| sample.at.elapsed() <= LONGEST);
        let then = known.unwrap_or_else(|| Sample::take(&self.roster.measure()));
        tokio::time::sleep_until(then.at + SHORTEST).await;
        let measured = self.roster.measure();
        let now = Sample::take(&measured);
        let answer = write(&self.node, &measured, &now, &then);
        let renewed = now.at - then.at >= RENEWED;
        *base = Some(if renewed { now } else { then });
        answer
    }
}

fn write(node: &str, measured: &[Measured], now: &Sample, then: &Sample) -> Value {
    let window = now.at - then.at;
    let time = edge_api::time::Timestamp::from(std::time::SystemTime::now()).seconds();
    let cpu = |total: Duration, used: Duration| {
        let nano_cores = used.as_nanos() as f64 / window.as_secs_f64().max(f64::MIN_POSITIVE);
        json!({"time": time, "usageNanoCores": nano_cores as u64, "usageCoreNanoSeconds": total.as_nanos() as u64})
    };
    let mut pods: Vec<Value> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for one in measured {
        let place = *places.entry(&one.pod.uid).or_insert_with(|| {
            let reference = json!({"name": one.pod.name, "namespace": one.pod.namespace, "uid": one.pod.uid});
            pods.push(json!({"podRef": reference, "containers": []}));
            pods.len() - 1
        });
        let key = (one.pod.uid.clone(), one.container.clone());
        let container = json!({
            "name": one.container,
            "cpu": cpu(one.usage.cpu_time, now.since(then, &key)),
            "memory": {"time": time, "usageBytes": one.usage.memory, "workingSetBytes": one.usage.memory},
        });
        pods[place]["containers"].as_array_mut().expect("it was made as a list above").push(container);
    }
    let (available, used) = machine::memory();
    json!({
        "node": {
            "nodeName": node,
            "cpu": cpu(now.busy, now.busy.saturating_sub(then.busy)),
            "memory": {"time": time, "availableBytes": available, "usageBytes": used, "workingSetBytes": used},
        },
        "pods": pods,
        "windowSeconds": window.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PodName;
    use crate::sandbox::Usage;

    fn measured(container: &str, millis: u64) -> Measured {
        let pod = PodName { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        let usage = Usage { cpu_time: Duration::from_millis(millis), memory: 65_536, ..Usage::default() };
        Measured { pod, container: container.into(), usage }
    }

    #[test]
    fn rates_are_taken_between_two_moments() {
        let then = Sample::take(&[measured("old", 1_000), measured("again", 5_000)]);
        let all = [measured("old", 1_500), measured("again", 100), measured("new", 200)];
        let now = Sample { at: then.at + Duration::from_secs(2), ..Sample::take(&all) };
        let answer = write("edge-1", &all, &now, &then);
        let rates: Vec<u64> = answer["pods"][0]["containers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|container| container["cpu"]["usageNanoCores"].as_u64())
            .collect();
        assert_eq!(rates, [250_000_000, 50_000_000, 100_000_000]);
        assert_eq!(answer["pods"].as_array().map(Vec::len), Some(1));
        assert_eq!(answer["pods"][0]["podRef"]["name"], "p");
        assert_eq!(answer["node"]["nodeName"], "edge-1");
        assert_eq!(answer["windowSeconds"], 2.0);
    }

    #[tokio::test]
    async fn a_rate_is_taken_since_an_earlier_question() {
        let summary = Summary::new("edge-1".into(), Roster::default());
        let first = summary.answer().await["windowSeconds"].as_f64();
        let second = summary.answer().await["windowSeconds"].as_f64();
        assert!(first >= Some(1.0) && second > first, "{first:?}, {second:?}");
        if let Some(base) = summary.base.lock().await.as_mut() {
            base.at -= LONGEST + SHORTEST;
        }
        let third = summary.answer().await["windowSeconds"].as_f64();
        assert!(third < Some(LONGEST.as_secs_f64()), "too long ago to count: {third:?}");
    }
}
