//! How objects are printed.

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::jsonpath::Template;

/// What `-o` asks for.
#[derive(Debug)]
pub enum Format {
    /// Columns; with `wide` also those of lower priority.
    Table {
        /// Whether `-o wide` was asked for.
        wide: bool,
    },
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `type/name`.
    Name,
    /// A JSONPath template.
    JsonPath(Template),
    /// Columns of the user's own: header and template.
    Columns(Vec<(String, Template)>),
}

impl Format {
    /// Reads the value of `-o`.
    ///
    /// # Errors
    /// When the format is not known; the message lists those that are.
    pub fn parse(text: Option<&str>) -> Result<Format, Failure> {
        let Some(text) = text else { return Ok(Format::Table { wide: false }) };
        let (word, argument) =
            text.split_once('=').map_or((text, None), |(word, argument)| (word, Some(argument)));
        match (word, argument) {
            ("wide", None) => Ok(Format::Table { wide: true }),
            ("json", None) => Ok(Format::Json),
            ("yaml", None) => Ok(Format::Yaml),
            ("name", None) => Ok(Format::Name),
            ("jsonpath", Some(template)) => Ok(Format::JsonPath(Template::parse(template)?)),
            ("custom-columns", Some(columns)) => Ok(Format::Columns(columns_of(columns)?)),
            _ => Err(Failure::say(format!(
                "unable to match a printer suitable for the output format \"{text}\", allowed formats are: custom-columns,json,jsonpath,name,wide,yaml"
            ))),
        }
    }
}

fn columns_of(text: &str) -> Result<Vec<(String, Template)>, Failure> {
    text.split(',')
        .map(|column| {
            let (header, path) = column.split_once(':').ok_or_else(|| {
                Failure::say(format!(
                    "unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>"
                ))
            })?;
            let path = path.trim_start_matches('{').trim_end_matches('}');
            let dot = if path.starts_with('.') { "" } else { "." };
            Ok((header.to_owned(), Template::parse(&format!("{{{dot}{path}}}"))?))
        })
        .collect()
}

/// Writes to standard output; a reader that went away is an error of its own.
pub fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// Writes a line to standard output.
pub fn line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// JSON as kubectl prints it.
pub fn json(value: &Value) -> Result<String, Failure> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer).context("cannot write JSON")?;
    out.push(b'\n');
    Ok(String::from_utf8(out).context("cannot write JSON")?)
}

/// YAML, block style, keys sorted.
pub fn yaml(value: &Value) -> Result<String, Failure> {
    let mut out = String::new();
    write_yaml(value, 0, &mut out)?;
    Ok(out)
}

fn write_yaml(value: &Value, indent: usize, out: &mut String) -> Result<(), Failure> {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (index, (key, item)) in map.iter().enumerate() {
                // The first key after a list's dash stands on the dash's line.
                if index > 0 || !out.ends_with("- ") {
                    out.push_str(&pad);
                }
                out.push_str(&scalar(&Value::String(key.clone()), indent)?);
                out.push(':');
                match item {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        write_yaml(item, indent + 2, out)?;
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        write_yaml(item, indent, out)?;
                    }
                    item => out.push_str(&format!(" {}\n", scalar(item, indent + 2)?)),
                }
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for item in list {
                out.push_str(&pad);
                out.push_str("- ");
                match item {
                    Value::Object(inner) if !inner.is_empty() => write_yaml(item, indent + 2, out)?,
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        write_yaml(item, indent + 2, out)?;
                    }
                    item => out.push_str(&format!("{}\n", scalar(item, indent + 2)?)),
                }
            }
        }
        value => out.push_str(&format!("{pad}{}\n", scalar(value, indent)?)),
    }
    Ok(())
}

/// A scalar so that every YAML reader, 1.1 or 1.2, reads it back as it was.
fn scalar(value: &Value, indent: usize) -> Result<String, Failure> {
    let Value::String(text) = value else {
        return Ok(value.to_string());
    };
    if is_plain(text) {
        return Ok(text.clone());
    }
    if text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && !text.contains(" \n")
    {
        let keep = match (text.ends_with('\n'), text.ends_with("\n\n")) {
            (false, _) => "-",
            (true, false) => "",
            (true, true) => "+",
        };
        let pad = " ".repeat(indent);
        let lines: Vec<String> = text
            .lines()
            .map(|line| if line.is_empty() { String::new() } else { format!("{pad}{line}") })
            .collect();
        return Ok(format!("|{keep}\n{}", lines.join("\n")));
    }
    // A JSON string is a YAML double-quoted scalar.
    Ok(serde_json::to_string(text).context("cannot write YAML")?)
}

/// Whether text may stand unquoted and is still text to every reader.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let ambiguous = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];
    let first_ok = first.is_ascii_alphabetic()
        || first == '/'
        || first == '_'
        || (first.is_ascii_digit() && !numeric(text));
    first_ok
        && !ambiguous.contains(&text.to_ascii_lowercase().as_str())
        && text.chars().all(|c| c.is_alphanumeric() || "-_./ ()=@+,$%^;<>~:*".contains(c))
        && !text.contains(": ")
        && !text.ends_with([' ', ':'])
}

/// Whether a YAML reader could take text that starts with a digit for a number, a time or a date.
fn numeric(text: &str) -> bool {
    let only = |more: &str| text.chars().all(|c| c.is_ascii_digit() || more.contains(c));
    text.parse::<f64>().is_ok()
        || only("_.:")
        || only("-:.TtZz +")
        || (["0x", "0o", "0b"].iter().any(|base| text.starts_with(base)))
        || (text.contains(['e', 'E']) && only("_.eE+-"))
}

/// Rows in columns, three blanks apart, as kubectl's.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut text = String::new();
        for (index, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < row.len() {
                text.push_str(&" ".repeat(widths[index] + 3 - cell.chars().count()));
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// A `List` of objects, as kubectl prints several.
pub fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use crate::output::{columns, yaml};

    #[test]
    fn yaml_reads_back_as_it_was() {
        let value = json!({
            "a": [], "b": {}, "c": [[1, 2], {"x": "y", "z": [true]}], "d": null,
            "strings": ["yes", "0644", "1_000", "", "a: b", "#x", "1.5", "12:30:45", "line\nline two\n", "two\n\n", "no end\nhere", " lead", "é", "-", "---", "*a", "{x}", "tab\there", "2020-01-02", "0x1f", "1e3", "~", "Null", "=", "10.42.0.5", "8080/TCP", "a:", "<none>", "- a"],
            "nested": {"deep": {"text": "multi\n  indented\n"}},
        });
        let text = yaml(&value).unwrap();
        let options = serde_saphyr::options! { legacy_octal_numbers: true, strict_booleans: false };
        let back: Value = serde_saphyr::from_str_with_options(&text, options)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(back, value, "{text}");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["NAME".to_owned(), "AGE".to_owned()], vec!["longer".to_owned(), "5s".to_owned()]];
        assert_eq!(columns(&rows), "NAME     AGE\nlonger   5s\n");
    }
}
