//! Roles.

use serde::Deserialize;

use crate::mirror::object::Shape;
use crate::mirror::selector::{LabelSelector, Selector};

/// A ClusterRole.
#[derive(Clone, Debug, Default)]
pub struct ClusterRole {
    /// Whose rules it is made of; none if its rules are its own.
    pub parts: Vec<Selector>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RoleForm {
    aggregation_rule: Aggregation,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Aggregation {
    cluster_role_selectors: Vec<LabelSelector>,
}

impl Shape for ClusterRole {
    fn read(source: &[u8]) -> serde_json::Result<ClusterRole> {
        let form: RoleForm = serde_json::from_slice(source)?;
        let selectors = form.aggregation_rule.cluster_role_selectors;
        Ok(ClusterRole {
            parts: selectors.into_iter().map(|selector| Selector::of(Some(selector))).collect(),
        })
    }
}
