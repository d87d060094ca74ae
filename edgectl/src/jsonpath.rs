//! kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range …}…{end}`, filters, text.
//!
//! The dialect is kubectl's own (<https://kubernetes.io/docs/reference/kubectl/jsonpath/>), which no
//! JSONPath library reads: a template of literal text and braces, relative paths, `range`.

use serde_json::Value;

use crate::failure::Failure;

/// A template, read once.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Part>),
}

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Every,
    Descend,
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
    Several(Vec<String>),
    Filter(Vec<Step>, Option<(String, Operand)>),
}

#[derive(Clone, Debug)]
enum Operand {
    Literal(Value),
    Path(Vec<Step>),
}

impl Template {
    /// Reads a template; without braces the whole text is one path.
    ///
    /// # Errors
    /// When it is malformed; the message says where.
    pub fn parse(text: &str) -> Result<Template, Failure> {
        let text = if text.contains('{') { text.to_owned() } else { format!("{{{text}}}") };
        let mut reader = Reader { rest: &text };
        let parts = reader.parts(false)?;
        Ok(Template { parts })
    }

    /// The template filled from `root`.
    pub fn render(&self, root: &Value) -> String {
        let mut out = String::new();
        render(&self.parts, root, &mut out);
        out
    }

    /// Every value that the template's paths find.
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = Vec::new();
        for part in &self.parts {
            if let Part::Path(steps) = part {
                found.extend(walk(steps, root));
            }
        }
        found
    }
}

fn render(parts: &[Part], at: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(steps) => {
                let found: Vec<String> = walk(steps, at).into_iter().map(plain).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(steps, body) => {
                for item in walk(steps, at) {
                    render(body, item, out);
                }
            }
        }
    }
}

/// A value as kubectl shows it: text bare, the rest as JSON.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn walk<'a>(steps: &[Step], root: &'a Value) -> Vec<&'a Value> {
    let mut at = vec![root];
    for step in steps {
        at = at.into_iter().flat_map(|value| one(step, value)).collect();
    }
    at
}

fn one<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Several(names) => names.iter().filter_map(|name| value.get(name)).collect(),
        Step::Every => children(value),
        Step::Descend => {
            let below = children(value).into_iter().flat_map(|child| one(step, child));
            std::iter::once(value).chain(below).collect()
        }
        Step::Index(index) => {
            value.as_array().and_then(|list| list.get(position(*index, list.len()))).into_iter().collect()
        }
        Step::Slice(from, to, step) => {
            let Some(list) = value.as_array() else { return Vec::new() };
            let from = position(from.unwrap_or(0), list.len());
            let to = to.map_or(list.len(), |to| position(to, list.len()).min(list.len()));
            let step = usize::try_from(*step).unwrap_or(1).max(1);
            list.iter()
                .enumerate()
                .filter(|(i, _)| *i >= from && *i < to && (i - from).is_multiple_of(step))
                .map(|(_, item)| item)
                .collect()
        }
        Step::Filter(path, comparison) => {
            children(value).into_iter().filter(|item| holds(path, comparison.as_ref(), item)).collect()
        }
    }
}

fn position(index: i64, length: usize) -> usize {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    usize::try_from(if index < 0 { length + index } else { index }).unwrap_or(usize::MAX)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn holds(path: &[Step], comparison: Option<&(String, Operand)>, item: &Value) -> bool {
    let left = walk(path, item);
    let Some((operator, right)) = comparison else { return !left.is_empty() };
    let Some(left) = left.first() else { return false };
    let right = match right {
        Operand::Literal(value) => Some(value),
        Operand::Path(path) => walk(path, item).first().copied(),
    };
    let Some(right) = right else { return false };
    let order = match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.partial_cmp(&right),
        _ => Some(plain(left).cmp(&plain(right))),
    };
    match operator.as_str() {
        "==" => order.is_some_and(std::cmp::Ordering::is_eq),
        "!=" => order.is_some_and(std::cmp::Ordering::is_ne),
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn parts(&mut self, in_range: bool) -> Result<Vec<Part>, Failure> {
        let mut parts = Vec::new();
        while !self.rest.is_empty() {
            let Some(open) = self.rest.find('{') else {
                parts.push(Part::Text(std::mem::take(&mut self.rest).to_owned()));
                break;
            };
            if open > 0 {
                parts.push(Part::Text(self.rest[..open].to_owned()));
            }
            self.rest = &self.rest[open + 1..];
            let inside = self.inside()?;
            let inside = inside.trim();
            if inside == "end" {
                return if in_range { Ok(parts) } else { Err(malformed("{end} without {range}")) };
            } else if let Some(path) = inside.strip_prefix("range ") {
                let steps = path_of(path.trim())?;
                parts.push(Part::Range(steps, self.parts(true)?));
            } else if let Some(text) = quoted(inside) {
                parts.push(Part::Text(text));
            } else {
                parts.push(Part::Path(path_of(inside)?));
            }
        }
        if in_range { Err(malformed("{range} without {end}")) } else { Ok(parts) }
    }

    /// What stands before the closing brace; quotes may hold braces.
    fn inside(&mut self) -> Result<String, Failure> {
        let mut quote = None;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match (quote, c) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(open), c) if c == open => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, '}') => {
                    let inside = self.rest[..at].to_owned();
                    self.rest = &self.rest[at + 1..];
                    return Ok(inside);
                }
                _ => {}
            }
        }
        Err(malformed("an opening { has no }"))
    }
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"").replace("\\'", "'"))
}

fn malformed(what: &str) -> Failure {
    Failure::say(format!("error parsing jsonpath: {what}"))
}

fn path_of(text: &str) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Descend);
            rest = after;
            if rest.starts_with('[') {
                continue;
            }
            rest = field(rest, &mut steps)?;
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = if after.is_empty() || after.starts_with('[') { after } else { field(after, &mut steps)? };
        } else if rest.starts_with('[') {
            let end = closing(rest)?;
            steps.push(bracket(rest[1..end].trim())?);
            rest = &rest[end + 1..];
        } else {
            rest = field(rest, &mut steps)?;
        }
    }
    Ok(steps)
}

fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, Failure> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = characters.next() {
        match c {
            // A dot in a name is written \. .
            '\\' => name.extend(characters.next().map(|(_, c)| c)),
            '.' | '[' => {
                end = at;
                break;
            }
            c => name.push(c),
        }
    }
    if name.is_empty() {
        return Err(malformed(&format!("a name was expected at {text:?}")));
    }
    steps.push(if name == "*" { Step::Every } else { Step::Field(name) });
    Ok(&text[end..])
}

fn closing(text: &str) -> Result<usize, Failure> {
    let mut depth = 0;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => {}
        }
    }
    Err(malformed("an opening [ has no ]"))
}

fn bracket(text: &str) -> Result<Step, Failure> {
    if text == "*" {
        return Ok(Step::Every);
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter_of(filter.trim());
    }
    if text.starts_with(['"', '\'']) {
        let names: Option<Vec<String>> = text.split(',').map(|name| quoted(name.trim())).collect();
        return names
            .map(Step::Several)
            .ok_or_else(|| malformed(&format!("names were expected at [{text}]")));
    }
    let number =
        |text: &str| text.trim().parse::<i64>().map_err(|_| malformed(&format!("[{text}] is no index")));
    if text.contains(':') {
        let bounds: Vec<&str> = text.split(':').collect();
        let bound = |i: usize| {
            bounds.get(i).filter(|text| !text.trim().is_empty()).map(|text| number(text)).transpose()
        };
        return Ok(Step::Slice(bound(0)?, bound(1)?, bound(2)?.unwrap_or(1)));
    }
    Ok(Step::Index(number(text)?))
}

fn filter_of(text: &str) -> Result<Step, Failure> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some((left, right)) = text.split_once(operator) {
            let right = right.trim();
            let operand = match quoted(right) {
                Some(literal) => Operand::Literal(Value::String(literal)),
                None if right.starts_with('@') => Operand::Path(path_of(right)?),
                None => Operand::Literal(
                    serde_json::from_str(right).map_err(|_| malformed(&format!("{right:?} is no value")))?,
                ),
            };
            return Ok(Step::Filter(path_of(left.trim())?, Some((operator.to_owned(), operand))));
        }
    }
    Ok(Step::Filter(path_of(text)?, None))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::jsonpath::Template;

    #[test]
    fn the_examples_of_the_documentation() {
        let root = json!({"kind": "List", "items": [
            {"kind": "None", "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}}, "status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]}},
            {"kind": "None", "metadata": {"name": "127.0.0.2"}, "status": {"capacity": {"cpu": "8"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.2"}, {"type": "another", "address": "127.0.0.3"}]}}],
            "users": [{"name": "myself", "user": {}}, {"name": "e2e", "user": {"username": "admin", "password": "secret"}}]});
        let table = [
            ("kind is {.kind}", "kind is List"),
            ("{.kind}", "List"),
            ("{['kind']}", "List"),
            ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
            ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
            ("{.users[0].name}", "myself"),
            ("{.users[-1].name}", "e2e"),
            ("{.users[0:1].name}", "myself"),
            ("{.items[*].status.capacity}", r#"{"cpu":"4"} {"cpu":"8"}"#),
            (r#"{.users[?(@.name=="e2e")].user.password}"#, "secret"),
            (
                r#"{range .items[*]}{.metadata.name}{"\t"}{.status.capacity.cpu}{"\n"}{end}"#,
                "127.0.0.1\t4\n127.0.0.2\t8\n",
            ),
            (r"{.items[0].metadata.labels.kubernetes\.io/hostname}", "127.0.0.1"),
            ("{.nothing.here}", ""),
            (".kind", "List"),
        ];
        for (template, want) in table {
            let got = Template::parse(template)
                .map(|template| template.render(&root))
                .map_err(|error| error.to_string());
            assert_eq!(got.as_deref(), Ok(want), "{template}");
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for template in ["{.a", "{.a[}", "{range .x}", "{end}", "{.a[?(@.b==)]}", "{.a[x]}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}
