//! The autoscalers that requests wait for, told while they wait.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::client::backoff::Backoff;
use crate::net::Lobby;

/// How often it is told again that somebody is wanted: a server that has been started anew knows nothing.
const AGAIN: Duration = Duration::from_secs(5);

/// Tells for as long as it is polled. While nothing waits it sleeps.
pub async fn tell_wanted(client: Client, node: String, lobby: Lobby) {
    tell(client, &node, lobby, AGAIN).await;
}

async fn tell(client: Client, node: &str, lobby: Lobby, again: Duration) {
    let path = format!("/edgectl.dev/v1/nodes/{node}/wanted");
    let mut changes = lobby.changes();
    let mut backoff = Backoff::new(Duration::from_millis(100), again);
    loop {
        changes.mark_unchanged();
        let wanted = lobby.wanted();
        if wanted.is_empty() {
            backoff.reset();
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let pause = match client.create(&path, &body(&wanted)).await {
            Ok(_) => {
                backoff.reset();
                again
            }
            Err(error) => {
                tracing::debug!(%error, "that requests wait cannot be told");
                backoff.delay()
            }
        };
        // What changes is told at once.
        let _ = tokio::time::timeout(pause, changes.changed()).await;
    }
}

fn body(wanted: &[Arc<str>]) -> Value {
    let named = |key: &Arc<str>| {
        let (namespace, name) = key.split_once('/')?;
        Some(json!({"namespace": namespace, "name": name}))
    };
    json!({"autoscalers": wanted.iter().filter_map(named).collect::<Vec<Value>>()})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::Method;

    use super::*;
    use crate::client::fake::Fake;

    fn told(server: &Fake) -> usize {
        server.requests(&Method::POST, "/edgectl.dev/v1/nodes/edge-1/wanted")
    }

    /// Lets everything that can go on go on.
    async fn until_told(server: &Fake, times: usize) {
        while told(server) < times {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn autoscalers_are_named() {
        let expected = json!({"autoscalers": [{"namespace": "shop", "name": "web"}]});
        assert_eq!(body(&[Arc::from("shop/web")]), expected);
    }

    #[tokio::test]
    async fn who_is_wanted_is_told_at_once_and_again_while_somebody_waits() {
        let server = Fake::new();
        let lobby = Lobby::new(8);
        let (client, theirs) = (server.client(), lobby.clone());
        let telling =
            tokio::spawn(async move { tell(client, "edge-1", theirs, Duration::from_millis(20)).await });
        let seat = lobby.enter(&[Arc::from("shop/web")].into());
        until_told(&server, 3).await;
        drop(seat);
        telling.abort();
    }

    #[tokio::test]
    async fn another_is_told_at_once() {
        let server = Fake::new();
        let lobby = Lobby::new(8);
        let (client, theirs) = (server.client(), lobby.clone());
        let telling =
            tokio::spawn(async move { tell(client, "edge-1", theirs, Duration::from_secs(3600)).await });
        let first = lobby.enter(&[Arc::from("shop/web")].into());
        until_told(&server, 1).await;
        let second = lobby.enter(&[Arc::from("shop/other")].into());
        until_told(&server, 2).await;
        drop((first, second));
        telling.abort();
    }
}
