//! What is wrong with a field, in the words Kubernetes uses.
//!
//! A [`FieldError`] is one cause of an `Invalid` reply: path, reason and message. Turning a list
//! of them into a `Status` is left to the API server; [`invalid`] only writes the sentence.

use std::fmt;

/// Why a field was refused. The wire names are those of `status.details.causes[].reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CauseReason {
    /// A value must be given.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value is none of a fixed list.
    NotSupported,
    /// The value occurs twice where it must be unique.
    Duplicate,
    /// The field may not be set here.
    Forbidden,
    /// The value is longer than allowed.
    TooLong,
    /// There are more items than allowed.
    TooMany,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// The value refers to something that is not there.
    NotFound,
    /// The check itself failed.
    Internal,
}

impl CauseReason {
    /// The name on the wire, such as `FieldValueRequired`.
    pub fn wire(self) -> &'static str {
        match self {
            CauseReason::Required => "FieldValueRequired",
            CauseReason::Invalid => "FieldValueInvalid",
            CauseReason::NotSupported => "FieldValueNotSupported",
            CauseReason::Duplicate => "FieldValueDuplicate",
            CauseReason::Forbidden => "FieldValueForbidden",
            CauseReason::TooLong => "FieldValueTooLong",
            CauseReason::TooMany => "FieldValueTooMany",
            CauseReason::TypeInvalid => "FieldValueTypeInvalid",
            CauseReason::NotFound => "FieldValueNotFound",
            CauseReason::Internal => "InternalError",
        }
    }
}

/// One thing wrong with an object.
///
/// `Display` prints `spec.x: Invalid value: "a": must …`; the `message` is the part after the
/// path, as Kubernetes puts it into a cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    /// Path of the field, such as `spec.containers[0].name`.
    pub field: String,
    /// The class of the error.
    pub reason: CauseReason,
    /// What Kubernetes would print after the path, such as `Required value`.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn with_detail(head: String, detail: &str) -> String {
    if detail.is_empty() { head } else { format!("{head}: {detail}") }
}

impl FieldError {
    fn new(field: impl Into<String>, reason: CauseReason, message: String) -> FieldError {
        FieldError { field: field.into(), reason, message }
    }

    /// `Required value[: detail]`
    pub fn required(field: impl Into<String>, detail: &str) -> FieldError {
        FieldError::new(field, CauseReason::Required, with_detail("Required value".into(), detail))
    }

    /// `Invalid value: <value>: detail`
    pub fn invalid(field: impl Into<String>, value: impl Into<Shown>, detail: &str) -> FieldError {
        let head = format!("Invalid value: {}", value.into().0);
        FieldError::new(field, CauseReason::Invalid, with_detail(head, detail))
    }

    /// `Unsupported value: <value>: supported values: "A", "B"` (sorted, as Kubernetes does).
    pub fn not_supported(
        field: impl Into<String>,
        value: impl Into<Shown>,
        supported: &[&str],
    ) -> FieldError {
        let mut sorted: Vec<&str> = supported.to_vec();
        sorted.sort_unstable();
        let list = sorted.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {}: supported values: {list}", value.into().0);
        FieldError::new(field, CauseReason::NotSupported, message)
    }

    /// `Duplicate value: <value>`
    pub fn duplicate(field: impl Into<String>, value: impl Into<Shown>) -> FieldError {
        let message = format!("Duplicate value: {}", value.into().0);
        FieldError::new(field, CauseReason::Duplicate, message)
    }

    /// `Forbidden: detail`
    pub fn forbidden(field: impl Into<String>, detail: &str) -> FieldError {
        FieldError::new(field, CauseReason::Forbidden, with_detail("Forbidden".into(), detail))
    }

    /// `Too long: may not be more than <max> bytes`
    pub fn too_long(field: impl Into<String>, max: usize) -> FieldError {
        let message = format!("Too long: may not be more than {max} bytes");
        FieldError::new(field, CauseReason::TooLong, message)
    }

    /// `Too many: <count>: must have at most <max> items`
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> FieldError {
        let message = format!("Too many: {count}: must have at most {max} items");
        FieldError::new(field, CauseReason::TooMany, message)
    }

    /// `Invalid value: <value>: detail`, for a value of the wrong JSON type.
    pub fn type_invalid(field: impl Into<String>, value: impl Into<Shown>, detail: &str) -> FieldError {
        let head = format!("Invalid value: {}", value.into().0);
        FieldError::new(field, CauseReason::TypeInvalid, with_detail(head, detail))
    }

    /// `Not found: <value>`
    pub fn not_found(field: impl Into<String>, value: impl Into<Shown>) -> FieldError {
        let message = format!("Not found: {}", value.into().0);
        FieldError::new(field, CauseReason::NotFound, message)
    }

    /// `Internal error: detail`
    pub fn internal(field: impl Into<String>, detail: &str) -> FieldError {
        FieldError::new(field, CauseReason::Internal, with_detail("Internal error".into(), detail))
    }
}

/// A value as an error message shows it: strings quoted, everything else as JSON.
pub struct Shown(String);

impl From<&str> for Shown {
    fn from(text: &str) -> Shown {
        Shown(format!("{text:?}"))
    }
}

impl From<&String> for Shown {
    fn from(text: &String) -> Shown {
        Shown::from(text.as_str())
    }
}

impl From<i64> for Shown {
    fn from(number: i64) -> Shown {
        Shown(number.to_string())
    }
}

impl From<&serde_json::Value> for Shown {
    fn from(value: &serde_json::Value) -> Shown {
        match value {
            serde_json::Value::String(text) => Shown::from(text.as_str()),
            other => Shown(other.to_string()),
        }
    }
}

/// The sentence of an `Invalid` reply: `Pod "x" is invalid: spec…: Required value`.
///
/// `kind` is the kind with its group, as `Deployment.apps` ([`crate::kind::Kind::qualified`]).
/// Several errors are bracketed and repeated ones printed once, as Kubernetes does.
pub fn invalid(kind: &str, name: &str, errors: &[FieldError]) -> String {
    let mut lines: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let line = error.to_string();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    match lines.as_slice() {
        [] => format!("{kind} {name:?} is invalid"),
        [one] => format!("{kind} {name:?} is invalid: {one}"),
        many => format!("{kind} {name:?} is invalid: [{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_read_as_kubernetes_prints_them() {
        let cases = [
            (FieldError::required("spec.x", ""), "spec.x: Required value"),
            (FieldError::required("spec.x", "say it"), "spec.x: Required value: say it"),
            (FieldError::invalid("a", "b\"c", "no"), "a: Invalid value: \"b\\\"c\": no"),
            (FieldError::invalid("a", 7, "no"), "a: Invalid value: 7: no"),
            (FieldError::invalid("a", &json!({"b": [1]}), "no"), "a: Invalid value: {\"b\":[1]}: no"),
            (
                FieldError::not_supported("a", "x", &["c", "b"]),
                "a: Unsupported value: \"x\": supported values: \"b\", \"c\"",
            ),
            (FieldError::duplicate("a[1]", "x"), "a[1]: Duplicate value: \"x\""),
            (FieldError::forbidden("a", "no"), "a: Forbidden: no"),
            (FieldError::too_long("a", 5), "a: Too long: may not be more than 5 bytes"),
            (FieldError::too_many("a", 6, 5), "a: Too many: 6: must have at most 5 items"),
            (FieldError::not_found("a", "x"), "a: Not found: \"x\""),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn several_errors_are_bracketed_and_said_once() {
        let one = FieldError::required("spec.x", "");
        let other = FieldError::required("spec.y", "");
        assert_eq!(
            invalid("Pod", "a", std::slice::from_ref(&one)),
            "Pod \"a\" is invalid: spec.x: Required value"
        );
        assert_eq!(
            invalid("Deployment.apps", "a", &[one.clone(), other, one]),
            "Deployment.apps \"a\" is invalid: [spec.x: Required value, spec.y: Required value]"
        );
    }
}
