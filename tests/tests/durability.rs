//! `kill -9` at random moments under write load: what was acknowledged is there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_tests::{Cluster, Options, Shape, api::Api};
use serde_json::{Value, json};

/// What the server acknowledged: key → (revision, content) of its last write, and of every write.
#[derive(Default)]
struct Ledger {
    last: BTreeMap<String, (u64, String)>,
    all: BTreeMap<(String, u64), String>,
}

impl Ledger {
    fn note(&mut self, object: &Value) {
        let key = object["metadata"]["name"].as_str().unwrap().to_owned();
        let revision = revision(object);
        let content = object["data"]["content"].as_str().unwrap().to_owned();
        let twin = self.all.insert((key.clone(), revision), content.clone());
        assert!(twin.is_none_or(|twin| twin == content), "{key} at revision {revision} has two contents");
        let last = self.last.entry(key.clone()).or_default();
        if revision > last.0 {
            *last = (revision, content);
        }
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn kill_nine_loses_nothing_that_was_acknowledged() {
    #[allow(clippy::disallowed_methods, reason = "a test has no other options")]
    let rounds: u32 = std::env::var("EDGE_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(100);
    let mut random = fastrand::Rng::with_seed(0x0ed6_e001);
    let mut cluster = Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"));
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut watched = Api::of(&cluster).list(CONFIG_MAPS).map(|list| revision(&list)).unwrap();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> =
            (0..3).map(|writer| write(Api::of(&cluster), writer, random.u64(..), &ledger, &stop)).collect();
        std::thread::sleep(Duration::from_millis(random.u64(5..120)));
        cluster.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        cluster.start_again();

        let api = Api::of(&cluster);
        let list = api.list(CONFIG_MAPS).unwrap();
        let stored: BTreeMap<String, Value> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["metadata"]["name"].as_str().unwrap().to_owned(), item.clone()))
            .collect();
        let ledger = ledger.lock().unwrap();
        for (key, (revision_acknowledged, content)) in &ledger.last {
            let found = stored
                .get(key)
                .unwrap_or_else(|| panic!("round {round}: {key} was acknowledged and is gone"));
            let now = revision(found);
            assert!(
                now >= *revision_acknowledged,
                "round {round}: {key} went back from {revision_acknowledged} to {now}"
            );
            if now == *revision_acknowledged {
                assert_eq!(found["data"]["content"], **content, "round {round}: {key} has another content");
            }
            let before = seen.insert(key.clone(), now).unwrap_or(0);
            assert!(now >= before, "round {round}: {key} went back from {before} to {now}");
        }
        watched = follow(&api, watched, &list, &stored, &ledger, round);
    }
    let writes = ledger.lock().unwrap().all.len();
    println!("{rounds} kills, {writes} acknowledged writes, none lost");
    assert!(writes > rounds as usize, "too few writes to show anything: {writes}");
}

/// A watch from where the last one ended shows every acknowledged change, or says 410.
fn follow(
    api: &Api,
    from: u64,
    list: &Value,
    stored: &BTreeMap<String, Value>,
    ledger: &Ledger,
    round: u32,
) -> u64 {
    let head = revision(list);
    // After a kill the head is beyond every change.
    let last = stored.values().map(revision).max().unwrap_or(0);
    let Some(events) = api.watch_until(CONFIG_MAPS, from, last).unwrap() else { return head };
    let shown: BTreeMap<(String, u64), String> = events
        .iter()
        .map(|event| {
            let object = &event["object"];
            let key = object["metadata"]["name"].as_str().unwrap().to_owned();
            ((key, revision(object)), object["data"]["content"].as_str().unwrap().to_owned())
        })
        .collect();
    let mut revisions: Vec<u64> = events.iter().map(|event| revision(&event["object"])).collect();
    assert!(revisions.is_sorted(), "round {round}: a watch went back");
    revisions.dedup();
    assert_eq!(revisions.len(), events.len(), "round {round}: a watch showed a revision twice");
    for ((key, at), content) in ledger.all.range(..).filter(|((_, at), _)| *at > from && *at <= head) {
        assert_eq!(
            shown.get(&(key.clone(), *at)),
            Some(content),
            "round {round}: the watch left out {key} at {at}"
        );
    }
    for (key, object) in stored.iter().filter(|(_, object)| revision(object) > from) {
        assert!(
            shown.contains_key(&(key.clone(), revision(object))),
            "round {round}: the watch left out {key}"
        );
    }
    head
}

fn write(
    api: Api,
    writer: u32,
    seed: u64,
    ledger: &Arc<Mutex<Ledger>>,
    stop: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let (ledger, stop) = (ledger.clone(), stop.clone());
    std::thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(seed);
        while !stop.load(Ordering::Relaxed) {
            let name = format!("w{writer}-{}", random.u32(0..40));
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                "data": {"content": format!("{:x}", random.u128(..))}});
            let answer = match api.post(CONFIG_MAPS, &object) {
                Ok(answer) if answer.0 == 409 => api.put(&format!("{CONFIG_MAPS}/{name}"), &object),
                other => other,
            };
            match answer {
                Ok((200 | 201, object)) => ledger.lock().unwrap().note(&object),
                Ok((code, body)) => panic!("{code}: {body}"),
                // Killed meanwhile: the outcome of this write is unknown, and may be either.
                Err(_) => return,
            }
        }
    })
}

#[test]
fn pods_run_again_after_a_kill_without_a_manual_step() {
    let mut cluster = Cluster::start(Shape::Whole);
    cluster.edgectl(&["apply", "-f", "manifests/quickstart"]).ok();
    cluster
        .edgectl(&[
            "wait",
            "--for=condition=available",
            "-n",
            "quickstart",
            "deployment/hello",
            "--timeout=60s",
        ])
        .ok();
    for _ in 0..3 {
        cluster.kill();
        cluster.start_again();
        edge_tests::eventually("the quickstart answers again", || {
            let answer = edge_tests::web::get(cluster.http(), "hello.localhost", "/")?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }
}
