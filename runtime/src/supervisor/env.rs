//! What a container finds in its environment and arguments: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use edge_api::kinds::pod::{Container, EnvVar, KeySelector};
use edge_api::kinds::service::Service;

use crate::image::RunConfig;
use crate::volume::facts::{FactError, Facts};
use crate::volume::objects::{Lookup, Objects, Source};

/// Variables in the order they were defined; a later definition of a name keeps the place of the first. Clones share
/// them until one is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(Arc<Vec<(String, String)>>);

impl Variables {
    /// Defines a variable.
    pub fn set(&mut self, name: &str, value: String) {
        let all = Arc::make_mut(&mut self.0);
        match all.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => all.push((name.to_owned(), value)),
        }
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn into_pairs(self) -> Arc<Vec<(String, String)>> {
        self.0
    }

    /// Replaces `$(NAME)` by the value; `$$` stands for one dollar, and what is not defined stays as it is.
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            rest = if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                after
            } else if let Some((name, after)) =
                after.strip_prefix('(').and_then(|inner| inner.split_once(')'))
            {
                match self.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.push_str(&format!("$({name})")),
                }
                after
            } else {
                out.push('$');
                after
            };
        }
        out.push_str(rest);
        out
    }
}

/// A variable that cannot be had; Kubernetes' reason is `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// An object has not arrived yet.
    #[error("waiting for {} {name:?}", object.noun())]
    Waiting {
        /// Its kind.
        object: Source,
        /// Its name.
        name: String,
    },
    /// An object does not exist.
    #[error("{} {name:?} not found", object.noun())]
    Absent {
        /// Its kind.
        object: Source,
        /// Its name.
        name: String,
    },
    /// An object lacks a key.
    #[error("couldn't find key {key} in {} {namespace}/{name}", object.kind())]
    Key {
        /// Its kind.
        object: Source,
        /// Where it is.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A value is no text.
    #[error("the value of key {key} in {} {name:?} is not UTF-8", object.kind())]
    Text {
        /// The object's kind.
        object: Source,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A field of the Pod.
    #[error(transparent)]
    Fact(#[from] FactError),
}

/// The environment of a container: the image's, the Services', `envFrom`, then `env`.
pub fn environment(
    container: &Container,
    run: &RunConfig,
    services: BTreeMap<String, String>,
    facts: &Facts<'_>,
    objects: &Objects<'_>,
) -> Result<Variables, EnvError> {
    let mut variables = Variables::default();
    for pair in &run.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        variables.set(name, value.to_owned());
    }
    for (name, value) in services {
        variables.set(&name, value);
    }
    for from in &container.env_from {
        for (source, object) in
            [(Source::ConfigMap, &from.config_map_ref), (Source::Secret, &from.secret_ref)]
        {
            let Some(object) = object else { continue };
            let optional = object.optional == Some(true);
            let Some(entries) = entries(source, &object.name, optional, objects)? else { continue };
            for (key, value) in entries.iter() {
                let name = format!("{}{key}", from.prefix);
                // Kubernetes leaves out what cannot be a variable's name.
                if let (true, Ok(value)) = (is_name(&name), std::str::from_utf8(value)) {
                    variables.set(&name, value.to_owned());
                }
            }
        }
    }
    for variable in &container.env {
        if let Some(value) = value(variable, container, facts, objects, &variables)? {
            variables.set(&variable.name, value);
        }
    }
    Ok(variables)
}

/// The arguments of a container, its program's name first.
pub fn arguments(container: &Container, run: &RunConfig, module: &str, variables: &Variables) -> Vec<String> {
    let expand = |words: &[String]| words.iter().map(|word| variables.expand(word)).collect::<Vec<_>>();
    let mut words = if !container.command.is_empty() {
        expand(&container.command)
    } else if !run.entrypoint.is_empty() {
        run.entrypoint.clone()
    } else if container.args.is_empty() && !run.cmd.is_empty() {
        // The image's own command is the whole of it.
        return run.cmd.clone();
    } else {
        vec![module.to_owned()]
    };
    if !container.args.is_empty() {
        words.extend(expand(&container.args));
    } else if container.command.is_empty() {
        words.extend(run.cmd.iter().cloned());
    }
    words
}

/// The objects that a container's environment names.
pub fn names(container: &Container) -> Vec<(Source, &str)> {
    let mut found = Vec::new();
    for from in &container.env_from {
        found.extend(from.config_map_ref.iter().map(|object| (Source::ConfigMap, object.name.as_str())));
        found.extend(from.secret_ref.iter().map(|object| (Source::Secret, object.name.as_str())));
    }
    for source in container.env.iter().filter_map(|variable| variable.value_from.as_deref()) {
        found.extend(source.config_map_key_ref.iter().map(|key| (Source::ConfigMap, key.name.as_str())));
        found.extend(source.secret_key_ref.iter().map(|key| (Source::Secret, key.name.as_str())));
    }
    found
}

/// The variables that describe Services: those of the Pod's namespace if it wants them, and always the API server.
pub fn services<'a>(
    all: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for service in all {
        let meta = &service.metadata;
        let api = meta.namespace == "default" && meta.name == "kubernetes";
        let ip = service.spec.cluster_ip.as_str();
        if !(api || links && meta.namespace == namespace) || matches!(ip, "" | "None") {
            continue;
        }
        describe(service, ip, &mut found);
    }
    found
}

fn describe(service: &Service, ip: &str, found: &mut BTreeMap<String, String>) {
    let prefix = upper(&service.metadata.name);
    let Some(first) = service.spec.ports.first() else { return };
    found.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    found.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (index, port) in service.spec.ports.iter().enumerate() {
        if !port.name.is_empty() {
            found.insert(format!("{prefix}_SERVICE_PORT_{}", upper(&port.name)), port.port.to_string());
        }
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            found.insert(format!("{prefix}_PORT"), url.clone());
        }
        let stem = format!("{prefix}_PORT_{}_{protocol}", port.port);
        found.insert(stem.clone(), url);
        found.insert(format!("{stem}_PROTO"), protocol.to_lowercase());
        found.insert(format!("{stem}_PORT"), port.port.to_string());
        found.insert(format!("{stem}_ADDR"), ip.to_owned());
    }
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('=') && name.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

fn value(
    variable: &EnvVar,
    container: &Container,
    facts: &Facts<'_>,
    objects: &Objects<'_>,
    before: &Variables,
) -> Result<Option<String>, EnvError> {
    let Some(from) = &variable.value_from else { return Ok(Some(before.expand(&variable.value))) };
    let namespace = &facts.pod.metadata.namespace;
    if let Some(field) = &from.field_ref {
        Ok(Some(facts.field(&field.field_path)?))
    } else if let Some(resource) = &from.resource_field_ref {
        Ok(Some(facts.resource(resource, Some(container))?))
    } else if let Some(key) = &from.config_map_key_ref {
        keyed(Source::ConfigMap, key, namespace, objects)
    } else if let Some(key) = &from.secret_key_ref {
        keyed(Source::Secret, key, namespace, objects)
    } else {
        Ok(Some(String::new()))
    }
}

fn keyed(
    source: Source,
    selector: &KeySelector,
    namespace: &str,
    objects: &Objects<'_>,
) -> Result<Option<String>, EnvError> {
    let KeySelector { name, key, optional } = selector;
    let optional = *optional == Some(true);
    let Some(entries) = entries(source, name, optional, objects)? else { return Ok(None) };
    match entries.get(key) {
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(EnvError::Text { object: source, name: name.clone(), key: key.clone() }),
        },
        None if optional => Ok(None),
        None => Err(EnvError::Key {
            object: source,
            namespace: namespace.to_owned(),
            name: name.clone(),
            key: key.clone(),
        }),
    }
}

fn entries(
    source: Source,
    name: &str,
    optional: bool,
    objects: &Objects<'_>,
) -> Result<Option<std::sync::Arc<crate::volume::Entries>>, EnvError> {
    match objects(source, name) {
        Lookup::Present(entries) => Ok(Some(entries)),
        Lookup::Absent if optional => Ok(None),
        Lookup::Absent => Err(EnvError::Absent { object: source, name: name.to_owned() }),
        Lookup::Unknown => Err(EnvError::Waiting { object: source, name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edge_api::kinds::pod::{Pod, Resources};
    use serde_json::{Value, json};

    use super::*;

    fn build(container: Value, run: RunConfig) -> Result<Variables, EnvError> {
        let container: Container = serde_json::from_value(container).expect("a container");
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}})).expect("a Pod");
        let allocatable = Resources::new();
        let facts = Facts { pod: &pod, ip: None, host_ip: [1, 2, 3, 4].into(), allocatable: &allocatable };
        let objects = |source: Source, name: &str| match (source, name) {
            (Source::ConfigMap, "cm") => Lookup::Present(Arc::new(
                [("A".to_owned(), b"1".to_vec()), ("b c=".to_owned(), b"2".to_vec())].into(),
            )),
            (Source::Secret, "s") => Lookup::Present(Arc::new([("bin".to_owned(), vec![0xff])].into())),
            (_, "late") => Lookup::Unknown,
            _ => Lookup::Absent,
        };
        environment(&container, &run, BTreeMap::new(), &facts, &objects)
    }

    fn pairs(container: Value) -> Result<Vec<(String, String)>, EnvError> {
        build(container, RunConfig::default()).map(|variables| variables.into_pairs().to_vec())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn expansion() {
        let mut variables = Variables::default();
        variables.set("A", "1".into());
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NONE)", "$(NONE)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
        ] {
            assert_eq!(variables.expand(text), expected, "{text}");
        }
    }

    #[test]
    fn order_and_sources() {
        let found = pairs(json!({
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "x", "optional": true}}],
            "env": [
                {"name": "ONE", "value": "$(P_A)-$(TWO)"},
                {"name": "TWO", "value": "2"},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "A"}}},
                {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "Z", "optional": true}}},
                {"name": "P_A", "value": "again"},
            ],
        }));
        assert_eq!(
            found,
            Ok(vec![
                pair("P_A", "again"),
                pair("ONE", "1-$(TWO)"),
                pair("TWO", "2"),
                pair("NAME", "p"),
                pair("KEY", "1")
            ])
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |container| pairs(container).expect_err("incomplete").to_string();
        let key = |name: &str, key: &str| json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}]});
        assert_eq!(error(key("none", "k")), "configmap \"none\" not found");
        assert_eq!(error(key("cm", "k")), "couldn't find key k in ConfigMap ns/cm");
        assert_eq!(error(json!({"envFrom": [{"secretRef": {"name": "none"}}]})), "secret \"none\" not found");
        assert_eq!(error(key("late", "k")), "waiting for configmap \"late\"");
        let binary =
            json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "bin"}}}]});
        assert!(error(binary).contains("not UTF-8"));
    }

    #[test]
    fn words() {
        let words = |container: Value, run: &RunConfig| {
            let container: Container = serde_json::from_value(container).expect("a container");
            let mut variables = Variables::default();
            variables.set("A", "1".into());
            arguments(&container, run, "m.wasm", &variables).join(" ")
        };
        let bare = RunConfig::default();
        let image =
            RunConfig { entrypoint: vec!["/e.wasm".into(), "x".into()], cmd: vec!["y".into()], env: vec![] };
        let only_cmd = RunConfig { cmd: vec!["/c.wasm".into(), "z".into()], ..RunConfig::default() };
        for (container, run, expected) in [
            (json!({}), &bare, "m.wasm"),
            (json!({"args": ["$(A)"]}), &bare, "m.wasm 1"),
            (json!({"command": ["p"], "args": ["q"]}), &bare, "p q"),
            (json!({}), &image, "/e.wasm x y"),
            (json!({"args": ["q"]}), &image, "/e.wasm x q"),
            (json!({"command": ["p"]}), &image, "p"),
            (json!({}), &only_cmd, "/c.wasm z"),
            (json!({"args": ["q"]}), &only_cmd, "m.wasm q"),
        ] {
            assert_eq!(words(container.clone(), run), expected, "{container}");
        }
    }

    #[test]
    fn services_of_the_namespace_and_the_api() {
        let service = |namespace: &str, name: &str, ip: &str| -> Service {
            serde_json::from_value(json!({
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"clusterIP": ip, "ports": [{"name": "web", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
            }))
            .expect("a Service")
        };
        let all = [
            service("default", "kubernetes", "10.43.0.1"),
            service("ns", "my-app", "10.43.0.9"),
            service("ns", "headless", "None"),
            service("other", "hidden", "10.43.0.8"),
        ];
        let found = services(all.iter(), "ns", true);
        assert_eq!(found["KUBERNETES_SERVICE_HOST"], "10.43.0.1");
        assert_eq!(found["MY_APP_SERVICE_PORT_WEB"], "80");
        assert_eq!(found["MY_APP_PORT_53_UDP"], "udp://10.43.0.9:53");
        assert!(!found.keys().any(|name| name.starts_with("HIDDEN") || name.starts_with("HEADLESS")));
        assert!(services(all.iter(), "ns", false).keys().all(|name| name.starts_with("KUBERNETES")));
    }
}
