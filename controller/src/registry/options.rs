//! What may be asked of a verb, parsed.

use std::time::Duration;

use edge_api::kinds::pod::Disruption;

/// How a given `resourceVersion` binds a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionMatch {
    /// As Kubernetes infers it from the other parameters.
    #[default]
    Unset,
    /// The state at exactly that revision.
    Exact,
    /// The state at that revision or any later one.
    NotOlderThan,
}

/// Options of list and delete-collection.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// As sent; empty for everything.
    pub label_selector: String,
    /// As sent; empty for everything.
    pub field_selector: String,
    /// The most objects to return; 0 for all.
    pub limit: u64,
    /// The token of the previous page; empty for the first.
    pub continue_token: String,
    /// As sent; empty if unset.
    pub resource_version: String,
    /// How that binds.
    pub version_match: VersionMatch,
}

/// Options of a watch.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// As sent; empty for everything.
    pub label_selector: String,
    /// As sent; empty for everything.
    pub field_selector: String,
    /// The revision after which to begin; empty or `0` for the present state first.
    pub resource_version: String,
    /// Whether revisions that pass without an event are to be told.
    pub bookmarks: bool,
    /// Whether the present state comes first, closed by a bookmark.
    pub send_initial_events: Option<bool>,
    /// As sent.
    pub version_match: VersionMatch,
    /// When the watch ends by itself.
    pub timeout: Option<Duration>,
}

/// Who removes the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The garbage collector, afterwards.
    Background,
    /// The garbage collector, before the object goes.
    Foreground,
    /// Nobody: they stay.
    Orphan,
}

/// Options of delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds that the object is given to end; the object's own if unset.
    pub grace_period_seconds: Option<i64>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The revision that the object must have.
    pub resource_version: Option<String>,
    /// Who removes dependents; the kind's default if unset.
    pub propagation: Option<Propagation>,
    /// Who takes a Pod away, for its status while it ends.
    pub disruption: Option<Disruption>,
}

/// The language of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// Server-side apply.
    Apply,
}
