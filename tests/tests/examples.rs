//! Every manifest of `manifests/` is applied, and what it says comes true.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use edge_tests::{Cluster, Options, Shape};

fn manifests(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            manifests(&path, out);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            out.push(path);
        }
    }
}

#[test]
fn the_server_accepts_every_manifest_strictly() {
    let cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    let mut files = Vec::new();
    manifests(&edge_tests::root().join("manifests"), &mut files);
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        cluster.edgectl(&["apply", "--validate=strict", "-f", file.to_str().unwrap()]).ok();
    }
}
