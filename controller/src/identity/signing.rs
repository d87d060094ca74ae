//! Certificates that somebody asked for: what a request says, which requests a signer signs, and the certificate.
//!
//! The signers are Kubernetes' own that this cluster's authority stands behind. What the certificate is good for comes
//! from the approved object, never from the request's own extensions.

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};

use crate::identity::authority::{Authority, CertificateError};

/// A request for a certificate whose signature is good.
pub struct Requested {
    parsed: CertificateSigningRequestParams,
    /// The name it is for.
    pub common_name: String,
    /// The groups it is for.
    pub organisations: Vec<String>,
}

impl Requested {
    /// Reads a request in PEM.
    pub fn read(pem: &str) -> Result<Requested, CertificateError> {
        let parsed = CertificateSigningRequestParams::from_pem(pem)?;
        let text = |value: &DnValue| match value {
            DnValue::Utf8String(text) => text.clone(),
            DnValue::PrintableString(text) => text.as_str().to_owned(),
            DnValue::Ia5String(text) => text.as_str().to_owned(),
            DnValue::TeletexString(text) => text.as_str().to_owned(),
            _ => String::new(),
        };
        let name = &parsed.params.distinguished_name;
        let all =
            |wanted: DnType| name.iter().filter(move |(type_, _)| **type_ == wanted).map(|(_, v)| text(v));
        Ok(Requested {
            common_name: all(DnType::CommonName).next().unwrap_or_default(),
            organisations: all(DnType::OrganizationName).collect(),
            parsed,
        })
    }

    fn names(&self) -> &[SanType] {
        &self.parsed.params.subject_alt_names
    }
}

/// Which requests a signer signs.
pub struct Profile {
    signer: &'static str,
    /// What a certificate must be for.
    required: &'static [&'static str],
    /// What it may be for beside.
    allowed: &'static [&'static str],
    /// What must be true of it, or why not.
    rule: fn(&Requested) -> Result<(), &'static str>,
}

/// The signers of this cluster.
const PROFILES: &[Profile] = &[
    Profile {
        signer: "kubernetes.io/kube-apiserver-client",
        required: &["client auth"],
        allowed: &["digital signature", "key encipherment"],
        rule: |_| Ok(()),
    },
    Profile {
        signer: "kubernetes.io/kube-apiserver-client-kubelet",
        required: &["client auth", "digital signature"],
        allowed: &["key encipherment"],
        rule: |requested| match node(requested) {
            Ok(()) if !requested.names().is_empty() => Err("subject alternative names are not allowed"),
            other => other,
        },
    },
    Profile {
        signer: "kubernetes.io/kubelet-serving",
        required: &["server auth", "digital signature"],
        allowed: &["key encipherment"],
        rule: |requested| {
            node(requested)?;
            let names = requested.names().iter();
            let mut kinds = names.map(|name| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_)));
            match (requested.names().is_empty(), kinds.all(|fits| fits)) {
                (true, _) => Err("DNS or IP subjectAltName is required"),
                (_, false) => Err("only DNS and IP subjectAltNames are allowed"),
                _ => Ok(()),
            }
        },
    },
];

/// The profile of a signer, if it is this cluster's.
pub fn profile(signer: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.signer == signer)
}

fn node(requested: &Requested) -> Result<(), &'static str> {
    if requested.organisations != ["system:nodes"] {
        return Err("subject organization is not system:nodes");
    }
    if !requested.common_name.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node: ");
    }
    Ok(())
}

impl Profile {
    /// Whether a request may be signed for these usages, or why not.
    pub fn check(&self, requested: &Requested, usages: &[&str]) -> Result<(), &'static str> {
        let known = |usage: &&str| self.required.contains(usage) || self.allowed.contains(usage);
        if !usages.iter().all(known) || !self.required.iter().all(|usage| usages.contains(usage)) {
            return Err("the usages are not those this signer issues certificates for");
        }
        (self.rule)(requested)
    }
}

/// Seconds that a certificate is good for at most, and if nobody says.
const LIFETIME: i64 = 365 * 86_400;
/// Seconds by which clocks may differ.
const SKEW: i64 = 300;

impl Authority {
    /// The certificate for a request, as PEM. It is good for what the usages say, and for `seconds` if given.
    pub fn sign(
        &self,
        requested: Requested,
        usages: &[&str],
        seconds: Option<i64>,
        now: i64,
    ) -> Result<String, CertificateError> {
        let CertificateSigningRequestParams { params: asked, public_key } = requested.parsed;
        let mut params = CertificateParams::default();
        params.distinguished_name = asked.distinguished_name;
        params.subject_alt_names = asked.subject_alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        params.extended_key_usages = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        let end = now + seconds.unwrap_or(LIFETIME).min(LIFETIME);
        self.date(&mut params, now - SKEW, end);
        let certificate = CertificateSigningRequestParams { params, public_key }.signed_by(self.issuer())?;
        Ok(certificate.pem())
    }
}

fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    match usage {
        "digital signature" => Some(KeyUsagePurpose::DigitalSignature),
        "key encipherment" => Some(KeyUsagePurpose::KeyEncipherment),
        _ => None,
    }
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    match usage {
        "client auth" => Some(ExtendedKeyUsagePurpose::ClientAuth),
        "server auth" => Some(ExtendedKeyUsagePurpose::ServerAuth),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{DistinguishedName, KeyPair};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn request(name: &str, organisations: &[&str], names: &[&str]) -> String {
        let mut params =
            CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        for organisation in organisations {
            params.distinguished_name.push(DnType::OrganizationName, *organisation);
        }
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    #[test]
    fn signers_sign_what_is_theirs() {
        let client = ["client auth", "digital signature"];
        let server = ["server auth", "digital signature"];
        let (api, kubelet, serving) = (
            "kubernetes.io/kube-apiserver-client",
            "kubernetes.io/kube-apiserver-client-kubelet",
            "kubernetes.io/kubelet-serving",
        );
        let nodes: &[&str] = &["system:nodes"];
        type Case<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str], bool);
        let cases: [Case<'_>; 8] = [
            (api, "jane", &["dev"], &[], &client, true),
            (api, "jane", &["dev"], &[], &server, false),
            (kubelet, "system:node:a", nodes, &[], &client, true),
            (kubelet, "system:node:a", nodes, &["a"], &client, false),
            (kubelet, "jane", nodes, &[], &client, false),
            (serving, "system:node:a", nodes, &["a", "10.0.0.1"], &server, true),
            (serving, "system:node:a", nodes, &[], &server, false),
            (serving, "system:node:a", &["x"], &["a"], &server, false),
        ];
        for (signer, name, organisations, names, usages, expected) in cases {
            let requested = Requested::read(&request(name, organisations, names)).unwrap();
            let checked = profile(signer).unwrap().check(&requested, usages);
            assert_eq!(checked.is_ok(), expected, "{signer} {name} {checked:?}");
        }
        assert!(profile("example.com/own").is_none());
        assert!(Requested::read("-----BEGIN CERTIFICATE REQUEST-----").is_err());
    }

    #[test]
    fn a_certificate_says_what_was_approved() {
        let authority = Authority::generate().unwrap();
        let requested = Requested::read(&request("jane", &["dev"], &[])).unwrap();
        let pem = authority.sign(requested, &["client auth"], Some(3600), NOW).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let user = crate::identity::authority::user_of(&der).unwrap();
        assert_eq!((user.name.as_str(), user.groups[0].as_str()), ("jane", "dev"));
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(parsed.validity().not_after.timestamp(), NOW + 3600);
        let (_, issuer) = X509Certificate::from_der(authority.der()).unwrap();
        assert!(parsed.verify_signature(Some(issuer.public_key())).is_ok());
        assert!(parsed.extended_key_usage().unwrap().unwrap().value.client_auth && !parsed.is_ca());
    }
}
