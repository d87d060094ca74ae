//! What the server asks over the tunnel: logs, commands, connections, metrics, what is in use, how many requests come,
//! what Pods serve, and whether the node is there.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use edge_api::kinds::pod::{Pod, PodStatus};
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use tokio_util::io::ReaderStream;

use crate::client::tunnel::{Answer, Body, text};
use crate::log::{LogKey, LogReader, Logs, ReadError, ReadOptions};
use crate::node::rates::Rates;
use crate::node::summary::Summary;
use crate::node::{exec, forward, metrics, pod_proxy};
use crate::supervisor::CORE_DUMP;
use crate::supervisor::exec::Residents;
use crate::supervisor::host::Host;
use crate::sync::{Key, Mirror};

/// Answers the server's calls.
pub fn answer(node: String, host: Arc<Host>, pods: Arc<Mirror<Pod>>, residents: Arc<Residents>) -> Answer {
    let summary = Arc::new(Summary::new(node, host.roster.clone()));
    let rates = Arc::new(Rates::new(host.network.clone()));
    Arc::new(move |request| -> BoxFuture<'static, Response<Body>> {
        let (host, pods, summary) = (host.clone(), pods.clone(), summary.clone());
        let (residents, rates) = (residents.clone(), rates.clone());
        Box::pin(async move {
            match *request.method() {
                _ if request.uri().path().starts_with(pod_proxy::PREFIX) => {
                    pod_proxy::forward(request, &host, &pods).await
                }
                Method::GET => read(&request, &host, &pods, &summary, &rates).await,
                Method::POST => act(request, &host, &pods, &residents).await,
                _ => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST"),
            }
        })
    })
}

async fn act(
    request: Request<Incoming>,
    host: &Host,
    pods: &Mirror<Pod>,
    residents: &Residents,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let [what @ ("exec" | "attach" | "portForward"), namespace, pod, of] = parts.as_slice() else {
        return text(StatusCode::NOT_FOUND, "not found");
    };
    let key = Key { namespace: (*namespace).to_owned(), name: (*pod).to_owned() };
    let Some(pod) = pods.get(&key) else {
        return text(StatusCode::NOT_FOUND, &format!("pod {pod:?} not found on this node"));
    };
    if *what == "portForward" {
        let ip = residents.address(&pod.metadata.uid);
        return forward::answer(host, ip, of, request.into_body()).await;
    }
    let wish = exec::Wish::read(pairs(request.uri().query().unwrap_or_default()));
    let (uid, body) = (&pod.metadata.uid, request.into_body());
    match *what {
        "attach" => exec::attach(residents, uid, of, wish, body),
        _ => exec::answer(residents, uid, of, wish, body).await,
    }
}

/// The parameters of a query, decoded.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        (name.to_owned(), decode(value))
    })
}

async fn read(
    request: &Request<Incoming>,
    host: &Host,
    pods: &Mirror<Pod>,
    summary: &Summary,
    rates: &Rates,
) -> Response<Body> {
    let parts: Vec<&str> = request.uri().path().trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz"] => text(StatusCode::OK, "ok"),
        ["metrics"] => {
            let all = metrics::text(host.code.compilations(), &host.roster.measure());
            typed(metrics::MEDIA_TYPE, &all)
        }
        ["stats", "summary"] => typed("application/json", &summary.answer().await.to_string()),
        ["stats", "requests"] => typed("application/json", &rates.answer().await.to_string()),
        [what @ ("containerLogs" | "coreDump"), namespace, pod, container] => {
            let key = Key { namespace: (*namespace).to_owned(), name: (*pod).to_owned() };
            let Some(pod) = pods.get(&key) else {
                return text(StatusCode::NOT_FOUND, &format!("pod {pod:?} not found on this node"));
            };
            if !pod.spec.container_names().any(|known| known == *container) {
                return text(
                    StatusCode::NOT_FOUND,
                    &format!("container {container:?} not found in pod {:?}", key.name),
                );
            }
            let log = LogKey::new(namespace, &key.name, &pod.metadata.uid, container);
            if *what == "coreDump" {
                return core_dump(&host.logs, &log).await;
            }
            let named = format!("container {container:?} in pod {:?}", key.name);
            let query = request.uri().query().unwrap_or_default();
            container_log(query, &host.logs, &log, &named, || waits_for(&pod.status, container)).await
        }
        _ => text(StatusCode::NOT_FOUND, "not found"),
    }
}

fn typed(media: &'static str, words: &str) -> Response<Body> {
    let mut response = text(StatusCode::OK, words);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// Why a container has not begun, in the kubelet's words.
fn waits_for(status: &PodStatus, container: &str) -> String {
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let found = lists.into_iter().flatten().find(|found| found.name == container);
    match found.and_then(|found| found.state.waiting.as_ref()).map(|waiting| &*waiting.reason) {
        Some("ErrImagePull") => ": image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => ": trying and failing to pull image".to_owned(),
        Some(reason) if !reason.is_empty() => format!(": {reason}"),
        _ => " - no logs yet".to_owned(),
    }
}

async fn container_log(
    query: &str,
    logs: &Logs,
    key: &LogKey,
    named: &str,
    waits_for: impl FnOnce() -> String,
) -> Response<Body> {
    let options = match options(query) {
        Ok(options) => options,
        Err(problem) => return text(StatusCode::BAD_REQUEST, &problem),
    };
    match logs.read(key, options).await {
        Ok(reader) => stream(reader),
        Err(ReadError::NotStarted) => {
            text(StatusCode::BAD_REQUEST, &format!("{named} is waiting to start{}", waits_for()))
        }
        Err(ReadError::NoPrevious) => {
            text(StatusCode::BAD_REQUEST, &format!("previous terminated {named} not found"))
        }
        Err(ReadError::Io(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The core dump of a container's last trap.
async fn core_dump(logs: &Logs, key: &LogKey) -> Response<Body> {
    let file = match tokio::fs::File::open(logs.core_dump(key)).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let container = &key.container;
            let why = format!(
                "container {container:?} has left no core dump; the Pod's annotation {CORE_DUMP}: \"true\" asks for one"
            );
            return text(StatusCode::NOT_FOUND, &why);
        }
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let pieces = ReaderStream::new(file).map_ok(Frame::data);
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    let media = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

fn stream(reader: LogReader) -> Response<Body> {
    let pieces = futures::stream::try_unfold(reader, |mut reader| async move {
        Ok::<_, io::Error>(reader.next().await?.map(|piece: Bytes| (Frame::data(piece), reader)))
    });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Reads Kubernetes' `PodLogOptions` as query parameters.
pub fn options(query: &str) -> Result<ReadOptions, String> {
    let mut options = ReadOptions::default();
    for (name, value) in pairs(query) {
        let invalid = || format!("invalid value {value:?} of {name}");
        let flag = || matches!(value.as_str(), "true" | "1" | "");
        match name.as_str() {
            "follow" => options.follow = flag(),
            "previous" => options.previous = flag(),
            "timestamps" => options.timestamps = flag(),
            "tailLines" => options.tail = Some(value.parse().map_err(|_| invalid())?),
            "limitBytes" => options.limit = Some(value.parse().map_err(|_| invalid())?),
            "sinceTime" => options.since = Some(value.parse().map_err(|_| invalid())?),
            "sinceSeconds" => {
                let seconds: i64 = value.parse().map_err(|_| invalid())?;
                options.since = Some(jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds));
            }
            _ => {}
        }
    }
    Ok(options)
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let read = options("follow=true&tailLines=5&timestamps=1&sinceTime=2026-01-02T03%3A04%3A05Z")
            .expect("valid");
        assert!(read.follow && read.timestamps && !read.previous);
        assert_eq!(read.tail, Some(5));
        assert_eq!(read.since.map(|since| since.to_string()).as_deref(), Some("2026-01-02T03:04:05Z"));
        assert!(options("tailLines=x").is_err());
        assert!(options("sinceSeconds=10&container=c").expect("valid").since.is_some());
    }
}
