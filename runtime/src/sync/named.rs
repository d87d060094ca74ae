//! Single ConfigMaps and Secrets, followed for as long as a Pod of this node names them.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use edge_api::uri::encode_component;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Client, Resource};
use crate::sync::watcher::{Event, Target, Watcher};
use crate::volume::objects::{Lookup, Source, config_map_entries, secret_entries};

type Name = (Source, String, String);

/// All objects that are followed.
pub struct Named {
    client: Client,
    directory: PathBuf,
    followed: Mutex<HashMap<Name, Weak<Follow>>>,
}

/// One followed object.
struct Follow {
    name: Name,
    lookup: watch::Sender<Lookup>,
    bells: Mutex<Vec<Weak<Notify>>>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// Keeps an object followed; dropping the last hold ends it.
#[derive(Clone)]
pub struct Hold(Arc<Follow>);

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (source, namespace, name) = &self.0.name;
        write!(f, "Hold({} {namespace}/{name})", source.noun())
    }
}

impl Hold {
    /// Which of the two, and its name.
    pub fn is(&self, source: Source, name: &str) -> bool {
        self.0.name.0 == source && self.0.name.2 == name
    }

    /// What is known now.
    pub fn lookup(&self) -> Lookup {
        self.0.lookup.borrow().clone()
    }
}

impl Named {
    /// Opens the directory of copies, closed to other users.
    pub fn open(client: Client, directory: PathBuf) -> std::io::Result<Named> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Named { client, directory, followed: Mutex::default() })
    }

    /// Follows an object and rings the bell whenever it changes. Until the server answers, the last good copy is
    /// what is known.
    pub fn hold(&self, source: Source, namespace: &str, name: &str, bell: &Arc<Notify>) -> Hold {
        let key = (source, namespace.to_owned(), name.to_owned());
        let mut followed = self.followed.lock();
        if let Some(follow) = followed.get(&key).and_then(Weak::upgrade) {
            let mut bells = follow.bells.lock();
            bells.retain(|bell| bell.strong_count() > 0);
            bells.push(Arc::downgrade(bell));
            drop(bells);
            return Hold(follow);
        }
        followed.retain(|_, follow| follow.strong_count() > 0);
        let path = self.directory.join(format!("{}_{namespace}_{name}.json", source.noun()));
        let kept = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let lookup = kept.as_ref().map_or(Lookup::Unknown, |object| present(source, object.clone()));
        let follow = Arc::new(Follow {
            name: key.clone(),
            lookup: watch::Sender::new(lookup),
            bells: Mutex::new(vec![Arc::downgrade(bell)]),
            task: Mutex::default(),
        });
        let task = run(Arc::downgrade(&follow), self.client.clone(), path, kept);
        *follow.task.lock() = Some(AbortOnDropHandle::new(tokio::spawn(task)));
        followed.insert(key, Arc::downgrade(&follow));
        Hold(follow)
    }
}

impl Follow {
    fn show(&self, lookup: Lookup) {
        if *self.lookup.borrow() == lookup {
            return;
        }
        self.lookup.send_replace(lookup);
        for bell in self.bells.lock().iter().filter_map(Weak::upgrade) {
            bell.notify_one();
        }
    }
}

async fn run(follow: Weak<Follow>, client: Client, path: PathBuf, kept: Option<Value>) {
    let Some((source, namespace, name)) = follow.upgrade().map(|follow| follow.name.clone()) else { return };
    let resource = match source {
        Source::ConfigMap => Resource::CONFIG_MAPS,
        Source::Secret => Resource::SECRETS,
    };
    let target = Target {
        path: resource.within(&namespace),
        query: format!("fieldSelector={}", encode_component(&format!("metadata.name={name}"))),
    };
    let mut watcher = Watcher::new(client, target);
    let mut written = kept;
    let mut found = None;
    loop {
        let event = watcher.next().await;
        let Some(follow) = follow.upgrade() else { return };
        match event {
            Event::Init => {
                found = None;
                continue;
            }
            Event::InitApply(object) => {
                found = Some(object);
                continue;
            }
            Event::InitDone => {}
            Event::Apply(object) => found = Some(object),
            Event::Delete(_) => found = None,
        }
        if written != found {
            keep(&path, found.as_ref());
            written.clone_from(&found);
        }
        follow.show(found.clone().map_or(Lookup::Absent, |object| present(source, object)));
    }
}

fn present(source: Source, object: Value) -> Lookup {
    let entries = match source {
        Source::ConfigMap => serde_json::from_value(object).map(|object| config_map_entries(&object)),
        Source::Secret => serde_json::from_value(object).map(|object| secret_entries(&object)),
    };
    entries.map_or(Lookup::Absent, |entries| Lookup::Present(Arc::new(entries)))
}

fn keep(path: &std::path::Path, object: Option<&Value>) {
    let Some(object) = object else {
        let _ = fs::remove_file(path);
        return;
    };
    let part = path.with_extension("part");
    let written = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(object.to_string().as_bytes()))
        .and_then(|()| fs::rename(&part, path));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "the node's copy of an object cannot be kept");
    }
}
