//! Ways back, told as stories of one Deployment.

#![allow(clippy::unwrap_used)]

use edge_api::kinds;
use edge_api::rollout::{ERROR_WINDOW, ROLLBACK_ON};
use edge_api::time::Timestamp;
use serde_json::json;

use super::*;
use crate::mirror::Name;
use crate::reconcile::deployment::CONTROLLER;
use crate::reconcile::deployment::tests::{NOW, deployment};
use crate::reconcile::ledger::Ledger;

/// A Deployment whose Pods of images named `bad…` never become available.
struct Story {
    ledger: Ledger,
    told: Vec<(&'static str, String)>,
}

impl Story {
    /// A complete rollout of `v1`.
    fn of(annotations: &Value) -> Story {
        let ledger = Ledger::new(Timestamp::parse(NOW).unwrap());
        let mut story = Story { ledger, told: Vec::new() };
        let mut web = deployment(3, 1, 0);
        web["metadata"]["annotations"] = annotations.clone();
        story.ledger.put(web);
        story.image("v1");
        story
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        self.ledger.edit(&kinds::deployment::KIND, "default", "web", change);
    }

    fn web(&self) -> Value {
        self.ledger.get(&kinds::deployment::KIND, "default", "web").unwrap()
    }

    fn present(&self) -> String {
        self.web()["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    fn annotation(&self, key: &str) -> Value {
        self.web()["metadata"]["annotations"][key].clone()
    }

    /// Status and reason of a condition.
    fn condition(&self, kind: &str) -> Option<(String, String)> {
        let web = self.web();
        let found = web["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)?.clone();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        Some((text("status"), text("reason")))
    }

    /// Plans until nothing is left to do, while ReplicaSets do as they are told.
    fn settle(&mut self) {
        for _ in 0..100 {
            let plan = (CONTROLLER.reconcile)(&Name::new("default", "web"), &self.ledger.world());
            if plan.is_idle() {
                return;
            }
            self.ledger.carry_out(&plan);
            let told = plan.writes().filter_map(|write| write.done.as_ref());
            let told = told.filter(|note| note.reason != "ScalingReplicaSet");
            self.told.extend(told.map(|note| (note.reason, note.message.clone())));
            for set in self.ledger.all(&kinds::replica_set::KIND) {
                let (name, size) = (set["metadata"]["name"].as_str().unwrap(), &set["spec"]["replicas"]);
                let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
                let bad = image.as_str().unwrap().starts_with("bad");
                let available = if bad { json!(0) } else { size.clone() };
                let status = json!({"replicas": size, "readyReplicas": available,
                    "availableReplicas": available, "observedGeneration": set["metadata"]["generation"]});
                self.ledger.edit(&kinds::replica_set::KIND, "default", name, |set| set["status"] = status);
            }
        }
        panic!("does not come to rest: {:#}", self.web());
    }

    fn image(&mut self, image: &str) {
        self.edit(|web| web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
        self.settle();
    }

    fn pass(&mut self, seconds: u32) {
        self.ledger.pass(f64::from(seconds));
        self.settle();
    }

    /// What the measurement of requests writes.
    fn fail_requests(&mut self) {
        let condition = json!({"type": REQUEST_FAILURE, "status": "True", "reason": TOO_MANY_ERRORS,
            "message": "Too many.", "lastTransitionTime": NOW, "lastUpdateTime": NOW});
        self.edit(|web| web["status"]["conditions"].as_array_mut().unwrap().push(condition));
        self.settle();
    }

    fn reasons(&self) -> Vec<&'static str> {
        self.told.iter().map(|(reason, _)| *reason).collect()
    }
}

fn on(what: &str) -> Value {
    json!({ ROLLBACK_ON: what })
}

fn is(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

#[test]
fn a_missed_deadline_leads_back_to_the_last_complete_template() {
    let mut story = Story::of(&on("progress-deadline"));
    story.edit(|web| web["metadata"]["annotations"][CHANGE_CAUSE] = json!("bad idea"));
    story.image("bad");
    story.pass(599);
    assert_eq!((story.present().as_str(), story.condition(ROLLED_BACK)), ("bad", None));
    story.pass(2);
    assert_eq!(story.present(), "v1");
    assert_eq!(story.condition(ROLLED_BACK), is("True", TIMED_OUT));
    assert_eq!(story.condition(PROGRESSING), is("True", PROGRESSED));
    assert_eq!(story.annotation(REVISION), "3");
    let sets = story.ledger.all(&kinds::replica_set::KIND);
    let of = |image: &str| {
        sets.iter().find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == image).unwrap()
    };
    let label = |image: &str| of(image)["metadata"]["labels"][TEMPLATE_HASH].clone();
    assert_eq!((story.annotation(REFUSED), story.annotation(RESTORED)), (label("bad"), label("v1")));
    assert_eq!(of("v1")["metadata"]["annotations"].get(REFUSED), None, "it is the Deployment's alone");
    assert_eq!((&of("v1")["spec"]["replicas"], &of("bad")["spec"]["replicas"]), (&json!(3), &json!(0)));
    let name = of("bad")["metadata"]["name"].clone();
    let message =
        format!("Rolled back from revision 2 to revision 1: ReplicaSet {name} has timed out progressing.");
    assert_eq!(story.told, [("RolledBack", message)]);
}

#[test]
fn the_cause_of_a_change_belongs_to_its_template() {
    let mut story = Story::of(&json!({ROLLBACK_ON: "progress-deadline", CHANGE_CAUSE: "good"}));
    story.edit(|web| web["metadata"]["annotations"][CHANGE_CAUSE] = json!("bad"));
    story.edit(|web| web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("bad"));
    story.settle();
    story.pass(601);
    assert_eq!((story.present().as_str(), story.annotation(CHANGE_CAUSE)), ("v1", json!("good")));
}

#[test]
fn nothing_goes_back_that_did_not_ask_or_is_paused() {
    let mut unasked = Story::of(&json!({}));
    unasked.image("bad");
    unasked.pass(601);
    assert_eq!((unasked.present().as_str(), unasked.told.len()), ("bad", 0));
    assert_eq!(unasked.annotation(COMPLETE), Value::Null);
    let mut other = Story::of(&on("error-rate"));
    other.image("bad");
    other.pass(601);
    assert_eq!((other.present().as_str(), other.condition(ROLLED_BACK)), ("bad", None));
    let mut paused = Story::of(&on("progress-deadline"));
    paused.image("bad");
    paused.edit(|web| web["spec"]["paused"] = json!(true));
    paused.pass(601);
    assert_eq!((paused.present().as_str(), paused.told.len()), ("bad", 0));
    paused.edit(|web| web["spec"]["paused"] = json!(false));
    paused.settle();
    paused.pass(601);
    assert_eq!(paused.present(), "v1", "its time begins again when it is resumed");
}

#[test]
fn without_an_earlier_complete_revision_it_stays_and_says_so_once() {
    let mut story = Story::of(&json!({}));
    story.edit(|web| web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("bad"));
    story.settle();
    // Asked for too late: nobody knows any more what was complete.
    story.edit(|web| web["metadata"]["annotations"] = on("progress-deadline"));
    story.settle();
    story.pass(601);
    story.pass(601);
    assert_eq!((story.present().as_str(), story.reasons()), ("bad", vec![NO_REVISION]));
    assert_eq!(story.condition(ROLLED_BACK), is("False", NO_REVISION));
    story.image("v2");
    assert_eq!(story.condition(ROLLED_BACK), None, "the next template clears it");
}

#[test]
fn a_template_that_was_never_complete_is_passed_over() {
    let mut story = Story::of(&on("progress-deadline"));
    story.image("bad-2");
    story.image("bad-3");
    story.pass(601);
    assert_eq!(story.present(), "v1");
    assert!(story.told[0].1.starts_with("Rolled back from revision 3 to revision 1: "), "{:?}", story.told);
}

#[test]
fn asking_together_with_the_bad_template_is_early_enough() {
    let mut story = Story::of(&json!({}));
    story.edit(|web| {
        web["metadata"]["annotations"] = on("progress-deadline");
        web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("bad");
    });
    story.settle();
    story.pass(601);
    assert_eq!(story.present(), "v1");
}

#[test]
fn a_refused_template_is_not_refused_twice_and_the_next_one_is_new() {
    let mut story = Story::of(&on("progress-deadline"));
    story.image("bad");
    story.pass(601);
    story.image("bad");
    story.pass(601);
    story.pass(601);
    assert_eq!((story.present().as_str(), story.reasons()), ("bad", vec!["RolledBack", REFUSED_BEFORE]));
    assert_eq!(story.condition(ROLLED_BACK), is("False", REFUSED_BEFORE));
    story.image("bad-2");
    assert_eq!((story.annotation(REFUSED), story.annotation(RESTORED)), (Value::Null, Value::Null));
    story.pass(601);
    assert_eq!((story.present().as_str(), story.condition(ROLLED_BACK)), ("v1", is("True", TIMED_OUT)));
}

#[test]
fn what_was_restored_is_not_left_again() {
    let mut story = Story::of(&on("progress-deadline"));
    story.image("bad");
    story.pass(601);
    assert_eq!(story.reasons(), ["RolledBack"]);
    // The cluster has no room for its Pods any more.
    story.edit(|web| web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("v1"));
    for _ in 0..3 {
        story.pass(601);
    }
    assert_eq!((story.present().as_str(), story.reasons()), ("v1", vec!["RolledBack"]));
}

#[test]
fn going_back_by_hand_is_not_gone_back_from() {
    let mut story = Story::of(&on("progress-deadline"));
    story.image("v2");
    story.image("v3");
    story.edit(|web| web["spec"]["progressDeadlineSeconds"] = json!(600));
    story.image("bad");
    story.ledger.pass(601.0);
    // The deadline is missed in the same moment in which the user goes back to an old template.
    story.image("v1");
    assert_eq!((story.present().as_str(), story.reasons().len()), ("v1", 0));
    story.image("bad");
    story.pass(601);
    assert_eq!(story.present(), "v1", "it is complete now");
}

#[test]
fn failed_requests_lead_back_although_the_rollout_is_complete() {
    let mut story = Story::of(&json!({ROLLBACK_ON: "error-rate", ERROR_WINDOW: "60s"}));
    story.pass(61);
    story.image("v2");
    assert_eq!(story.condition(PROGRESSING), is("True", PROGRESSED));
    story.fail_requests();
    assert_eq!(story.present(), "v1");
    assert_eq!(
        story.told,
        [("RolledBack", "Rolled back from revision 2 to revision 1: Too many.".to_owned())]
    );
    assert_eq!(story.condition(ROLLED_BACK), is("True", TOO_MANY_ERRORS));
    assert_eq!(story.condition(REQUEST_FAILURE), None, "the restored template has not failed any");
}

#[test]
fn a_template_counts_as_complete_only_after_its_error_window() {
    let mut story = Story::of(&json!({ROLLBACK_ON: "error-rate", ERROR_WINDOW: "60s"}));
    story.pass(61);
    story.image("v2");
    story.pass(30);
    story.image("v3");
    story.fail_requests();
    assert_eq!(story.present(), "v1", "v2 had not proved itself");
    let mut story = Story::of(&json!({ROLLBACK_ON: "error-rate", ERROR_WINDOW: "60s"}));
    story.image("v2");
    story.pass(61);
    story.image("v3");
    story.fail_requests();
    assert_eq!(story.present(), "v2");
}

#[test]
fn a_way_back_that_is_refused_holds_nothing_else_up() {
    let mut story = Story::of(&on("progress-deadline"));
    story.image("bad");
    story.ledger.pass(601.0);
    let key = Name::new("default", "web");
    let mut world = story.ledger.world();
    story.ledger.carry_out(&(CONTROLLER.reconcile)(&key, &world));
    story.edit(|web| web["spec"]["replicas"] = json!(4));
    world = story.ledger.world();
    world.failure = Some(crate::mirror::Failure { reason: "FailedUpdate", message: "no".to_owned() });
    let plan = (CONTROLLER.reconcile)(&key, &world);
    assert!(plan.writes().any(|write| *write.kind == kinds::replica_set::KIND), "{plan:#?}");
}
