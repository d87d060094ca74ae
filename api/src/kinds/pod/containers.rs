//! What a Pod's containers may say.

use crate::error::FieldError;
use crate::kinds::pod::ephemeral;
use crate::kinds::pod::security;
use crate::name;
use crate::quantity::Quantity;
use crate::validate::{self, At, Errors};

/// Checks every container of a Pod's spec against each other and the names of the volumes.
pub(super) fn all(spec: &At<'_>, volumes: &[&str], errors: &mut Errors) {
    let list = spec.get("containers");
    if list.is_empty() {
        errors.push(FieldError::required(&list.path, ""));
    }
    let pod = Pod {
        volumes,
        host_network: spec.get("hostNetwork").truth(),
        restart_policy: spec.get("restartPolicy").text(),
        grace: spec.get("terminationGracePeriodSeconds").number().unwrap_or(0),
    };
    let (mut names, mut host_ports) = (Vec::new(), Vec::new());
    for one in list.items() {
        container(&one, &pod, errors);
        restart_rules(&one, errors);
        validate::unique(&one.get("name"), &mut names, errors);
        unique_host_ports(&one, &mut host_ports, errors);
        hooks(&one, pod.grace, errors);
    }
    for one in spec.get("initContainers").items() {
        container(&one, &pod, errors);
        restart_rules(&one, errors);
        validate::unique(&one.get("name"), &mut names, errors);
        if one.get("restartPolicy").text() == "Always" {
            unique_host_ports(&one, &mut host_ports, errors);
            hooks(&one, pod.grace, errors);
        } else {
            no_hooks(&one, errors);
        }
    }
    let others = names.clone();
    for one in spec.get("ephemeralContainers").items() {
        container(&one, &pod, errors);
        validate::unique(&one.get("name"), &mut names, errors);
        ephemeral::container(&one, &others, errors);
    }
}

/// What a container must fit to.
struct Pod<'a> {
    volumes: &'a [&'a str],
    host_network: bool,
    restart_policy: &'a str,
    /// Seconds that its containers are given to end.
    grace: i64,
}

const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
pub(super) const PULL_POLICIES: &[&str] = &["Always", "Never", "IfNotPresent"];
const MESSAGE_POLICIES: &[&str] = &["File", "FallbackToLogsOnError"];

fn container(one: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    validate::required_name(&one.get("name"), name::dns1123_label, errors);
    let image = one.get("image");
    if validate::required(&image, "", errors) && image.text().trim() != image.text() {
        let why = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&image.path, image.text(), why));
    }
    validate::one_of(&one.get("terminationMessagePolicy"), MESSAGE_POLICIES, errors);
    ports(&one.get("ports"), pod.host_network, errors);
    one.get("env").items().for_each(|variable| env(&variable, errors));
    one.get("envFrom").items().for_each(|source| env_from(&source, errors));
    mounts(&one.get("volumeMounts"), pod.volumes, errors);
    validate::one_of(&one.get("imagePullPolicy"), PULL_POLICIES, errors);
    resources(&one.get("resources"), errors);
    security::container(&one.get("securityContext"), errors);
    resize_policy(&one.get("resizePolicy"), pod.restart_policy, errors);
    validate::optional_one_of(&one.get("restartPolicy"), RESTART_POLICIES, errors);
}

const RESTART_ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
/// The most rules of a container, and the most exit codes of a rule.
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;

/// What follows a container's end with certain codes.
fn restart_rules(one: &At<'_>, errors: &mut Errors) {
    let rules = one.get("restartPolicyRules");
    if rules.is_empty() {
        return;
    }
    let detail = "must specify restartPolicy when restart rules are used";
    validate::required(&one.get("restartPolicy"), detail, errors);
    validate::at_most(&rules, MOST_RULES, errors);
    for rule in rules.items() {
        supported(&rule.get("action"), RESTART_ACTIONS, errors);
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            errors.push(FieldError::required(&codes.path, "must be specified"));
            continue;
        }
        supported(&codes.get("operator"), &["In", "NotIn"], errors);
        validate::at_most(&codes.get("values"), MOST_CODES, errors);
    }
}

/// Nothing is a word that is not supported, too.
fn supported(word: &At<'_>, known: &[&str], errors: &mut Errors) {
    if !known.contains(&word.text()) {
        errors.push(FieldError::not_supported(&word.path, word.text(), known));
    }
}

const RESIZED: &[&str] = &["cpu", "memory"];
const RESIZE_POLICIES: &[&str] = &["NotRequired", "RestartContainer"];

fn resize_policy(policies: &At<'_>, pod_restarts: &str, errors: &mut Errors) {
    let mut seen = Vec::new();
    for policy in policies.items() {
        let (resource, restarts) = (policy.get("resourceName"), policy.get("restartPolicy"));
        if seen.contains(&resource.text()) {
            errors.push(FieldError::duplicate(&policy.path, resource.value));
        }
        seen.push(resource.text());
        for (word, known) in [(&resource, RESIZED), (&restarts, RESIZE_POLICIES)] {
            if word.text().is_empty() {
                errors.push(FieldError::required(&policies.path, ""));
            } else if !known.contains(&word.text()) {
                errors.push(FieldError::not_supported(&policies.path, word.value, known));
            }
        }
        if pod_restarts == "Never" && restarts.text() == "RestartContainer" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&policies.path, restarts.text(), why));
        }
    }
}

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];

fn ports(ports: &At<'_>, host_network: bool, errors: &mut Errors) {
    let mut names = Vec::new();
    for port in ports.items() {
        validate::optional_name(&port.get("name"), name::port_name, errors);
        validate::unique(&port.get("name"), &mut names, errors);
        validate::port(&port.get("containerPort"), errors);
        let host_port = port.get("hostPort");
        if host_port.number().is_some_and(|number| number != 0) {
            validate::port(&host_port, errors);
        }
        validate::one_of(&port.get("protocol"), PROTOCOLS, errors);
        if !port.get("hostIP").text().is_empty() {
            validate::ip(&port.get("hostIP"), errors);
        }
        let number = port.get("containerPort");
        let differs = host_port.number().is_some_and(|wished| wished != 0 && Some(wished) != number.number());
        if host_network && differs {
            let why = "must match `hostPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(&number.path, number.value, why));
        }
    }
}

fn unique_host_ports(container: &At<'_>, seen: &mut Vec<String>, errors: &mut Errors) {
    for port in container.get("ports").items() {
        let host_port = port.get("hostPort");
        let Some(number) = host_port.number().filter(|&number| number != 0) else { continue };
        let triple = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
        if seen.contains(&triple) {
            errors.push(FieldError::duplicate(&host_port.path, triple.as_str()));
        } else {
            seen.push(triple);
        }
    }
}

fn env(variable: &At<'_>, errors: &mut Errors) {
    validate::required_name(&variable.get("name"), name::env_var, errors);
    let from = variable.get("valueFrom");
    if !from.is_set() {
        return;
    }
    let sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"]
        .map(|f| from.get(f));
    match sources.iter().filter(|source| source.is_set()).count() {
        0 => {
            let why =
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.push(FieldError::invalid(&from.path, "", why));
        }
        _ if !variable.get("value").text().is_empty() => {
            errors.push(FieldError::invalid(
                &from.path,
                "",
                "may not be specified when `value` is not empty",
            ));
        }
        1 => {}
        _ => {
            let why = "may not have more than one field specified at a time";
            errors.push(FieldError::invalid(&from.path, "", why));
        }
    }
    let [field, resource, config_map, secret, _] = &sources;
    if field.is_set() {
        field_ref(field, ENV_FIELDS, errors);
    }
    if resource.is_set() {
        resource_field_ref(resource, errors);
    }
    for key in [config_map, secret].into_iter().filter(|key| key.is_set()) {
        validate::required_name(&key.get("key"), name::config_key, errors);
    }
}

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Every field the downward API knows, in a variable or a volume.
const KNOWN_FIELDS: &[&str] = &["metadata.labels", "metadata.annotations"];

/// A field of the Pod, one of those that are supported here; labels and annotations may also be
/// named one by one.
pub(super) fn field_ref(field: &At<'_>, supported: &[&str], errors: &mut Errors) {
    if field.get("apiVersion").text() != "v1" {
        let why = field.get("apiVersion");
        errors.push(FieldError::invalid(&why.path, why.text(), "must be v1"));
    }
    let path = field.get("fieldPath");
    if !validate::required(&path, "", errors) {
        return;
    }
    if let Some((map, key)) = path.text().split_once("['").and_then(|(m, k)| Some((m, k.strip_suffix("']")?)))
    {
        let checked = match map {
            "metadata.labels" => name::label_key(key),
            "metadata.annotations" => name::label_key(&key.to_lowercase()),
            _ => Err(format!("error converting fieldPath: {map:?} does not support subscript")),
        };
        if let Err(why) = checked {
            errors.push(FieldError::invalid(&path.path, path.text(), &why));
        }
        return;
    }
    if supported.contains(&path.text()) {
        return;
    }
    if ENV_FIELDS.contains(&path.text()) || KNOWN_FIELDS.contains(&path.text()) {
        errors.push(FieldError::not_supported(&path.path, path.value, supported));
    } else {
        let why = format!("error converting fieldPath: field label not supported: {}", path.text());
        errors.push(FieldError::invalid(&path.path, path.text(), &why));
    }
}

const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const CPU_DIVISORS: &[&str] = &["0", "1m", "1"];
const BYTE_DIVISORS: &[&str] =
    &["0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A resource of a container.
pub(super) fn resource_field_ref(field: &At<'_>, errors: &mut Errors) {
    let resource = field.get("resource");
    if !validate::required(&resource, "", errors) {
        return;
    }
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|p| resource.text().starts_with(p));
    if !huge && !RESOURCE_FIELDS.contains(&resource.text()) {
        errors.push(FieldError::not_supported(&resource.path, resource.value, RESOURCE_FIELDS));
        return;
    }
    let divisor = field.get("divisor");
    let Some(value) = validate::quantity(&divisor, errors) else { return };
    let (divisors, what) = match resource.text().split_once('.').map_or("", |(_, name)| name) {
        "cpu" => (CPU_DIVISORS, "1m and 1 are supported with the cpu resource".to_owned()),
        name => (
            BYTE_DIVISORS,
            format!(
                "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the {name} resource"
            ),
        ),
    };
    if !divisors.contains(&value.to_string().as_str()) {
        let why = format!("only divisor's values {what}");
        errors.push(FieldError::invalid(&divisor.path, resource.text(), &why));
    }
}

fn env_from(source: &At<'_>, errors: &mut Errors) {
    validate::optional_name(&source.get("prefix"), name::env_var, errors);
    let refs = ["configMapRef", "secretRef"].map(|field| source.get(field));
    match refs.iter().filter(|one| one.is_set()).count() {
        0 => {
            let why = "must specify one of: `configMapRef` or `secretRef`";
            errors.push(FieldError::invalid(&source.path, "", why));
        }
        1 => {}
        _ => {
            let why = "may not have more than one field specified at a time";
            errors.push(FieldError::invalid(&source.path, "", why));
        }
    }
    for one in refs.iter().filter(|one| one.is_set()) {
        validate::required(&one.get("name"), "", errors);
    }
}

fn mounts(mounts: &At<'_>, volumes: &[&str], errors: &mut Errors) {
    let mut paths: Vec<&str> = Vec::new();
    for mount in mounts.items() {
        let volume = mount.get("name");
        if validate::required(&volume, "", errors) && !volumes.contains(&volume.text()) {
            errors.push(FieldError::not_found(&volume.path, volume.value));
        }
        let path = mount.get("mountPath");
        if validate::required(&path, "", errors) {
            if paths.contains(&path.text()) {
                errors.push(FieldError::invalid(&path.path, path.text(), "must be unique"));
            }
            paths.push(path.text());
        }
        let [sub_path, expression] = ["subPath", "subPathExpr"].map(|field| mount.get(field));
        for one in [&sub_path, &expression].into_iter().filter(|one| !one.text().is_empty()) {
            validate::relative_path(one, errors);
        }
        if !sub_path.text().is_empty() && !expression.text().is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(&expression.path, expression.text(), why));
        }
        let propagation = mount.get("mountPropagation");
        validate::optional_one_of(&propagation, &["None", "HostToContainer", "Bidirectional"], errors);
        let recursive = mount.get("recursiveReadOnly");
        validate::optional_one_of(&recursive, &["Disabled", "IfPossible", "Enabled"], errors);
    }
}

/// Probes and life-cycle hooks of a container that goes on.
fn hooks(container: &At<'_>, most: i64, errors: &mut Errors) {
    let [liveness, readiness, startup] =
        ["livenessProbe", "readinessProbe", "startupProbe"].map(|field| container.get(field));
    for (probe, must_be_one) in [(&liveness, true), (&readiness, false), (&startup, true)] {
        if probe.is_set() {
            self::probe(probe, must_be_one, errors);
        }
    }
    let grace = readiness.get("terminationGracePeriodSeconds");
    if grace.is_set() {
        errors.push(FieldError::invalid(&grace.path, grace.value, "must not be set for readinessProbes"));
    }
    let lifecycle = container.get("lifecycle");
    for hook in ["postStart", "preStop"].map(|field| lifecycle.get(field)) {
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
            let sleep = hook.get("sleep");
            if let Some(seconds) =
                sleep.get("seconds").number().filter(|seconds| !(0..=most).contains(seconds))
            {
                let why =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({most})");
                errors.push(FieldError::invalid(&sleep.path, seconds, &why));
            }
        }
    }
}

/// An init container that ends has neither probes nor hooks.
fn no_hooks(container: &At<'_>, errors: &mut Errors) {
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let hook = container.get(field);
        if hook.is_set() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(&hook.path, detail));
        }
    }
}

fn probe(probe: &At<'_>, must_be_one: bool, errors: &mut Errors) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
    let numbers =
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    for field in numbers {
        validate::not_negative(&probe.get(field), errors);
    }
    let success = probe.get("successThreshold");
    if must_be_one && success.number().is_some_and(|number| number != 1) {
        errors.push(FieldError::invalid(&success.path, success.value, "must be 1"));
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.number().is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(&grace.path, grace.value, "must be greater than 0"));
    }
}

fn handler(handler: &At<'_>, types: &[&'static str], errors: &mut Errors) {
    let mut found = 0;
    for one in types.iter().map(|field| handler.get(field)).filter(At::is_set) {
        found += 1;
        if found > 1 {
            errors.push(FieldError::forbidden(&one.path, "may not specify more than 1 handler type"));
        }
    }
    if found == 0 {
        errors.push(FieldError::required(&handler.path, "must specify a handler type"));
    }
    let [exec, http, tcp, grpc] = ["exec", "httpGet", "tcpSocket", "grpc"].map(|field| handler.get(field));
    if exec.is_set() && exec.get("command").is_empty() {
        errors.push(FieldError::required(exec.field("command"), ""));
    }
    if http.is_set() {
        validate::required(&http.get("path"), "", errors);
        validate::port_or_name(&http.get("port"), errors);
        validate::one_of(&http.get("scheme"), &["HTTP", "HTTPS"], errors);
        for header in http.get("httpHeaders").items() {
            validate::follows(&header.get("name"), http_header, errors);
        }
    }
    if tcp.is_set() {
        validate::port_or_name(&tcp.get("port"), errors);
    }
    if grpc.is_set() {
        validate::port_or_name(&grpc.get("port"), errors);
    }
}

fn http_header(text: &str) -> Result<(), String> {
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Ok(());
    }
    Err("a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')".to_owned())
}

const CONTAINER_RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// What a container needs and may use: known names, and no request above its limit.
pub(super) fn resources(resources: &At<'_>, errors: &mut Errors) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    for (name, amount) in limits.entries().chain(requests.entries()) {
        resource_name(name, &amount, errors);
        if let Some(quantity) = validate::quantity(&amount, errors)
            && name.contains('/')
            && quantity.milli() % 1000 != 0
        {
            errors.push(FieldError::invalid(&amount.path, amount.value, "must be an integer"));
        }
    }
    for (name, request) in requests.entries() {
        let limit = Quantity::parse(limits.get(name).text());
        let extended = name.contains('/');
        match (Quantity::parse(request.text()), limit) {
            (Ok(wanted), Ok(limit)) if extended && wanted != limit => {
                let why = format!("must be equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(&requests.path, wanted.to_string().as_str(), &why));
            }
            (Ok(wanted), Ok(limit)) if wanted > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(&requests.path, wanted.to_string().as_str(), &why));
            }
            (Ok(_), Err(_)) if extended => {
                errors.push(FieldError::required(
                    &limits.path,
                    "Limit must be set for non overcommitable resources",
                ));
            }
            _ => {}
        }
    }
}

fn resource_name(name: &str, at: &At<'_>, errors: &mut Errors) {
    if let Err(why) = name::label_key(name) {
        errors.push(FieldError::invalid(&at.path, name, &why));
    } else if !name.contains('/') && !CONTAINER_RESOURCES.contains(&name) && !name.starts_with("hugepages-") {
        errors.push(FieldError::invalid(
            &at.path,
            name,
            "must be a standard resource type or fully qualified",
        ));
        errors.push(FieldError::invalid(&at.path, name, "must be a standard resource for containers"));
    }
}
