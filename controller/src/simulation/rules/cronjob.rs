//! CronJobs: one Job for each time, none beside another that forbids it, no more ended ones kept than asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::mirror::{Concurrency, Detail, World};
use crate::simulation::rule::{Rule, Step, same};

/// See the module.
#[derive(Default)]
pub struct CronJobs {
    /// The names of the Jobs that each CronJob has made.
    made: BTreeMap<String, BTreeSet<String>>,
    /// Jobs that have been running since the control plane was quiet, by uid.
    running: BTreeSet<String>,
}

impl Rule for CronJobs {
    fn promise(&self) -> &'static str {
        "a CronJob makes one Job for each time, and none beside one that forbids it"
    }

    fn see(&mut self, step: &Step<'_>) -> Result<(), String> {
        let Detail::Job((before, after)) = &step.delta.detail else { return Ok(()) };
        if let Some(before) = before
            && after.as_ref().is_none_or(|job| job.body.end().is_some())
        {
            self.running.remove(&*before.meta.uid);
        }
        let Some(job) = after.as_ref().filter(|_| before.is_none()) else { return Ok(()) };
        let Some(owner) = job.meta.controller().filter(|owner| owner.kind == "CronJob") else {
            return Ok(());
        };
        if !self.made.entry(owner.uid.clone()).or_default().insert(job.meta.name.to_string()) {
            return Err(format!("{} makes {} again", owner.name, job.meta.name));
        }
        let cron = step.truth.cron_jobs.get(&job.meta.namespace, &owner.name);
        let others = step.truth.jobs.owned_by(&owner.uid);
        let mut running = others.filter(|other| self.running.contains(&*other.meta.uid));
        match running.next().filter(|_| cron.is_some_and(|one| one.body.concurrency == Concurrency::Forbid)) {
            Some(other) => Err(format!("{} runs beside {}", job.meta.name, other.meta.name)),
            None => Ok(()),
        }
    }

    fn quiet(&mut self, truth: &World) {
        let running = truth.jobs.all().filter(|job| job.body.end().is_none());
        self.running = running.map(|job| job.meta.uid.to_string()).collect();
    }

    fn settled(&self, truth: &World) -> Result<(), String> {
        for cron in truth.cron_jobs.all() {
            let jobs = || truth.jobs.owned_by(&cron.meta.uid);
            for (kind, limit) in
                [("Complete", cron.body.successful_limit), ("Failed", cron.body.failed_limit)]
            {
                let kept = jobs().filter(|job| job.body.is(kind)).count();
                let name = &cron.meta.name;
                same(
                    &format!("whether {name} keeps {kept} Jobs"),
                    limit.is_none_or(|most| kept <= most),
                    true,
                )?;
            }
            let active = cron.body.status["active"].as_array().map_or(0, Vec::len);
            same(&format!("active of {}", cron.meta.name), active, 0)?;
        }
        Ok(())
    }
}
