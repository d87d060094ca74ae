//! Paths of the resources a node touches.

/// A resource's place in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// `/api/v1` or `/apis/<group>/<version>`.
    pub root: &'static str,
    /// The plural of the URL.
    pub plural: &'static str,
}

impl Resource {
    /// `pods`
    pub const PODS: Resource = Resource::core("pods");
    /// `nodes`
    pub const NODES: Resource = Resource::core("nodes");
    /// `services`
    pub const SERVICES: Resource = Resource::core("services");
    /// `namespaces`
    pub const NAMESPACES: Resource = Resource::core("namespaces");
    /// `configmaps`
    pub const CONFIG_MAPS: Resource = Resource::core("configmaps");
    /// `secrets`
    pub const SECRETS: Resource = Resource::core("secrets");
    /// `persistentvolumeclaims`
    pub const PERSISTENT_VOLUME_CLAIMS: Resource = Resource::core("persistentvolumeclaims");
    /// `persistentvolumes`
    pub const PERSISTENT_VOLUMES: Resource = Resource::core("persistentvolumes");
    /// `serviceaccounts`
    pub const SERVICE_ACCOUNTS: Resource = Resource::core("serviceaccounts");
    /// `events`
    pub const EVENTS: Resource = Resource::core("events");
    /// `endpointslices`
    pub const ENDPOINT_SLICES: Resource =
        Resource { root: "/apis/discovery.k8s.io/v1", plural: "endpointslices" };
    /// `ingresses`
    pub const INGRESSES: Resource = Resource { root: "/apis/networking.k8s.io/v1", plural: "ingresses" };
    /// `horizontalpodautoscalers`
    pub const AUTOSCALERS: Resource =
        Resource { root: "/apis/autoscaling/v2", plural: "horizontalpodautoscalers" };
    /// `leases`
    pub const LEASES: Resource = Resource { root: "/apis/coordination.k8s.io/v1", plural: "leases" };

    const fn core(plural: &'static str) -> Resource {
        Resource { root: "/api/v1", plural }
    }

    /// The path of the collection over all namespaces (or of a cluster-scoped one).
    pub fn all(self) -> String {
        format!("{}/{}", self.root, self.plural)
    }

    /// The path of the collection in one namespace; an empty namespace means cluster scope.
    pub fn within(self, namespace: &str) -> String {
        if namespace.is_empty() {
            return self.all();
        }
        format!("{}/namespaces/{namespace}/{}", self.root, self.plural)
    }

    /// The path of one object.
    pub fn named(self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.within(namespace))
    }

    /// The path of a subresource of one object.
    pub fn part(self, namespace: &str, name: &str, subresource: &str) -> String {
        format!("{}/{subresource}", self.named(namespace, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(Resource::PODS.all(), "/api/v1/pods");
        assert_eq!(Resource::PODS.part("a", "b", "status"), "/api/v1/namespaces/a/pods/b/status");
        assert_eq!(Resource::NODES.named("", "n"), "/api/v1/nodes/n");
        assert_eq!(Resource::LEASES.within("x"), "/apis/coordination.k8s.io/v1/namespaces/x/leases");
    }
}
