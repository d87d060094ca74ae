//! Which requests a webhook or a policy is about: rules over resources, and selectors over labels.

use edge_api::kind::Subresource;
use edge_api::meta::{self, at, items, text};
use edge_api::selector::LabelSelector;
use serde_json::Value;

use crate::registry::admit::{Operation, Request};

/// One rule: operations on resources.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

impl Rule {
    /// As configurations write it.
    pub(super) fn of(rule: &Value) -> Rule {
        let texts = |field: &str| {
            items(rule, &[field]).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            scope: text(rule, &["scope"]).to_owned(),
        }
    }

    /// Whether the rule is about a request. One that means equivalent requests too is about all versions.
    pub(super) fn matches(&self, request: &Request<'_>, equivalent: bool) -> bool {
        let kind = request.kind();
        let listed = |list: &[String], word: &str| list.iter().any(|one| one == "*" || one == word);
        let namespaced = kind.is_namespaced();
        let scope = match self.scope.as_str() {
            "Namespaced" => namespaced,
            "Cluster" => !namespaced,
            _ => true,
        };
        let named = self.names.is_empty() || self.names.iter().any(|name| name == request.target.name);
        scope
            && named
            && listed(&self.operations, request.operation.wire())
            && listed(&self.groups, kind.group)
            && (equivalent || listed(&self.versions, kind.version))
            && self
                .resources
                .iter()
                .any(|resource| is_resource(resource, kind.plural, request.target.subresource))
    }
}

/// Whether `pods`, `pods/log`, `pods/*`, `*/status`, `*` or `*/*` means a resource with a subresource.
fn is_resource(pattern: &str, plural: &str, subresource: &str) -> bool {
    let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
    let resource_fits = resource == "*" || resource == plural;
    resource_fits && (sub == subresource || sub == "*")
}

/// Selectors over the labels of the object and of its namespace.
#[derive(Clone, Debug)]
pub(super) struct Selectors {
    namespaces: LabelSelector,
    objects: LabelSelector,
}

impl Selectors {
    /// Those of a webhook or of the constraints of a policy.
    pub(super) fn of(holder: &Value) -> Selectors {
        let selector = |field: &str| match at(holder, &[field]).filter(|selector| !selector.is_null()) {
            None => LabelSelector::everything(),
            Some(_) => meta::LabelSelector::at(holder, &[field])
                .and_then(|selector| LabelSelector::from_meta(&selector).ok())
                .unwrap_or_else(LabelSelector::nothing),
        };
        Selectors { namespaces: selector("namespaceSelector"), objects: selector("objectSelector") }
    }

    /// Whether they select a request.
    pub(super) fn select(&self, request: &Request<'_>, object: &Value) -> bool {
        let by_object = self.objects.is_empty()
            || [object, request.old]
                .iter()
                .any(|object| !object.is_null() && self.objects.matches(&meta::labels(object)));
        by_object && self.select_namespace(request, object)
    }

    fn select_namespace(&self, request: &Request<'_>, object: &Value) -> bool {
        if self.namespaces.is_empty() {
            return true;
        }
        if request.is_part_of("", "namespaces") {
            let of = if object.is_null() { request.old } else { object };
            return self.namespaces.matches(&meta::labels(of));
        }
        if request.target.namespace.is_empty() {
            return true;
        }
        let namespace = request.stored("core", "namespaces", "", request.target.namespace);
        namespace.is_some_and(|namespace| {
            let labels = namespace.header().labels;
            self.namespaces.matches_with(|key| labels.get(key).map(AsRef::as_ref))
        })
    }
}

/// What a policy or a binding is about.
#[derive(Clone, Debug)]
pub(super) struct Constraints {
    rules: Vec<Rule>,
    exclusions: Vec<Rule>,
    selectors: Selectors,
    equivalent: bool,
}

impl Constraints {
    /// As policies and bindings write them.
    pub(super) fn of(constraints: &Value) -> Constraints {
        let rules = |field: &str| items(constraints, &[field]).iter().map(Rule::of).collect();
        Constraints {
            rules: rules("resourceRules"),
            exclusions: rules("excludeResourceRules"),
            selectors: Selectors::of(constraints),
            equivalent: text(constraints, &["matchPolicy"]) != "Exact",
        }
    }

    /// Whether one of the rules is about a request.
    pub(super) fn match_rules(&self, request: &Request<'_>, object: &Value) -> bool {
        self.rules.iter().any(|rule| rule.matches(request, self.equivalent)) && self.leave(request, object)
    }

    /// The same where no rules mean no further restriction.
    pub(super) fn match_within(&self, request: &Request<'_>, object: &Value) -> bool {
        self.leave(request, object)
            && (self.rules.is_empty() || self.rules.iter().any(|rule| rule.matches(request, self.equivalent)))
    }

    fn leave(&self, request: &Request<'_>, object: &Value) -> bool {
        !self.exclusions.iter().any(|rule| rule.matches(request, self.equivalent))
            && self.selectors.select(request, object)
    }
}

impl Operation {
    /// Its name in configurations and reviews.
    pub(super) fn wire(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// Group, version and kind of what a request writes.
pub(super) fn written(request: &Request<'_>) -> (&'static str, &'static str, &'static str) {
    let kind = request.kind();
    match Subresource::from_name(request.target.subresource) {
        Some(subresource) => subresource.gvk(kind),
        None => (kind.group, kind.version, kind.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::is_resource;

    #[test]
    fn patterns_mean_resources_and_subresources() {
        for (pattern, sub, expected) in [
            ("pods", "", true),
            ("pods", "status", false),
            ("pods/status", "status", true),
            ("pods/status", "", false),
            ("pods/*", "status", true),
            ("*", "", true),
            ("*", "status", false),
            ("*/*", "", true),
            ("*/*", "status", true),
            ("*/status", "status", true),
            ("*/scale", "status", false),
            ("nodes", "", false),
        ] {
            assert_eq!(is_resource(pattern, "pods", sub), expected, "{pattern} {sub}");
        }
    }
}
