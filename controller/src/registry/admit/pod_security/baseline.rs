//! The baseline standard: nothing that is known to give a Pod its host.

use edge_api::meta::{self, at, items, number, text};
use serde_json::Value;

use crate::registry::admit::pod_security::finding::{
    Finding, bad, containers, context, finding, has_own_users, named, plural, quoted, setters, sorted, spec,
};
use crate::registry::admit::pod_security::standard::Check;

/// Its checks, by name.
pub(super) static BASELINE: &[Check] = &[
    Check::new("appArmorProfile", app_armor),
    Check::new("capabilities_baseline", capabilities),
    Check::new("hostNamespaces", host_namespaces),
    Check::new("hostPathVolumes", host_paths),
    Check::new("hostPorts", host_ports),
    Check::new("hostProbesAndHostLifecycle", probe_hosts).since(34),
    Check::new("privileged", privileged),
    Check::new("procMount", proc_mount),
    Check::new("procMount", |pod| if has_own_users(pod) { None } else { proc_mount(pod) }).since(35),
    Check::new("seLinuxOptions", |pod| se_linux(pod, &TYPES[..4])),
    Check::new("seLinuxOptions", |pod| se_linux(pod, TYPES)).since(31),
    Check::new("seccompProfile_baseline", seccomp_annotations),
    Check::new("seccompProfile_baseline", seccomp).since(19),
    Check::new("sysctls", |pod| sysctls(pod, &SYSCTLS[..5])),
    Check::new("sysctls", |pod| sysctls(pod, &SYSCTLS[..6])).since(27),
    Check::new("sysctls", |pod| sysctls(pod, &SYSCTLS[..10])).since(29),
    Check::new("sysctls", |pod| sysctls(pod, &SYSCTLS[..12])).since(32),
    Check::new("sysctls", |pod| sysctls(pod, SYSCTLS)).since(37),
    Check::new("windowsHostProcess", host_process),
];

/// Capabilities that a container may add.
const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Types of SELinux that may be set; the last one in later versions.
const TYPES: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
/// Sysctls that concern the Pod alone, in the order in which versions allowed them.
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_notsent_lowat",
];
/// The annotation of a container's AppArmor profile begins so.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The annotation of the Pod's seccomp profile.
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// The annotation of a container's seccomp profile begins so.
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn app_armor(pod: &Value) -> Option<Finding> {
    let kind =
        |of: &Value| context(of, &["appArmorProfile"]).map(|profile| text(profile, &["type"]).to_owned());
    let forbidden =
        |of: &Value| kind(of).filter(|kind| !matches!(kind.as_str(), "RuntimeDefault" | "Localhost"));
    let names = bad(pod, |container| forbidden(container).is_some());
    let mut who = setters(forbidden(spec(pod)).is_some(), &names);
    let kinds: Vec<String> = containers(pod).chain([spec(pod)]).filter_map(forbidden).collect();
    let allowed =
        |profile: &str| matches!(profile, "" | "runtime/default") || profile.starts_with("localhost/");
    let mut annotations: Vec<String> = meta::annotations(pod)
        .iter()
        .filter(|(key, profile)| key.starts_with(APP_ARMOR) && !allowed(profile))
        .map(|(key, profile)| format!("{key}={profile:?}"))
        .collect();
    annotations.sort();
    if !annotations.is_empty() {
        who.push(plural(annotations.len(), "annotation", "annotations").to_owned());
    }
    let values: Vec<&str> = sorted(kinds.iter().map(String::as_str))
        .into_iter()
        .chain(annotations.iter().map(String::as_str))
        .collect();
    let reason = plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles");
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values));
    (!who.is_empty()).then_some(Finding { reason, detail })
}

fn capabilities(pod: &Value) -> Option<Finding> {
    adding(pod, CAPABILITIES).map(|detail| Finding { reason: "non-default capabilities", detail })
}

/// Who adds which capabilities beyond those.
pub(super) fn adding(pod: &Value, allowed: &[&str]) -> Option<String> {
    let forbidden = |container: &Value| -> Vec<String> {
        let added = context(container, &["capabilities", "add"]).and_then(Value::as_array).cloned();
        let added = added.unwrap_or_default().into_iter().filter_map(|c| c.as_str().map(str::to_owned));
        added.filter(|capability| !allowed.contains(&capability.as_str())).collect()
    };
    let names = bad(pod, |container| !forbidden(container).is_empty());
    let capabilities: Vec<String> = containers(pod).flat_map(forbidden).collect();
    let capabilities = quoted(sorted(capabilities.iter().map(String::as_str)));
    let told =
        format!("{} must not include {capabilities} in securityContext.capabilities.add", named(&names));
    (!names.is_empty()).then_some(told)
}

fn host_namespaces(pod: &Value) -> Option<Finding> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"];
    let shared = shared.iter().filter(|field| at(pod, &["spec", field]) == Some(&Value::Bool(true)));
    let details: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    finding("host namespaces", &details, ", ")
}

fn host_paths(pod: &Value) -> Option<Finding> {
    let volumes = items(pod, &["spec", "volumes"]).iter();
    let on_host = volumes.filter(|volume| volume.get("hostPath").is_some_and(|path| !path.is_null()));
    let names: Vec<&str> = on_host.map(|volume| text(volume, &["name"])).collect();
    let detail = format!("{} {}", plural(names.len(), "volume", "volumes"), quoted(names.iter().copied()));
    (!names.is_empty()).then_some(Finding { reason: "hostPath volumes", detail })
}

fn host_ports(pod: &Value) -> Option<Finding> {
    let ports = |container: &Value| -> Vec<String> {
        let ports = items(container, &["ports"]).iter().filter_map(|port| number(port, &["hostPort"]));
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let names = bad(pod, |container| !ports(container).is_empty());
    let all: Vec<String> = containers(pod).flat_map(ports).collect();
    let all = sorted(all.iter().map(String::as_str));
    let uses = plural(names.len(), "uses", "use");
    let word = plural(all.len(), "hostPort", "hostPorts");
    let detail = format!("{} {uses} {word} {}", named(&names), all.join(", "));
    (!names.is_empty()).then_some(Finding { reason: "hostPort", detail })
}

fn probe_hosts(pod: &Value) -> Option<Finding> {
    const HANDLERS: &[&[&str]] = &[
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let hosts = |container: &Value| -> Vec<String> {
        let handlers = HANDLERS.iter().filter_map(|path| at(container, path));
        let hosts = handlers
            .flat_map(|handler| ["httpGet", "tcpSocket"].map(|how| text(handler, &[how, "host"]).to_owned()));
        hosts.filter(|host| !host.is_empty()).collect()
    };
    let names = sorted(bad(pod, |container| !hosts(container).is_empty()));
    let all: Vec<String> = containers(pod).flat_map(hosts).collect();
    let all = sorted(all.iter().map(String::as_str));
    let uses = plural(names.len(), "uses", "use");
    let word = plural(all.len(), "probe or lifecycle host", "probe or lifecycle hosts");
    let detail = format!("{} {uses} {word} {}", named(&names), quoted(all));
    (!names.is_empty()).then_some(Finding { reason: "probe or lifecycle host", detail })
}

fn privileged(pod: &Value) -> Option<Finding> {
    let names = bad(pod, |container| context(container, &["privileged"]) == Some(&Value::Bool(true)));
    let detail = format!("{} must not set securityContext.privileged=true", named(&names));
    (!names.is_empty()).then_some(Finding { reason: "privileged", detail })
}

/// The view of `/proc` is the usual one; in the restricted standard for Pods with users of their own too.
pub(super) fn proc_mount(pod: &Value) -> Option<Finding> {
    let mount = |container: &Value| {
        let mount = context(container, &["procMount"]).and_then(Value::as_str).map(str::to_owned);
        mount.filter(|mount| mount != "Default")
    };
    let names = bad(pod, |container| mount(container).is_some());
    let mounts: Vec<String> = containers(pod).filter_map(mount).collect();
    let mounts = quoted(sorted(mounts.iter().map(String::as_str)));
    let detail = format!("{} must not set securityContext.procMount to {mounts}", named(&names));
    (!names.is_empty()).then_some(Finding { reason: "procMount", detail })
}

fn se_linux(pod: &Value, types: &[&str]) -> Option<Finding> {
    let options = |of: &Value| context(of, &["seLinuxOptions"]).cloned();
    let has = |options: &Value, field: &str| !text(options, &[field]).is_empty();
    let odd = |options: &Value| !types.contains(&text(options, &["type"]));
    let forbidden = |of: &Value| options(of).is_some_and(|o| odd(&o) || has(&o, "user") || has(&o, "role"));
    let who = setters(forbidden(spec(pod)), &bad(pod, forbidden));
    let all: Vec<Value> = containers(pod).chain([spec(pod)]).filter_map(options).collect();
    let odd_types = sorted(all.iter().filter(|o| odd(o)).map(|o| text(o, &["type"])));
    let mut what = Vec::new();
    if !odd_types.is_empty() {
        what.push(format!("{} {}", plural(odd_types.len(), "type", "types"), quoted(odd_types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| has(options, field)) {
            what.push(format!("{field} may not be set"));
        }
    }
    let (who, what) = (who.join(" and "), what.join("; "));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {what}");
    (!who.is_empty()).then_some(Finding { reason: "seLinuxOptions", detail })
}

fn seccomp_annotations(pod: &Value) -> Option<Finding> {
    let keys = containers(pod).map(|container| format!("{SECCOMP_CONTAINER}{}", text(container, &["name"])));
    let mut forbidden: Vec<String> = keys
        .chain([SECCOMP_POD.to_owned()])
        .filter_map(|key| meta::annotation(pod, &key).map(|profile| (key, profile)))
        .filter(|(_, p)| !matches!(*p, "runtime/default" | "docker/default") && !p.starts_with("localhost/"))
        .map(|(key, profile)| format!("{key}={profile:?}"))
        .collect();
    forbidden.sort();
    forbidden.dedup();
    let word = plural(forbidden.len(), "annotation", "annotations");
    let detail = format!("forbidden {word} {}", forbidden.join(", "));
    (!forbidden.is_empty()).then_some(Finding { reason: "seccompProfile", detail })
}

/// Nobody says that calls are not filtered.
pub(super) fn seccomp(pod: &Value) -> Option<Finding> {
    let kind =
        |of: &Value| context(of, &["seccompProfile"]).map(|profile| text(profile, &["type"]).to_owned());
    let forbidden =
        |of: &Value| kind(of).filter(|kind| !matches!(kind.as_str(), "RuntimeDefault" | "Localhost"));
    let names = bad(pod, |container| forbidden(container).is_some());
    let who = setters(forbidden(spec(pod)).is_some(), &names).join(" and ");
    let kinds: Vec<String> = containers(pod).chain([spec(pod)]).filter_map(forbidden).collect();
    let kinds = quoted(sorted(kinds.iter().map(String::as_str)));
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {kinds}");
    (!who.is_empty()).then_some(Finding { reason: "seccompProfile", detail })
}

fn sysctls(pod: &Value, allowed: &[&str]) -> Option<Finding> {
    let names =
        items(pod, &["spec", "securityContext", "sysctls"]).iter().map(|sysctl| text(sysctl, &["name"]));
    let forbidden: Vec<String> = names.filter(|name| !allowed.contains(name)).map(str::to_owned).collect();
    finding("forbidden sysctls", &forbidden, ", ")
}

fn host_process(pod: &Value) -> Option<Finding> {
    let is_set = |of: &Value| context(of, &["windowsOptions", "hostProcess"]) == Some(&Value::Bool(true));
    let who = setters(is_set(spec(pod)), &bad(pod, is_set)).join(" and ");
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    (!who.is_empty()).then_some(Finding { reason: "hostProcess", detail })
}
