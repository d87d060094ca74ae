//! Manifests as written, and as meant.
//!
//! Files, directories and standard input become [`Document`]s: one object each, with the place of
//! every field in its file, so that whatever is wrong with it, found here or by the server, points
//! at a file, a line and a column. YAML is read as kubectl reads it (YAML 1.1 booleans and octal
//! numbers, merge keys, documents parted by `---`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::failure::Failure;

/// One object of a manifest.
#[derive(Debug)]
pub struct Document {
    /// The object.
    pub object: Value,
    /// Where it comes from: a path, or `standard input`.
    pub source: String,
    /// Field path → line and column in the source, both from 1.
    places: BTreeMap<String, (u64, u64)>,
}

impl Document {
    /// `file:line:column` of a field, or of the nearest field above it that was written.
    pub fn place(&self, field: &str) -> String {
        let mut path = field;
        loop {
            if let Some((line, column)) = self.places.get(path) {
                return format!("{}:{line}:{column}", self.source);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None if path.is_empty() => return self.source.clone(),
                None => path = "",
            }
        }
    }
}

/// Reads what `-f` names: files, directories (sorted by name, `.yaml`, `.yml` and `.json`), `-`.
///
/// # Errors
/// When a file cannot be read or is no YAML; the message points into it.
pub fn read(filenames: &[String], recursive: bool) -> Result<Vec<Document>, Failure> {
    let mut documents = Vec::new();
    for name in filenames {
        if name == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("error: cannot read standard input")?;
            parse(&text, "standard input", &mut documents)?;
            continue;
        }
        let path = Path::new(name);
        let mut files = Vec::new();
        if path.is_dir() {
            list(path, recursive, &mut files)?;
            if files.is_empty() {
                return Err(Failure::say(format!("no manifest (.yaml, .yml or .json) in {name}")));
            }
        } else {
            files.push(path.to_owned());
        }
        for file in files {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("error: cannot read {}", file.display()))?;
            parse(&text, &file.display().to_string(), &mut documents)?;
        }
    }
    Ok(documents)
}

fn list(folder: &Path, recursive: bool, out: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let read = std::fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = read.with_context(|| format!("error: cannot read {}", folder.display()))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            if recursive {
                list(&path, recursive, out)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        {
            out.push(path);
        }
    }
    Ok(())
}

/// Reads every document of `text`; empty ones are dropped, a `List` becomes its items.
fn parse(text: &str, source: &str, out: &mut Vec<Document>) -> Result<(), Failure> {
    for (first_line, part) in split(text) {
        let located: Option<Spanned<Located>> = serde_saphyr::from_str_with_options(part, options())
            .map_err(|error| unreadable(&error, source, first_line, text))?;
        let Some(located) = located else { continue };
        let mut places = BTreeMap::new();
        let object = located.value.into_value(&mut String::new(), first_line, &mut places);
        match object {
            Value::Null => {}
            Value::Object(ref map) if map.get("kind").is_some_and(|kind| kind == "List") => {
                for item in map.get("items").and_then(Value::as_array).into_iter().flatten() {
                    out.push(check(Document {
                        object: item.clone(),
                        source: source.to_owned(),
                        places: BTreeMap::new(),
                    })?);
                }
            }
            object => out.push(check(Document { object, source: source.to_owned(), places })?),
        }
    }
    Ok(())
}

/// What every object must say before the server can be asked about it.
fn check(document: Document) -> Result<Document, Failure> {
    if !document.object.is_object() {
        return Err(Failure::say(format!(
            "{}: an object was expected, with apiVersion, kind and metadata",
            document.place("")
        )));
    }
    for field in ["apiVersion", "kind"] {
        if document.object[field].as_str().is_none_or(str::is_empty) {
            return Err(Failure::say(format!("{}: {field}: Required value", document.place(field))));
        }
    }
    let metadata = &document.object["metadata"];
    if ["name", "generateName"].iter().all(|field| metadata[*field].as_str().is_none_or(str::is_empty)) {
        let place = document.place("metadata");
        return Err(Failure::say(format!(
            "{place}: metadata.name: Required value: name or generateName is required"
        )));
    }
    Ok(document)
}

/// The documents of a stream with the number of lines before each, parted as kubectl parts them.
fn split(text: &str) -> Vec<(u64, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line) = (0, 0);
    let (mut offset, mut line_number) = (0, 0);
    for line in text.split_inclusive('\n') {
        let next = offset + line.len();
        line_number += 1;
        if is_separator(line) {
            parts.push((first_line, &text[start..offset]));
            (start, first_line) = (next, line_number);
        }
        offset = next;
    }
    parts.push((first_line, &text[start..]));
    parts
}

/// `---`, alone or before a comment.
fn is_separator(line: &str) -> bool {
    let rest = line.strip_prefix("---").map(str::trim);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        strict_booleans: false,
        with_snippet: false,
    }
}

fn unreadable(error: &serde_saphyr::Error, source: &str, first_line: u64, text: &str) -> Failure {
    let Some(location) = error.location() else {
        return Failure::say(format!("{source}: {}", error.without_snippet()));
    };
    let (line, column) = (location.line() + first_line, location.column());
    let message = error.without_snippet().render();
    let mut shown = format!("{source}:{line}:{column}: {message}");
    if let Some(written) =
        usize::try_from(line).ok().and_then(|line| text.lines().nth(line.saturating_sub(1)))
    {
        let indent = usize::try_from(column).unwrap_or(1).saturating_sub(1);
        shown.push_str(&format!(
            "\n  {line} | {written}\n  {} | {}^",
            " ".repeat(line.to_string().len()),
            " ".repeat(indent)
        ));
    }
    Failure::say(shown)
}

/// A YAML tree whose nodes know where they were written.
#[derive(Debug)]
enum Located {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Located>>),
    Map(Vec<(Spanned<Key>, Spanned<Located>)>),
}

/// A key of a mapping; whatever it was written as, JSON knows it as text.
#[derive(Debug)]
struct Key(String);

impl Located {
    /// The plain tree; notes the place of every field under its path.
    fn into_value(
        self,
        path: &mut String,
        first_line: u64,
        places: &mut BTreeMap<String, (u64, u64)>,
    ) -> Value {
        match self {
            Located::Null => Value::Null,
            Located::Bool(value) => Value::Bool(value),
            Located::Number(value) => Value::Number(value),
            Located::Text(value) => Value::String(value),
            Located::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let length = path.len();
                    path.push_str(&format!("[{index}]"));
                    places.insert(
                        path.clone(),
                        (item.referenced.line() + first_line, item.referenced.column()),
                    );
                    list.push(item.value.into_value(path, first_line, places));
                    path.truncate(length);
                }
                Value::Array(list)
            }
            Located::Map(entries) => {
                let mut map = Map::new();
                for (key, item) in entries {
                    let length = path.len();
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(&key.value.0);
                    places
                        .insert(path.clone(), (key.referenced.line() + first_line, key.referenced.column()));
                    let value = item.value.into_value(path, first_line, places);
                    map.insert(key.value.0, value);
                    path.truncate(length);
                }
                Value::Object(map)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Located, D::Error> {
        deserializer.deserialize_any(LocatedVisitor)
    }
}

struct LocatedVisitor;

impl<'de> Visitor<'de> for LocatedVisitor {
    type Value = Located;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Located, E> {
        Ok(Located::Null)
    }

    fn visit_none<E>(self) -> Result<Located, E> {
        Ok(Located::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Located, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Located, E> {
        Ok(Located::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Located, E> {
        Ok(Located::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Located, E> {
        Ok(Located::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Located, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("JSON has no such number"))?;
        Ok(Located::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Located, E> {
        Ok(Located::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Located, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Located::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Located, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Located::Map(entries))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, value: &str) -> Result<Key, E> {
        Ok(Key(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::manifest::{Document, parse};

    fn documents(text: &str) -> Result<Vec<Document>, String> {
        let mut out = Vec::new();
        parse(text, "app.yaml", &mut out).map(|()| out).map_err(|failure| failure.to_string())
    }

    const TWO: &str = "# first\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec:\n  containers:\n  - name: x\n    imago: y\n";

    #[test]
    fn documents_know_the_place_of_every_field() {
        let found = documents(TWO).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].place("metadata.name"), "app.yaml:5:3");
        assert_eq!(found[1].place("spec.containers[0].imago"), "app.yaml:14:5");
        assert_eq!(found[1].place("spec.containers[0].image"), "app.yaml:13:5");
        assert_eq!(found[1].place("status.phase"), "app.yaml");
    }

    #[test]
    fn yaml_is_read_as_kubectl_reads_it() {
        let text = "apiVersion: v1\nkind: X\nmetadata: {name: a}\nbase: &b {k: 1}\nmerged:\n  <<: *b\nmode: 0644\nflag: yes\ntext: \"yes\"\nport: 80\nratio: 1.5\nnone: ~\n";
        let object = documents(text).unwrap().remove(0).object;
        assert_eq!(object["mode"], json!(420));
        assert_eq!(object["flag"], json!(true));
        assert_eq!(object["text"], json!("yes"));
        assert_eq!(object["merged"], json!({"k": 1}));
        assert_eq!(object["port"], json!(80));
        assert_eq!(object["ratio"], json!(1.5));
        assert_eq!(object["none"], json!(null));
    }

    #[test]
    fn broken_yaml_points_at_line_and_column_of_the_file() {
        let error = documents("apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\nkind: B\n  bad: [1, 2\n")
            .unwrap_err();
        assert!(error.contains("app.yaml:6:") || error.contains("app.yaml:7:"), "{error}");
    }

    #[test]
    fn what_an_object_must_say_is_asked_for_by_name() {
        let error = documents("apiVersion: v1\nmetadata: {name: a}\n").unwrap_err();
        assert!(error.contains("app.yaml") && error.contains("kind: Required value"), "{error}");
        let error = documents("apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n").unwrap_err();
        assert!(error.contains("app.yaml:3:1") && error.contains("metadata.name"), "{error}");
    }

    #[test]
    fn a_list_is_its_items() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
        assert_eq!(documents(text).unwrap().len(), 2);
    }

    #[test]
    fn random_text_never_panics() {
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet: Vec<char> = "ab:-\n {}[],&*#'\"|>~!?%@0\t\\".chars().collect();
        for _ in 0..2_000 {
            let text: String =
                (0..random.usize(0..120)).map(|_| alphabet[random.usize(0..alphabet.len())]).collect();
            let _ = documents(&text);
        }
    }
}
