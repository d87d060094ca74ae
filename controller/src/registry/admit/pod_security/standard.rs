//! The checks of the standards by version, and a Pod held against them.

use serde_json::Value;

use crate::registry::admit::pod_security::baseline::BASELINE;
use crate::registry::admit::pod_security::finding::Finding;
use crate::registry::admit::pod_security::level::{Level, LevelVersion};
use crate::registry::admit::pod_security::restricted::RESTRICTED;

/// The minor version that is the latest.
pub(super) const LATEST: u32 = 37;

/// A check, as it is in some versions.
pub(super) struct Check {
    /// Its name. Later entries of the same name replace earlier ones from their version on.
    pub id: &'static str,
    /// The first minor version that has it so.
    pub since: u32,
    /// The check of the other standard that it replaces.
    pub replaces: &'static str,
    /// What it finds in a Pod or a template.
    pub find: fn(&Value) -> Option<Finding>,
}

impl Check {
    /// A check of every version.
    pub(super) const fn new(id: &'static str, find: fn(&Value) -> Option<Finding>) -> Check {
        Check { id, since: 0, replaces: "", find }
    }

    /// The same from a version on.
    pub(super) const fn since(self, since: u32) -> Check {
        Check { since, ..self }
    }

    /// The same in place of a weaker one.
    pub(super) const fn replacing(self, replaces: &'static str) -> Check {
        Check { replaces, ..self }
    }
}

/// The entries that count in a version.
fn of_version(checks: &'static [Check], version: u32) -> impl Iterator<Item = &'static Check> {
    let counts = move |index: usize, check: &Check| {
        let replaced = checks[index + 1..].iter().any(|later| later.id == check.id && later.since <= version);
        check.since <= version && !replaced
    };
    checks.iter().enumerate().filter(move |(index, check)| counts(*index, check)).map(|(_, check)| check)
}

/// Everything that a standard finds in a Pod or a template.
pub(super) fn evaluate(standard: LevelVersion, pod: &Value) -> Vec<Finding> {
    let version = standard.version.unwrap_or(LATEST).min(LATEST);
    if standard.level == Level::Privileged {
        return Vec::new();
    }
    let strict = standard.level == Level::Restricted;
    let restricted: Vec<&Check> = of_version(RESTRICTED, version).filter(|_| strict).collect();
    let weaker = |check: &&Check| !restricted.iter().any(|other| other.replaces == check.id);
    let baseline = of_version(BASELINE, version).filter(weaker);
    baseline.chain(restricted.iter().copied()).filter_map(|check| (check.find)(pod)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{BASELINE, RESTRICTED, evaluate};
    use crate::registry::admit::pod_security::level::{Level, LevelVersion};

    fn good() -> Value {
        json!({"spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "image": "a", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            }}],
        }})
    }

    fn found(level: Level, version: Option<u32>, pod: &Value) -> String {
        let findings = evaluate(LevelVersion { level, version }, pod);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// What a change of a good Pod breaks in the latest version.
    fn after(level: Level, change: impl Fn(&mut Value)) -> String {
        let mut pod = good();
        change(&mut pod["spec"]);
        found(level, None, &pod)
    }

    fn container(spec: &mut Value, value: Value) {
        let container = spec["containers"][0].as_object_mut().expect("the Pod above has a container");
        for (name, field) in value.as_object().expect("the tests give objects") {
            match container.get_mut(name) {
                Some(Value::Object(has)) => has.extend(field.as_object().cloned().unwrap_or_default()),
                _ => drop(container.insert(name.clone(), field.clone())),
            }
        }
    }

    #[test]
    fn tables_are_in_order() {
        for table in [BASELINE, RESTRICTED] {
            assert!(table.is_sorted_by_key(|check| (check.id, check.since)));
        }
    }

    #[test]
    fn good_pods_pass_and_plain_ones_pass_the_baseline() {
        assert_eq!(found(Level::Restricted, None, &good()), "");
        let plain = json!({"spec": {"containers": [{"name": "c", "image": "a"}]}});
        assert_eq!(found(Level::Baseline, None, &plain), "");
        assert_eq!(found(Level::Privileged, None, &json!({"spec": {"hostNetwork": true}})), "");
        assert_eq!(
            found(Level::Restricted, None, &plain),
            "allowPrivilegeEscalation != false (container \"c\" must set \
             securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set \
             securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set \
             securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set \
             securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        );
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        assert!(
            found(Level::Restricted, None, &two)
                .starts_with("allowPrivilegeEscalation != false (containers \"a\", \"b\" must set")
        );
    }

    #[test]
    fn the_baseline_keeps_pods_from_the_host() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (
                |s| {
                    s["hostNetwork"] = json!(true);
                    s["hostPID"] = json!(true);
                },
                "host namespaces (hostNetwork=true, hostPID=true)",
            ),
            (
                |s| container(s, json!({"securityContext": {"privileged": true}})),
                "privileged (container \"c\" must not set securityContext.privileged=true)",
            ),
            (
                |s| {
                    container(
                        s,
                        json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_ADMIN"]}}}),
                    )
                },
                "non-default capabilities (container \"c\" must not include \"NET_ADMIN\", \"SYS_ADMIN\" in \
                 securityContext.capabilities.add)",
            ),
            (
                |s| {
                    s["volumes"] =
                        json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "hostPath": {}}])
                },
                "hostPath volumes (volumes \"v\", \"w\")",
            ),
            (
                |s| {
                    container(
                        s,
                        json!({"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2}]}),
                    )
                },
                "hostPort (container \"c\" uses hostPort 80)",
            ),
            (
                |s| container(s, json!({"livenessProbe": {"httpGet": {"host": "example.com", "port": 1}}})),
                "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"example.com\")",
            ),
            (
                |s| container(s, json!({"securityContext": {"procMount": "Unmasked"}})),
                "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
            ),
            (
                |s| s["securityContext"]["appArmorProfile"] = json!({"type": "Unconfined"}),
                "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
            ),
            (
                |s| {
                    s["securityContext"]["seLinuxOptions"] = json!({"type": "x", "user": "u"});
                    container(s, json!({"securityContext": {"seLinuxOptions": {"role": "r"}}}));
                },
                "seLinuxOptions (pod and container \"c\" set forbidden securityContext.seLinuxOptions: type \"x\"; user \
                 may not be set; role may not be set)",
            ),
            (
                |s| s["securityContext"]["seccompProfile"] = json!({"type": "Unconfined"}),
                "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
            ),
            (
                |s| {
                    s["securityContext"]["sysctls"] =
                        json!([{"name": "a.b"}, {"name": "net.ipv4.tcp_syncookies"}, {"name": "c"}])
                },
                "forbidden sysctls (a.b, c)",
            ),
            (
                |s| container(s, json!({"securityContext": {"windowsOptions": {"hostProcess": true}}})),
                "hostProcess (container \"c\" must not set securityContext.windowsOptions.hostProcess=true)",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(after(Level::Baseline, change), *expected);
        }
    }

    #[test]
    fn the_restricted_standard_asks_for_more() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (
                |s| s["volumes"] = json!([{"name": "v", "hostPath": {}}, {"name": "w", "nfs": {}}, {"name": "x", "emptyDir": {}}]),
                "restricted volume types (volumes \"v\", \"w\" use restricted volume types \"hostPath\", \"nfs\")",
            ),
            (
                |s| s["securityContext"]["runAsNonRoot"] = json!(false),
                "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
            ),
            (
                |s| container(s, json!({"securityContext": {"runAsUser": 0}})),
                "runAsUser=0 (container \"c\" must not set runAsUser=0)",
            ),
            (
                |s| {
                    s["containers"][0]["securityContext"]["capabilities"] =
                        json!({"add": ["CHOWN", "NET_BIND_SERVICE"]})
                },
                "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; \
                 container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
            ),
            (
                |s| container(s, json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})),
                "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(after(Level::Restricted, change), *expected);
        }
    }

    #[test]
    fn older_versions_ask_for_what_was_asked_then() {
        let plain = json!({"spec": {"containers": [{"name": "c"}]}});
        assert_eq!(
            found(Level::Restricted, Some(7), &plain),
            "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)"
        );
        let keepalive =
            json!({"spec": {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_keepalive_time"}]}}});
        assert_eq!(
            found(Level::Baseline, Some(28), &keepalive),
            "forbidden sysctls (net.ipv4.tcp_keepalive_time)"
        );
        assert_eq!(found(Level::Baseline, Some(29), &keepalive), "");
        let mut windows = plain.clone();
        windows["spec"]["os"] = json!({"name": "windows"});
        assert!(found(Level::Restricted, Some(24), &windows).contains("capabilities"));
        assert!(!found(Level::Restricted, None, &windows).contains("capabilities"));
    }
}
