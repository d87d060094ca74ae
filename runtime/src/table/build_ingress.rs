//! Ingresses as routes and certificates. Pure.

use crate::table::{Backend, Certificate, IngressName, PathType, PortReference, Routes, Tally};
use edge_api::kinds::ingress::{CLASS_ANNOTATION, Ingress, IngressBackend};
use std::collections::HashMap;
use std::sync::Arc;

/// Namespace and name of a Secret.
pub(crate) type SecretKey = (String, String);

type Certificates = HashMap<Box<str>, Arc<Certificate>>;

/// The counters of the Ingresses of ours.
type Tallies = Vec<(IngressName, Tally)>;

/// All routes, the certificate of each host and the counters of each Ingress, of which `known` has those of before.
/// Where two Ingresses say the same, the older one counts.
pub(crate) fn routes<'a>(
    ingresses: impl Iterator<Item = &'a Ingress>,
    class: &str,
    secrets: &HashMap<SecretKey, Arc<Certificate>>,
    known: &[(IngressName, Tally)],
) -> (Routes, Certificates, Tallies) {
    let mut ours: Vec<&Ingress> = ingresses.filter(|ingress| is_ours(ingress, class)).collect();
    ours.sort_by(|a, b| age(a).cmp(&age(b)));
    let mut routes = Routes::default();
    let mut certificates = Certificates::new();
    let mut known: HashMap<&IngressName, &Tally> = known.iter().map(|(name, tally)| (name, tally)).collect();
    let mut tallies = Tallies::new();
    for ingress in ours {
        let name = (ingress.metadata.namespace.clone(), ingress.metadata.name.clone());
        let tally = known.remove(&name).cloned().unwrap_or_default();
        add_rules(&mut routes, ingress, &tally);
        add_certificates(&mut certificates, ingress, secrets);
        tallies.push((name, tally));
    }
    (routes, certificates, tallies)
}

/// Older first; the name decides between twins.
fn age(ingress: &Ingress) -> impl Ord + '_ {
    let meta = &ingress.metadata;
    (meta.creation_timestamp, meta.namespace.as_str(), meta.name.as_str())
}

fn is_ours(ingress: &Ingress, class: &str) -> bool {
    let annotated = ingress.metadata.annotations.get(CLASS_ANNOTATION);
    match ingress.spec.ingress_class_name.as_ref().or(annotated) {
        None => true,
        Some(named) => named.is_empty() || named == class,
    }
}

fn add_rules(routes: &mut Routes, ingress: &Ingress, tally: &Tally) {
    let namespace = &ingress.metadata.namespace;
    let fallback = ingress.spec.default_backend.as_ref().and_then(|it| backend(it, namespace, tally));
    for rule in &ingress.spec.rules {
        for path in rule.http.iter().flat_map(|http| &http.paths) {
            let Some(backend) = backend(&path.backend, namespace, tally) else { continue };
            let path_type = match path.path_type.as_deref() {
                Some("Exact") => PathType::Exact,
                _ => PathType::Prefix,
            };
            routes.add(&rule.host, path_type, &path.path, backend);
        }
        if let Some(fallback) = &fallback {
            routes.add_fallback(&rule.host, fallback.clone());
        }
    }
    if let Some(fallback) = fallback {
        routes.add_fallback("", fallback);
    }
}

fn backend(backend: &IngressBackend, namespace: &str, tally: &Tally) -> Option<Arc<Backend>> {
    let service = backend.service.as_ref()?;
    let port = match u16::try_from(service.port.number) {
        Ok(number) if number > 0 => PortReference::Number(number),
        _ => PortReference::Name(service.port.name.as_str().into()),
    };
    let name = format!("{}.{namespace}", service.name).into();
    Some(Arc::new(Backend { service: name, port, tally: tally.clone() }))
}

fn add_certificates(
    certificates: &mut Certificates,
    ingress: &Ingress,
    secrets: &HashMap<SecretKey, Arc<Certificate>>,
) {
    for tls in &ingress.spec.tls {
        let key = (ingress.metadata.namespace.clone(), tls.secret_name.clone());
        let Some(certificate) = secrets.get(&key) else { continue };
        for host in &tls.hosts {
            let host = host.to_ascii_lowercase().into();
            certificates.entry(host).or_insert_with(|| certificate.clone());
        }
    }
}
