//! Bringing a Pod's network and volumes about, and keeping the volumes up to date.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_api::kinds::pod::ServiceAccountTokenProjection;
use edge_api::time::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use crate::client::backoff::Backoff;
use crate::client::{ClientError, Resource};
use crate::dns::PodNames;
use crate::net::{Attachment, NetError, PodIdentity};
use crate::supervisor::address::AddressError;
use crate::supervisor::claims;
use crate::supervisor::context::Context;
use crate::supervisor::machine::Event;
use crate::supervisor::run;
use crate::volume::{VolumeError, payload};

/// Kubernetes' default for `expirationSeconds`.
const TOKEN_SECONDS: i64 = 3600;
/// A token older than this is renewed whatever its lifetime.
const TOKEN_AGE: Duration = Duration::from_secs(24 * 3600);

/// A projected token.
#[derive(Clone)]
struct Token {
    text: String,
    renew: Instant,
}

type Wanted = (String, i64);

/// Prepares the Pod, says so, and goes on to keep its volumes up to date.
pub async fn run(context: Arc<Context>) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
    // What is long in code and short in time is in boxes: this goes on for as long as the Pod.
    while let Err(error) = Box::pin(network(&context)).await {
        context.tell(None, true, "FailedCreatePodSandBox", &format!("Failed to create pod sandbox: {error}"));
        backoff.wait().await;
    }
    let mut tokens = HashMap::new();
    let mut prepared = false;
    backoff.reset();
    loop {
        let next = match Box::pin(refresh(&context, &mut tokens)).await {
            Ok(changed) => {
                backoff.reset();
                if !prepared {
                    prepared = true;
                    context.send(Event::Prepared);
                } else if changed {
                    context.send(Event::Refreshed);
                }
                tokens.values().map(|token: &Token| token.renew).min()
            }
            Err(error) => {
                if !error.is_waiting() {
                    context.tell(None, true, "FailedMount", &error.to_string());
                }
                Some(Instant::now() + backoff.delay())
            }
        };
        tokio::select! {
            () = context.bell.notified() => {
                if prepared {
                    run::configure(&context);
                    context.send(Event::Refreshed);
                }
            }
            () = until(next) => {}
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Why a Pod has no network.
#[derive(Debug, thiserror::Error)]
enum NetworkError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Net(#[from] NetError),
}

async fn network(context: &Context) -> Result<(), NetworkError> {
    if context.net.get().is_some() {
        return Ok(());
    }
    let pod = context.pod.load_full();
    let host = &context.host;
    let ip = if pod.spec.host_network { host.address } else { address(context).await? };
    let meta = &pod.metadata;
    let resolver = host.network.resolver();
    let (domain, own) = (resolver.cluster_domain(), resolver.host());
    let names = PodNames::of_pod(&pod.spec, &meta.name, &meta.namespace, &[ip], domain, &own);
    let attachment = Attachment { names: Some(names), host_network: pod.spec.host_network };
    let net = host.network.attach_with(identity(context), ip, attachment)?;
    let _ = context.ip.set(ip);
    let _ = context.net.set(net);
    Ok(())
}

fn identity(context: &Context) -> PodIdentity {
    let name = &context.name;
    PodIdentity {
        namespace: name.namespace.as_str().into(),
        name: name.name.as_str().into(),
        uid: name.uid.as_str().into(),
    }
}

/// The Pod's address: the one it had, if it had one.
async fn address(context: &Context) -> Result<IpAddr, AddressError> {
    let host = &context.host;
    if let Some(ip) = context.ip.get() {
        return Ok(*ip);
    }
    let mut range = host.has_range.subscribe();
    let _ = range.wait_for(|known| *known).await;
    host.addresses.lock().take(&context.name.uid)
}

/// Writes what has changed of the volumes.
async fn refresh(context: &Arc<Context>, tokens: &mut HashMap<Wanted, Token>) -> Result<bool, VolumeError> {
    let pod = context.pod.load_full();
    for volume in &pod.spec.volumes {
        for wanted in payload::tokens(volume) {
            let key = key(wanted);
            if tokens.get(&key).is_none_or(|token| token.renew <= Instant::now()) {
                match request(context, wanted).await {
                    Ok(token) => drop(tokens.insert(key, token)),
                    Err(error) => keep(context, tokens, key, &volume.name, wanted, &error),
                }
            }
        }
    }
    // Everything named has to be known, that of variables too, before a container can begin.
    if let Some(hold) = context.unknown() {
        tracing::debug!(
            namespace = context.name.namespace,
            name = context.name.name,
            hold,
            "waiting for an object"
        );
        let source = payload::PayloadError::Token;
        return Err(VolumeError::Payload { volume: String::new(), source });
    }
    claims::resolve(context).await?;
    let (context, tokens) = (context.clone(), tokens.clone());
    let work = move || {
        let claims = context.claims.lock().clone();
        let find =
            |wanted: &ServiceAccountTokenProjection| tokens.get(&key(wanted)).map(|token| token.text.clone());
        let objects = |source, name: &str| context.lookup(source, name);
        context.host.volumes.prepare(&context.facts(&pod), &objects, &find, &claims)
    };
    tokio::task::spawn_blocking(work).await.expect("preparing volumes does not panic")
}

fn key(wanted: &ServiceAccountTokenProjection) -> Wanted {
    (wanted.audience.clone(), wanted.expiration_seconds.unwrap_or(TOKEN_SECONDS))
}

/// Without the server, the token that is there already serves until it can be renewed.
fn keep(
    context: &Context,
    tokens: &mut HashMap<Wanted, Token>,
    key: Wanted,
    volume: &str,
    wanted: &ServiceAccountTokenProjection,
    error: &ClientError,
) {
    let renew = Instant::now() + Duration::from_secs(10);
    let old = tokens.remove(&key).map(|token| token.text);
    let old = old.or_else(|| context.host.volumes.kept_token(&context.name.uid, volume, &wanted.path));
    match old {
        Some(text) => drop(tokens.insert(key, Token { text, renew })),
        None => {
            let message =
                format!("MountVolume.SetUp failed for volume {volume:?} : failed to fetch token: {error}");
            context.tell(None, true, "FailedMount", &message);
        }
    }
}

async fn request(context: &Context, wanted: &ServiceAccountTokenProjection) -> Result<Token, ClientError> {
    let pod = context.pod.load_full();
    let account = match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    };
    let mut spec = json!({
        "expirationSeconds": wanted.expiration_seconds.unwrap_or(TOKEN_SECONDS),
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": context.name.name, "uid": context.name.uid},
    });
    if !wanted.audience.is_empty() {
        spec["audiences"] = json!([wanted.audience]);
    }
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let path = Resource::SERVICE_ACCOUNTS.part(&context.name.namespace, account, "token");
    let answer = context.host.client.create(&path, &request).await?;
    let status = &answer["status"];
    let expires = status["expirationTimestamp"].as_str().and_then(|text| Timestamp::parse(text).ok());
    let now = Timestamp::from(std::time::SystemTime::now());
    let lifetime = expires.map_or(Duration::from_secs(600), |expires| expires.since(now));
    // At four fifths of its life, and not all Pods at once.
    let renew = lifetime.mul_f64(0.75 + fastrand::f64() / 20.0).min(TOKEN_AGE);
    Ok(Token { text: status["token"].as_str().unwrap_or_default().to_owned(), renew: Instant::now() + renew })
}
