//! How many requests a second came lately, asked of the nodes at the moment it is asked of us.
//!
//! The nodes count and make the rates, by their own clocks; here they are added up. Nothing is collected beforehand
//! and nothing is kept. Of a node that does not answer nothing is known, and then not that something is without
//! requests either.

use std::collections::HashMap;
use std::time::Duration;

use edge_api::meta::{items, text};
use futures::future::join_all;
use serde_json::Value;

use crate::mirror::Name;
use crate::tunnel::Tunnels;

/// How long a node may take: a second for the rate, and as long for somebody who asked before.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is counted as a whole, on whichever nodes it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passed {
    /// What came for a Service.
    Service,
    /// What came through an Ingress.
    Ingress,
}

/// Requests a second, of all nodes.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Over how many seconds, at most.
    pub window: f64,
    /// Whether there are nodes, and all of them have answered.
    complete: bool,
    /// By the Pod's uid.
    pods: HashMap<String, f64>,
    passed: HashMap<(Passed, Name), f64>,
}

impl Rates {
    /// Asks all nodes that are connected.
    pub async fn ask(tunnels: &Tunnels) -> Rates {
        let nodes = tunnels.connected();
        let asking = nodes.iter().map(|node| tokio::time::timeout(PATIENCE, answer(tunnels, node)));
        let answers = join_all(asking).await.into_iter().map(|answer| answer.ok().flatten());
        Rates::of(&answers.collect::<Vec<_>>())
    }

    /// What the nodes' answers say, of which those are none that did not answer.
    fn of(answers: &[Option<Value>]) -> Rates {
        let mut rates = Rates {
            complete: !answers.is_empty() && answers.iter().all(Option::is_some),
            ..Rates::default()
        };
        for answer in answers.iter().flatten() {
            let rate = |one: &Value| one["perSecond"].as_f64().unwrap_or_default();
            rates.window = rates.window.max(answer["windowSeconds"].as_f64().unwrap_or_default());
            for pod in items(answer, &["pods"]) {
                rates.pods.insert(text(pod, &["uid"]).to_owned(), rate(pod));
            }
            for (field, passed) in [("services", Passed::Service), ("ingresses", Passed::Ingress)] {
                for one in items(answer, &[field]) {
                    let name = Name::new(text(one, &["namespace"]), text(one, &["name"]));
                    *rates.passed.entry((passed, name)).or_default() += rate(one);
                }
            }
        }
        rates
    }

    /// Of a Pod; none if its node does not say.
    pub fn of_pod(&self, uid: &str) -> Option<f64> {
        self.pods.get(uid).copied()
    }

    /// Of something else that is there; none if that is not known.
    pub fn of_passed(&self, passed: Passed, name: &Name) -> Option<f64> {
        self.complete.then(|| self.passed.get(&(passed, name.clone())).copied().unwrap_or_default())
    }
}

async fn answer(tunnels: &Tunnels, node: &str) -> Option<Value> {
    serde_json::from_slice(&tunnels.read(node, "/stats/requests").await?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nodes_say_adds_up_and_silence_is_no_zero() {
        let service = |name: &str, rate: f64| json!({"namespace": "n", "name": name, "perSecond": rate});
        let one = json!({"windowSeconds": 15.0, "services": [service("web", 1.5)], "ingresses": [service("web", 4.0)],
            "pods": [{"namespace": "n", "name": "p", "uid": "u", "perSecond": 0.0}]});
        let two = json!({"windowSeconds": 10.0, "services": [service("web", 0.5), service("other", 1.0)]});
        let of = |rates: &Rates, name: &str| rates.of_passed(Passed::Service, &Name::new("n", name));
        let all = Rates::of(&[Some(one.clone()), Some(two)]);
        assert_eq!((of(&all, "web"), of(&all, "other"), of(&all, "idle")), (Some(2.0), Some(1.0), Some(0.0)));
        assert_eq!(all.of_passed(Passed::Ingress, &Name::new("n", "web")), Some(4.0));
        assert_eq!((all.of_pod("u"), all.of_pod("v"), all.window), (Some(0.0), None, 15.0));
        let some = Rates::of(&[Some(one), None]);
        assert_eq!((of(&some, "web"), of(&some, "idle"), some.of_pod("u")), (None, None, Some(0.0)));
        assert_eq!(of(&Rates::of(&[]), "web"), None, "nobody was asked");
    }
}
