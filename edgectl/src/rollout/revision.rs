//! The templates that something was rolled out with: a Deployment's ReplicaSets, the ControllerRevisions of others.

use serde_json::Value;

use crate::failure::Failure;
use crate::get;
use crate::session::{JSON, Session, query};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";

/// One of them.
pub struct Revision {
    /// Its number, the highest the newest.
    pub number: i64,
    /// The Pod template, as the owner had it.
    pub template: Value,
    /// Why there is such a revision, or `<none>` if nobody said so.
    pub cause: String,
}

impl Revision {
    fn of_set(set: &Value) -> Option<Revision> {
        let number = set["metadata"]["annotations"][REVISION].as_str()?.parse().ok()?;
        let mut template = set["spec"]["template"].clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        Some(Revision { number, template, cause: cause(set) })
    }

    fn of_controller(revision: &Value) -> Option<Revision> {
        let mut template = revision["data"]["spec"]["template"].clone();
        if let Some(template) = template.as_object_mut() {
            // For whoever sends it as a patch.
            template.remove("$patch");
        }
        Some(Revision { number: revision["revision"].as_i64()?, template, cause: cause(revision) })
    }
}

fn cause(object: &Value) -> String {
    object["metadata"]["annotations"][CAUSE].as_str().unwrap_or("<none>").to_owned()
}

/// The revisions of an owner, oldest first.
pub async fn revisions(session: &Session, owner: &Value) -> Result<Vec<Revision>, Failure> {
    let (plural, read): (_, fn(&Value) -> Option<Revision>) = match owner["kind"] == "Deployment" {
        true => ("replicasets", Revision::of_set),
        false => ("controllerrevisions", Revision::of_controller),
    };
    let labels = &owner["spec"]["selector"]["matchLabels"];
    let selector = labels.as_object().filter(|labels| !labels.is_empty()).map(|_| get::labels(labels));
    let path = format!(
        "/apis/apps/v1/namespaces/{}/{plural}{}",
        session.namespace,
        query(&[("labelSelector", selector.as_deref())])
    );
    let list = session.get(&path, JSON).await?;
    let uid = &owner["metadata"]["uid"];
    let owned = |one: &&Value| {
        one["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == *uid)
    };
    let all = list["items"].as_array().into_iter().flatten().filter(owned);
    let mut found: Vec<Revision> = all.filter_map(read).collect();
    found.sort_by_key(|revision| revision.number);
    Ok(found)
}
