//! The API as clients see it: real HTTP on streams in memory and over TLS, on a store in memory.
#![allow(clippy::unwrap_used)]

mod access;
mod admission;
mod aggregation;
mod apply;
mod audit;
mod autoscaler;
mod conversion;
mod custom_metrics;
mod definitions;
mod exec;
mod follow;
mod forms;
mod garbage;
mod harness;
mod kinds;
mod lifecycle;
mod mutations;
mod outside;
mod pods;
mod policies;
mod reads;
mod reviews;
mod roles;
mod rollouts;
mod usage;
mod watches;
mod webhooks;
mod workloads;
mod writes;
mod zpages;
