//! Images: from what a Pod names to a module on this disk.
//!
//! [`ImageStore::find`] answers with the module's file and what the image says about running it;
//! [`ImageStore::fetch`] brings it here when the pull policy or its absence wants that. Content is kept by digest
//! and only after its digest was checked. Files and OCI layouts come only from below configured directories. It
//! compiles nothing and knows no Pods; who collects garbage says what is in use.

pub mod blobs;
pub mod credentials;
pub mod digest;
pub mod error;
mod http;
mod layout;
pub mod manifest;
mod records;
pub mod reference;
mod registry;
#[cfg(test)]
mod registry_tests;
mod tarball;

pub use credentials::Credential;
pub use digest::Digest;
pub use error::ImageError;
pub use manifest::RunConfig;
pub use reference::Reference;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::beneath::Beneath;
use crate::client::tls::TlsError;
use crate::image::blobs::Blobs;
use crate::image::http::Fetcher;
use crate::image::layout::Layout;
use crate::image::manifest::{Content, Descriptor, Document, Manifest};
use crate::image::records::{Record, Records};
use crate::image::reference::{Repository, Select};
use crate::image::registry::Source;

/// The largest image configuration that is read.
const LARGEST_CONFIG: u64 = 1 << 20;

/// What an image store needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where images are kept.
    pub directory: PathBuf,
    /// Under which relative paths are found.
    pub image_dir: PathBuf,
    /// Under which absolute paths may be, too.
    pub image_roots: Vec<PathBuf>,
    /// Registries spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Authorities of registries instead of the host's, PEM.
    pub registry_ca: Option<Vec<u8>>,
}

/// When an image is fetched although it may be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// When it is not here.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl PullPolicy {
    /// The policy as a container names it; unknown text is the default for images with a tag.
    pub fn of(text: &str) -> PullPolicy {
        match text {
            "Always" => PullPolicy::Always,
            "Never" => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        }
    }
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The module's content.
    pub digest: Digest,
    /// The module's file.
    pub path: PathBuf,
    /// For `status.imageID`: the name with the digest that was resolved.
    pub id: String,
    /// What the module is called, for `argv[0]` when nothing else says.
    pub name: String,
    /// What the image says about running it.
    pub run: RunConfig,
    /// The module's length in bytes.
    pub size: u64,
}

/// What [`ImageStore::find`] says without touching a network.
#[derive(Debug)]
pub enum Presence {
    /// It is here and may be used.
    Here(Box<Image>),
    /// It has to be fetched.
    Absent,
}

/// The images of a node.
pub struct ImageStore {
    config: Config,
    roots: Vec<PathBuf>,
    blobs: Blobs,
    records: Records,
    fetcher: Fetcher,
    /// One fetch per reference at a time.
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Rings when an image has come in.
    changes: watch::Sender<u64>,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory.
    #[error("the image directory {path} cannot be used")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The registries' authorities.
    #[error("the registries' authorities cannot be used")]
    Tls(#[from] TlsError),
}

impl ImageStore {
    /// Opens the store in its directory.
    pub fn open(config: Config) -> Result<ImageStore, OpenError> {
        let failed = |source| OpenError::Directory { path: config.directory.clone(), source };
        let blobs = Blobs::open(config.directory.join("blobs")).map_err(failed)?;
        let records = Records::open(config.directory.join("references")).map_err(failed)?;
        let fetcher = Fetcher::new(config.registry_ca.as_deref())?;
        let image_dir = std::path::absolute(&config.image_dir).map_err(failed)?;
        let roots = std::iter::once(image_dir).chain(config.image_roots.iter().cloned()).collect();
        Ok(ImageStore {
            config,
            roots,
            blobs,
            records,
            fetcher,
            fetching: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// Looks for an image here. Files and layouts are always looked at anew, since they cost no network.
    pub fn find(&self, image: &str, policy: PullPolicy) -> Result<Presence, ImageError> {
        let reference = Reference::parse(image)?;
        let known = match &reference {
            Reference::Registry(_) if policy == PullPolicy::Always => None,
            Reference::Registry(_) => self.known(&reference),
            _ => None,
        };
        match known {
            Some(found) => Ok(Presence::Here(Box::new(found))),
            None if policy == PullPolicy::Never && matches!(reference, Reference::Registry(_)) => {
                Err(ImageError::NeverPull(image.to_owned()))
            }
            None => Ok(Presence::Absent),
        }
    }

    /// Fetches an image, or waits for whoever fetches it already.
    pub async fn fetch(
        self: &Arc<Self>,
        image: &str,
        credentials: &[Credential],
    ) -> Result<Image, ImageError> {
        let reference = Reference::parse(image)?;
        let lock = self.fetching.lock().entry(image.to_owned()).or_default().clone();
        let guard = lock.lock().await;
        let result = match &reference {
            Reference::Registry(repository) => self.pull(&reference, repository, credentials).await,
            _ => {
                let store = self.clone();
                let reference = reference.clone();
                let work = move || store.read_local(&reference);
                tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                    Err(ImageError::Store(io::Error::other(format!("reading the image broke: {error}"))))
                })
            }
        };
        drop(guard);
        self.fetching.lock().retain(|_, lock| Arc::strong_count(lock) > 1);
        result
    }

    /// An image that was fetched before, by its reference, whatever the policy: for a node without its server.
    pub fn kept(&self, image: &str) -> Option<Image> {
        self.known(&Reference::parse(image).ok()?)
    }

    /// Removes what no digest in `used` needs, least recently used first, until at most `budget` bytes are left.
    /// Returns the bytes freed.
    pub fn collect(&self, used: &HashSet<Digest>, budget: u64) -> io::Result<u64> {
        let sizes: HashMap<Digest, u64> = self.blobs.list()?.into_iter().collect();
        let mut total: u64 = sizes.values().sum();
        let mut freed = 0;
        for record in self.records.oldest_first() {
            if total <= budget {
                break;
            }
            if used.contains(&record.module) {
                continue;
            }
            self.records.remove(&record.reference);
            if self.records.needs(&record.module) {
                continue;
            }
            let size = sizes.get(&record.module).copied().unwrap_or(0);
            self.blobs.remove(&record.module);
            total = total.saturating_sub(size);
            freed += size;
        }
        Ok(freed)
    }

    /// Rings when an image has come in.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Bytes of all images kept.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.blobs.list()?.iter().map(|(_, size)| size).sum())
    }

    /// The names and sizes of the images here, for the Node's status.
    pub fn list(&self) -> Vec<(String, u64)> {
        let length = |record: &Record| {
            std::fs::metadata(self.blobs.path(&record.module)).map_or(0, |found| found.len())
        };
        self.records
            .oldest_first()
            .into_iter()
            .map(|record| (record.reference.clone(), length(&record)))
            .collect()
    }

    fn known(&self, reference: &Reference) -> Option<Image> {
        let record = self.records.get(&reference.to_string())?;
        self.blobs.has(&record.module).then(|| self.image(record))
    }

    fn image(&self, record: Record) -> Image {
        let path = self.blobs.path(&record.module);
        let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Image { digest: record.module, path, id: record.id, name: record.name, run: record.run, size }
    }

    fn keep(&self, record: Record) -> Result<Image, ImageError> {
        self.records.put(&record).map_err(ImageError::Store)?;
        self.changes.send_modify(|changes| *changes += 1);
        Ok(self.image(record))
    }

    async fn pull(
        &self,
        reference: &Reference,
        repository: &Repository,
        credentials: &[Credential],
    ) -> Result<Image, ImageError> {
        let source = Source::new(&self.fetcher, repository, credentials, &self.config.insecure_registries);
        let (digest, bytes) = source.manifest().await?;
        let id = format!("{}@{digest}", repository.name());
        // Nothing new behind the name: what is here stays good.
        if let Some(record) = self.records.get(&reference.to_string())
            && record.id == id
            && self.blobs.has(&record.module)
        {
            return Ok(self.image(record));
        }
        let manifest = match manifest::read(&bytes)? {
            Document::Image(manifest) => manifest,
            Document::Index(entries) => {
                match manifest::read(&source.pointed(manifest::choose(&entries)?).await?)? {
                    Document::Image(manifest) => manifest,
                    Document::Index(_) => return Err(nested()),
                }
            }
        };
        for descriptor in wanted(&manifest)? {
            if !self.blobs.has(&descriptor.digest) {
                source.blob(descriptor, &self.blobs).await?;
            }
        }
        let name = repository.repository.rsplit('/').next().unwrap_or_default();
        self.take(&manifest, reference, id, name)
    }

    fn read_local(&self, reference: &Reference) -> Result<Image, ImageError> {
        match reference {
            Reference::File { path } => self.read_file(reference, path),
            Reference::Layout { path, select } => self.read_layout(reference, path, select),
            Reference::Registry(repository) => Err(ImageError::NeverPull(repository.name())),
        }
    }

    fn read_file(&self, reference: &Reference, path: &str) -> Result<Image, ImageError> {
        let (root, rest) = self.locate(path)?;
        let fail = |source| ImageError::Path { path: path.to_owned(), root: root.to_owned(), source };
        let mut file = Beneath::open(root).and_then(|beneath| beneath.file(&rest)).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.len() > blobs::LARGEST {
            return Err(ImageError::Size { what: "file", size: metadata.len(), most: blobs::LARGEST });
        }
        // The same file as last time needs no reading: a restart stays fast.
        let stamp = records::stamp(&metadata);
        if let Some(record) = self.records.get(&reference.to_string())
            && record.stamp == Some(stamp)
            && self.blobs.has(&record.module)
        {
            return Ok(self.image(record));
        }
        if !looks_like_wasm(&mut file).map_err(fail)? {
            return Err(ImageError::NotWasm { path: path.to_owned() });
        }
        let (module, _) = self.blobs.add(file)?;
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path).to_owned();
        self.keep(Record {
            reference: reference.to_string(),
            id: format!("{reference}@{module}"),
            module,
            name,
            run: RunConfig::default(),
            stamp: Some(stamp),
        })
    }

    fn read_layout(&self, reference: &Reference, path: &str, select: &Select) -> Result<Image, ImageError> {
        let (root, rest) = self.locate(path)?;
        let layout = Layout::open(path, root, &rest)?;
        let (digest, bytes) = layout.manifest(select)?;
        let id = format!("oci-layout:{path}@{digest}");
        if let Some(record) = self.records.get(&reference.to_string())
            && record.id == id
            && self.blobs.has(&record.module)
        {
            return Ok(self.image(record));
        }
        let manifest = match manifest::read(&bytes)? {
            Document::Image(manifest) => manifest,
            Document::Index(entries) => {
                match manifest::read(&layout.pointed(manifest::choose(&entries)?)?)? {
                    Document::Image(manifest) => manifest,
                    Document::Index(_) => return Err(nested()),
                }
            }
        };
        for descriptor in wanted(&manifest)? {
            if !self.blobs.has(&descriptor.digest) {
                layout.blob(descriptor, &self.blobs)?;
            }
        }
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
        self.take(&manifest, reference, id, name)
    }

    fn locate(&self, path: &str) -> Result<(&Path, PathBuf), ImageError> {
        crate::beneath::locate(&self.roots, Path::new(path))
            .ok_or_else(|| ImageError::Outside { path: path.to_owned(), root: self.roots[0].clone() })
    }

    /// Makes an image of a manifest whose blobs are all here, and drops the blobs that only led to the module.
    fn take(
        &self,
        manifest: &Manifest,
        reference: &Reference,
        id: String,
        name: &str,
    ) -> Result<Image, ImageError> {
        let run = self.run_config(&manifest.config);
        let (module, run, name) = match manifest.content()? {
            Content::Module(layer) => (layer.digest, run, name.to_owned()),
            Content::Container(layers) => {
                let path = run.module_path()?;
                let module = tarball::extract(&layers, &path, &self.blobs)?;
                let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
                (module, run, name)
            }
        };
        let image =
            self.keep(Record { reference: reference.to_string(), id, module, name, run, stamp: None })?;
        for descriptor in wanted(manifest)? {
            if descriptor.digest != image.digest && !self.records.needs(&descriptor.digest) {
                self.blobs.remove(&descriptor.digest);
            }
        }
        Ok(image)
    }

    fn run_config(&self, descriptor: &Descriptor) -> RunConfig {
        if descriptor.size > LARGEST_CONFIG {
            return RunConfig::default();
        }
        std::fs::read(self.blobs.path(&descriptor.digest))
            .map(|bytes| RunConfig::read(&bytes))
            .unwrap_or_default()
    }
}

fn nested() -> ImageError {
    ImageError::Manifest(manifest::ManifestError::Malformed("an index points to another index".to_owned()))
}

/// The blobs that running needs: the configuration, and the module or the layers.
fn wanted(manifest: &Manifest) -> Result<Vec<&Descriptor>, ImageError> {
    let config = Some(&manifest.config).filter(|config| config.size <= LARGEST_CONFIG);
    let layers: Vec<&Descriptor> = match manifest.content()? {
        Content::Module(module) => {
            manifest.layers.iter().filter(|layer| layer.digest == module.digest).collect()
        }
        Content::Container(_) => manifest.layers.iter().collect(),
    };
    Ok(config.into_iter().chain(layers).collect())
}

/// Binary WebAssembly, or text that could be: what else it might be is not worth storing.
fn looks_like_wasm(file: &mut std::fs::File) -> io::Result<bool> {
    use std::io::{Read as _, Seek as _};
    let mut head = [0; 512];
    let count = file.read(&mut head)?;
    file.rewind()?;
    let head = &head[..count];
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(head.starts_with(b"\0asm") || matches!(first, Some(b'(' | b';')))
}

#[cfg(test)]
mod tests;
