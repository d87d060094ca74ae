//! What the server serves, by aggregated discovery, and the words that name it.

use std::borrow::Cow;

use serde_json::Value;

use crate::failure::Failure;

/// Where discovery is asked for.
pub const PATHS: [&str; 2] = ["/api", "/apis"];
/// In which form.
pub const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// One resource of the server.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The API group, empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The name in paths, such as `pods`.
    pub plural: String,
    /// The name of one, such as `pod`.
    pub singular: String,
    /// The kind, such as `Pod`.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The short names.
    pub short_names: Vec<String>,
    /// The categories, such as `all`.
    pub categories: Vec<String>,
    /// The verbs.
    pub verbs: Vec<String>,
    /// The names of the subresources.
    pub subresources: Vec<String>,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// How kubectl names the type in its messages: `deployment.apps`, `pod`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.singular.clone()
        } else {
            format!("{}.{}", self.singular, self.group)
        }
    }

    /// The path of the collection, in `namespace` if given and if it has any.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/{}/namespaces/{namespace}/{}", self.version, self.plural),
            None => format!("{root}/{}/{}", self.version, self.plural),
        }
    }

    /// The path of one object.
    pub fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(Some(namespace)))
    }
}

/// Every resource, in the server's order.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// The resources; of a group with several versions the preferred comes first.
    pub resources: Vec<Resource>,
}

impl Catalogue {
    /// What the server's answers to [`PATHS`] say.
    ///
    /// # Errors
    /// When they list nothing: the server does not speak aggregated discovery.
    pub fn of(answers: &[Value]) -> Result<Catalogue, Failure> {
        let mut resources = Vec::new();
        answers.iter().for_each(|answer| read_groups(answer, &mut resources));
        if resources.is_empty() {
            return Err(Failure::say(
                "the server has no aggregated discovery (Kubernetes 1.26 or later has)",
            ));
        }
        Ok(Catalogue { resources })
    }

    /// The resource that `word` names: plural, singular, kind or short name, also as `NAME.GROUP`
    /// or `NAME.VERSION.GROUP`.
    pub fn find(&self, word: &str) -> Option<&Resource> {
        let word = word.to_ascii_lowercase();
        let (name, rest) = match word.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (word.as_str(), None),
        };
        let in_group = |resource: &&Resource| match rest {
            None => true,
            Some(rest) => {
                rest == resource.group
                    || rest.split_once('.').is_some_and(|(version, group)| {
                        version == resource.version && group == resource.group
                    })
                    || (resource.group.is_empty() && rest == resource.version)
            }
        };
        let named = |resource: &&Resource| {
            resource.plural == name || resource.singular == name || resource.kind.eq_ignore_ascii_case(name)
        };
        let short = |resource: &&Resource| resource.short_names.iter().any(|short| short == name);
        let mut all = self.resources.iter().filter(in_group);
        all.clone().find(named).or_else(|| all.find(short))
    }

    /// The resources of a category, such as `all`, each kind once.
    pub fn category(&self, word: &str) -> Vec<&Resource> {
        self.resources
            .iter()
            .filter(|resource| resource.categories.iter().any(|category| category == word))
            .collect()
    }

    /// The resource of an object's `apiVersion` and `kind`.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.kind == kind && resource.api_version() == api_version)
    }
}

fn read_groups(list: &Value, out: &mut Vec<Resource>) {
    for group in elements(&list["items"]) {
        let group_name = text(&group["metadata"]["name"]);
        for version in elements(&group["versions"]) {
            let version_name = text(&version["version"]);
            for resource in elements(&version["resources"]) {
                out.push(Resource {
                    group: group_name.to_string(),
                    version: version_name.to_string(),
                    plural: text(&resource["resource"]).into_owned(),
                    singular: text(&resource["singularResource"]).into_owned(),
                    kind: text(&resource["responseKind"]["kind"]).into_owned(),
                    namespaced: resource["scope"] == "Namespaced",
                    short_names: texts(&resource["shortNames"]),
                    categories: texts(&resource["categories"]),
                    verbs: texts(&resource["verbs"]),
                    subresources: elements(&resource["subresources"])
                        .map(|sub| text(&sub["subresource"]).into_owned())
                        .collect(),
                });
            }
        }
    }
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Cow<'_, str> {
    Cow::Borrowed(value.as_str().unwrap_or_default())
}

fn texts(value: &Value) -> Vec<String> {
    elements(value).map(|value| text(value).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::discovery::{Catalogue, read_groups};

    fn catalogue() -> Catalogue {
        let resource = |plural: &str, singular: &str, kind: &str, short: &str| {
            json!({"resource": plural, "singularResource": singular, "scope": "Namespaced", "shortNames": [short],
                "responseKind": {"kind": kind}, "verbs": ["get"], "categories": ["all"]})
        };
        let list = json!({"items": [
            {"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [resource("pods", "pod", "Pod", "po"), resource("events", "event", "Event", "ev")]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [resource("deployments", "deployment", "Deployment", "deploy")]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [resource("events", "event", "Event", "ev")]}]},
        ]});
        let mut resources = Vec::new();
        read_groups(&list, &mut resources);
        Catalogue { resources }
    }

    #[test]
    fn every_name_of_a_resource_finds_it() {
        let catalogue = catalogue();
        for word in ["po", "pod", "pods", "Pod", "pods.v1"] {
            assert_eq!(catalogue.find(word).map(|found| found.plural.as_str()), Some("pods"), "{word}");
        }
        for word in ["deploy", "deployments.apps", "deployment.v1.apps"] {
            assert_eq!(
                catalogue.find(word).map(|found| found.qualified()),
                Some("deployment.apps".to_owned()),
                "{word}"
            );
        }
        assert_eq!(catalogue.find("events").map(|found| found.group.as_str()), Some(""));
        assert_eq!(
            catalogue.find("events.events.k8s.io").map(|found| found.group.as_str()),
            Some("events.k8s.io")
        );
        assert!(catalogue.find("pods.apps").is_none());
    }

    #[test]
    fn paths_follow_group_and_scope() {
        let catalogue = catalogue();
        let deploy = catalogue.find("deploy").expect("in the catalogue");
        assert_eq!(deploy.object("shop", "web"), "/apis/apps/v1/namespaces/shop/deployments/web");
        assert_eq!(deploy.collection(None), "/apis/apps/v1/deployments");
        let pod = catalogue.find("pod").expect("in the catalogue");
        assert_eq!(pod.object("shop", "web"), "/api/v1/namespaces/shop/pods/web");
    }
}
