//! Finding out what a decision is made of: objects of the registry, and figures of those whom the metrics need.

use std::collections::{BTreeMap, BTreeSet};

use edge_api::catalogue::Catalogue;
use edge_api::kind::{Kind, Subresource};
use edge_api::kinds::{pod, pod_metrics};
use edge_api::meta::{self, number, text};
use edge_api::selector::LabelSelector;
use serde_json::Value;

use crate::custom_metrics::{ALL, CustomMetrics, Question};
use crate::identity::User;
use crate::mirror::Name;
use crate::rates::Rates;
use crate::reconcile::autoscaler::sight::{Pod, Reading, Reference, Sample, Scale, Sight, Spec};
use crate::registry::{ApiError, Context, Registry, Target};
use crate::usage::Usage;
use crate::wanted::Wanted;

/// Its name, as kube-controller-manager's; also the account it reads and writes as.
pub(super) const ACCOUNT: &str = "horizontal-pod-autoscaler";

/// Whom the autoscaler asks.
#[derive(Clone)]
pub struct Outside {
    /// The objects.
    pub registry: Registry,
    /// What Pods use.
    pub usage: Usage,
    /// How objects are measured otherwise.
    pub custom_metrics: CustomMetrics,
    /// Whom requests wait for.
    pub wanted: Wanted,
}

impl Outside {
    /// What is seen of those that are due. The nodes are asked once for all of them, and only what one of them needs.
    pub(super) async fn sights(&self, all: &BTreeMap<Name, Value>, due: &[Name]) -> Vec<(Name, Sight)> {
        let measured = || due.iter().flat_map(|key| meta::items(&all[key], &["spec", "metrics"]));
        let some = |types: &[&str]| measured().any(|metric| types.contains(&text(metric, &["type"])));
        let samples = match some(&["Resource", "ContainerResource"]) {
            true => self.samples().await,
            false => BTreeMap::new(),
        };
        let rates = match some(&["Pods", "Object"]) && self.custom_metrics.is_own() {
            true => self.custom_metrics.rates().await,
            false => Rates::default(),
        };
        let catalogue = self.registry.catalogue();
        let mut pods: BTreeMap<&Name, BTreeSet<String>> = BTreeMap::new();
        let mut sights = Vec::new();
        for (key, scaler) in all {
            let scale = self.scale(&catalogue, key, scaler).await;
            let selector = scale.as_ref().map(|scale| scale.selector.clone()).unwrap_or_default();
            let own = if selector.is_empty() {
                Vec::new()
            } else {
                list(&self.registry, &pod::KIND, &key.namespace, &selector)
            };
            pods.insert(key, own.iter().map(|(name, _)| name.name.to_string()).collect());
            if !due.contains(key) {
                continue;
            }
            let found =
                own.iter().filter_map(|(name, _)| Some((name.name.to_string(), samples.get(name)?.clone())));
            let mut readings = Vec::new();
            for metric in meta::items(scaler, &["spec", "metrics"]) {
                readings.push(self.reading(&catalogue, &key.namespace, &selector, metric, &rates).await);
            }
            let sight = Sight {
                scale,
                samples: found.collect(),
                pods: own.iter().map(|(_, pod)| Pod::of(pod)).collect(),
                readings,
                wanted: self.wanted.is(key),
                rivals: Vec::new(),
            };
            sights.push((key.clone(), sight));
        }
        for (key, sight) in &mut sights {
            let own = &pods[key];
            let shared = |other: &&Name| other.namespace == key.namespace && !pods[*other].is_disjoint(own);
            let sharing: Vec<String> =
                pods.keys().copied().filter(shared).map(|other| other.name.to_string()).collect();
            if sharing.len() > 1 {
                sight.rivals = sharing;
            }
        }
        sights
    }

    /// What there is of one metric.
    async fn reading(
        &self,
        catalogue: &Catalogue,
        namespace: &str,
        pods: &str,
        metric: &Value,
        rates: &Rates,
    ) -> Reading {
        let type_ = text(metric, &["type"]);
        let source = &metric[type_.to_lowercase().as_str()];
        let name = text(source, &["metric", "name"]);
        let user = User::controller(ACCOUNT);
        let selector = match labels(&source["metric"]["selector"]) {
            Ok(selector) => selector,
            Err(why) if type_ == "Pods" => return Reading::Pods(Err(why)),
            Err(why) => return Reading::Whole(Err(why)),
        };
        let question = Question {
            namespace,
            resource: "pods",
            name: ALL,
            metric: name,
            selector: pods,
            metric_selector: &selector,
        };
        match type_ {
            "Pods" => {
                let values = self.custom_metrics.values(&user, &question, rates).await;
                Reading::Pods(values.map(BTreeMap::from_iter).map_err(|why| failed("custom", &why)))
            }
            "Object" => {
                let object: Reference = meta::read(&source["describedObject"]).unwrap_or_default();
                let Some(kind) = kind_of(catalogue, &object, |_| true) else {
                    return Reading::Whole(Err(failed("custom", &no_matches(&object))));
                };
                let resource = kind.resource();
                let question = Question { resource: &resource, name: &object.name, selector: "", ..question };
                let values = self.custom_metrics.values(&user, &question, rates).await;
                let value = values.map(|values| values.first().map(|(_, value)| *value));
                Reading::Whole(match value {
                    Ok(Some(value)) => Ok(value),
                    Ok(None) => Err("no metrics returned from custom metrics API".to_owned()),
                    Err(why) => Err(failed("custom", &why)),
                })
            }
            "External" => {
                let values = self.custom_metrics.external(&user, namespace, name, &selector).await;
                Reading::Whole(match values {
                    Ok(values) if values.is_empty() => {
                        Err("no metrics returned from external metrics API".to_owned())
                    }
                    Ok(values) => Ok(values.iter().fold(0, |sum: i64, value| sum.saturating_add(*value))),
                    Err(why) => Err(failed("external", &why)),
                })
            }
            _ => Reading::Usage,
        }
    }

    async fn samples(&self) -> BTreeMap<Name, Sample> {
        let target = Target::all(&pod_metrics::KIND, "");
        let metrics = self.usage.of_pods(&target).await.unwrap_or_default();
        let named = |metrics: &Value| Name::new(meta::namespace(metrics), meta::name(metrics));
        metrics.iter().map(|metrics| (named(metrics), Sample::of(metrics))).collect()
    }

    async fn scale(&self, catalogue: &Catalogue, key: &Name, scaler: &Value) -> Result<Scale, String> {
        let spec: Spec = meta::read(&scaler["spec"]).unwrap_or_default();
        let kind = target_kind(catalogue, &spec.scale_target_ref)?;
        let target = Target::one(kind, &key.namespace, &spec.scale_target_ref.name).sub("scale");
        let scale = self.registry.get(&Context::controller(ACCOUNT), &target).await;
        let scale = scale.map_err(|error| error.message)?.value();
        Ok(Scale {
            replicas: number(&scale, &["spec", "replicas"]).unwrap_or(0),
            present: number(&scale, &["status", "replicas"]).unwrap_or(0),
            selector: text(&scale, &["status", "selector"]).to_owned(),
        })
    }
}

/// Objects of a kind with their names.
pub(super) fn list(
    registry: &Registry,
    kind: &'static Kind,
    namespace: &str,
    labels: &str,
) -> Vec<(Name, Value)> {
    let objects = registry.labelled(&Target::all(kind, namespace), labels);
    let objects = objects.unwrap_or_else(|error: ApiError| {
        tracing::warn!(kind = kind.kind, error = error.message, "objects cannot be listed");
        Vec::new()
    });
    let named = |value: Value| (Name::new(meta::namespace(&value), meta::name(&value)), value);
    objects.iter().map(|object| named(object.value())).collect()
}

fn failed(which: &str, why: &str) -> String {
    format!("unable to fetch metrics from {which} metrics API: {why}")
}

/// A selector of labels as text.
fn labels(selector: &Value) -> Result<String, String> {
    if !selector.is_object() {
        return Ok(String::new());
    }
    let selector: meta::LabelSelector = meta::read(selector).unwrap_or_default();
    LabelSelector::from_meta(&selector)
        .map(|selector| selector.to_string())
        .map_err(|error| error.to_string())
}

/// The kind of a target, which must be one that can be scaled.
pub(super) fn target_kind(catalogue: &Catalogue, target: &Reference) -> Result<&'static Kind, String> {
    let scaled = |kind: &'static Kind| kind.has(Subresource::Scale) && kind.is_namespaced();
    kind_of(catalogue, target, scaled).ok_or_else(|| {
        format!("unable to determine resource for scale target reference: {}", no_matches(target))
    })
}

/// The kind of an object, in whichever version, if it is such.
fn kind_of(
    catalogue: &Catalogue,
    object: &Reference,
    such: impl Fn(&'static Kind) -> bool,
) -> Option<&'static Kind> {
    let (group, _) = meta::split_api_version(&object.api_version);
    let exact = catalogue.by_kind(&object.api_version, &object.kind).filter(|kind| such(kind));
    let same = |kind: &&'static Kind| kind.group == group && kind.kind == object.kind;
    exact.or_else(|| catalogue.all().filter(|kind| such(kind)).find(same))
}

fn no_matches(object: &Reference) -> String {
    let (group, _) = meta::split_api_version(&object.api_version);
    format!("no matches for kind {:?} in group {group:?}", object.kind)
}
