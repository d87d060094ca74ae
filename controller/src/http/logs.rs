//! `pods/log`: the container's lines, from the node that has them.

use edge_api::meta::{self, items, text};
use edge_api::uri::encode_component;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::http::body::{Body, Response};
use crate::http::query::Query;
use crate::http::status;
use crate::registry::{ApiError, Context, Reason, Registry, Target};
use crate::tunnel::Tunnels;

/// The parameters that the node understands: those that are true or not, in whatever way a client says so, …
const FLAGS: &[&str] = &["follow", "previous", "timestamps"];
/// … and those with a value.
const VALUES: &[&str] = &["tailLines", "sinceSeconds", "sinceTime", "limitBytes", "stream"];
/// The largest message of a failing node that is passed on, in bytes.
const MESSAGE: usize = 4096;

/// Streams the log of a container.
pub async fn logs(
    registry: &Registry,
    tunnels: &Tunnels,
    cx: &Context,
    target: &Target<'_>,
    query: &Query<'_>,
) -> Result<Response, ApiError> {
    registry.authorise_for(cx, "get", target)?;
    check(query)?;
    let pod = registry.current(target)?.value();
    let container = container(&pod, query.get("container"))?;
    let node = text(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return Ok(lines(Body::Empty));
    }
    let flags = FLAGS.iter().filter(|name| query.truth(name)).map(|name| format!("{name}=true"));
    let values = VALUES.iter().filter(|name| !query.get(name).is_empty());
    let values = values.map(|name| format!("{name}={}", encode_component(query.get(name))));
    let parameters: Vec<String> = flags.chain(values).collect();
    let path = format!(
        "http://node/containerLogs/{}/{}/{container}?{}",
        target.namespace,
        target.name,
        parameters.join("&")
    );
    let request = Request::builder().method(Method::GET).uri(path).body(http_body_util::Empty::new());
    let request = request.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let response = tunnels.send(node, request).await.map_err(|error| {
        ApiError::new(
            Reason::ServiceUnavailable,
            format!("the logs of node {node:?} cannot be reached: {error}"),
        )
    })?;
    let code = response.status();
    if !code.is_success() {
        return Err(refusal(code, response.into_body()).await);
    }
    let data = response.into_body().into_data_stream().map_err(std::io::Error::other);
    let follows = query.truth("follow");
    // With its node a container ends, and so does what is heard of it. Half of a log must not pass for all of it.
    let data = data.take_while(move |chunk| std::future::ready(chunk.is_ok() || !follows));
    Ok(lines(Body::Chunks(Box::pin(data))))
}

fn lines(body: Body) -> Response {
    let mut response = status::text(StatusCode::OK, "");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    *response.body_mut() = body;
    response
}

/// Which container is meant.
pub fn container<'a>(pod: &'a Value, wished: &'a str) -> Result<&'a str, ApiError> {
    let names = |list: &str| -> Vec<&'a str> {
        items(pod, &["spec", list]).iter().map(|container| text(container, &["name"])).collect()
    };
    let (containers, inits) = (names("containers"), names("initContainers"));
    let ephemeral = names("ephemeralContainers");
    let name = meta::name(pod);
    if wished.is_empty() {
        let default = meta::annotation(pod, "kubectl.kubernetes.io/default-container");
        if let Some(default) = default.filter(|default| containers.contains(default)) {
            return Ok(default);
        }
        if let [only] = containers.as_slice() {
            return Ok(only);
        }
        let mut message = format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            containers.join(" ")
        );
        if !inits.is_empty() {
            message.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
        }
        return Err(ApiError::bad_request(message));
    }
    if [containers, inits, ephemeral].iter().any(|list| list.contains(&wished)) {
        return Ok(wished);
    }
    Err(ApiError::bad_request(format!("container {wished} is not valid for pod {name}")))
}

fn check(query: &Query<'_>) -> Result<(), ApiError> {
    for name in ["tailLines", "sinceSeconds", "limitBytes"] {
        let least = u64::from(name != "tailLines");
        if query.number(name)?.is_some_and(|number| number < least) {
            return Err(invalid(&format!("{name}: Invalid value: 0: must be greater than 0")));
        }
    }
    if !query.get("sinceSeconds").is_empty() && !query.get("sinceTime").is_empty() {
        return Err(invalid(
            "sinceSeconds: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    Ok(())
}

fn invalid(why: &str) -> ApiError {
    ApiError::new(Reason::Invalid, format!("PodLogOptions \"\" is invalid: {why}"))
}

/// What the node says is wrong.
pub async fn refusal(code: StatusCode, body: hyper::body::Incoming) -> ApiError {
    let collected = http_body_util::Limited::new(body, MESSAGE).collect().await;
    let bytes = collected.map(|body| body.to_bytes()).unwrap_or_default();
    let message = String::from_utf8_lossy(&bytes).trim().to_owned();
    let reason = match code {
        StatusCode::NOT_FOUND => Reason::NotFound,
        StatusCode::BAD_REQUEST => Reason::BadRequest,
        _ => Reason::InternalError,
    };
    ApiError::new(reason, if message.is_empty() { format!("the node answered {code}") } else { message })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::container;

    #[test]
    fn the_container_is_found_or_asked_for() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, "").ok(), Some("a"));
        let mut two = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}],
        }});
        let message = container(&two, "").err().map(|error| error.message);
        assert_eq!(
            message.as_deref(),
            Some(
                "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
            )
        );
        assert_eq!(container(&two, "i").ok(), Some("i"));
        assert!(container(&two, "c").is_err());
        two["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "b"});
        assert_eq!(container(&two, "").ok(), Some("b"));
    }
}
