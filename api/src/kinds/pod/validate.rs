//! What a Pod's spec, alone or in a template, may say.

use crate::error::FieldError;
use crate::kinds::pod::containers;
use crate::kinds::pod::security;
use crate::kinds::pod::volumes;
use crate::name;
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// Checks a Pod.
pub(super) fn pod(object: &At<'_>, errors: &mut Errors) {
    spec(&object.get("spec"), errors);
}

/// Checks that a new Pod does not ask for what only a Pod that is there can have.
pub(super) fn create(object: &At<'_>, errors: &mut Errors) {
    let ephemeral = object.get("spec").get("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(FieldError::forbidden(&ephemeral.path, "cannot be set on create"));
    }
}

/// Checks a Pod template.
pub fn template(template: &At<'_>, errors: &mut Errors) {
    let metadata = template.get("metadata");
    validate::labels(&metadata.get("labels"), errors);
    validate::annotations(&metadata.get("annotations"), errors);
    let template_spec = template.get("spec");
    spec(&template_spec, errors);
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
    security::pod(&spec.get("securityContext"), errors);
    os_and_host(spec, errors);
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

fn os_and_host(spec: &At<'_>, errors: &mut Errors) {
    let os = spec.get("os");
    if os.is_set() {
        validate::one_of(&os.get("name"), &["linux", "windows"], errors);
    }
    let shares = spec.get("shareProcessNamespace");
    if shares.truth() && spec.get("hostPID").truth() {
        let path = spec.get("securityContext").field("shareProcessNamespace");
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(path, shares.value, why));
    }
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
    if spec.get("dnsPolicy").text() == "None" {
        if !config.is_set() {
            errors.push(FieldError::required(
                &config.path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            ));
        } else if nameservers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(&nameservers.path, detail));
        }
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
        node_selector(&required, errors);
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

/// Checks the terms one of which a node must meet.
pub fn node_selector(selector: &At<'_>, errors: &mut Errors) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(&terms.path, "must have at least one node selector term"));
    }
    terms.items().for_each(|term| node_selector_term(&term, errors));
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

#[cfg(test)]
mod tests {
    use crate::kind::{Target, Volatility, Written};
    use crate::kinds::pod::KIND;
    use serde_json::{Value, json};

    fn pod() -> Value {
        let mut pod = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "containers": [{"name": "web", "image": "file:web.wasm", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                "volumes": [{"name": "data"}],
            },
        });
        KIND.default(&mut pod);
        pod
    }

    fn shown(errors: Vec<crate::error::FieldError>) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pod_is_checked_in_kubernetes_words() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &[&str])] = &[
            (|_| {}, &[]),
            (|s| s["containers"] = json!([]), &["spec.containers: Required value"]),
            (
                |s| drop(s["containers"][0].as_object_mut().map(|c| c.remove("image"))),
                &["spec.containers[0].image: Required value"],
            ),
            (
                |s| s["containers"][0]["image"] = json!(" a"),
                &[
                    "spec.containers[0].image: Invalid value: \" a\": must not have leading or trailing whitespace",
                ],
            ),
            (
                |s| s["containers"][0]["imagePullPolicy"] = json!("X"),
                &[
                    "spec.containers[0].imagePullPolicy: Unsupported value: \"X\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
                ],
            ),
            (
                |s| {
                    let one = s["containers"][0].clone();
                    s["containers"] = json!([one, one]);
                },
                &["spec.containers[1].name: Duplicate value: \"web\""],
            ),
            (|s| s["volumes"] = json!([]), &["spec.containers[0].volumeMounts[0].name: Not found: \"data\""]),
            (
                |s| s["volumes"][0]["hostPath"] = json!({"path": "/a/../b", "type": "X"}),
                &[
                    "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
                    "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                    "spec.volumes[0].hostPath.type: Unsupported value: \"X\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
                ],
            ),
            (
                |s| s["volumes"][0] = json!({"name": "data", "nfs": {"path": "data"}}),
                &[
                    "spec.volumes[0].nfs.server: Required value",
                    "spec.volumes[0].nfs.path: Invalid value: \"data\": must be an absolute path",
                ],
            ),
            (
                |s| {
                    s["os"] = json!({"name": "plan9"});
                    s["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 31}}});
                },
                &[
                    "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
                    "spec.os.name: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
                ],
            ),
            (
                |s| s["volumes"][0] = json!({"name": "data", "csi": {"driver": "Bad_"}}),
                &[
                    "spec.volumes[0].csi.driver: Invalid value: \"Bad_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (
                |s| s["volumes"][0] = json!({"name": "data", "ephemeral": {}}),
                &["spec.volumes[0].ephemeral.volumeClaimTemplate: Required value"],
            ),
            (
                |s| s["restartPolicy"] = json!("Sometimes"),
                &[
                    "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
                ],
            ),
            (
                |s| s["dnsPolicy"] = json!("None"),
                &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
            ),
            (
                |s| s["terminationGracePeriodSeconds"] = json!(-1),
                &[
                    "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                |s| {
                    s["containers"][0]["ports"] =
                        json!([{"containerPort": 70000, "protocol": "TCP"}, {"protocol": "X"}])
                },
                &[
                    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                    "spec.containers[0].ports[1].containerPort: Required value",
                    "spec.containers[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                ],
            ),
            (
                |s| s["containers"][0]["env"] = json!([{"name": "A=B"}, {"value": "x"}]),
                &[
                    "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
                    "spec.containers[0].env[1].name: Required value",
                ],
            ),
            (
                |s| s["containers"][0]["env"] = json!([{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]),
                &[
                    "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
                ],
            ),
            (
                |s| s["containers"][0]["env"] = json!([{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.x"}}}]),
                &[
                    "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
                ],
            ),
            (
                |s| s["containers"][0]["env"] = json!([{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['a/b']"}}}]),
                &[],
            ),
            (
                |s| s["containers"][0]["env"] = json!([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]),
                &[
                    "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
                ],
            ),
            (
                |s| {
                    s["containers"][0]["resources"] =
                        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2", "memory": "lots"}})
                },
                &[
                    "spec.containers[0].resources.requests[memory]: Invalid value: \"lots\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                    "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                ],
            ),
            (
                |s| s["containers"][0]["livenessProbe"] = json!({"successThreshold": 2}),
                &[
                    "spec.containers[0].livenessProbe: Required value: must specify a handler type",
                    "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
                ],
            ),
            (
                |s| {
                    s["initContainers"] = json!([{"name": "i", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
                    "lifecycle": {}}])
                },
                &[
                    "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
                ],
            ),
            (
                |s| {
                    let rule = json!({"action": "Restart", "exitCodes": {"operator": "NotIn"}});
                    s["containers"][0]["restartPolicy"] = json!("Never");
                    s["containers"][0]["restartPolicyRules"] = json!([rule]);
                },
                &[],
            ),
            (
                |s| {
                    s["containers"][0]["restartPolicyRules"] = json!([
                        {"action": "Stop", "exitCodes": {"values": [1]}}, {"action": "RestartAllContainers"},
                    ]);
                },
                &[
                    "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
                    "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"",
                    "spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: \"\": supported values: \"In\", \"NotIn\"",
                    "spec.containers[0].restartPolicyRules[1].exitCodes: Required value: must be specified",
                ],
            ),
            (
                |s| {
                    let rule = |codes: usize| json!({"action": "Restart", "exitCodes": {"operator": "In", "values": vec![1; codes]}});
                    let rules = [vec![rule(255); 20], vec![rule(256)]].concat();
                    s["containers"][0]["restartPolicy"] = json!("Always");
                    s["containers"][0]["restartPolicyRules"] = rules.into();
                },
                &[
                    "spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items",
                    "spec.containers[0].restartPolicyRules[20].exitCodes.values: Too many: 256: must have at most 255 items",
                ],
            ),
            (
                |s| s["tolerations"] = json!([{"operator": "Equal"}]),
                &[
                    "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                ],
            ),
            (
                |s| s["hostAliases"] = json!([{"ip": "x"}]),
                &[
                    "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
        ];
        for (change, expected) in cases {
            let mut pod = pod();
            change(&mut pod["spec"]);
            assert_eq!(shown(KIND.validate(&pod)), *expected);
        }
    }

    #[test]
    fn what_was_wrong_before_a_rule_came_may_stay_so() {
        let mut old = pod();
        old["spec"]["securityContext"] = json!({"runAsUser": -1});
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!(["a/b"]);
        assert_eq!(shown(KIND.validate_update(&new, &old, Target::Main)), Vec::<String>::new());
        assert_eq!(shown(KIND.validate(&old)).len(), 1);
        new["spec"]["securityContext"]["runAsUser"] = json!(-2);
        let errors = shown(KIND.validate_update(&new, &old, Target::Main));
        assert!(errors[0].starts_with("spec.securityContext.runAsUser: Invalid value: -2"), "{errors:?}");
    }

    #[test]
    fn little_of_a_pod_may_change() {
        let old = pod();
        type Change = fn(&mut Value);
        let fine: &[Change] = &[
            |_| {},
            |s| s["containers"][0]["image"] = json!("file:other.wasm"),
            |s| s["activeDeadlineSeconds"] = json!(5),
            |s| s["tolerations"] = json!([{"key": "a", "operator": "Exists"}]),
        ];
        for change in fine {
            let mut new = old.clone();
            change(&mut new["spec"]);
            assert_eq!(shown(KIND.validate_update(&new, &old, Target::Main)), Vec::<String>::new());
        }
        let mut new = old.clone();
        new["spec"]["containers"][0]["args"] = json!(["x"]);
        new["spec"]["hostname"] = json!("x");
        let errors = shown(KIND.validate_update(&new, &old, Target::Main));
        assert!(
            errors[0].starts_with(
                "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            ),
            "{errors:?}"
        );
        assert!(errors[0].ends_with("changed: spec.containers[0].args, spec.hostname"), "{errors:?}");
        let mut more = old.clone();
        let one = more["spec"]["containers"][0].clone();
        more["spec"]["containers"].as_array_mut().expect("a list").push(one);
        more["spec"]["containers"][1]["name"] = json!("other");
        let errors = shown(KIND.validate_update(&more, &old, Target::Main));
        assert_eq!(errors, ["spec.containers: Forbidden: pod updates may not add or remove containers"]);
    }

    #[test]
    fn a_new_pod_is_pending_and_has_a_class() {
        let cases = [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"cpu": "1", "memory": "1Mi"}}), "Guaranteed"),
            (json!({"limits": {"cpu": "1", "memory": "1Mi"}, "requests": {"cpu": "500m"}}), "Burstable"),
        ];
        for (resources, class) in cases {
            let mut pod = pod();
            pod["spec"]["containers"][0]["resources"] = resources;
            pod["status"] = json!({"phase": "Running"});
            KIND.default(&mut pod);
            KIND.prepare_create(&mut pod);
            assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": class}));
            assert_eq!(pod["metadata"]["generation"], 1);
        }
    }

    #[test]
    fn only_a_going_pod_s_own_node_may_write_lightly() {
        let pod = |status: Value| json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"nodeName": "edge"}, "status": status});
        let old = pod(json!({"phase": "Pending"}));
        let running = pod(json!({"phase": "Running"}));
        let ended = json!({"phase": "Running", "containerStatuses": [{"name": "a", "lastState": {"terminated": {"exitCode": 1}}}]});
        let own = "system:node:edge";
        let cases = [
            (&old, &running, own, Volatility::Volatile),
            (&old, &running, "system:node:other", Volatility::Durable),
            (&old, &pod(json!({"phase": "Failed"})), own, Volatility::Durable),
            (&running, &pod(ended.clone()), own, Volatility::Durable),
            (&pod(ended.clone()), &pod(ended), own, Volatility::Volatile),
            (&Value::Null, &running, own, Volatility::Durable),
        ];
        for (old, new, user, expected) in cases {
            assert_eq!(KIND.volatility(Written { old, new, user }), expected, "{new}");
        }
    }

    #[test]
    fn typed_pods_come_and_go_unchanged() {
        let pod = pod();
        let typed: crate::kinds::pod::Pod = crate::meta::read(&pod).expect("a checked Pod is read");
        assert_eq!(typed.spec.containers[0].volume_mounts[0].mount_path, "/data");
        let again = serde_json::to_value(&typed.spec).expect("a typed Pod is written");
        assert_eq!(again, pod["spec"]);
    }
}
