//! CertificateSigningRequest: the wish for a certificate, who approved it, and what was issued.

use crate::error::FieldError;
use crate::kind::{Column, Field, Kind, Scope, Subresource};
use crate::meta;
use crate::name::{self, NameRule};
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::Value;
use std::time::Duration;

/// The table entry. Who asks (`spec.username` …) is filled in by admission.
pub static KIND: Kind = Kind {
    group: "certificates.k8s.io",
    version: "v1",
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.certificates.v1.CertificateSigningRequest",
    subresources: &[Subresource::Approval, Subresource::Status],
    name_rule: NameRule::PathSegment,
    columns: &[
        Column::NAME,
        Column::AGE,
        Column::new("SignerName", "string", "Who is to sign."),
        Column::new("Requestor", "string", "Who asked."),
        Column::new("RequestedDuration", "string", "How long the certificate is to be good."),
        Column::new("Condition", "string", "What became of it."),
    ],
    row,
    fields: &[Field::new("spec.signerName", &["spec", "signerName"])],
    update: |new, old| {
        if let (Some(new), Some(spec)) = (new.as_object_mut(), old.get("spec")) {
            new.insert("spec".to_owned(), spec.clone());
        }
    },
    checks,
    status_checks,
    ..Kind::PLAIN
};

/// Whether a request has a condition of this type.
pub fn has(request: &Value, type_: &str) -> bool {
    meta::condition(request, type_).is_some()
}

fn row(request: &Value, now: Timestamp) -> Vec<Value> {
    let duration = meta::number(request, &["spec", "expirationSeconds"]).and_then(|s| u64::try_from(s).ok());
    let duration = match duration {
        Some(seconds) => time::human_duration(Duration::from_secs(seconds)),
        None => "<none>".to_owned(),
    };
    vec![
        meta::name(request).into(),
        time::age(meta::creation_timestamp(request), now).into(),
        meta::text(request, &["spec", "signerName"]).into(),
        meta::text(request, &["spec", "username"]).into(),
        duration.into(),
        condition(request).into(),
    ]
}

fn condition(request: &Value) -> String {
    let mut words = Vec::new();
    match (has(request, "Denied"), has(request, "Approved")) {
        (true, _) => words.push("Denied"),
        (_, true) => words.push("Approved"),
        _ => words.push("Pending"),
    }
    if has(request, "Failed") {
        words.push("Failed");
    }
    if !meta::text(request, &["status", "certificate"]).is_empty() {
        words.push("Issued");
    }
    words.join(",")
}

/// What a certificate may be for.
const USAGES: &[&str] = &[
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
];

fn checks(request: &At<'_>, errors: &mut Errors) {
    let spec = request.get("spec");
    pem(&spec.get("request"), errors);
    let usages = spec.get("usages");
    if usages.is_empty() {
        errors.push(FieldError::required(&usages.path, ""));
    }
    let mut seen = Vec::new();
    for usage in usages.items() {
        if !USAGES.contains(&usage.text()) {
            errors.push(FieldError::not_supported(&usage.path, usage.value, USAGES));
        }
        validate::unique(&usage, &mut seen, errors);
    }
    signer_name(&spec.get("signerName"), errors);
    let seconds = spec.get("expirationSeconds");
    if let Some(number) = seconds.number()
        && number < 600
    {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(&seconds.path, number, why));
    }
}

/// The request is PEM in base64. Only the frame is looked at: who signs reads the rest.
fn pem(request: &At<'_>, errors: &mut Errors) {
    use base64::Engine as _;
    if !validate::required(request, "", errors) {
        return;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(request.text()).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded);
    if !text.contains("-----BEGIN CERTIFICATE REQUEST-----") {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(FieldError::invalid(&request.path, request.text(), why));
    }
}

/// `example.com/signer-name`
fn signer_name(at: &At<'_>, errors: &mut Errors) {
    const WHY: &str = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    if !validate::required(at, "signerName must be specified", errors) {
        return;
    }
    if at.text() == "kubernetes.io/legacy-unknown" {
        let why = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(&at.path, at.text(), why));
        return;
    }
    let good = at.text().split_once('/').is_some_and(|(domain, path)| {
        name::dns1123_subdomain(domain).is_ok()
            && domain.contains('.')
            && !path.is_empty()
            && path.split('.').all(|part| name::dns1123_label(part).is_ok())
    });
    if !good {
        errors.push(FieldError::invalid(&at.path, at.text(), WHY));
    }
}

fn status_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (new, old) = (new.get("status").get("conditions"), old.get("status").get("conditions"));
    let has =
        |conditions: &At<'_>, type_: &str| conditions.items().any(|one| one.get("type").text() == type_);
    for type_ in ["Approved", "Denied", "Failed"] {
        if has(&old, type_) && !has(&new, type_) {
            let why = format!("updates may not remove a condition of type {type_:?}");
            errors.push(FieldError::forbidden(&new.path, &why));
        }
    }
    if has(&new, "Approved") && has(&new, "Denied") {
        let why = "Approved and Denied conditions are mutually exclusive";
        errors.push(FieldError::invalid(&new.path, new.value, why));
    }
    for condition in new.items() {
        let (type_, status) = (condition.get("type"), condition.get("status"));
        validate::required(&type_, "", errors);
        match type_.text() {
            "Approved" | "Denied" | "Failed" => validate::one_of(&status, &["True"], errors),
            _ => validate::one_of(&status, &["True", "False", "Unknown"], errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;
    use serde_json::json;

    /// `-----BEGIN CERTIFICATE REQUEST-----`
    const PEM: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=";

    fn request(spec: Value, status: Value) -> Value {
        json!({"metadata": {"name": "a:b"}, "spec": spec, "status": status})
    }

    fn found(spec: Value) -> Vec<String> {
        KIND.validate(&request(spec, json!({}))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn requests_are_checked() {
        let good = json!({"request": PEM, "usages": ["client auth"], "signerName": "kubernetes.io/kube-apiserver-client"});
        assert_eq!(found(good.clone()), Vec::<String>::new());
        let cases = [
            ("request", json!(""), "spec.request: Required value"),
            (
                "request",
                json!("LS0t"),
                "spec.request: Invalid value: \"LS0t\": PEM block type must be CERTIFICATE REQUEST",
            ),
            ("usages", json!([]), "spec.usages: Required value"),
            ("usages", json!(["any", "any"]), "spec.usages[1]: Duplicate value: \"any\""),
            (
                "signerName",
                json!("local"),
                "spec.signerName: Invalid value: \"local\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ),
            (
                "signerName",
                json!("kubernetes.io/legacy-unknown"),
                "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
            ),
            (
                "expirationSeconds",
                json!(5),
                "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)",
            ),
        ];
        for (field, value, expected) in cases {
            let mut spec = good.clone();
            spec[field] = value;
            assert_eq!(found(spec), [expected]);
        }
    }

    #[test]
    fn an_answer_is_not_taken_back() {
        let with = |types: &[&str]| {
            let conditions: Vec<Value> = types.iter().map(|t| json!({"type": t, "status": "True"})).collect();
            request(json!({}), json!({"conditions": conditions}))
        };
        let found = |new: &Value, old: &Value| -> Vec<String> {
            KIND.validate_update(new, old, Target::Approval).iter().map(ToString::to_string).collect()
        };
        assert_eq!(found(&with(&["Approved"]), &with(&[])), Vec::<String>::new());
        assert_eq!(
            found(&with(&[]), &with(&["Denied"])),
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Denied\""]
        );
        assert!(found(&with(&["Approved", "Denied"]), &with(&[]))[0].contains("mutually exclusive"));
    }

    #[test]
    fn the_approval_changes_conditions_only() {
        let old = request(json!({"signerName": "a"}), json!({"certificate": "x"}));
        let mut new = request(json!({"signerName": "b"}), json!({"conditions": [{"type": "Approved"}]}));
        KIND.prepare_update(&mut new, &old, Target::Approval);
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["status"], json!({"certificate": "x", "conditions": [{"type": "Approved"}]}));
    }

    #[test]
    fn what_became_of_it_is_shown() {
        let cases = [
            (json!({}), "Pending"),
            (json!({"conditions": [{"type": "Denied"}]}), "Denied"),
            (json!({"conditions": [{"type": "Approved"}], "certificate": "x"}), "Approved,Issued"),
        ];
        for (status, expected) in cases {
            assert_eq!(condition(&request(json!({}), status)), expected);
        }
    }
}
