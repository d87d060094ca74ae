//! The claims of a StatefulSet: one of each template for each number, kept as its policy says.

use edge_api::kind::Kind;
use edge_api::kinds;
use serde_json::{Value, json};

use crate::mirror::{Meta, Name, Object, Owner, Pod};
use crate::reconcile::ownership::references;
use crate::reconcile::plan::{Note, Write};
use crate::reconcile::statefulset::{KIND, POD, View, number};

const CLAIM: &Kind = &kinds::persistent_volume_claim::KIND;

/// The name of the claim of a template for a number.
pub fn name(view: &View<'_>, template: &str, number: i64) -> String {
    format!("{template}-{}-{number}", view.set.meta.name)
}

/// Claims of a number that are not there.
pub fn missing(view: &View<'_>, number: i64) -> Vec<Write> {
    let templates = view.tree["spec"]["volumeClaimTemplates"].as_array().map_or(&[][..], Vec::as_slice);
    let meta = &view.set.meta;
    let mut writes = Vec::new();
    for template in templates {
        let name = name(view, template["metadata"]["name"].as_str().unwrap_or_default(), number);
        if view.world.claims.get(&meta.namespace, &name).is_some() {
            continue;
        }
        let mut claim = template.clone();
        claim["apiVersion"] = json!("v1");
        claim["kind"] = json!(CLAIM.kind);
        claim["metadata"]["name"] = json!(name);
        claim["metadata"]["namespace"] = json!(&*meta.namespace);
        for (key, value) in view.tree["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten() {
            claim["metadata"]["labels"][key] = value.clone();
        }
        if view.set.body.deletes_with_set {
            claim["metadata"]["ownerReferences"] = json!(references(&[owner(KIND, meta)]));
        }
        if let Some(claim) = claim.as_object_mut() {
            claim.remove("status");
        }
        let done =
            format!("create Claim {name} Pod {}-{number} in StatefulSet {} success", meta.name, meta.name);
        writes.push(Write::create(CLAIM, Name::new(&meta.namespace, &name), claim).saying(Note::normal(
            KIND,
            meta,
            "SuccessfulCreate",
            done,
        )));
    }
    writes
}

fn owner(kind: &Kind, meta: &Meta) -> Owner {
    Owner {
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        name: meta.name.to_string(),
        uid: meta.uid.to_string(),
        controller: true,
        block_owner_deletion: true,
    }
}

/// Claims of wanted numbers whose owners are not what the policy says.
pub fn owned(view: &View<'_>) -> Vec<Write> {
    let (first, end) = view.range();
    let set = owner(KIND, &view.set.meta);
    let wanted = view.set.body.deletes_with_set.then_some(set);
    (first..end).flat_map(|number| adjust(view, number, wanted.as_ref())).collect()
}

/// Makes the claims of a Pod that is scaled away go with it, or stay.
pub fn condemned(view: &View<'_>, number: i64, pod: &Object<Pod>) -> Vec<Write> {
    let body = &view.set.body;
    let wanted = if body.deletes_when_scaled {
        Some(owner(POD, &pod.meta))
    } else {
        body.deletes_with_set.then(|| owner(KIND, &view.set.meta))
    };
    adjust(view, number, wanted.as_ref())
}

fn identity<'a>(owner: &&'a Owner) -> (&'a str, bool) {
    (&owner.uid, owner.controller)
}

/// Gives the claims of a number this owner of all those that this controller gives.
fn adjust(view: &View<'_>, at: i64, wanted: Option<&Owner>) -> Vec<Write> {
    let meta = &view.set.meta;
    let ours = |owner: &Owner| {
        owner.uid == *meta.uid || owner.kind == POD.kind && number(&meta.name, &owner.name) == Some(at)
    };
    let names = view.set.body.claims.iter().map(|template| name(view, template, at));
    let claims = names.filter_map(|name| view.world.claims.get(&meta.namespace, &name));
    claims
        .filter_map(|claim| {
            let given: Vec<&Owner> = claim.meta.owner_references.iter().filter(|owner| ours(owner)).collect();
            // Older versions gave owners that were no controllers.
            if given.iter().map(identity).eq(wanted.iter().map(identity)) {
                return None;
            }
            let rest: Vec<&Owner> = claim.meta.owner_references.iter().filter(|owner| !ours(owner)).collect();
            if wanted.is_some() && rest.iter().any(|owner| owner.controller) {
                // Somebody else's by now.
                return None;
            }
            let all: Vec<Owner> = rest.into_iter().chain(wanted).cloned().collect();
            let owners: Vec<Value> = references(&all);
            let patch = json!({"metadata": {"uid": &*claim.meta.uid, "ownerReferences": owners}});
            Some(Write::patch(CLAIM, claim.key(), claim.revision, patch))
        })
        .collect()
}
