//! What scheduler and controllers read of storage: claims, volumes and the classes that make volumes.

use std::collections::BTreeMap;

use edge_api::kinds::persistent_volume::ClaimRef;
use edge_api::kinds::persistent_volume_claim::OLD_CLASS;
use edge_api::quantity::Quantity;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::mirror::object::{Meta, Object, Shape};
use crate::mirror::selector::{LabelSelector, Requirement, Selector};
use crate::mirror::shape::pod::NodeTerm;

/// Where a claim or a volume is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Binding {
    /// Nothing is decided.
    #[default]
    Pending,
    /// A volume that nobody has.
    Available,
    /// Claim and volume have each other.
    Bound,
    /// A volume whose claim is gone.
    Released,
    /// A claim whose volume is gone.
    Lost,
    /// A volume that could not be cleared.
    #[serde(other)]
    Failed,
}

/// The volume attributes that a claim and its volume must have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Likeness {
    /// The class; empty for none.
    pub class: String,
    /// Whether it is a block device.
    pub block: bool,
    /// The class of attributes; empty for none.
    pub attributes: String,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The volume it is bound to or asks for, or nothing.
    pub volume_name: String,
    /// Class and so on.
    pub like: Likeness,
    /// Whether it says nothing of a class, not even that it wants none.
    pub classless: bool,
    /// How it is to be mounted.
    pub modes: Vec<String>,
    /// How much it asks for.
    pub request: Quantity,
    /// The labels its volume must have; none if any will do.
    pub selector: Option<Selector>,
    /// Whether its volume is to begin as a copy of something.
    pub copies: bool,
    /// Where it is in its life.
    pub phase: Binding,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimForm {
    metadata: MetaForm,
    spec: ClaimSpec,
    status: StatusForm,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaForm {
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusForm {
    phase: Binding,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimSpec {
    volume_name: String,
    storage_class_name: Option<String>,
    volume_attributes_class_name: String,
    access_modes: Vec<String>,
    resources: ResourcesForm,
    selector: Option<LabelSelector>,
    volume_mode: String,
    data_source: Option<serde::de::IgnoredAny>,
    data_source_ref: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResourcesForm {
    requests: AmountForm,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AmountForm {
    #[serde(deserialize_with = "quantity")]
    storage: Quantity,
}

/// What is no quantity counts as nothing, since validation refused it before.
fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(Quantity::deserialize(value).unwrap_or_default())
}

impl Shape for Claim {
    fn read(source: &[u8]) -> serde_json::Result<Claim> {
        let ClaimForm { metadata, spec, status } = serde_json::from_slice(source)?;
        let class = metadata.annotations.get(OLD_CLASS).cloned().or(spec.storage_class_name);
        Ok(Claim {
            classless: class.is_none(),
            like: Likeness {
                class: class.unwrap_or_default(),
                block: spec.volume_mode == "Block",
                attributes: spec.volume_attributes_class_name,
            },
            volume_name: spec.volume_name,
            modes: spec.access_modes,
            request: spec.resources.requests.storage,
            selector: spec.selector.map(|selector| Selector::of(Some(selector))),
            copies: spec.data_source.is_some() || spec.data_source_ref.is_some(),
            phase: status.phase,
        })
    }
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// Nodes that reach it meet one of these; none if all do.
    pub terms: Option<Vec<NodeTerm>>,
    /// Class and so on.
    pub like: Likeness,
    /// How it may be mounted.
    pub modes: Vec<String>,
    /// How much it holds.
    pub capacity: Quantity,
    /// The claim it is bound to or kept for.
    pub claim: Option<ClaimRef>,
    /// What becomes of it when its claim is gone: `Retain`, `Delete` or `Recycle`.
    pub reclaim: String,
    /// Where it is in its life.
    pub phase: Binding,
}

impl Volume {
    /// Whether a node reaches it.
    pub fn is_on(&self, node: &Meta) -> bool {
        self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
    }

    /// Whether it is kept for this claim, or bound to it.
    pub fn is_for(&self, claim: &Meta) -> bool {
        self.claim.as_ref().is_some_and(|of| {
            of.name == *claim.name
                && of.namespace == *claim.namespace
                && (of.uid.is_empty() || of.uid == *claim.uid)
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VolumeForm {
    metadata: MetaForm,
    spec: VolumeSpec,
    status: StatusForm,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeSpec {
    node_affinity: RequiredForm,
    storage_class_name: String,
    volume_attributes_class_name: String,
    access_modes: Vec<String>,
    capacity: AmountForm,
    claim_ref: Option<ClaimRef>,
    persistent_volume_reclaim_policy: String,
    volume_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequiredForm {
    required: Option<TermsForm>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TermsForm {
    node_selector_terms: Vec<NodeTerm>,
}

impl Shape for Volume {
    fn read(source: &[u8]) -> serde_json::Result<Volume> {
        let VolumeForm { mut metadata, spec, status } = serde_json::from_slice(source)?;
        let class = metadata.annotations.remove(OLD_CLASS);
        Ok(Volume {
            terms: spec.node_affinity.required.map(|terms| terms.node_selector_terms),
            like: Likeness {
                class: class.unwrap_or(spec.storage_class_name),
                block: spec.volume_mode == "Block",
                attributes: spec.volume_attributes_class_name,
            },
            modes: spec.access_modes,
            capacity: spec.capacity.storage,
            claim: spec.claim_ref,
            reclaim: spec.persistent_volume_reclaim_policy,
            phase: status.phase,
        })
    }
}

/// A StorageClass.
#[derive(Clone, Debug, Default)]
pub struct StorageClass {
    /// Whether a claim is bound only when a Pod that uses it has a node.
    pub waits: bool,
    /// Who makes its volumes.
    pub provisioner: String,
    /// What becomes of a volume whose claim is gone.
    pub reclaim: String,
    /// The nodes for which it makes volumes meet one of these; none if it makes them for all.
    pub topologies: Vec<Vec<Requirement>>,
}

impl StorageClass {
    /// Whether it makes volumes for a node.
    pub fn serves(&self, node: &Meta) -> bool {
        let holds = |term: &Vec<Requirement>| term.iter().all(|one| one.matches(&node.labels));
        self.topologies.is_empty() || self.topologies.iter().any(holds)
    }
}

/// Whether claims without a class get this one.
pub fn is_default(class: &Object<StorageClass>) -> bool {
    use edge_api::kinds::storage_class::{DEFAULT_ANNOTATION, OLD_DEFAULT_ANNOTATION};
    let annotations = &class.meta.annotations;
    [DEFAULT_ANNOTATION, OLD_DEFAULT_ANNOTATION]
        .iter()
        .any(|annotation| annotations.get(*annotation).is_some_and(|value| value == "true"))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClassForm {
    volume_binding_mode: String,
    provisioner: String,
    reclaim_policy: String,
    allowed_topologies: Vec<TopologyForm>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TopologyForm {
    match_label_expressions: Vec<ExpressionForm>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ExpressionForm {
    key: String,
    values: Vec<String>,
}

impl Shape for StorageClass {
    fn read(source: &[u8]) -> serde_json::Result<StorageClass> {
        let form: ClassForm = serde_json::from_slice(source)?;
        let one = |expression: ExpressionForm| Requirement {
            key: expression.key,
            operator: "In".to_owned(),
            values: expression.values,
        };
        let term = |term: TopologyForm| term.match_label_expressions.into_iter().map(one).collect();
        Ok(StorageClass {
            waits: form.volume_binding_mode == "WaitForFirstConsumer",
            provisioner: form.provisioner,
            reclaim: form.reclaim_policy,
            topologies: form.allowed_topologies.into_iter().map(term).collect(),
        })
    }
}
