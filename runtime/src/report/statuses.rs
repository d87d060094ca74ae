//! Pod statuses on their way to the API: the newest of each Pod, one request a Pod at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::PodStatus;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::client::backoff::Backoff;
use crate::client::{Client, ClientError, Patch, Resource};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// Which Pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, so that a namesake is never meant.
    pub uid: String,
}

/// Statuses and deletions to be sent.
#[derive(Clone)]
pub struct Statuses {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    waiting: Mutex<HashMap<PodName, Wish>>,
    bell: Notify,
    /// Rises when a request has been answered.
    done: watch::Sender<u64>,
}

#[derive(Default)]
struct Wish {
    status: Option<Value>,
    delete: bool,
    under_way: bool,
}

impl Statuses {
    /// For one API server; nothing is sent until [`Statuses::run`].
    pub fn new(client: Client) -> Statuses {
        let shared =
            Shared { client, waiting: Mutex::default(), bell: Notify::new(), done: watch::Sender::new(0) };
        Statuses { shared: Arc::new(shared) }
    }

    /// The Pod's newest status, and conditions that are gone; replaces one that has not been sent.
    pub fn put(&self, pod: &PodName, status: &PodStatus, gone: &[&str]) {
        self.shared.waiting.lock().entry(pod.clone()).or_default().status = Some(told(status, gone));
        self.shared.bell.notify_one();
    }

    /// Removes the Pod from the API, after its last status has been stored.
    pub fn delete(&self, pod: &PodName) {
        self.shared.waiting.lock().entry(pod.clone()).or_default().delete = true;
        self.shared.bell.notify_one();
    }

    /// Waits until everything put so far has been answered.
    pub async fn flushed(&self) {
        let mut done = self.shared.done.subscribe();
        while !self.shared.waiting.lock().is_empty() {
            if done.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends for as long as it is polled.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut sending = JoinSet::new();
        loop {
            while sending.try_join_next().is_some() {}
            match self.next() {
                None => self.shared.bell.notified().await,
                Some((pod, wish)) => {
                    let Ok(place) = places.clone().acquire_owned().await else { return };
                    let shared = self.shared.clone();
                    sending.spawn(async move {
                        shared.send(&pod, wish).await;
                        drop(place);
                    });
                }
            }
        }
    }

    fn next(&self) -> Option<(PodName, Wish)> {
        let mut waiting = self.shared.waiting.lock();
        let ready = |wish: &Wish| !wish.under_way && (wish.status.is_some() || wish.delete);
        let (pod, wish) = waiting.iter_mut().find(|(_, wish)| ready(wish))?;
        wish.under_way = true;
        let taken =
            Wish { status: wish.status.take(), delete: std::mem::take(&mut wish.delete), under_way: true };
        Some((pod.clone(), taken))
    }
}

/// A status as it is patched in. Conditions are merged with those there are: what one no longer says has to be taken
/// away, as those that are gone.
fn told(status: &PodStatus, gone: &[&str]) -> Value {
    let mut told = serde_json::to_value(status).expect("a status has only string keys");
    if let Some(conditions) = told["conditions"].as_array_mut() {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            for said in ["reason", "message"] {
                condition.entry(said).or_insert(Value::Null);
            }
        }
        conditions.extend(gone.iter().map(|type_| json!({"type": type_, "$patch": "delete"})));
    }
    told
}

impl Shared {
    /// Sends until it is accepted or makes no sense any more; a newer status is sent instead of an older one.
    async fn send(&self, pod: &PodName, mut wish: Wish) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(20));
        while let Err(error) = self.attempt(pod, &wish).await {
            if !error.is_transient() && !error.is_unauthorized() {
                if !error.is_not_found() && !error.is_conflict() {
                    tracing::warn!(namespace = pod.namespace, name = pod.name, %error, "a Pod's status was refused");
                }
                break;
            }
            backoff.wait().await;
            if let Some(newer) = self.waiting.lock().get_mut(pod) {
                if newer.status.is_some() {
                    wish.status = newer.status.take();
                }
                wish.delete |= std::mem::take(&mut newer.delete);
            }
        }
        let mut waiting = self.waiting.lock();
        if let Some(entry) = waiting.get_mut(pod) {
            entry.under_way = false;
            if entry.status.is_none() && !entry.delete {
                waiting.remove(pod);
            }
        }
        drop(waiting);
        self.done.send_modify(|done| *done += 1);
        self.bell.notify_one();
    }

    async fn attempt(&self, pod: &PodName, wish: &Wish) -> Result<(), ClientError> {
        if let Some(status) = &wish.status {
            let path = Resource::PODS.part(&pod.namespace, &pod.name, "status");
            let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
            self.client.patch(&path, Patch::Strategic, &patch).await?;
        }
        if wish.delete {
            let options = json!({
                "kind": "DeleteOptions", "apiVersion": "v1",
                "gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid},
            });
            self.client.delete(&Resource::PODS.named(&pod.namespace, &pod.name), &options).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_condition_no_longer_says_is_taken_away() {
        let condition = |reason: &str| json!({"type": "Ready", "status": "True", "reason": reason});
        let said = |reason: &str| {
            let status = json!({"conditions": [condition(reason)]});
            told(&serde_json::from_value(status).unwrap(), &["DisruptionTarget"])["conditions"].clone()
        };
        let gone = json!({"type": "DisruptionTarget", "$patch": "delete"});
        let plain = json!({"type": "Ready", "status": "True", "reason": null, "message": null});
        assert_eq!(said(""), json!([plain, gone]));
        assert_eq!(said("Because")[0]["reason"], "Because");
    }
}
