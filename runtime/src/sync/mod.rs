//! The node's copies of what it needs from the API, and keeping them when the API is away.
//!
//! [`watcher`] turns a list and a watch into five words; [`Mirror`] keeps the objects of one kind by them and tells
//! one reader what changed; [`Named`] follows single ConfigMaps and Secrets for as long as somebody holds them.
//! Copies go to disk when they change and are what a node starts with when its server does not answer. Nothing
//! here decides anything.

mod journal;
mod mirror;
mod named;
pub mod watcher;

pub use mirror::{Change, Key, Mirror, Scope};
pub use named::{Hold, Named};
