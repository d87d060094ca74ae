//! Metrics of objects beside what containers use, in the shape of `custom.metrics.k8s.io` and `external.metrics.k8s.io`.
//!
//! One is our own: `http_requests_per_second` of Pods, Services and Ingresses, counted by the nodes. Who registers
//! another server for a group, such as prometheus-adapter, is asked in our place. The API and the autoscaler both ask
//! here. Knows no HTTP of ours, and does not ask who may know.

mod own;

use edge_api::meta::{items, text};
use edge_api::quantity::Quantity;
use edge_api::uri::encode_component;
use serde_json::Value;

pub use own::{METRIC, RESOURCES, Resource};

use crate::aggregate::Aggregation;
use crate::identity::User;
use crate::rates::Rates;
use crate::registry::{ApiError, Reason, Registry};

/// The group of metrics of objects.
pub const GROUP: &str = "custom.metrics.k8s.io";
/// Its versions, the preferred one first.
pub const VERSIONS: &[&str] = &["v1beta2", "v1beta1"];
/// The group of metrics of what is no object.
const EXTERNAL: &str = "external.metrics.k8s.io";
/// Its version.
const EXTERNAL_VERSIONS: &[&str] = &["v1beta1"];
/// The name that stands for all objects that a selector selects.
pub const ALL: &str = "*";

/// What is asked about objects.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The namespace of the objects.
    pub namespace: &'a str,
    /// Their resource with its group, such as `ingresses.networking.k8s.io`.
    pub resource: &'a str,
    /// The name of one, or [`ALL`].
    pub name: &'a str,
    /// The metric.
    pub metric: &'a str,
    /// Labels of the objects, if all are asked for.
    pub selector: &'a str,
    /// Labels of the metric.
    pub metric_selector: &'a str,
}

/// Who knows such metrics. Cheap to clone.
#[derive(Clone)]
pub struct CustomMetrics {
    registry: Registry,
    aggregation: Aggregation,
}

impl CustomMetrics {
    /// Those of this registry's cluster.
    pub fn new(registry: Registry, aggregation: Aggregation) -> CustomMetrics {
        CustomMetrics { registry, aggregation }
    }

    /// Whether we ourselves are asked about objects.
    pub fn is_own(&self) -> bool {
        self.aggregation.who_serves(GROUP, VERSIONS).is_none()
    }

    /// Asks the nodes how many requests come.
    pub async fn rates(&self) -> Rates {
        Rates::ask(self.registry.tunnels()).await
    }

    /// Our own answer, a MetricValueList of this version, from what the nodes said.
    pub fn own(&self, question: &Question<'_>, version: &str, rates: &Rates) -> Result<Value, ApiError> {
        own::answer(&self.registry, question, version, rates)
    }

    /// The values of objects in thousandths, by their names. `rates` is what the nodes said, if it is our own answer.
    pub async fn values(
        &self,
        user: &User,
        question: &Question<'_>,
        rates: &Rates,
    ) -> Result<Vec<(String, i64)>, String> {
        let Some(remote) = self.aggregation.who_serves(GROUP, VERSIONS) else {
            let list = self.own(question, VERSIONS[0], rates).map_err(|error| error.message)?;
            return Ok(read(&list));
        };
        let Question { namespace, resource, name, metric, .. } = question;
        let mut path = format!("namespaces/{namespace}/{resource}/{name}/{}", encode_component(metric));
        let wishes =
            [("labelSelector", question.selector), ("metricLabelSelector", question.metric_selector)];
        append(&mut path, &wishes);
        Ok(read(&self.aggregation.read(&remote, user, &path).await?))
    }

    /// The values of a metric that is no object's, in thousandths.
    pub async fn external(
        &self,
        user: &User,
        namespace: &str,
        metric: &str,
        selector: &str,
    ) -> Result<Vec<i64>, String> {
        let remote = self.aggregation.who_serves(EXTERNAL, EXTERNAL_VERSIONS);
        let remote = remote.ok_or_else(|| format!("no external metrics API ({EXTERNAL}) registered"))?;
        let mut path = format!("namespaces/{namespace}/{}", encode_component(metric));
        append(&mut path, &[("labelSelector", selector)]);
        let list = self.aggregation.read(&remote, user, &path).await?;
        Ok(items(&list, &["items"]).iter().filter_map(milli).collect())
    }
}

/// A metric that nobody knows, in the words of those who serve such metrics.
fn unknown(question: &Question<'_>) -> ApiError {
    let Question { resource, name, metric, .. } = question;
    let of = if *name == ALL { String::new() } else { format!(" {name}") };
    ApiError::new(
        Reason::NotFound,
        format!("the server could not find the metric {metric} for {resource}{of}"),
    )
}

fn read(list: &Value) -> Vec<(String, i64)> {
    let one = |item: &Value| Some((text(item, &["describedObject", "name"]).to_owned(), milli(item)?));
    items(list, &["items"]).iter().filter_map(one).collect()
}

fn milli(item: &Value) -> Option<i64> {
    Quantity::parse(text(item, &["value"])).ok().map(|value| value.milli())
}

fn append(path: &mut String, parameters: &[(&str, &str)]) {
    let mut sign = '?';
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        path.push_str(&format!("{sign}{name}={}", encode_component(value)));
        sign = '&';
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_and_questions_escaped() {
        let item = |name: &str, value: &str| json!({"describedObject": {"name": name}, "value": value});
        let list = json!({"items": [item("a", "1500m"), item("b", "2"), item("c", "wrong")]});
        assert_eq!(read(&list), [("a".to_owned(), 1500), ("b".to_owned(), 2000)]);
        let mut path = "pods/*/m".to_owned();
        append(
            &mut path,
            &[("labelSelector", "app=web,tier in (a)"), ("other", ""), ("metricLabelSelector", "b=c")],
        );
        assert_eq!(path, "pods/*/m?labelSelector=app%3Dweb%2Ctier%20in%20%28a%29&metricLabelSelector=b%3Dc");
    }
}
