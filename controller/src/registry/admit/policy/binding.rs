//! A binding: where a policy is in force, with which parameters, and what comes of a denial.

use edge_api::kind::Kind;
use edge_api::meta::{self, items, text};
use edge_api::selector::LabelSelector;
use serde_json::Value;

use crate::registry::admit::Request;
use crate::registry::admit::scope::Constraints;

/// A binding.
pub(super) struct Binding {
    /// Its name.
    pub name: String,
    /// The policy that it puts in force.
    pub policy: String,
    /// Whether a denial refuses the request.
    pub denies: bool,
    /// Whether a denial is a warning.
    pub warns: bool,
    /// Whether the audit log is told of a denial.
    pub audits: bool,
    /// All of these, as they are written.
    pub actions: Vec<Value>,
    resources: Option<Constraints>,
    params: Option<Params>,
}

/// Which objects are parameters.
struct Params {
    name: String,
    namespace: String,
    selector: LabelSelector,
    must_exist: bool,
}

impl Binding {
    /// Reads a binding.
    pub(super) fn of(binding: &Value) -> Binding {
        let spec = &binding["spec"];
        let acts = |action: &str| items(spec, &["validationActions"]).iter().any(|one| one == action);
        let resources = &spec["matchResources"];
        Binding {
            name: meta::name(binding).to_owned(),
            policy: text(spec, &["policyName"]).to_owned(),
            denies: acts("Deny"),
            warns: acts("Warn"),
            audits: acts("Audit"),
            actions: items(spec, &["validationActions"]).to_vec(),
            resources: (!resources.is_null()).then(|| Constraints::of(resources)),
            params: Params::of(&spec["paramRef"]),
        }
    }

    /// Whether the policy is in force for a request.
    pub(super) fn concerns(&self, request: &Request<'_>, object: &Value) -> bool {
        self.resources.as_ref().is_none_or(|resources| resources.match_within(request, object))
    }

    /// The parameters with which the policy is to be held against a request, one after the other; null is none.
    pub(super) fn params(
        &self,
        request: &Request<'_>,
        kind: Option<&(String, String)>,
    ) -> Result<Vec<Value>, String> {
        let (Some((version, kind)), Some(params)) = (kind, &self.params) else {
            return Ok(vec![Value::Null]);
        };
        let Some(found) = request.registry.catalogue().by_kind(version, kind) else {
            return Err(format!("failed to find resource referenced by paramKind: '{version}, Kind={kind}'"));
        };
        let params = params.find(request, found)?;
        Ok(params)
    }
}

impl Params {
    fn of(params: &Value) -> Option<Params> {
        if params.is_null() {
            return None;
        }
        let selector = meta::LabelSelector::at(params, &["selector"]);
        let selector = selector.and_then(|selector| LabelSelector::from_meta(&selector).ok());
        Some(Params {
            name: text(params, &["name"]).to_owned(),
            namespace: text(params, &["namespace"]).to_owned(),
            selector: selector.unwrap_or_else(LabelSelector::everything),
            must_exist: text(params, &["parameterNotFoundAction"]) != "Allow",
        })
    }

    fn find(&self, request: &Request<'_>, kind: &'static Kind) -> Result<Vec<Value>, String> {
        let namespace = match (kind.is_namespaced(), self.namespace.as_str()) {
            (false, "") => "",
            (false, _) => {
                return Err(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()
                );
            }
            (true, "") if request.target.namespace.is_empty() => {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                        .to_owned(),
                );
            }
            (true, "") => request.target.namespace,
            (true, namespace) => namespace,
        };
        let folder = if kind.group.is_empty() { "core" } else { kind.group };
        let found: Vec<Value> = if self.name.is_empty() {
            let all =
                request.all(folder, kind.plural, namespace).into_iter().map(|(_, object)| object.value());
            all.filter(|object| self.selector.matches_object(object)).collect()
        } else {
            request
                .stored(folder, kind.plural, namespace, &self.name)
                .iter()
                .map(|found| found.value())
                .collect()
        };
        if found.is_empty() && self.must_exist {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
        }
        Ok(found)
    }
}
