//! Why an image cannot be had, in the words Kubernetes' users know.

use std::io;
use std::path::PathBuf;

use http::StatusCode;

use crate::image::digest::Digest;
use crate::image::http::FetchError;
use crate::image::manifest::ManifestError;
use crate::image::reference::ReferenceError;

/// A failed attempt to get an image. `Display` is the whole message for the Pod's status.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference itself.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The policy forbids pulling, and it is not here.
    #[error("Container image {0:?} is not present with pull policy of Never")]
    NeverPull(String),
    /// There is no such image.
    #[error("{what} not found in {place}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where.
        place: String,
    },
    /// The registry wants somebody else.
    #[error(
        "pull access denied for {name} ({status}), repository does not exist or may require imagePullSecrets{detail}"
    )]
    Denied {
        /// `registry/repository`.
        name: String,
        /// What it answered.
        status: StatusCode,
        /// Its words.
        detail: String,
    },
    /// The registry refused for another reason.
    #[error("{name}: the registry answered {status}{detail}")]
    Registry {
        /// `registry/repository`.
        name: String,
        /// What it answered.
        status: StatusCode,
        /// Its words.
        detail: String,
    },
    /// The registry cannot be reached.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Content is not what its digest says.
    #[error("the {what} has digest {found}, not {wanted}")]
    Digest {
        /// Which content.
        what: &'static str,
        /// What it should be.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// Content is larger than it says or may be.
    #[error("the {what} is {size} bytes long; at most {most} are allowed")]
    Size {
        /// Which content.
        what: &'static str,
        /// Its length.
        size: u64,
        /// The limit.
        most: u64,
    },
    /// A container image's entry point is in none of its layers.
    #[error("the entry point {0:?} is in none of the image's layers")]
    NoEntryPoint(String),
    /// A path outside the directories that images may come from.
    #[error("{path:?} is not below a directory that images may come from (--image-dir {root:?})")]
    Outside {
        /// What the Pod asked for.
        path: String,
        /// Where images are.
        root: PathBuf,
    },
    /// A file or directory named by the image cannot be read.
    #[error("{path:?} cannot be read below {root:?}: {source}")]
    Path {
        /// What the Pod asked for.
        path: String,
        /// Below which directory.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no module.
    #[error("{path:?} is not WebAssembly: it begins with neither \\0asm nor a parenthesis")]
    NotWasm {
        /// Which file.
        path: String,
    },
    /// The node's own store.
    #[error("the image store cannot be written: {0}")]
    Store(#[source] io::Error),
}

impl ImageError {
    /// Kubernetes' reason for a container that waits for this.
    pub fn reason(&self) -> &'static str {
        match self {
            ImageError::Reference(_) => "InvalidImageName",
            ImageError::NeverPull(_) => "ErrImageNeverPull",
            _ => "ErrImagePull",
        }
    }
}
