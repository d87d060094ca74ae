//! Rollouts whose new Pods fail requests: measured for the Deployments that asked to be rolled back then.
//!
//! Requests are not objects, so this is woken by time: six times in an error window while such a rollout goes on and
//! until its window after it is complete, and by nothing otherwise. What it finds it writes as the condition
//! `RequestFailure`; to go back is left to the Deployment's own controller. [`tally`] counts, [`watch`] says when to
//! look, [`mod@run`] looks. A request has failed when it ended without a response of the guest; what a response says is
//! the guest's own business.

mod tally;
mod watch;

mod run;

pub use run::run;
