//! OCI image layouts on disk: a directory with `index.json` and `blobs/`.

use std::io;
use std::path::{Path, PathBuf};

use crate::beneath::Beneath;
use crate::image::blobs::Blobs;
use crate::image::digest::Digest;
use crate::image::error::ImageError;
use crate::image::manifest::{self, Descriptor, Document};
use crate::image::reference::Select;

/// The annotation of an index's entry that holds its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The largest index or manifest that is read.
const LARGEST: u64 = 4 << 20;

/// An opened layout.
pub struct Layout {
    directory: Beneath,
    path: String,
    root: PathBuf,
}

impl Layout {
    /// Opens the layout that a Pod calls `path`, found at `rest` below `root`.
    pub fn open(path: &str, root: &Path, rest: &Path) -> Result<Layout, ImageError> {
        let fail = |source| ImageError::Path { path: path.to_owned(), root: root.to_owned(), source };
        let directory = Beneath::open(root).and_then(|root| root.directory(rest)).map_err(fail)?;
        Ok(Layout { directory, path: path.to_owned(), root: root.to_owned() })
    }

    /// The manifest that `select` names.
    pub fn manifest(&self, select: &Select) -> Result<(Digest, Vec<u8>), ImageError> {
        let index = self.read(Path::new("index.json"))?;
        let Document::Index(entries) = manifest::read(&index)? else {
            return Err(self.missing("its index.json is no index"));
        };
        let found = match select {
            Select::Digest(digest) => entries.iter().find(|entry| entry.digest == *digest),
            Select::Tag(tag) => entries.iter().find(|entry| tag_of(entry) == Some(tag)),
            Select::Only => match entries.as_slice() {
                [only] => Some(only),
                several => several.iter().find(|entry| tag_of(entry) == Some("latest")).or(several.first()),
            },
        };
        match (found, select) {
            (Some(entry), _) => Ok((entry.digest.clone(), self.pointed(entry)?)),
            // A digest may also be that of an image below one of the entries.
            (None, Select::Digest(digest)) => Ok((digest.clone(), self.verified(digest)?)),
            (None, _) => Err(self.missing(&format!("no image {select}"))),
        }
    }

    /// The manifest that a descriptor points to.
    pub fn pointed(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        self.verified(&descriptor.digest)
    }

    /// Brings a blob into the store.
    pub fn blob(&self, descriptor: &Descriptor, blobs: &Blobs) -> Result<(), ImageError> {
        let file = self.directory.file(&blob_path(&descriptor.digest)).map_err(|error| self.fail(error))?;
        let mut incoming = blobs.begin(descriptor)?;
        let mut reader = io::BufReader::with_capacity(64 << 10, file);
        loop {
            use io::BufRead as _;
            let chunk = reader.fill_buf().map_err(|error| self.fail(error))?;
            if chunk.is_empty() {
                return incoming.finish();
            }
            let length = chunk.len();
            incoming.write(chunk)?;
            reader.consume(length);
        }
    }

    fn verified(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let bytes = self.read(&blob_path(digest))?;
        let found = Digest::of(&bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(ImageError::Digest { what: "manifest", wanted: digest.clone(), found })
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, ImageError> {
        self.directory.read(path, LARGEST).map_err(|error| self.fail(error))
    }

    fn fail(&self, source: io::Error) -> ImageError {
        ImageError::Path { path: self.path.clone(), root: self.root.clone(), source }
    }

    fn missing(&self, what: &str) -> ImageError {
        ImageError::NotFound { what: what.to_owned(), place: format!("the OCI layout {:?}", self.path) }
    }
}

fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}

/// Tags are written bare by some tools and as whole references by others.
fn tag_of(entry: &Descriptor) -> Option<&str> {
    let name = entry.annotations.get(REF_NAME)?;
    Some(name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag))
}
