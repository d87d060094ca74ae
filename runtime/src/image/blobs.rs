//! Content by digest, on disk. A file that has its final name has been checked.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::image::digest::{Digest, Hasher};
use crate::image::error::ImageError;
use crate::image::manifest::Descriptor;

/// The largest blob that is taken in.
pub const LARGEST: u64 = 1 << 30;

/// A directory of blobs.
#[derive(Debug)]
pub struct Blobs {
    directory: PathBuf,
    counter: AtomicU64,
}

/// A blob being written; dropped before [`Incoming::finish`] it leaves nothing.
pub struct Incoming<'a> {
    blobs: &'a Blobs,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
    expected: Option<(Digest, u64)>,
    done: bool,
}

impl Blobs {
    /// Opens (or makes) the directory and removes what an earlier run left half written.
    pub fn open(directory: PathBuf) -> io::Result<Blobs> {
        fs::create_dir_all(&directory)?;
        for entry in fs::read_dir(&directory)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("part-") {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Blobs { directory, counter: AtomicU64::new(0) })
    }

    /// Where the blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    /// Whether the blob is here.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Begins a blob whose digest and length are known.
    pub fn begin(&self, descriptor: &Descriptor) -> Result<Incoming<'_>, ImageError> {
        if descriptor.size > LARGEST {
            return Err(ImageError::Size { what: "layer", size: descriptor.size, most: LARGEST });
        }
        self.incoming(Some((descriptor.digest.clone(), descriptor.size)))
    }

    /// Takes in all that `reader` gives; answers its digest and length.
    pub fn add(&self, mut reader: impl Read) -> Result<(Digest, u64), ImageError> {
        let mut incoming = self.incoming(None)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => incoming.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ImageError::Store(error)),
            }
        }
        let length = incoming.length;
        Ok((incoming.keep()?, length))
    }

    /// Every blob with its length.
    pub fn list(&self) -> io::Result<Vec<(Digest, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let name = format!("sha256:{}", entry.file_name().to_string_lossy());
            if let (Some(digest), Ok(metadata)) = (Digest::parse(&name), entry.metadata()) {
                found.push((digest, metadata.len()));
            }
        }
        Ok(found)
    }

    /// Removes a blob; it need not be there.
    pub fn remove(&self, digest: &Digest) {
        let _ = fs::remove_file(self.path(digest));
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn incoming(&self, expected: Option<(Digest, u64)>) -> Result<Incoming<'_>, ImageError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("part-{number}"));
        let file = File::create(&path).map_err(ImageError::Store)?;
        Ok(Incoming { blobs: self, path, file, hasher: Hasher::default(), length: 0, expected, done: false })
    }
}

impl Incoming<'_> {
    /// Adds bytes; more than announced or allowed are refused at once.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.length += bytes.len() as u64;
        let most = self.expected.as_ref().map_or(LARGEST, |(_, size)| *size);
        if self.length > most {
            return Err(ImageError::Size { what: "layer", size: self.length, most });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(ImageError::Store)
    }

    /// Checks the whole and gives it its name.
    pub fn finish(self) -> Result<(), ImageError> {
        self.keep().map(drop)
    }

    fn keep(mut self) -> Result<Digest, ImageError> {
        let found = std::mem::take(&mut self.hasher).finish();
        if let Some((wanted, _)) = &self.expected
            && *wanted != found
        {
            return Err(ImageError::Digest { what: "layer", wanted: wanted.clone(), found });
        }
        self.file.sync_all().map_err(ImageError::Store)?;
        fs::rename(&self.path, self.blobs.path(&found)).map_err(ImageError::Store)?;
        self.done = true;
        Ok(found)
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(content: &[u8], size: u64) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest: Digest::of(content),
            size,
            platform: None,
            annotations: Default::default(),
        }
    }

    #[test]
    fn only_whole_and_true_blobs_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(dir.path().join("blobs")).expect("opened");
        let mut good = blobs.begin(&descriptor(b"abc", 3)).expect("begun");
        good.write(b"a").and_then(|()| good.write(b"bc")).expect("written");
        good.finish().expect("true");
        assert!(blobs.has(&Digest::of(b"abc")));

        let mut short = blobs.begin(&descriptor(b"abcd", 4)).expect("begun");
        short.write(b"abc").expect("written");
        assert!(matches!(short.finish(), Err(ImageError::Digest { .. })));
        let mut long = blobs.begin(&descriptor(b"ab", 2)).expect("begun");
        assert!(matches!(long.write(b"abc"), Err(ImageError::Size { .. })));
        drop(long);
        assert!(matches!(blobs.begin(&descriptor(b"", LARGEST + 1)), Err(ImageError::Size { .. })));

        assert_eq!(blobs.add(&b"xyz"[..]).expect("added"), (Digest::of(b"xyz"), 3));
        let mut names: Vec<_> = blobs.list().expect("listed").into_iter().map(|(digest, _)| digest).collect();
        names.sort();
        let mut expected = vec![Digest::of(b"abc"), Digest::of(b"xyz")];
        expected.sort();
        assert_eq!(names, expected);
        assert_eq!(fs::read_dir(blobs.directory()).expect("read").count(), 2);
    }
}
