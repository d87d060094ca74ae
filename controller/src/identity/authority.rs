//! The cluster's certificate authority and the certificates it issues.
//!
//! A small device may start without a clock and learn the time later, so that certificates begin in 1970, the
//! authority outlives the device, and others live for ten years from the later of now and the date of this code.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::identity::{Digest, User};

/// Seconds that a certificate is issued for.
const LIFETIME: i64 = 10 * 365 * 86_400;
/// A moment that has certainly passed, whatever the clock says: 2026-11-01.
const NO_EARLIER_THAN: i64 = 1_793_491_200;
/// How long the authority itself lives: until the year 2200.
const AUTHORITY_END: (i32, u8, u8) = (2200, 1, 1);

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The generator refused.
    #[error("cannot issue the certificate")]
    Issue(#[from] rcgen::Error),
    /// The text is no certificate or key.
    #[error("not a PEM certificate or key")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The certificate does not say what it must.
    #[error("the certificate is malformed")]
    Malformed,
    /// What asks for a certificate is no request, or its signature is not that of its key.
    #[error("the certificate request is malformed, or not signed with its own key")]
    Request,
}

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate, and after it those of its issuers.
    pub certificates: String,
    /// The private key in PKCS#8.
    pub key: String,
}

impl Pair {
    /// The certificates in DER, the leaf first.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        Ok(CertificateDer::pem_slice_iter(self.certificates.as_bytes()).collect::<Result<_, _>>()?)
    }

    /// The private key in DER.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, CertificateError> {
        Ok(PrivateKeyDer::from_pem_slice(self.key.as_bytes())?)
    }
}

/// The certificate authority.
pub struct Authority {
    pair: Pair,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority.
    pub fn generate() -> Result<Authority, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("edgectl-ca", None);
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(AUTHORITY_END.0, AUTHORITY_END.1, AUTHORITY_END.2);
        params.serial_number = Some(serial());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Authority::from_pair(Pair { certificates: certificate.pem(), key: key.serialize_pem() })
    }

    /// An authority that was generated before.
    pub fn from_pair(pair: Pair) -> Result<Authority, CertificateError> {
        let der = pair.chain()?.into_iter().next().ok_or(CertificateError::Malformed)?;
        let issuer = Issuer::from_ca_cert_der(&der, KeyPair::from_pem(&pair.key)?)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| CertificateError::Malformed)?;
        let same_key = parsed.public_key().subject_public_key.data.as_ref() == issuer.key().public_key_raw();
        if !same_key { Err(CertificateError::Malformed) } else { Ok(Authority { der, issuer, pair }) }
    }

    /// Certificate and key, to be kept.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What agents pin: the digest of the certificate in DER.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// A certificate for servers under `names` and `addresses`; the chain holds the authority's too.
    pub fn issue_server(
        &self,
        names: &[String],
        addresses: &[IpAddr],
        now: i64,
    ) -> Result<Pair, CertificateError> {
        let mut params = leaf(subject("kubernetes", None), now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names
            .iter()
            .filter_map(|name| Some(SanType::DnsName(name.as_str().try_into().ok()?)))
            .chain(addresses.iter().map(|address| SanType::IpAddress(*address)))
            .collect();
        let mut pair = self.issue(params)?;
        pair.certificates.push_str(&self.pair.certificates);
        Ok(pair)
    }

    /// A certificate that authenticates `user` as a member of the first of its groups.
    pub fn issue_client(&self, user: &User, now: i64) -> Result<Pair, CertificateError> {
        let mut params = leaf(subject(&user.name, user.groups.first().map(String::as_str)), now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// What signs.
    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Says from when to when a certificate is good, under a number of its own.
    pub(super) fn date(&self, params: &mut CertificateParams, from: i64, until: i64) {
        let day = |seconds: i64| {
            date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds.max(0).unsigned_abs())
        };
        params.not_before = day(from);
        params.not_after = day(until);
        params.serial_number = Some(serial());
        params.use_authority_key_identifier_extension = true;
    }

    fn issue(&self, params: CertificateParams) -> Result<Pair, CertificateError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificates: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Whether a server certificate covers all `names` and `addresses`, was issued by `authority`, and has more than
/// half of its life before it.
pub fn still_good(
    pair: &Pair,
    authority: &Authority,
    names: &[String],
    addresses: &[IpAddr],
    now: i64,
) -> bool {
    let Ok(chain) = pair.chain() else { return false };
    let Some(Ok((_, leaf))) = chain.first().map(|der| X509Certificate::from_der(der)) else { return false };
    let Ok((_, issuer)) = X509Certificate::from_der(&authority.der) else { return false };
    let Ok(Some(alternative)) = leaf.subject_alternative_name() else { return false };
    let has_name = |name: &String| {
        let wanted = |n: &GeneralName<'_>| matches!(n, GeneralName::DNSName(d) if d == name);
        alternative.value.general_names.iter().any(wanted)
    };
    let has_address = |address: &IpAddr| {
        let bytes = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let wanted = |n: &GeneralName<'_>| matches!(n, GeneralName::IPAddress(a) if *a == bytes);
        alternative.value.general_names.iter().any(wanted)
    };
    leaf.verify_signature(Some(issuer.public_key())).is_ok()
        && leaf.validity().not_after.timestamp() - now.max(NO_EARLIER_THAN) > LIFETIME / 2
        && names.iter().all(has_name)
        && addresses.iter().all(has_address)
        && pair.private_key().is_ok()
}

/// The user that a client certificate names: its common name, the last if there are several, with its organisations as
/// groups.
pub fn user_of(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().last()?.as_str().ok()?.to_owned();
    let organisations = parsed.subject().iter_organization();
    let mut groups: Vec<String> = organisations.filter_map(|o| Some(o.as_str().ok()?.to_owned())).collect();
    let authenticated = crate::identity::user::GROUP_AUTHENTICATED;
    if !groups.iter().any(|g| g == authenticated) {
        groups.push(authenticated.to_owned());
    }
    groups.retain(|g| g != crate::identity::user::GROUP_IN_PROCESS);
    Some(User { name, groups, ..User::default() })
}

fn leaf(subject: DistinguishedName, now: i64) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = date_time_ymd(1970, 1, 1);
    let end = now.max(NO_EARLIER_THAN) + LIFETIME;
    params.not_after = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(end.unsigned_abs());
    params.serial_number = Some(serial());
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn subject(common_name: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn serial() -> SerialNumber {
    let mut bytes = fastrand::u128(..).to_be_bytes();
    bytes[0] = bytes[0] & 0x7f | 0x01;
    SerialNumber::from_slice(&bytes)
}
