//! `--manifests DIR`: what lies there is applied at start and whenever the directory changes.
//!
//! For devices that are flashed with their workload. An object is created, or merged into the one
//! that exists; removing a file removes nothing. A manifest that cannot be applied is logged, with
//! its file, and holds up no other.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use edge_api::kind::Scope;
use edge_runtime::client::backoff::Backoff;
use edge_runtime::client::{Client, Connector, Credentials, Patch};
use rustix::fs::inotify;
use serde_json::Value;
use tokio::net::unix::pipe::Receiver;

/// Editors and copies touch a file several times; the directory is read once they are done.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a kind may take to be served after its definition was applied.
const ESTABLISHING: Duration = Duration::from_secs(10);

/// Keeps a directory applied.
pub struct Applier {
    folder: PathBuf,
    client: Client,
}

impl Applier {
    /// An applier of `folder` that speaks through `connector`.
    pub fn new(folder: PathBuf, connector: Connector) -> Applier {
        Applier { folder, client: Client::new(connector, Credentials::Stream, "edged-manifests") }
    }

    /// Applies, then waits for changes and applies again, until dropped.
    ///
    /// # Errors
    /// When the directory cannot be watched.
    pub async fn run(self) -> Result<()> {
        let changes = Changes::of(&self.folder)?;
        loop {
            self.apply_all().await;
            changes.next().await?;
            tokio::time::sleep(SETTLE).await;
            changes.forget();
        }
    }

    async fn apply_all(&self) {
        let files = match files(&self.folder) {
            Ok(files) => files,
            Err(error) => {
                return tracing::error!(folder = %self.folder.display(), %error, "cannot read manifests");
            }
        };
        for file in files {
            if let Err(error) = self.apply_file(&file).await {
                tracing::error!(file = %file.display(), error = format!("{error:#}"), "cannot apply manifest");
            }
        }
    }

    async fn apply_file(&self, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file)?;
        let options = serde_saphyr::options! { legacy_octal_numbers: true, strict_booleans: false };
        let objects: Vec<Value> = serde_saphyr::from_multiple_with_options(&text, options)?;
        for object in objects.into_iter().filter(|object| !object.is_null()) {
            self.apply(object).await?;
        }
        Ok(())
    }

    async fn apply(&self, mut object: Value) -> Result<()> {
        let (version, kind) = (text(&object, "apiVersion").to_owned(), text(&object, "kind").to_owned());
        let found = self.resource(&version, &kind).await?;
        let name = text(&object["metadata"], "name").to_owned();
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let collection = if found.namespaced {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
            object["metadata"]["namespace"] = namespace.as_str().into();
            format!("{root}/namespaces/{namespace}/{}", found.plural)
        } else {
            format!("{root}/{}", found.plural)
        };
        match self.client.create(&collection, &object).await {
            Err(error) if error.is_conflict() => {
                let path = format!("{collection}/{name}");
                self.client
                    .patch(&path, found.patch, &object)
                    .await
                    .with_context(|| format!("{kind} {name}"))?;
            }
            created => drop(created.with_context(|| format!("{kind} {name}"))?),
        }
        Ok(())
    }

    /// The resource of a kind: a built-in one, or one that a definition defines, which may have been applied a moment
    /// ago.
    async fn resource(&self, version: &str, kind: &str) -> Result<Resource> {
        if let Some(found) = edge_api::kinds::by_kind(version, kind) {
            let (plural, namespaced) = (found.plural.to_owned(), found.scope == Scope::Namespaced);
            return Ok(Resource { plural, namespaced, patch: Patch::Strategic });
        }
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let asking = async {
            loop {
                if let Ok(found) = self.client.get(&format!("/apis/{version}")).await
                    && let Some(found) = custom_resource(&found, kind)
                {
                    return found;
                }
                backoff.wait().await;
            }
        };
        let asked = tokio::time::timeout(ESTABLISHING, asking).await;
        asked.map_err(|_| anyhow!("no kind {kind:?} in version {version:?}"))
    }
}

/// Where objects of a kind are, and how they are merged.
struct Resource {
    plural: String,
    namespaced: bool,
    patch: Patch,
}

/// The resource of a kind in what discovery says of a version.
fn custom_resource(list: &Value, kind: &str) -> Option<Resource> {
    let resources = list["resources"].as_array()?;
    let found = resources.iter().find(|one| one["kind"] == kind && !text(one, "name").contains('/'))?;
    let (plural, namespaced) = (text(found, "name").to_owned(), found["namespaced"] == true);
    Some(Resource { plural, namespaced, patch: Patch::Merge })
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let is_manifest = |path: &PathBuf| {
        path.extension().and_then(OsStr::to_str).is_some_and(|end| ["yaml", "yml", "json"].contains(&end))
    };
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_manifest).collect();
    files.sort();
    Ok(files)
}

/// The kernel's word that a directory changed.
struct Changes(Receiver);

impl Changes {
    fn of(folder: &Path) -> Result<Changes> {
        let watched = || -> Result<Changes> {
            let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let changes = inotify::WatchFlags::CLOSE_WRITE
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::ONLYDIR;
            inotify::add_watch(&fd, folder, changes)?;
            // An inotify descriptor is read like the reading end of a pipe.
            Ok(Changes(Receiver::from_owned_fd_unchecked(fd)?))
        };
        watched().with_context(|| format!("cannot watch --manifests {}", folder.display()))
    }

    async fn next(&self) -> Result<()> {
        self.0.readable().await.context("cannot watch manifests")?;
        self.forget();
        Ok(())
    }

    /// Takes what the kernel has said so far.
    fn forget(&self) {
        let mut buffer = [0; 4096];
        while self.0.try_read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}
