//! Removing the directories of volumes that are deleted.
//!
//! The node follows the volumes that it has made. One that is deleted and that nothing keeps any more but our own
//! finalizer has come to its end: its directory goes, if its policy says so, and then the finalizer. A node that was
//! away does it when it is back; a directory whose volume this node has not seen being deleted stays.

use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::persistent_volume::{LOCAL_FINALIZER, NODE_LABEL, PROTECTION, PersistentVolume};
use edge_api::uri::encode_component;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::backoff::Backoff;
use crate::client::{Client, Patch, Resource};
use crate::report::Subject;
use crate::supervisor::host::Host;
use crate::sync::watcher::{Event, Target, Watcher};

/// Follows the node's volumes for as long as it is polled.
pub async fn run(host: Arc<Host>) {
    let query = format!("labelSelector={}", encode_component(&format!("{NODE_LABEL}={}", host.node)));
    let target = Target { path: Resource::PERSISTENT_VOLUMES.all(), query };
    let mut watcher = Watcher::new(host.client.clone(), target);
    let mut tasks = JoinSet::new();
    loop {
        let event = tokio::select! {
            event = watcher.next() => event,
            Some(_) = tasks.join_next() => continue,
        };
        let (Event::InitApply(object) | Event::Apply(object)) = event else { continue };
        match serde_json::from_value::<PersistentVolume>(object) {
            Ok(volume) if is_over(&volume) => drop(tasks.spawn(clear(host.clone(), volume))),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a volume is not readable"),
        }
    }
}

/// Whether nothing keeps a volume any more but this node.
fn is_over(volume: &PersistentVolume) -> bool {
    let has = |name: &str| volume.metadata.finalizers.iter().any(|one| one == name);
    volume.metadata.deletion_timestamp.is_some() && has(LOCAL_FINALIZER) && !has(PROTECTION)
}

async fn clear(host: Arc<Host>, volume: PersistentVolume) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(300));
    let name = &volume.metadata.name;
    if volume.is_local() && volume.spec.persistent_volume_reclaim_policy == "Delete" {
        loop {
            let (volumes, name) = (host.volumes.clone(), name.clone());
            let work = move || volumes.persistent().remove(&name);
            let removed =
                tokio::task::spawn_blocking(work).await.expect("removing a directory does not panic");
            let Err(error) = removed else { break };
            let subject = Subject {
                kind: "PersistentVolume",
                namespace: String::new(),
                name: volume.metadata.name.clone(),
                uid: volume.metadata.uid.clone(),
                field: String::new(),
            };
            host.events.tell(subject, true, "VolumeFailedDelete", &error.to_string());
            backoff.wait().await;
        }
        tracing::info!(volume = name, "the directory of a deleted volume is removed");
    }
    backoff.reset();
    while let Err(error) = release(&host.client, &volume).await {
        if !error.is_transient() {
            // Somebody else has changed it, which is news that arrives.
            tracing::debug!(volume = name, %error, "a volume was not released");
            return;
        }
        backoff.wait().await;
    }
}

/// Takes our finalizer away.
async fn release(client: &Client, volume: &PersistentVolume) -> Result<(), crate::client::ClientError> {
    let meta = &volume.metadata;
    let rest: Vec<&String> = meta.finalizers.iter().filter(|one| *one != LOCAL_FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": meta.resource_version, "finalizers": rest}});
    client.patch(&Resource::PERSISTENT_VOLUMES.named("", &meta.name), Patch::Merge, &patch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_volume_is_over_when_only_the_node_keeps_it() {
        let cases = [
            (json!("2026-01-01T00:00:00Z"), json!([LOCAL_FINALIZER]), true),
            (json!("2026-01-01T00:00:00Z"), json!([LOCAL_FINALIZER, PROTECTION]), false),
            (json!("2026-01-01T00:00:00Z"), json!([]), false),
            (Value::Null, json!([LOCAL_FINALIZER]), false),
        ];
        for (deleted, finalizers, expected) in cases {
            let volume = json!({"metadata": {"deletionTimestamp": deleted, "finalizers": finalizers}});
            assert_eq!(
                is_over(&serde_json::from_value(volume.clone()).expect("a volume")),
                expected,
                "{volume}"
            );
        }
    }
}
