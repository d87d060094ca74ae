//! What a Pod's spec, alone or in a template, may say.

use crate::error::FieldError;
use crate::kinds::pod::containers;
use crate::kinds::pod::volumes;
use crate::name;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// Checks a Pod.
pub(super) fn pod(object: &At<'_>, errors: &mut Errors) {
    let pod_spec = object.get("spec");
    spec(&pod_spec, errors);
    let ephemeral = pod_spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(FieldError::forbidden(&ephemeral.path, "cannot be set on create"));
    }
}

/// Checks a Pod template; `owner` is the kind it belongs to, which only runs Pods that go on.
pub fn template(template: &At<'_>, owner: &str, errors: &mut Errors) {
    let metadata = template.get("metadata");
    validate::labels(&metadata.get("labels"), errors);
    validate::annotations(&metadata.get("annotations"), errors);
    let template_spec = template.get("spec");
    spec(&template_spec, errors);
    let policy = template_spec.get("restartPolicy");
    if matches!(policy.text(), "Never" | "OnFailure") {
        errors.push(FieldError::not_supported(&policy.path, policy.value, &["Always"]));
    }
    let deadline = template_spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        errors.push(FieldError::forbidden(&deadline.path, &detail));
    }
    let ephemeral = template_spec.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors
            .push(FieldError::forbidden(&ephemeral.path, "ephemeral containers not allowed in pod template"));
    }
}

/// Checks a Pod's spec.
pub fn spec(spec: &At<'_>, errors: &mut Errors) {
    let names = volumes::all(&spec.get("volumes"), errors);
    containers::all(spec, &names, errors);
    validate::one_of(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"], errors);
    dns(spec, errors);
    validate::labels(&spec.get("nodeSelector"), errors);
    validate::not_negative(&spec.get("terminationGracePeriodSeconds"), errors);
    validate::between(&spec.get("activeDeadlineSeconds"), 1, i64::from(i32::MAX), errors);
    names_of_others(spec, errors);
    host_aliases(&spec.get("hostAliases"), errors);
    tolerations(&spec.get("tolerations"), errors);
    affinity(&spec.get("affinity"), errors);
    spread(&spec.get("topologySpreadConstraints"), errors);
    for gate in spec.get("readinessGates").items() {
        validate::follows(&gate.get("conditionType"), name::label_key, errors);
    }
    scheduling_gates(&spec.get("schedulingGates"), errors);
    let preemption = spec.get("preemptionPolicy");
    validate::optional_one_of(&preemption, &["PreemptLowerPriority", "Never"], errors);
}

fn names_of_others(spec: &At<'_>, errors: &mut Errors) {
    for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        validate::optional_name(&spec.get(field), name::dns1123_subdomain, errors);
    }
    for field in ["hostname", "subdomain"] {
        validate::optional_name(&spec.get(field), name::dns1123_label, errors);
    }
    for secret in spec.get("imagePullSecrets").items() {
        validate::required(&secret.get("name"), "", errors);
    }
}

const DNS_POLICIES: &[&str] = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];

fn dns(spec: &At<'_>, errors: &mut Errors) {
    validate::one_of(&spec.get("dnsPolicy"), DNS_POLICIES, errors);
    let config = spec.get("dnsConfig");
    let nameservers = config.get("nameservers");
    if spec.get("dnsPolicy").text() == "None" && nameservers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        let field = if config.is_set() { &nameservers.path } else { &config.path };
        errors.push(FieldError::required(field, detail));
    }
    if nameservers.len() > 3 {
        let why = "must not have more than 3 nameservers";
        errors.push(FieldError::invalid(&nameservers.path, nameservers.value, why));
    }
    nameservers.items().for_each(|server| validate::ip(&server, errors));
    let searches = config.get("searches");
    if searches.len() > 32 {
        let why = "must not have more than 32 search paths";
        errors.push(FieldError::invalid(&searches.path, searches.value, why));
    }
    for search in searches.items() {
        let trimmed = |text: &str| match text {
            "." => Ok(()),
            _ => name::dns1123_subdomain(text.strip_suffix('.').unwrap_or(text)),
        };
        validate::follows(&search, trimmed, errors);
    }
    for option in config.get("options").items() {
        validate::required(&option.get("name"), "", errors);
    }
}

fn host_aliases(aliases: &At<'_>, errors: &mut Errors) {
    for alias in aliases.items() {
        validate::ip(&alias.get("ip"), errors);
        for hostname in alias.get("hostnames").items() {
            validate::follows(&hostname, name::dns1123_subdomain, errors);
        }
    }
}

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn tolerations(tolerations: &At<'_>, errors: &mut Errors) {
    for toleration in tolerations.items() {
        let [key, operator, value, effect] =
            ["key", "operator", "value", "effect"].map(|f| toleration.get(f));
        validate::optional_name(&key, name::label_key, errors);
        if key.text().is_empty() && operator.text() != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator.path, operator.text(), why));
        }
        let seconds = toleration.get("tolerationSeconds");
        if seconds.is_set() && effect.text() != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&effect.path, effect.text(), why));
        }
        match operator.text() {
            "Equal" | "" => validate::follows(&value, name::label_value, errors),
            "Exists" if !value.text().is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&operator.path, value.text(), why));
            }
            "Exists" => {}
            _ => errors.push(FieldError::not_supported(&operator.path, operator.value, &["Equal", "Exists"])),
        }
        if !effect.text().is_empty() && !EFFECTS.contains(&effect.text()) {
            errors.push(FieldError::not_supported(&effect.path, effect.value, EFFECTS));
        }
    }
}

const REQUIRED_RULE: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED_RULE: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn affinity(affinity: &At<'_>, errors: &mut Errors) {
    let node = affinity.get("nodeAffinity");
    let required = node.get(REQUIRED_RULE);
    if required.is_set() {
        let terms = required.get("nodeSelectorTerms");
        if terms.is_empty() {
            errors.push(FieldError::required(&terms.path, "must have at least one node selector term"));
        }
        terms.items().for_each(|term| node_selector_term(&term, errors));
    }
    for preferred in node.get(PREFERRED_RULE).items() {
        weight(&preferred, errors);
        node_selector_term(&preferred.get("preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        pods.get(REQUIRED_RULE).items().for_each(|term| pod_affinity_term(&term, errors));
        for preferred in pods.get(PREFERRED_RULE).items() {
            weight(&preferred, errors);
            pod_affinity_term(&preferred.get("podAffinityTerm"), errors);
        }
    }
}

fn weight(preferred: &At<'_>, errors: &mut Errors) {
    let weight = preferred.get("weight").number().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(preferred.field("weight"), weight, "must be in the range 1-100"));
    }
}

fn node_selector_term(term: &At<'_>, errors: &mut Errors) {
    for requirement in term.get("matchExpressions").items() {
        node_requirement(&requirement, errors);
        validate::follows(&requirement.get("key"), name::label_key, errors);
    }
    for requirement in term.get("matchFields").items() {
        let (key, operator) = (requirement.get("key"), requirement.get("operator"));
        if key.text() != "metadata.name" {
            errors.push(FieldError::invalid(&key.path, key.text(), "not a valid field selector key"));
        }
        if !matches!(operator.text(), "In" | "NotIn") {
            errors.push(FieldError::invalid(
                &operator.path,
                operator.text(),
                "not a valid selector operator",
            ));
        }
        if requirement.get("values").len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(requirement.field("values"), detail));
        }
    }
}

fn node_requirement(requirement: &At<'_>, errors: &mut Errors) {
    let (operator, values) = (requirement.get("operator"), requirement.get("values"));
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(&values.path, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(&values.path, detail));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(&values.path, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(&operator.path, other, "not a valid selector operator")),
    }
}

fn pod_affinity_term(term: &At<'_>, errors: &mut Errors) {
    validate::label_selector(&term.get("labelSelector"), errors);
    validate::label_selector(&term.get("namespaceSelector"), errors);
    for namespace in term.get("namespaces").items() {
        validate::follows(&namespace, name::dns1123_label, errors);
    }
    topology_key(term, errors);
}

fn topology_key(term: &At<'_>, errors: &mut Errors) {
    let key = term.get("topologyKey");
    if validate::required(&key, "can not be empty", errors) {
        validate::follows(&key, name::label_key, errors);
    }
}

fn spread(constraints: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for constraint in constraints.items() {
        let skew = constraint.get("maxSkew").number().unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(constraint.field("maxSkew"), skew, "must be greater than zero"));
        }
        topology_key(&constraint, errors);
        let when = constraint.get("whenUnsatisfiable");
        validate::one_of(&when, &["DoNotSchedule", "ScheduleAnyway"], errors);
        validate::label_selector(&constraint.get("labelSelector"), errors);
        let pair = (constraint.get("topologyKey").text(), when.text());
        if seen.contains(&pair) {
            let shown = Value::from(format!("{{{}, {}}}", pair.0, pair.1));
            let field = format!("{}.{{topologyKey, whenUnsatisfiable}}", constraint.path);
            errors.push(FieldError::duplicate(field, &shown));
        }
        seen.push(pair);
    }
}

fn scheduling_gates(gates: &At<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for gate in gates.items() {
        validate::follows(&gate.get("name"), name::label_key, errors);
        validate::unique(&gate.get("name"), &mut seen, errors);
    }
}
