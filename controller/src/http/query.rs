//! Paths and query parameters, decoded.

use std::borrow::Cow;
use std::time::Duration;

use edge_api::error::FieldError;

use crate::registry::{
    ApiError, DeleteOptions, FieldValidation, ListOptions, Propagation, VersionMatch, WatchOptions,
};

/// The longest name of a field manager, in bytes.
const LONGEST_MANAGER: usize = 128;

/// The parameters of a request, in their order.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads what follows the question mark.
    pub fn parse(query: Option<&'a str>) -> Query<'a> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, Plus::Space), decode(value, Plus::Space))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// Whether a parameter is there, and not false.
    pub fn truth(&self, name: &str) -> bool {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        value.is_some_and(|value| !matches!(value, "false" | "0" | "False" | "FALSE" | "f" | "F"))
    }

    /// A whole number that is not negative.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "{name}: Invalid value: {text:?}: must be a whole number of 0 or more"
                ))
            }),
        }
    }

    /// The options of a list.
    pub fn list(&self) -> Result<ListOptions, ApiError> {
        if !self.get("sendInitialEvents").is_empty() {
            let error = FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
            return Err(ApiError::options("ListOptions", error));
        }
        let version_match = self.version_match()?;
        if let Some(why) = self.contradiction(version_match) {
            return Err(ApiError::options("ListOptions", FieldError::forbidden("resourceVersionMatch", why)));
        }
        Ok(ListOptions {
            label_selector: self.get("labelSelector").to_owned(),
            field_selector: self.get("fieldSelector").to_owned(),
            limit: self.number("limit")?.unwrap_or(0),
            continue_token: self.get("continue").to_owned(),
            resource_version: self.get("resourceVersion").to_owned(),
            version_match,
        })
    }

    /// The options of a watch.
    pub fn watch(&self) -> Result<WatchOptions, ApiError> {
        let given = !self.get("sendInitialEvents").is_empty();
        Ok(WatchOptions {
            label_selector: self.get("labelSelector").to_owned(),
            field_selector: self.get("fieldSelector").to_owned(),
            resource_version: self.get("resourceVersion").to_owned(),
            bookmarks: self.truth("allowWatchBookmarks"),
            send_initial_events: given.then(|| self.truth("sendInitialEvents")),
            version_match: self.version_match()?,
            timeout: self.number("timeoutSeconds")?.map(Duration::from_secs),
        })
    }

    /// Adds the options of a delete that are parameters to those of its body.
    pub fn delete(&self, mut body: DeleteOptions) -> Result<DeleteOptions, ApiError> {
        if let Some(seconds) = self.number("gracePeriodSeconds")? {
            body.grace_period_seconds = Some(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
        match self.get("propagationPolicy") {
            "" => {}
            word => body.propagation = Some(propagation(word)?),
        }
        if !self.get("orphanDependents").is_empty() {
            body.propagation = Some(orphan(self.truth("orphanDependents"), body.propagation)?);
        }
        Ok(body)
    }

    /// `fieldValidation` of a write, whose options are of kind `options`.
    pub fn field_validation(&self, options: &str) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            "Strict" => Ok(FieldValidation::Strict),
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            word => Err(unsupported(options, "fieldValidation", word, &["Ignore", "Strict", "Warn"])),
        }
    }

    /// Whether `dryRun=All` is given.
    pub fn dry_run(&self, options: &str) -> Result<bool, ApiError> {
        self.all("dryRun").filter(|word| !word.is_empty()).try_fold(false, |_, word| dry_run(options, word))
    }

    /// `fieldManager`, if it is given.
    pub fn field_manager(&self, options: &str) -> Result<Option<&str>, ApiError> {
        let name = self.get("fieldManager");
        let error = if name.len() > LONGEST_MANAGER {
            FieldError::too_long("fieldManager", LONGEST_MANAGER)
        } else if name.chars().any(char::is_control) {
            FieldError::invalid("fieldManager", name, "should only contain printable characters")
        } else {
            return Ok(Some(name).filter(|name| !name.is_empty()));
        };
        Err(ApiError::options(options, error))
    }

    fn version_match(&self) -> Result<VersionMatch, ApiError> {
        match self.get("resourceVersionMatch") {
            "" => Ok(VersionMatch::Unset),
            "Exact" => Ok(VersionMatch::Exact),
            "NotOlderThan" => Ok(VersionMatch::NotOlderThan),
            word => Err(unsupported("ListOptions", "resourceVersionMatch", word, &["Exact", "NotOlderThan"])),
        }
    }

    /// Why a list cannot be matched like this.
    fn contradiction(&self, wished: VersionMatch) -> Option<&'static str> {
        match (wished, self.get("resourceVersion")) {
            (VersionMatch::Unset, _) => None,
            (_, "") => Some("resourceVersionMatch is forbidden unless resourceVersion is provided"),
            _ if !self.get("continue").is_empty() => {
                Some("resourceVersionMatch is forbidden when continue is provided")
            }
            (VersionMatch::Exact, "0") => {
                Some("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
            }
            _ => None,
        }
    }
}

/// Reads a `propagationPolicy`.
pub fn propagation(word: &str) -> Result<Propagation, ApiError> {
    match word {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        _ => Err(unsupported(
            "DeleteOptions",
            "propagationPolicy",
            word,
            &["Background", "Foreground", "Orphan"],
        )),
    }
}

/// What the old `orphanDependents` means, beside which nobody may name a policy.
pub fn orphan(orphan: bool, policy: Option<Propagation>) -> Result<Propagation, ApiError> {
    match policy {
        None if orphan => Ok(Propagation::Orphan),
        None => Ok(Propagation::Background),
        Some(policy) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let error = FieldError::invalid("propagationPolicy", format!("{policy:?}").as_str(), why);
            Err(ApiError::options("DeleteOptions", error))
        }
    }
}

/// Reads a word of `dryRun`, of which there is one.
pub fn dry_run(options: &str, word: &str) -> Result<bool, ApiError> {
    if word == "All" { Ok(true) } else { Err(unsupported(options, "dryRun", word, &["All"])) }
}

fn unsupported(options: &str, name: &str, word: &str, known: &[&str]) -> ApiError {
    ApiError::options(options, FieldError::not_supported(name, word, known))
}

/// What a plus sign means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// Itself, as in paths.
    Plus,
    /// A space, as in queries.
    Space,
}

/// Undoes percent encoding. What is no valid encoding stays as it is.
pub fn decode(text: &str, plus: Plus) -> Cow<'_, str> {
    if !text.contains('%') && (plus == Plus::Plus || !text.contains('+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        let byte = hex
            .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(if bytes[i] == b'+' && plus == Plus::Space { b' ' } else { bytes[i] });
                i += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Plus, Query, decode};

    #[test]
    fn encoding_is_undone() {
        for (text, plus, expected) in [
            ("a%2Fb", Plus::Plus, "a/b"),
            ("a+b", Plus::Plus, "a+b"),
            ("a+b%3dc", Plus::Space, "a b=c"),
            ("100%", Plus::Space, "100%"),
            ("%zz%4", Plus::Space, "%zz%4"),
            ("%+1", Plus::Plus, "%+1"),
            ("%F0%9F%92%A1", Plus::Plus, "\u{1f4a1}"),
            ("%é", Plus::Plus, "%é"),
        ] {
            assert_eq!(decode(text, plus), expected, "{text}");
        }
    }

    #[test]
    fn parameters_are_read() {
        let query = Query::parse(Some("watch=1&limit=5&labelSelector=a%3Db%2Cc&dryRun=All&x"));
        assert!(query.truth("watch") && query.truth("x") && !query.truth("y") && query.dry_run("").unwrap());
        let list = query.list().unwrap();
        assert_eq!((list.limit, list.label_selector.as_str()), (5, "a=b,c"));
        assert!(Query::parse(Some("limit=-1")).list().is_err());
        assert!(Query::parse(Some("dryRun=Some")).dry_run("").is_err());
        assert!(Query::parse(Some("resourceVersionMatch=Exact")).list().is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused_in_kubernetes_words() {
        let refused = |query: &'static str| {
            let query = Query::parse(Some(query));
            let reading = query.list().map(drop).and_then(|()| query.field_manager("PatchOptions").map(drop));
            reading.and_then(|()| query.dry_run("CreateOptions").map(drop)).unwrap_err().message
        };
        for (query, words) in [
            (
                "resourceVersionMatch=Exact",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless",
            ),
            (
                "resourceVersionMatch=Exact&resourceVersion=0",
                "\"exact\" is forbidden for resourceVersion \"0\"",
            ),
            (
                "resourceVersionMatch=Exact&resourceVersion=1&continue=x",
                "is forbidden when continue is provided",
            ),
            (
                "resourceVersionMatch=Some",
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Unsupported value: \"Some\": supported \
                 values: \"Exact\", \"NotOlderThan\"",
            ),
            (
                "sendInitialEvents=true",
                "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
            ),
            ("dryRun=None", "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"None\""),
            ("fieldManager=a%0Ab", "fieldManager: Invalid value: \"a\\nb\": should only contain printable"),
        ] {
            assert!(refused(query).contains(words), "{query}: {}", refused(query));
        }
        let long = format!("fieldManager={}", "a".repeat(129));
        assert!(Query::parse(Some(&long)).field_manager("PatchOptions").is_err());
    }
}
