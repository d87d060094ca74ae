//! The vocabulary of edgectl: what a kind is, how its objects are named, defaulted, validated,
//! selected, printed and patched.
//!
//! Everything here is a pure function over `serde_json::Value` or a small typed struct, but for the
//! place where a custom kind finds its definition ([`custom::Custom`]). There is no clock, no randomness, no I/O and no async: `now` is an argument. Control plane, node and
//! command line all speak through this crate and through nothing else they share.

pub mod compact;
pub mod error;
pub mod fill;
pub mod frames;
pub mod int_or_string;
pub mod name;
pub mod quantity;
pub mod time;
pub mod uri;

pub mod cron;

pub mod cel;

pub mod schema;

pub mod meta;
pub mod validate;

pub mod rollout;

pub mod custom;

pub mod patch;
pub mod protobuf;

pub mod kind;
pub mod selector;
pub mod sparse;

pub mod pod_resources;
pub mod quota;
pub mod scale;
pub mod table;
pub mod watch;

pub mod kinds;

pub mod type_check;

pub mod catalogue;

pub mod openapi;
