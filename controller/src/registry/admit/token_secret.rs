//! The token of a Secret that asks for one: `type: kubernetes.io/service-account-token`, as it was done before tokens
//! ended with a Pod. The token lives as long as its Secret and its account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_api::meta::{self, annotation, text};
use serde_json::{Value, json};

use crate::identity::{Bound, Reference};
use crate::registry::ApiError;
use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};

/// The type of such Secrets.
const TYPE: &str = "kubernetes.io/service-account-token";
/// Whose token it is.
const NAME: &str = "kubernetes.io/service-account.name";
/// Which incarnation of the account.
const UID: &str = "kubernetes.io/service-account.uid";
/// How long such a token counts, in seconds: the Secret's end is its end.
const SECONDS: i64 = 1 << 32;

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "ServiceAccountToken",
    concerns: |request| request.is("", "secrets") && request.operation != Operation::Delete,
    mutate: Mutation::Now(fill),
    validate: Validation::Never,
};

/// Writes token, authority and namespace into the Secret if its account exists.
fn fill(request: &Request<'_>, secret: &mut Value) -> Result<(), ApiError> {
    if text(secret, &["type"]) != TYPE {
        return Ok(());
    }
    let name = annotation(secret, NAME).unwrap_or_default().to_owned();
    let namespace = request.target.namespace;
    let Some(account) = request.stored("core", "serviceaccounts", namespace, &name) else { return Ok(()) };
    let uid = account.header().uid.into_owned();
    if annotation(secret, UID).is_some_and(|other| other != uid) {
        return Ok(());
    }
    let pki = request.registry.pki();
    let has = |field: &str| !text(secret, &["data", field]).is_empty();
    let mut data = Vec::new();
    if !has("token") {
        let bound = Bound {
            namespace: namespace.to_owned(),
            serviceaccount: Reference { name, uid: uid.clone() },
            secret: Some(Reference { name: meta::name(secret).into(), uid: meta::uid(secret).into() }),
            ..Bound::default()
        };
        let now = request.registry.now().as_seconds();
        let token = pki.signer().sign(bound, Vec::new(), now, SECONDS).map_err(ApiError::internal)?;
        data.push(("token", token));
    }
    if !has("ca.crt") {
        data.push(("ca.crt", pki.authority_pem().to_owned()));
    }
    if !has("namespace") {
        data.push(("namespace", namespace.to_owned()));
    }
    meta::set_annotation(secret, UID, &uid);
    let fields = meta::object_mut(secret, "data");
    for (field, value) in data {
        fields.insert(field.to_owned(), json!(STANDARD.encode(value)));
    }
    Ok(())
}
