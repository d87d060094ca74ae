//! What Kubernetes' documentation says of Jobs.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::reconcile::job::count::{FAILURES, INDEX};
use crate::reconcile::ledger::Ledger;

fn job(change: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "pi", "namespace": "default", "uid": "j"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "j"}},
            "template": {"metadata": {"labels": {"batch.kubernetes.io/controller-uid": "j", "batch.kubernetes.io/job-name": "pi"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}},
        "status": {},
    });
    for (field, value) in change.as_object().into_iter().flatten() {
        job["spec"][field] = value.clone();
    }
    job
}

/// A cluster in which nodes run Pods when told to.
struct Cluster(Ledger);

impl Cluster {
    fn new(change: Value) -> Cluster {
        Cluster(Ledger::with(Timestamp::parse("2026-01-01T00:00:00Z").unwrap(), &[job(change)]))
    }

    /// Carries out plans until there is nothing to do; answers how many Pods were made and deleted.
    fn settle(&self) -> (usize, usize) {
        let (mut made, mut gone) = (0, 0);
        for _ in 0..50 {
            let plan = reconcile(&Name::new("default", "pi"), &self.0.world());
            if plan.is_idle() {
                return (made, gone);
            }
            made += plan.writes().filter(|write| matches!(write.act, Act::Create(_))).count();
            gone += plan.writes().filter(|write| matches!(write.act, Act::Delete { .. })).count();
            self.0.carry_out(&plan);
        }
        panic!("does not settle");
    }

    fn pods(&self) -> Vec<Value> {
        self.0.all(POD)
    }

    fn running(&self) -> Vec<Value> {
        let runs =
            |pod: &Value| pod["status"]["phase"].is_null() && pod["metadata"]["deletionTimestamp"].is_null();
        self.pods().into_iter().filter(runs).collect()
    }

    /// The first Pod that runs ends so; of this index, if one is given.
    fn end(&self, index: Option<i64>, phase: &str, code: i64) {
        let of = |pod: &&Value| {
            index.is_none_or(|index| {
                pod["metadata"]["annotations"][INDEX].as_str() == Some(&index.to_string())
            })
        };
        let running = self.running();
        let name = running.iter().find(of).unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
        let now = self.0.now();
        self.0.edit(POD, "default", &name, |pod| {
            pod["status"] = json!({"phase": phase, "containerStatuses": [{"name": "main",
                "state": {"terminated": {"exitCode": code, "finishedAt": now}}}]});
        });
    }

    /// All Pods get a node, which has to end them.
    fn bind(&self) {
        for pod in self.pods() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            self.0.edit(POD, "default", name, |pod| pod["spec"]["nodeName"] = json!("n"));
        }
    }

    /// Nodes have ended what was deleted.
    fn bury(&self) {
        for pod in self.pods().iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null()) {
            let held = pod["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
            if !held {
                self.0.remove(POD, "default", pod["metadata"]["name"].as_str().unwrap());
            }
        }
    }

    fn edit(&self, change: Value) {
        self.0.edit(KIND, "default", "pi", |job| {
            for (field, value) in change.as_object().into_iter().flatten() {
                job["spec"][field] = value.clone();
            }
        });
    }

    fn status(&self) -> Value {
        self.0.get(KIND, "default", "pi").unwrap()["status"].clone()
    }

    /// The reason of a condition that holds.
    fn reason(&self, kind: &str) -> String {
        let status = self.status();
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let holds = all.iter().find(|one| one["type"] == kind && one["status"] == "True");
        holds.map(|one| one["reason"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    fn indexes(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .running()
            .iter()
            .map(|pod| pod["metadata"]["annotations"][INDEX].as_str().unwrap().to_owned())
            .collect();
        all.sort();
        all
    }
}

#[test]
fn a_job_is_complete_when_its_pod_has_succeeded() {
    let cluster = Cluster::new(json!({}));
    assert_eq!(cluster.settle(), (1, 0));
    assert_eq!(cluster.status()["active"], 1);
    assert!(cluster.status()["startTime"].is_string());
    cluster.end(None, "Succeeded", 0);
    assert_eq!(cluster.settle(), (0, 0));
    assert_eq!(cluster.reason("SuccessCriteriaMet"), "CompletionsReached");
    assert_eq!(cluster.reason("Complete"), "CompletionsReached");
    let status = cluster.status();
    assert_eq!((&status["succeeded"], &status["uncountedTerminatedPods"]), (&json!(1), &json!({})));
    assert!(status["completionTime"].is_string() && status["active"].is_null());
    assert!(
        cluster.pods().iter().all(|pod| pod["metadata"]["finalizers"] == json!([])),
        "nothing holds its Pods"
    );
}

#[test]
fn a_job_does_not_end_before_it_began_when_the_clock_was_set_back() {
    let cluster = Cluster::new(json!({}));
    cluster.settle();
    let before = cluster.status()["startTime"].clone();
    cluster.0.set(Timestamp::parse("2025-12-31T23:00:00Z").unwrap());
    cluster.end(None, "Succeeded", 0);
    cluster.settle();
    assert_eq!(cluster.reason("Complete"), "CompletionsReached");
    assert_eq!(cluster.status()["completionTime"], before);
}

#[test]
fn an_end_that_lies_in_the_future_delays_nothing_for_long() {
    let cluster = Cluster::new(json!({}));
    cluster.settle();
    cluster.end(None, "Failed", 1);
    cluster.0.set(Timestamp::parse("2025-12-31T22:00:00Z").unwrap());
    assert_eq!(cluster.settle(), (1, 0));
}

#[test]
fn completions_are_reached_with_so_many_pods_at_a_time() {
    let cluster = Cluster::new(json!({"completions": 5, "parallelism": 2}));
    assert_eq!(cluster.settle(), (2, 0));
    for left in (0..4_usize).rev() {
        cluster.end(None, "Succeeded", 0);
        assert_eq!(cluster.settle().0, usize::from(left > 0), "{left} more after those that run");
    }
    assert_eq!(cluster.running().len(), 1);
    cluster.end(None, "Succeeded", 0);
    cluster.settle();
    assert_eq!(
        (cluster.reason("Complete").as_str(), &cluster.status()["succeeded"]),
        ("CompletionsReached", &json!(5))
    );
}

#[test]
fn without_completions_one_success_means_that_the_work_is_done() {
    let cluster = Cluster::new(json!({"completions": null, "parallelism": 3}));
    assert_eq!(cluster.settle(), (3, 0));
    cluster.end(None, "Succeeded", 0);
    assert_eq!(cluster.settle(), (0, 0), "no new ones");
    assert_eq!(cluster.reason("Complete"), "");
    cluster.end(None, "Succeeded", 0);
    cluster.end(None, "Failed", 1);
    cluster.settle();
    assert_eq!(cluster.reason("Complete"), "CompletionsReached");
}

#[test]
fn more_or_less_parallelism_makes_and_deletes_pods_without_counting_them_failed() {
    let cluster = Cluster::new(json!({"completions": 10, "parallelism": 4}));
    cluster.settle();
    cluster.edit(json!({"parallelism": 1}));
    assert_eq!(cluster.settle(), (0, 3));
    cluster.bury();
    cluster.edit(json!({"parallelism": 2}));
    assert_eq!(cluster.settle(), (1, 0));
    assert_eq!(cluster.status()["failed"], Value::Null);
}

#[test]
fn failed_pods_are_tried_again_later_and_later() {
    let cluster = Cluster::new(json!({}));
    cluster.settle();
    for seconds in [10.0, 20.0, 40.0] {
        cluster.end(None, "Failed", 1);
        assert_eq!(cluster.settle(), (0, 0));
        cluster.0.pass(seconds - 1.0);
        assert_eq!(cluster.settle(), (0, 0), "{seconds}");
        cluster.0.pass(1.0);
        assert_eq!(cluster.settle(), (1, 0), "{seconds}");
    }
    assert_eq!(cluster.status()["failed"], 3);
}

#[test]
fn no_try_waits_for_longer_than_ten_minutes() {
    let cluster = Cluster::new(json!({"backoffLimit": 20}));
    cluster.settle();
    for seconds in [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0] {
        cluster.end(None, "Failed", 1);
        cluster.settle();
        cluster.0.pass(seconds - 1.0);
        assert_eq!(cluster.settle(), (0, 0), "{seconds}");
        cluster.0.pass(1.0);
        assert_eq!(cluster.settle(), (1, 0), "{seconds}");
    }
}

#[test]
fn a_success_forgives_the_failures_before_it() {
    let cluster = Cluster::new(json!({"completions": 3}));
    cluster.settle();
    for seconds in [10.0, 20.0] {
        cluster.end(None, "Failed", 1);
        cluster.settle();
        cluster.0.pass(seconds);
        assert_eq!(cluster.settle(), (1, 0));
    }
    cluster.0.pass(1.0);
    cluster.end(None, "Succeeded", 0);
    assert_eq!(cluster.settle(), (1, 0), "at once");
    cluster.0.pass(1.0);
    cluster.end(None, "Failed", 1);
    cluster.settle();
    cluster.0.pass(10.0);
    assert_eq!(cluster.settle(), (1, 0), "as after the first failure");
    assert_eq!(cluster.status()["failed"], 3, "but all of them count");
}

#[test]
fn beyond_the_backoff_limit_the_job_has_failed_and_its_pods_go() {
    let cluster = Cluster::new(json!({"backoffLimit": 0, "completions": 2, "parallelism": 2}));
    cluster.settle();
    cluster.bind();
    cluster.end(None, "Failed", 1);
    assert_eq!(cluster.settle(), (0, 1));
    assert_eq!(cluster.reason("FailureTarget"), "BackoffLimitExceeded");
    assert_eq!(cluster.reason("Failed"), "", "not before all Pods are gone");
    cluster.bury();
    cluster.settle();
    assert_eq!(cluster.reason("Failed"), "BackoffLimitExceeded");
    assert_eq!(cluster.status()["failed"], 2, "the one that was ended counts too");
}

#[test]
fn restarts_in_place_count_against_the_backoff_limit() {
    let cluster = Cluster::new(json!({"backoffLimit": 2}));
    cluster.0.edit(KIND, "default", "pi", |job| {
        job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure")
    });
    cluster.settle();
    let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let restarts = |count: i64| {
        cluster.0.edit(POD, "default", &name, |pod| {
            pod["status"]["containerStatuses"] = json!([{"restartCount": count}])
        });
    };
    restarts(1);
    assert_eq!(cluster.settle(), (0, 0));
    restarts(2);
    assert_eq!(cluster.settle(), (0, 1));
    assert_eq!(cluster.reason("FailureTarget"), "BackoffLimitExceeded");
}

#[test]
fn restarts_of_all_containers_of_all_pods_are_added_up() {
    // limit, restarts of two containers and an init container, whether that is too much
    let cases = [
        (0, [0, 0], 0, false),
        (0, [1, 0], 0, true),
        (0, [0, 0], 1, true),
        (3, [1, 1], 0, false),
        (3, [1, 1], 1, true),
        (3, [2, 2], 0, true),
    ];
    for (limit, main, init, failed) in cases {
        let cluster = Cluster::new(json!({"backoffLimit": limit}));
        cluster.0.edit(KIND, "default", "pi", |job| {
            job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure")
        });
        cluster.settle();
        let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
        cluster.0.edit(POD, "default", &name, |pod| {
            pod["status"] = json!({
                "containerStatuses": main.map(|count| json!({"restartCount": count})),
                "initContainerStatuses": [{"restartCount": init}],
            });
        });
        cluster.settle();
        assert_eq!(
            cluster.reason("FailureTarget") == "BackoffLimitExceeded",
            failed,
            "{limit} {main:?} {init}"
        );
    }
}

#[test]
fn nothing_to_complete_is_complete_and_no_parallelism_is_a_pause() {
    let cluster = Cluster::new(json!({"completions": 0}));
    assert_eq!(cluster.settle(), (0, 0));
    assert_eq!(cluster.reason("Complete"), "CompletionsReached");
    let cluster = Cluster::new(json!({"completions": 2, "parallelism": 0}));
    assert_eq!(cluster.settle(), (0, 0));
    assert_eq!((cluster.reason("Complete"), cluster.reason("Suspended")), (String::new(), String::new()));
    cluster.edit(json!({"parallelism": 5}));
    assert_eq!(cluster.settle(), (2, 0), "no more than there is to complete");
}

#[test]
fn the_status_tells_who_is_ready_and_who_is_on_the_way_out() {
    let cluster = Cluster::new(json!({"completions": 3, "parallelism": 3, "podReplacementPolicy": "Failed"}));
    cluster.settle();
    cluster.bind();
    let names: Vec<String> =
        cluster.pods().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    cluster.0.edit(POD, "default", &names[0], |pod| {
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    });
    cluster.0.delete(POD, "default", &names[1]);
    cluster.settle();
    let status = cluster.status();
    assert_eq!(
        (&status["active"], &status["ready"], &status["terminating"]),
        (&json!(2), &json!(1), &json!(1))
    );
}

#[test]
fn people_are_told_how_a_job_goes() {
    let told = |cluster: &Cluster| {
        let mut told = Vec::new();
        for _ in 0..50 {
            let plan = reconcile(&Name::new("default", "pi"), &cluster.0.world());
            let notes = plan.writes().filter_map(|write| write.done.clone());
            let ours = notes.filter(|note| !note.reason.starts_with("Successful"));
            told.extend(ours.map(|note| format!("{:?} {}: {}", note.tone, note.reason, note.message)));
            if plan.is_idle() {
                return told;
            }
            cluster.0.carry_out(&plan);
        }
        panic!("does not settle");
    };
    let cluster = Cluster::new(json!({"suspend": true}));
    assert_eq!(told(&cluster), ["Normal Suspended: Job suspended"]);
    cluster.edit(json!({"suspend": false}));
    assert_eq!(told(&cluster), ["Normal Resumed: Job resumed"]);
    cluster.end(None, "Succeeded", 0);
    assert_eq!(told(&cluster), ["Normal Completed: Job completed"]);
    let cluster = Cluster::new(json!({"backoffLimit": 0}));
    cluster.settle();
    cluster.end(None, "Failed", 1);
    assert_eq!(told(&cluster), ["Warning BackoffLimitExceeded: Job has reached the specified backoff limit"]);
}

#[test]
fn a_job_that_is_active_for_too_long_has_failed() {
    let cluster = Cluster::new(json!({"activeDeadlineSeconds": 60}));
    cluster.settle();
    let plan = reconcile(&Name::new("default", "pi"), &cluster.0.world());
    assert_eq!(plan.wake_at.unwrap().seconds(), "2026-01-01T00:01:00Z");
    cluster.0.pass(60.0);
    assert_eq!(cluster.settle(), (0, 1));
    cluster.bury();
    cluster.settle();
    assert_eq!(cluster.reason("Failed"), "DeadlineExceeded");
}

#[test]
fn each_index_runs_until_it_has_succeeded_and_never_again() {
    let cluster = Cluster::new(json!({"completionMode": "Indexed", "completions": 4, "parallelism": 2}));
    cluster.settle();
    assert_eq!(cluster.indexes(), ["0", "1"]);
    let pod = &cluster.pods()[0];
    assert_eq!(pod["spec"]["hostname"], "pi-0");
    assert_eq!(pod["metadata"]["labels"][INDEX], "0");
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    assert!(pod["metadata"]["name"].as_str().unwrap().starts_with("pi-0-"));
    cluster.end(Some(1), "Succeeded", 0);
    cluster.settle();
    assert_eq!(cluster.indexes(), ["0", "2"]);
    cluster.end(Some(0), "Failed", 1);
    cluster.settle();
    cluster.0.pass(10.0);
    cluster.settle();
    assert_eq!(cluster.indexes(), ["0", "2"], "a failed one is tried again");
    // The Pods of what has succeeded are gone, and so is what this process knew.
    for pod in cluster.pods().iter().filter(|pod| pod["status"]["phase"] == "Succeeded") {
        cluster.0.remove(POD, "default", pod["metadata"]["name"].as_str().unwrap());
    }
    cluster.end(Some(2), "Succeeded", 0);
    cluster.settle();
    assert_eq!(cluster.indexes(), ["0", "3"]);
    assert_eq!(cluster.status()["completedIndexes"], "1,2");
    cluster.end(Some(0), "Succeeded", 0);
    cluster.end(Some(3), "Succeeded", 0);
    cluster.settle();
    assert_eq!(cluster.status()["completedIndexes"], "0-3");
    assert_eq!(cluster.reason("Complete"), "CompletionsReached");
}

#[test]
fn with_a_limit_per_index_others_go_on_when_one_has_failed() {
    let cluster = Cluster::new(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1}));
    cluster.settle();
    cluster.end(Some(0), "Failed", 1);
    cluster.settle();
    cluster.0.pass(10.0);
    cluster.settle();
    let again =
        cluster.running().into_iter().find(|pod| pod["metadata"]["annotations"][INDEX] == "0").unwrap();
    assert_eq!(again["metadata"]["annotations"][FAILURES], "1");
    cluster.end(Some(0), "Failed", 1);
    cluster.settle();
    assert_eq!((&cluster.status()["failedIndexes"], cluster.indexes()), (&json!("0"), vec!["1".to_owned()]));
    cluster.end(Some(1), "Succeeded", 0);
    cluster.settle();
    assert_eq!(cluster.reason("Failed"), "FailedIndexes");
    assert_eq!(cluster.status()["completedIndexes"], "1");
}

#[test]
fn an_indexed_job_grows_and_shrinks_with_completions_and_parallelism_together() {
    let cluster = Cluster::new(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3}));
    cluster.settle();
    cluster.end(Some(0), "Succeeded", 0);
    cluster.end(Some(2), "Succeeded", 0);
    cluster.settle();
    cluster.edit(json!({"completions": 5, "parallelism": 5}));
    assert_eq!(cluster.settle(), (2, 0));
    assert_eq!(cluster.indexes(), ["1", "3", "4"]);
    cluster.edit(json!({"completions": 2, "parallelism": 2}));
    assert_eq!(cluster.settle(), (0, 2));
    let status = cluster.status();
    assert_eq!((&status["completedIndexes"], &status["succeeded"]), (&json!("0"), &json!(1)));
    cluster.end(Some(1), "Succeeded", 0);
    cluster.settle();
    assert_eq!(cluster.reason("Complete"), "CompletionsReached");
}

#[test]
fn an_index_remembers_its_failures_and_those_that_do_not_count() {
    let policy = json!({"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]});
    let cluster = Cluster::new(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 1,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1, "podFailurePolicy": policy, "podReplacementPolicy": "Failed"}));
    cluster.settle();
    let noted = || {
        let annotations = &cluster.running()[0]["metadata"]["annotations"];
        let text = |key: &str| annotations[key].as_str().unwrap_or_default().to_owned();
        (text(FAILURES), text(count::IGNORED))
    };
    assert_eq!(noted(), ("0".to_owned(), String::new()));
    // Each try waits longer than the one before, whether its failure counts or not.
    for (ignored, wait) in [("1", 10.0), ("2", 20.0)] {
        let name = cluster.running()[0]["metadata"]["name"].as_str().unwrap().to_owned();
        let now = cluster.0.now();
        cluster.0.edit(POD, "default", &name, |pod| {
            pod["status"] = json!({"phase": "Failed",
                "conditions": [{"type": "DisruptionTarget", "status": "True"}],
                "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": 1, "finishedAt": now}}}]});
        });
        cluster.settle();
        cluster.0.pass(wait - 1.0);
        cluster.settle();
        assert!(!cluster.indexes().contains(&"0".to_owned()), "{ignored}");
        // The other index runs meanwhile, since there is room.
        if cluster.indexes() == ["1"] {
            cluster.end(Some(1), "Succeeded", 0);
        }
        cluster.0.pass(1.0);
        cluster.settle();
        assert_eq!(noted(), ("0".to_owned(), ignored.to_owned()));
    }
    cluster.end(Some(0), "Failed", 42);
    cluster.settle();
    assert_eq!(cluster.status()["failedIndexes"], "0", "the rule says that it has failed at once");
    assert_eq!(cluster.reason("Failed"), "FailedIndexes");
}

#[test]
fn too_many_failed_indexes_end_the_job() {
    let cluster = Cluster::new(json!({"completionMode": "Indexed", "completions": 5, "parallelism": 5,
        "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0, "maxFailedIndexes": 1}));
    cluster.settle();
    cluster.end(Some(0), "Failed", 1);
    assert_eq!(cluster.settle(), (0, 0));
    cluster.end(Some(1), "Failed", 1);
    assert_eq!(cluster.settle(), (0, 3));
    assert_eq!(cluster.reason("FailureTarget"), "MaxFailedIndexesExceeded");
}

#[test]
fn a_pod_failure_policy_ignores_counts_and_fails() {
    let policy = json!({"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]});
    let cluster = Cluster::new(
        json!({"podFailurePolicy": policy, "podReplacementPolicy": "Failed", "backoffLimit": 1}),
    );
    cluster.settle();
    let name = cluster.running()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.0.edit(POD, "default", &name, |pod| {
        pod["status"] =
            json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]});
    });
    cluster.settle();
    assert_eq!(cluster.status()["failed"], Value::Null);
    cluster.0.pass(10.0);
    cluster.settle();
    cluster.end(None, "Failed", 42);
    cluster.settle();
    assert_eq!(cluster.reason("Failed"), "PodFailurePolicy");
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let policy = json!({"rules": [{"succeededIndexes": "0"}]});
    let cluster = Cluster::new(
        json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "successPolicy": policy}),
    );
    cluster.settle();
    cluster.bind();
    cluster.end(Some(1), "Succeeded", 0);
    assert_eq!(cluster.settle(), (0, 0));
    cluster.end(Some(0), "Succeeded", 0);
    assert_eq!(cluster.settle(), (0, 1));
    assert_eq!(
        (cluster.reason("SuccessCriteriaMet"), cluster.reason("Complete")),
        ("SuccessPolicy".to_owned(), String::new())
    );
    cluster.bury();
    cluster.settle();
    assert_eq!(cluster.reason("Complete"), "SuccessPolicy");
}

#[test]
fn what_ends_a_job_badly_comes_before_its_success_policy() {
    let policy = json!({"rules": [{"succeededIndexes": "0"}]});
    let cluster = Cluster::new(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "backoffLimit": 0, "successPolicy": policy}));
    cluster.settle();
    cluster.end(Some(0), "Succeeded", 0);
    cluster.end(Some(1), "Failed", 1);
    cluster.settle();
    assert_eq!(cluster.reason("Failed"), "BackoffLimitExceeded");
    assert_eq!(cluster.reason("SuccessCriteriaMet"), "");
}

#[test]
fn a_suspended_job_has_no_pods_and_begins_anew_when_it_is_resumed() {
    let cluster = Cluster::new(json!({"suspend": true}));
    assert_eq!(cluster.settle(), (0, 0));
    assert_eq!(cluster.reason("Suspended"), "JobSuspended");
    assert!(cluster.status()["startTime"].is_null());
    cluster.0.pass(100.0);
    cluster.edit(json!({"suspend": false}));
    assert_eq!(cluster.settle(), (1, 0));
    assert_eq!(
        (cluster.reason("Suspended").as_str(), &cluster.status()["startTime"]),
        ("", &json!("2026-01-01T00:01:40Z"))
    );
    cluster.edit(json!({"suspend": true}));
    assert_eq!(cluster.settle(), (0, 1));
    cluster.bury();
    cluster.settle();
    assert_eq!(cluster.status()["failed"], Value::Null, "what is suspended has not failed");
}

#[test]
fn a_pod_is_replaced_when_it_begins_to_end_or_when_it_has_ended() {
    for (policy, made) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
        let cluster = Cluster::new(json!({"podReplacementPolicy": policy}));
        cluster.settle();
        let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
        cluster.bind();
        cluster.0.delete(POD, "default", &name);
        let first = cluster.settle().0;
        cluster.0.pass(30.0);
        assert_eq!(first + cluster.settle().0, made, "{policy}");
    }
}

#[test]
fn what_breaks_off_between_any_two_stages_is_counted_once() {
    for stop in 0..8 {
        let cluster = Cluster::new(json!({"completions": 3, "parallelism": 3}));
        cluster.settle();
        (0..3).for_each(|_| cluster.end(None, "Succeeded", 0));
        // Each stage is the last thing that a process does.
        for _ in 0..stop {
            let plan = reconcile(&Name::new("default", "pi"), &cluster.0.world());
            let Some(stage) = plan.stages.first() else { break };
            cluster.0.carry_out(&Plan { stages: vec![stage.clone()], ..Plan::default() });
        }
        cluster.settle();
        assert_eq!(cluster.status()["succeeded"], 3, "broken off after {stop}");
        assert_eq!(cluster.reason("Complete"), "CompletionsReached");
        assert_eq!(cluster.pods().len(), 3);
    }
}

/// Whether a plan takes the finalizer from the first Pod, since no Job counts it.
fn is_let_go(cluster: &Cluster) -> bool {
    let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let plan = (stray::CONTROLLER.reconcile)(&Name::new("default", &name), &cluster.0.world());
    cluster.0.carry_out(&plan);
    !plan.is_idle()
}

#[test]
fn nothing_holds_the_pods_of_a_job_that_is_gone() {
    let labels = |labels: Value| move |pod: &mut Value| pod["metadata"]["labels"] = labels.clone();
    let owners = |owners: Value| move |pod: &mut Value| pod["metadata"]["ownerReferences"] = owners.clone();
    let going = |pod: &mut Value| {
        pod["metadata"]["ownerReferences"] = json!([]);
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    };
    let other = |version: &str, kind: &str| json!([{"apiVersion": version, "kind": kind, "name": "pi", "uid": "r", "controller": true}]);
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, bool, Change<'_>, bool); 10] = [
        ("its Job is there", false, &|_| {}, false),
        ("its Job is gone", true, &|_| {}, true),
        ("its Job is gone, and it has other labels", true, &labels(json!({"a": "b"})), true),
        ("it was set free, and the Job is gone", true, &owners(json!([])), true),
        ("it was set free, and the Job may adopt it", false, &owners(json!([])), false),
        (
            "it was set free, and no Job may adopt it",
            false,
            &|pod| {
                owners(json!([]))(pod);
                labels(json!({"a": "b"}))(pod);
            },
            true,
        ),
        ("it was set free and goes", false, &going, true),
        ("another kind manages it", true, &owners(other("apps/v1", "ReplicaSet")), false),
        ("another group's Job manages it", true, &owners(other("batch.example.com/v1", "Job")), false),
        ("nothing holds it", true, &|pod| pod["metadata"]["finalizers"] = json!([]), false),
    ];
    for (about, gone, change, let_go) in cases {
        let cluster = Cluster::new(json!({}));
        cluster.settle();
        cluster.bind();
        let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
        cluster.0.edit(POD, "default", &name, change);
        if gone {
            cluster.0.remove(KIND, "default", "pi");
        }
        assert_eq!(is_let_go(&cluster), let_go, "{about}");
        assert!(!let_go || !is_let_go(&cluster), "{about}: once");
    }
    // Another Job of the same name is another Job.
    let cluster = Cluster::new(json!({}));
    cluster.settle();
    let mut other = job(json!({}));
    other["metadata"]["uid"] = json!("other");
    cluster.0.put(other);
    assert!(is_let_go(&cluster));
}

#[test]
fn what_no_job_counts_is_noticed_whoever_goes_first() {
    let cluster = Cluster::new(json!({}));
    cluster.settle();
    let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let pod = cluster.pods().remove(0);
    let mut free = pod.clone();
    free["metadata"]["ownerReferences"] = json!([]);
    let bytes = |object: &Value| Some(object.to_string().into());
    let (job_key, pod_key) = ("/batch/jobs/default/pi", format!("/core/pods/default/{name}"));
    let woken = |first: (&str, Option<bytes::Bytes>), then: (&str, Option<bytes::Bytes>)| {
        let mut world = cluster.0.world();
        let deltas =
            [first, then].map(|(key, after)| world.apply(key, world.revision + 1, after.as_ref()).unwrap());
        let mut keys = Vec::new();
        deltas.iter().for_each(|delta| (stray::CONTROLLER.wakes)(delta, &world, &mut |key| keys.push(key)));
        keys.contains(&Name::new("default", &name))
    };
    assert!(woken((job_key, None), (&pod_key, bytes(&pod))), "the Job goes and nothing else happens");
    assert!(woken((&pod_key, bytes(&free)), (job_key, None)), "the Job that might adopt it goes");
    assert!(woken((job_key, None), (&pod_key, bytes(&free))), "it is set free last");
    assert!(!woken((&pod_key, bytes(&pod)), (&pod_key, bytes(&pod))), "all is well");
}

#[test]
fn an_adopted_pod_is_held_and_counted_and_one_let_go_is_not() {
    let cluster = Cluster::new(json!({}));
    cluster.settle();
    let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.0.edit(POD, "default", &name, |pod| {
        pod["metadata"]["ownerReferences"] = json!([]);
        pod["metadata"]["finalizers"] = json!(["example.com/mine"]);
    });
    cluster.settle();
    let finalizers = || cluster.0.get(POD, "default", &name).unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers(), json!(["example.com/mine", TRACKING]));
    cluster.0.edit(POD, "default", &name, |pod| pod["metadata"]["labels"] = json!({"a": "b"}));
    cluster.settle();
    assert_eq!(finalizers(), json!(["example.com/mine"]));
}

#[test]
fn a_job_that_somebody_else_cares_for_is_left_alone() {
    let cluster = Cluster::new(json!({"managedBy": "example.com/queue"}));
    assert_eq!(cluster.settle(), (0, 0));
    assert_eq!(cluster.status(), json!({}));
}
