//! The machine's rules, as scripts of events and what follows.

use serde_json::{Value, json};

use super::*;
use crate::supervisor::status::{Addresses, status};

#[path = "machine/restart_tests.rs"]
mod restart;

/// A machine, its clock, and what it wanted.
struct Script {
    machine: Machine,
    now: Now,
    effects: Vec<Effect>,
}

fn pod(spec: Value) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec});
    Arc::new(serde_json::from_value(pod).expect("a Pod"))
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]})
}

fn exit(code: i32) -> Exit {
    let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
    Exit { code, reason, message: String::new() }
}

impl Script {
    fn new(spec: Value) -> Script {
        Script::with(pod(spec), None)
    }

    fn with(pod: Arc<Pod>, record: Option<PodRecord>) -> Script {
        let now = Now { mono: Duration::from_secs(1000), wall: Timestamp::from_seconds(1_700_000_000) };
        let mut script = Script { machine: Machine::new(pod.clone(), record, now), now, effects: Vec::new() };
        script.feed(Event::Changed(pod));
        script
    }

    fn feed(&mut self, event: Event) -> &mut Script {
        self.effects = self.machine.step(event, self.now);
        self
    }

    /// Prepared, and every container that wants it gets its image and starts.
    fn up(&mut self) -> &mut Script {
        self.feed(Event::Prepared);
        self.serve()
    }

    /// The image that a container wants is there.
    fn found(&self, index: usize) -> Event {
        let name = self.machine.slots()[index].wanted.clone();
        Event::Image(index, Ok(ImageFound { name, id: "i@1".into() }))
    }

    fn pulled(&mut self, index: usize) -> &mut Script {
        self.feed(self.found(index))
    }

    /// Carries out fetches and starts until there are none.
    fn serve(&mut self) -> &mut Script {
        let mut told = Vec::new();
        loop {
            let next = self.effects.iter().find_map(|effect| match effect {
                Effect::Fetch(index) => Some(self.found(*index)),
                Effect::Start(index) => {
                    let container = self.machine.container(*index);
                    let lifecycle = container.lifecycle.as_ref();
                    let started = Started {
                        id: format!("edgectl://{index}"),
                        resources: container.resources.clone(),
                        has_hook: lifecycle.is_some_and(|lifecycle| lifecycle.post_start.is_some()),
                        has_startup: false,
                        has_readiness: false,
                    };
                    Some(Event::Started(*index, Ok(started)))
                }
                _ => None,
            });
            let Some(next) = next else { break };
            let done =
                self.effects.iter().position(|effect| matches!(effect, Effect::Fetch(_) | Effect::Start(_)));
            self.effects.remove(done.expect("just found"));
            let mut rest = std::mem::take(&mut self.effects);
            self.feed(next);
            rest.append(&mut self.effects);
            told.extend(
                rest.iter().filter(|effect| !matches!(effect, Effect::Fetch(_) | Effect::Start(_))).cloned(),
            );
            rest.retain(|effect| matches!(effect, Effect::Fetch(_) | Effect::Start(_)));
            self.effects = rest;
        }
        self.effects = told;
        self
    }

    fn pass(&mut self, seconds: u64) -> &mut Script {
        self.now.mono += Duration::from_secs(seconds);
        self.now.wall = self.now.wall.plus(Duration::from_secs(seconds));
        self.feed(Event::Tick)
    }

    fn delete(&mut self, grace: i64) -> &mut Script {
        let mut pod = (**self.machine.pod()).clone();
        pod.metadata.deletion_timestamp = Some(self.now.wall);
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.feed(Event::Changed(Arc::new(pod)))
    }

    fn change(&mut self, path: &str, value: Value) -> &mut Script {
        let mut pod = serde_json::to_value(&**self.machine.pod()).expect("a Pod");
        *pod.pointer_mut(path).expect("it is there") = value;
        self.feed(Event::Changed(Arc::new(serde_json::from_value(pod).expect("a Pod"))))
    }

    fn wants(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    /// The Events that it wanted to be written.
    fn tales(&self) -> Vec<String> {
        let type_ = |tale: &Tale| if tale.warning { "Warning" } else { "Normal" };
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(tale) => Some(format!("{} {} {}", type_(tale), tale.reason, tale.message)),
            _ => None,
        });
        told.collect()
    }

    fn status(&self) -> edge_api::kinds::pod::PodStatus {
        status(&self.machine, Addresses { pod: None, host: [127, 0, 0, 1].into() }, &[], self.now)
    }

    fn waiting(&self, container: usize) -> String {
        self.status().container_statuses[container]
            .state
            .waiting
            .clone()
            .map(|waiting| waiting.reason)
            .unwrap_or_default()
    }

    fn condition(&self, type_: &str) -> String {
        let status = self.status();
        let found =
            status.conditions.iter().find(|condition| condition.type_ == type_).expect("always there");
        format!("{} {} {}", found.status, found.reason, found.message).trim().to_owned()
    }

    fn running(&self) -> Vec<&str> {
        self.machine.slots().iter().filter(|slot| slot.is_alive()).map(|slot| slot.name.as_str()).collect()
    }
}

#[test]
fn from_bound_to_ready() {
    let mut script = Script::new(one("Always"));
    assert_eq!(script.effects, [Effect::Prepare]);
    assert_eq!((script.machine.phase(), script.waiting(0).as_str()), (Phase::Pending, "ContainerCreating"));
    script.feed(Event::Prepared);
    assert!(script.wants(&Effect::Fetch(0)));
    script.serve();
    assert_eq!(script.machine.phase(), Phase::Running);
    assert_eq!(script.condition("Ready"), "True");
    assert_eq!(script.condition("PodReadyToStartContainers"), "True");
    let reasons = script.effects.iter().filter_map(|effect| match effect {
        Effect::Tell(tale) => Some(tale.reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["Created", "Started"]);
}

#[test]
fn another_image_begins_another_run_whatever_the_policy() {
    for policy in ["Always", "Never"] {
        let mut script = Script::new(one(policy));
        script.up();
        let image = |script: &Script| script.status().container_statuses[0].image.clone();
        let old = image(&script);
        script.change("/spec/containers/0/image", json!("other.wasm"));
        assert!(script.wants(&Effect::Kill(0)), "{:?}", script.effects);
        let why = "Container c definition changed, will be restarted";
        assert!(script.wants(&tell(Some(0), "Killing", why.to_owned())), "{:?}", script.effects);
        assert_eq!(image(&script), old, "it is what runs");
        script.feed(Event::Exited(0, exit(137)));
        assert!(script.wants(&Effect::Fetch(0)), "{:?}", script.effects);
        script.serve();
        assert_eq!((image(&script).as_str(), script.running().as_slice()), ("other.wasm", &["c"][..]));
        assert_eq!(script.status().container_statuses[0].restart_count, 1);
        script.change("/spec/containers/0/image", json!("other.wasm"));
        assert_eq!(script.effects, [], "nothing has changed");
    }
}

#[test]
fn another_image_does_not_wait_for_what_the_old_one_did() {
    let other = |script: &mut Script| {
        script.change("/spec/containers/0/image", json!("other.wasm"));
        assert!(script.wants(&Effect::Fetch(0)), "{:?}", script.effects);
        assert!(!script.machine.slots()[0].ran_wanted(), "it is not what ran");
        let status = script.status().container_statuses.remove(0);
        assert_eq!((status.image.as_str(), status.image_id.as_str()), ("other.wasm", ""));
        script.serve();
        assert_eq!(script.running(), ["c"]);
        assert!(script.machine.slots()[0].ran_wanted());
    };
    // One that crashes …
    let mut script = Script::new(one("Always"));
    script.up();
    script.feed(Event::Exited(0, exit(1))).serve();
    for delay in [10, 20] {
        script.feed(Event::Exited(0, exit(1))).pass(delay).serve();
    }
    script.feed(Event::Exited(0, exit(1)));
    assert_eq!(script.waiting(0), "CrashLoopBackOff");
    other(&mut script);
    script.feed(Event::Exited(0, exit(1)));
    assert!(script.wants(&Effect::Fetch(0)), "its first restart follows at once");
    // … and one that is not found.
    let mut script = Script::new(one("Always"));
    script.feed(Event::Prepared);
    let failure = Failure { reason: "ErrImagePull", message: "no".to_owned() };
    script.feed(Event::Image(0, Err(failure)));
    assert_eq!(script.waiting(0), "ErrImagePull");
    other(&mut script);
}

#[test]
fn restarts_back_off_and_forget() {
    let mut script = Script::new(one("Always"));
    script.up();
    // The first restart follows at once.
    script.feed(Event::Exited(0, exit(1)));
    assert!(script.wants(&Effect::Fetch(0)), "{:?}", script.effects);
    script.serve();
    assert_eq!(script.status().container_statuses[0].restart_count, 1);
    for delay in [10, 20, 40, 80, 160, 300, 300] {
        script.feed(Event::Exited(0, exit(1)));
        let told = "Back-off restarting failed container c in pod p_ns(u)";
        assert!(script.wants(&warn(Some(0), "BackOff", told.to_owned())), "{:?}", script.effects);
        assert_eq!(script.waiting(0), "CrashLoopBackOff");
        let message = script.status().container_statuses[0].state.waiting.clone().expect("waits").message;
        let shown = if delay >= 60 { format!("{}m{}s", delay / 60, delay % 60) } else { format!("{delay}s") };
        assert_eq!(message, format!("back-off {shown} restarting failed container=c pod=p_ns(u)"));
        script.pass(delay - 1);
        assert!(script.running().is_empty());
        script.pass(1).serve();
        assert_eq!(script.running(), ["c"]);
    }
    // A long run is forgiven.
    script.pass(600).feed(Event::Exited(0, exit(1)));
    assert!(script.wants(&Effect::Fetch(0)));
}

#[test]
fn restart_policies() {
    for (policy, code, again, phase) in [
        ("Always", 0, true, Phase::Running),
        ("Always", 1, true, Phase::Running),
        ("OnFailure", 1, true, Phase::Running),
        ("OnFailure", 0, false, Phase::Succeeded),
        ("Never", 0, false, Phase::Succeeded),
        ("Never", 1, false, Phase::Failed),
    ] {
        let mut script = Script::new(one(policy));
        script.up().feed(Event::Exited(0, exit(code)));
        assert_eq!(script.wants(&Effect::Fetch(0)), again, "{policy} {code}");
        assert_eq!(script.machine.phase(), phase, "{policy} {code}");
    }
}

#[test]
fn out_of_memory_is_named() {
    let mut script = Script::new(one("Never"));
    script
        .up()
        .feed(Event::Exited(0, Exit { code: 137, reason: ExitReason::OomKilled, message: "m".into() }));
    let ended = script.status().container_statuses[0].state.terminated.clone().expect("ended");
    assert_eq!((ended.exit_code, ended.reason.as_str(), ended.message.as_str()), (137, "OOMKilled", "m"));
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    let mut script = Script::new(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "a"}, {"name": "side", "restartPolicy": "Always"}, {"name": "b"}],
        "containers": [{"name": "main"}],
    }));
    script.up();
    assert_eq!(script.running(), ["a"]);
    assert_eq!(script.waiting(0), "PodInitializing");
    assert_eq!(
        script.condition("Initialized"),
        "False ContainersNotInitialized containers with incomplete status: [a side b]"
    );
    script.feed(Event::Exited(0, exit(0))).serve();
    assert_eq!(script.running(), ["side", "b"]);
    script.feed(Event::Exited(2, exit(0))).serve();
    assert_eq!(script.running(), ["side", "main"]);
    assert_eq!(script.condition("Initialized"), "True");
    // A sidecar that ends is restarted even under Never, and does not hold up the others.
    script.feed(Event::Exited(1, exit(0))).serve();
    assert_eq!(script.running(), ["side", "main"]);
    // When the main container is done, the sidecar is let go.
    script.feed(Event::Exited(3, exit(0)));
    let by = script.now.mono + Duration::from_secs(30);
    assert!(script.wants(&Effect::Drain { by, hooks: false }));
    assert_eq!(script.machine.phase(), Phase::Running);
    script.feed(Event::Drained);
    assert!(script.wants(&Effect::Kill(1)));
    script.feed(Event::Exited(1, exit(137)));
    assert_eq!(script.machine.phase(), Phase::Succeeded);
}

#[test]
fn a_failed_init_container_fails_or_repeats() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "a"}], "containers": [{"name": "main"}]});
    let mut never = Script::new(spec("Never"));
    never.up().feed(Event::Exited(0, exit(1)));
    assert_eq!(never.machine.phase(), Phase::Failed);
    let mut always = Script::new(spec("Always"));
    always.up().feed(Event::Exited(0, exit(1))).serve();
    assert_eq!(always.running(), ["a"]);
}

#[test]
fn a_deleted_pod_drains_and_then_goes() {
    let mut script = Script::new(one("Always"));
    script.up().delete(30);
    assert!(script.wants(&Effect::Drain { by: script.now.mono + Duration::from_secs(30), hooks: false }));
    assert!(script.condition("Ready").starts_with("False ContainersNotReady"));
    assert_eq!(script.running(), ["c"], "what is under way goes on");
    script.feed(Event::Drained);
    assert_eq!(script.effects, [Effect::Kill(0)]);
    script.feed(Event::Exited(0, exit(137)));
    assert!(script.wants(&Effect::Delete));
    assert_eq!(script.machine.phase(), Phase::Failed);
    script.feed(Event::Removed);
    assert_eq!(script.effects, [Effect::Release]);
    assert!(script.machine.is_released());
}

#[test]
fn patience_ends_with_the_grace_period() {
    let mut script = Script::new(one("Always"));
    script.up().delete(30);
    assert_eq!(script.machine.wake_at(), Some(script.now.mono + Duration::from_secs(30)));
    script.pass(29);
    assert!(script.effects.is_empty());
    script.pass(1);
    assert_eq!(script.effects, [Effect::Kill(0)]);
    // A shorter grace hastens the end.
    let mut script = Script::new(one("Always"));
    script.up().delete(30).delete(0);
    assert!(script.wants(&Effect::Kill(0)));
}

#[test]
fn a_pod_that_vanished_is_killed_at_once() {
    let mut script = Script::new(one("Always"));
    script.up().feed(Event::Removed);
    assert!(script.wants(&Effect::Kill(0)));
    script.feed(Event::Exited(0, exit(137)));
    assert!(script.wants(&Effect::Release) && !script.wants(&Effect::Delete));
}

#[test]
fn a_pod_deleted_before_it_began_just_goes() {
    let mut script = Script::new(one("Always"));
    script.delete(30);
    assert!(script.wants(&Effect::Delete));
    let mut starting = Script::new(one("Always"));
    starting.feed(Event::Prepared).pulled(0);
    starting.delete(0);
    assert!(starting.wants(&Effect::Abort(0)) && starting.wants(&Effect::Delete), "{:?}", starting.effects);
}

#[test]
fn images_that_cannot_be_had_are_asked_for_again() {
    let failure = || Failure { reason: "ErrImagePull", message: "no".into() };
    let mut script = Script::new(one("Always"));
    script.feed(Event::Prepared).feed(Event::Image(0, Err(failure())));
    assert_eq!(script.waiting(0), "ErrImagePull");
    script.pass(1);
    assert!(script.wants(&Effect::Fetch(0)));
    assert_eq!(script.waiting(0), "ErrImagePull", "nothing else is shown while it is tried again");
    script.feed(Event::Image(0, Err(failure())));
    assert_eq!(script.waiting(0), "ImagePullBackOff");
    let told = script.effects.iter().filter_map(|effect| match effect {
        Effect::Tell(tale) => Some((tale.reason, tale.warning, tale.message.as_str())),
        _ => None,
    });
    let expected = [
        ("Failed", true, "Failed to pull image \"i\": no"),
        ("Failed", true, "Error: ErrImagePull"),
        ("BackOff", false, "Back-off pulling image \"i\""),
        ("Failed", true, "Error: ImagePullBackOff"),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    script.pass(9);
    assert!(script.effects.is_empty());
    script.pass(1).serve();
    assert_eq!(script.running(), ["c"]);
}

#[test]
fn a_missing_object_is_tried_again_when_it_comes() {
    let failure =
        Failure { reason: "CreateContainerConfigError", message: "configmap \"x\" not found".into() };
    let mut script = Script::new(one("Always"));
    script.feed(Event::Prepared).pulled(0);
    script.feed(Event::Started(0, Err(failure)));
    assert_eq!(script.waiting(0), "CreateContainerConfigError");
    script.feed(Event::Refreshed);
    assert!(script.wants(&Effect::Fetch(0)));
}

#[test]
fn probes_decide() {
    let mut script = Script::new(json!({
        "restartPolicy": "Always",
        "containers": [{"name": "c", "readinessProbe": {"tcpSocket": {"port": 1}}, "startupProbe": {"tcpSocket": {"port": 1}}}],
    }));
    script.feed(Event::Prepared).pulled(0);
    let started = Started {
        id: "x".into(),
        resources: ResourceRequirements::default(),
        has_hook: false,
        has_startup: true,
        has_readiness: true,
    };
    script.feed(Event::Started(0, Ok(started)));
    assert_eq!(script.status().container_statuses[0].started, Some(false));
    script.feed(Event::Probed(0, Probed::Ready(true)));
    assert!(script.condition("Ready").starts_with("False"), "not before it has started");
    script.feed(Event::Probed(0, Probed::Up)).feed(Event::Probed(0, Probed::Ready(true)));
    assert_eq!(script.condition("Ready"), "True");
    script.feed(Event::Probed(0, Probed::Ready(false)));
    assert_eq!(script.condition("Ready"), "False ContainersNotReady containers with unready status: [c]");
    script.feed(Event::Probed(0, Probed::Dead { probe: "liveness" }));
    assert!(script.wants(&Effect::Kill(0)));
    script.feed(Event::Exited(0, exit(137)));
    assert!(script.wants(&Effect::Fetch(0)), "restarted");
}

#[test]
fn the_deadline_of_a_pod() {
    let mut spec = one("Always");
    spec["activeDeadlineSeconds"] = 60.into();
    spec["terminationGracePeriodSeconds"] = 5.into();
    let mut script = Script::new(spec);
    script.up();
    assert_eq!(script.machine.wake_at(), Some(script.now.mono + Duration::from_secs(60)));
    script.pass(60);
    let told = "Pod was active on the node longer than the specified deadline";
    assert!(script.wants(&tell(None, "DeadlineExceeded", told.to_owned())));
    assert!(
        script.condition("Ready").starts_with("False ContainersNotReady"),
        "nothing else tells that it ends"
    );
    script.feed(Event::Drained);
    assert!(script.wants(&Effect::Kill(0)));
    script.feed(Event::Exited(0, exit(0)));
    assert_eq!(
        (script.status().phase.as_str(), script.status().reason.as_str()),
        ("Failed", "DeadlineExceeded")
    );
    assert_eq!(script.condition("Ready"), "False PodFailed");
    assert!(!script.wants(&Effect::Delete), "the API keeps it");
    script.delete(30);
    assert!(script.wants(&Effect::Delete));
}

#[test]
fn what_was_before_a_restart_of_the_node_is_remembered() {
    let mut script = Script::new(json!({
        "restartPolicy": "Always", "initContainers": [{"name": "i"}], "containers": [{"name": "c"}],
    }));
    script.up().feed(Event::Exited(0, exit(0))).serve();
    script.feed(Event::Exited(1, exit(1))).serve();
    let record = script.machine.record();
    let json = serde_json::to_vec(&record).expect("text");
    let record: PodRecord = serde_json::from_slice(&json).expect("the same");
    let mut again = Script::with(script.machine.pod().clone(), Some(record.clone()));
    again.up();
    assert_eq!(again.running(), ["c"], "the init container is done");
    assert_eq!(again.status().container_statuses[0].restart_count, 1);
    assert_eq!(again.status().start_time, script.status().start_time);
}

#[test]
fn what_never_restarts_is_not_restarted_by_the_node_either() {
    let mut script = Script::new(one("Never"));
    script.up();
    let again = {
        let mut again = Script::with(script.machine.pod().clone(), Some(script.machine.record()));
        again.up();
        again
    };
    assert_eq!(again.machine.phase(), Phase::Failed);
    let over = Script::with(script.machine.pod().clone(), Some(again.machine.record()));
    assert_eq!(over.machine.phase(), Phase::Failed);
    assert!(over.effects.is_empty(), "nothing is prepared for a Pod that is over");
}

#[test]
fn readiness_gates_are_the_last_word() {
    let mut spec = one("Always");
    spec["readinessGates"] = json!([{"conditionType": "example.com/x"}]);
    let mut script = Script::new(spec);
    script.up();
    assert_eq!(script.condition("ContainersReady"), "True");
    assert!(script.condition("Ready").starts_with("False ReadinessGatesNotReady"));
    let mut pod = (**script.machine.pod()).clone();
    let condition = json!({"type": "example.com/x", "status": "True"});
    pod.status.conditions.push(serde_json::from_value(condition).expect("a condition"));
    script.feed(Event::Changed(Arc::new(pod.clone())));
    assert_eq!(script.condition("Ready"), "True");
    pod.status.conditions[0].status = "False".into();
    script.feed(Event::Changed(Arc::new(pod)));
    assert_eq!(
        script.condition("Ready"),
        "False ReadinessGatesNotReady the status of pod readiness gate \"example.com/x\" is not \"True\", but False"
    );
}

#[test]
fn sidecars_end_after_the_others_and_the_last_one_first() {
    let mut script = Script::new(json!({
        "restartPolicy": "Always",
        "initContainers": [{"name": "one", "restartPolicy": "Always"}, {"name": "two", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}],
    }));
    script.up().delete(30).feed(Event::Drained);
    for container in [2, 1, 0] {
        assert_eq!(script.effects.iter().filter(|effect| matches!(effect, Effect::Kill(_))).count(), 1);
        assert!(script.wants(&Effect::Kill(container)), "{container}: {:?}", script.effects);
        script.feed(Event::Exited(container, exit(137)));
    }
    assert!(script.wants(&Effect::Delete));
}

fn hooks(hooks: Value) -> Value {
    json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": 20, "containers": [{
        "name": "c", "lifecycle": hooks,
        "livenessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 7},
    }]})
}

#[test]
fn nothing_runs_before_its_post_start_is_done() {
    let mut script = Script::new(hooks(json!({"postStart": {"sleep": {"seconds": 1}}})));
    script.up();
    assert_eq!((script.waiting(0).as_str(), script.machine.phase()), ("ContainerCreating", Phase::Pending));
    assert_eq!(
        script.condition("ContainersReady"),
        "False ContainersNotReady containers with unready status: [c]"
    );
    script.feed(Event::PostStart(0, Hook::Done));
    assert_eq!((script.condition("Ready").as_str(), script.machine.phase()), ("True", Phase::Running));
    script.feed(Event::PostStart(0, Hook::Failed));
    assert!(script.effects.is_empty(), "it is done once");
}

#[test]
fn a_failed_post_start_ends_the_container() {
    let mut script = Script::new(hooks(json!({"postStart": {"exec": {"command": ["x"]}}})));
    script.up().feed(Event::PostStart(0, Hook::Failed));
    let told: Vec<_> = script
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Tell(tale) => Some((tale.warning, tale.reason, tale.message.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [(true, "FailedPostStartHook", "PostStartHook failed"), (false, "Killing", "FailedPostStartHook")]
    );
    assert!(script.wants(&Effect::Kill(0)));
    script.feed(Event::Exited(0, exit(137)));
    assert!(script.wants(&Effect::Fetch(0)), "the restart policy decides");
}

#[test]
fn a_container_that_ends_by_itself_needs_no_hook() {
    let mut script = Script::new(hooks(json!({"postStart": {"sleep": {"seconds": 100}}})));
    script.up().feed(Event::Exited(0, exit(1)));
    assert!(script.wants(&Effect::Fetch(0)));
}

#[test]
fn pre_stop_has_the_grace_period_and_two_seconds() {
    let mut script = Script::new(hooks(json!({"preStop": {"sleep": {"seconds": 60}}})));
    script.up().delete(20);
    assert!(script.wants(&Effect::Drain { by: script.now.mono + Duration::from_secs(20), hooks: true }));
    script.pass(20);
    assert!(script.effects.is_empty(), "{:?}", script.effects);
    assert_eq!(script.machine.wake_at(), Some(script.now.mono + Duration::from_secs(2)));
    script.pass(2);
    assert_eq!(script.effects, [Effect::Kill(0)]);
    // One that is done in time gives the rest to what is under way.
    let mut script = Script::new(hooks(json!({"preStop": {"sleep": {"seconds": 1}}})));
    script.up().delete(20).pass(5);
    assert_eq!(script.condition("Ready"), "True", "it serves who has nobody else");
    script.feed(Event::Hooked);
    assert!(script.condition("Ready").starts_with("False ContainersNotReady"));
    assert_eq!(script.machine.wake_at(), Some(script.now.mono + Duration::from_secs(15)));
    script.pass(15);
    assert_eq!(script.effects, [Effect::Kill(0)]);
    // One that ends for another reason is out of routing already, and does not come back when it is deleted.
    let mut spec = hooks(json!({"preStop": {"sleep": {"seconds": 60}}}));
    spec["activeDeadlineSeconds"] = 10.into();
    let mut script = Script::new(spec);
    script.up().pass(10).delete(20);
    assert!(script.condition("Ready").starts_with("False ContainersNotReady"));
    // Without any grace there is no time for it.
    let mut script = Script::new(hooks(json!({"preStop": {"sleep": {"seconds": 1}}})));
    script.up().delete(0);
    assert!(
        script.wants(&Effect::Drain { by: script.now.mono, hooks: false }) && script.wants(&Effect::Kill(0))
    );
}

#[test]
fn pre_stop_comes_before_every_end_by_the_node() {
    let mut script = Script::new(hooks(json!({"preStop": {"sleep": {"seconds": 60}}})));
    script.up().feed(Event::Probed(0, Probed::Dead { probe: "liveness" }));
    let by = script.now.mono + Duration::from_secs(7);
    assert!(script.wants(&Effect::Stop { container: 0, by }), "{:?}", script.effects);
    // A deletion meanwhile does not wait for it longer than it says.
    script.delete(3).feed(Event::Hooked).pass(3);
    assert_eq!(script.effects, [Effect::Kill(0)]);
}

#[test]
fn the_deadline_of_a_pod_counts_from_its_first_start() {
    let mut spec = one("Always");
    spec["activeDeadlineSeconds"] = 60.into();
    let mut script = Script::new(spec);
    script.up().pass(40);
    let mut again = Script::with(script.machine.pod().clone(), Some(script.machine.record()));
    again.now.wall = script.now.wall;
    again.feed(Event::Prepared);
    assert_eq!(again.machine.wake_at(), Some(again.now.mono + Duration::from_secs(20)));
}

#[test]
fn a_second_that_turns_makes_no_pod_older() {
    let mut spec = one("Always");
    spec["activeDeadlineSeconds"] = 1.into();
    let mut script = Script::new(spec);
    let soon = Duration::from_millis(50);
    script.now.mono += soon;
    script.now.wall = script.now.wall.plus(Duration::from_secs(1));
    script.feed(Event::Prepared);
    assert_eq!(script.machine.wake_at(), Some(script.now.mono + Duration::from_secs(1) - soon));
}

#[test]
fn an_ephemeral_container_runs_once_and_counts_for_nothing() {
    let mut spec = one("OnFailure");
    spec["initContainers"] = json!([{"name": "first", "image": "i"}]);
    spec["ephemeralContainers"] = json!([{"name": "early", "image": "i"}]);
    let mut script = Script::new(spec);
    script.up();
    assert_eq!(script.running(), ["first", "early"], "it may look at an init container");
    script.feed(Event::Exited(0, exit(0))).serve();
    assert_eq!((script.running(), script.condition("Ready").as_str()), (vec!["c", "early"], "True"));
    let more = json!([{"name": "early", "image": "i"}, {"name": "late", "image": "i"}]);
    script.change("/spec/ephemeralContainers", more).serve();
    assert_eq!(script.running(), ["c", "early", "late"]);
    script.feed(Event::Exited(3, exit(1)));
    assert!(!script.wants(&Effect::Fetch(3)), "never again");
    assert_eq!(script.condition("Ready"), "True");
    let status = script.status();
    assert_eq!((status.container_statuses.len(), status.ephemeral_container_statuses.len()), (1, 2));
    let ended = status.ephemeral_container_statuses[1].state.terminated.as_ref().expect("it has ended");
    assert_eq!(ended.exit_code, 1);
    let record = script.machine.record();
    let again = Script::with(script.machine.pod().clone(), Some(record));
    let names: Vec<_> = again.machine.slots().iter().filter(|slot| slot.ended().is_some()).collect();
    assert_eq!(names.iter().map(|slot| slot.name.as_str()).collect::<Vec<_>>(), ["first", "early", "late"]);
    script.feed(Event::Exited(1, exit(0)));
    assert!(script.wants(&Effect::Drain { by: script.now.mono + Duration::from_secs(30), hooks: false }));
    script.feed(Event::Drained);
    assert!(script.wants(&Effect::Kill(2)), "whoever still looks is let go");
    script.feed(Event::Exited(2, exit(137)));
    assert_eq!(script.machine.phase(), Phase::Succeeded);
}

#[test]
fn limits_change_while_a_container_runs() {
    let limits = |cpu: &str, memory: &str| json!({"limits": {"cpu": cpu, "memory": memory}});
    let mut spec = one("Always");
    spec["containers"][0]["resources"] = limits("1", "64Mi");
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    spec["containers"][0]["resizePolicy"] = policy;
    let mut script = Script::new(spec);
    script.up();
    let path = "/spec/containers/0/resources";
    script.change(path, limits("2", "64Mi"));
    let [Effect::Ask(_)] = script.effects[..] else { panic!("{:?}", script.effects) };
    script.feed(Event::Granted(Ok(())));
    let wish =
        r#"{"containers":[{"name":"c","resources":{"limits":{"cpu":"2","memory":"64Mi"}}}],"generation":0"#;
    let told = script.tales();
    assert_eq!(told, [format!("Normal ResizeStarted Pod resize started: {wish}}}")]);
    assert!(script.wants(&Effect::Remember) && script.wants(&Effect::Resize(0)));
    assert_eq!(script.condition("PodResizeInProgress"), "True");
    let wished = script.machine.container(0).resources.clone();
    script.feed(Event::Resized(0, wished.clone(), Err("no".into())));
    assert_eq!(script.condition("PodResizeInProgress"), "True Error container c: no");
    let told = format!(r#"Warning ResizeError Pod resize error: {wish},"error":"no"}}"#);
    assert_eq!(script.tales(), [told]);
    script.feed(Event::Resized(0, wished.clone(), Ok(())));
    assert_eq!(script.tales(), [format!("Normal ResizeCompleted Pod resize completed: {wish}}}")]);
    let status = script.status();
    assert!(status.conditions.iter().all(|condition| condition.type_ != "PodResizeInProgress"));
    assert_eq!(status.container_statuses[0].resources.as_deref(), Some(&wished));

    script.change(path, limits("2", "32Mi")).feed(Event::Granted(Ok(())));
    assert!(script.wants(&Effect::Kill(0)), "as its policy says");
    script.feed(Event::Exited(0, exit(137))).serve();
    let status = script.status();
    assert_eq!(status.container_statuses[0].restart_count, 1);
    assert_eq!(script.running(), ["c"], "at once");
    assert!(status.conditions.iter().all(|condition| condition.type_ != "PodResizeInProgress"));
}

#[test]
fn a_pod_whose_host_goes_down_has_failed_and_has_its_own_grace_or_less() {
    let mut spec = one("Always");
    spec["terminationGracePeriodSeconds"] = json!(20);
    for (most, seconds) in [(60, 20), (5, 5)] {
        let mut script = Script::new(spec.clone());
        script.up().feed(Event::Terminated(Duration::from_secs(most)));
        let by = script.now.mono + Duration::from_secs(seconds);
        assert!(script.wants(&Effect::Drain { by, hooks: false }), "{:?}", script.effects);
        script.feed(Event::Drained);
        assert!(script.wants(&Effect::Kill(0)));
        script.feed(Event::Exited(0, exit(137)));
        let status = script.status();
        let told = (status.phase.as_str(), status.reason.as_str(), status.message.as_str());
        let why = "Pod was terminated in response to imminent node shutdown.";
        assert_eq!(told, ("Failed", "Terminated", why));
        assert_eq!(script.condition("DisruptionTarget"), format!("True TerminationByKubelet {why}"));
        assert!(script.machine.is_over() && !script.wants(&Effect::Delete));
    }
}

#[test]
fn what_the_node_does_not_grant_waits_or_is_given_up() {
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
    let mut spec = one("Always");
    spec["containers"][0]["resources"] = asks("1");
    let mut script = Script::new(spec);
    script.up();
    let path = "/spec/containers/0/resources";
    let refused = |reason: &'static str| Event::Granted(Err(Refusal { reason, message: "no room".into() }));
    script.change(path, asks("2"));
    assert_eq!(script.effects, [Effect::Ask(Amounts { cpu: 2000, memory: 0 })]);
    script.feed(refused("Deferred"));
    let wish = r#"{"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}}],"generation":0,"error":"no room"}"#;
    assert_eq!(script.tales(), [format!("Warning ResizeDeferred Pod resize Deferred: {wish}")]);
    script.feed(refused("Deferred"));
    assert_eq!(script.tales(), [""; 0], "once");
    assert_eq!(script.condition("PodResizePending"), "True Deferred no room");
    let conditions = |script: &Script| -> Vec<String> {
        script
            .status()
            .conditions
            .iter()
            .map(|one| one.type_.clone())
            .filter(|one| one.contains("Resize"))
            .collect()
    };
    assert_eq!(conditions(&script), ["PodResizePending"]);
    let status = script.status().container_statuses[0].clone();
    let cpu = |resources: &edge_api::kinds::pod::Resources| resources["cpu"].milli();
    assert_eq!(cpu(&status.allocated_resources), 1000);
    assert_eq!(cpu(&status.resources.expect("told").limits), 1000);
    // A run that begins meanwhile, also after the node has begun anew, has what was granted.
    let again = Script::with(script.machine.pod().clone(), Some(script.machine.record()));
    assert_eq!(cpu(&again.machine.container(0).resources.limits), 1000);
    script.feed(Event::Freed);
    assert_eq!(script.effects, [Effect::Ask(Amounts { cpu: 2000, memory: 0 })]);
    script.feed(refused("Infeasible"));
    assert_eq!(script.tales(), [format!("Warning ResizeInfeasible Pod resize Infeasible: {wish}")]);
    assert_eq!(script.condition("PodResizePending"), "True Infeasible no room");
    script.feed(Event::Freed);
    assert_eq!(script.effects, [], "nobody's leaving helps");
    script.change(path, asks("1"));
    assert_eq!(script.effects, [Effect::Ask(Amounts { cpu: 1000, memory: 0 })], "it waits no more");
    script.feed(Event::Granted(Ok(())));
    assert_eq!(script.tales(), [""; 0], "nothing has changed");
    assert_eq!(conditions(&script), [""; 0]);
    script.change(path, asks("2")).feed(Event::Granted(Ok(())));
    assert!(script.wants(&Effect::Resize(0)));
    assert_eq!(conditions(&script), ["PodResizeInProgress"]);
}

#[test]
fn what_runs_together_and_what_runs_before_it_is_asked_for() {
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let mut spec = json!({"restartPolicy": "Always", "containers": [{"name": "a", "image": "i", "resources": asks("1")},
        {"name": "b", "image": "i", "resources": asks("500m")}]});
    let allocated = |spec: &Value| Script::new(spec.clone()).machine.allocated().cpu;
    assert_eq!(allocated(&spec), 1500);
    spec["initContainers"] = json!([{"name": "first", "image": "i", "resources": asks("2")},
        {"name": "side", "image": "i", "restartPolicy": "Always", "resources": asks("100m")}]);
    assert_eq!(allocated(&spec), 2000);
}

#[test]
fn a_pod_that_the_node_cannot_keep_fails_at_once() {
    let mut script = Script::new(one("Always"));
    script.up().feed(Event::Evicted("no memory".into()));
    assert!(script.effects.contains(&warn(None, "Evicted", "no memory".into())), "{:?}", script.effects);
    assert!(script.wants(&Effect::Kill(0)), "without grace: {:?}", script.effects);
    script.feed(Event::Exited(0, exit(137)));
    let status = script.status();
    let told = (status.phase.as_str(), status.reason.as_str(), status.message.as_str());
    assert_eq!(told, ("Failed", "Evicted", "no memory"));
    assert_eq!(script.condition("DisruptionTarget"), "True TerminationByKubelet no memory");
    let again = Script::with(script.machine.pod().clone(), Some(script.machine.record()));
    assert_eq!((again.status().phase.as_str(), again.status().reason.as_str()), ("Failed", "Evicted"));
}
