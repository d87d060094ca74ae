//! What follows the end of a container, as scripts.

use super::*;

#[test]
fn a_container_has_a_policy_of_its_own() {
    for (own, pod, code, again) in [
        ("Never", "Always", 1, false),
        ("OnFailure", "Always", 0, false),
        ("OnFailure", "Never", 1, true),
        ("Always", "Never", 0, true),
    ] {
        let mut spec = one(pod);
        spec["containers"][0]["restartPolicy"] = json!(own);
        let mut script = Script::new(spec);
        script.up().feed(Event::Exited(0, exit(code)));
        assert_eq!(script.wants(&Effect::Fetch(0)), again, "{own} {pod} {code}");
    }
    // The others of the Pod go by the Pod's.
    let mut script = Script::new(json!({"restartPolicy": "Always", "containers": [
        {"name": "once", "restartPolicy": "Never"}, {"name": "ever"},
    ]}));
    script.up().feed(Event::Exited(0, exit(1))).feed(Event::Exited(1, exit(0)));
    assert!(script.wants(&Effect::Fetch(1)));
    assert_eq!(script.machine.phase(), Phase::Running);
}

#[test]
fn the_first_rule_that_matches_comes_before_the_policies() {
    let rule = |operator: &str, values: &[i32]| json!({"action": "Restart", "exitCodes": {"operator": operator, "values": values}});
    let mut spec =
        json!({"restartPolicy": "Always", "containers": [{"name": "c"}], "initContainers": [{"name": "i"}]});
    for container in ["containers", "initContainers"] {
        spec[container][0]["restartPolicy"] = json!("Never");
        spec[container][0]["restartPolicyRules"] = json!([rule("In", &[42, 43]), rule("NotIn", &[0, 1, 2])]);
    }
    for (code, again) in [(42, true), (43, true), (3, true), (1, false), (0, false)] {
        let mut script = Script::new(spec.clone());
        script.up().feed(Event::Exited(0, exit(code)));
        assert_eq!(script.wants(&Effect::Fetch(0)), again, "init container, {code}");
        let mut script = Script::new(spec.clone());
        script.up().feed(Event::Exited(0, exit(0))).serve().feed(Event::Exited(1, exit(code)));
        assert_eq!(script.wants(&Effect::Fetch(1)), again, "{code}");
    }
    // What ran when the node stopped was killed, and that has a code, too.
    let mut script = Script::new(spec.clone());
    script.up();
    let record = Some(script.machine.record());
    let mut script = Script::with(script.machine.pod().clone(), record.clone());
    assert_eq!(script.up().running(), ["i"], "137 is in no list");
    spec["initContainers"][0]["restartPolicyRules"] = json!([]);
    let mut script = Script::with(pod(spec), record);
    assert_eq!(script.up().machine.phase(), Phase::Failed);
}

/// A Pod of two init containers, the second of which stays, and three main ones, of which `watch` with 88 lets all of it
/// begin anew.
fn watched() -> Value {
    json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "a", "image": "i"}, {"name": "side", "restartPolicy": "Always"}],
        "containers": [
            {"name": "done"},
            {"name": "work", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}},
            {"name": "watch", "restartPolicy": "Never", "restartPolicyRules": [
                {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}},
            ]},
        ],
    })
}

fn killed() -> Exit {
    Exit { code: KILLED, reason: ExitReason::Killed, message: String::new() }
}

fn restarts(script: &Script) -> Vec<i32> {
    let status = script.status();
    let all = status.init_container_statuses.iter().chain(&status.container_statuses);
    all.map(|one| one.restart_count).collect()
}

#[test]
fn a_pod_begins_anew_in_its_place() {
    let mut script = Script::new(watched());
    script.up().feed(Event::Exited(0, exit(0))).serve();
    assert_eq!(script.condition("AllContainersRestarting"), "False");
    script.feed(Event::Exited(2, exit(0)));
    assert_eq!(script.running(), ["side", "work", "watch"]);

    script.feed(Event::Exited(4, exit(88)));
    let told = "Normal RestartAllContainers Container watch exited with code 88, triggering pod restart";
    assert_eq!(script.tales(), [told]);
    assert!(
        script.wants(&Effect::Kill(1)) && script.wants(&Effect::Kill(3)),
        "without hooks: {:?}",
        script.effects
    );
    let why = "True RestartAllContainersStarted container exited with restart policy rule";
    assert_eq!(script.condition("AllContainersRestarting"), why);
    assert_eq!(script.machine.wake_at(), None, "it waits for their ends");
    assert_eq!(script.pass(1).effects, []);
    script.feed(Event::Exited(3, killed()));
    for container in [0, 1, 2] {
        assert_eq!(script.waiting(container), "RestartingAllContainers");
    }
    assert!(!script.effects.iter().any(|effect| matches!(effect, Effect::Fetch(_))), "one still runs");
    script.feed(Event::Exited(1, killed())).serve();
    assert_eq!(script.running(), ["a"], "its init containers come first, and nothing else does");
    assert_eq!((script.machine.phase(), script.condition("Initialized").as_str()), (Phase::Running, "True"));
    assert_eq!(script.waiting(1), "PodInitializing");
    assert_eq!(script.condition("AllContainersRestarting"), "False");
    script.feed(Event::Exited(0, exit(0))).serve();
    assert_eq!(script.running(), ["side", "done", "work", "watch"], "also who had ended well");
    assert_eq!(restarts(&script), [1, 1, 1, 1, 1]);
    let status = script.status();
    let last = |index: usize| status.container_statuses[index].last_state.terminated.clone().expect("it ran");
    assert_eq!((last(0).exit_code, last(2).exit_code), (0, 88));
    assert_eq!((last(1).exit_code, last(1).reason.as_str()), (137, "RestartingAllContainers"));

    // Again, and now it waits as for any restart after the first. Who is about to end by a hook does not do so longer.
    script.feed(Event::Probed(3, Probed::Dead { probe: "liveness" }));
    script.feed(Event::Exited(4, exit(88)));
    for index in [1, 2, 3] {
        assert!(script.machine.slots()[index].is_alive());
        script.feed(Event::Exited(index, killed()));
    }
    assert_eq!((script.running().len(), script.waiting(2).as_str()), (0, "CrashLoopBackOff"));
    assert_eq!(script.machine.wake_at(), Some(script.now.mono + Duration::from_secs(10)));
    script.pass(10).serve();
    assert_eq!(script.running(), ["a"]);
    assert_eq!(restarts(&script), [2, 2, 2, 2, 2]);
    // A deletion comes first.
    script.feed(Event::Exited(0, exit(0))).serve();
    assert_eq!(restarts(&script), [2, 2, 2, 2, 2]);
    script.feed(Event::Exited(4, exit(88))).delete(0);
    assert_eq!(script.condition("AllContainersRestarting"), "False");
    for index in [1, 2, 3] {
        script.feed(Event::Exited(index, killed()));
    }
    assert!(script.machine.is_over(), "{:?}", script.running());
}

#[test]
fn who_was_not_its_turn_has_not_begun_anew() {
    let mut spec = watched();
    let rules = spec["containers"][2]["restartPolicyRules"].clone();
    spec["initContainers"][0]["restartPolicy"] = json!("Never");
    spec["initContainers"][0]["restartPolicyRules"] = rules;
    let mut script = Script::new(spec);
    script.up();
    for round in 1..4 {
        script.feed(Event::Exited(0, exit(88)));
        assert!(script.condition("Initialized").starts_with("False"), "it has never been so");
        if script.serve().running().is_empty() {
            script.pass(300).serve();
        }
        assert_eq!((script.running(), restarts(&script)), (vec!["a"], vec![round, 0, 0, 0, 0]));
    }
    // Somebody who looks at it does not wait, nor does another image.
    script.feed(Event::Exited(0, exit(88)));
    assert!(script.machine.is_ending_anew());
    script.change("/spec/initContainers/0/image", json!("other"));
    assert!(!script.machine.is_ending_anew() && script.wants(&Effect::Fetch(0)), "{:?}", script.effects);
}

#[test]
fn who_is_about_to_start_is_ended_too_and_an_old_image_is_not_taken() {
    let mut script = Script::new(watched());
    script.up().feed(Event::Exited(0, exit(0))).serve();
    let all_again = |script: &mut Script, without: usize| {
        script.feed(Event::Exited(4, exit(88)));
        for index in [1, 2, 3].into_iter().filter(|index| *index != without) {
            script.feed(Event::Exited(index, killed()));
        }
    };
    all_again(&mut script, 0);
    script.serve().feed(Event::Exited(0, exit(0))).serve();
    assert_eq!(script.running(), ["side", "done", "work", "watch"]);
    // A container that could not be created does not wake it before its time.
    script.feed(Event::Exited(1, exit(1)));
    script.pass(20);
    script.pulled(1);
    assert!(script.wants(&Effect::Start(1)), "{:?}", script.effects);
    all_again(&mut script, 1);
    let failure = Failure { reason: "CreateContainerError", message: "no".into() };
    script.feed(Event::Started(1, Err(failure)));
    script.pass(2);
    assert_eq!(script.machine.wake_at(), Some(script.now.mono + Duration::from_secs(8)));
    // What was fetched before is not what is wanted now.
    script.pass(8);
    let old = Event::Image(0, Ok(ImageFound { name: "older".into(), id: "i@0".into() }));
    assert_eq!(script.feed(old).effects, []);
    assert!(script.pulled(0).wants(&Effect::Start(0)));
}

#[test]
fn a_node_that_restarts_lets_a_pod_begin_anew_that_was_about_to() {
    let mut script = Script::new(watched());
    script.up().feed(Event::Exited(0, exit(0))).serve();
    script.feed(Event::Exited(4, exit(88))).feed(Event::Exited(3, killed()));
    let record = serde_json::to_value(script.machine.record()).expect("a record");
    let record = serde_json::from_value(record).expect("a record");
    let mut again = Script::with(script.machine.pod().clone(), Some(record));
    assert_eq!(again.up().running(), ["a"]);
    assert_eq!(again.condition("Initialized"), "True");
    again.feed(Event::Exited(0, exit(0))).serve();
    assert_eq!(again.running(), ["side", "done", "work", "watch"]);
    assert_eq!(restarts(&again), [1, 1, 1, 1, 1]);
    // One that is over stays so.
    script.feed(Event::Terminated(Duration::ZERO)).feed(Event::Drained);
    for index in [1, 2] {
        script.feed(Event::Exited(index, killed()));
    }
    assert_eq!(script.machine.phase(), Phase::Failed);
    let over = Script::with(script.machine.pod().clone(), Some(script.machine.record()));
    let told = |script: &Script| -> Vec<_> {
        let all = script.status().container_statuses.into_iter();
        all.map(|one| (one.restart_count, one.state)).collect()
    };
    assert_eq!(told(&over), told(&script));

    // What was killed with the node has a code, too.
    let mut spec = watched();
    spec["containers"][2]["restartPolicyRules"][0]["exitCodes"] = json!({"operator": "NotIn", "values": [0]});
    let mut script = Script::new(spec);
    script.up().feed(Event::Exited(0, exit(0))).serve();
    let record = Some(script.machine.record());
    let mut again = Script::with(script.machine.pod().clone(), record);
    assert_eq!(again.up().running(), ["a"], "with all of it");
    assert_eq!((again.machine.phase(), again.condition("Initialized").as_str()), (Phase::Running, "True"));
    // Where only sidecars are left there is nothing to begin.
    let mut spec = watched();
    let rules =
        json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}]);
    spec["initContainers"][1]["restartPolicyRules"] = rules;
    let mut script = Script::new(spec);
    script.up().feed(Event::Exited(0, exit(0))).serve();
    for index in [2, 3, 4] {
        script.feed(Event::Exited(index, exit(0)));
    }
    let record = Some(script.machine.record());
    let mut again = Script::with(script.machine.pod().clone(), record);
    again.up();
    assert!(!again.running().contains(&"a"), "{:?}", again.running());
}
