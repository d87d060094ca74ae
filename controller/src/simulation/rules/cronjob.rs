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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simulation::rule::Author;
    use crate::simulation::rules::history::{Event, check, controller, managed, object, user, with};

    fn cron(policy: &str) -> Event {
        let spec = json!({"schedule": "* * * * *", "concurrencyPolicy": policy, "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1});
        user(with(object("batch/v1", "CronJob", "c"), json!({ "spec": spec })))
    }

    fn job(name: &str) -> Value {
        with(object("batch/v1", "Job", name), managed("batch/v1", "CronJob", "c"))
    }

    fn made(name: &str) -> Event {
        controller("cronjob-controller", job(name))
    }

    fn ended(name: &str, how: &str) -> Event {
        let conditions = json!([{"type": how, "status": "True"}]);
        controller("job-controller", with(job(name), json!({"status": {"conditions": conditions}})))
    }

    #[test]
    fn a_job_can_come_twice_or_beside_another() {
        let gone = |name: &str| Event::Gone(Author::User, job(name));
        check::<CronJobs>(&[
            ("one for each time", vec![cron("Allow"), made("c-1"), Event::Quiet, made("c-2")], None),
            (
                "one again",
                vec![cron("Allow"), made("c-1"), gone("c-1"), made("c-1")],
                Some("c makes c-1 again"),
            ),
            (
                "beside another",
                vec![cron("Forbid"), made("c-1"), Event::Quiet, made("c-2")],
                Some("c-2 runs beside c-1"),
            ),
            (
                "after another",
                vec![cron("Forbid"), made("c-1"), Event::Quiet, ended("c-1", "Failed"), made("c-2")],
                None,
            ),
            (
                "beside one that is gone",
                vec![cron("Forbid"), made("c-1"), Event::Quiet, gone("c-1"), made("c-2")],
                None,
            ),
        ]);
    }

    #[test]
    fn too_much_can_be_kept() {
        let two = |how: &str| vec![cron("Allow"), ended("c-1", how), ended("c-2", how), Event::Settled];
        let active =
            with(object("batch/v1", "CronJob", "c"), json!({"status": {"active": [{"name": "c-1"}]}}));
        check::<CronJobs>(&[
            (
                "one of each kind",
                vec![cron("Allow"), ended("c-1", "Complete"), ended("c-2", "Failed"), Event::Settled],
                None,
            ),
            ("two that succeeded", two("Complete"), Some("whether c keeps 2 Jobs")),
            ("two that failed", two("Failed"), Some("whether c keeps 2 Jobs")),
            ("one is said to be active", vec![user(active), Event::Settled], Some("active of c")),
        ]);
    }
}
