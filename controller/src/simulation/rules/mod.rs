//! The rules, one file for each kind of workload and three for what concerns every Pod.

pub mod history;

mod binding;
mod budget;
mod cronjob;
mod daemonset;
mod deployment;
mod job;
mod ownership;
mod replicaset;
mod statefulset;

use crate::simulation::rule::Rule;

/// Every rule.
pub fn all() -> Vec<Box<dyn Rule>> {
    vec![
        Box::<binding::Binding>::default(),
        Box::<deployment::Deployments>::default(),
        Box::<replicaset::ReplicaSets>::default(),
        Box::<statefulset::StatefulSets>::default(),
        Box::<daemonset::DaemonSets>::default(),
        Box::<job::Jobs>::default(),
        Box::<cronjob::CronJobs>::default(),
        Box::<budget::Budgets>::default(),
        Box::<ownership::Ownership>::default(),
    ]
}
