//! The names a definition wishes for.

use crate::error::FieldError;
use crate::name;
use crate::validate::{self, At, Errors};

/// Checks names.
pub(super) fn check(names: &At<'_>, errors: &mut Errors) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let at = names.get(field);
        if !validate::required(&at, "", errors) {
            continue;
        }
        let mixed = field.ends_with("ind");
        let text = if mixed { at.text().to_lowercase() } else { at.text().to_owned() };
        if let Err(why) = name::dns1035_label(&text) {
            let why =
                if mixed { format!("may have mixed case, but should otherwise match: {why}") } else { why };
            errors.push(FieldError::invalid(&at.path, at.text(), &why));
        }
    }
    for list in ["shortNames", "categories"] {
        for at in names.get(list).items() {
            validate::follows(&at, name::dns1035_label, errors);
        }
    }
    let (kind, list) = (names.get("kind"), names.get("listKind"));
    if !kind.text().is_empty() && kind.text() == list.text() {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&list.path, list.text(), why));
    }
}
