//! Which autoscalers a request for a Service wakes. Pure.

use edge_api::kinds::horizontal_pod_autoscaler::HorizontalPodAutoscaler;
use edge_api::kinds::ingress::Ingress;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Namespace and name.
type Name = (String, String);

/// The objects by which one autoscaler is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waker {
    services: Vec<Arc<str>>,
    ingresses: Vec<Name>,
}

impl Waker {
    /// What wakes an autoscaler; none if nothing does now.
    pub(crate) fn of(scaler: &HorizontalPodAutoscaler) -> Option<Waker> {
        let namespace = &scaler.metadata.namespace;
        let mut waker = Waker { services: Vec::new(), ingresses: Vec::new() };
        for object in scaler.woken_by() {
            match object.kind.as_str() {
                "Service" => waker.services.push(format!("{}.{namespace}", object.name).into()),
                "Ingress" => waker.ingresses.push((namespace.clone(), object.name.clone())),
                _ => {}
            }
        }
        (!waker.services.is_empty() || !waker.ingresses.is_empty()).then_some(waker)
    }

    /// Whether it is by this Ingress.
    pub(crate) fn is_by(&self, ingress: &Name) -> bool {
        self.ingresses.contains(ingress)
    }
}

/// The autoscalers (`namespace/name`) of each Service that wakes some, an Ingress standing for its Services.
pub(crate) fn by_service(
    wakers: &BTreeMap<Name, Waker>,
    ingresses: &BTreeMap<Name, Ingress>,
) -> HashMap<Arc<str>, Arc<[Arc<str>]>> {
    let mut found: HashMap<Arc<str>, BTreeSet<Arc<str>>> = HashMap::new();
    for ((namespace, name), waker) in wakers {
        let scaler: Arc<str> = format!("{namespace}/{name}").into();
        let behind = waker.ingresses.iter().filter_map(|key| ingresses.get(key)).flat_map(services_of);
        for service in waker.services.iter().cloned().chain(behind) {
            found.entry(service).or_default().insert(scaler.clone());
        }
    }
    found.into_iter().map(|(service, scalers)| (service, scalers.into_iter().collect())).collect()
}

fn services_of(ingress: &Ingress) -> impl Iterator<Item = Arc<str>> {
    let spec = &ingress.spec;
    let paths = spec.rules.iter().flat_map(|rule| &rule.http).flat_map(|http| &http.paths);
    let backends = paths.map(|path| &path.backend).chain(&spec.default_backend);
    let named = |name: &str| format!("{name}.{}", ingress.metadata.namespace).into();
    backends.filter_map(move |backend| Some(named(&backend.service.as_ref()?.name)))
}
