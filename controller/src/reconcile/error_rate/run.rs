//! The task that looks at rollouts and says which ones fail requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use edge_api::kind::Kind;
use edge_api::kinds::{deployment, pod, replica_set};
use edge_api::meta::{self, text};
use edge_api::rollout::{
    ERROR_RATE_EXCEEDED, ErrorRate, REFUSED_TEMPLATE, REQUEST_FAILURE, RESTORED_TEMPLATE, ROLLBACK_ON,
};
use edge_api::scale;
use edge_api::time::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::mirror::{TEMPLATE_HASH, template_digest};
use crate::reconcile::error_rate::tally::{Tally, too_many};
use crate::reconcile::error_rate::watch;
use crate::registry::{Context, Object, PatchKind, Reason, Registry, Target};
use crate::requests::{Container, Counts, Requests};
use crate::store::{Cursor, RangeOptions, ReadError, Revision};

/// The account that the condition is written as: the controller's whose status it is part of.
const ACCOUNT: &str = "deployment-controller";
const KIND: &Kind = &deployment::KIND;

/// Watches rollouts until `stop`.
///
/// # Errors
/// When the store cannot be followed.
pub async fn run(registry: Registry, requests: Requests, stop: CancellationToken) -> Result<(), ReadError> {
    let mut task = Task { registry, requests, asking: BTreeMap::new() };
    let mut cursor = task.follow()?;
    loop {
        let sleep = tokio::select! {
            sleep = task.look() => sleep,
            () = stop.cancelled() => return Ok(()),
        };
        tokio::select! {
            changes = cursor.next() => match changes {
                Ok(changes) => changes.iter().for_each(|change| {
                    task.hear(change.key.as_str(), change.revision, change.after.as_ref());
                }),
                Err(ReadError::Compacted { .. }) => cursor = task.follow()?,
                Err(error) => return Err(error),
            },
            () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// A Deployment that asks, between two looks.
struct Asking {
    deployment: Value,
    /// The ReplicaSet whose Pods are counted, by its uid.
    set: String,
    tally: Tally,
    looked: Option<Timestamp>,
}

/// The Pods of a Deployment's present template.
struct Sight {
    /// The ReplicaSet.
    set: Value,
    pods: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

struct Task {
    registry: Registry,
    requests: Requests,
    /// Deployments that ask, by their keys in the store.
    asking: BTreeMap<String, Asking>,
}

impl Task {
    fn follow(&mut self) -> Result<Cursor, ReadError> {
        let prefix = format!("{}/", KIND.key_prefix());
        let page = self.registry.store().range(&prefix, &RangeOptions::default())?;
        let there: BTreeSet<&str> = page.items.iter().map(|(key, _)| key.as_str()).collect();
        self.asking.retain(|key, _| there.contains(key.as_str()));
        for (key, stored) in &page.items {
            self.hear(key.as_str(), stored.revision, Some(&stored.value));
        }
        self.registry.store().watch(&prefix, page.revision)
    }

    /// Takes note of a Deployment as it is now. One that does not ask is not even read.
    fn hear(&mut self, key: &str, revision: Revision, after: Option<&Bytes>) {
        let needle = ROLLBACK_ON.as_bytes();
        let asks = |bytes: &&Bytes| bytes.windows(needle.len()).any(|window| window == needle);
        let read = |bytes: &Bytes| Object { revision, stored: bytes.clone() }.value();
        let deployment = after.filter(asks).map(read).filter(|one| watch::asked(one).is_some());
        let Some(deployment) = deployment else {
            self.asking.remove(key);
            return;
        };
        match self.asking.get_mut(key) {
            Some(known) => known.deployment = deployment,
            None => {
                let (set, tally) = (String::new(), Tally::default());
                self.asking.insert(key.to_owned(), Asking { deployment, set, tally, looked: None });
            }
        }
    }

    /// Looks at all that are due; how long nothing is to be done then, which is for ever while nothing is rolled out.
    async fn look(&mut self) -> Option<Duration> {
        let now = self.registry.now();
        let due =
            |one: &Asking| watch::next(&one.deployment, one.looked, now).is_some_and(|time| time <= now);
        let due: Vec<String> =
            self.asking.iter().filter(|(_, one)| due(one)).map(|(key, _)| key.clone()).collect();
        let sights: Vec<(String, Option<Sight>)> = due
            .into_iter()
            .map(|key| (key.clone(), sight(&self.registry, &self.asking[&key].deployment)))
            .collect();
        let nodes: BTreeSet<&str> = sights
            .iter()
            .filter_map(|(_, sight)| sight.as_ref())
            .flat_map(|s| &s.nodes)
            .map(String::as_str)
            .collect();
        let counts = self.requests.counts(nodes.iter().copied()).await;
        for (key, sight) in sights {
            let Some(known) = self.asking.get_mut(&key) else { continue };
            let before = known.looked.replace(now);
            let (Some(sight), Some(rate)) = (sight, watch::asked(&known.deployment)) else { continue };
            if let Some(found) = known.measure(&sight, &counts, rate, now)
                && tell(&self.registry, &known.deployment, &sight, found, rate, now).await == Told::TooLate
            {
                known.looked = before;
            }
        }
        let now = self.registry.now();
        self.asking
            .values()
            .filter_map(|one| watch::next(&one.deployment, one.looked, now))
            .min()
            .map(|next| next.since(now))
    }
}

impl Asking {
    /// Counts what the new Pods did; answers it if too many requests failed.
    fn measure(
        &mut self,
        sight: &Sight,
        counts: &BTreeMap<Container, Counts>,
        rate: ErrorRate,
        now: Timestamp,
    ) -> Option<Counts> {
        let namespace = meta::namespace(&self.deployment);
        let own =
            |container: &&Container| container.namespace == namespace && sight.pods.contains(&container.pod);
        let own: BTreeMap<Container, Counts> =
            counts.iter().filter(|(container, _)| own(container)).map(|(c, n)| (c.clone(), *n)).collect();
        let uid = meta::uid(&sight.set);
        if self.set != uid {
            // The Pods of a template that comes back did other work before.
            let comes_back =
                meta::annotation(&sight.set, "deployment.kubernetes.io/revision-history").is_some();
            self.tally = if comes_back { Tally::after(own.clone()) } else { Tally::default() };
            self.set = uid.to_owned();
        }
        self.tally.take(own, now, rate.window);
        let found = self.tally.within(rate.window, now);
        too_many(found, rate.most).then_some(found)
    }
}

/// What there is of a Deployment's present template; none if it was rolled back or to, or has no ReplicaSet.
fn sight(registry: &Registry, deployment: &Value) -> Option<Sight> {
    let namespace = meta::namespace(deployment);
    let selector = scale::of(KIND, deployment)?;
    let selector = text(&selector, &["status", "selector"]);
    let list = |kind, labels: &str| -> Vec<Value> {
        let found = registry.labelled(&Target::all(kind, namespace), labels);
        found.map(|all| all.iter().map(Object::value).collect()).unwrap_or_default()
    };
    let owned_by =
        |object: &Value, uid: &str| meta::controller_of(object).is_some_and(|owner| owner.uid == uid);
    let template = template_digest(&deployment["spec"]["template"]);
    let present = |set: &Value| template_digest(&set["spec"]["template"]) == template;
    let uid = meta::uid(deployment);
    let set =
        list(&replica_set::KIND, selector).into_iter().find(|set| owned_by(set, uid) && present(set))?;
    let hash = meta::label(&set, TEMPLATE_HASH)?.to_owned();
    let noted = |annotation| meta::annotation(deployment, annotation) == Some(hash.as_str());
    if noted(REFUSED_TEMPLATE) || noted(RESTORED_TEMPLATE) {
        return None;
    }
    let pods = list(&pod::KIND, &format!("{selector},{TEMPLATE_HASH}={hash}"));
    let pods: Vec<Value> = pods.into_iter().filter(|pod| owned_by(pod, meta::uid(&set))).collect();
    let nodes = pods.iter().map(|pod| text(pod, &["spec", "nodeName"]).to_owned());
    Some(Sight {
        pods: pods.iter().map(|pod| meta::name(pod).to_owned()).collect(),
        nodes: nodes.filter(|node| !node.is_empty()).collect(),
        set,
    })
}

/// What became of the condition.
#[derive(PartialEq)]
enum Told {
    /// It is written, or cannot be.
    Done,
    /// The Deployment has changed meanwhile, which will be heard: it is looked at again.
    TooLate,
}

/// Writes the condition, on the Deployment as it was looked at.
async fn tell(
    registry: &Registry,
    deployment: &Value,
    sight: &Sight,
    found: Counts,
    rate: ErrorRate,
    now: Timestamp,
) -> Told {
    let message = format!(
        "ReplicaSet {:?} failed {} of {} requests within {}s, more than a share of {}.",
        meta::name(&sight.set),
        found.failed,
        found.taken,
        rate.window.as_secs(),
        rate.most,
    );
    let condition = json!({"type": REQUEST_FAILURE, "status": "True", "reason": ERROR_RATE_EXCEEDED,
        "message": message, "lastTransitionTime": now, "lastUpdateTime": now});
    let version = meta::resource_version(deployment);
    let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": [condition]}});
    let (namespace, name) = (meta::namespace(deployment), meta::name(deployment));
    let target = Target::one(KIND, namespace, name).sub("status");
    match registry.patch(&Context::controller(ACCOUNT), &target, PatchKind::Strategic, &patch).await {
        Ok(_) => Told::Done,
        Err(error) if error.reason == Reason::Conflict => Told::TooLate,
        Err(error) => {
            tracing::warn!(namespace, name, error = error.message, "failed requests are not told");
            Told::Done
        }
    }
}
