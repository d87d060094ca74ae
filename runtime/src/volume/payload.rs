//! Which files a volume of data has: pure, from the Pod, its objects and its tokens.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use edge_api::kinds::pod::{DownwardApiVolumeFile, KeyToPath, ServiceAccountTokenProjection, Volume};

use crate::volume::facts::{FactError, Facts};
use crate::volume::objects::{Lookup, Objects, Source};

/// The mode of files that name none.
const DEFAULT_MODE: u32 = 0o644;

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} bytes, {:o})", self.bytes.len(), self.mode)
    }
}

/// Files by their path in the volume.
pub type Payload = BTreeMap<String, File>;

/// Finds the token that a projection asks for.
pub type Tokens<'a> = dyn Fn(&ServiceAccountTokenProjection) -> Option<String> + Send + Sync + 'a;

/// Why the files are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// An object has not arrived yet.
    #[error("waiting for {} {name:?}", object.noun())]
    Waiting {
        /// Its kind.
        object: Source,
        /// Its name.
        name: String,
    },
    /// A token has not arrived yet.
    #[error("waiting for a token of the service account")]
    Token,
    /// An object does not exist.
    #[error("{} {name:?} not found", object.noun())]
    Absent {
        /// Its kind.
        object: Source,
        /// Its name.
        name: String,
    },
    /// An object lacks a key.
    #[error("{} {name:?} references non-existent key: {key}", object.noun())]
    Key {
        /// Its kind.
        object: Source,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A path that would leave the volume.
    #[error("invalid path {0:?}: must be relative and must not contain '..'")]
    Path(String),
    /// A field of the Pod.
    #[error(transparent)]
    Fact(#[from] FactError),
}

impl PayloadError {
    /// Whether it may pass by waiting without anybody's doing.
    pub fn is_waiting(&self) -> bool {
        matches!(self, PayloadError::Waiting { .. } | PayloadError::Token)
    }
}

/// The files of a volume of data; `None` if it is of another kind.
pub fn build(
    volume: &Volume,
    facts: &Facts<'_>,
    objects: &Objects<'_>,
    tokens: &Tokens<'_>,
) -> Result<Option<Payload>, PayloadError> {
    let mut files = Payload::new();
    if let Some(source) = &volume.config_map {
        let from =
            From { source: Source::ConfigMap, name: &source.name, optional: source.optional == Some(true) };
        from.add(&source.items, mode(source.default_mode), objects, &mut files)?;
    } else if let Some(source) = &volume.secret {
        let from = From {
            source: Source::Secret,
            name: &source.secret_name,
            optional: source.optional == Some(true),
        };
        from.add(&source.items, mode(source.default_mode), objects, &mut files)?;
    } else if let Some(source) = &volume.downward_api {
        add_fields(&source.items, mode(source.default_mode), facts, &mut files)?;
    } else if let Some(source) = &volume.projected {
        let default = mode(source.default_mode);
        for part in &source.sources {
            for (kind, object) in [(Source::ConfigMap, &part.config_map), (Source::Secret, &part.secret)] {
                if let Some(object) = object {
                    let from =
                        From { source: kind, name: &object.name, optional: object.optional == Some(true) };
                    from.add(&object.items, default, objects, &mut files)?;
                }
            }
            if let Some(part) = &part.downward_api {
                add_fields(&part.items, default, facts, &mut files)?;
            }
            if let Some(part) = &part.service_account_token {
                let token = tokens(part).ok_or(PayloadError::Token)?;
                // Nobody but the Pod is to read its token, whatever the volume's mode says to others.
                files.insert(checked(&part.path)?, File { bytes: token.into_bytes(), mode: default & 0o770 });
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

/// The objects that a volume names.
pub fn names(volume: &Volume) -> Vec<(Source, &str)> {
    let mut found = Vec::new();
    if let Some(source) = &volume.config_map {
        found.push((Source::ConfigMap, source.name.as_str()));
    }
    if let Some(source) = &volume.secret {
        found.push((Source::Secret, source.secret_name.as_str()));
    }
    for part in volume.projected.iter().flat_map(|projected| &projected.sources) {
        found.extend(part.config_map.iter().map(|object| (Source::ConfigMap, object.name.as_str())));
        found.extend(part.secret.iter().map(|object| (Source::Secret, object.name.as_str())));
    }
    found
}

/// The tokens that a volume asks for.
pub fn tokens(volume: &Volume) -> impl Iterator<Item = &ServiceAccountTokenProjection> {
    volume
        .projected
        .iter()
        .flat_map(|projected| &projected.sources)
        .filter_map(|part| part.service_account_token.as_ref())
}

struct From<'a> {
    source: Source,
    name: &'a str,
    optional: bool,
}

impl From<'_> {
    fn add(
        &self,
        items: &[KeyToPath],
        default: u32,
        objects: &Objects<'_>,
        files: &mut Payload,
    ) -> Result<(), PayloadError> {
        let (source, name) = (self.source, self.name.to_owned());
        let entries = match objects(source, &name) {
            Lookup::Present(entries) => entries,
            Lookup::Absent if self.optional => return Ok(()),
            Lookup::Absent => return Err(PayloadError::Absent { object: source, name }),
            Lookup::Unknown => return Err(PayloadError::Waiting { object: source, name }),
        };
        if items.is_empty() {
            let all = entries
                .iter()
                .map(|(key, bytes)| (key.clone(), File { bytes: bytes.clone(), mode: default }));
            files.extend(all);
            return Ok(());
        }
        for item in items {
            match entries.get(&item.key) {
                Some(bytes) => {
                    let mode = item.mode.map_or(default, |bits| mode(Some(bits)));
                    files.insert(checked(&item.path)?, File { bytes: bytes.clone(), mode });
                }
                None if self.optional => {}
                None => return Err(PayloadError::Key { object: source, name, key: item.key.clone() }),
            }
        }
        Ok(())
    }
}

fn add_fields(
    items: &[DownwardApiVolumeFile],
    default: u32,
    facts: &Facts<'_>,
    files: &mut Payload,
) -> Result<(), PayloadError> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => facts.field(&field.field_path)?,
            (None, Some(resource)) => facts.resource(resource, None)?,
            (None, None) => String::new(),
        };
        let mode = item.mode.map_or(default, |bits| mode(Some(bits)));
        files.insert(checked(&item.path)?, File { bytes: text.into_bytes(), mode });
    }
    Ok(())
}

fn mode(bits: Option<i32>) -> u32 {
    bits.and_then(|bits| u32::try_from(bits).ok()).map_or(DEFAULT_MODE, |bits| bits & 0o777)
}

/// A path that stays in the volume; names that begin with two dots are the writer's own.
pub fn checked(path: &str) -> Result<String, PayloadError> {
    let fine = !path.is_empty()
        && !path.starts_with("..")
        && !path.contains('\0')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if fine { Ok(path.to_owned()) } else { Err(PayloadError::Path(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edge_api::kinds::pod::{Pod, Resources};
    use serde_json::{Value, json};

    use super::*;

    fn read(volume: Value) -> Result<Vec<(String, String, u32)>, PayloadError> {
        let volume: Volume = serde_json::from_value(volume).expect("a volume");
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"a": "b"}}})).expect("a Pod");
        let allocatable = Resources::new();
        let facts = Facts { pod: &pod, ip: None, host_ip: [1, 2, 3, 4].into(), allocatable: &allocatable };
        let objects = |source: Source, name: &str| match (source, name) {
            (_, "late") => Lookup::Unknown,
            (Source::ConfigMap, "cm") => Lookup::Present(Arc::new(
                [("k".to_owned(), b"v".to_vec()), ("l".to_owned(), b"w".to_vec())].into(),
            )),
            (Source::Secret, "s") => Lookup::Present(Arc::new([("p".to_owned(), b"secret".to_vec())].into())),
            _ => Lookup::Absent,
        };
        let tokens =
            |part: &ServiceAccountTokenProjection| (part.audience != "late").then(|| "token".to_owned());
        let files = build(&volume, &facts, &objects, &tokens)?.unwrap_or_default();
        let text = |file: File| String::from_utf8(file.bytes).expect("text");
        Ok(files.into_iter().map(|(path, file)| (path, text(file.clone()), file.mode)).collect())
    }

    fn file(path: &str, text: &str, mode: u32) -> (String, String, u32) {
        (path.to_owned(), text.to_owned(), mode)
    }

    #[test]
    fn config_maps_and_secrets() {
        assert_eq!(
            read(json!({"configMap": {"name": "cm"}})),
            Ok(vec![file("k", "v", 0o644), file("l", "w", 0o644)])
        );
        let items = json!([{"key": "k", "path": "a/b", "mode": 256}]);
        assert_eq!(
            read(json!({"configMap": {"name": "cm", "items": items}})),
            Ok(vec![file("a/b", "v", 0o400)])
        );
        assert_eq!(
            read(json!({"secret": {"secretName": "s", "defaultMode": 384}})),
            Ok(vec![file("p", "secret", 0o600)])
        );
        assert_eq!(read(json!({"emptyDir": {}})), Ok(vec![]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |volume| read(volume).expect_err("incomplete").to_string();
        assert_eq!(error(json!({"configMap": {"name": "x"}})), "configmap \"x\" not found");
        assert_eq!(error(json!({"secret": {"secretName": "x"}})), "secret \"x\" not found");
        let items = json!([{"key": "none", "path": "a"}]);
        let missing = error(json!({"configMap": {"name": "cm", "items": items}}));
        assert_eq!(missing, "configmap \"cm\" references non-existent key: none");
        assert!(read(json!({"configMap": {"name": "late"}})).expect_err("late").is_waiting());
        assert_eq!(read(json!({"configMap": {"name": "x", "optional": true}})), Ok(vec![]));
        assert_eq!(read(json!({"configMap": {"name": "cm", "optional": true, "items": items}})), Ok(vec![]));
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["../x", "/x", "a/../../x", "..data", "", "a\0b"] {
            let items = json!([{"key": "k", "path": path}]);
            let error = read(json!({"configMap": {"name": "cm", "items": items}})).expect_err(path);
            assert_eq!(error, PayloadError::Path(path.to_owned()));
        }
    }

    #[test]
    fn projected_and_downward() {
        let sources = json!([
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "cm", "items": [{"key": "k", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        ]);
        assert_eq!(
            read(json!({"projected": {"sources": sources, "defaultMode": 420}})),
            Ok(vec![
                file("ca.crt", "v", 0o644),
                file("namespace", "p", 0o644),
                file("token", "token", 0o640)
            ])
        );
        let late = json!([{"serviceAccountToken": {"path": "token", "audience": "late"}}]);
        assert_eq!(read(json!({"projected": {"sources": late}})), Err(PayloadError::Token));
        let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
        assert_eq!(
            read(json!({"downwardAPI": {"items": items}})),
            Ok(vec![file("labels", "a=\"b\"", 0o644)])
        );
    }
}
