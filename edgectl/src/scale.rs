//! `edgectl scale`.

use http::Method;
use serde_json::json;

use crate::cli::Scale;
use crate::failure::Failure;
use crate::session::{JSON, Session};
use crate::{get, output};

/// Sets the size of every workload named.
pub async fn scale(session: &Session, options: &Scale) -> Result<(), Failure> {
    for target in get::targets(session, &options.what).await? {
        let Some(name) = target.name else {
            return Err(Failure::say("a name is needed: TYPE/NAME"));
        };
        if !target.resource.subresources.iter().any(|sub| sub == "scale") {
            return Err(Failure::say(format!("{} cannot be scaled", target.resource.qualified())));
        }
        let path = format!("{}/scale", target.resource.object(&session.namespace, &name));
        let mut patch = json!({"spec": {"replicas": options.replicas}});
        if let Some(expected) = options.current_replicas {
            let live = session.get(&path, JSON).await?;
            let now = live["spec"]["replicas"].as_u64().unwrap_or(0);
            if now != u64::from(expected) {
                return Err(Failure::say(format!("Expected replicas to be {expected}, was {now}")));
            }
            patch["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        session.send(Method::PATCH, &path, "application/merge-patch+json", &patch).await?;
        output::line(&format!("{}/{name} scaled", target.resource.qualified()))?;
    }
    Ok(())
}
