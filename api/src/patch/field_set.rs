//! Sets of field paths, as server-side apply writes down who owns what (`FieldsV1`).
//!
//! A path is a list of elements as `FieldsV1` spells them: `f:<field>`, `k:<keys of a list
//! item>`, `v:<value of a set's item>`. A set is a tree of them in which each node says whether
//! the path that ends there is itself in the set. Knows no schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths below one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// Whether the place itself is in the set.
    pub member: bool,
    /// What is in the set below it.
    pub children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Just the place itself.
    pub(crate) fn leaf() -> FieldSet {
        FieldSet { member: true, children: BTreeMap::new() }
    }

    /// Reads `FieldsV1`; what is not understood is left out.
    pub(crate) fn from_json(fields: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        for (element, below) in fields.as_object().into_iter().flatten() {
            if element == "." {
                set.member = true;
                continue;
            }
            let mut child = FieldSet::from_json(below);
            child.member |= child.children.is_empty();
            set.children.insert(canonical(element), child);
        }
        set
    }

    /// As `FieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            fields.insert(element.clone(), child.to_json());
        }
        Value::Object(fields)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    /// Adds everything below `path`.
    pub(crate) fn insert(&mut self, path: &[String], set: FieldSet) {
        match path.split_first() {
            None => self.add(set),
            Some((element, rest)) => self.children.entry(element.clone()).or_default().insert(rest, set),
        }
    }

    /// Adds all paths of another set.
    pub(crate) fn add(&mut self, other: FieldSet) {
        self.member |= other.member;
        if self.children.is_empty() {
            self.children = other.children;
            return;
        }
        for (element, child) in other.children {
            self.children.entry(element).or_default().add(child);
        }
    }

    /// Takes out the paths that are in `other`.
    pub(crate) fn without(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |mine, theirs| mine && !theirs, false)
    }

    /// Takes out the paths that are in `other`, and everything below them.
    pub(crate) fn without_subtrees(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |mine, theirs| mine && !theirs, true)
    }

    /// The paths that are in both.
    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut out = FieldSet { member: self.member && other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                let both = child.intersection(theirs);
                if !both.is_empty() {
                    out.children.insert(element.clone(), both);
                }
            }
        }
        out
    }

    fn combine(&self, other: &FieldSet, keep: fn(bool, bool) -> bool, subtrees: bool) -> FieldSet {
        if subtrees && other.member {
            return FieldSet::default();
        }
        let mut out = FieldSet { member: keep(self.member, other.member), children: BTreeMap::new() };
        for (element, child) in &self.children {
            let left = match other.children.get(element) {
                Some(theirs) => child.combine(theirs, keep, subtrees),
                None => child.clone(),
            };
            if !left.is_empty() {
                out.children.insert(element.clone(), left);
            }
        }
        out
    }

    /// Every path in the set, as Kubernetes prints paths, e.g. `.spec.containers[name="a"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        if self.member {
            out.push(prefix.to_owned());
        }
        for (element, child) in &self.children {
            child.collect(&format!("{prefix}{}", printed(element)), out);
        }
    }
}

/// Keys and values as JSON without spaces and with sorted keys, whoever wrote them.
fn canonical(element: &str) -> String {
    match element.split_at_checked(2) {
        Some((kind @ ("k:" | "v:"), text)) => match serde_json::from_str::<Value>(text) {
            Ok(value) => format!("{kind}{value}"),
            Err(_) => element.to_owned(),
        },
        _ => element.to_owned(),
    }
}

fn printed(element: &str) -> String {
    let (kind, text) = element.split_at_checked(2).unwrap_or(("", element));
    match (kind, serde_json::from_str::<Value>(text)) {
        ("k:", Ok(Value::Object(keys))) => {
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        ("v:", _) => format!("[={text}]"),
        ("f:", _) => format!(".{text}"),
        _ => format!("[{text}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(fields: Value) -> FieldSet {
        FieldSet::from_json(&fields)
    }

    #[test]
    fn fields_v1_makes_the_round_trip() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:finalizers": {".": {}, "v:\"x\"": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:paused": {}},
        });
        assert_eq!(set(fields.clone()).to_json(), fields);
        let spaced = set(json!({"k:{ \"b\": 1, \"a\": 2 }": {}}));
        assert_eq!(spaced.to_json(), json!({"k:{\"a\":2,\"b\":1}": {}}));
    }

    #[test]
    fn sets_combine() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let b = set(json!({"f:a": {}, "f:d": {}}));
        assert_eq!(a.without(&b), set(json!({"f:a": {"f:b": {}}, "f:c": {}})));
        assert_eq!(a.without_subtrees(&b), set(json!({"f:c": {}})));
        assert_eq!(a.intersection(&b), set(json!({"f:a": {}})));
        assert!(a.without(&a).is_empty());
        let mut both = a.clone();
        both.add(b);
        assert_eq!(both, set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}})));
        assert_eq!(both.paths(), [".a", ".a.b", ".c", ".d"]);
    }

    #[test]
    fn paths_are_printed_as_kubernetes_prints_them() {
        let fields = json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {"f:image": {}}}, "f:set": {"v:\"x\"": {}}}});
        assert_eq!(set(fields).paths(), [r#".spec.containers[name="a"].image"#, r#".spec.set[="x"]"#]);
    }
}
