//! Evictions and the budgets they are taken from.

use edge_api::kinds;
use edge_api::meta::{self, LabelSelector};
use edge_api::selector;
use serde_json::{Value, json};

use crate::registry::apply::Owners;
use crate::registry::update::{ATTEMPTS, Outcome};
use crate::registry::{ApiError, Cause, Context, Details, Object, Reason, Registry, Target};
use crate::store::RangeOptions;

const BUDGET: &edge_api::kind::Kind = &kinds::pod_disruption_budget::KIND;

/// After how many seconds a budget that is not up to date may be.
const RETRY_SECONDS: u32 = 10;

impl Registry {
    /// Takes the eviction of a Pod from its budget, if it has one.
    pub(crate) async fn spend_budget(&self, cx: &Context, pod: &Target<'_>) -> Result<(), ApiError> {
        for _ in 0..ATTEMPTS {
            let current = self.current(pod)?.value();
            if is_free(&current) {
                return Ok(());
            }
            let budgets = self.budgets_of(pod.namespace, &current)?;
            let [budget] = &budgets[..] else {
                if budgets.is_empty() {
                    return Ok(());
                }
                let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(ApiError::new(Reason::InternalError, message));
            };
            let object = budget.value();
            if !is_ready(&current) && lets_unhealthy_go(&object) {
                return Ok(());
            }
            let spent = spend(object, pod.name, &self.now().seconds())?;
            let name = meta::name(&spent).to_owned();
            let target = Target::one(BUDGET, pod.namespace, &name).sub("status");
            match self.replace(cx, &target, budget, &budget.value(), spent, Owners::Settled).await? {
                Outcome::Done(_) => return Ok(()),
                Outcome::Raced => {}
            }
        }
        Err(ApiError::modified(pod.kind, pod.name))
    }

    /// The budgets of a namespace that are about a Pod.
    fn budgets_of(&self, namespace: &str, pod: &Value) -> Result<Vec<Object>, ApiError> {
        let prefix = format!("{}/{namespace}/", BUDGET.key_prefix());
        let page = self.store().range(&prefix, &RangeOptions::default()).map_err(ApiError::internal)?;
        let objects = page
            .items
            .into_iter()
            .map(|(_, stored)| Object { revision: stored.revision, stored: stored.value });
        let labels = meta::labels(pod);
        Ok(objects
            .filter(|object| {
                let selector = LabelSelector::at(&object.value(), &["spec", "selector"]);
                let selector = selector.and_then(|one| selector::LabelSelector::from_meta(&one).ok());
                selector.is_some_and(|selector| selector.matches(&labels))
            })
            .collect())
    }
}

/// Whether nobody misses the Pod: it has ended, not begun, or is going.
fn is_free(pod: &Value) -> bool {
    let phase = meta::text(pod, &["status", "phase"]);
    matches!(phase, "Succeeded" | "Failed" | "Pending" | "") || meta::deletion_timestamp(pod).is_some()
}

fn is_ready(pod: &Value) -> bool {
    meta::condition(pod, "Ready").is_some_and(|ready| meta::text(ready, &["status"]) == "True")
}

/// Whether Pods that are not ready may go without being counted.
fn lets_unhealthy_go(budget: &Value) -> bool {
    let number = |field: &str| meta::number(budget, &["status", field]).unwrap_or(0);
    meta::text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow"
        || number("desiredHealthy") > 0 && number("currentHealthy") >= number("desiredHealthy")
}

/// The budget with one eviction less, or why it grants none.
fn spend(mut budget: Value, pod: &str, now: &str) -> Result<Value, ApiError> {
    let number = |field: &str| meta::number(&budget, &["status", field]).unwrap_or(0);
    let name = meta::name(&budget).to_owned();
    if number("observedGeneration") < meta::generation(&budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(why, Some(RETRY_SECONDS)));
    }
    let allowed = number("disruptionsAllowed");
    if allowed <= 0 {
        let (needed, healthy) = (number("desiredHealthy"), number("currentHealthy"));
        let why =
            format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently");
        return Err(refused(why, None));
    }
    budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
    if !budget["status"]["disruptedPods"].is_object() {
        budget["status"]["disruptedPods"] = json!({});
    }
    budget["status"]["disruptedPods"][pod] = now.into();
    Ok(budget)
}

fn refused(why: String, retry_after_seconds: Option<u32>) -> ApiError {
    let cause = Cause { reason: "DisruptionBudget".to_owned(), message: why, field: String::new() };
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let details = Details { causes: vec![cause], retry_after_seconds, ..Details::default() };
    ApiError::new(Reason::TooManyRequests, message).with_details(details)
}
