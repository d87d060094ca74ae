//! Pods and nodes: bound once, never to more than a node has, never to one that was closed all the time.

use std::collections::BTreeSet;

use crate::mirror::{Object, Pod, Resources, World};
use crate::simulation::rule::{Rule, Step};

/// See the module.
#[derive(Default)]
pub struct Binding {
    /// Nodes that have been cordoned since the control plane was quiet.
    cordoned: BTreeSet<String>,
}

impl Rule for Binding {
    fn promise(&self) -> &'static str {
        "no Pod is bound twice, to a full node, or to a cordoned one"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        if let crate::mirror::Detail::Node((_, after)) = &step.delta.detail
            && after.as_ref().is_none_or(|node| !node.body.unschedulable)
        {
            self.cordoned.remove(&*step.delta.key.name);
        }
        let Some(pod) = step.pod() else { return Ok(()) };
        let (before, after) = (pod.before, pod.after);
        let was = before.and_then(|pod| pod.body.node.as_deref());
        let Some(after) = after else { return Ok(()) };
        let Some(node) = after.body.node.as_deref() else {
            return was.map_or(Ok(()), |was| Err(format!("{} left its node {was}", after.key())));
        };
        if was == Some(node) {
            return Ok(());
        }
        if let Some(was) = was {
            return Err(format!("{} was bound to {was} and is bound to {node}", after.key()));
        }
        fits(after, node, step.truth)?;
        let daemon = after.meta.controller().is_some_and(|owner| owner.kind == "DaemonSet");
        if self.cordoned.contains(node) && !daemon {
            return Err(format!("{} is bound to {node}, which is cordoned", after.key()));
        }
        Ok(())
    }

    fn quiet(&mut self, truth: &World) {
        let cordoned = truth.nodes.all().filter(|node| node.body.unschedulable);
        self.cordoned = cordoned.map(|node| node.meta.name.to_string()).collect();
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        match truth.pods.all().find(|pod| pod.body.node.is_none()) {
            Some(pod) => Err(format!("{} has no node: {:?}", pod.key(), pod.body.unschedulable)),
            None => Ok(()),
        }
    }
}

fn fits(pod: &Object<Pod>, node: &str, truth: &World) -> Result<(), String> {
    // A node that is just gone, or new again, is judged by what it was.
    let Some(found) = truth.nodes.get("", node) else { return Ok(()) };
    let (mut asked, mut count) = (Resources::default(), 0);
    for other in truth.pods.on_node(node).filter(|other| !other.body.finished()) {
        asked.add(&other.body.requests);
        count += 1;
    }
    let has = &found.body;
    if count > has.pods || asked.cpu > has.allocatable.cpu || asked.memory > has.allocatable.memory {
        return Err(format!("{node} is too small for {count} Pods with {}", pod.key()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simulation::rules::history::{
        Event, check, controller, managed, node, phase, pod, user, with,
    };

    fn asking(name: &str, cpu: &str, memory: &str) -> Value {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        with(pod(name), json!({"spec": {"containers": [container]}}))
    }

    fn bound(pod: Value) -> Event {
        controller("default-scheduler", pod)
    }

    #[test]
    fn a_binding_can_be_the_second_too_much_or_to_a_closed_node() {
        let free = |pod: Value| with(pod, json!({"spec": {"nodeName": null}}));
        let on = |pod: Value, node: &str| with(pod, json!({"spec": {"nodeName": node}}));
        let closed = || with(node("n", 2), json!({"spec": {"unschedulable": true}}));
        let small = |name: &str| asking(name, "10m", "1Mi");
        let open = || vec![user(node("n", 2)), user(free(small("a"))), bound(small("a"))];
        let then = |mut events: Vec<Event>, more: Vec<Event>| {
            events.extend(more);
            events
        };
        check::<Binding>(&[
            ("a node with room", open(), None),
            (
                "bound twice",
                then(open(), vec![bound(on(small("a"), "m"))]),
                Some("was bound to n and is bound to m"),
            ),
            ("no node any more", then(open(), vec![bound(free(small("a")))]), Some("left its node n")),
            ("room for one more", then(open(), vec![bound(small("b"))]), None),
            (
                "a Pod too many",
                then(open(), vec![bound(small("b")), bound(small("c"))]),
                Some("too small for 3 Pods"),
            ),
            (
                "too much memory",
                then(open(), vec![bound(asking("b", "1m", "1Gi"))]),
                Some("too small for 2 Pods"),
            ),
            (
                "too much CPU",
                then(open(), vec![bound(asking("b", "1", "1Mi"))]),
                Some("too small for 2 Pods"),
            ),
            (
                "what has ended takes no room",
                then(open(), vec![user(phase(small("a"), "Succeeded")), bound(asking("b", "1", "1Gi"))]),
                None,
            ),
            (
                "closed, as everybody knows",
                vec![user(closed()), Event::Quiet, bound(small("a"))],
                Some("bound to n, which is cordoned"),
            ),
            (
                "closed just now",
                vec![user(node("n", 2)), Event::Quiet, user(closed()), bound(small("a"))],
                None,
            ),
            (
                "closed again just now",
                vec![user(closed()), Event::Quiet, user(node("n", 2)), user(closed()), bound(small("a"))],
                None,
            ),
            (
                "closed, but not to DaemonSets",
                vec![
                    user(closed()),
                    Event::Quiet,
                    bound(with(small("a"), managed("apps/v1", "DaemonSet", "d"))),
                ],
                None,
            ),
            ("all have a node", then(open(), vec![Event::Settled]), None),
            ("one has none", vec![user(free(small("a"))), Event::Settled], Some("a has no node")),
        ]);
    }
}
