//! Module rings: the top-level modules of a crate form a tree, each using others in one direction only.
//!
//! Reads the sources' text: comments and unit tests at the end of a file do not count, nor do test folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::run::root;

/// The crates that are looked at.
const CRATES: [&str; 8] = ["api", "controller", "runtime", "edged", "edgectl", "tests", "benches", "xtask"];

type Uses = BTreeMap<String, BTreeSet<String>>;

/// Looks through every crate.
///
/// # Errors
/// When modules use each other in a ring; the message names them.
pub fn check() -> Result<()> {
    let mut found = Vec::new();
    for name in CRATES {
        let mut uses = Uses::new();
        let source = root().join(name).join("src");
        collect(&source, &source, &mut uses).with_context(|| format!("cannot read {}", source.display()))?;
        let ring = ring(&uses);
        if !ring.is_empty() {
            found.push(format!("{name}: {}", ring.join(", ")));
        }
    }
    if !found.is_empty() {
        bail!("modules use each other in a ring: {}", found.join("; "));
    }
    Ok(())
}

fn collect(source: &Path, folder: &Path, uses: &mut Uses) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("tests") {
            collect(source, &path, uses)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = path.strip_prefix(source)?.components().next().context("a file has a name")?;
            let module = module.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            if !matches!(module.as_str(), "lib" | "main" | "tests") {
                let used = used(&std::fs::read_to_string(&path)?);
                let all = uses.entry(module.clone()).or_default();
                all.extend(used.into_iter().filter(|other| *other != module));
            }
        }
    }
    Ok(())
}

/// The top-level modules that a text names: `crate::one`, `crate::{one, two::Three}`.
fn used(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut used = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(group) => used.extend(members(group)),
            None => used.extend(name(part)),
        }
    }
    used
}

/// The first names of the members of a group, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut member, mut members) = (1, String::new(), Vec::new());
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && letter == ',') {
            members.extend(name(member.trim_start()));
            member.clear();
        } else {
            member.push(letter);
        }
        if depth == 0 {
            break;
        }
    }
    members
}

fn name(text: &str) -> Option<String> {
    let name: String =
        text.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect();
    Some(name).filter(|name| !name.is_empty())
}

/// The modules that reach themselves.
fn ring(uses: &Uses) -> Vec<&str> {
    uses.keys().filter(|module| reaches(uses, module)).map(String::as_str).collect()
}

fn reaches(uses: &Uses, from: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for next in uses.get(module).into_iter().flatten() {
            if next == from {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Uses, ring, used};

    #[test]
    fn uses_are_read_from_every_form() {
        let text = "use crate::{one::{Deep, two}, three};\nfn f() { crate::four::g() } // crate::five\n\
                    pub(crate) struct S;\n#[cfg(test)]\nuse crate::six;";
        let found: Vec<String> = used(text).into_iter().collect();
        assert_eq!(found, ["four", "one", "three"]);
    }

    #[test]
    fn a_ring_is_found_and_a_tree_is_none() {
        let of = |pairs: &[(&str, &str)]| {
            let mut uses = Uses::new();
            for (from, to) in pairs {
                uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            }
            uses
        };
        assert!(ring(&of(&[("c", "a"), ("c", "b"), ("b", "a")])).is_empty());
        assert_eq!(ring(&of(&[("d", "a"), ("a", "b"), ("b", "c"), ("c", "a")])), ["a", "b", "c"]);
    }
}
