//! JSON patch and JSON merge patch: the two that need no schema.

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

use crate::patch::PatchError;
use crate::schema::depth;

/// As kube-apiserver.
const MOST_OPERATIONS: usize = 10_000;
/// As kube-apiserver: what all copies of one patch may add up to, in bytes.
const MOST_COPIED: usize = 3 * 1024 * 1024;
/// What all moves of one patch may add up to, in bytes: finding their depth costs time.
const MOST_MOVED: usize = 64 * 1024 * 1024;
/// What the JSON reader accepts, so that what is stored can be read again.
const DEEPEST: usize = 120;

/// Applies a JSON patch (RFC 6902): all of its operations or none.
pub fn json(doc: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations,
        _ => return Err(PatchError::Malformed("a JSON patch is a list of operations".to_owned())),
    };
    if operations.len() > MOST_OPERATIONS {
        return Err(PatchError::TooManyOperations { most: MOST_OPERATIONS, got: operations.len() });
    }
    let operations: Vec<PatchOperation> = operations
        .iter()
        .enumerate()
        .map(|(index, sent)| operation(index, sent))
        .collect::<Result<_, _>>()?;
    let mut copy = doc.clone();
    let mut budget = Budget { copied: 0, moved: 0 };
    for (index, operation) in operations.into_iter().enumerate() {
        budget.allow(&copy, &operation)?;
        apply(&mut copy, index, operation)?;
    }
    *doc = copy;
    Ok(())
}

const OPERATIONS: &[&str] = &["add", "copy", "move", "remove", "replace", "test"];

/// Reads an operation, or says what it lacks.
fn operation(index: usize, sent: &Value) -> Result<PatchOperation, PatchError> {
    let malformed = |why: &str| PatchError::Malformed(format!("operation {index} {why}"));
    if !sent.is_object() {
        return Err(malformed("is not an object"));
    }
    let op = sent["op"]
        .as_str()
        .filter(|op| OPERATIONS.contains(op))
        .ok_or_else(|| malformed(&format!("needs an op that is one of {}", OPERATIONS.join(", "))))?;
    let pointers: &[&str] = if matches!(op, "copy" | "move") { &["path", "from"] } else { &["path"] };
    for field in pointers {
        let pointer = sent[field].as_str();
        if pointer.is_none_or(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            return Err(malformed(&format!("({op}) needs a {field} that is empty or begins with a slash")));
        }
    }
    if matches!(op, "add" | "replace" | "test") && sent.get("value").is_none() {
        return Err(malformed(&format!("({op}) needs a value")));
    }
    serde_json::from_value(sent.clone())
        .map_err(|_| malformed(&format!("({op}) has a ~ in a path that is followed by neither 0 nor 1")))
}

/// What keeps a small patch from making a large or a deep object.
struct Budget {
    copied: usize,
    moved: usize,
}

impl Budget {
    fn allow(&mut self, doc: &Value, operation: &PatchOperation) -> Result<(), PatchError> {
        let nothing = (0, 0);
        let (_, depth) = match operation {
            PatchOperation::Add(operation) => measure(&operation.value),
            PatchOperation::Replace(operation) => measure(&operation.value),
            PatchOperation::Copy(operation) => {
                let (size, depth) = doc.pointer(operation.from.as_str()).map_or(nothing, measure);
                self.copied += size;
                (size, depth)
            }
            PatchOperation::Move(operation) => {
                let (size, depth) = doc.pointer(operation.from.as_str()).map_or(nothing, measure);
                self.moved += size;
                (size, depth)
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => nothing,
        };
        if self.copied > MOST_COPIED || self.moved > MOST_MOVED {
            return Err(PatchError::TooLarge(MOST_COPIED));
        }
        if operation.path().as_str().matches('/').count() + depth > DEEPEST {
            return Err(PatchError::TooDeep(DEEPEST));
        }
        Ok(())
    }
}

fn apply(doc: &mut Value, index: usize, operation: PatchOperation) -> Result<(), PatchError> {
    let name = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    let path = operation.path().to_string();
    if let PatchOperation::Test(test) = &operation
        && is_absent_member(doc, &path)
    {
        // As kube-apiserver and unlike RFC 6902: clients test for what must not be there yet.
        return if test.value.is_null() { Ok(()) } else { Err(PatchError::TestFailed { path }) };
    }
    json_patch::patch_unsafe(doc, &[operation]).map_err(|error| match error.kind {
        PatchErrorKind::TestFailed => PatchError::TestFailed { path },
        kind => PatchError::Inapplicable { index, operation: name, path, reason: kind.to_string() },
    })
}

/// Whether a path leads to a member that an object does not have.
fn is_absent_member(doc: &Value, path: &str) -> bool {
    let parent = path.rsplit_once('/').and_then(|(parent, _)| doc.pointer(parent));
    parent.is_some_and(Value::is_object) && doc.pointer(path).is_none()
}

/// Roughly how many bytes a value is as JSON, and how many levels deep.
fn measure(value: &Value) -> (usize, usize) {
    (size(value), depth(value))
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| key.len() + size(value) + 4).sum::<usize>() + 2
        }
    }
}

/// Applies a JSON merge patch (RFC 7386): objects are merged, `null` removes, all else replaces.
pub fn merge(doc: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *doc = patch.clone();
        return;
    };
    if !doc.is_object() {
        *doc = Value::Object(serde_json::Map::new());
    }
    let fields = doc.as_object_mut().expect("it was made an object above");
    for (key, value) in changes {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json as j;

    #[test]
    fn json_patch_follows_rfc_6902() {
        let cases = [
            (
                j!({"foo": "bar"}),
                j!([{"op": "add", "path": "/baz", "value": "qux"}]),
                j!({"baz": "qux", "foo": "bar"}),
            ),
            (j!({"foo": [1, 2]}), j!([{"op": "add", "path": "/foo/1", "value": 9}]), j!({"foo": [1, 9, 2]})),
            (j!({"foo": [1]}), j!([{"op": "add", "path": "/foo/-", "value": 2}]), j!({"foo": [1, 2]})),
            (j!({"a": 1, "b": 2}), j!([{"op": "remove", "path": "/a"}]), j!({"b": 2})),
            (j!({"a": 1}), j!([{"op": "replace", "path": "/a", "value": {"x": 1}}]), j!({"a": {"x": 1}})),
            (
                j!({"a": {"b": 1}, "c": {}}),
                j!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
                j!({"a": {}, "c": {"d": 1}}),
            ),
            (
                j!({"a": {"b": 1}}),
                j!([{"op": "copy", "from": "/a", "path": "/c"}]),
                j!({"a": {"b": 1}, "c": {"b": 1}}),
            ),
            (
                j!({"a/b": 1, "m~n": 2}),
                j!([{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}]),
                j!({}),
            ),
            (j!({"a": null}), j!([{"op": "test", "path": "/a", "value": null}]), j!({"a": null})),
            (j!({"a": {}}), j!([{"op": "test", "path": "/a/b", "value": null}]), j!({"a": {}})),
        ];
        for (mut doc, patch, expected) in cases {
            json(&mut doc, &patch).unwrap();
            assert_eq!(doc, expected, "{patch}");
        }
    }

    #[test]
    fn json_patch_refuses_clearly_and_changes_nothing() {
        let cases = [
            (j!({}), "the patch is malformed: a JSON patch is a list of operations", false),
            (
                j!([{"op": "jump", "path": "/a"}]),
                "the patch is malformed: operation 0 needs an op that is one of add, copy, move, remove, replace, test",
                false,
            ),
            (
                j!([{"op": "remove", "path": "a"}]),
                "the patch is malformed: operation 0 (remove) needs a path that is empty or begins with a slash",
                false,
            ),
            (
                j!([{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b"}]),
                "the patch is malformed: operation 1 (add) needs a value",
                false,
            ),
            (
                j!([{"op": "move", "path": "/a~", "from": "/a"}]),
                "the patch is malformed: operation 0 (move) has a ~ in a path",
                false,
            ),
            (j!([{"op": "test", "path": "/a", "value": 2}]), "testing value /a failed", true),
            (j!([{"op": "test", "path": "/b", "value": 2}]), "testing value /b failed", true),
            (j!([{"op": "test", "path": "/b/c", "value": null}]), "operation 0 (test) does not apply", true),
            (
                j!([{"op": "replace", "path": "/a", "value": 7}, {"op": "remove", "path": "/x"}]),
                "operation 1 (remove) does not apply: /x: ",
                true,
            ),
            (
                j!([{"op": "add", "path": "/x/y", "value": 1}]),
                "operation 0 (add) does not apply: /x/y: ",
                true,
            ),
        ];
        for (patch, message, unprocessable) in cases {
            let mut doc = j!({"a": 1});
            let error = json(&mut doc, &patch).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
            assert_eq!(error.unprocessable(), unprocessable, "{patch}");
            assert_eq!(doc, j!({"a": 1}));
        }
    }

    #[test]
    fn json_patch_is_bounded() {
        let many = vec![j!({"op": "test", "path": "/a", "value": 1}); MOST_OPERATIONS + 1];
        assert!(matches!(
            json(&mut j!({"a": 1}), &Value::Array(many)),
            Err(PatchError::TooManyOperations { .. })
        ));
        let many = vec![j!({"op": "copy", "from": "/a", "path": "/b/-"}); 4000];
        let error = json(&mut j!({"a": "x".repeat(1000), "b": []}), &Value::Array(many)).unwrap_err();
        assert!(matches!(error, PatchError::TooLarge(_)), "{error}");
        let double = vec![j!({"op": "copy", "from": "", "path": "/a"}); 9000];
        assert!(matches!(json(&mut j!({"a": 1}), &Value::Array(double)), Err(PatchError::TooDeep(_))));
        let nested = (1..2000).map(|i| j!({"op": "add", "path": "/a".repeat(i), "value": {}})).collect();
        assert!(matches!(json(&mut j!({}), &Value::Array(nested)), Err(PatchError::TooDeep(_))));
        let swing = (0..1000).flat_map(|_| {
            [
                j!({"op": "move", "from": "/a", "path": "/b/b"}),
                j!({"op": "move", "from": "/b", "path": "/a"}),
                j!({"op": "add", "path": "/b", "value": {}}),
            ]
        });
        assert!(matches!(json(&mut j!({"a": 1, "b": {}}), &swing.collect()), Err(PatchError::TooDeep(_))));
    }

    #[test]
    fn merge_patch_follows_rfc_7386() {
        let cases = [
            (j!({"a": "b"}), j!({"a": "c"}), j!({"a": "c"})),
            (j!({"a": "b"}), j!({"b": "c"}), j!({"a": "b", "b": "c"})),
            (j!({"a": "b"}), j!({"a": null}), j!({})),
            (j!({"a": "b", "b": "c"}), j!({"a": null}), j!({"b": "c"})),
            (j!({"a": ["b"]}), j!({"a": "c"}), j!({"a": "c"})),
            (j!({"a": "c"}), j!({"a": ["b"]}), j!({"a": ["b"]})),
            (j!({"a": {"b": "c"}}), j!({"a": {"b": "d", "c": null}}), j!({"a": {"b": "d"}})),
            (j!({"a": [{"b": "c"}]}), j!({"a": [1]}), j!({"a": [1]})),
            (j!(["a", "b"]), j!(["c", "d"]), j!(["c", "d"])),
            (j!({"a": "b"}), j!(["c"]), j!(["c"])),
            (j!({"a": "foo"}), j!(null), j!(null)),
            (j!({"a": "foo"}), j!("bar"), j!("bar")),
            (j!({"e": null}), j!({"a": 1}), j!({"e": null, "a": 1})),
            (j!([1, 2]), j!({"a": "b", "c": null}), j!({"a": "b"})),
            (j!({}), j!({"a": {"bb": {"ccc": null}}}), j!({"a": {"bb": {}}})),
        ];
        for (mut doc, patch, expected) in cases {
            merge(&mut doc, &patch);
            assert_eq!(doc, expected, "{patch}");
        }
    }

    #[test]
    fn merge_patch_of_a_difference_gives_the_target() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let (from, to) = (random(&mut rng, 3), random(&mut rng, 3));
            let mut doc = from.clone();
            merge(&mut doc, &difference(&from, &to));
            assert_eq!(doc, to, "{from}");
        }
    }

    /// A random object without nulls, which a merge patch cannot express.
    fn random(rng: &mut fastrand::Rng, depth: u32) -> Value {
        let mut fields = serde_json::Map::new();
        for _ in 0..rng.u8(0..4) {
            let value = match rng.u8(0..if depth > 0 { 5 } else { 3 }) {
                0 => j!(rng.u8(0..3)),
                1 => j!(rng.bool()),
                2 => j!([rng.u8(0..3), "x"]),
                _ => random(rng, depth - 1),
            };
            fields.insert(rng.choice(["a", "b", "c", "d"]).unwrap().to_owned(), value);
        }
        Value::Object(fields)
    }

    fn difference(from: &Value, to: &Value) -> Value {
        let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
        let mut patch = serde_json::Map::new();
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
        for (key, value) in to {
            match from.get(key) {
                Some(old) if old == value => {}
                Some(old) if old.is_object() => drop(patch.insert(key.clone(), difference(old, value))),
                _ => drop(patch.insert(key.clone(), value.clone())),
            }
        }
        Value::Object(patch)
    }
}
