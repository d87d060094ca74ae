//! `/stats/requests`: how many requests a second came lately for the node's Pods, for Services and through Ingresses.
//!
//! Requests are counted where they pass; this makes rates of the counters, by the node's own monotonic time, when it is
//! asked and never otherwise. A rate is taken over some fifteen seconds, if somebody asked then, however often somebody
//! asked meanwhile. If nobody has asked for a minute the question takes a second, over which the rate then is, unless
//! requests wait for what is made of the answer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::net::Network;
use crate::table::Tally;

/// The shortest time over which a rate is taken.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// No longer time is needed. A bit less than that after which autoscalers ask, so that they do not come just too early.
const ENOUGH: Duration = Duration::from_secs(14);
/// Questions that come sooner after each other are not remembered.
const APART: Duration = Duration::from_secs(4);

/// What is counted: a group of things, and one of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    group: &'static str,
    namespace: String,
    name: String,
    /// Which of those that had the name; empty where that is not known.
    uid: String,
}

/// Requests for one subject.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    came: u64,
    present: usize,
}

/// All counters at one moment.
struct Sample {
    at: Instant,
    counts: HashMap<Subject, Count>,
}

/// Answers how many requests come.
pub struct Rates {
    network: Network,
    /// Counters of earlier questions, the oldest first.
    earlier: Mutex<VecDeque<Sample>>,
}

impl Rates {
    /// Of what this network carries.
    pub fn new(network: Network) -> Rates {
        Rates { network, earlier: Mutex::default() }
    }

    /// The rates now. Takes a second when nobody has asked for a minute and nobody waits.
    pub async fn answer(&self) -> Value {
        let mut earlier = self.earlier.lock().await;
        if earlier.back().is_none_or(|last| last.at.elapsed() > LONGEST) {
            *earlier = VecDeque::from([self.sample()]);
        }
        if self.network.lobby().wanted().is_empty() {
            let first = earlier.front().map_or_else(Instant::now, |first| first.at);
            tokio::time::sleep_until(first + SHORTEST).await;
        }
        compare(&mut earlier, self.sample())
    }

    fn sample(&self) -> Sample {
        let mut counts = HashMap::new();
        let mut add = |group, namespace: &str, name: &str, uid: &str, tally: &Tally| {
            let count = Count { came: tally.came(), present: tally.present() };
            if count.came == 0 && count.present == 0 && group != "pods" {
                return;
            }
            let (namespace, name, uid) = (namespace.to_owned(), name.to_owned(), uid.to_owned());
            counts.insert(Subject { group, namespace, name, uid }, count);
        };
        for (pod, tally) in self.network.pod_tallies() {
            add("pods", &pod.namespace, &pod.name, &pod.uid, &tally);
        }
        let table = self.network.tables().load_full();
        for service in table.services() {
            add("services", service.namespace(), service.name(), "", &service.tally);
        }
        for ((namespace, name), tally) in table.ingress_tallies() {
            add("ingresses", namespace, name, "", tally);
        }
        Sample { at: Instant::now(), counts }
    }
}

/// The rates since the latest question that is long enough ago, or since the oldest. The new counters are remembered
/// for later ones.
fn compare(earlier: &mut VecDeque<Sample>, now: Sample) -> Value {
    while earlier.get(1).is_some_and(|next| now.at - next.at >= ENOUGH) {
        earlier.pop_front();
    }
    let answer = write(&now, earlier.front().unwrap_or(&now));
    if earlier.back().is_none_or(|last| now.at - last.at >= APART) {
        earlier.push_back(now);
    }
    answer
}

fn write(now: &Sample, then: &Sample) -> Value {
    let window = (now.at - then.at).max(SHORTEST);
    let mut answer =
        json!({"windowSeconds": window.as_secs_f64(), "pods": [], "services": [], "ingresses": []});
    for (subject, count) in &now.counts {
        let rate = rate(*count, then.counts.get(subject).copied().unwrap_or_default(), window);
        // A Pod is said to have no requests; of the many others, those that have some are named.
        if rate == 0.0 && subject.group != "pods" {
            continue;
        }
        let mut one = json!({"namespace": subject.namespace, "name": subject.name, "perSecond": rate});
        if !subject.uid.is_empty() {
            one["uid"] = subject.uid.as_str().into();
        }
        answer[subject.group].as_array_mut().expect("it was made as a list above").push(one);
    }
    answer
}

/// Requests a second. Those that still have no whole answer have come, however long ago.
fn rate(now: Count, then: Count, window: Duration) -> f64 {
    // Something of the same name that is new counts from its beginning.
    let came = now.came.checked_sub(then.came).unwrap_or(now.came);
    came.max(now.present as u64) as f64 / window.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, counts: &[(&'static str, &str, u64, usize)]) -> Sample {
        let one = |(group, name, came, present): &(&'static str, &str, u64, usize)| {
            let uid = if *group == "pods" { (*name).to_owned() } else { String::new() };
            let subject = Subject { group, namespace: "n".into(), name: (*name).to_owned(), uid };
            (subject, Count { came: *came, present: *present })
        };
        Sample { at, counts: counts.iter().map(one).collect() }
    }

    #[test]
    fn rates_are_taken_between_two_moments() {
        let then = Instant::now();
        let before = [("services", "old", 100, 0), ("services", "again", 50, 0), ("pods", "idle", 7, 0)];
        let after = [
            ("services", "old", 130, 0),
            ("services", "again", 10, 0),
            ("services", "new", 5, 0),
            ("services", "waiting", 0, 20),
            ("services", "idle", 0, 0),
            ("pods", "idle", 7, 0),
            ("ingresses", "door", 15, 1),
        ];
        let now = then + Duration::from_secs(10);
        let answer = write(&sample(now, &after), &sample(then, &before));
        let of = |group: &str, name: &str| {
            let all = answer[group].as_array().into_iter().flatten();
            all.filter(|one| one["name"] == name).find_map(|one| one["perSecond"].as_f64())
        };
        assert_eq!(of("services", "old"), Some(3.0));
        assert_eq!(of("services", "again"), Some(1.0), "another of the same name");
        assert_eq!(of("services", "new"), Some(0.5));
        assert_eq!(of("services", "waiting"), Some(2.0), "what has no answer is there");
        assert_eq!(of("services", "idle"), None);
        assert_eq!(of("pods", "idle"), Some(0.0));
        assert_eq!(of("ingresses", "door"), Some(1.5));
        assert_eq!((&answer["windowSeconds"], &answer["pods"][0]["uid"]), (&json!(10.0), &json!("idle")));
    }

    #[test]
    fn a_rate_over_a_moment_is_one_over_a_second() {
        let then = Instant::now();
        let now = sample(then + Duration::from_millis(1), &[("services", "a", 0, 3)]);
        assert_eq!(write(&now, &sample(then, &[]))["services"][0]["perSecond"], 3.0);
    }

    #[test]
    fn the_time_is_long_enough_however_often_somebody_asks() {
        let begun = Instant::now();
        let mut earlier = VecDeque::from([sample(begun, &[])]);
        let windows: Vec<f64> = [1.0, 4.0, 8.0, 14.9, 15.0, 20.0, 29.0, 60.0]
            .iter()
            .map(|second| {
                let now = sample(begun + Duration::from_secs_f64(*second), &[]);
                compare(&mut earlier, now)["windowSeconds"].as_f64().map_or(0.0, f64::round)
            })
            .collect();
        assert_eq!(windows, [1.0, 4.0, 8.0, 15.0, 15.0, 16.0, 14.0, 31.0]);
        assert!(earlier.len() <= 5);
    }

    #[tokio::test]
    async fn who_waits_need_not_wait_for_the_rate() {
        let network = Network::new(crate::net::Config::default(), std::sync::Arc::default());
        let rates = Rates::new(network.clone());
        let window = |answer: Value| answer["windowSeconds"].as_f64().unwrap_or_default();
        let first = window(rates.answer().await);
        let second = window(rates.answer().await);
        assert!(first > 1.0 && second > first, "since an earlier question: {first}, {second}");
        rates.earlier.lock().await.iter_mut().for_each(|sample| sample.at -= LONGEST + SHORTEST);
        let seat = network.lobby().enter(&[std::sync::Arc::from("n/a")].into());
        let third = window(rates.answer().await);
        assert!(seat.is_some() && third == 1.0, "not even a second: {third}");
    }
}
