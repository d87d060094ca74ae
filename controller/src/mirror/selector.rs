//! Label selectors as objects carry them, with the pairs an index can use apart, and node selector requirements.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// One `matchExpressions` entry of a label selector or a node selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`; for nodes also `Gt` and `Lt`.
    pub operator: String,
    /// What the operator compares with.
    pub values: Vec<String>,
}

impl Requirement {
    /// Whether the labels meet it. An operator nobody knows is met by nothing.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|v| self.values.contains(v)),
            "NotIn" => value.is_none_or(|v| !self.values.contains(v)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => self.compare(value, |have, want| have > want),
            "Lt" => self.compare(value, |have, want| have < want),
            _ => false,
        }
    }

    fn compare(&self, value: Option<&String>, holds: fn(i64, i64) -> bool) -> bool {
        let (Some(have), [want]) = (value, self.values.as_slice()) else { return false };
        matches!((have.parse(), want.parse()), (Ok(have), Ok(want)) if holds(have, want))
    }
}

/// A label selector. The empty one matches everything, an absent one nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    match_labels: Labels,
    match_expressions: Vec<Requirement>,
}

/// A selector as kinds hold it: absent or present.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Option<LabelSelector>);

impl Selector {
    /// The selector of `matchLabels` and `matchExpressions`.
    pub fn of(selector: Option<LabelSelector>) -> Selector {
        Selector(selector)
    }

    /// The selector of a value as objects carry it: one of labels and expressions, or plain pairs.
    pub fn read(value: &serde_json::Value) -> Selector {
        let plain = value.as_object().is_some_and(|map| map.values().all(serde_json::Value::is_string));
        match (plain, value.as_object()) {
            (true, Some(map)) if !map.is_empty() => {
                Selector::of_pairs(Labels::deserialize(value).unwrap_or_default())
            }
            _ => Selector(Option::deserialize(value).unwrap_or_default()),
        }
    }

    /// The selector of plain pairs, as Services have it; no pairs select nothing.
    pub fn of_pairs(pairs: Labels) -> Selector {
        Selector(
            (!pairs.is_empty()).then(|| LabelSelector { match_labels: pairs, match_expressions: Vec::new() }),
        )
    }

    /// The same, demanding one thing more. One that matches nothing goes on to match nothing.
    pub fn and(mut self, requirement: Requirement) -> Selector {
        if let Some(selector) = &mut self.0 {
            selector.match_expressions.push(requirement);
        }
        self
    }

    /// Whether it can match nothing at all.
    pub fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.0.as_ref().is_some_and(|s| s.match_labels.is_empty() && s.match_expressions.is_empty())
    }

    /// Whether it matches these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        let Some(selector) = &self.0 else { return false };
        selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && selector.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }

    /// The pairs that every match has.
    pub fn required(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|s| &s.match_labels).map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn requirements_compare_as_kubernetes_does() {
        let cases = [
            ("In", &["a", "b"][..], Some("a"), true),
            ("In", &["a", "b"], Some("c"), false),
            ("In", &["a"], None, false),
            ("NotIn", &["a"], Some("b"), true),
            ("NotIn", &["a"], None, true),
            ("NotIn", &["a"], Some("a"), false),
            ("Exists", &[], Some(""), true),
            ("Exists", &[], None, false),
            ("DoesNotExist", &[], None, true),
            ("Gt", &["4"], Some("5"), true),
            ("Gt", &["5"], Some("5"), false),
            ("Lt", &["5"], Some("x"), false),
            ("Likes", &["a"], Some("a"), false),
        ];
        for (operator, values, value, expected) in cases {
            let requirement = Requirement {
                key: "k".into(),
                operator: operator.into(),
                values: values.iter().map(|v| (*v).to_owned()).collect(),
            };
            let have = value.map(|v| labels(&[("k", v)])).unwrap_or_default();
            assert_eq!(requirement.matches(&have), expected, "{operator} {values:?} {value:?}");
        }
    }

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        assert!(!Selector::of(None).matches(&labels(&[])));
        assert!(!Selector::of_pairs(Labels::new()).matches(&labels(&[("a", "b")])));
        assert!(Selector::of(Some(LabelSelector::default())).matches(&labels(&[])));
        assert!(Selector::of_pairs(labels(&[("a", "b")])).matches(&labels(&[("a", "b"), ("c", "d")])));
    }
}
