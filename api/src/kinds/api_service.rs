//! APIService: who serves a group and version.
//!
//! Those of this server are local and always available; [`local`] makes them, with the priorities Kubernetes gives.

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Kind, Scope, Subresource};
use crate::meta;
use crate::name::{self, NameRule};
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "apiregistration.k8s.io",
    version: "v1",
    kind: "APIService",
    plural: "apiservices",
    singular: "apiservice",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    schema: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    subresources: &[Subresource::Status],
    name_rule: NameRule::PathSegment,
    columns: &[
        Column::NAME,
        Column::new("Service", "string", "The Service that serves it."),
        Column::new("Available", "string", "Whether it can be reached."),
        Column::AGE,
    ],
    row,
    defaults,
    create,
    checks,
    ..Kind::PLAIN
};

/// The mark of those that come and go with the server.
pub const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Groups in the order clients prefer them; a group that is not here comes after all.
const PRIORITIES: &[(&str, i64)] = &[
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("storagemigration.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("internal.apiserver.k8s.io", 16_000),
    ("resource.k8s.io", 15_900),
    ("lifecycle.k8s.io", 15_800),
];
/// The priority of a group that nobody knows.
const UNKNOWN: i64 = 1_000;

/// The priority of a version that definitions define; among those the name decides.
const DEFINED: i64 = 100;
/// The priority of the most preferred version of a group.
const HIGHEST: i64 = 30;

/// How a group stands among groups: the higher the more preferred.
pub fn group_priority(group: &str) -> i64 {
    PRIORITIES.iter().find(|(known, _)| *known == group).map_or(UNKNOWN, |(_, priority)| *priority)
}

/// The APIService of a group and version that this server serves; the version is the group's most preferred but
/// `place`.
pub fn local(group: &str, version: &str, place: usize) -> Value {
    let priority = (HIGHEST - i64::try_from(place).unwrap_or(HIGHEST)).max(1);
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {AUTOMANAGED: "onstart"}},
        "spec": {
            "group": group, "version": version,
            "groupPriorityMinimum": group_priority(group), "versionPriority": priority,
        },
    })
}

/// The APIService of a version of a group that definitions define.
pub fn of_definitions(group: &str, version: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {AUTOMANAGED: "true"}},
        "spec": {
            "group": group, "version": version,
            "groupPriorityMinimum": UNKNOWN, "versionPriority": DEFINED,
        },
    })
}

fn row(service: &Value, now: Timestamp) -> Vec<Value> {
    let target = match meta::at(service, &["spec", "service"]) {
        Some(target) => format!("{}/{}", meta::text(target, &["namespace"]), meta::text(target, &["name"])),
        None => "Local".to_owned(),
    };
    let available = match meta::condition(service, "Available") {
        None => "Unknown".to_owned(),
        Some(condition) => match (meta::text(condition, &["status"]), meta::text(condition, &["reason"])) {
            ("True", _) => "True".to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    };
    vec![
        meta::name(service).into(),
        target.into(),
        available.into(),
        time::age(meta::creation_timestamp(service), now).into(),
    ]
}

fn defaults(service: &mut Value) {
    let target = fill::there(service, "spec").and_then(|spec| fill::there(spec, "service"));
    if let Some(target) = target.filter(|target| target.is_object()) {
        fill::absent(target, "port", 443);
    }
}

/// What is served here is there.
fn create(service: &mut Value) {
    if meta::at(service, &["spec", "service"]).is_some() {
        return;
    }
    let since = meta::text(service, &["metadata", "creationTimestamp"]).to_owned();
    let condition = json!({
        "type": "Available", "status": "True", "reason": "Local",
        "message": "Local APIServices are always available", "lastTransitionTime": since,
    });
    fill::set(service, "status", json!({"conditions": [condition]}));
}

fn checks(service: &At<'_>, errors: &mut Errors) {
    let spec = service.get("spec");
    let (group, version) = (spec.get("group"), spec.get("version"));
    let (at, required) =
        (service.get("metadata").get("name"), format!("{}.{}", version.text(), group.text()));
    if !at.text().is_empty() && at.text() != required {
        let why = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
        errors.push(FieldError::invalid(&at.path, at.text(), &why));
    }
    validate::optional_name(&group, name::dns1123_subdomain, errors);
    validate::follows(&version, name::dns1035_label, errors);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = spec.get(field);
        let number = priority.number().unwrap_or(0);
        if !(1..=most).contains(&number) {
            let why = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(&priority.path, number, &why));
        }
    }
    let (target, bundle, insecure) =
        (spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    if !target.is_set() {
        let why = "local APIServices may not have a caBundle";
        if !bundle.text().is_empty() {
            errors.push(FieldError::invalid(&bundle.path, bundle.text(), why));
        }
        if insecure.truth() {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(&insecure.path, insecure.value, why));
        }
        return;
    }
    validate::required(&target.get("namespace"), "", errors);
    validate::required(&target.get("name"), "", errors);
    validate::between(&target.get("port"), 1, 65_535, errors);
    if insecure.truth() && !bundle.text().is_empty() {
        let why = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(&insecure.path, insecure.value, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_services_are_available_and_good() {
        let cases = [("", "v1"), ("autoscaling", "v2"), ("resource.k8s.io", "v1beta2"), ("x.y", "v1alpha1")];
        for (place, (group, version)) in cases.into_iter().enumerate() {
            let mut service = local(group, version, place);
            service["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
            KIND.default(&mut service);
            KIND.prepare_create(&mut service);
            assert_eq!(KIND.validate(&service), [], "{service}");
            assert_eq!(row(&service, Timestamp::from_seconds(0))[1..3], ["Local", "True"]);
        }
    }

    #[test]
    fn services_are_checked() {
        let service = json!({"metadata": {"name": "v1.b"}, "spec": {"group": "a", "version": "v1", "caBundle": "x",
            "groupPriorityMinimum": 1, "versionPriority": 1001}});
        let found: Vec<String> = KIND.validate(&service).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "metadata.name: Invalid value: \"v1.b\": must be `spec.version+\".\"+spec.group`: \"v1.a\"",
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
                "spec.caBundle: Invalid value: \"x\": local APIServices may not have a caBundle",
            ]
        );
    }
}
