//! What a check of a standard finds wrong, in Kubernetes' words, and the parts of a Pod that checks look at.

use std::collections::BTreeSet;
use std::fmt;

use edge_api::meta::{at, items, text};
use serde_json::Value;

/// One thing that a standard forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What it is.
    pub reason: &'static str,
    /// Where it is.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.detail)
    }
}

/// A finding, unless there is nothing to say.
pub(super) fn finding(reason: &'static str, details: &[String], separator: &str) -> Option<Finding> {
    (!details.is_empty()).then(|| Finding { reason, detail: details.join(separator) })
}

/// All containers of a Pod or a template, in the order in which standards look at them.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(|list| items(pod, &["spec", list]))
}

/// The names of containers of which something is true.
pub(super) fn bad(pod: &Value, is_bad: impl Fn(&Value) -> bool) -> Vec<&str> {
    containers(pod)
        .filter(|container| is_bad(container))
        .map(|container| text(container, &["name"]))
        .collect()
}

/// A field of a security context.
pub(super) fn context<'a>(of: &'a Value, path: &[&str]) -> Option<&'a Value> {
    at(of.get("securityContext")?, path).filter(|value| !value.is_null())
}

/// The Pod's own security context as if it were a container's.
pub(super) fn spec(pod: &Value) -> &Value {
    pod.get("spec").unwrap_or(&Value::Null)
}

/// `"a", "b"`
pub(super) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// `container "a"`, `containers "a", "b"`
pub(super) fn named(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names.iter().copied()))
}

/// One word for one, another for several.
pub(super) fn plural(count: usize, one: &'static str, several: &'static str) -> &'static str {
    if count == 1 { one } else { several }
}

/// `pod and containers "a", "b"`: who sets something.
pub(super) fn setters(pod: bool, containers: &[&str]) -> Vec<String> {
    let mut setters = Vec::new();
    if pod {
        setters.push("pod".to_owned());
    }
    if !containers.is_empty() {
        setters.push(named(containers));
    }
    setters
}

/// Values in order, each once.
pub(super) fn sorted<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    values.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether the Pod is one for Windows, which the later standards excuse from what Windows does not have.
pub(super) fn is_windows(pod: &Value) -> bool {
    text(pod, &["spec", "os", "name"]) == "windows"
}

/// Whether root in the Pod is nobody on the host.
pub(super) fn has_own_users(pod: &Value) -> bool {
    at(pod, &["spec", "hostUsers"]).and_then(Value::as_bool) == Some(false)
}
