//! What only Pods have: binding and eviction.

use edge_api::kinds::pod::{Disruption, set_condition};
use edge_api::meta;
use edge_api::meta::{items, text};
use serde_json::Value;

use crate::registry::check;
use crate::registry::update::{ATTEMPTS, Outcome};
use crate::registry::{ApiError, Context, DeleteOptions, Deleted, Object, Registry, Target};

impl Registry {
    /// Binds the Pod to a node.
    pub(crate) async fn bind(
        &self,
        cx: &Context,
        target: &Target<'_>,
        mut binding: Value,
    ) -> Result<Object, ApiError> {
        self.authorise(cx, "create", target, target.name)?;
        check::as_type("v1", "Binding", &mut binding)?;
        check::conform(cx, "io.k8s.api.core.v1.Binding", "Binding", &mut binding)?;
        let node = text(&binding, &["target", "name"]).to_owned();
        if node.is_empty() || !matches!(text(&binding, &["target", "kind"]), "" | "Node") {
            return Err(ApiError::bad_request("target: a binding names a Node"));
        }
        let whole = Target { subresource: "", ..*target };
        for _ in 0..ATTEMPTS {
            let current = self.current(&whole)?;
            let pod = current.value();
            self.bindable(target, &binding, &pod)?;
            let bound = self.bound(pod, &node, &binding);
            if let Outcome::Done(object) = self.replace_bound(cx, &whole, &current, bound).await? {
                return Ok(object);
            }
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    fn bindable(&self, target: &Target<'_>, binding: &Value, pod: &Value) -> Result<(), ApiError> {
        let name = target.name;
        let conflict = |why: String| {
            let message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
            Err(ApiError { message, ..ApiError::conflict(target.kind, name, "") })
        };
        let (uid, wished) = (meta::uid(pod), meta::uid(binding));
        let (is, version) = (meta::resource_version(pod), meta::resource_version(binding));
        match text(pod, &["spec", "nodeName"]) {
            _ if !wished.is_empty() && wished != uid => conflict(format!(
                "Precondition failed: UID in precondition: {wished}, UID in object meta: {uid}"
            )),
            _ if !version.is_empty() && version != is => conflict(
                "the object has been modified; please apply your changes to the latest version".to_owned(),
            ),
            "" if meta::deletion_timestamp(pod).is_some() => {
                conflict(format!("pod {name} is being deleted, cannot be assigned to a host"))
            }
            "" => Ok(()),
            node => conflict(format!("pod {name} is already assigned to node {node:?}")),
        }
    }

    fn bound(&self, mut pod: Value, node: &str, binding: &Value) -> Value {
        pod["spec"]["nodeName"] = node.into();
        for (key, value) in meta::annotations(binding) {
            meta::set_annotation(&mut pod, &key, &value);
        }
        // It is where it was meant to be, or elsewhere.
        meta::object_mut(&mut pod, "status").remove("nominatedNodeName");
        set_condition(&mut pod, "PodScheduled", "True", ("", ""), self.now());
        pod
    }

    /// Binding writes spec and status at once, which no other write does, and needs no validation of the spec.
    async fn replace_bound(
        &self,
        cx: &Context,
        target: &Target<'_>,
        current: &Object,
        bound: Value,
    ) -> Result<Outcome, ApiError> {
        use crate::registry::check::Refused;
        use crate::store::{Condition, Durability};
        let bytes = check::stored(target.kind, bound)?;
        if cx.dry_run {
            return Ok(Outcome::Done(Object { revision: current.revision, stored: bytes }));
        }
        let when = vec![(target.key(), Condition::At(current.revision))];
        match self.commit(check::put(target, bytes.clone(), when, Durability::Durable)).await {
            Ok(revision) => Ok(Outcome::Done(Object { revision, stored: bytes })),
            Err(Refused::Conflict(_)) => Ok(Outcome::Raced),
            Err(Refused::Failed(error)) => Err(error),
        }
    }

    /// Deletes the Pod if its budget allows it.
    pub(crate) async fn evict(
        &self,
        cx: &Context,
        target: &Target<'_>,
        mut eviction: Value,
    ) -> Result<Object, ApiError> {
        self.authorise(cx, "create", target, target.name)?;
        check::as_type("policy/v1", "Eviction", &mut eviction)?;
        check::conform(cx, "io.k8s.api.policy.v1.Eviction", "Eviction", &mut eviction)?;
        let sent = &eviction["deleteOptions"];
        let word = |path: &[&str]| Some(text(sent, path).to_owned()).filter(|word| !word.is_empty());
        let options = DeleteOptions {
            grace_period_seconds: meta::number(sent, &["gracePeriodSeconds"]),
            uid: word(&["preconditions", "uid"]),
            resource_version: word(&["preconditions", "resourceVersion"]),
            disruption: Some(Disruption::EVICTION),
            ..DeleteOptions::default()
        };
        let dry = !items(sent, &["dryRun"]).is_empty();
        let cx = Context { dry_run: cx.dry_run || dry, ..cx.clone() };
        self.spend_budget(&cx, &Target { subresource: "", ..*target }).await?;
        match self.remove(&cx, &Target { subresource: "", ..*target }, &options).await? {
            Deleted::Gone(pod) | Deleted::Waiting(pod) => Ok(pod),
        }
    }
}
