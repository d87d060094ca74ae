//! Finding one file in the layers of a container image.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;

use crate::image::blobs::{Blobs, LARGEST};
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::manifest::{Compression, Descriptor};

/// What one layer says about a path.
enum Found {
    /// The file, now a blob.
    File(Digest),
    /// It was removed here; lower layers do not count.
    Removed,
    /// Nothing.
    Nothing,
}

/// Takes the file at `path` out of the layers (lowest first) into the store.
pub fn extract(
    layers: &[(Descriptor, Compression)],
    path: &str,
    blobs: &Blobs,
) -> Result<Digest, ImageError> {
    for (layer, compression) in layers.iter().rev() {
        let file = File::open(blobs.path(&layer.digest)).map_err(ImageError::Store)?;
        let found = match compression {
            Compression::None => search(file, path, blobs)?,
            Compression::Gzip => search(MultiGzDecoder::new(file), path, blobs)?,
        };
        match found {
            Found::File(digest) => return Ok(digest),
            Found::Removed => break,
            Found::Nothing => {}
        }
    }
    Err(ImageError::NoEntryPoint(path.to_owned()))
}

fn search(layer: impl Read, path: &str, blobs: &Blobs) -> Result<Found, ImageError> {
    // Bounded, since a small layer may unpack to any size.
    let mut archive = tar::Archive::new(layer.take(LARGEST));
    for entry in archive.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        if is(&name, path) && entry.header().entry_type().is_file() {
            return blobs.add(entry).map(|(digest, _)| Found::File(digest));
        }
        if whites_out(&name, path) {
            return Ok(Found::Removed);
        }
    }
    Ok(Found::Nothing)
}

fn damaged(error: io::Error) -> ImageError {
    ImageError::Manifest(crate::image::manifest::ManifestError::Malformed(format!(
        "a layer is no tar archive: {error}"
    )))
}

fn normal(path: &Path) -> Vec<&str> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect()
}

fn is(name: &Path, path: &str) -> bool {
    normal(name) == normal(Path::new(path))
}

/// A whiteout removes the path itself or a directory above it.
fn whites_out(name: &Path, path: &str) -> bool {
    let (name, path) = (normal(name), normal(Path::new(path)));
    let Some((last, parents)) = name.split_last() else { return false };
    if *last == ".wh..wh..opq" {
        return false;
    }
    let Some(removed) = last.strip_prefix(".wh.") else { return false };
    path.len() > parents.len() && path.starts_with(parents) && path[parents.len()] == removed
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;

    use super::*;

    fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *content).expect("memory");
        }
        builder.into_inner().expect("memory")
    }

    fn add(blobs: &Blobs, bytes: &[u8]) -> Descriptor {
        let (digest, size) = blobs.add(bytes).expect("added");
        Descriptor {
            media_type: String::new(),
            digest,
            size,
            platform: None,
            annotations: Default::default(),
        }
    }

    #[test]
    fn the_topmost_file_wins_and_whiteouts_hide() {
        let dir = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(dir.path().join("blobs")).expect("opened");
        let lower = add(&blobs, &layer(&[("./app.wasm", b"old"), ("bin/b.wasm", b"b")]));
        let mut gzip = GzEncoder::new(Vec::new(), Level::fast());
        gzip.write_all(&layer(&[("app.wasm", b"new"), (".wh.bin", b"")])).expect("memory");
        let upper = add(&blobs, &gzip.finish().expect("memory"));
        let layers = [(lower, Compression::None), (upper, Compression::Gzip)];
        assert_eq!(extract(&layers, "app.wasm", &blobs).expect("there"), Digest::of(b"new"));
        assert_eq!(extract(&layers[..1], "/bin/b.wasm", &blobs).expect("there"), Digest::of(b"b"));
        assert!(matches!(extract(&layers, "bin/b.wasm", &blobs), Err(ImageError::NoEntryPoint(_))));
        assert!(matches!(extract(&layers[..1], "x.wasm", &blobs), Err(ImageError::NoEntryPoint(_))));
    }
}
