//! Writes the descriptions of all stable Kubernetes types, as the `k8s-openapi` crate has them,
//! into one file: for `kubectl explain` and the OpenAPI documents of edge-api.
//!
//! Layout: a 16-bit count of packages; for each its name (8-bit length), the length of its text
//! and of the deflated text (32 bits each, little-endian); then the deflated texts. A text has a
//! line `Type<TAB>prose` for each type, followed by a line `<TAB>field<TAB>prose` for each field.

use std::collections::BTreeMap;
use std::io::Write as _;

use schemars::SchemaGenerator;
use serde_json::Value;

macro_rules! register {
    ($generator:ident, $($path:path,)*) => { $( $generator.subschema_for::<$path>(); )* };
}

fn main() {
    let path = std::env::args().nth(1).expect("usage: edge-api-prose FILE");
    let mut generator = SchemaGenerator::default();
    register_all(&mut generator);
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    for (name, schema) in generator.take_definitions(true) {
        let (package, short) = name.rsplit_once('.').expect("names of types have a package");
        let text = packages.entry(package.to_owned()).or_default();
        text.push_str(&format!("{short}\t{}\n", prose(&schema)));
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            text.push_str(&format!("\t{field}\t{}\n", prose(schema)));
        }
    }
    std::fs::write(path, pack(&packages)).expect("the file can be written");
}

fn prose(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

fn pack(packages: &BTreeMap<String, String>) -> Vec<u8> {
    let mut head = u16::try_from(packages.len()).expect("few packages").to_le_bytes().to_vec();
    let mut body = Vec::new();
    for (name, text) in packages {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text.as_bytes()).expect("a Vec takes everything");
        let deflated = encoder.finish().expect("a Vec takes everything");
        head.push(u8::try_from(name.len()).expect("short names"));
        head.extend_from_slice(name.as_bytes());
        for length in [text.len(), deflated.len()] {
            head.extend_from_slice(&u32::try_from(length).expect("short texts").to_le_bytes());
        }
        body.extend_from_slice(&deflated);
    }
    head.extend_from_slice(&body);
    head
}

fn register_all(generator: &mut SchemaGenerator) {
    use k8s_openapi as k;
    register!(
        generator,
        k::api::admissionregistration::v1::MutatingAdmissionPolicy,
        k::api::admissionregistration::v1::MutatingAdmissionPolicyBinding,
        k::api::admissionregistration::v1::MutatingWebhookConfiguration,
        k::api::admissionregistration::v1::ValidatingAdmissionPolicy,
        k::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        k::api::admissionregistration::v1::ValidatingWebhookConfiguration,
        k::api::apps::v1::ControllerRevision,
        k::api::apps::v1::DaemonSet,
        k::api::apps::v1::Deployment,
        k::api::apps::v1::ReplicaSet,
        k::api::apps::v1::StatefulSet,
        k::api::authentication::v1::SelfSubjectReview,
        k::api::authentication::v1::TokenRequest,
        k::api::authentication::v1::TokenReview,
        k::api::authorization::v1::LocalSubjectAccessReview,
        k::api::authorization::v1::SelfSubjectAccessReview,
        k::api::authorization::v1::SelfSubjectRulesReview,
        k::api::authorization::v1::SubjectAccessReview,
        k::api::autoscaling::v1::HorizontalPodAutoscaler,
        k::api::autoscaling::v1::Scale,
        k::api::autoscaling::v2::HorizontalPodAutoscaler,
        k::api::batch::v1::CronJob,
        k::api::batch::v1::Job,
        k::api::certificates::v1::CertificateSigningRequest,
        k::api::certificates::v1::ClusterTrustBundle,
        k::api::certificates::v1::PodCertificateRequest,
        k::api::coordination::v1::Lease,
        k::api::core::v1::Binding,
        k::api::core::v1::ComponentStatus,
        k::api::core::v1::ConfigMap,
        k::api::core::v1::Endpoints,
        k::api::core::v1::Event,
        k::api::core::v1::LimitRange,
        k::api::core::v1::Namespace,
        k::api::core::v1::Node,
        k::api::core::v1::PersistentVolume,
        k::api::core::v1::PersistentVolumeClaim,
        k::api::core::v1::Pod,
        k::api::core::v1::PodTemplate,
        k::api::core::v1::ReplicationController,
        k::api::core::v1::ResourceQuota,
        k::api::core::v1::Secret,
        k::api::core::v1::Service,
        k::api::core::v1::ServiceAccount,
        k::api::discovery::v1::EndpointSlice,
        k::api::events::v1::Event,
        k::api::flowcontrol::v1::FlowSchema,
        k::api::flowcontrol::v1::PriorityLevelConfiguration,
        k::api::networking::v1::IPAddress,
        k::api::networking::v1::Ingress,
        k::api::networking::v1::IngressClass,
        k::api::networking::v1::NetworkPolicy,
        k::api::networking::v1::ServiceCIDR,
        k::api::node::v1::RuntimeClass,
        k::api::policy::v1::Eviction,
        k::api::policy::v1::PodDisruptionBudget,
        k::api::rbac::v1::ClusterRole,
        k::api::rbac::v1::ClusterRoleBinding,
        k::api::rbac::v1::Role,
        k::api::rbac::v1::RoleBinding,
        k::api::resource::v1::DeviceClass,
        k::api::resource::v1::DeviceTaintRule,
        k::api::resource::v1::ResourceClaim,
        k::api::resource::v1::ResourceClaimTemplate,
        k::api::resource::v1::ResourceSlice,
        k::api::scheduling::v1::PriorityClass,
        k::api::storage::v1::CSIDriver,
        k::api::storage::v1::CSINode,
        k::api::storage::v1::CSIStorageCapacity,
        k::api::storage::v1::StorageClass,
        k::api::storage::v1::VolumeAttachment,
        k::api::storage::v1::VolumeAttributesClass,
        k::api::storagemigration::v1::StorageVersionMigration,
        k::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        k::apimachinery::pkg::apis::meta::v1::APIGroup,
        k::apimachinery::pkg::apis::meta::v1::APIGroupList,
        k::apimachinery::pkg::apis::meta::v1::APIResourceList,
        k::apimachinery::pkg::apis::meta::v1::APIVersions,
        k::apimachinery::pkg::apis::meta::v1::Status,
        k::kube_aggregator::pkg::apis::apiregistration::v1::APIService,
        k::apimachinery::pkg::apis::meta::v1::DeleteOptions,
        k::apimachinery::pkg::apis::meta::v1::WatchEvent<k::apimachinery::pkg::runtime::RawExtension>,
        k::apimachinery::pkg::apis::meta::v1::Patch,
    );
}
