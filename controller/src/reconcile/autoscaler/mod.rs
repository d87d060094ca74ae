//! HorizontalPodAutoscalers: as many replicas as the load asks for, as Kubernetes' documentation describes the
//! algorithm.
//!
//! Load is not an object, so this controller is woken by time: every fifteen seconds while there is an autoscaler, and
//! by nothing when there is none; and by nodes on which requests wait for what was scaled to zero. What it makes of what
//! it sees is pure ([`plan::decide`]): [`measure`] says how many replicas the metrics ask for, [`pace`] how fast that
//! may happen. [`look`] finds out, as far as the metrics need it; [`run`] carries out and remembers.

mod measure;
mod pace;
mod plan;
mod sight;

mod look;
mod run;

#[cfg(test)]
mod tests;

pub use look::Outside;
pub use run::run;
