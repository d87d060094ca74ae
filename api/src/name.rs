//! What may be a name, in Kubernetes' rules and exact words.
//!
//! Each function answers `Ok` or the sentence kube-apiserver prints after `Invalid value: "…": `.
//! The patterns are matched by hand: they are simple, and a regex engine is not worth its size.

pub(crate) const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_1123: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const WILDCARD_1123: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_SHAPE: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_VAR: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const QUALIFIED_KIND_PREFIX: &str = "prefix part ";

/// `must be no more than <max> bytes`, as every length rule of names says.
pub fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// The sentence for a number outside its range.
pub fn not_between(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn is_lower_or_digit(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label_1123(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            is_lower_or_digit(first)
                && is_lower_or_digit(last)
                && bytes.iter().all(|&c| is_lower_or_digit(c) || c == b'-')
        }
        _ => false,
    }
}

fn is_subdomain_1123(text: &str) -> bool {
    text.split('.').all(is_label_1123)
}

/// `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`
fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && bytes.iter().all(|&c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        }
        _ => false,
    }
}

fn rule(text: &str, max: usize, matches: bool, sentence: &str) -> Result<(), String> {
    if text.len() > max {
        Err(too_long(max))
    } else if !matches {
        Err(sentence.to_owned())
    } else {
        Ok(())
    }
}

/// A lowercase RFC 1123 label, at most 63 bytes.
pub fn dns1123_label(text: &str) -> Result<(), String> {
    rule(text, LABEL_MAX, is_label_1123(text), LABEL_1123)
}

/// A lowercase RFC 1123 subdomain, at most 253 bytes.
pub fn dns1123_subdomain(text: &str) -> Result<(), String> {
    rule(text, SUBDOMAIN_MAX, is_subdomain_1123(text), SUBDOMAIN_1123)
}

/// A subdomain behind `*.`, at most 253 bytes.
pub fn wildcard_dns1123_subdomain(text: &str) -> Result<(), String> {
    let matches = text.strip_prefix("*.").is_some_and(is_subdomain_1123);
    rule(text, SUBDOMAIN_MAX, matches, WILDCARD_1123)
}

/// A DNS-1035 label, at most 63 bytes.
pub fn dns1035_label(text: &str) -> Result<(), String> {
    let matches = is_label_1123(text) && text.as_bytes()[0].is_ascii_lowercase();
    rule(text, LABEL_MAX, matches, LABEL_1035)
}

/// A label's or annotation's key: an optional subdomain and `/`, and a name of at most 63 bytes.
pub fn label_key(text: &str) -> Result<(), String> {
    let mut parts = text.split('/');
    let (name, prefix) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => (name, None),
        (Some(prefix), Some(name), None) => (name, Some(prefix)),
        _ => return Err(QUALIFIED_SHAPE.to_owned()),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Err(format!("{QUALIFIED_KIND_PREFIX}must be non-empty"));
        }
        dns1123_subdomain(prefix).map_err(|why| format!("{QUALIFIED_KIND_PREFIX}{why}"))?;
    }
    if name.is_empty() {
        return Err("name part must be non-empty".to_owned());
    }
    if name.len() > LABEL_MAX {
        return Err(format!("name part {}", too_long(LABEL_MAX)));
    }
    if is_qualified_part(name) { Ok(()) } else { Err(QUALIFIED.to_owned()) }
}

/// A label's value: empty, or a name of at most 63 bytes.
pub fn label_value(text: &str) -> Result<(), String> {
    rule(text, LABEL_MAX, text.is_empty() || is_qualified_part(text), LABEL_VALUE)
}

/// The name of an environment variable: printable ASCII without `=`.
pub fn env_var(text: &str) -> Result<(), String> {
    let printable = |c: u8| (0x20..0x7f).contains(&c) && c != b'=';
    if !text.is_empty() && text.bytes().all(printable) { Ok(()) } else { Err(ENV_VAR.to_owned()) }
}

/// A key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Result<(), String> {
    if text.len() > SUBDOMAIN_MAX {
        return Err(too_long(SUBDOMAIN_MAX));
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(allowed) {
        return Err(CONFIG_KEY.to_owned());
    }
    match text {
        "." => Err("must not be '.'".to_owned()),
        ".." => Err("must not be '..'".to_owned()),
        _ if text.starts_with("..") => Err("must not start with '..'".to_owned()),
        _ => Ok(()),
    }
}

/// The name of a port (an IANA service name): at most 15 of `a-z0-9-`, one of them a letter.
pub fn port_name(text: &str) -> Result<(), String> {
    if text.len() > 15 {
        return Err("must be no more than 15 characters".to_owned());
    }
    if !text.bytes().all(|c| is_lower_or_digit(c) || c == b'-') || text.is_empty() {
        return Err("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|c| c.is_ascii_lowercase()) {
        return Err("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        return Err("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("must not begin or end with a hyphen".to_owned());
    }
    Ok(())
}

/// The number of a port, 1 to 65535.
pub fn port_number(port: i64) -> Result<(), String> {
    if (1..=65535).contains(&port) { Ok(()) } else { Err(not_between(1, 65535)) }
}

/// One segment of a path, the rule for names of RBAC objects.
pub fn path_segment(text: &str) -> Result<(), String> {
    match text {
        "." | ".." => Err(format!("may not be '{text}'")),
        _ => match text.chars().find(|c| matches!(c, '/' | '%')) {
            Some(found) => Err(format!("may not contain '{found}'")),
            None => Ok(()),
        },
    }
}

/// Which rule an object's `metadata.name` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// [`dns1123_subdomain`]
    Subdomain,
    /// [`dns1123_label`]
    Label,
    /// [`dns1035_label`]
    Label1035,
    /// [`path_segment`]
    PathSegment,
}

impl NameRule {
    /// Checks a name; a prefix for generated names may also end in `-` or `.`-less text that a
    /// random suffix completes.
    pub fn check(self, text: &str, is_prefix: bool) -> Result<(), String> {
        let masked;
        let text = match text.strip_suffix('-') {
            // The suffix follows, so a final dash is no end: it is checked as a letter.
            Some(rest) if is_prefix && text.len() > 1 && self != NameRule::PathSegment => {
                masked = format!("{rest}a");
                &masked
            }
            _ => text,
        };
        match self {
            NameRule::Subdomain => dns1123_subdomain(text),
            NameRule::Label => dns1123_label(text),
            NameRule::Label1035 => dns1035_label(text),
            NameRule::PathSegment => path_segment(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        type Rule = fn(&str) -> Result<(), String>;
        let long_label = "a".repeat(64);
        let long_subdomain = "a.".repeat(127);
        let cases: &[(Rule, &str, &str)] = &[
            (dns1123_label, "my-name", ""),
            (dns1123_label, "123-abc", ""),
            (dns1123_label, "", LABEL_1123),
            (dns1123_label, "My", LABEL_1123),
            (dns1123_label, "-a", LABEL_1123),
            (dns1123_label, "a-", LABEL_1123),
            (dns1123_label, "a.b", LABEL_1123),
            (dns1123_label, "ä", LABEL_1123),
            (dns1123_label, &long_label, "must be no more than 63 bytes"),
            (dns1123_subdomain, "a.b-c.d", ""),
            (dns1123_subdomain, "a..b", SUBDOMAIN_1123),
            (dns1123_subdomain, "a.b.", SUBDOMAIN_1123),
            (dns1123_subdomain, "a_b", SUBDOMAIN_1123),
            (dns1123_subdomain, &long_subdomain, "must be no more than 253 bytes"),
            (wildcard_dns1123_subdomain, "*.a.b", ""),
            (wildcard_dns1123_subdomain, "*a.b", WILDCARD_1123),
            (wildcard_dns1123_subdomain, "*.*.a", WILDCARD_1123),
            (dns1035_label, "abc-123", ""),
            (dns1035_label, "1abc", LABEL_1035),
            (label_key, "app", ""),
            (label_key, "example.com/My.Name_1", ""),
            (label_key, "/x", "prefix part must be non-empty"),
            (label_key, "a/", "name part must be non-empty"),
            (label_key, "", "name part must be non-empty"),
            (label_key, "a/b/c", QUALIFIED_SHAPE),
            (label_key, "-a", QUALIFIED),
            (label_key, &long_label, "name part must be no more than 63 bytes"),
            (label_value, "", ""),
            (label_value, "a b", LABEL_VALUE),
            (label_value, &long_label, "must be no more than 63 bytes"),
            (env_var, "MY.VAR-1 x", ""),
            (env_var, "A=B", ENV_VAR),
            (env_var, "", ENV_VAR),
            (config_key, "key.name", ""),
            (config_key, "..x", "must not start with '..'"),
            (config_key, "..", "must not be '..'"),
            (config_key, "a/b", CONFIG_KEY),
            (port_name, "http-1", ""),
            (port_name, "1234", "must contain at least one letter (a-z)"),
            (port_name, "a--b", "must not contain consecutive hyphens"),
            (port_name, "-a", "must not begin or end with a hyphen"),
            (port_name, "abcdefghijklmnop", "must be no more than 15 characters"),
            (port_name, "HTTP", "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
            (path_segment, "system:node", ""),
            (path_segment, "a/b", "may not contain '/'"),
            (path_segment, "..", "may not be '..'"),
        ];
        for (rule, text, expected) in cases {
            assert_eq!(rule(text).err().unwrap_or_default(), *expected, "{text:?}");
        }
        assert_eq!(port_number(0).expect_err("no port is 0"), "must be between 1 and 65535, inclusive");
        assert!(port_number(65535).is_ok());
    }

    #[test]
    fn a_prefix_may_end_in_a_dash() {
        assert!(NameRule::Subdomain.check("web-", true).is_ok());
        assert!(NameRule::Subdomain.check("web-", false).is_err());
        assert!(NameRule::Subdomain.check("-", true).is_err());
        assert!(NameRule::Label1035.check("1-", true).is_err());
    }
}
