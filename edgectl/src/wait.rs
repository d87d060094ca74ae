//! `edgectl wait`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::Wait;
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::jsonpath::{Template, plain};
use crate::session::{Flow, JSON, Session, query};
use crate::{get, output};

enum Goal {
    Deleted,
    Created,
    Condition(String, String),
    Path(Template, Option<String>),
}

/// Waits until every object named has reached the goal.
pub async fn wait(session: &Session, options: &Wait) -> Result<(), Failure> {
    let goal = goal(&options.condition)?;
    let deadline = Instant::now() + options.timeout;
    let mut objects = Vec::new();
    for target in get::targets(session, &options.what).await? {
        match target.name {
            Some(name) => objects.push((target.resource, name)),
            None => {
                let path = format!(
                    "{}{}",
                    target.resource.collection(Some(&session.namespace)),
                    query(&[("labelSelector", options.selector.as_deref())])
                );
                let list = session.get(&path, JSON).await?;
                let names = list["items"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|item| item["metadata"]["name"].as_str());
                objects.extend(names.map(|name| (target.resource, name.to_owned())));
            }
        }
    }
    if objects.is_empty() {
        return Err(Failure::say("no matching resources found"));
    }
    for (resource, name) in objects {
        until(
            session,
            resource,
            &name,
            deadline,
            |object| reached(&goal, object),
            matches!(goal, Goal::Created),
        )
        .await?;
        let word = if matches!(goal, Goal::Deleted) { "deleted" } else { "condition met" };
        output::line(&format!("{}/{name} {word}", resource.qualified()))?;
    }
    Ok(())
}

fn goal(text: &str) -> Result<Goal, Failure> {
    let (word, rest) = text.split_once('=').map_or((text, None), |(word, rest)| (word, Some(rest)));
    match (word, rest) {
        ("delete", None) => Ok(Goal::Deleted),
        ("create", None) => Ok(Goal::Created),
        ("condition", Some(rest)) => {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
            Ok(Goal::Condition(name.to_owned(), value.to_owned()))
        }
        ("jsonpath", Some(rest)) => {
            let (path, value) = match rest.rfind("}=") {
                Some(end) => (&rest[..=end], Some(rest[end + 2..].to_owned())),
                None => (rest, None),
            };
            Ok(Goal::Path(Template::parse(path)?, value))
        }
        _ => Err(Failure::say(format!("unrecognized condition: \"{text}\""))),
    }
}

/// Whether an object, or its absence, is what was waited for.
fn reached(goal: &Goal, object: Option<&Value>) -> bool {
    match (goal, object) {
        (Goal::Deleted, object) => object.is_none(),
        (_, None) => false,
        (Goal::Created, Some(_)) => true,
        (Goal::Condition(name, value), Some(object)) => {
            let current = object["status"]["observedGeneration"].as_i64();
            let wanted = object["metadata"]["generation"].as_i64();
            let conditions = object["status"]["conditions"].as_array();
            let holds = |condition: &Value| {
                condition["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(name))
                    && condition["status"].as_str().is_some_and(|status| status.eq_ignore_ascii_case(value))
            };
            current.is_none_or(|current| Some(current) >= wanted)
                && conditions.into_iter().flatten().any(holds)
        }
        (Goal::Path(template, value), Some(object)) => match (template.find(object).as_slice(), value) {
            ([found], Some(value)) => plain(found) == *value,
            (found, None) => !found.is_empty(),
            _ => false,
        },
    }
}

/// Watches one object until `done` says so.
///
/// # Errors
/// When the object does not exist (unless `may_be_missing` or absence is the goal), the deadline
/// passes or the server says no.
pub async fn until(
    session: &Session,
    resource: &Resource,
    name: &str,
    deadline: Instant,
    mut done: impl FnMut(Option<&Value>) -> bool,
    may_be_missing: bool,
) -> Result<(), Failure> {
    let fields = format!("metadata.name={name}");
    loop {
        let list = session
            .get(
                &format!(
                    "{}{}",
                    resource.collection(Some(&session.namespace)),
                    query(&[("fieldSelector", Some(&fields))])
                ),
                JSON,
            )
            .await?;
        let object = list["items"].as_array().and_then(|items| items.first());
        if done(object) {
            return Ok(());
        }
        if object.is_none() && !may_be_missing {
            session.get(&resource.object(&session.namespace, name), JSON).await?;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::say(format!(
                "timed out waiting for the condition on {}/{name}",
                resource.plural
            )));
        }
        let seconds = left.as_secs().clamp(1, 3600).to_string();
        let version = list["metadata"]["resourceVersion"].as_str();
        let pairs = [
            ("watch", Some("true")),
            ("fieldSelector", Some(fields.as_str())),
            ("resourceVersion", version),
            ("timeoutSeconds", Some(seconds.as_str())),
        ];
        let address = format!("{}{}", resource.collection(Some(&session.namespace)), query(&pairs));
        let watched = session.watch(&address, JSON, |event| {
            let object = (event["type"] != "DELETED").then_some(&event["object"]);
            let seen = event["type"] != "BOOKMARK" && done(object);
            Ok(if seen { Flow::Stop } else { Flow::Continue })
        });
        match tokio::time::timeout(left + Duration::from_millis(100), watched).await {
            Ok(Ok(Flow::Stop)) => return Ok(()),
            Ok(Err(failure)) => return Err(failure),
            // The server ended the watch, or time is up: look again.
            Ok(Ok(Flow::Continue)) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::wait::{goal, reached};

    #[test]
    fn goals_are_read_and_judged() {
        let object = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "phase": "Running",
            "conditions": [{"type": "Available", "status": "True"}, {"type": "Bad", "status": "False"}]}});
        let table = [
            ("condition=available", true),
            ("condition=Available=true", true),
            ("condition=bad", false),
            ("condition=bad=false", true),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.phase}=Pending", false),
            ("jsonpath={.status.phase}", true),
            ("delete", false),
            ("create", true),
        ];
        for (text, want) in table {
            assert_eq!(reached(&goal(text).unwrap(), Some(&object)), want, "{text}");
        }
        assert!(reached(&goal("delete").unwrap(), None));
        assert!(goal("conditions=x").is_err());
    }

    #[test]
    fn a_condition_of_an_older_generation_does_not_count() {
        let object = json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "conditions": [{"type": "Available", "status": "True"}]}});
        assert!(!reached(&goal("condition=available").unwrap(), Some(&object)));
    }
}
