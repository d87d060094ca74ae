//! What the server passes on to a port of a Pod of this node, from those who call the Pod through the API.

use std::net::{IpAddr, SocketAddr};

use edge_api::kinds::pod::Pod;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::client::tunnel::{Body, text};
use crate::supervisor::host::Host;
use crate::sync::Mirror;

/// What the paths of such requests begin with; the address, the port and the Pod's own path follow.
pub const PREFIX: &str = "/podProxy/";

/// Sends the request to the Pod and its answer back.
pub async fn forward(mut request: Request<Incoming>, host: &Host, pods: &Mirror<Pod>) -> Response<Body> {
    let Some((to, uri)) = target(request.uri()) else {
        return text(StatusCode::BAD_REQUEST, "no address of a Pod");
    };
    let ip = to.ip().to_string();
    // The server may reach the Pods of this node, and nothing else that this host reaches.
    if !pods.any(|pod| pod.status.pod_ip == ip) {
        return text(StatusCode::NOT_FOUND, &format!("no Pod of this node has the address {ip}"));
    }
    *request.uri_mut() = uri;
    let request = request.map(crate::http::Body::from);
    match host.network.exchange_at(to, host.network.gateway(), request).await {
        Ok(response) => response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &told(&error)),
    }
}

/// The address that a path names, and what the Pod is asked for.
fn target(uri: &Uri) -> Option<(SocketAddr, Uri)> {
    let (ip, rest) = uri.path().strip_prefix(PREFIX)?.split_once('/')?;
    let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
    let to = SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?);
    let question = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some((to, format!("http://{to}/{path}{question}").parse().ok()?))
}

fn told(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn paths_name_an_address_and_keep_the_rest() {
        let read = |text: &str| {
            let (to, uri) = target(&text.parse().ok()?)?;
            Some(format!("{to} {uri}"))
        };
        assert_eq!(
            read("http://node/podProxy/10.42.0.5/8080/a%2Fb/c?d=e").as_deref(),
            Some("10.42.0.5:8080 http://10.42.0.5:8080/a%2Fb/c?d=e")
        );
        assert_eq!(read("/podProxy/10.42.0.5/80/").as_deref(), Some("10.42.0.5:80 http://10.42.0.5:80/"));
        assert_eq!(read("/podProxy/fd42::5/80").as_deref(), Some("[fd42::5]:80 http://[fd42::5]:80/"));
        for bad in ["/podProxy/host/80/", "/podProxy/10.42.0.5/x/", "/podProxy/10.42.0.5", "/other"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
