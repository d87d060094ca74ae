//! The descriptions of types and fields, inflated one package at a time.
//!
//! They are 670 KB as text and used only by people who ask; see `data/README.md` for the layout.

use std::collections::BTreeMap;
use std::io::Read as _;

static PROSE: &[u8] = include_bytes!("../../data/prose.bin");

/// The descriptions of one package's types, e.g. `io.k8s.api.core.v1`.
pub(crate) struct Prose {
    types: BTreeMap<String, Type>,
}

#[derive(Default)]
struct Type {
    text: String,
    fields: BTreeMap<String, String>,
}

impl Prose {
    /// Those of a package; empty if there are none.
    pub(crate) fn of(package: &str) -> Prose {
        let text = inflate(package).unwrap_or_default();
        let mut types: BTreeMap<String, Type> = BTreeMap::new();
        let mut current = None;
        for line in text.lines() {
            match line.strip_prefix('\t').and_then(|line| line.split_once('\t')) {
                Some((field, text)) => {
                    let of: Option<&mut Type> =
                        current.as_ref().and_then(|name: &String| types.get_mut(name));
                    of.and_then(|of| of.fields.insert(field.to_owned(), plain(text)));
                }
                None => {
                    let (name, text) = line.split_once('\t').unwrap_or((line, ""));
                    types.insert(name.to_owned(), Type { text: plain(text), fields: BTreeMap::new() });
                    current = Some(name.to_owned());
                }
            }
        }
        Prose { types }
    }

    /// What a type is.
    pub(crate) fn of_type(&self, name: &str) -> Option<&str> {
        self.types.get(name).map(|of| of.text.as_str()).filter(|text| !text.is_empty())
    }

    /// What a field of a type is.
    pub(crate) fn of_field(&self, name: &str, field: &str) -> Option<&str> {
        let text = self.types.get(name)?.fields.get(field)?;
        (!text.is_empty()).then_some(text)
    }
}

fn plain(escaped: &str) -> String {
    let mut out = String::with_capacity(escaped.len());
    let mut letters = escaped.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

fn inflate(package: &str) -> Option<String> {
    let (deflated, length) = find(package)?;
    let mut text = String::with_capacity(length);
    flate2::read::DeflateDecoder::new(deflated)
        .read_to_string(&mut text)
        .expect("the file is part of the crate");
    Some(text)
}

/// A package's deflated text, and its length when inflated.
fn find(package: &str) -> Option<(&'static [u8], usize)> {
    let count = u16::from_le_bytes([PROSE[0], PROSE[1]]);
    let mut at = 2;
    let mut offset = 0;
    let mut found = None;
    for _ in 0..count {
        let name_end = at + 1 + usize::from(PROSE[at]);
        let (length, deflated) = (long(name_end), long(name_end + 4));
        if &PROSE[at + 1..name_end] == package.as_bytes() {
            found = Some((offset, length, deflated));
        }
        offset += deflated;
        at = name_end + 8;
    }
    let (offset, length, deflated) = found?;
    Some((&PROSE[at + offset..at + offset + deflated], length))
}

fn long(at: usize) -> usize {
    u32::from_le_bytes([PROSE[at], PROSE[at + 1], PROSE[at + 2], PROSE[at + 3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_types_and_fields() {
        let apps = Prose::of("io.k8s.api.apps.v1");
        assert!(
            apps.of_type("Deployment").is_some_and(|text| text.starts_with("Deployment enables declarative"))
        );
        let replicas = apps.of_field("DeploymentSpec", "replicas");
        assert!(replicas.is_some_and(|text| text.starts_with("Number of desired pods.")));
        assert_eq!(apps.of_field("DeploymentSpec", "nothing"), None);
        let kubernetes = Prose::of("io.k8s.apimachinery.pkg.api.resource");
        assert!(kubernetes.of_type("Quantity").is_some_and(|text| text.contains("\n\n")));
        assert_eq!(Prose::of("no.such.package").of_type("Pod"), None);
    }
}
