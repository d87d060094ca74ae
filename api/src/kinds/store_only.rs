//! Kinds that are kept and served but that nothing here acts on yet, as one table.
//!
//! They get what Kubernetes' clients look at: names, versions, status, columns, selectable fields, the defaults and
//! immutable fields that matter when they are read back. A kind that comes to mean something moves to a file of its own.
//! Older versions of a kind are stored as the newest: [`Alias`].

use crate::fill;
use crate::kind::{Alias, Column, Field, Generation, Kind, Scope, Subresource};
use crate::kinds::{mutating_admission_policy, mutating_admission_policy_binding};
use crate::meta;
use crate::name::NameRule;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;

/// What a cell shows.
enum Cell {
    /// The age.
    Age,
    /// What is at a path.
    At(&'static [&'static str]),
    /// What is at a path, or that there is none.
    OrNone(&'static [&'static str]),
    /// The texts of a list.
    List(&'static [&'static str]),
    /// The status of a condition, or a question mark.
    Condition(&'static str),
    /// Anything else.
    Of(fn(&Value) -> String),
}

fn cell(object: &Value, now: Timestamp, cell: &Cell) -> Value {
    match cell {
        Cell::Age => time::age(meta::creation_timestamp(object), now).into(),
        Cell::At(path) => match meta::at(object, path) {
            Some(value) if !value.is_object() && !value.is_array() => value.clone(),
            _ => "".into(),
        },
        Cell::OrNone(path) => match meta::at(object, path) {
            Some(Value::Number(number)) => number.to_string().into(),
            Some(Value::String(text)) if !text.is_empty() => text.as_str().into(),
            _ => "<none>".into(),
        },
        Cell::List(path) => {
            let texts: Vec<&str> = meta::items(object, path).iter().filter_map(Value::as_str).collect();
            texts.join(",").into()
        }
        Cell::Condition(type_) => {
            meta::condition(object, type_).map_or("?", |condition| meta::text(condition, &["status"])).into()
        }
        Cell::Of(show) => show(object).into(),
    }
}

fn row(object: &Value, now: Timestamp, cells: &[Cell]) -> Vec<Value> {
    let name = std::iter::once(meta::name(object).into());
    name.chain(cells.iter().map(|one| cell(object, now, one))).collect()
}

/// One static for each kind: group, version, kind, plural, singular, schema, scope, what differs from a plain kind,
/// and the columns after the name.
macro_rules! kinds {
    ($($name:ident: $group:literal $version:literal $kind:literal $plural:literal $singular:literal $schema:literal
        $scope:ident { $($field:ident: $value:expr),* } [$($heading:literal $type:literal $cell:expr),*];)*) => { $(
        #[doc = concat!("The table entry of ", $kind, ".")]
        pub static $name: Kind = Kind {
            group: $group,
            version: $version,
            kind: $kind,
            plural: $plural,
            singular: $singular,
            schema: $schema,
            scope: Scope::$scope,
            columns: &[Column::NAME, $(Column::new($heading, $type, "")),*],
            row: |object, now| row(object, now, &[$($cell),*]),
            $($field: $value,)*
            ..Kind::PLAIN
        };
    )* };
}

/// One static for each older version: which kind it is a version of, its schema, and how it becomes the stored one and
/// comes back where the shapes differ.
macro_rules! versions {
    ($($name:ident: $version:literal of $of:path, $schema:literal, $store:expr, $load:expr;)*) => { $(
        #[doc = concat!("The table entry of a ", $version, ".")]
        pub static $name: Kind = Kind {
            version: $version,
            schema: $schema,
            alias: Some(Alias { of: &$of, store: $store, load: $load }),
            ..$of
        };
    )* };
}

const STATUS: &[Subresource] = &[Subresource::Status];

kinds! {
    FLOW_SCHEMA: "flowcontrol.apiserver.k8s.io" "v1" "FlowSchema" "flowschemas" "flowschema"
        "io.k8s.api.flowcontrol.v1.FlowSchema" Cluster
        { subresources: STATUS, generation: Generation::Spec, name_rule: NameRule::Subdomain, defaults: flow_schema }
        ["PriorityLevel" "string" Cell::At(&["spec", "priorityLevelConfiguration", "name"]),
         "MatchingPrecedence" "integer" Cell::At(&["spec", "matchingPrecedence"]),
         "DistinguisherMethod" "string" Cell::OrNone(&["spec", "distinguisherMethod", "type"]),
         "Age" "string" Cell::Age,
         "MissingPL" "string" Cell::Condition("Dangling")];
    PRIORITY_LEVEL_CONFIGURATION: "flowcontrol.apiserver.k8s.io" "v1" "PriorityLevelConfiguration"
        "prioritylevelconfigurations" "prioritylevelconfiguration"
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration" Cluster
        { subresources: STATUS, generation: Generation::Spec, defaults: priority_level }
        ["Type" "string" Cell::At(&["spec", "type"]),
         "NominalConcurrencyShares" "string" Cell::OrNone(&["spec", "limited", "nominalConcurrencyShares"]),
         "Queues" "string" Cell::OrNone(&["spec", "limited", "limitResponse", "queuing", "queues"]),
         "HandSize" "string" Cell::OrNone(&["spec", "limited", "limitResponse", "queuing", "handSize"]),
         "QueueLengthLimit" "string" Cell::OrNone(&["spec", "limited", "limitResponse", "queuing", "queueLengthLimit"]),
         "Age" "string" Cell::Age];
    STORAGE_VERSION: "internal.apiserver.k8s.io" "v1alpha1" "StorageVersion" "storageversions" "storageversion"
        "io.k8s.api.apiserverinternal.v1alpha1.StorageVersion" Cluster { subresources: STATUS }
        ["CommonEncodingVersion" "string" Cell::OrNone(&["status", "commonEncodingVersion"]),
         "StorageVersions" "string" Cell::Of(storage_versions),
         "Age" "string" Cell::Age];
    CLUSTER_TRUST_BUNDLE: "certificates.k8s.io" "v1" "ClusterTrustBundle" "clustertrustbundles" "clustertrustbundle"
        "io.k8s.api.certificates.v1.ClusterTrustBundle" Cluster
        { name_rule: NameRule::PathSegment, fields: &[Field::new("spec.signerName", &["spec", "signerName"])] }
        ["SignerName" "string" Cell::At(&["spec", "signerName"])];
    POD_CERTIFICATE_REQUEST: "certificates.k8s.io" "v1" "PodCertificateRequest" "podcertificaterequests"
        "podcertificaterequest" "io.k8s.api.certificates.v1.PodCertificateRequest" Namespaced
        { subresources: STATUS, update_checks: spec_stays, fields: &[
            Field::new("spec.signerName", &["spec", "signerName"]),
            Field::new("spec.podName", &["spec", "podName"]),
            Field::new("spec.nodeName", &["spec", "nodeName"])] }
        ["PodName" "string" Cell::At(&["spec", "podName"]),
         "ServiceAccountName" "string" Cell::At(&["spec", "serviceAccountName"]),
         "NodeName" "string" Cell::At(&["spec", "nodeName"]),
         "SignerName" "string" Cell::At(&["spec", "signerName"]),
         "State" "string" Cell::Of(certificate_state)];
    LEASE_CANDIDATE: "coordination.k8s.io" "v1beta1" "LeaseCandidate" "leasecandidates" "leasecandidate"
        "io.k8s.api.coordination.v1beta1.LeaseCandidate" Namespaced
        { fields: &[Field::new("spec.leaseName", &["spec", "leaseName"])] }
        ["LeaseName" "string" Cell::At(&["spec", "leaseName"]),
         "BinaryVersion" "string" Cell::At(&["spec", "binaryVersion"]),
         "EmulationVersion" "string" Cell::At(&["spec", "emulationVersion"]),
         "PreferredStrategy" "string" Cell::At(&["spec", "strategy"]),
         "Age" "string" Cell::Age];
    EVICTION: "lifecycle.k8s.io" "v1alpha1" "Eviction" "evictions" "eviction"
        "io.k8s.api.lifecycle.v1alpha1.Eviction" Namespaced
        { subresources: STATUS, generation: Generation::Spec } ["Age" "string" Cell::Age];
    EVICTION_REQUEST: "lifecycle.k8s.io" "v1alpha1" "EvictionRequest" "evictionrequests" "evictionrequest"
        "io.k8s.api.lifecycle.v1alpha1.EvictionRequest" Namespaced
        { subresources: STATUS, generation: Generation::Spec } ["Age" "string" Cell::Age];
    IP_ADDRESS: "networking.k8s.io" "v1" "IPAddress" "ipaddresses" "ipaddress"
        "io.k8s.api.networking.v1.IPAddress" Cluster
        { short_names: &["ip"], update_checks: spec_stays,
          fields: &[Field::new("spec.parentRef.name", &["spec", "parentRef", "name"])], name_rule: NameRule::PathSegment }
        ["ParentRef" "string" Cell::Of(parent), "Age" "string" Cell::Age];
    SERVICE_CIDR: "networking.k8s.io" "v1" "ServiceCIDR" "servicecidrs" "servicecidr"
        "io.k8s.api.networking.v1.ServiceCIDR" Cluster { subresources: STATUS }
        ["CIDRs" "string" Cell::List(&["spec", "cidrs"]), "Age" "string" Cell::Age];
    DEVICE_CLASS: "resource.k8s.io" "v1" "DeviceClass" "deviceclasses" "deviceclass"
        "io.k8s.api.resource.v1.DeviceClass" Cluster { generation: Generation::Spec } ["Age" "string" Cell::Age];
    DEVICE_TAINT_RULE: "resource.k8s.io" "v1" "DeviceTaintRule" "devicetaintrules" "devicetaintrule"
        "io.k8s.api.resource.v1.DeviceTaintRule" Cluster
        { subresources: STATUS, generation: Generation::Spec } ["Age" "string" Cell::Age];
    RESOURCE_CLAIM: "resource.k8s.io" "v1" "ResourceClaim" "resourceclaims" "resourceclaim"
        "io.k8s.api.resource.v1.ResourceClaim" Namespaced
        { subresources: STATUS, update_checks: spec_stays, defaults: claim }
        ["State" "string" Cell::Of(claim_state), "Age" "string" Cell::Age];
    RESOURCE_CLAIM_TEMPLATE: "resource.k8s.io" "v1" "ResourceClaimTemplate" "resourceclaimtemplates"
        "resourceclaimtemplate" "io.k8s.api.resource.v1.ResourceClaimTemplate" Namespaced
        { update_checks: spec_stays, defaults: |template| there(template, "spec", claim) }
        ["Age" "string" Cell::Age];
    RESOURCE_SLICE: "resource.k8s.io" "v1" "ResourceSlice" "resourceslices" "resourceslice"
        "io.k8s.api.resource.v1.ResourceSlice" Cluster
        { generation: Generation::Spec, fields: &[
            Field::new("spec.nodeName", &["spec", "nodeName"]), Field::new("spec.driver", &["spec", "driver"])] }
        ["Node" "string" Cell::OrNone(&["spec", "nodeName"]),
         "Driver" "string" Cell::At(&["spec", "driver"]),
         "Pool" "string" Cell::At(&["spec", "pool", "name"]),
         "Age" "string" Cell::Age];
    RESOURCE_POOL_STATUS_REQUEST: "resource.k8s.io" "v1alpha3" "ResourcePoolStatusRequest"
        "resourcepoolstatusrequests" "resourcepoolstatusrequest"
        "io.k8s.api.resource.v1alpha3.ResourcePoolStatusRequest" Cluster
        { subresources: STATUS, update_checks: spec_stays }
        ["Driver" "string" Cell::At(&["spec", "driver"]), "Age" "string" Cell::Age];
    POD_GROUP: "scheduling.k8s.io" "v1beta1" "PodGroup" "podgroups" "podgroup"
        "io.k8s.api.scheduling.v1beta1.PodGroup" Namespaced { subresources: STATUS } ["Age" "string" Cell::Age];
    WORKLOAD: "scheduling.k8s.io" "v1beta1" "Workload" "workloads" "workload"
        "io.k8s.api.scheduling.v1beta1.Workload" Namespaced {} ["Age" "string" Cell::Age];
    COMPOSITE_POD_GROUP: "scheduling.k8s.io" "v1alpha3" "CompositePodGroup" "compositepodgroups" "compositepodgroup"
        "io.k8s.api.scheduling.v1alpha3.CompositePodGroup" Namespaced { subresources: STATUS }
        ["Age" "string" Cell::Age];
    CSI_STORAGE_CAPACITY: "storage.k8s.io" "v1" "CSIStorageCapacity" "csistoragecapacities" "csistoragecapacity"
        "io.k8s.api.storage.v1.CSIStorageCapacity" Namespaced
        { defaults: capacity, checks: capacity_checks, update_checks: capacity_stays }
        ["StorageClassName" "string" Cell::At(&["storageClassName"]),
         "Capacity" "string" Cell::At(&["capacity"]),
         "Age" "string" Cell::Age];
    STORAGE_VERSION_MIGRATION: "storagemigration.k8s.io" "v1" "StorageVersionMigration" "storageversionmigrations"
        "storageversionmigration" "io.k8s.api.storagemigration.v1.StorageVersionMigration" Cluster
        { subresources: STATUS, update_checks: spec_stays } ["Age" "string" Cell::Age];
}

versions! {
    MUTATING_POLICY_V1BETA1: "v1beta1" of mutating_admission_policy::KIND,
        "io.k8s.api.admissionregistration.v1beta1.MutatingAdmissionPolicy", same, same;
    MUTATING_POLICY_V1ALPHA1: "v1alpha1" of mutating_admission_policy::KIND,
        "io.k8s.api.admissionregistration.v1alpha1.MutatingAdmissionPolicy", same, same;
    MUTATING_BINDING_V1BETA1: "v1beta1" of mutating_admission_policy_binding::KIND,
        "io.k8s.api.admissionregistration.v1beta1.MutatingAdmissionPolicyBinding", same, same;
    MUTATING_BINDING_V1ALPHA1: "v1alpha1" of mutating_admission_policy_binding::KIND,
        "io.k8s.api.admissionregistration.v1alpha1.MutatingAdmissionPolicyBinding", same, same;
    CLUSTER_TRUST_BUNDLE_V1BETA1: "v1beta1" of CLUSTER_TRUST_BUNDLE,
        "io.k8s.api.certificates.v1beta1.ClusterTrustBundle", same, same;
    POD_CERTIFICATE_REQUEST_V1BETA1: "v1beta1" of POD_CERTIFICATE_REQUEST,
        "io.k8s.api.certificates.v1beta1.PodCertificateRequest", same, same;
    LEASE_CANDIDATE_V1ALPHA2: "v1alpha2" of LEASE_CANDIDATE,
        "io.k8s.api.coordination.v1alpha2.LeaseCandidate", same, same;
    DEVICE_CLASS_V1BETA2: "v1beta2" of DEVICE_CLASS, "io.k8s.api.resource.v1beta2.DeviceClass", same, same;
    DEVICE_CLASS_V1BETA1: "v1beta1" of DEVICE_CLASS, "io.k8s.api.resource.v1beta1.DeviceClass", same, same;
    DEVICE_TAINT_RULE_V1BETA2: "v1beta2" of DEVICE_TAINT_RULE,
        "io.k8s.api.resource.v1beta2.DeviceTaintRule", same, same;
    DEVICE_TAINT_RULE_V1ALPHA3: "v1alpha3" of DEVICE_TAINT_RULE,
        "io.k8s.api.resource.v1alpha3.DeviceTaintRule", same, same;
    RESOURCE_CLAIM_V1BETA2: "v1beta2" of RESOURCE_CLAIM, "io.k8s.api.resource.v1beta2.ResourceClaim", same, same;
    RESOURCE_CLAIM_V1BETA1: "v1beta1" of RESOURCE_CLAIM, "io.k8s.api.resource.v1beta1.ResourceClaim",
        |claim| requests(claim, request_to_stored), |claim| requests(claim, request_from_stored);
    RESOURCE_CLAIM_TEMPLATE_V1BETA2: "v1beta2" of RESOURCE_CLAIM_TEMPLATE,
        "io.k8s.api.resource.v1beta2.ResourceClaimTemplate", same, same;
    RESOURCE_CLAIM_TEMPLATE_V1BETA1: "v1beta1" of RESOURCE_CLAIM_TEMPLATE,
        "io.k8s.api.resource.v1beta1.ResourceClaimTemplate",
        |template| there(template, "spec", |claim| requests(claim, request_to_stored)),
        |template| there(template, "spec", |claim| requests(claim, request_from_stored));
    RESOURCE_SLICE_V1BETA2: "v1beta2" of RESOURCE_SLICE, "io.k8s.api.resource.v1beta2.ResourceSlice", same, same;
    RESOURCE_SLICE_V1BETA1: "v1beta1" of RESOURCE_SLICE, "io.k8s.api.resource.v1beta1.ResourceSlice",
        |slice| devices(slice, device_to_stored), |slice| devices(slice, device_from_stored);
    POD_GROUP_V1ALPHA3: "v1alpha3" of POD_GROUP, "io.k8s.api.scheduling.v1alpha3.PodGroup", same, same;
    WORKLOAD_V1ALPHA3: "v1alpha3" of WORKLOAD, "io.k8s.api.scheduling.v1alpha3.Workload", same, same;
    STORAGE_VERSION_MIGRATION_V1BETA1: "v1beta1" of STORAGE_VERSION_MIGRATION,
        "io.k8s.api.storagemigration.v1beta1.StorageVersionMigration", same, same;
}

/// The shapes are the same; who stores writes the version.
fn same(_: &mut Value) {}

fn there(object: &mut Value, field: &str, then: fn(&mut Value)) {
    if let Some(value) = fill::there(object, field).filter(|value| value.is_object()) {
        then(value);
    }
}

/// Every request of a claim.
fn requests(claim: &mut Value, then: fn(&mut Value)) {
    if let Some(devices) = fill::there(claim, "spec").and_then(|spec| fill::there(spec, "devices")) {
        fill::each(devices, "requests", then);
    }
}

/// A request of v1beta1 says in itself what v1 says in `exactly`.
fn request_to_stored(request: &mut Value) {
    let Some(fields) = request.as_object_mut() else { return };
    let kept = |name: &str| matches!(name, "name" | "firstAvailable" | "exactly");
    let names: Vec<String> = fields.keys().filter(|name| !kept(name)).cloned().collect();
    let exactly: serde_json::Map<String, Value> =
        names.into_iter().filter_map(|name| fields.remove_entry(&name)).collect();
    if !exactly.is_empty() {
        fields.insert("exactly".to_owned(), exactly.into());
    }
}

fn request_from_stored(request: &mut Value) {
    let Some(fields) = request.as_object_mut() else { return };
    if let Some(Value::Object(exactly)) = fields.remove("exactly") {
        fields.extend(exactly);
    }
}

/// Every device of a slice.
fn devices(slice: &mut Value, then: fn(&mut Value)) {
    if let Some(spec) = fill::there(slice, "spec") {
        fill::each(spec, "devices", then);
    }
}

/// A device of v1beta1 says in `basic` what v1 says in itself.
fn device_to_stored(device: &mut Value) {
    let Some(fields) = device.as_object_mut() else { return };
    if let Some(Value::Object(basic)) = fields.remove("basic") {
        fields.extend(basic);
    }
}

fn device_from_stored(device: &mut Value) {
    let Some(fields) = device.as_object_mut() else { return };
    let name = fields.remove("name");
    let basic = std::mem::take(fields);
    fields.extend(name.map(|name| ("name".to_owned(), name)));
    fields.insert("basic".to_owned(), basic.into());
}

fn spec_stays(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    validate::immutable(&new.get("spec"), &old.get("spec"), errors);
}

fn flow_schema(schema: &mut Value) {
    if let Some(spec) = fill::object(schema, "spec") {
        fill::zero(spec, "matchingPrecedence", 1000);
    }
}

fn priority_level(level: &mut Value) {
    let Some(spec) = fill::object(level, "spec") else { return };
    match meta::text(spec, &["type"]) {
        "Exempt" => {
            let Some(exempt) = fill::object(spec, "exempt") else { return };
            fill::absent(exempt, "nominalConcurrencyShares", 0);
            fill::absent(exempt, "lendablePercent", 0);
        }
        "Limited" => {
            let Some(limited) = fill::there(spec, "limited").filter(|limited| limited.is_object()) else {
                return;
            };
            fill::absent(limited, "nominalConcurrencyShares", 30);
            fill::absent(limited, "lendablePercent", 0);
            let queuing = fill::there(limited, "limitResponse").and_then(|r| fill::there(r, "queuing"));
            if let Some(queuing) = queuing.filter(|queuing| queuing.is_object()) {
                fill::zero(queuing, "queues", 64);
                fill::zero(queuing, "handSize", 8);
                fill::zero(queuing, "queueLengthLimit", 50);
            }
        }
        _ => {}
    }
}

/// Requests of a claim are for exactly one device if they do not say otherwise.
fn claim(claim: &mut Value) {
    requests(claim, |request| {
        // v1beta1 says it in the request itself, unless it is a list of alternatives.
        let flat = request.get("exactly").is_none() && !meta::text(request, &["deviceClassName"]).is_empty();
        let exactly = if flat { Some(request) } else { fill::there(request, "exactly") };
        let Some(exactly) = exactly.filter(|exactly| exactly.is_object()) else { return };
        fill::blank(exactly, "allocationMode", "ExactCount");
        if exactly["allocationMode"] == "ExactCount" {
            fill::zero(exactly, "count", 1);
        }
    });
}

fn capacity(capacity: &mut Value) {
    for field in ["capacity", "maximumVolumeSize"] {
        if let Some(amount) = fill::there(capacity, field) {
            fill::quantity(amount);
        }
    }
}

fn capacity_checks(capacity: &At<'_>, errors: &mut Errors) {
    validate::required_name(&capacity.get("storageClassName"), crate::name::dns1123_subdomain, errors);
    for field in ["capacity", "maximumVolumeSize"] {
        validate::quantity(&capacity.get(field), errors);
    }
    validate::label_selector(&capacity.get("nodeTopology"), errors);
}

fn capacity_stays(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    for field in ["nodeTopology", "storageClassName"] {
        validate::immutable(&new.get(field), &old.get(field), errors);
    }
}

fn claim_state(claim: &Value) -> String {
    let deleted = meta::deletion_timestamp(claim).is_some();
    let allocated = meta::at(claim, &["status", "allocation"]).is_some();
    let reserved = !meta::items(claim, &["status", "reservedFor"]).is_empty();
    let words = [
        ("deleted", deleted),
        ("pending", !allocated && !deleted),
        ("allocated", allocated),
        ("reserved", allocated && reserved),
    ];
    let words: Vec<&str> = words.iter().filter(|(_, holds)| *holds).map(|(word, _)| *word).collect();
    words.join(",")
}

fn certificate_state(request: &Value) -> String {
    let found = ["Issued", "Denied", "Failed"].into_iter().find(|t| meta::condition(request, t).is_some());
    found.unwrap_or("Pending").to_owned()
}

fn storage_versions(version: &Value) -> String {
    let versions = meta::items(version, &["status", "storageVersions"]).iter();
    let versions: Vec<String> = versions
        .map(|one| format!("{}={}", meta::text(one, &["apiServerID"]), meta::text(one, &["encodingVersion"])))
        .collect();
    if versions.is_empty() { "<unset>".to_owned() } else { versions.join(",") }
}

/// `services/default/kubernetes`
fn parent(address: &Value) -> String {
    let text = |field: &str| meta::text(address, &["spec", "parentRef", field]);
    let resource = match text("group") {
        "" => text("resource").to_owned(),
        group => format!("{}.{group}", text("resource")),
    };
    let parts = [resource.as_str(), text("namespace"), text("name")];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: fn() -> Timestamp = || Timestamp::from_seconds(0);

    #[test]
    fn rows_show_what_kubectl_shows() {
        let cases: [(&Kind, Value, Vec<Value>); 6] = [
            (
                &FLOW_SCHEMA,
                json!({"spec": {"priorityLevelConfiguration": {"name": "p"}, "matchingPrecedence": 5}}),
                vec![json!("p"), json!(5), json!("<none>"), json!("<unknown>"), json!("?")],
            ),
            (
                &PRIORITY_LEVEL_CONFIGURATION,
                json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5}}}),
                vec![json!("Limited"), json!("5"), json!("<none>"), json!("<none>"), json!("<none>")],
            ),
            (
                &IP_ADDRESS,
                json!({"spec": {"parentRef": {"resource": "services", "namespace": "a", "name": "b"}}}),
                vec![json!("services/a/b")],
            ),
            (
                &SERVICE_CIDR,
                json!({"spec": {"cidrs": ["10.0.0.0/8", "fd00::/64"]}}),
                vec![json!("10.0.0.0/8,fd00::/64")],
            ),
            (
                &RESOURCE_CLAIM,
                json!({"status": {"allocation": {}, "reservedFor": [{}]}}),
                vec![json!("allocated,reserved")],
            ),
            (&RESOURCE_CLAIM, json!({}), vec![json!("pending")]),
        ];
        for (kind, object, expected) in cases {
            assert_eq!((kind.row)(&object, NOW())[1..=expected.len()], expected, "{kind:?}");
        }
    }

    #[test]
    fn shapes_of_older_versions_go_both_ways() {
        let cases: [(&Kind, Value, Value); 2] = [
            (
                &RESOURCE_CLAIM_V1BETA1,
                json!({"spec": {"devices": {"requests": [
                    {"name": "a", "deviceClassName": "c", "count": 1}, {"name": "b", "firstAvailable": []}]}}}),
                json!({"spec": {"devices": {"requests": [
                    {"name": "a", "exactly": {"deviceClassName": "c", "count": 1}}, {"name": "b", "firstAvailable": []}]}}}),
            ),
            (
                &RESOURCE_SLICE_V1BETA1,
                json!({"spec": {"devices": [{"name": "a", "basic": {"capacity": {}}}]}}),
                json!({"spec": {"devices": [{"name": "a", "capacity": {}}]}}),
            ),
        ];
        for (kind, older, stored) in cases {
            let alias = kind.alias.expect("it is a version of another");
            let mut object = older.clone();
            (alias.store)(&mut object);
            assert_eq!(object, stored, "{kind:?}");
            (alias.load)(&mut object);
            assert_eq!(object, older, "{kind:?}");
        }
    }

    #[test]
    fn requests_are_for_one_device() {
        let mut claim = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "c"}}, {"name": "b", "deviceClassName": "c"},
            {"name": "c", "exactly": {"deviceClassName": "c", "allocationMode": "All"}}]}}});
        RESOURCE_CLAIM.default(&mut claim);
        let requests = &claim["spec"]["devices"]["requests"];
        assert_eq!(
            requests[0]["exactly"],
            json!({"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1})
        );
        assert_eq!(requests[1]["count"], 1);
        assert!(requests[2]["exactly"].get("count").is_none());
    }
}
