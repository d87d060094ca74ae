//! Tokens of ServiceAccounts: giving them out, and whether what they are bound to still exists.

use std::time::Duration;

use edge_api::meta::{self, text};
use serde_json::{Value, json};

use crate::identity::{Bound, Reference};
use crate::registry::{ApiError, Context, Object, Registry, Target, check, encode};
use crate::store::{Key, Revision};

/// The schema of a request.
const SCHEMA: &str = "io.k8s.api.authentication.v1.TokenRequest";
/// How long a token lives that says nothing, at least and at most, in seconds.
const SECONDS: (i64, i64, i64) = (3600, 600, 1 << 32);

impl Registry {
    /// Answers a TokenRequest for the ServiceAccount.
    pub(crate) async fn request_token(
        &self,
        cx: &Context,
        target: &Target<'_>,
        mut request: Value,
    ) -> Result<Object, ApiError> {
        self.authorise(cx, "create", target, target.name)?;
        check::as_type("authentication.k8s.io/v1", "TokenRequest", &mut request)?;
        check::conform(cx, SCHEMA, "TokenRequest", &mut request)?;
        let account = self.current(&Target { subresource: "", ..*target })?.value();
        let seconds = seconds(&request)?;
        let bound = self.bind_token(cx, target, &account, &request["spec"]["boundObjectRef"])?;
        let audiences: Vec<String> = meta::items(&request, &["spec", "audiences"])
            .iter()
            .filter_map(|audience| audience.as_str().map(str::to_owned))
            .collect();
        let now = self.now();
        let signer = self.pki().signer();
        let token =
            signer.sign(bound, audiences.clone(), now.as_seconds(), seconds).map_err(ApiError::internal)?;
        let end = now.plus(Duration::from_secs(seconds.unsigned_abs()));
        request["metadata"] = json!({
            "name": target.name, "namespace": target.namespace, "creationTimestamp": now.seconds(),
        });
        request["spec"]["expirationSeconds"] = seconds.into();
        request["spec"]["audiences"] =
            if audiences.is_empty() { json!([signer.issuer()]) } else { json!(audiences) };
        request["status"] = json!({"token": token, "expirationTimestamp": end.seconds()});
        Ok(Object { revision: Revision::ZERO, stored: encode(request) })
    }

    /// Whether everything that a token is bound to still exists.
    pub fn exists(&self, bound: &Bound) -> bool {
        let namespace = bound.namespace.as_str();
        let is = |plural: &str, namespace: &str, reference: &Reference| {
            self.object_at(plural, namespace, &reference.name)
                .is_some_and(|o| o.header().uid == reference.uid)
        };
        let optional = [("pods", namespace, &bound.pod), ("secrets", namespace, &bound.secret)];
        is("serviceaccounts", namespace, &bound.serviceaccount)
            && optional
                .iter()
                .all(|(plural, namespace, r)| r.as_ref().is_none_or(|r| is(plural, namespace, r)))
    }

    fn object_at(&self, plural: &str, namespace: &str, name: &str) -> Option<Object> {
        let stored = self.store().get(&Key::of("core", plural, namespace, name))?;
        Some(Object { revision: stored.revision, stored: stored.value })
    }

    fn bind_token(
        &self,
        cx: &Context,
        target: &Target<'_>,
        account: &Value,
        object: &Value,
    ) -> Result<Bound, ApiError> {
        let reference =
            |object: &Value| Reference { name: meta::name(object).into(), uid: meta::uid(object).into() };
        let mut bound = Bound {
            namespace: target.namespace.to_owned(),
            serviceaccount: reference(account),
            ..Bound::default()
        };
        let (kind, name, uid) = (text(object, &["kind"]), text(object, &["name"]), text(object, &["uid"]));
        if kind.is_empty() && cx.user.node_name().is_some() {
            return Err(ApiError::forbidden(
                target.kind,
                target.name,
                "node requested token not bound to a pod",
            ));
        }
        match kind {
            "" => {}
            "Pod" | "Secret" => {
                let plural = if kind == "Pod" { "pods" } else { "secrets" };
                let missing = || ApiError::bad_request(format!("{plural} {name:?} not found"));
                let found = self.object_at(plural, target.namespace, name).ok_or_else(missing)?.value();
                if !uid.is_empty() && uid != meta::uid(&found) {
                    let why = format!(
                        "the UID in the bound object reference ({uid}) does not match the UID in record"
                    );
                    return Err(ApiError::conflict(target.kind, target.name, &why));
                }
                if kind == "Secret" {
                    bound.secret = Some(reference(&found));
                    return Ok(bound);
                }
                self.bind_to_pod(cx, target, &found, &mut bound)?;
            }
            other => {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount to type {other}"
                )));
            }
        }
        Ok(bound)
    }

    fn bind_to_pod(
        &self,
        cx: &Context,
        target: &Target<'_>,
        pod: &Value,
        bound: &mut Bound,
    ) -> Result<(), ApiError> {
        let node = text(pod, &["spec", "nodeName"]);
        if text(pod, &["spec", "serviceAccountName"]) != target.name {
            let why = "cannot bind token to a pod running with a different serviceaccount name";
            return Err(ApiError::bad_request(why));
        }
        if cx.user.node_name().is_some_and(|caller| caller != node) {
            return Err(ApiError::forbidden(
                target.kind,
                target.name,
                "node requested token bound to a pod elsewhere",
            ));
        }
        bound.pod = Some(Reference { name: meta::name(pod).into(), uid: meta::uid(pod).into() });
        bound.node = self
            .object_at("nodes", "", node)
            .map(|object| Reference { name: node.to_owned(), uid: object.header().uid.into_owned() });
        Ok(())
    }
}

fn seconds(request: &Value) -> Result<i64, ApiError> {
    let (default, least, most) = SECONDS;
    let wished = meta::number(request, &["spec", "expirationSeconds"]).unwrap_or(default);
    if wished < least {
        let message =
            "spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes";
        return Err(ApiError::new(crate::registry::Reason::Invalid, message));
    }
    if wished > most {
        let message =
            "spec.expirationSeconds: Invalid value: may not specify a duration larger than 2^32 seconds";
        return Err(ApiError::new(crate::registry::Reason::Invalid, message));
    }
    Ok(wished)
}
