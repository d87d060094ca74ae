//! Events about Pods and the Node: the same one again is counted, not repeated.

use std::collections::HashMap;
use std::time::Duration;

use edge_api::time::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;

use crate::client::{Client, Patch, Resource};

/// Events waiting to be sent; more are lost, since Events are news and not state.
const QUEUE: usize = 1024;
/// Different events that are remembered for counting.
const REMEMBERED: usize = 4096;
/// For how long the same event is counted on.
const SAME: Duration = Duration::from_secs(3600);
/// An object may have so many events at once,
const BURST: f64 = 25.0;
/// and one more each so many seconds.
const REFILL: f64 = 60.0;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// `Pod` or `Node`.
    pub kind: &'static str,
    /// Its namespace; empty for the Node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The part of it, such as `spec.containers{web}`.
    pub field: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct News {
    subject: Subject,
    warning: bool,
    reason: &'static str,
    message: String,
}

/// Where news are told.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<News>,
}

/// Sends them.
struct Recorder {
    client: Client,
    node: String,
    known: HashMap<News, Known>,
    budgets: HashMap<String, (f64, Timestamp)>,
}

struct Known {
    path: String,
    count: u32,
    last: Timestamp,
}

impl Events {
    /// A teller, and what sends for as long as it is polled. `node` is the reporting node.
    pub fn new(client: Client, node: &str) -> (Events, impl Future<Output = ()> + Send + use<>) {
        let (queue, mut news) = mpsc::channel::<News>(QUEUE);
        let node = node.to_owned();
        let mut recorder = Recorder { client, node, known: HashMap::new(), budgets: HashMap::new() };
        let run = async move {
            while let Some(one) = news.recv().await {
                recorder.record(one, Timestamp::from(std::time::SystemTime::now())).await;
            }
        };
        (Events { queue }, run)
    }

    /// Tells; never waits.
    pub fn tell(&self, subject: Subject, warning: bool, reason: &'static str, message: &str) {
        // The API allows 1,024 bytes.
        let mut end = message.len().min(1000);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let _ = self.queue.try_send(News { subject, warning, reason, message: message[..end].to_owned() });
    }
}

impl Recorder {
    async fn record(&mut self, news: News, now: Timestamp) {
        if !self.affords(&news.subject, now) {
            return;
        }
        if let Some(known) = self.known.get_mut(&news)
            && now.since(known.last) < SAME
        {
            known.count += 1;
            known.last = now;
            let patch = json!({"count": known.count, "lastTimestamp": now.seconds()});
            match self.client.patch(&known.path, Patch::Merge, &patch).await {
                Err(error) if error.is_not_found() => {}
                _ => return,
            }
        }
        self.create(news, now).await;
    }

    async fn create(&mut self, news: News, now: Timestamp) {
        let subject = &news.subject;
        let namespace = if subject.namespace.is_empty() { "default" } else { &subject.namespace };
        let name = format!("{}.{:016x}", subject.name, fastrand::u64(..));
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1", "kind": subject.kind, "namespace": subject.namespace,
                "name": subject.name, "uid": subject.uid, "fieldPath": subject.field,
            },
            "reason": news.reason, "message": news.message,
            "type": if news.warning { "Warning" } else { "Normal" },
            "source": {"component": "kubelet", "host": self.node},
            "reportingComponent": "kubelet", "reportingInstance": self.node,
            "firstTimestamp": now.seconds(), "lastTimestamp": now.seconds(), "count": 1,
        });
        let path = Resource::EVENTS.within(namespace);
        match self.client.create(&path, &event).await {
            Ok(_) => {
                self.forget(now);
                self.known.insert(news, Known { path: format!("{path}/{name}"), count: 1, last: now });
            }
            Err(error) => tracing::debug!(reason = news.reason, %error, "an Event was not recorded"),
        }
    }

    fn forget(&mut self, now: Timestamp) {
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, known| now.since(known.last) < SAME / 6);
            self.budgets.retain(|_, (_, last)| now.since(*last) < SAME);
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
    }

    /// A token bucket for each object.
    fn affords(&mut self, subject: &Subject, now: Timestamp) -> bool {
        let (tokens, last) = self.budgets.entry(subject.uid.clone()).or_insert((BURST, now));
        *tokens = (*tokens + now.since(*last).as_secs_f64() / REFILL).min(BURST);
        *last = now;
        let enough = *tokens >= 1.0;
        if enough {
            *tokens -= 1.0;
        }
        enough
    }
}
