//! The restricted standard: only what is known to do no harm. It holds the baseline too.

use edge_api::meta::{items, text};
use serde_json::Value;

use crate::registry::admit::pod_security::baseline::{adding, proc_mount, seccomp};
use crate::registry::admit::pod_security::finding::{
    Finding, bad, context, finding, has_own_users, is_windows, named, plural, quoted, setters, sorted, spec,
};
use crate::registry::admit::pod_security::standard::Check;

/// Its checks beside the baseline's, by name.
pub(super) static RESTRICTED: &[Check] = &[
    Check::new("allowPrivilegeEscalation", escalation).since(8),
    Check::new("allowPrivilegeEscalation", |pod| if is_windows(pod) { None } else { escalation(pod) })
        .since(25),
    Check::new("capabilities_restricted", capabilities).since(22).replacing("capabilities_baseline"),
    Check::new("capabilities_restricted", |pod| if is_windows(pod) { None } else { capabilities(pod) })
        .since(25)
        .replacing("capabilities_baseline"),
    Check::new("procMount_restricted", proc_mount).since(35).replacing("procMount"),
    Check::new("restrictedVolumes", volumes).replacing("hostPathVolumes"),
    Check::new("runAsNonRoot", non_root),
    Check::new("runAsNonRoot", |pod| if has_own_users(pod) { None } else { non_root(pod) }).since(35),
    Check::new("runAsUser", not_user_zero).since(23),
    Check::new("runAsUser", |pod| if has_own_users(pod) { None } else { not_user_zero(pod) }).since(35),
    Check::new("seccompProfile_restricted", seccomp_set).since(19).replacing("seccompProfile_baseline"),
    Check::new("seccompProfile_restricted", |pod| if is_windows(pod) { None } else { seccomp_set(pod) })
        .since(25)
        .replacing("seccompProfile_baseline"),
];

/// Kinds of volumes that hold nothing of the host.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn escalation(pod: &Value) -> Option<Finding> {
    let names =
        bad(pod, |container| context(container, &["allowPrivilegeEscalation"]) != Some(&Value::Bool(false)));
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&names));
    (!names.is_empty()).then_some(Finding { reason: "allowPrivilegeEscalation != false", detail })
}

fn capabilities(pod: &Value) -> Option<Finding> {
    let drops_all = |container: &Value| {
        let dropped = context(container, &["capabilities", "drop"]).and_then(Value::as_array);
        dropped.is_some_and(|dropped| dropped.iter().any(|capability| capability == "ALL"))
    };
    let keeping = bad(pod, |container| !drops_all(container));
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    details.extend(adding(pod, &["NET_BIND_SERVICE"]));
    finding("unrestricted capabilities", &details, "; ")
}

fn volumes(pod: &Value) -> Option<Finding> {
    let kind = |volume: &Value| {
        let fields = volume.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let mut kinds = fields.map(|(name, _)| name.as_str()).filter(|name| *name != "name");
        kinds.next().map_or_else(|| "unknown".to_owned(), str::to_owned)
    };
    let restricted = |volume: &&Value| !VOLUMES.contains(&kind(volume).as_str());
    let bad: Vec<&Value> = items(pod, &["spec", "volumes"]).iter().filter(restricted).collect();
    let kinds: Vec<String> = bad.iter().map(|volume| kind(volume)).collect();
    let kinds = sorted(kinds.iter().map(String::as_str));
    let word = plural(bad.len(), "volume", "volumes");
    let uses = plural(bad.len(), "uses", "use");
    let names = quoted(bad.iter().map(|volume| text(volume, &["name"])));
    let kind_word = plural(kinds.len(), "restricted volume type", "restricted volume types");
    let detail = format!("{word} {names} {uses} {kind_word} {}", quoted(kinds));
    (!bad.is_empty()).then_some(Finding { reason: "restricted volume types", detail })
}

fn non_root(pod: &Value) -> Option<Finding> {
    let says = |of: &Value| context(of, &["runAsNonRoot"]).and_then(Value::as_bool);
    let refuses = |of: &Value| says(of) == Some(false);
    let who = setters(refuses(spec(pod)), &bad(pod, refuses)).join(" and ");
    let reason = "runAsNonRoot != true";
    if !who.is_empty() {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Finding { reason, detail });
    }
    let silent = bad(pod, |container| says(container).is_none() && says(spec(pod)) != Some(true));
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent));
    (!silent.is_empty()).then_some(Finding { reason, detail })
}

fn not_user_zero(pod: &Value) -> Option<Finding> {
    let is_zero = |of: &Value| context(of, &["runAsUser"]).and_then(Value::as_i64) == Some(0);
    let who = setters(is_zero(spec(pod)), &bad(pod, is_zero)).join(" and ");
    let detail = format!("{who} must not set runAsUser=0");
    (!who.is_empty()).then_some(Finding { reason: "runAsUser=0", detail })
}

fn seccomp_set(pod: &Value) -> Option<Finding> {
    if let Some(found) = seccomp(pod) {
        return Some(found);
    }
    let is_set = |of: &Value| context(of, &["seccompProfile"]).is_some();
    let silent = bad(pod, |container| !is_set(container) && !is_set(spec(pod)));
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        named(&silent)
    );
    (!silent.is_empty()).then_some(Finding { reason: "seccompProfile", detail })
}
