//! `edgectl rollout`: Deployments and their revisions.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Rollout, RolloutVerb};
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::session::{JSON, Session, query};
use crate::{get, output, wait};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Runs a verb on every rollout named.
pub async fn rollout(session: &Session, options: &Rollout) -> Result<(), Failure> {
    match &options.verb {
        RolloutVerb::Status { what, watch, timeout } => {
            for (resource, name) in named(session, what).await? {
                status(session, resource, &name, *watch, *timeout).await?;
            }
        }
        RolloutVerb::History { what, revision } => {
            for (resource, name) in named(session, what).await? {
                history(session, resource, &name, *revision).await?;
            }
        }
        RolloutVerb::Undo { what, to_revision } => {
            for (resource, name) in named(session, what).await? {
                undo(session, resource, &name, *to_revision).await?;
            }
        }
        RolloutVerb::Restart { what } => {
            let now = jiff_now();
            let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
            change(session, what, &patch, "restarted").await?;
        }
        RolloutVerb::Pause { what } => {
            change(session, what, &json!({"spec": {"paused": true}}), "paused").await?
        }
        RolloutVerb::Resume { what } => {
            change(session, what, &json!({"spec": {"paused": null}}), "resumed").await?
        }
    }
    Ok(())
}

fn jiff_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn named<'a>(session: &'a Session, what: &[String]) -> Result<Vec<(&'a Resource, String)>, Failure> {
    let targets = get::targets(session, what).await?;
    let mut named = Vec::new();
    for target in targets {
        let name = target.name.ok_or_else(|| Failure::say("a name is needed: TYPE/NAME"))?;
        if target.resource.kind != "Deployment" {
            return Err(Failure::say(format!(
                "no rollouts of {}: a Deployment was expected",
                target.resource.qualified()
            )));
        }
        named.push((target.resource, name));
    }
    Ok(named)
}

async fn change(session: &Session, what: &[String], patch: &Value, word: &str) -> Result<(), Failure> {
    for (resource, name) in named(session, what).await? {
        let path = format!("{}?fieldManager=kubectl-rollout", resource.object(&session.namespace, &name));
        session.send(Method::PATCH, &path, STRATEGIC, patch).await?;
        output::line(&format!("{}/{name} {word}", resource.qualified()))?;
    }
    Ok(())
}

/// What a rollout has come to.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Going(String),
    Done(String),
    Failed(String),
}

fn progress(deployment: &Value) -> Progress {
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let count = |value: &Value| value.as_i64().unwrap_or(0);
    if count(&deployment["metadata"]["generation"]) > count(&status["observedGeneration"]) {
        return Progress::Going("Waiting for deployment spec update to be observed...".to_owned());
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if conditions.iter().any(|condition| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    }) {
        return Progress::Failed(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let (wanted, updated) = (spec["replicas"].as_i64().unwrap_or(1), count(&status["updatedReplicas"]));
    let (all, available) = (count(&status["replicas"]), count(&status["availableReplicas"]));
    let waiting = |what: String| {
        Progress::Going(format!("Waiting for deployment \"{name}\" rollout to finish: {what}..."))
    };
    if updated < wanted {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if all > updated {
        waiting(format!("{} old replicas are pending termination", all - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        Progress::Done(format!("deployment \"{name}\" successfully rolled out"))
    }
}

async fn status(
    session: &Session,
    resource: &Resource,
    name: &str,
    watch: bool,
    timeout: Duration,
) -> Result<(), Failure> {
    let timeout = if timeout.is_zero() { Duration::from_secs(365 * 24 * 3600) } else { timeout };
    let mut said = String::new();
    let mut outcome = Ok(());
    let each = |object: Option<&Value>| {
        let Some(object) = object else {
            outcome = Err(Failure::say("object has been deleted"));
            return true;
        };
        let (text, ended) = match progress(object) {
            Progress::Going(text) => (text, !watch),
            Progress::Done(text) => (text, true),
            Progress::Failed(text) => {
                outcome = Err(Failure::say(&text));
                return true;
            }
        };
        if text != said
            && let Err(failure) = output::line(&text)
        {
            outcome = Err(failure);
            return true;
        }
        said = text;
        ended
    };
    session.get(&resource.object(&session.namespace, name), JSON).await?;
    wait::until(session, resource, name, Instant::now() + timeout, each, false).await?;
    outcome
}

/// The ReplicaSets of a Deployment with their revisions, oldest first.
async fn revisions(session: &Session, deployment: &Value) -> Result<Vec<(i64, Value)>, Failure> {
    let selector = get::labels(&deployment["spec"]["selector"]["matchLabels"]);
    let path = format!(
        "/apis/apps/v1/namespaces/{}/replicasets{}",
        session.namespace,
        query(&[("labelSelector", Some(&selector))])
    );
    let list = session.get(&path, JSON).await?;
    let uid = &deployment["metadata"]["uid"];
    let owned = |set: &&Value| {
        set["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == *uid)
    };
    let revision = |set: &Value| set["metadata"]["annotations"][REVISION].as_str()?.parse::<i64>().ok();
    let mut found: Vec<(i64, Value)> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(owned)
        .filter_map(|set| Some((revision(set)?, set.clone())))
        .collect();
    found.sort_by_key(|(revision, _)| *revision);
    Ok(found)
}

async fn history(session: &Session, resource: &Resource, name: &str, wanted: i64) -> Result<(), Failure> {
    let deployment = session.get(&resource.object(&session.namespace, name), JSON).await?;
    let revisions = revisions(session, &deployment).await?;
    let title = format!("{}/{name}", resource.qualified());
    if wanted > 0 {
        let set = revisions.iter().find(|(revision, _)| *revision == wanted);
        let (_, set) =
            set.ok_or_else(|| Failure::say(format!("unable to find the specified revision {wanted}")))?;
        output::line(&format!("{title} with revision #{wanted}"))?;
        return output::print(&output::yaml(&set["spec"]["template"])?);
    }
    output::line(&title)?;
    let mut rows = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
    for (revision, set) in revisions {
        let cause = set["metadata"]["annotations"][CAUSE].as_str().unwrap_or("<none>");
        rows.push(vec![revision.to_string(), cause.to_owned()]);
    }
    output::print(&output::columns(&rows))
}

async fn undo(session: &Session, resource: &Resource, name: &str, to: i64) -> Result<(), Failure> {
    let path = resource.object(&session.namespace, name);
    let deployment = session.get(&path, JSON).await?;
    if deployment["spec"]["paused"] == true {
        return Err(Failure::say(
            "cannot rollback a paused deployment; resume it first with 'edgectl rollout resume' and try again",
        ));
    }
    let revisions = revisions(session, &deployment).await?;
    let found = match to {
        0 => revisions.len().checked_sub(2).and_then(|index| revisions.get(index)),
        to => revisions.iter().find(|(revision, _)| *revision == to),
    };
    let Some((_, set)) = found else {
        let what = if to == 0 {
            "no rollout history found".to_owned()
        } else {
            format!("unable to find specified revision {to} in history")
        };
        return Err(Failure::say(what));
    };
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    if template == deployment["spec"]["template"] {
        output::line(&format!(
            "{}/{name} skipped rollback (current template already matches revision {to})",
            resource.qualified()
        ))?;
        return Ok(());
    }
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
    session.send(Method::PATCH, &path, "application/json-patch+json", &patch).await?;
    output::line(&format!("{}/{name} rolled back", resource.qualified()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::rollout::{Progress, progress};

    fn deployment(status: &Value) -> Value {
        json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3}, "status": status})
    }

    #[test]
    fn progress_is_told_as_kubectl_tells_it() {
        let table = [
            (json!({"observedGeneration": 1}), Progress::Going("Waiting for deployment spec update to be observed...".into())),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 1, "replicas": 3}),
                Progress::Going("Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...".into()),
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4}),
                Progress::Going("Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...".into()),
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
                Progress::Going("Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...".into()),
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
                Progress::Done("deployment \"web\" successfully rolled out".into()),
            ),
            (
                json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
                Progress::Failed("deployment \"web\" exceeded its progress deadline".into()),
            ),
        ];
        for (status, want) in table {
            assert_eq!(progress(&deployment(&status)), want);
        }
    }
}
