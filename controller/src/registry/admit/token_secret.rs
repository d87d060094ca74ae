//! Secrets that hold a ServiceAccount's token: filled in when they are written, if the account is there. They go with
//! the account, and their token with either.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_api::meta::{self, annotation, text};
use serde_json::{Value, json};

use crate::identity::{Bound, Reference};
use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};

/// The type of such a Secret.
const TYPE: &str = "kubernetes.io/service-account-token";
/// Which account it is of.
const NAME: &str = "kubernetes.io/service-account.name";
/// Which incarnation of it.
const UID: &str = "kubernetes.io/service-account.uid";
/// How long the token lives if nothing ends it before, in seconds: a century.
const LIFETIME: i64 = 100 * 365 * 86_400;

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "ServiceAccountTokenSecret",
    concerns: |request| request.is("", "secrets") && request.operation != Operation::Delete,
    mutate: Mutation::Now(fill),
    validate: Validation::Never,
};

fn fill(request: &Request<'_>, secret: &mut Value) -> Result<(), ApiError> {
    if text(secret, &["type"]) != TYPE || meta::at(secret, &["data", "token"]).is_some() {
        return Ok(());
    }
    let namespace = request.target.namespace;
    let name = annotation(secret, NAME).unwrap_or_default().to_owned();
    let Some(account) = request.stored("core", "serviceaccounts", namespace, &name) else { return Ok(()) };
    let uid = account.header().uid.into_owned();
    if annotation(secret, UID).is_some_and(|wished| wished != uid) {
        return Ok(());
    }
    let bound = Bound {
        namespace: namespace.to_owned(),
        serviceaccount: Reference { name: name.clone(), uid: uid.clone() },
        secret: Some(Reference { name: meta::name(secret).to_owned(), uid: meta::uid(secret).to_owned() }),
        ..Bound::default()
    };
    let (pki, now) = (request.registry.pki(), request.registry.now().as_seconds());
    let token = pki.signer().sign(bound, Vec::new(), now, LIFETIME).map_err(ApiError::internal)?;
    meta::set_annotation(secret, UID, &uid);
    let owner = json!({"apiVersion": "v1", "kind": "ServiceAccount", "name": name, "uid": uid});
    if meta::owner_references(secret).is_empty() {
        meta::set(secret, "ownerReferences", json!([owner]));
    }
    let data = meta::object_mut(secret, "data");
    for (key, value) in [("token", token.as_str()), ("namespace", namespace), ("ca.crt", pki.authority_pem())]
    {
        data.insert(key.to_owned(), STANDARD.encode(value).into());
    }
    Ok(())
}
