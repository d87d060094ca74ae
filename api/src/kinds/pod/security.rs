//! What a Pod's and a container's `securityContext` may say.
//!
//! A sandbox has no users, groups or system calls, so most of it changes nothing here. It is checked as Kubernetes
//! does, since a manifest that is wrong here is wrong everywhere.

use crate::error::FieldError;
use crate::validate::{self, At, Errors};

/// The highest number of a user or group.
const HIGHEST: i64 = i32::MAX as i64;
/// The longest name of a kernel parameter.
const SYSCTL_LENGTH: usize = 253;

/// Checks that of a Pod.
pub(super) fn pod(context: &At<'_>, errors: &mut Errors) {
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        validate::between(&context.get(field), 0, HIGHEST, errors);
    }
    for group in context.get("supplementalGroups").items() {
        validate::between(&group, 0, HIGHEST, errors);
    }
    sysctls(&context.get("sysctls"), errors);
    let policies = [
        ("fsGroupChangePolicy", ["OnRootMismatch", "Always"]),
        ("supplementalGroupsPolicy", ["Merge", "Strict"]),
        ("seLinuxChangePolicy", ["MountOption", "Recursive"]),
    ];
    for (field, known) in policies {
        validate::optional_one_of(&context.get(field), &known, errors);
    }
    profiles(context, errors);
}

/// Checks that of a container.
pub(super) fn container(context: &At<'_>, errors: &mut Errors) {
    for field in ["runAsUser", "runAsGroup"] {
        validate::between(&context.get(field), 0, HIGHEST, errors);
    }
    validate::optional_one_of(&context.get("procMount"), &["Default", "Unmasked"], errors);
    profiles(context, errors);
    if context.get("allowPrivilegeEscalation").value.as_bool() == Some(false) {
        if context.get("privileged").truth() {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(&context.path, context.value, why));
        }
        let added = context.get("capabilities").get("add");
        if added.items().any(|capability| capability.text() == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(&context.path, context.value, why));
        }
    }
}

fn profiles(context: &At<'_>, errors: &mut Errors) {
    for (field, name) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        profile(&context.get(field), name, errors);
    }
}

fn profile(profile: &At<'_>, name: &str, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    let (type_, local) = (profile.get("type"), profile.get("localhostProfile"));
    validate::one_of(&type_, &["Localhost", "RuntimeDefault", "Unconfined"], errors);
    if type_.text() == "Localhost" {
        validate::required(&local, &format!("must be set when {name} type is Localhost"), errors);
    } else if local.is_set() {
        let why = format!("can only be set when {name} type is Localhost");
        errors.push(FieldError::invalid(&local.path, local.value, &why));
    }
}

fn sysctls(sysctls: &At<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for sysctl in sysctls.items() {
        let name = sysctl.get("name");
        if !validate::required(&name, "", errors) {
            continue;
        }
        if name.text().len() > SYSCTL_LENGTH || !name.text().split(['.', '/']).all(is_segment) {
            let why = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(&name.path, name.text(), why));
        }
        validate::unique(&name, &mut seen, errors);
    }
}

/// A piece of a kernel parameter's name, between dots or slashes.
fn is_segment(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|letter| plain(letter) || matches!(letter, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(check: fn(&At<'_>, &mut Errors), context: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        check(&At::new(context, "s"), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn users_groups_and_profiles_are_checked_in_kubernetes_words() {
        const RANGE: &str = "must be between 0 and 2147483647, inclusive";
        let cases = [
            (json!({"runAsUser": 0, "fsGroup": 2_147_483_647_i64, "runAsNonRoot": true}), vec![]),
            (json!({"runAsUser": -1}), vec![format!("s.runAsUser: Invalid value: -1: {RANGE}")]),
            (
                json!({"supplementalGroups": [1, 2_147_483_648_i64]}),
                vec![format!("s.supplementalGroups[1]: Invalid value: 2147483648: {RANGE}")],
            ),
            (
                json!({"fsGroupChangePolicy": "Never"}),
                vec![
                    "s.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"".to_owned(),
                ],
            ),
            (
                json!({"seccompProfile": {"type": "Localhost"}, "appArmorProfile": {"type": "Unconfined", "localhostProfile": "a"}}),
                vec![
                    "s.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost".to_owned(),
                    "s.appArmorProfile.localhostProfile: Invalid value: \"a\": can only be set when AppArmor type is Localhost".to_owned(),
                ],
            ),
            (json!({"seccompProfile": {}}), vec!["s.seccompProfile.type: Required value".to_owned()]),
            (
                json!({"sysctls": [{"name": "net.core.somaxconn"}, {"name": "net.core.somaxconn"}, {}]}),
                vec![
                    "s.sysctls[1].name: Duplicate value: \"net.core.somaxconn\"".to_owned(),
                    "s.sysctls[2].name: Required value".to_owned(),
                ],
            ),
        ];
        for (context, expected) in cases {
            assert_eq!(shown(pod, &context), expected);
        }
        assert_eq!(shown(pod, &json!({"sysctls": [{"name": "net..core"}]})).len(), 1);
        assert_eq!(shown(pod, &json!({"sysctls": [{"name": "net/core-x/a_b"}]})).len(), 0);
    }

    #[test]
    fn a_container_does_not_escalate_and_not_escalate_at_once() {
        let no = |more: Value| {
            let mut context = more;
            context["allowPrivilegeEscalation"] = json!(false);
            shown(container, &context)
        };
        assert!(no(json!({})).is_empty());
        let both = no(json!({"privileged": true, "capabilities": {"add": ["CAP_SYS_ADMIN"]}}));
        assert!(both[0].ends_with("cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
        assert_eq!(both.len(), 2);
        assert_eq!(
            shown(container, &json!({"procMount": "X"})),
            ["s.procMount: Unsupported value: \"X\": supported values: \"Default\", \"Unmasked\""]
        );
    }
}
