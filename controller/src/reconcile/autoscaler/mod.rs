//! HorizontalPodAutoscalers: as many replicas as the load asks for, as Kubernetes' documentation describes the
//! algorithm.
//!
//! Load is not an object, so this controller is woken by time: every fifteen seconds while there is an autoscaler, and
//! by nothing when there is none. What it makes of what it sees is pure ([`plan::decide`]): [`measure`] says how many
//! replicas the metrics ask for, [`pace`] how fast that may happen. [`run`] looks, carries out and remembers. There is
//! a source for the usage of containers alone; metrics of the types Pods, Object and External say that they have none.

mod measure;
mod pace;
mod plan;
mod sight;

mod run;

#[cfg(test)]
mod tests;

pub use run::run;
