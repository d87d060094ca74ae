//! Paths and query parameters, decoded.

use std::borrow::Cow;
use std::time::Duration;

use crate::registry::{
    ApiError, DeleteOptions, FieldValidation, ListOptions, Propagation, Reason, VersionMatch, WatchOptions,
};

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
        Ok(ListOptions {
            label_selector: self.get("labelSelector").to_owned(),
            field_selector: self.get("fieldSelector").to_owned(),
            limit: self.number("limit")?.unwrap_or(0),
            continue_token: self.get("continue").to_owned(),
            resource_version: self.get("resourceVersion").to_owned(),
            version_match: self.version_match()?,
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
        if !self.get("orphanDependents").is_empty() && body.propagation.is_none() {
            let orphan = self.truth("orphanDependents");
            body.propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
        }
        Ok(body)
    }

    /// `fieldValidation`.
    pub fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            "Strict" => Ok(FieldValidation::Strict),
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            word => Err(unsupported("fieldValidation", word, "\"Ignore\", \"Strict\", \"Warn\"")),
        }
    }

    /// Whether `dryRun=All` is given.
    pub fn dry_run(&self) -> Result<bool, ApiError> {
        match self.all("dryRun").find(|word| *word != "All" && !word.is_empty()) {
            Some(word) => Err(unsupported("dryRun", word, "\"All\"")),
            None => Ok(self.get("dryRun") == "All"),
        }
    }

    fn version_match(&self) -> Result<VersionMatch, ApiError> {
        match self.get("resourceVersionMatch") {
            "" => Ok(VersionMatch::Unset),
            "Exact" => self.needs_version(VersionMatch::Exact),
            "NotOlderThan" => self.needs_version(VersionMatch::NotOlderThan),
            word => Err(unsupported("resourceVersionMatch", word, "\"Exact\", \"NotOlderThan\"")),
        }
    }

    fn needs_version(&self, wished: VersionMatch) -> Result<VersionMatch, ApiError> {
        if self.get("resourceVersion").is_empty() && self.get("sendInitialEvents").is_empty() {
            let why = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is \
                       provided";
            return Err(ApiError::new(
                Reason::Invalid,
                format!("ListOptions.meta.k8s.io \"\" is invalid: {why}"),
            ));
        }
        Ok(wished)
    }
}

/// Reads a `propagationPolicy`.
pub fn propagation(word: &str) -> Result<Propagation, ApiError> {
    match word {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        _ => Err(unsupported("propagationPolicy", word, "\"Background\", \"Foreground\", \"Orphan\"")),
    }
}

fn unsupported(name: &str, word: &str, known: &str) -> ApiError {
    let message = format!("{name}: Unsupported value: {word:?}: supported values: {known}");
    ApiError::new(Reason::Invalid, message)
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
        assert!(query.truth("watch") && query.truth("x") && !query.truth("y") && query.dry_run().unwrap());
        let list = query.list().unwrap();
        assert_eq!((list.limit, list.label_selector.as_str()), (5, "a=b,c"));
        assert!(Query::parse(Some("limit=-1")).list().is_err());
        assert!(Query::parse(Some("dryRun=Some")).dry_run().is_err());
        assert!(Query::parse(Some("resourceVersionMatch=Exact")).list().is_err());
    }
}
