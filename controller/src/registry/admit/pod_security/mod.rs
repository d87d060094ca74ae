//! PodSecurity: the Pod Security Standards, as the labels of a namespace ask for them: Pods that break the enforced one
//! are refused, of the others their author is warned, as is who writes a template for such Pods.

mod baseline;
mod finding;
mod level;
mod restricted;
mod standard;

use std::collections::{BTreeMap, HashSet};

use edge_api::kind::Kind;
use edge_api::meta::{self, at, items, text};
use serde_json::Value;

use crate::registry::ApiError;
use crate::registry::admit::pod_security::finding::Finding;
use crate::registry::admit::pod_security::level::{Level, LevelVersion, Policy};
use crate::registry::admit::pod_security::standard::evaluate;
use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};

/// The most Pods of a namespace that are looked at when its labels change.
const PODS: usize = 3000;

/// The annotations of the audit log that say what was enforced, and what breaks the standard that is audited.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";

/// Kinds that carry a template for Pods, and where.
const TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("", "podtemplates", &["template"]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    ("batch", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
    ("batch", "jobs", &["spec", "template"]),
];

/// The table's entry.
pub(super) const PLUGIN: Plugin =
    Plugin { name: "PodSecurity", concerns, mutate: Mutation::Never, validate: Validation::Now(validate) };

fn concerns(request: &Request<'_>) -> bool {
    let subresource = matches!(request.target.subresource, "" | "ephemeralcontainers" | "resize");
    let kind = request.kind();
    let core = kind.group.is_empty() && matches!(kind.plural, "pods" | "namespaces");
    request.operation != Operation::Delete
        && subresource
        && (core || request.target.subresource.is_empty() && template(kind).is_some())
}

fn template(kind: &Kind) -> Option<&'static [&'static str]> {
    let found = TEMPLATES.iter().find(|(group, plural, _)| kind.plural == *plural && kind.group == *group);
    found.map(|(_, _, path)| *path)
}

fn validate(request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
    if request.is("", "namespaces") {
        return namespace(request, object);
    }
    let Some(namespace) = request.stored("core", "namespaces", "", request.target.namespace) else {
        return Ok(());
    };
    let labels = namespace.header().labels;
    let (policy, _) = Policy::of(|label| labels.get(label).map(AsRef::as_ref));
    if policy.is_privileged() {
        if template(request.kind()).is_none() {
            request.cx.annotations.add(ENFORCED, || policy.enforce.to_string());
        }
        return Ok(());
    }
    match template(request.kind()) {
        Some(path) => {
            if let Some(template) = at(object, path) {
                audit(request, &policy, template);
                warn(request, &policy, &evaluate(policy.warn, template));
            }
            Ok(())
        }
        None if request.operation == Operation::Update && !is_significant(object, request.old) => Ok(()),
        None => pod(request, &policy, object),
    }
}

fn pod(request: &Request<'_>, policy: &Policy, pod: &Value) -> Result<(), ApiError> {
    request.cx.annotations.add(ENFORCED, || policy.enforce.to_string());
    audit(request, policy, pod);
    let findings = evaluate(policy.enforce, pod);
    if !findings.is_empty() {
        let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, in_detail(&findings));
        return Err(request.forbidden(&why));
    }
    warn(request, policy, &evaluate(policy.warn, pod));
    Ok(())
}

/// Tells the audit log what breaks the standard that is audited.
fn audit(request: &Request<'_>, policy: &Policy, pod: &Value) {
    let findings = evaluate(policy.audit, pod);
    if !findings.is_empty() {
        let text = || format!("would violate PodSecurity \"{}\": {}", policy.audit, in_detail(&findings));
        request.cx.annotations.add(VIOLATIONS, text);
    }
}

fn warn(request: &Request<'_>, policy: &Policy, findings: &[Finding]) {
    if !findings.is_empty() {
        let text = format!("would violate PodSecurity \"{}\": {}", policy.warn, in_detail(findings));
        request.cx.warnings.add(text);
    }
}

fn in_detail(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether an update changes anything that the standards look at and that an update may change.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let list = |pod: &'_ Value, field: &str| -> Vec<(String, String)> {
        let containers = items(pod, &["spec", field]).iter();
        containers.map(|c| (text(c, &["name"]).to_owned(), text(c, &["image"]).to_owned())).collect()
    };
    ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .any(|field| list(pod, field) != list(old, field))
}

/// A namespace's labels can be read; who makes them stricter hears which Pods would not pass.
fn namespace(request: &Request<'_>, namespace: &Value) -> Result<(), ApiError> {
    let (new, errors) = Policy::of(|label| meta::label(namespace, label));
    let (old, old_errors) = Policy::of(|label| meta::label(request.old, label));
    if !errors.is_empty() && (request.operation == Operation::Create || errors != old_errors) {
        return Err(ApiError::invalid(request.kind(), request.target.name, &errors));
    }
    let (new, old) = (new.enforce, old.enforce);
    let relaxed = new.level == Level::Privileged || new.version == old.version && new.level <= old.level;
    if request.operation == Operation::Update && !relaxed {
        existing(request, new);
    }
    Ok(())
}

/// Warns of the Pods of a namespace that break what it enforces from now on: a line for each way to do so.
fn existing(request: &Request<'_>, enforce: LevelVersion) {
    let pods = request.all("core", "pods", request.target.name);
    let total = pods.len();
    let pods: Vec<Value> = pods.into_iter().map(|(_, pod)| pod.value()).collect();
    let mut ways: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in one_of_each_first(&pods).take(PODS) {
        let findings = evaluate(enforce, pod);
        if !findings.is_empty() {
            let reasons: Vec<&str> = findings.iter().map(|finding| finding.reason).collect();
            ways.entry(reasons.join(", ")).or_default().push(meta::name(pod));
        }
    }
    if total > PODS {
        request.cx.warnings.add(format!(
            "new PodSecurity enforce level only checked against the first {PODS} of {total} existing pods"
        ));
    }
    if !ways.is_empty() {
        request.cx.warnings.add(format!(
            "existing pods in namespace {:?} violate the new PodSecurity enforce level \"{enforce}\"",
            request.target.name
        ));
    }
    let mut lines: Vec<String> = ways.into_iter().map(|(reasons, names)| line(&reasons, &names)).collect();
    lines.sort();
    lines.into_iter().for_each(|line| request.cx.warnings.add(line));
}

fn line(reasons: &str, names: &[&str]) -> String {
    let first = names.iter().min().copied().unwrap_or_default();
    match names.len() {
        0 | 1 => format!("{first}: {reasons}"),
        2 => format!("{first} (and 1 other pod): {reasons}"),
        many => format!("{first} (and {} other pods): {reasons}", many - 1),
    }
}

/// Pods of the same owner are likely alike: one of each owner first, then the others.
fn one_of_each_first(pods: &[Value]) -> impl Iterator<Item = &Value> {
    let mut owners = HashSet::new();
    let (first, others): (Vec<&Value>, Vec<&Value>) =
        pods.iter().partition(|pod| meta::controller_of(pod).is_none_or(|owner| owners.insert(owner.uid)));
    first.into_iter().chain(others)
}
