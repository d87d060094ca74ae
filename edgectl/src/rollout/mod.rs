//! `edgectl rollout`: Deployments, DaemonSets and StatefulSets, and their revisions.

mod progress;
mod revision;

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Rollout, RolloutVerb};
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::rollout::progress::{Progress, progress};
use crate::rollout::revision::revisions;
use crate::session::{JSON, Session};
use crate::{get, output, wait};

/// What has rollouts.
const ALL: &[&str] = &["Deployment", "DaemonSet", "StatefulSet"];
/// What can be held in the middle of one.
const PAUSABLE: &[&str] = &["Deployment"];

const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Runs a verb on every rollout named.
pub async fn rollout(session: &Session, options: &Rollout) -> Result<(), Failure> {
    match &options.verb {
        RolloutVerb::Status { what, watch, timeout } => {
            for (resource, name) in named(session, what, ALL).await? {
                status(session, resource, &name, *watch, *timeout).await?;
            }
        }
        RolloutVerb::History { what, revision } => {
            for (resource, name) in named(session, what, ALL).await? {
                history(session, resource, &name, *revision).await?;
            }
        }
        RolloutVerb::Undo { what, to_revision } => {
            for (resource, name) in named(session, what, ALL).await? {
                undo(session, resource, &name, *to_revision).await?;
            }
        }
        RolloutVerb::Restart { what } => {
            let now = jiff_now();
            let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
            change(session, what, ALL, &patch, "restarted").await?;
        }
        RolloutVerb::Pause { what } => {
            change(session, what, PAUSABLE, &json!({"spec": {"paused": true}}), "paused").await?
        }
        RolloutVerb::Resume { what } => {
            change(session, what, PAUSABLE, &json!({"spec": {"paused": null}}), "resumed").await?
        }
    }
    Ok(())
}

fn jiff_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn named<'a>(
    session: &'a Session,
    what: &[String],
    kinds: &[&str],
) -> Result<Vec<(&'a Resource, String)>, Failure> {
    let targets = get::targets(session, what).await?;
    let mut named = Vec::new();
    for target in targets {
        let name = target.name.ok_or_else(|| Failure::say("a name is needed: TYPE/NAME"))?;
        if !kinds.contains(&target.resource.kind.as_str()) {
            return Err(Failure::say(format!(
                "{} has no such rollout: a {} was expected",
                target.resource.qualified(),
                kinds.join(" or ")
            )));
        }
        named.push((target.resource, name));
    }
    Ok(named)
}

async fn change(
    session: &Session,
    what: &[String],
    kinds: &[&str],
    patch: &Value,
    word: &str,
) -> Result<(), Failure> {
    for (resource, name) in named(session, what, kinds).await? {
        let path = format!("{}?fieldManager=kubectl-rollout", resource.object(&session.namespace, &name));
        session.send(Method::PATCH, &path, STRATEGIC, patch).await?;
        output::line(&format!("{}/{name} {word}", resource.qualified()))?;
    }
    Ok(())
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
        let (text, ended) = match progress(&resource.kind, object) {
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

async fn history(session: &Session, resource: &Resource, name: &str, wanted: i64) -> Result<(), Failure> {
    let owner = session.get(&resource.object(&session.namespace, name), JSON).await?;
    let revisions = revisions(session, &owner).await?;
    let title = format!("{}/{name}", resource.qualified());
    if wanted > 0 {
        let revision = revisions.iter().find(|revision| revision.number == wanted);
        let revision = revision
            .ok_or_else(|| Failure::say(format!("unable to find the specified revision {wanted}")))?;
        output::line(&format!("{title} with revision #{wanted}"))?;
        return output::print(&output::yaml(&revision.template)?);
    }
    output::line(&title)?;
    let mut rows = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
    rows.extend(revisions.iter().map(|one| vec![one.number.to_string(), one.cause.clone()]));
    output::print(&output::columns(&rows))
}

async fn undo(session: &Session, resource: &Resource, name: &str, to: i64) -> Result<(), Failure> {
    let path = resource.object(&session.namespace, name);
    let owner = session.get(&path, JSON).await?;
    if owner["spec"]["paused"] == true {
        return Err(Failure::say(
            "cannot rollback a paused deployment; resume it first with 'edgectl rollout resume' and try again",
        ));
    }
    let revisions = revisions(session, &owner).await?;
    let found = match to {
        0 => revisions.len().checked_sub(2).and_then(|index| revisions.get(index)),
        to => revisions.iter().find(|revision| revision.number == to),
    };
    let Some(revision) = found else {
        let what = if to == 0 {
            "no rollout history found".to_owned()
        } else {
            format!("unable to find specified revision {to} in history")
        };
        return Err(Failure::say(what));
    };
    if revision.template == owner["spec"]["template"] {
        return output::line(&format!(
            "{}/{name} skipped rollback (current template already matches revision {})",
            resource.qualified(),
            revision.number
        ));
    }
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": revision.template}]);
    session.send(Method::PATCH, &path, "application/json-patch+json", &patch).await?;
    output::line(&format!("{}/{name} rolled back", resource.qualified()))
}
