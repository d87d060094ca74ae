//! Why a request failed, in Kubernetes' vocabulary and wording.

use edge_api::error::FieldError;
use edge_api::kind::Kind;

use crate::store::{ReadError, Revision, WriteError};

/// The machine-readable reason of a failed request; it decides the status code, which only the HTTP layer knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The body, a parameter or a selector cannot be understood.
    BadRequest,
    /// No or no valid credential.
    Unauthorized,
    /// The user may not do this, or admission refuses it.
    Forbidden,
    /// The object, kind or path does not exist.
    NotFound,
    /// An object of that name exists.
    AlreadyExists,
    /// A precondition does not hold.
    Conflict,
    /// The revision asked for has been compacted away.
    Expired,
    /// The object violates the rules of its kind.
    Invalid,
    /// The kind does not offer this verb.
    MethodNotAllowed,
    /// No offered form of the answer is acceptable.
    NotAcceptable,
    /// The form of the body is not known.
    UnsupportedMediaType,
    /// The body or the object is too large.
    RequestEntityTooLarge,
    /// The caller is to slow down, or a disruption budget forbids it now.
    TooManyRequests,
    /// The answer could not be given in time.
    Timeout,
    /// Something this needs is not ready.
    ServiceUnavailable,
    /// A fault of the server.
    InternalError,
    /// What somebody else said, such as a webhook: its code, and its name for the reason, which may be empty.
    Foreign {
        /// The code.
        code: u16,
        /// The name.
        name: std::sync::Arc<str>,
    },
}

/// One of several causes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The wire name, such as `FieldValueRequired`.
    pub reason: String,
    /// The text for people.
    pub message: String,
    /// The path of the field, such as `spec.containers[0].name`; may be empty.
    pub field: String,
}

/// What a failure is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The name of the object.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its plural resource name, or its kind where the reason is `Invalid`.
    pub kind: String,
    /// Its uid.
    pub uid: String,
    /// The causes.
    pub causes: Vec<Cause>,
    /// After how many seconds to try again.
    pub retry_after_seconds: Option<u32>,
    /// With which token the rest of an expired list can be had all the same; it is in the metadata.
    pub continue_token: String,
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The class of failure.
    pub reason: Reason,
    /// The text that the caller sees.
    pub message: String,
    /// What it is about, where known.
    pub details: Option<Box<Details>>,
}

impl ApiError {
    /// A failure without details.
    pub fn new(reason: Reason, message: impl Into<String>) -> ApiError {
        ApiError { reason, message: message.into(), details: None }
    }

    /// A request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(Reason::BadRequest, message)
    }

    /// A fault of the server; `message` reaches the caller.
    pub fn internal(message: impl std::fmt::Display) -> ApiError {
        ApiError::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// The same failure with details.
    pub fn with_details(mut self, details: Details) -> ApiError {
        self.details = Some(Box::new(details));
        self
    }

    /// There is no such object.
    pub fn not_found(kind: &Kind, name: &str) -> ApiError {
        let message = format!("{} {name:?} not found", kind.resource());
        ApiError::new(Reason::NotFound, message).about(kind, name)
    }

    /// The options of a request are wrong or do not fit together; `kind` is theirs, such as `PatchOptions`.
    pub fn options(kind: &str, error: FieldError) -> ApiError {
        let errors = [error];
        let message = edge_api::error::invalid(&format!("{kind}.meta.k8s.io"), "", &errors);
        ApiError::new(Reason::Invalid, message).with_details(Details {
            group: "meta.k8s.io".to_owned(),
            kind: kind.to_owned(),
            causes: causes(&errors),
            ..Details::default()
        })
    }

    /// There is such an object already.
    pub fn already_exists(kind: &Kind, name: &str) -> ApiError {
        let message = format!("{} {name:?} already exists", kind.resource());
        ApiError::new(Reason::AlreadyExists, message).about(kind, name)
    }

    /// A precondition does not hold, because of `why`.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> ApiError {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource());
        ApiError::new(Reason::Conflict, message).about(kind, name)
    }

    /// Somebody else wrote first.
    pub fn modified(kind: &Kind, name: &str) -> ApiError {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        ApiError::conflict(kind, name, why)
    }

    /// Not allowed, because of `why`; an empty name speaks of the collection.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> ApiError {
        let resource = kind.resource();
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {name:?} is forbidden: {why}")
        };
        ApiError::new(Reason::Forbidden, message).about(kind, name)
    }

    /// The object breaks rules of its kind.
    pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> ApiError {
        ApiError::new(Reason::Invalid, kind.invalid(name, errors)).with_details(Details {
            name: name.to_owned(),
            group: kind.group.to_owned(),
            kind: kind.kind.to_owned(),
            causes: causes(errors),
            ..Details::default()
        })
    }

    /// The kind or subresource does not know the verb.
    pub fn not_supported(kind: &Kind, verb: &str) -> ApiError {
        let message = format!("{verb} is not supported on resources of kind \"{}\"", kind.resource());
        ApiError::new(Reason::MethodNotAllowed, message).about(kind, "")
    }

    /// The revision has not been reached.
    pub fn too_large_version(asked: Revision, head: Revision) -> ApiError {
        let message = format!("Too large resource version: {asked}, current: {head}");
        ApiError::new(Reason::Timeout, format!("Timeout: {message}")).with_details(Details {
            causes: vec![Cause {
                reason: "ResourceVersionTooLarge".to_owned(),
                message: "Too large resource version".to_owned(),
                field: String::new(),
            }],
            retry_after_seconds: Some(1),
            ..Details::default()
        })
    }

    fn about(self, kind: &Kind, name: &str) -> ApiError {
        self.with_details(Details {
            name: name.to_owned(),
            group: kind.group.to_owned(),
            kind: kind.plural.to_owned(),
            ..Details::default()
        })
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    /// Whether the object exists already.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }

    /// Whether a precondition did not hold.
    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }
}

fn causes(errors: &[FieldError]) -> Vec<Cause> {
    let cause = |error: &FieldError| Cause {
        reason: error.reason.wire().to_owned(),
        message: error.message.clone(),
        field: error.field.clone(),
    };
    errors.iter().map(cause).collect()
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> ApiError {
        match error {
            ReadError::Compacted { asked, floor } => {
                ApiError::new(Reason::Expired, format!("too old resource version: {asked} ({floor})"))
            }
            ReadError::Future { asked, head } => ApiError::too_large_version(asked, head),
            ReadError::Closed => ApiError::new(Reason::ServiceUnavailable, "the server is shutting down"),
            ReadError::Engine(_) => ApiError::internal(error),
        }
    }
}

impl From<WriteError> for ApiError {
    /// Conflicts mean something different to every verb, which handles them before.
    fn from(error: WriteError) -> ApiError {
        match error {
            WriteError::Closed => ApiError::new(Reason::ServiceUnavailable, "the server is shutting down"),
            WriteError::Full => ApiError::new(Reason::ServiceUnavailable, error.to_string()),
            WriteError::Conflict { .. } => ApiError::new(Reason::Conflict, error.to_string()),
            WriteError::Engine(_) => ApiError::internal(error),
        }
    }
}
