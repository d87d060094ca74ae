//! The versions of a definition: which are there, and each one's columns, fields and subresources.

use serde_json::Value;

use super::schema;
use crate::custom::Path;
use crate::error::FieldError;
use crate::name;
use crate::validate::{self, At, Errors};

/// The types of printer columns.
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
/// The formats of printer columns.
const COLUMN_FORMATS: &[&str] =
    &["int32", "int64", "float", "double", "byte", "date", "date-time", "password"];
/// Fields that selectors may use, at most.
const MOST_SELECTABLE: usize = 8;

/// Checks all versions.
pub(super) fn check(spec: &At<'_>, errors: &mut Errors) {
    let versions = spec.get("versions");
    if versions.is_empty() {
        return errors.push(FieldError::required(&versions.path, "must have at least one version"));
    }
    let mut seen: Vec<&str> = Vec::new();
    let (mut storage, mut unique) = (0, true);
    for version in versions.items() {
        unique &= !seen.contains(&version.get("name").text());
        seen.push(version.get("name").text());
        storage += usize::from(version.get("storage").truth());
        one(&version, errors);
    }
    if !unique {
        errors.push(FieldError::invalid(&versions.path, versions.value, "must contain unique version names"));
    }
    if storage != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(&versions.path, versions.value, why));
    }
}

fn one(version: &At<'_>, errors: &mut Errors) {
    validate::follows(&version.get("name"), name::dns1035_label, errors);
    let warning = version.get("deprecationWarning");
    if warning.is_set() && !version.get("deprecated").truth() {
        let why = "can only be set for deprecated versions";
        errors.push(FieldError::invalid(&warning.path, warning.text(), why));
    }
    let openapi = version.get("schema").get("openAPIV3Schema");
    if openapi.is_set() {
        schema::check(&openapi, errors);
    } else {
        errors.push(FieldError::required(&openapi.path, "schemas are required"));
    }
    for column in version.get("additionalPrinterColumns").items() {
        printer_column(&column, errors);
    }
    scale(&version.get("subresources").get("scale"), errors);
    selectable(version, errors);
}

fn printer_column(column: &At<'_>, errors: &mut Errors) {
    validate::required(&column.get("name"), "", errors);
    validate::one_of(&column.get("type"), COLUMN_TYPES, errors);
    let format = column.get("format");
    if !format.text().is_empty() {
        validate::one_of(&format, COLUMN_FORMATS, errors);
    }
    let path = column.get("jsonPath");
    if validate::required(&path, "", errors)
        && let Err(why) = Path::parse(path.text())
    {
        errors.push(FieldError::invalid(&path.path, path.text(), &why));
    }
}

fn scale(scale: &At<'_>, errors: &mut Errors) {
    if !scale.is_set() {
        return;
    }
    let under = |field: &'static str, places: &[&str], why: &str, errors: &mut Errors| {
        let path = scale.get(field);
        let simple = Path::parse(path.text()).ok().is_some_and(|path| path.names().is_some());
        if !simple || !places.iter().any(|place| path.text().starts_with(place)) {
            errors.push(FieldError::invalid(&path.path, path.text(), why));
        }
    };
    if validate::required(&scale.get("specReplicasPath"), "", errors) {
        under("specReplicasPath", &[".spec."], "should be a json path under .spec", errors);
    }
    if validate::required(&scale.get("statusReplicasPath"), "", errors) {
        under("statusReplicasPath", &[".status."], "should be a json path under .status", errors);
    }
    if !scale.get("labelSelectorPath").text().is_empty() {
        let why = "should be a json path under either .spec or .status";
        under("labelSelectorPath", &[".spec.", ".status."], why, errors);
    }
}

fn selectable(version: &At<'_>, errors: &mut Errors) {
    let fields = version.get("selectableFields");
    validate::at_most(&fields, MOST_SELECTABLE, errors);
    let schema = version.get("schema").get("openAPIV3Schema");
    let mut seen: Vec<&str> = Vec::new();
    for field in fields.items() {
        let path = field.get("jsonPath");
        if !validate::required(&path, "", errors) {
            continue;
        }
        if seen.contains(&path.text()) {
            errors.push(FieldError::duplicate(&path.path, path.text()));
        }
        seen.push(path.text());
        let names = Path::parse(path.text());
        let names = names.as_ref().ok().and_then(Path::names);
        let found = names.as_ref().and_then(|names| {
            names.iter().try_fold(schema.value, |schema, name| schema.get("properties")?.get(*name))
        });
        let why = match (&names, found) {
            (Some(names), _) if names.first() == Some(&"metadata") => "must not point to fields in metadata",
            (Some(_), Some(found)) if is_selectable(found) => continue,
            (Some(_), Some(_)) => {
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
            }
            _ => "is an invalid path: does not refer to a valid field",
        };
        errors.push(FieldError::invalid(&path.path, path.text(), why));
    }
}

fn is_selectable(schema: &Value) -> bool {
    matches!(schema.get("type").and_then(Value::as_str), Some("string" | "boolean" | "integer"))
}
