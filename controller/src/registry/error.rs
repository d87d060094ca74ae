//! Why a request failed, in Kubernetes' vocabulary.

/// The machine-readable reason of a failed request; it decides the status code, which only the HTTP layer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
