//! The patches of the Kubernetes API as pure functions over JSON.
//!
//! JSON patch (RFC 6902), JSON merge patch (RFC 7386) and strategic merge patch, which reads
//! merge keys and strategies from [`crate::schema`]. Server-side apply is [`apply`]. Each either succeeds or leaves the object
//! as it was. What may be patched by whom, and whether the result is valid, is decided elsewhere.

pub mod apply;
mod atomic;
mod field_set;
mod granular;
mod json;
mod strategic;

#[cfg(test)]
mod tests;

pub use atomic::atomics;
pub use json::{json, merge};
pub use strategic::strategic;

/// Why a patch cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The document is no patch of its type.
    #[error("the patch is malformed: {0}")]
    Malformed(String),
    /// More operations than the API server accepts.
    #[error("the allowed maximum operations in a JSON patch is {most}, got {got}")]
    TooManyOperations {
        /// The limit.
        most: usize,
        /// What the patch has.
        got: usize,
    },
    /// The `copy` operations together would grow the object beyond bounds.
    #[error("the copy operations of the patch exceed {0} bytes")]
    TooLarge(usize),
    /// The object would become deeper than the JSON reader accepts.
    #[error("the patch would nest the object more than {0} levels deep")]
    TooDeep(usize),
    /// A `test` operation found another value.
    #[error("testing value {path} failed")]
    TestFailed {
        /// The JSON pointer of the operation.
        path: String,
    },
    /// An operation names a place the object does not have.
    #[error("operation {index} ({operation}) does not apply: {path}: {reason}")]
    Inapplicable {
        /// Which operation, counted from 0.
        index: usize,
        /// Its `op`.
        operation: &'static str,
        /// Its JSON pointer.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A strategic merge patch that contradicts the schema or itself.
    #[error("{path}: {reason}", path = if path.is_empty() { "the object" } else { path.as_str() })]
    Strategic {
        /// The field, e.g. `spec.template.spec.containers`.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl PatchError {
    /// Whether the patch was understood but does not fit this object (422 rather than 400).
    pub fn unprocessable(&self) -> bool {
        matches!(self, PatchError::TestFailed { .. } | PatchError::Inapplicable { .. })
    }
}
