//! What the API server does with objects: authorise, admit, stamp, default, validate, store.
//!
//! Promises Kubernetes' semantics of every verb over [`crate::store`]. Knows no HTTP: the HTTP layer and the
//! controllers of this process call the same [`Registry`].

mod context;
mod error;
mod object;
mod options;
mod target;
mod verbs;

pub use context::{Context, FieldValidation, Warnings};
pub use error::{ApiError, Cause, Details, Reason};
pub use object::{Object, encode};
pub use options::{DeleteOptions, ListOptions, PatchKind, Propagation, VersionMatch, WatchOptions};
pub use target::Target;
pub use verbs::{Config, Deleted, List, Patched, Registry, Watch, WatchEvent};
