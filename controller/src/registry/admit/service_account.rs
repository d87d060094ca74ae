//! ServiceAccount: which one a Pod has, its token as a volume, its pull secrets.

use std::time::Duration;

use edge_api::meta::{self, items, text};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::registry::admit::{Mutation, Plugin, Request, Validation};
use crate::registry::{ApiError, Object};
use crate::store::Key;

/// Where the token is found in every container.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Seconds that the token in a Pod lives; the node renews it.
const TOKEN_SECONDS: i64 = 3607;
/// How long a Pod waits for the account of a namespace that was made just now.
const PATIENCE: Duration = Duration::from_secs(1);

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "ServiceAccount",
    concerns: |request| request.creates("", "pods"),
    mutate: Mutation::Later(admit),
    validate: Validation::Never,
};

/// Sets the account, and gives every container its token unless Pod or account decline.
fn admit<'a>(request: &'a Request<'a>, pod: &'a mut Value) -> BoxFuture<'a, Result<(), ApiError>> {
    async move {
        let name = match text(pod, &["spec", "serviceAccountName"]) {
            "" => "default".to_owned(),
            name => name.to_owned(),
        };
        let account = account(request, &name).await?;
        let automount = meta::at(pod, &["spec", "automountServiceAccountToken"])
            .or_else(|| account.get("automountServiceAccountToken"))
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let spec = meta::object_mut(pod, "spec");
        spec.insert("serviceAccountName".to_owned(), name.clone().into());
        spec.insert("serviceAccount".to_owned(), name.into());
        if spec.get("imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty)
            && let Some(secrets) =
                account.get("imagePullSecrets").filter(|s| s.as_array().is_some_and(|s| !s.is_empty()))
        {
            spec.insert("imagePullSecrets".to_owned(), secrets.clone());
        }
        if automount {
            mount(pod);
        }
        Ok(())
    }
    .boxed()
}

async fn account(request: &Request<'_>, name: &str) -> Result<Value, ApiError> {
    let store = request.registry.store();
    let namespace = request.target.namespace;
    let prefix = format!("/core/serviceaccounts/{namespace}/");
    let key = Key::new(format!("{prefix}{name}"));
    if let Some(stored) = store.get(&key) {
        return Ok(Object { revision: stored.revision, stored: stored.value }.value());
    }
    // The cursor first, so that an account made in between is not missed.
    let mut cursor = store.watch(&prefix, store.head())?;
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(stored) = store.get(&key) {
                return Ok(Object { revision: stored.revision, stored: stored.value }.value());
            }
            cursor.next().await?;
        }
    });
    found.await.unwrap_or_else(|_| {
        let why =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        Err(request.forbidden(&why))
    })
}

/// Mounts the token into every container that mounts nothing there itself.
fn mount(pod: &mut Value) {
    let volume = volume_name(pod);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter(|container| container.is_object()) {
            let mounts = container.as_object_mut().expect("filtered above").entry("volumeMounts");
            let Some(mounts) = mounts.or_insert_with(|| json!([])).as_array_mut() else { continue };
            if !mounts.iter().any(|mount| text(mount, &["mountPath"]) == MOUNT_PATH) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
                mounted = true;
            }
        }
    }
    let exists = items(pod, &["spec", "volumes"]).iter().any(|v| text(v, &["name"]) == volume);
    if mounted && !exists {
        let volumes = meta::object_mut(pod, "spec").entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(projection(&volume));
        }
    }
}

/// The name of a volume of this kind that the Pod brings, or a new one.
fn volume_name(pod: &Value) -> String {
    let names = items(pod, &["spec", "volumes"]).iter().map(|volume| text(volume, &["name"]));
    let brought = names.into_iter().find(|name| name.starts_with("kube-api-access-"));
    brought.map_or_else(
        || {
            let letters = b"bcdfghjklmnpqrstvwxz2456789";
            let random = (0..5).map(|_| char::from(letters[fastrand::usize(..letters.len())]));
            format!("kube-api-access-{}", random.collect::<String>())
        },
        str::to_owned,
    )
}

fn projection(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{MOUNT_PATH, mount};
    use serde_json::json;

    #[test]
    fn the_token_is_mounted_once_into_every_container() {
        let mut pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}],
            "initContainers": [{"name": "i"}],
        }});
        mount(&mut pod);
        let once = pod.clone();
        mount(&mut pod);
        assert_eq!(pod, once);
        assert_eq!(pod["spec"]["volumes"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            pod["spec"]["volumes"][0]["name"],
            pod["spec"]["containers"][0]["volumeMounts"][0]["name"]
        );
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"].as_array().map(Vec::len), Some(1));
        assert_eq!(pod["spec"]["initContainers"][0]["volumeMounts"][0]["mountPath"], MOUNT_PATH);
    }
}
