//! List and watch together always equal the store: at every revision that is told, through every selector, for
//! readers that are slow, that begin again, and that fall behind what is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http::tests::harness::{Api, Client, pod};
use crate::identity::User;
use crate::store::Store;

const PODS: &str = "/api/v1/namespaces/default/pods";
const WRITES: u64 = 250;

/// What the writer knows of a Pod.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    revision: u64,
    label: Option<String>,
    phase: String,
}

impl Known {
    fn of(object: &Value) -> Known {
        let metadata = &object["metadata"];
        Known {
            revision: metadata["resourceVersion"].as_str().unwrap().parse().unwrap(),
            label: metadata["labels"]["t"].as_str().map(str::to_owned),
            phase: object["status"]["phase"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

type Pods = BTreeMap<String, Known>;
/// Whether a selector means a Pod, by its name and what is known of it.
type Means = fn(&str, &Known) -> bool;

/// Selectors, and what they mean.
const SELECTORS: &[(&str, Means)] = &[
    ("", |_, _| true),
    ("labelSelector=t", |_, pod| pod.label.is_some()),
    ("labelSelector=!t", |_, pod| pod.label.is_none()),
    ("labelSelector=t%3D1", |_, pod| pod.label.as_deref() == Some("1")),
    ("labelSelector=t!%3D1", |_, pod| pod.label.as_deref() != Some("1")),
    ("labelSelector=t+in+(1,2)", |_, pod| matches!(pod.label.as_deref(), Some("1" | "2"))),
    ("labelSelector=t+notin+(1,2)", |_, pod| !matches!(pod.label.as_deref(), Some("1" | "2"))),
    ("fieldSelector=status.phase%3DRunning", |_, pod| pod.phase == "Running"),
    ("fieldSelector=status.phase!%3DRunning", |_, pod| pod.phase != "Running"),
    ("fieldSelector=metadata.name%3Dp3", |name, _| name == "p3"),
    ("fieldSelector=metadata.name!%3Dp3,status.phase%3DPending", |name, pod| {
        name != "p3" && pod.phase == "Pending"
    }),
    ("labelSelector=t%3D2&fieldSelector=status.phase%3DRunning", |_, pod| {
        pod.label.as_deref() == Some("2") && pod.phase == "Running"
    }),
];

/// Writes at random; answers the state after each write.
async fn write(api: Arc<Api>, seed: u64, progress: watch::Sender<Progress>) -> BTreeMap<u64, Pods> {
    let mut rng = Rng::with_seed(seed);
    let mut pods = Pods::new();
    let head = || api.server.registry().store().head().0;
    let mut history = BTreeMap::from([(head(), pods.clone())]);
    for count in 1..=WRITES {
        let name = format!("p{}", rng.u8(0..8));
        let path = format!("{PODS}/{name}");
        let label = rng.choice([None, Some("1"), Some("2"), Some("3")]).unwrap();
        let known = pods.contains_key(&name);
        if known {
            match rng.u8(0..5) {
                0 => {
                    api.call(Method::DELETE, &format!("{path}?gracePeriodSeconds=0"), Value::Null)
                        .await
                        .expect(200);
                    pods.remove(&name);
                }
                1 | 2 => {
                    let phase = rng.choice(["Pending", "Running", "Succeeded"]).unwrap();
                    let told =
                        api.merge(&format!("{path}/status"), json!({"status": {"phase": phase}})).await;
                    pods.insert(name, Known::of(&told.expect(200)));
                }
                _ => {
                    let told = api.merge(&path, json!({"metadata": {"labels": {"t": label}}})).await;
                    pods.insert(name, Known::of(&told.expect(200)));
                }
            }
        } else {
            let mut object = pod(&name);
            object["metadata"]["labels"] = json!({"t": label, "u": "x"});
            if label.is_none() {
                object["metadata"]["labels"] = json!({});
            }
            pods.insert(name, Known::of(&api.make(PODS, object).await));
        }
        history.insert(head(), pods.clone());
        progress.send_replace(Progress { count, head: head() });
        if rng.u8(0..8) == 0 {
            tokio::task::yield_now().await;
        }
    }
    history
}

/// How many writes have happened, and the revision of the last.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    count: u64,
    head: u64,
}

impl Progress {
    fn done(&self) -> bool {
        self.count == WRITES
    }
}

/// A reader's knowledge, put together from lists and events.
struct Follower {
    client: Client,
    rng: Rng,
    selector: &'static str,
    progress: watch::Receiver<Progress>,
    pods: Pods,
    revision: u64,
    /// What was known when, to be compared when all that happened is known.
    told: Vec<(u64, Pods)>,
    met: Met,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    events: usize,
    lists: usize,
    expired: usize,
    resumed: usize,
}

/// Why a watch is over.
enum End {
    Expired,
    Left,
}

impl Follower {
    async fn run(mut self) -> (Vec<(u64, Pods)>, Met) {
        self.list().await;
        while !self.progress.borrow().done() {
            self.watch("").await;
        }
        // A watch of a second ends with a bookmark, unless everything was told before.
        let head = self.progress.borrow().head;
        while self.revision < head {
            self.watch("&timeoutSeconds=1").await;
        }
        (self.told, self.met)
    }

    /// Lists in pages, all of one revision.
    async fn list(&mut self) {
        self.met.lists += 1;
        let limit = self.rng.choice([0, 1, 3]).unwrap();
        let (mut pods, mut token) = (Pods::new(), String::new());
        let revision: u64 = loop {
            let path = format!("{PODS}?{}&limit={limit}&continue={token}", self.selector);
            let answer = self.client.get(&path, &[]).await;
            if answer.code == 410 {
                (pods, token) = (Pods::new(), String::new());
                self.met.expired += 1;
                continue;
            }
            let list = answer.expect(200);
            for item in list["items"].as_array().unwrap() {
                pods.insert(item["metadata"]["name"].as_str().unwrap().to_owned(), Known::of(item));
            }
            token = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            }
            self.dawdle(2).await;
        };
        assert!(revision >= self.revision, "time does not run backwards");
        (self.pods, self.revision) = (pods, revision);
        self.told.push((revision, self.pods.clone()));
    }

    /// Watches for a while.
    async fn watch(&mut self, more: &str) {
        let path = format!(
            "{PODS}?watch=true&allowWatchBookmarks=true&{}&resourceVersion={}{more}",
            self.selector, self.revision
        );
        let (code, _, body) = self.client.open(Method::GET, &path, &[], bytes::Bytes::new()).await;
        assert_eq!(code, 200);
        let mut lines = crate::http::tests::harness::Lines::of(body);
        let patience = self.rng.u64(1..40);
        let mut progress = self.progress.clone();
        for _ in 0..patience {
            let ended = async { drop(progress.wait_for(Progress::done).await) };
            let line = tokio::select! {
                line = lines.next() => line,
                () = ended, if more.is_empty() => break,
            };
            let Some(event) = line else { return };
            if let Err(end) = self.take(&event) {
                if matches!(end, End::Expired) {
                    self.met.expired += 1;
                    self.list().await;
                }
                return;
            }
            if self.rng.u8(0..10) == 0 {
                self.dawdle(40).await;
            }
        }
        self.met.resumed += 1;
    }

    fn take(&mut self, event: &Value) -> Result<(), End> {
        let (kind, object) = (event["type"].as_str().unwrap(), &event["object"]);
        if kind == "ERROR" {
            assert_eq!((&object["code"], &object["reason"]), (&json!(410), &json!("Expired")), "{event}");
            return Err(End::Expired);
        }
        let revision: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(revision > self.revision, "each once, in order: {event} after {}", self.revision);
        self.revision = revision;
        if kind != "BOOKMARK" {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let known = match kind {
                "DELETED" => self.pods.remove(&name),
                _ => self.pods.insert(name, Known::of(object)),
            };
            assert_eq!(known.is_some(), kind != "ADDED", "{event}");
            self.met.events += 1;
        }
        self.told.push((revision, self.pods.clone()));
        if self.rng.u8(0..100) == 0 { Err(End::Left) } else { Ok(()) }
    }

    /// Does nothing until some writes have happened.
    async fn dawdle(&mut self, most: u64) {
        let until = self.progress.borrow().count + self.rng.u64(0..most);
        drop(self.progress.wait_for(|now| now.count >= until.min(WRITES)).await);
    }
}

async fn followed(store: Store, seed: u64) -> Met {
    let api = Arc::new(Api::over(store).await);
    let (sender, progress) = watch::channel(Progress::default());
    let mut followers = Vec::new();
    for (at, (selector, means)) in SELECTORS.iter().enumerate() {
        let follower = Follower {
            client: api.client(User::admin("reader")).await,
            rng: Rng::with_seed(seed * 100 + at as u64),
            selector,
            progress: progress.clone(),
            pods: Pods::new(),
            revision: 0,
            told: Vec::new(),
            met: Met::default(),
        };
        followers.push((selector, means, tokio::spawn(follower.run())));
    }
    let history = write(api.clone(), seed, sender).await;
    let (end, _) = history.last_key_value().unwrap();
    let mut all = Met::default();
    for (selector, means, follower) in followers {
        let (told, met) = follower.await.unwrap();
        for (revision, pods) in &told {
            let (_, then) = history.range(..=revision).next_back().unwrap();
            let mut meant = then.clone();
            meant.retain(|name, pod| means(name, pod));
            assert_eq!(*pods, meant, "seed {seed}: {selector:?} at {revision}");
        }
        assert!(told.last().unwrap().0 >= *end, "seed {seed}: {selector:?} was followed to the end");
        all.events += met.events;
        all.lists += met.lists;
        all.expired += met.expired;
        all.resumed += met.resumed;
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_watches_equal_the_store() {
    for seed in 0..2 {
        let met = followed(Store::in_memory(), seed).await;
        assert!(met.events > 400 && met.resumed > 10 && met.expired == 0, "{met:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_watches_equal_a_store_that_soon_forgets() {
    let mut expired = 0;
    for seed in 10..13 {
        let met = followed(Store::forgetful(), seed).await;
        assert!(met.events > 150 && met.resumed > 5, "{met:?}");
        expired += met.expired;
    }
    assert!(expired > 0, "history was too short for somebody");
}
