//! Which kinds there are at one moment: the built-in ones, and those that definitions define.
//!
//! A kind of custom resources is made once for each group, version, kind and resource and is never
//! freed, so that it can be had like a built-in one; it is a few hundred bytes, and what can change
//! lies behind its [`Custom`]. [`Interner`] makes them, [`Catalogue`] finds them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::custom::Custom;
use crate::kind::{Generation, Kind, Scope, StatusOnCreate};
use crate::kinds::{self, KINDS};
use crate::meta;
use crate::name::NameRule;

/// What tells kinds of custom resources apart for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    group: String,
    version: String,
    kind: String,
    plural: String,
    namespaced: bool,
}

/// Makes kinds of custom resources, each once. Cheap to clone; clones make the same kinds.
#[derive(Clone, Default)]
pub struct Interner(Arc<Mutex<HashMap<Identity, &'static Kind>>>);

impl fmt::Debug for Interner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interner")
    }
}

/// A version of a definition, as a kind.
#[derive(Clone, Copy, Debug)]
pub struct Defined {
    /// The kind.
    pub kind: &'static Kind,
    /// Whether it is offered.
    pub served: bool,
    /// Whether objects are stored in it.
    pub storage: bool,
}

impl Interner {
    /// The kinds that a definition defines, one for each version.
    pub fn kinds_of(&self, definition: &Value) -> Vec<Defined> {
        let text = |path: &[&str]| meta::text(definition, path).to_owned();
        let one = |version: &Value| Defined {
            kind: self.kind(Identity {
                group: text(&["spec", "group"]),
                version: meta::text(version, &["name"]).to_owned(),
                kind: text(&["spec", "names", "kind"]),
                plural: text(&["spec", "names", "plural"]),
                namespaced: text(&["spec", "scope"]) == "Namespaced",
            }),
            served: version["served"] == true,
            storage: version["storage"] == true,
        };
        meta::items(definition, &["spec", "versions"]).iter().map(one).collect()
    }

    fn kind(&self, identity: Identity) -> &'static Kind {
        let Ok(mut made) = self.0.lock() else { return &Kind::PLAIN };
        made.entry(identity).or_insert_with_key(make)
    }
}

fn make(identity: &Identity) -> &'static Kind {
    let text = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let kind = text(&identity.kind);
    Box::leak(Box::new(Kind {
        group: text(&identity.group),
        version: text(&identity.version),
        kind,
        plural: text(&identity.plural),
        singular: kind,
        scope: if identity.namespaced { Scope::Namespaced } else { Scope::Cluster },
        name_rule: NameRule::Subdomain,
        generation: Generation::Spec,
        status_on_create: StatusOnCreate::Emptied,
        custom: Some(Box::leak(Box::new(Custom::new()))),
        ..Kind::PLAIN
    }))
}

/// The kinds that are served.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    custom: BTreeMap<(&'static str, &'static str, &'static str), &'static Kind>,
}

/// The kinds of a version of a group.
pub type Kinds = Vec<&'static Kind>;

impl Catalogue {
    /// The built-in kinds and these.
    pub fn new(custom: impl IntoIterator<Item = &'static Kind>) -> Catalogue {
        let custom = custom.into_iter().map(|kind| ((kind.group, kind.version, kind.plural), kind));
        Catalogue { custom: custom.collect() }
    }

    /// The kind of a resource's path.
    pub fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        let built_in = kinds::by_resource(group, version, plural);
        built_in.or_else(|| self.custom.get(&(group, version, plural)).copied())
    }

    /// The kind an object says it is.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&'static Kind> {
        let (group, version) = meta::split_api_version(api_version);
        let found = |one: &&Kind| one.kind == kind && one.group == group && one.version == version;
        kinds::by_kind(api_version, kind).or_else(|| self.custom().find(found))
    }

    /// The custom kinds.
    pub fn custom(&self) -> impl Iterator<Item = &'static Kind> + '_ {
        self.custom.values().copied()
    }

    /// All kinds, the built-in ones first.
    pub fn all(&self) -> impl Iterator<Item = &'static Kind> + '_ {
        KINDS.iter().copied().chain(self.custom())
    }

    /// The groups, and of each the versions with their kinds, the preferred one first.
    pub fn groups(&self) -> BTreeMap<&'static str, Vec<(&'static str, Kinds)>> {
        let mut groups: BTreeMap<&str, Vec<(&str, Kinds)>> = BTreeMap::new();
        for kind in self.all() {
            let versions = groups.entry(kind.group).or_default();
            match versions.iter_mut().find(|(version, _)| *version == kind.version) {
                Some((_, kinds)) => kinds.push(kind),
                None => versions.push((kind.version, vec![kind])),
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by(|(a, _), (b, _)| meta::prefer(a, b));
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition() -> Value {
        let version = |name: &str| json!({"name": name, "served": true, "storage": name == "v1"});
        json!({"spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [version("v1beta1"), version("v1"), version("v2alpha1"), version("v10"), version("foo")]}})
    }

    #[test]
    fn kinds_are_made_once_and_found() {
        let interner = Interner::default();
        let defined = interner.kinds_of(&definition());
        let again = interner.clone().kinds_of(&definition());
        assert!(defined.iter().zip(&again).all(|(a, b)| std::ptr::eq(a.kind, b.kind)));
        let catalogue = Catalogue::new(defined.iter().map(|defined| defined.kind));
        let found = catalogue.by_resource("example.com", "v1", "widgets");
        assert_eq!(found.map(|kind| kind.key_prefix()), Some("/example.com/widgets".to_owned()));
        assert_eq!(catalogue.by_kind("example.com/v1", "Widget"), found);
        assert_eq!(catalogue.by_resource("", "v1", "pods").map(|kind| kind.kind), Some("Pod"));
        assert!(catalogue.by_kind("example.com/v3", "Widget").is_none());
        let versions: Vec<&str> =
            catalogue.groups()["example.com"].iter().map(|(version, _)| *version).collect();
        assert_eq!(versions, ["v10", "v1", "v1beta1", "v2alpha1", "foo"]);
    }
}
