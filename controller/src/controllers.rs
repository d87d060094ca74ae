//! The table of all controllers.

use crate::bootstrap;
use crate::reconcile::{self, Controller};
use crate::schedule;

/// Every controller, in the order in which status lists them.
pub fn all_controllers() -> Vec<Controller> {
    let mut all = reconcile::CONTROLLERS.to_vec();
    all.extend([schedule::CONTROLLER, bootstrap::CONTROLLER]);
    all
}
