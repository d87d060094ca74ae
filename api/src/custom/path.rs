//! The JSON paths of printer columns, scales and selectable fields.
//!
//! `.a.b`, `['a.b']`, `[0]`, `[-1]`, `[*]`, `.a[?(@.type=="Ready")].b`, with or without braces. Not
//! kubectl's whole template language: no ranges of items and no several paths in one.

use serde_json::Value;

/// A path, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter { path: Vec<String>, operator: &'static str, value: Option<Value> },
}

const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

impl Path {
    /// Reads a path; the error is what is wrong with it.
    pub fn parse(text: &str) -> Result<Path, String> {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        let mut rest = inner.strip_prefix('$').unwrap_or(inner);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            rest = if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after).ok_or_else(|| "unterminated array".to_owned())?;
                steps.push(bracket(&after[..end])?);
                &after[end + 1..]
            } else {
                let after = rest.strip_prefix('.').unwrap_or(rest);
                let (name, after) = field(after);
                match name.as_str() {
                    "" if after.starts_with('[') || after.is_empty() => {}
                    "" => return Err(format!("unrecognized character in path: {rest:?}")),
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Field(name)),
                }
                after
            };
        }
        Ok(Path { steps })
    }

    /// The names of a path that is nothing but names.
    pub fn names(&self) -> Option<Vec<&str>> {
        let name = |step: &Step| match step {
            Step::Field(name) => Some(name.clone()),
            _ => None,
        };
        self.steps.iter().all(|step| name(step).is_some()).then(|| {
            self.steps
                .iter()
                .filter_map(|step| match step {
                    Step::Field(name) => Some(name.as_str()),
                    _ => None,
                })
                .collect()
        })
    }

    /// The values at the path.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut here = vec![value];
        for step in &self.steps {
            here = here.into_iter().flat_map(|value| step.apply(value)).collect();
        }
        here
    }

    /// Sets the value at a path of names, whose parents are made; false if there is something else.
    pub fn set(&self, object: &mut Value, new: Value) -> bool {
        let Some(names) = self.names() else { return false };
        let Some((last, parents)) = names.split_last() else { return false };
        let mut here = object;
        for name in parents {
            let Some(fields) = here.as_object_mut() else { return false };
            here = fields.entry(*name).or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
        here.as_object_mut().map(|fields| fields.insert((*last).to_owned(), new)).is_some()
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Step::Field(name), value) => value.get(name).into_iter().collect(),
            (Step::Index(index), Value::Array(items)) => {
                let at = if *index < 0 { items.len() as i64 + index } else { *index };
                usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
            }
            (Step::All, Value::Array(items)) => items.iter().collect(),
            (Step::All, Value::Object(fields)) => fields.values().collect(),
            (Step::Filter { path, operator, value }, Value::Array(items)) => {
                items.iter().filter(|item| holds(item, path, operator, value.as_ref())).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn holds(item: &Value, path: &[String], operator: &str, wanted: Option<&Value>) -> bool {
    let found = path.iter().try_fold(item, |value, name| value.get(name));
    let (Some(found), Some(wanted)) = (found, wanted) else { return wanted.is_none() && found.is_some() };
    let order = match (found, wanted) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
    };
    match operator {
        "==" => order.is_some_and(|o| o.is_eq()),
        "!=" => order.is_none_or(|o| o.is_ne()),
        "<=" => order.is_some_and(|o| o.is_le()),
        ">=" => order.is_some_and(|o| o.is_ge()),
        "<" => order.is_some_and(|o| o.is_lt()),
        _ => order.is_some_and(|o| o.is_gt()),
    }
}

/// Where the bracket that was opened before closes, texts passed over.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(at),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// A name and the rest; a backslash takes the next character as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[at..]),
            _ => name.push(c),
        }
    }
    (name, "")
}

fn quoted(text: &str) -> Option<&str> {
    let inner = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('\'').or_else(|| inner('"'))
}

fn bracket(text: &str) -> Result<Step, String> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = quoted(text) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(condition) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter(condition.trim());
    }
    text.parse().map(Step::Index).map_err(|_| format!("invalid array index {text}"))
}

fn filter(text: &str) -> Result<Step, String> {
    let found = OPERATORS
        .iter()
        .filter_map(|operator| Some((text.find(operator)?, *operator)))
        .min_by_key(|(at, o)| (*at, o.len() == 1));
    let (path, operator, value) = match found {
        Some((at, operator)) => (&text[..at], operator, Some(text[at + operator.len()..].trim())),
        None => (text, "==", None),
    };
    let path = path.trim().strip_prefix('@').ok_or_else(|| format!("unrecognized filter {text:?}"))?;
    let mut names = Vec::new();
    let mut rest = path;
    while let Some(after) = rest.strip_prefix('.') {
        let (name, after) = field(after);
        names.push(name);
        rest = after;
    }
    if !rest.is_empty() || names.is_empty() {
        return Err(format!("unrecognized filter {text:?}"));
    }
    let value = match value {
        None => None,
        Some(text) => Some(match quoted(text) {
            Some(text) => Value::String(text.to_owned()),
            None => serde_json::from_str(text).map_err(|_| format!("cannot read {text:?} in a filter"))?,
        }),
    };
    Ok(Step::Filter { path: names, operator, value })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Path;
    use serde_json::{Value, json};

    #[test]
    fn paths_find_values() {
        let object = json!({"spec": {"a": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]},
            "metadata": {"labels": {"a.b/c": "d"}}});
        for (path, expected) in [
            (".spec.a", json!([1])),
            ("{.spec.a}", json!([1])),
            ("spec.a", json!([1])),
            ("$.spec.a", json!([1])),
            (".spec.list[0].n", json!(["x"])),
            (".spec.list[-1].n", json!(["y"])),
            (".spec.list[*].v", json!([1, 2])),
            (".spec.list[?(@.n==\"y\")].v", json!([2])),
            (".spec.list[?(@.v >= 2)].n", json!(["y"])),
            (".spec.list[?(@.v)].n", json!(["x", "y"])),
            (".metadata.labels.a\\.b/c", json!(["d"])),
            (".metadata.labels['a.b/c']", json!(["d"])),
            (".nothing.here", json!([])),
            (".spec.a.b[0]", json!([])),
        ] {
            let found: Vec<Value> = Path::parse(path).unwrap().find(&object).into_iter().cloned().collect();
            assert_eq!(json!(found), expected, "{path}");
        }
        for wrong in [".a[", ".a[x]", ".a[?(b==1)]", "..a", ".a[?(@.b==c)]"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_set_at_paths_of_names() {
        let mut object = json!({"spec": {}});
        assert!(Path::parse(".spec.a.b").unwrap().set(&mut object, json!(3)));
        assert_eq!(object, json!({"spec": {"a": {"b": 3}}}));
        assert!(!Path::parse(".spec[0]").unwrap().set(&mut object, json!(3)));
        assert!(!Path::parse(".spec.a.b.c").unwrap().set(&mut object, json!(3)));
    }

    #[test]
    fn no_path_is_too_odd() {
        let pieces = [".", "[", "]", "?(", "@", "==", "'", "\"", "\\", "a", "0", "*", ")", "{", "}", "é"];
        let mut random = fastrand::Rng::with_seed(3);
        let object = json!({"a": [{"a": 0}]});
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(1..10)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            if let Ok(path) = Path::parse(&text) {
                path.find(&object);
                path.set(&mut object.clone(), json!(1));
            }
        }
    }
}
