//! Label and field selectors: read from a query or an object, matched against one.
//!
//! Matching is pure. Who may select by what, and over which objects, is
//! not known here.

use crate::custom::Path;
use crate::kind::{Field, Kind};
use crate::meta;
use crate::name;
use crate::sparse;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The longest selector that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most requirements a selector may have.
pub const MAX_REQUIREMENTS: usize = 1024;

/// A selector that cannot be read, in Kubernetes' words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// What is asked of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

/// A selector over labels. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Matches everything.
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    /// Matches nothing.
    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        check_size(text)?;
        let mut requirements = Parser::new(text).requirements()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements, nothing: false })
    }

    /// From the form objects carry. `key` and `values` are checked as in a query.
    pub fn from_meta(selector: &meta::LabelSelector) -> Result<LabelSelector, SelectorError> {
        let mut requirements = LabelSelector::from_map(&selector.match_labels).requirements;
        for expression in &selector.match_expressions {
            requirements.push(requirement_of(expression)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements, nothing: false })
    }

    /// From a plain map, as Services and ReplicationControllers carry it.
    pub fn from_map(labels: &BTreeMap<String, String>) -> LabelSelector {
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement { key: key.clone(), test: Test::In(vec![value.clone()]) })
            .collect();
        LabelSelector { requirements, nothing: false }
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether these labels match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Whether an object's labels match.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_with(|key| meta::label(object, key))
    }

    /// Whether labels found by a function match.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.test.holds(label(&r.key)))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let whole = |value: Option<&str>| value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Test::In(values) => value.is_some_and(|v| values.iter().any(|one| one == v)),
            Test::NotIn(values) => value.is_none_or(|v| values.iter().all(|one| one != v)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(than) => whole(value).is_some_and(|v| v > *than),
            Test::Less(than) => whole(value).is_some_and(|v| v < *than),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let key = &requirement.key;
            match &requirement.test {
                Test::In(values) if values.len() == 1 => write!(f, "{comma}{key}={}", values[0])?,
                Test::In(values) => write!(f, "{comma}{key} in ({})", values.join(","))?,
                Test::NotIn(values) if values.len() == 1 => write!(f, "{comma}{key}!={}", values[0])?,
                Test::NotIn(values) => write!(f, "{comma}{key} notin ({})", values.join(","))?,
                Test::Exists => write!(f, "{comma}{key}")?,
                Test::Absent => write!(f, "{comma}!{key}")?,
                Test::Greater(than) => write!(f, "{comma}{key}>{than}")?,
                Test::Less(than) => write!(f, "{comma}{key}<{than}")?,
            }
        }
        Ok(())
    }
}

/// A selector over a kind's fields. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    field: Selectable,
    equal: bool,
    value: String,
}

/// A field of a selector: of a built-in kind, or of one whose definition names it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selectable {
    Field(Field),
    Path(String),
}

impl Selectable {
    fn name(&self) -> &str {
        match self {
            Selectable::Field(field) => field.name,
            Selectable::Path(path) => path,
        }
    }

    /// What an object counts as that does not have it.
    fn absent(&self) -> &str {
        match self {
            Selectable::Field(field) => field.absent,
            Selectable::Path(_) => "",
        }
    }

    /// Where it is in the object.
    fn path(&self) -> Cow<'_, [&str]> {
        match self {
            Selectable::Field(field) => Cow::Borrowed(field.path),
            Selectable::Path(path) => path.split('.').collect(),
        }
    }

    fn value<'a>(&self, object: &'a Value) -> Cow<'a, str> {
        match self {
            Selectable::Field(field) => field.value(object),
            Selectable::Path(_) => match self.path().iter().try_fold(object, |value, name| value.get(name)) {
                Some(Value::String(text)) => Cow::Borrowed(text),
                Some(Value::Null) | None => Cow::Borrowed(""),
                Some(other) => Cow::Owned(other.to_string()),
            },
        }
    }
}

impl FieldSelector {
    /// Reads `metadata.name=a,status.phase!=Running` for a kind; other fields than the kind's are
    /// errors.
    pub fn parse(text: &str, kind: &Kind) -> Result<FieldSelector, SelectorError> {
        check_size(text)?;
        let mut terms = Vec::new();
        for part in split_terms(text) {
            let (name, equal, value) = split_term(part).ok_or_else(|| {
                SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'"))
            })?;
            let value = unescape(value).map_err(SelectorError)?;
            terms.push(FieldTerm { field: selectable(name, kind)?, equal, value });
        }
        if terms.len() > MAX_REQUIREMENTS {
            return Err(too_many());
        }
        Ok(FieldSelector { terms })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value a field must equal, if the selector says so: lets a list be answered by key.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equal && t.field.name() == field).map(|t| t.value.as_str())
    }

    /// Texts that stand between quotes in the JSON of every object that matches, its defaults included: who has many to
    /// look at need not read those without.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let told = |term: &&FieldTerm| term.equal && term.value != term.field.absent();
        // Others may be written in more than one way.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '/');
        self.terms
            .iter()
            .filter(told)
            .map(|term| term.value.as_str())
            .filter(move |value| value.chars().all(plain))
            // A number, `true`, `false` and `null` stand there without quotes.
            .filter(|value| serde_json::from_str::<Value>(value).is_err())
    }

    /// Whether an object matches.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| (term.field.value(object) == term.value.as_str()) == term.equal)
    }

    /// Whether an object matches, of which only what is asked about is read.
    pub fn matches_json(&self, object: &[u8]) -> bool {
        let paths: Vec<_> = self.terms.iter().map(|term| term.field.path()).collect();
        let paths: Vec<_> = paths.iter().map(AsRef::as_ref).collect();
        self.matches(&sparse::along(object, &paths))
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let sign = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{sign}{}", term.field.name(), escape(&term.value))?;
        }
        Ok(())
    }
}

fn too_many() -> SelectorError {
    SelectorError(format!("a selector may have at most {MAX_REQUIREMENTS} requirements"))
}

fn check_size(text: &str) -> Result<(), SelectorError> {
    if text.len() > MAX_BYTES {
        return Err(SelectorError(format!("a selector may have at most {MAX_BYTES} bytes")));
    }
    Ok(())
}

fn requirement_of(expression: &meta::LabelSelectorRequirement) -> Result<Requirement, SelectorError> {
    let meta::LabelSelectorRequirement { key, operator, values } = expression;
    let test = match operator.as_str() {
        "In" => Test::In(values.clone()),
        "NotIn" => Test::NotIn(values.clone()),
        "Exists" => Test::Exists,
        "DoesNotExist" => Test::Absent,
        other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
    };
    checked(key, test)
}

/// A requirement whose key and values may be a label's.
fn checked(key: &str, test: Test) -> Result<Requirement, SelectorError> {
    let wrong = |path: &str, value: &str, why: &str| {
        SelectorError(format!("{path}: Invalid value: {value:?}: {why}"))
    };
    name::label_key(key).map_err(|why| wrong("key", key, &why))?;
    if let Test::In(values) | Test::NotIn(values) = &test {
        if values.is_empty() {
            let why = "for 'in', 'notin' operators, values set can't be empty";
            return Err(SelectorError(format!("values: Invalid value: []: {why}")));
        }
        for (i, value) in values.iter().enumerate() {
            name::label_value(value).map_err(|why| wrong(&format!("values[{i}][{key}]"), value, &why))?;
        }
    }
    Ok(Requirement { key: key.to_owned(), test })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Word(text) | Token::Sign(text) => text,
            Token::End => "",
        }
    }
}

/// A recursive-descent reader of the query form; the words of its errors are Kubernetes'.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { rest: text }
    }

    fn next(&mut self) -> Token<'a> {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some(first) if special(first) => {
                let length = if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 };
                (Token::Sign(&rest[..length]), length)
            }
            Some(_) => {
                let end = rest.find(|c: char| special(c) || matches!(c, ' ' | '\t' | '\r' | '\n'));
                let length = end.unwrap_or(rest.len());
                (Token::Word(&rest[..length]), length)
            }
        };
        self.rest = &rest[length..];
        token
    }

    fn peek(&self) -> Token<'a> {
        Parser { rest: self.rest }.next()
    }

    fn expected<T>(found: Token<'_>, what: &str) -> Result<T, SelectorError> {
        Err(SelectorError(format!("found '{}', expected: {what}", found.text())))
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Sign("!") => {}
                other => return Parser::expected(other, "!, identifier, or 'end of string'"),
            }
            let requirement = self.requirement();
            requirements
                .push(requirement.map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?);
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(too_many());
            }
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Sign(",") => match self.peek() {
                    Token::Word(_) | Token::Sign("!") => {}
                    other => return Parser::expected(other, "identifier after ','"),
                },
                other => return Parser::expected(other, "',' or 'end of string'"),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = self.peek() == Token::Sign("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Parser::expected(other, "identifier"),
        };
        // Kubernetes prints the missing path of a key as `<nil>`.
        name::label_key(key).map_err(|why| SelectorError(format!("<nil>: Invalid value: {key:?}: {why}")))?;
        if absent {
            return checked(key, Test::Absent);
        }
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return checked(key, Test::Exists);
        }
        let test = match self.next() {
            Token::Sign("=" | "==") => Test::In(vec![self.value()?]),
            Token::Sign("!=") => Test::NotIn(vec![self.value()?]),
            Token::Sign(">") => Test::Greater(self.whole()?),
            Token::Sign("<") => Test::Less(self.whole()?),
            Token::Word("in") => Test::In(self.values()?),
            Token::Word("notin") => Test::NotIn(self.values()?),
            other => return Parser::expected(other, "in, notin, =, ==, !=, gt, lt"),
        };
        checked(key, test)
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value.to_owned()),
            other => Parser::expected(other, "identifier"),
        }
    }

    fn whole(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.parse().map_err(|_| {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            SelectorError(format!("values[0]: Invalid value: {value:?}: {why}"))
        })
    }

    /// `(a,b)`; a missing name between commas is the empty value.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(SelectorError(format!("found '{}' expected: '('", other.text()))),
        }
        let mut values: Vec<String> = Vec::new();
        if self.peek() == Token::Sign(")") {
            self.next();
            return Ok(values);
        }
        loop {
            let value = match self.peek() {
                Token::Word(value) => {
                    self.next();
                    value
                }
                Token::Sign("," | ")") => "",
                other => return Parser::expected(other, "',', ')' or identifier"),
            };
            if !values.iter().any(|one| one == value) {
                values.push(value.to_owned());
            }
            match self.next() {
                Token::Sign(",") => {}
                Token::Sign(")") => {
                    values.sort();
                    return Ok(values);
                }
                other => return Parser::expected(other, "',' or ')'"),
            }
        }
    }
}

/// Parts between commas that no backslash precedes; empty ones are left out.
fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn split_term(part: &str) -> Option<(&str, bool, &str)> {
    let at = part.find(['=', '!'])?;
    let (name, rest) = part.split_at(at);
    let signs = [("!=", false), ("==", true), ("=", true)];
    signs.into_iter().find_map(|(sign, equal)| Some((name, equal, rest.strip_prefix(sign)?)))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                Some(next) => {
                    return Err(format!("invalid field selector: invalid escape sequence: \\{next}"));
                }
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

fn selectable(name: &str, kind: &Kind) -> Result<Selectable, SelectorError> {
    let found = Field::METADATA.iter().chain(kind.fields).find(|field| field.name == name);
    if let Some(field) = found {
        return Ok(Selectable::Field(*field));
    }
    let version = kind.version_of_definition();
    let mut named = version.iter().flat_map(|version| &version.selectable).filter_map(Path::names);
    if named.any(|names| names.join(".") == name) {
        return Ok(Selectable::Path(name.to_owned()));
    }
    let plain = kind.custom.is_none() && kind.fields.is_empty();
    Err(SelectorError(if plain {
        format!("{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {name}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn label_selectors_match() {
        let web = labels(&[("app", "web"), ("tier", "1"), ("empty", "")]);
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web , tier = 1 ", true),
            ("app!=web", false),
            ("none!=web", true),
            ("app in (web,db)", true),
            ("app in (db)", false),
            ("app notin (db,web)", false),
            ("none notin (db)", true),
            ("app", true),
            ("!app", false),
            ("!none", true),
            ("none", false),
            ("tier>0", true),
            ("tier<1", false),
            ("app>0", false),
            ("empty=", true),
            ("empty in (,x)", true),
            ("app=,tier=1", false),
            ("in in (in)", false),
            ("app=web,app=db", false),
        ];
        for (text, expected) in cases {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(&web), expected, "{text}");
            let again = LabelSelector::parse(&selector.to_string()).expect("what it prints it reads");
            assert_eq!(again, selector, "{text}");
        }
        assert!(!LabelSelector::nothing().matches(&web));
    }

    #[test]
    fn wrong_label_selectors_are_told_apart() {
        let cases = [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            (",", "found ',', expected: !, identifier, or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            (
                "a in ()",
                "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
            ),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).expect_err(text).0, expected, "{text}");
        }
        let key = LabelSelector::parse("-a=b").expect_err("a key may not begin with a dash").0;
        assert!(
            key.starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part"),
            "{key}"
        );
        let value = LabelSelector::parse("a=-b").expect_err("nor may a value").0;
        assert!(value.contains("values[0][a]: Invalid value: \"-b\": a valid label must be"), "{value}");
    }

    #[test]
    fn large_selectors_are_refused() {
        let many = vec!["a=b"; MAX_REQUIREMENTS + 1].join(",");
        assert!(LabelSelector::parse(&many).is_err());
        assert!(LabelSelector::parse(&"a".repeat(MAX_BYTES + 1)).is_err());
        assert!(FieldSelector::parse(&"a".repeat(MAX_BYTES + 1), &Kind::PLAIN).is_err());
    }

    #[test]
    fn selectors_of_objects_are_read() {
        let selector: meta::LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["2", "3"]},
                                 {"key": "old", "operator": "DoesNotExist"}],
        }))
        .expect("it is well formed");
        let selector = LabelSelector::from_meta(&selector).expect("it is well formed");
        assert_eq!(selector.to_string(), "app=web,!old,tier notin (2,3)");
        assert!(selector.matches(&labels(&[("app", "web")])));
        assert!(!selector.matches(&labels(&[("app", "web"), ("old", "")])));
    }

    #[test]
    fn what_matches_contains_the_words() {
        let words = |text: &str, kind: &Kind| -> Vec<String> {
            FieldSelector::parse(text, kind).expect(text).words().map(str::to_owned).collect()
        };
        let pod = &kinds::pod::KIND;
        assert_eq!(words("spec.nodeName=n-1.shop,status.phase!=Running", pod), ["n-1.shop"]);
        assert_eq!(words("metadata.name=a,metadata.namespace=b", pod), ["a", "b"]);
        assert_eq!(words("spec.nodeName=", pod), Vec::<String>::new(), "what is absent");
        assert_eq!(words("spec.nodeName=a\\,b", pod), Vec::<String>::new(), "what may be escaped");
        let node = &kinds::node::KIND;
        assert_eq!(words("spec.unschedulable=true", node), Vec::<String>::new(), "what has no quotes");
        assert_eq!(words("spec.unschedulable=false", node), Vec::<String>::new(), "what absence counts as");
    }

    #[test]
    fn field_selectors_match() {
        const FIELDS: &[Field] = &[
            Field::new("spec.nodeName", &["spec", "nodeName"]),
            Field { name: "spec.hostNetwork", path: &["spec", "hostNetwork"], absent: "false" },
        ];
        let kind = Kind { fields: FIELDS, ..Kind::PLAIN };
        let object = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"nodeName": "edge,1"}});
        let cases = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,metadata.namespace!=c", true),
            ("metadata.name!=a", false),
            ("spec.nodeName=", false),
            ("spec.nodeName=edge\\,1", true),
            ("spec.hostNetwork=false", true),
            ("spec.hostNetwork!=true,", true),
        ];
        for (text, expected) in cases {
            let selector = FieldSelector::parse(text, &kind).expect(text);
            assert_eq!(
                selector.matches_json(object.to_string().as_bytes()),
                expected,
                "{text}, as it is written"
            );
            assert_eq!(selector.matches(&object), expected, "{text}");
            let again = FieldSelector::parse(&selector.to_string(), &kind).expect("what it prints it reads");
            assert_eq!(again, selector);
        }
        let name = FieldSelector::parse("metadata.name=a", &kind).expect("it is well formed");
        assert_eq!(name.exact("metadata.name"), Some("a"));
        let wrong = [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("spec.x=a", "field label not supported: spec.x"),
        ];
        for (text, expected) in wrong {
            assert_eq!(FieldSelector::parse(text, &kind).expect_err(text).0, expected);
        }
        let plain = FieldSelector::parse("spec.x=a", &Kind::PLAIN).expect_err("no such field").0;
        assert_eq!(
            plain,
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }

    /// What a requirement says, without the language it is said in.
    #[derive(Clone)]
    struct Wish {
        key: &'static str,
        operator: usize,
        values: Vec<&'static str>,
    }

    /// How a requirement may be written: `K` is the key, `V` the first value, `S` all of them.
    const WRITTEN: [&[&str]; 6] = [
        &["K in (S)", " K  in( S )", "K=V", "K == V"],
        &["K notin (S)", "K  notin ( S)", "K!=V", "K != V"],
        &["K", " K "],
        &["!K", "! K "],
        &["K>V", " K > V "],
        &["K<V", "K < V"],
    ];

    impl Wish {
        fn random(rng: &mut fastrand::Rng) -> Wish {
            let operator = rng.usize(0..6);
            let values: &[&str] =
                if operator > 3 { &["0", "7", "12"] } else { &["a", "b", "", "7", "in", "x.y-z_1"] };
            let mut values: Vec<&str> =
                (0..rng.usize(1..4)).map(|_| *rng.choice(values).expect("there are some")).collect();
            values.dedup();
            Wish {
                key: rng.choice(["a", "b", "example.com/in", "notin"]).expect("there are some"),
                operator,
                values,
            }
        }

        /// The wish in words; what has a single value only in one that has room for all.
        fn written(&self, rng: &mut fastrand::Rng) -> String {
            let ways: Vec<&&str> = WRITTEN[self.operator]
                .iter()
                .filter(|way| match way.contains('S') {
                    // Nothing between parentheses is a mistake.
                    true => self.values != [""],
                    false => self.operator > 1 || self.values.len() == 1,
                })
                .collect();
            let way = rng.choice(ways).expect("there is one");
            let filled = |letter: char| match letter {
                'K' => self.key.to_owned(),
                'V' => self.values[0].to_owned(),
                'S' => self.values.join([",", ", ", " ,"][rng.usize(0..3)]),
                other => other.to_string(),
            };
            way.chars().map(filled).collect()
        }

        fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
            let value = labels.get(self.key).map(String::as_str);
            let number = |text: &str| text.parse::<i64>().ok();
            let compared = value.and_then(number).zip(number(self.values[0]));
            match self.operator {
                0 => value.is_some_and(|value| self.values.contains(&value)),
                1 => value.is_none_or(|value| !self.values.contains(&value)),
                2 => value.is_some(),
                3 => value.is_none(),
                4 => compared.is_some_and(|(label, bound)| label > bound),
                _ => compared.is_some_and(|(label, bound)| label < bound),
            }
        }
    }

    #[test]
    fn random_selectors_mean_what_a_model_says() {
        let mut rng = fastrand::Rng::with_seed(13);
        let (mut met, mut damaged) = ([0; 2], [0; 2]);
        for _ in 0..6000 {
            let wishes: Vec<Wish> = (0..rng.usize(1..4)).map(|_| Wish::random(&mut rng)).collect();
            let text = wishes.iter().map(|wish| wish.written(&mut rng)).collect::<Vec<_>>().join(",");
            let selector = LabelSelector::parse(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector.clone()), "{text:?}");
            for _ in 0..4 {
                let value =
                    |rng: &mut fastrand::Rng| rng.choice(["a", "b", "", "7", "8", "-9", "in"]).expect("some");
                let keys = ["a", "b", "example.com/in", "notin"]
                    .into_iter()
                    .filter(|_| rng.bool())
                    .collect::<Vec<_>>();
                let pairs: Vec<(&str, &str)> = keys.into_iter().map(|key| (key, value(&mut rng))).collect();
                let labels = labels(&pairs);
                let meant = wishes.iter().all(|wish| wish.holds(&labels));
                assert_eq!(selector.matches(&labels), meant, "{text:?} of {labels:?}");
                met[usize::from(meant)] += 1;
            }
            // Damaged, it is refused, or it is another selector that is read from what it prints.
            let mut letters: Vec<char> = text.chars().collect();
            let at = rng.usize(0..letters.len());
            letters[at] = *rng
                .choice(&['(', ')', ',', '!', '=', '<', '>', ' ', '-', '.', 'x', '7', '\\', '\0', 'ü'])
                .expect("some");
            let text: String = letters.into_iter().collect();
            match LabelSelector::parse(&text) {
                Ok(other) => {
                    assert_eq!(LabelSelector::parse(&other.to_string()), Ok(other), "{text:?}");
                    damaged[0] += 1;
                }
                Err(error) => {
                    assert!(!error.0.is_empty());
                    damaged[1] += 1;
                }
            }
            if let Ok(fields) = FieldSelector::parse(&text, &Kind::PLAIN) {
                assert_eq!(FieldSelector::parse(&fields.to_string(), &Kind::PLAIN), Ok(fields), "{text:?}");
            }
        }
        assert!(
            met.iter().chain(&damaged).all(|count| *count > 500),
            "all ways are met: {met:?} {damaged:?}"
        );
    }
}
