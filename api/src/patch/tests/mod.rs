//! Patches against small models of them: written by hand, without schema, for a few fields of one kind.

#![allow(clippy::unwrap_used)]

mod apply;
mod garbage;
mod strategic;
