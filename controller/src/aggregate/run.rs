//! The task that asks those who serve other groups whether they are there, when something changes that concerns them
//! and twice a minute.

use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::{api_service, endpoint_slice, service};
use edge_api::meta::{self, text};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::aggregate::{Aggregation, Remote, prefix};
use crate::registry::{Context, PatchKind, Target};
use crate::store::{Cursor, RangeOptions, ReadError};

/// The account that the conditions are written as.
const ACCOUNT: &str = "kube-aggregator";
/// How often they are asked although nothing changes.
const PERIOD: Duration = Duration::from_secs(30);

impl Aggregation {
    /// Keeps the conditions of all APIServices true until `stop`.
    ///
    /// # Errors
    /// When the store cannot be followed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ReadError> {
        loop {
            let mut changes = vec![self.follow(&prefix())?];
            self.settle_local().await;
            let remotes = self.remotes();
            self.0.learned.lock().retain(|name, _| remotes.iter().any(|remote| remote.name == *name));
            for namespace in remotes.iter().map(|remote| &remote.service.0) {
                for kind in [&service::KIND, &endpoint_slice::KIND] {
                    changes.push(self.follow(&format!("{}/{namespace}/", kind.key_prefix()))?);
                }
            }
            join_all(remotes.iter().map(|remote| self.settle(remote))).await;
            let changed =
                futures::future::select_all(changes.iter_mut().map(|cursor| Box::pin(cursor.next())));
            tokio::select! {
                (first, ..) = changed => match first {
                    Ok(_) | Err(ReadError::Compacted { .. }) => {}
                    Err(error) => return Err(error),
                },
                () = tokio::time::sleep(PERIOD), if !remotes.is_empty() => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn follow(&self, prefix: &str) -> Result<Cursor, ReadError> {
        self.0.registry.store().watch(prefix, self.0.registry.store().head())
    }

    /// Asks one, and notes how it went.
    async fn settle(&self, remote: &Arc<Remote>) {
        let (status, reason, message) = match self.ask(remote).await {
            Ok(resources) => {
                self.0.learned.lock().insert(remote.name.clone(), Arc::new(resources));
                ("True", "Passed", "all checks passed".to_owned())
            }
            Err((reason, message)) => ("False", reason, message),
        };
        self.note(&remote.name, status, reason, message).await;
    }

    /// What is served here is there, also if it was somebody else's before.
    async fn settle_local(&self) {
        let page = self.0.registry.store().range(&prefix(), &RangeOptions::default());
        for (_, stored) in page.map(|page| page.items).unwrap_or_default() {
            let service: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
            if Remote::of(&service).is_none() {
                let message = "Local APIServices are always available".to_owned();
                self.note(meta::name(&service), "True", "Local", message).await;
            }
        }
    }

    /// Writes the condition if it is not so yet.
    async fn note(&self, name: &str, status: &str, reason: &str, message: String) {
        let registry = &self.0.registry;
        let key = Target::one(&api_service::KIND, "", name).key();
        let Some(stored) = registry.store().get(&key) else { return };
        let object: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
        let before = meta::condition(&object, "Available");
        let is = |field: &str, value: &str| before.is_some_and(|before| text(before, &[field]) == value);
        if is("status", status) && is("reason", reason) && is("message", &message) {
            return;
        }
        let since =
            before.filter(|_| is("status", status)).map(|before| before["lastTransitionTime"].clone());
        let condition = json!({
            "type": "Available", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| json!(registry.now())),
        });
        let target = Target::one(&api_service::KIND, "", name).sub("status");
        let patch = json!({"status": {"conditions": [condition]}});
        let written = registry.patch(&Context::controller(ACCOUNT), &target, PatchKind::Merge, &patch).await;
        if let Err(error) = written
            && !error.is_not_found()
        {
            tracing::warn!(name, error = error.message, "the condition of an APIService is not written");
        }
    }
}
