//! The controllers: each one file, each a pure function from a key and the [`World`](crate::mirror::World) to a
//! [`Plan`]; and the one driver that carries the plans out.

mod plan;
mod queue;

pub use plan::{Act, Cascade, Note, Plan, Tone, Write};
pub use queue::{Counts, Job, Outcome, Queue};
