//! What Kubernetes' documentation says of StatefulSets.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::reconcile::Act;
use crate::reconcile::ledger::Ledger;
use edge_api::time::Timestamp;

fn now() -> Timestamp {
    Timestamp::parse("2026-01-01T01:00:00Z").unwrap()
}

fn set(replicas: i64, change: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default", "uid": "s"},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate"},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}},
    });
    for (field, value) in change.as_object().into_iter().flatten() {
        set["spec"][field] = value.clone();
    }
    set
}

/// A cluster in which nodes run Pods when told to.
struct Cluster(Ledger);

impl Cluster {
    fn new(set: Value) -> Cluster {
        Cluster(Ledger::with(now(), &[set]))
    }

    fn plan(&self) -> Plan {
        reconcile(&Name::new("default", "db"), &self.0.world())
    }

    /// Carries out plans until there is nothing to do; answers what was done to Pods and claims.
    fn settle(&self) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..50 {
            let plan = self.plan();
            if plan.is_idle() {
                return done;
            }
            for write in plan.writes() {
                let verb = match write.act {
                    Act::Create(_) if write.kind != &kinds::controller_revision::KIND => "create",
                    Act::Delete { .. } if write.kind != &kinds::controller_revision::KIND => "delete",
                    _ => continue,
                };
                done.push(format!("{verb} {}", write.key.name));
            }
            self.0.carry_out(&plan);
        }
        panic!("does not settle: {done:?}");
    }

    /// A node runs the Pod and says that it is ready.
    fn ready(&self, name: &str) {
        self.0.edit(POD, "default", name, |pod| {
            pod["spec"]["nodeName"] = json!("n");
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        });
    }

    /// The node has ended a Pod that was deleted.
    fn gone(&self, name: &str) {
        self.0.remove(POD, "default", name);
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        self.0.edit(KIND, "default", "db", change);
    }

    fn status(&self) -> Value {
        self.0.get(KIND, "default", "db").unwrap()["status"].clone()
    }

    fn image(&self, name: &str) -> Value {
        self.0.get(POD, "default", name).unwrap()["spec"]["containers"][0]["image"].clone()
    }

    /// A set of which all Pods are ready.
    fn running(replicas: i64, change: Value) -> Cluster {
        let cluster = Cluster::new(set(replicas, change));
        for _ in 0..=replicas {
            cluster.settle();
            (0..replicas).for_each(|number| cluster.ready(&format!("db-{number}")));
        }
        cluster.settle();
        cluster
    }
}

#[test]
fn pods_come_in_order_each_when_the_one_before_is_ready() {
    let cluster = Cluster::new(set(3, json!({})));
    assert_eq!(cluster.settle(), ["create db-0"]);
    cluster.ready("db-0");
    assert_eq!(cluster.settle(), ["create db-1"]);
    cluster.ready("db-1");
    assert_eq!(cluster.settle(), ["create db-2"]);
    cluster.ready("db-2");
    assert_eq!(cluster.settle(), Vec::<String>::new());
    let pod = cluster.0.get(POD, "default", "db-1").unwrap();
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-1");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-1"), &json!("db")));
    let status = cluster.status();
    assert_eq!(
        (&status["replicas"], &status["readyReplicas"], &status["currentReplicas"]),
        (&json!(3), &json!(3), &json!(3))
    );
    assert_eq!(status["currentRevision"], labels["controller-revision-hash"]);
}

#[test]
fn a_pod_counts_when_it_has_been_ready_for_long_enough() {
    let cluster = Cluster::new(set(2, json!({"minReadySeconds": 10})));
    cluster.settle();
    let ready = |name: &str| {
        let since = cluster.0.now();
        cluster.ready(name);
        cluster.0.edit(POD, "default", name, |pod| {
            pod["status"]["conditions"][0]["lastTransitionTime"] = json!(since)
        });
    };
    ready("db-0");
    assert_eq!(cluster.settle(), Vec::<String>::new());
    assert_eq!(
        (&cluster.status()["readyReplicas"], &cluster.status()["availableReplicas"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(cluster.plan().wake_at, Some(cluster.0.now().plus(std::time::Duration::from_secs(10))));
    cluster.0.pass(10.0);
    assert_eq!(cluster.settle(), ["create db-1"]);
    ready("db-1");
    cluster.0.pass(10.0);
    cluster.settle();
    update(&cluster, "v2");
    assert_eq!(cluster.settle(), ["delete db-1"]);
    cluster.gone("db-1");
    cluster.settle();
    ready("db-1");
    assert_eq!(cluster.settle(), Vec::<String>::new(), "an update waits as well");
    cluster.0.pass(10.0);
    assert_eq!(cluster.settle(), ["delete db-0"]);
}

#[test]
fn parallel_pods_do_not_wait_for_each_other() {
    let cluster = Cluster::new(set(3, json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}})));
    assert_eq!(cluster.settle(), ["create db-5", "create db-6", "create db-7"]);
    cluster.edit(|set| set["spec"]["replicas"] = json!(1));
    assert_eq!(cluster.settle(), ["delete db-7", "delete db-6"]);
}

#[test]
fn scaling_down_takes_the_highest_number_first_and_waits_until_it_is_gone() {
    let cluster = Cluster::running(3, json!({}));
    cluster.edit(|set| set["spec"]["replicas"] = json!(1));
    assert_eq!(cluster.settle(), ["delete db-2"]);
    cluster.gone("db-2");
    assert_eq!(cluster.settle(), ["delete db-1"]);
    cluster.gone("db-1");
    assert_eq!(cluster.settle(), Vec::<String>::new());
}

#[test]
fn scaling_waits_while_a_pod_is_not_ready() {
    let cluster = Cluster::running(3, json!({}));
    cluster.0.edit(POD, "default", "db-0", |pod| pod["status"]["conditions"][0]["status"] = json!("False"));
    cluster.edit(|set| set["spec"]["replicas"] = json!(1));
    assert_eq!(cluster.settle(), Vec::<String>::new());
}

#[test]
fn a_pod_that_has_ended_is_made_again_under_its_name() {
    for phase in ["Failed", "Succeeded"] {
        let cluster = Cluster::running(2, json!({}));
        cluster.0.edit(POD, "default", "db-1", |pod| pod["status"]["phase"] = json!(phase));
        assert_eq!(cluster.settle(), ["delete db-1"]);
        cluster.gone("db-1");
        assert_eq!(cluster.settle(), ["create db-1"]);
    }
}

fn update(cluster: &Cluster, image: &str) {
    cluster.edit(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
}

#[test]
fn a_rolling_update_goes_from_the_highest_number_down_one_at_a_time() {
    let cluster = Cluster::running(3, json!({}));
    let before = cluster.status()["currentRevision"].clone();
    update(&cluster, "v2");
    for name in ["db-2", "db-1", "db-0"] {
        assert_eq!(cluster.settle(), [format!("delete {name}")]);
        assert_eq!(cluster.status()["currentRevision"], before);
        cluster.gone(name);
        assert_eq!(cluster.settle(), [format!("create {name}")]);
        assert_eq!(cluster.image(name), "v2");
        assert_eq!(cluster.settle(), Vec::<String>::new(), "waits for {name}");
        cluster.ready(name);
    }
    assert_eq!(cluster.settle(), Vec::<String>::new());
    let status = cluster.status();
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_ne!(status["currentRevision"], before);
    assert_eq!(status["updatedReplicas"], 3);
}

#[test]
fn numbers_below_the_partition_keep_the_old_template_even_when_they_are_made_again() {
    let cluster = Cluster::running(
        3,
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}),
    );
    update(&cluster, "v2");
    assert_eq!(cluster.settle(), ["delete db-2"]);
    cluster.gone("db-2");
    cluster.settle();
    cluster.ready("db-2");
    assert_eq!(cluster.settle(), Vec::<String>::new());
    cluster.gone("db-0");
    assert_eq!(cluster.settle(), ["create db-0"]);
    assert_eq!((cluster.image("db-0"), cluster.image("db-2")), (json!("v1"), json!("v2")));
    let status = cluster.status();
    assert_ne!(status["currentRevision"], status["updateRevision"]);
}

#[test]
fn a_partition_beyond_the_last_number_holds_the_update_back() {
    let cluster = Cluster::running(
        2,
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 7}}}),
    );
    update(&cluster, "v2");
    assert_eq!(cluster.settle(), Vec::<String>::new());
    cluster.edit(|set| set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(1));
    assert_eq!(cluster.settle(), ["delete db-1"], "a canary");
}

#[test]
fn on_delete_waits_for_somebody_to_delete() {
    let cluster = Cluster::running(2, json!({"updateStrategy": {"type": "OnDelete"}}));
    update(&cluster, "v2");
    assert_eq!(cluster.settle(), Vec::<String>::new());
    cluster.gone("db-0");
    assert_eq!(cluster.settle(), ["create db-0"]);
    assert_eq!((cluster.image("db-0"), cluster.image("db-1")), (json!("v2"), json!("v1")));
}

#[test]
fn max_unavailable_lets_several_be_replaced_at_once() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
    let cluster = Cluster::running(4, json!({"updateStrategy": rolling, "podManagementPolicy": "Parallel"}));
    update(&cluster, "v2");
    assert_eq!(cluster.settle(), ["delete db-3", "delete db-2"]);
}

#[test]
fn what_is_missing_anywhere_counts_against_an_update() {
    let rolling = |rolling: Value| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}, "podManagementPolicy": "Parallel"});
    let unready = |pod: &mut Value| pod["status"]["conditions"][0]["status"] = json!("False");
    let cluster = Cluster::running(4, rolling(json!({"partition": 1})));
    cluster.0.edit(POD, "default", "db-0", unready);
    update(&cluster, "v2");
    assert_eq!(cluster.settle(), Vec::<String>::new(), "one below the partition is missing already");
    let cluster = Cluster::running(4, rolling(json!({})));
    update(&cluster, "v2");
    assert_eq!(cluster.settle(), ["delete db-3"]);
    cluster.gone("db-3");
    cluster.0.edit(POD, "default", "db-2", unready);
    assert_eq!(cluster.settle(), ["create db-3"], "the next one waits for it, whether it serves or not");
    cluster.ready("db-3");
    assert_eq!(cluster.settle(), ["delete db-2"]);
}

#[test]
fn going_back_brings_the_old_revision_to_the_front_and_history_has_a_limit() {
    let cluster = Cluster::running(1, json!({"revisionHistoryLimit": 1}));
    let first = cluster.status()["currentRevision"].clone();
    for image in ["v2", "v3", "v4"] {
        update(&cluster, image);
        cluster.settle();
        cluster.gone("db-0");
        cluster.settle();
        cluster.ready("db-0");
        cluster.settle();
    }
    let revisions = cluster.0.all(&kinds::controller_revision::KIND);
    assert_eq!(revisions.len(), 2, "the present one and one before");
    update(&cluster, "v3");
    cluster.settle();
    let revisions = cluster.0.all(&kinds::controller_revision::KIND);
    let latest = revisions.iter().max_by_key(|revision| revision["revision"].as_i64()).unwrap();
    assert_eq!(latest["data"]["spec"]["template"]["spec"]["containers"][0]["image"], "v3");
    assert_eq!(latest["revision"], 5);
    assert!(revisions.iter().all(|revision| revision["metadata"]["name"] != first));
}

fn claims() -> Value {
    json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}}])
}

#[test]
fn each_number_has_claims_of_its_own_that_stay_by_default() {
    let cluster = Cluster::new(set(1, json!({"volumeClaimTemplates": claims()})));
    assert_eq!(cluster.settle(), ["create data-db-0", "create db-0"]);
    let claim = cluster.0.get(&kinds::persistent_volume_claim::KIND, "default", "data-db-0").unwrap();
    assert_eq!(claim["metadata"]["labels"], json!({"app": "db"}));
    assert!(claim["metadata"]["ownerReferences"].is_null() && claim["status"].is_null());
    let pod = cluster.0.get(POD, "default", "db-0").unwrap();
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}])
    );
    cluster.gone("db-0");
    assert_eq!(cluster.settle(), ["create db-0"], "the claim is there already");
}

#[test]
fn the_retention_policy_gives_claims_an_owner_with_which_they_go() {
    // when the set is deleted, when it is scaled, the owner of a claim in use, the owner of one that is not
    let cases = [
        ("Retain", "Retain", Value::Null, Value::Null),
        ("Retain", "Delete", Value::Null, json!("Pod")),
        ("Delete", "Retain", json!("StatefulSet"), json!("StatefulSet")),
        ("Delete", "Delete", json!("StatefulSet"), json!("Pod")),
    ];
    for (deleted, scaled, used, unused) in cases {
        let policy = json!({"whenDeleted": deleted, "whenScaled": scaled});
        let cluster = Cluster::running(
            2,
            json!({"volumeClaimTemplates": claims(), "persistentVolumeClaimRetentionPolicy": policy}),
        );
        let owners = |name: &str| {
            let claim = cluster.0.get(&kinds::persistent_volume_claim::KIND, "default", name).unwrap();
            let owner = &claim["metadata"]["ownerReferences"][0];
            assert!(owner.is_null() || owner["controller"] == json!(true), "{owner}");
            owner["kind"].clone()
        };
        assert_eq!(owners("data-db-1"), used, "{deleted} {scaled}");
        cluster.edit(|set| set["spec"]["replicas"] = json!(1));
        assert_eq!(cluster.settle(), ["delete db-1"]);
        assert_eq!((owners("data-db-0"), owners("data-db-1")), (used, unused), "{deleted} {scaled}");
    }
}

#[test]
fn a_claim_gets_its_controller_unless_it_has_another() {
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Retain"});
    let cluster = Cluster::running(
        1,
        json!({"volumeClaimTemplates": claims(), "persistentVolumeClaimRetentionPolicy": policy}),
    );
    let kind = &kinds::persistent_volume_claim::KIND;
    let own = |change: &dyn Fn(&mut Value)| {
        cluster
            .0
            .edit(kind, "default", "data-db-0", |claim| change(&mut claim["metadata"]["ownerReferences"]));
        cluster.settle();
        cluster.0.get(kind, "default", "data-db-0").unwrap()["metadata"]["ownerReferences"].clone()
    };
    // As older versions gave it.
    let own_again = own(&|owners| drop(owners[0].as_object_mut().unwrap().remove("controller")));
    assert_eq!(own_again[0]["controller"], json!(true));
    let other =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c", "controller": true}]);
    assert_eq!(own(&|owners| *owners = other.clone()), other);
}

#[test]
fn orphans_with_a_name_of_the_set_are_adopted_and_others_are_not() {
    let orphan = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "db"}}, "spec": {}, "status": {}})
    };
    let ledger = Ledger::with(now(), &[set(1, json!({})), orphan("db-0"), orphan("db-x"), orphan("db-00")]);
    let plan = reconcile(&Name::new("default", "db"), &ledger.world());
    let names: Vec<&str> = plan.writes().map(|write| &*write.key.name).collect();
    assert_eq!(names, ["db-0"]);
}
