//! What the claims of a Pod are bound to.
//!
//! Asked once for each claim, since it never changes, and kept with the Pod, so that the Pod starts again without the
//! server.

use edge_api::kinds::pod::Volume;
use serde::de::DeserializeOwned;

use crate::client::Resource;
use crate::supervisor::context::Context;
use crate::volume::VolumeError;
use crate::volume::persistent::{Backing, ClaimError, backing, volume_of};

/// Finds out about the claims that are not known yet.
pub async fn resolve(context: &Context) -> Result<(), VolumeError> {
    let pod = context.pod.load_full();
    let uid = &context.name.uid;
    for volume in &pod.spec.volumes {
        let Some((claim, _)) = volume.claim(&context.name.name) else { continue };
        if context.claims.lock().contains_key(&volume.name) {
            continue;
        }
        let found = ask(context, volume, &claim).await?;
        let mut claims = context.claims.lock();
        claims.insert(volume.name.clone(), found);
        context
            .host
            .volumes
            .keep_claims(uid, &claims)
            .map_err(|source| VolumeError::Io { volume: volume.name.clone(), source })?;
    }
    Ok(())
}

async fn ask(context: &Context, volume: &Volume, claim: &str) -> Result<Backing, VolumeError> {
    let namespace = &context.name.namespace;
    let failed = |source| VolumeError::Claim {
        volume: volume.name.clone(),
        claim: format!("{namespace}/{claim}"),
        source,
    };
    let path = Resource::PERSISTENT_VOLUME_CLAIMS.named(namespace, claim);
    let claim = get(context, &path, "PVC").await.map_err(failed)?;
    let name = volume_of(&claim).map_err(failed)?;
    let path = Resource::PERSISTENT_VOLUMES.named("", name);
    let found = get(context, &path, "PV").await.map_err(failed)?;
    backing(&claim, &found).map_err(failed)
}

async fn get<T: DeserializeOwned>(
    context: &Context,
    path: &str,
    what: &'static str,
) -> Result<T, ClaimError> {
    let failed = |error: &dyn std::error::Error| ClaimError::Fetch { what, why: error.to_string() };
    let object = context.host.client.get(path).await.map_err(|error| failed(&error))?;
    serde_json::from_value(object).map_err(|error| failed(&error))
}
