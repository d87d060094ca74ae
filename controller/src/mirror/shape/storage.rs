//! What the scheduler reads of storage: claims, volumes and the classes that make volumes.

use serde::Deserialize;

use crate::mirror::object::Shape;
use crate::mirror::shape::pod::NodeTerm;

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Claim {
    /// The volume it is bound to, or nothing.
    pub volume_name: String,
    /// The class that makes its volume.
    pub storage_class_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimForm {
    spec: Claim,
}

impl Shape for Claim {
    fn read(source: &[u8]) -> serde_json::Result<Claim> {
        Ok(serde_json::from_slice::<ClaimForm>(source)?.spec)
    }
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// Nodes that reach it meet one of these; none if all do.
    pub terms: Option<Vec<NodeTerm>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VolumeForm {
    spec: VolumeSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeSpec {
    node_affinity: RequiredForm,
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
        let form: VolumeForm = serde_json::from_slice(source)?;
        Ok(Volume { terms: form.spec.node_affinity.required.map(|terms| terms.node_selector_terms) })
    }
}

/// A StorageClass.
#[derive(Clone, Debug, Default)]
pub struct StorageClass {
    /// Whether a claim is bound only when a Pod that uses it has a node.
    pub waits: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClassForm {
    volume_binding_mode: String,
}

impl Shape for StorageClass {
    fn read(source: &[u8]) -> serde_json::Result<StorageClass> {
        let form: ClassForm = serde_json::from_slice(source)?;
        Ok(StorageClass { waits: form.volume_binding_mode == "WaitForFirstConsumer" })
    }
}
