//! `events.k8s.io/v1` Event: the same objects as core's, in their newer shape.

use crate::kind::{Alias, Kind};

/// The table entry.
pub static KIND: Kind = Kind {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    schema: "io.k8s.api.events.v1.Event",
    alias: Some(Alias { of: &crate::kinds::event::KIND, store: |_| {}, load: |_| {} }),
    ..Kind::PLAIN
};
