//! Certificates that somebody asked for: what a request says, which requests a signer signs, and the certificate.
//!
//! The signers are Kubernetes' own that this cluster's authority stands behind. What the certificate is good for comes
//! from the approved object, never from the request's own extensions.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SigningKey as _,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

use crate::identity::authority::{Authority, CertificateError};
use crate::identity::der;

/// A request for a certificate whose signature is good.
pub struct Requested {
    /// Whom it is for, in DER, as the request says.
    subject: Vec<u8>,
    key: SubjectPublicKeyInfo,
    names: Vec<SanType>,
    /// The name it is for: the last if there are several.
    pub common_name: String,
    /// The groups it is for.
    pub organisations: Vec<String>,
}

impl Requested {
    /// Reads a request in PEM. Of its extensions the alternative names count, if they are of a kind that certificates
    /// of Kubernetes have; others are left out.
    pub fn read(pem: &str) -> Result<Requested, CertificateError> {
        let bytes = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())?;
        let (_, request) =
            X509CertificationRequest::from_der(&bytes).map_err(|_| CertificateError::Request)?;
        request.verify_signature().map_err(|_| CertificateError::Request)?;
        let (subject, key) = {
            let info = &request.certification_request_info;
            (&info.subject, SubjectPublicKeyInfo::from_der(info.subject_pki.raw)?)
        };
        let text = |one: &AttributeTypeAndValue<'_>| one.as_str().unwrap_or_default().to_owned();
        let mut names = Vec::new();
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(alternative) = extension {
                for name in &alternative.general_names {
                    names.extend(alternative_name(name)?);
                }
            }
        }
        Ok(Requested {
            subject: subject.as_raw().to_vec(),
            key,
            names,
            common_name: subject.iter_common_name().last().map(text).unwrap_or_default(),
            organisations: subject.iter_organization().map(text).collect(),
        })
    }
}

/// A name that certificates of Kubernetes have.
fn alternative_name(name: &GeneralName<'_>) -> Result<Option<SanType>, CertificateError> {
    Ok(match name {
        GeneralName::DNSName(name) => Some(SanType::DnsName((*name).try_into()?)),
        GeneralName::RFC822Name(name) => Some(SanType::Rfc822Name((*name).try_into()?)),
        GeneralName::URI(name) => Some(SanType::URI((*name).try_into()?)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            Some(SanType::IpAddress(address.map_err(|_| CertificateError::Request)?))
        }
        _ => None,
    })
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
            Ok(()) if !requested.names.is_empty() => Err("subject alternative names are not allowed"),
            other => other,
        },
    },
    Profile {
        signer: "kubernetes.io/kubelet-serving",
        required: &["server auth", "digital signature"],
        allowed: &["key encipherment"],
        rule: |requested| {
            node(requested)?;
            let names = requested.names.iter();
            let mut kinds = names.map(|name| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_)));
            match (requested.names.is_empty(), kinds.all(|fits| fits)) {
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
        let mut params = CertificateParams::default();
        params.subject_alt_names = requested.names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        params.extended_key_usages = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        let end = now + seconds.unwrap_or(LIFETIME).min(LIFETIME);
        self.date(&mut params, now - SKEW, end);
        let unnamed = params.signed_by(&requested.key, self.issuer())?;
        let sign = |bytes: &[u8]| self.issuer().key().sign(bytes).ok();
        let certificate = der::with_part(unnamed.der(), SUBJECT, &requested.subject, sign);
        Ok(armoured("CERTIFICATE", &certificate.ok_or(CertificateError::Malformed)?))
    }
}

/// Where a certificate says whom it is for: after version, number, algorithm, issuer and validity.
const SUBJECT: usize = 5;

/// DER as PEM.
fn armoured(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out + &format!("-----END {label}-----\n")
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
    use rcgen::{CustomExtension, DistinguishedName, DnType, KeyPair};
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

    /// An attribute of a name.
    fn attribute(kind: u8, value: &str) -> Vec<u8> {
        let kind = der::wrapped(0x06, &[0x55, 0x04, kind]);
        der::wrapped(der::SEQUENCE, &[kind, der::wrapped(0x0c, value.as_bytes())].concat())
    }

    /// A request with this subject, and an extension that is none of Kubernetes' business.
    fn request_of(attributes: &[&[Vec<u8>]]) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["web".to_owned()]).unwrap();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
        let request = params.serialize_request(&key).unwrap();
        let sets: Vec<Vec<u8>> = attributes.iter().map(|set| der::wrapped(0x31, &set.concat())).collect();
        let subject = der::wrapped(der::SEQUENCE, &sets.concat());
        let signed = der::with_part(request.der(), 1, &subject, |bytes| key.sign(bytes).ok());
        armoured("CERTIFICATE REQUEST", &signed.unwrap())
    }

    #[test]
    fn all_organisations_are_groups_however_they_are_written() {
        const NAME: u8 = 3;
        const ORGANISATION: u8 = 10;
        let authority = Authority::generate().unwrap();
        let apart = [
            vec![attribute(NAME, "first")],
            vec![attribute(ORGANISATION, "dev")],
            vec![attribute(ORGANISATION, "ops")],
            vec![attribute(NAME, "jane")],
        ];
        // So Go writes them.
        let together = [
            vec![attribute(ORGANISATION, "dev"), attribute(ORGANISATION, "ops")],
            vec![attribute(NAME, "jane")],
        ];
        for attributes in [&apart[..], &together[..]] {
            let attributes: Vec<&[Vec<u8>]> = attributes.iter().map(Vec::as_slice).collect();
            let requested = Requested::read(&request_of(&attributes)).unwrap();
            assert_eq!(
                (requested.common_name.as_str(), &*requested.organisations),
                ("jane", &["dev".to_owned(), "ops".to_owned()][..])
            );
            let pem = authority.sign(requested, &["client auth"], None, NOW).unwrap();
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let user = crate::identity::authority::user_of(&der).unwrap();
            assert_eq!(user.name, "jane");
            assert_eq!(user.groups[..2], ["dev", "ops"]);
            let (_, parsed) = X509Certificate::from_der(&der).unwrap();
            let (_, issuer) = X509Certificate::from_der(authority.der()).unwrap();
            assert!(parsed.verify_signature(Some(issuer.public_key())).is_ok());
            let names = parsed.subject_alternative_name().unwrap().unwrap();
            assert_eq!(names.value.general_names, [GeneralName::DNSName("web")]);
            assert!(parsed.extensions().iter().all(|one| one.oid.to_id_string() != "1.2.3.4"));
        }
    }

    #[test]
    fn a_request_that_its_key_did_not_sign_is_none() {
        let good = request_of(&[&[attribute(3, "jane")]]);
        let request = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap();
        let other = KeyPair::generate().unwrap();
        let subject = der::wrapped(der::SEQUENCE, &der::wrapped(0x31, &attribute(3, "joan")));
        let forged = der::with_part(&request, 1, &subject, |bytes| other.sign(bytes).ok()).unwrap();
        let read = Requested::read(&armoured("CERTIFICATE REQUEST", &forged));
        assert!(matches!(read, Err(CertificateError::Request)));
    }
}
