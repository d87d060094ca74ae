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
    object: Value,
}

impl Revision {
    /// The Pod template, as the owner had it.
    pub fn template(&self) -> Value {
        let mut template = match self.object["kind"] == "ControllerRevision" {
            true => self.object["data"]["spec"]["template"].clone(),
            false => self.object["spec"]["template"].clone(),
        };
        if let Some(template) = template.as_object_mut() {
            // For whoever sends it as a patch.
            template.remove("$patch");
        }
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        template
    }

    /// Why there is such a revision, if somebody said so.
    pub fn cause(&self) -> &str {
        self.object["metadata"]["annotations"][CAUSE].as_str().unwrap_or("<none>")
    }
}

/// The revisions of an owner, oldest first.
pub async fn revisions(session: &Session, owner: &Value) -> Result<Vec<Revision>, Failure> {
    let (plural, kind) = match owner["kind"] == "Deployment" {
        true => ("replicasets", "ReplicaSet"),
        false => ("controllerrevisions", "ControllerRevision"),
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
    let number = |one: &Value| match kind {
        "ReplicaSet" => one["metadata"]["annotations"][REVISION].as_str()?.parse().ok(),
        _ => one["revision"].as_i64(),
    };
    let all = list["items"].as_array().into_iter().flatten().filter(owned);
    let read = |one: &Value| {
        let mut object = one.clone();
        object["kind"] = kind.into();
        Some(Revision { number: number(one)?, object })
    };
    let mut found: Vec<Revision> = all.filter_map(read).collect();
    found.sort_by_key(|revision| revision.number);
    Ok(found)
}
