//! DefaultTolerationSeconds: a Pod stays for a while on a node that does not answer, unless it says otherwise.

use edge_api::meta::{self, text};
use serde_json::{Value, json};

use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Plugin, Request, Validation};

/// Seconds that a Pod stays.
const TOLERATED: i64 = 300;
/// The taints that every Pod tolerates for that long.
const TAINTS: &[&str] = &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "DefaultTolerationSeconds",
    concerns: |request| request.creates("", "pods"),
    mutate: Mutation::Now(tolerate),
    validate: Validation::Never,
};

/// Adds what is tolerated for a while, unless the Pod says something about it.
fn tolerate(_: &Request<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let tolerations = meta::object_mut(pod, "spec").entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else { return Ok(()) };
    for taint in TAINTS {
        let said = tolerations.iter().any(|toleration| {
            matches!(text(toleration, &["key"]), key if key == *taint || key.is_empty())
                && matches!(text(toleration, &["effect"]), "" | "NoExecute")
        });
        if !said {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED,
            }));
        }
    }
    Ok(())
}
