//! What the API server does with objects: authorise, admit, stamp, default, validate, store.
//!
//! Promises Kubernetes' semantics of every verb over [`crate::store`]. Knows no HTTP: the HTTP layer and the
//! controllers of this process call the same [`Registry`].

mod context;
mod error;

pub use context::{Context, FieldValidation, Warnings};
pub use error::{ApiError, Cause, Details, Reason};
