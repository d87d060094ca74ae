//! What only CertificateSigningRequests have: who asks is written into them, and the answer to them brings the
//! certificate at once.
//!
//! Kubernetes signs in a controller, after the approval; here both are one write, so that no key leaves the registry
//! and nobody waits. Requests to signers of others are left to them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_api::kind::{Kind, Target as Part};
use edge_api::kinds::certificate_signing_request as csr;
use edge_api::meta::{self, text};
use serde_json::{Value, json};

use crate::identity::signing::{self, Profile, Requested};
use crate::identity::{GROUP_MASTERS, User};
use crate::registry::read::stamp;
use crate::registry::{Access, Action, ApiError, Context, Registry};

/// The signer of clients of the API.
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

impl Registry {
    /// Writes into a new request who asks, whatever it says itself.
    pub(crate) fn stamp_requester(
        &self,
        cx: &Context,
        kind: &Kind,
        object: &mut Value,
    ) -> Result<(), ApiError> {
        if *kind != csr::KIND {
            return Ok(());
        }
        let User { name, uid, groups, extra } = &cx.user;
        let spec = meta::object_mut(object, "spec");
        spec.insert("username".to_owned(), name.as_str().into());
        spec.insert("groups".to_owned(), json!(groups));
        for (field, value, empty) in
            [("uid", json!(uid), uid.is_empty()), ("extra", json!(extra), extra.is_empty())]
        {
            match empty {
                true => drop(spec.remove(field)),
                false => drop(spec.insert(field.to_owned(), value)),
            }
        }
        let restricted = text(object, &["spec", "signerName"]) == CLIENT
            && Requested::read(&pem(object))
                .is_ok_and(|it| it.organisations.iter().any(|o| o == GROUP_MASTERS));
        if restricted {
            let why = format!("use of {CLIENT} signer with {GROUP_MASTERS} group is not allowed");
            return Err(ApiError::forbidden(kind, meta::name(object), &why));
        }
        Ok(())
    }

    /// Refuses who may write answers, but not those of this signer.
    pub(crate) fn authorise_signer(
        &self,
        cx: &Context,
        kind: &Kind,
        part: Part,
        request: &Value,
    ) -> Result<(), ApiError> {
        let (verb, does) = match part {
            Part::Approval => ("approve", "approve requests"),
            Part::Status => ("sign", "sign requests"),
            Part::Main | Part::Finalize | Part::Part(_) => return Ok(()),
        };
        if *kind != csr::KIND {
            return Ok(());
        }
        let signer = text(request, &["spec", "signerName"]);
        let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
        for name in [signer, &domain] {
            let access = Access { verb, group: kind.group, resource: "signers", name, ..Access::default() };
            if self.decide(&cx.user, &Action::Objects(access))?.is_allowed() {
                return Ok(());
            }
        }
        let why = format!("user not permitted to {does} with signerName {signer:?}");
        Err(ApiError::forbidden(kind, meta::name(request), &why))
    }

    /// Dates the answer to a request, and issues the certificate of one that was approved.
    pub(crate) fn issue(&self, kind: &Kind, part: Part, request: &mut Value) {
        if *kind != csr::KIND || part == Part::Main {
            return;
        }
        let now = stamp(self.now());
        let conditions = request.get_mut("status").and_then(|status| status.get_mut("conditions"));
        for condition in conditions.and_then(Value::as_array_mut).into_iter().flatten() {
            for field in ["lastUpdateTime", "lastTransitionTime"] {
                if condition.is_object() && text(condition, &[field]).is_empty() {
                    condition[field] = now.clone();
                }
            }
        }
        let answered = !text(request, &["status", "certificate"]).is_empty() || csr::has(request, "Failed");
        if part != Part::Approval || answered || !csr::has(request, "Approved") {
            return;
        }
        let Some(profile) = signing::profile(text(request, &["spec", "signerName"])) else { return };
        match self.certificate(profile, request) {
            Ok(certificate) => request["status"]["certificate"] = STANDARD.encode(certificate).into(),
            Err(why) => {
                let failed = json!({
                    "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
                    "lastUpdateTime": now, "lastTransitionTime": now,
                });
                if let Some(conditions) = request["status"]["conditions"].as_array_mut() {
                    conditions.push(failed);
                }
            }
        }
    }

    fn certificate(&self, profile: &Profile, request: &Value) -> Result<String, String> {
        let usages: Vec<&str> =
            meta::items(request, &["spec", "usages"]).iter().filter_map(Value::as_str).collect();
        let seconds = meta::number(request, &["spec", "expirationSeconds"]);
        let requested = Requested::read(&pem(request)).map_err(|error| error.to_string())?;
        profile.check(&requested, &usages).map_err(str::to_owned)?;
        let authority = self.pki().authority();
        authority
            .sign(requested, &usages, seconds, self.now().as_seconds())
            .map_err(|_| "the certificate could not be issued".to_owned())
    }
}

/// The request, in PEM.
fn pem(request: &Value) -> String {
    let bytes = STANDARD.decode(text(request, &["spec", "request"])).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}
