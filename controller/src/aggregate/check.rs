//! Whether somebody can be reached, with Kubernetes' reasons.

use std::time::Duration;

use bytes::Bytes;
use edge_api::kinds::endpoint_slice;
use edge_api::meta::{items, number, text};
use http::{Request, header};
use http_body_util::Empty;
use serde_json::Value;

use crate::aggregate::{Aggregation, Remote};
use crate::outward;
use crate::registry::Target;
use crate::store::Key;

/// How long somebody has to say what he serves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why somebody cannot be reached: the reason and the message of the condition.
pub(super) type Absence = (&'static str, String);

impl Aggregation {
    /// Asks somebody what he serves.
    pub(super) async fn ask(&self, remote: &Remote) -> Result<Value, Absence> {
        self.look(remote)?;
        let path = remote.root();
        let failed = |why: String, place: &str| {
            ("FailedDiscoveryCheck", format!("failing or missing response from {place}: {why}"))
        };
        let to = remote.destination(&self.0.registry, &path).map_err(|why| failed(why, &path))?;
        let place = format!("https://{}:{}{path}", to.host, to.port);
        let request = Request::get(&path)
            .header(header::ACCEPT, "application/json")
            .header("x-remote-user", "system:kube-aggregator")
            .header("x-remote-group", "system:masters")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(error.to_string(), &place))?;
        let answer = outward::whole(&to, self.trust(remote), request, PATIENCE).await;
        let answer = answer.map_err(|error| failed(format!("Get {place:?}: {error}"), &place))?;
        if !answer.code.is_success() {
            return Err(failed(format!("bad status from {place}: {}", answer.code.as_u16()), &place));
        }
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// Whether there is anybody to ask.
    fn look(&self, remote: &Remote) -> Result<(), Absence> {
        let (registry, (namespace, name)) = (&self.0.registry, &remote.service);
        let service = registry.store().get(&Key::of("core", "services", namespace, name));
        let absent = || ("ServiceNotFound", format!("service/{name} in {namespace:?} is not present"));
        let service: Value = serde_json::from_slice(&service.ok_or_else(absent)?.value).unwrap_or_default();
        let mut ports = items(&service, &["spec", "ports"]).iter();
        let port = ports.find(|port| number(port, &["port"]) == Some(remote.port));
        if text(&service, &["spec", "type"]) == "ExternalName" {
            return Ok(());
        }
        let port = port.ok_or_else(|| {
            (
                "ServicePortError",
                format!("service/{name} in {namespace:?} is not listening on port {}", remote.port),
            )
        })?;
        let slices = Target::all(&endpoint_slice::KIND, namespace);
        let label = format!("{}={name}", endpoint_slice::SERVICE_NAME_LABEL);
        let slices = registry.labelled(&slices, &label).unwrap_or_default();
        if slices.is_empty() {
            let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Err(("EndpointsNotFound", message));
        }
        let port = text(port, &["name"]);
        let reachable = |slice: &Value| {
            items(slice, &["ports"]).iter().any(|one| text(one, &["name"]) == port)
                && items(slice, &["endpoints"]).iter().any(|one| one["conditions"]["ready"] != false)
        };
        if slices.iter().any(|slice| reachable(&slice.value())) {
            return Ok(());
        }
        let message = format!(
            "endpoints for service/{name} in {namespace:?} have no addresses with port name {port:?}"
        );
        Err(("MissingEndpoints", message))
    }
}
