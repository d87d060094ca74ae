//! `edgectl delete`.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::cli::Delete;
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::session::{JSON, Session, query};
use crate::{apply, get, manifest, output};

struct Doomed<'a> {
    resource: &'a Resource,
    namespace: String,
    name: String,
}

/// Deletes and, unless told otherwise, waits until the objects are gone.
pub async fn delete(session: &Session, options: &Delete) -> Result<(), Failure> {
    let doomed = find(session, options).await?;
    if doomed.is_empty() {
        eprintln!("No resources found");
        return Ok(());
    }
    let body = body(options)?;
    let word = if options.force { "force deleted" } else { "deleted" };
    let mut failed = None;
    let mut waiting = Vec::new();
    for one in doomed {
        match session.send(Method::DELETE, &one.resource.object(&one.namespace, &one.name), JSON, &body).await
        {
            Ok(answer) => {
                let place = if one.resource.namespaced {
                    format!(" from {} namespace", one.namespace)
                } else {
                    String::new()
                };
                output::line(&format!("{} \"{}\" {word}{place}", one.resource.qualified(), one.name))?;
                let uid = answer["metadata"]["uid"]
                    .as_str()
                    .or(answer["details"]["uid"].as_str())
                    .unwrap_or_default()
                    .to_owned();
                waiting.push((one, uid));
            }
            Err(failure) if failure.has_reason("NotFound") && options.ignore_not_found => {}
            Err(failure) => {
                if let Some(earlier) = failed.replace(failure) {
                    eprintln!("{earlier}");
                }
            }
        }
    }
    if options.wait {
        let deadline = (!options.timeout.is_zero()).then(|| Instant::now() + options.timeout);
        for (one, uid) in &waiting {
            gone(session, one, uid, deadline).await?;
        }
    }
    failed.map_or(Ok(()), Err)
}

fn body(options: &Delete) -> Result<Value, Failure> {
    let policy = match options.cascade.as_str() {
        "background" | "true" => "Background",
        "foreground" => "Foreground",
        "orphan" | "false" => "Orphan",
        other => {
            return Err(Failure::say(format!(
                "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
            )));
        }
    };
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
    if let Some(seconds) = options.grace_period.or(options.force.then_some(0)) {
        body["gracePeriodSeconds"] = seconds.into();
    }
    Ok(body)
}

async fn find<'a>(session: &'a Session, options: &Delete) -> Result<Vec<Doomed<'a>>, Failure> {
    let mut doomed = Vec::new();
    if !options.filenames.is_empty() {
        for document in manifest::read(&options.filenames, options.recursive)? {
            let (resource, namespace) = apply::locate(session, &document).await?;
            let name = document.object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            doomed.push(Doomed { resource, namespace, name });
        }
        // What was applied first is what the rest stands on.
        doomed.reverse();
        return Ok(doomed);
    }
    for target in get::targets(session, &options.what).await? {
        let namespace = session.namespace.clone();
        if let Some(name) = target.name {
            doomed.push(Doomed { resource: target.resource, namespace, name });
            continue;
        }
        if !options.all && options.selector.is_none() {
            return Err(Failure::say("resource(s) were provided, but no name was specified"));
        }
        let path = format!(
            "{}{}",
            target.resource.collection(Some(&namespace)),
            query(&[("labelSelector", options.selector.as_deref())])
        );
        let list = session.get(&path, JSON).await?;
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            doomed.push(Doomed { resource: target.resource, namespace: namespace.clone(), name });
        }
    }
    Ok(doomed)
}

/// Waits until the object is gone or another has its name.
async fn gone(
    session: &Session,
    one: &Doomed<'_>,
    uid: &str,
    deadline: Option<Instant>,
) -> Result<(), Failure> {
    let path = one.resource.object(&one.namespace, &one.name);
    loop {
        let live = match session.get(&path, JSON).await {
            Err(failure) if failure.has_reason("NotFound") => return Ok(()),
            other => other?,
        };
        if !uid.is_empty() && live["metadata"]["uid"] != uid {
            return Ok(());
        }
        let version = live["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let fields = format!("metadata.name={}", one.name);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            let kind = one.resource.qualified();
            return Err(Failure::say(format!("timed out waiting for the condition on {kind}/{}", one.name)));
        }
        let seconds = left.unwrap_or(Duration::from_secs(30)).as_secs().clamp(1, 30).to_string();
        let pairs = [
            ("watch", Some("true")),
            ("fieldSelector", Some(fields.as_str())),
            ("resourceVersion", Some(version)),
            ("timeoutSeconds", Some(seconds.as_str())),
        ];
        let address = format!("{}{}", one.resource.collection(Some(&one.namespace)), query(&pairs));
        let stop = |event: Value| {
            Ok(if event["type"] == "DELETED" {
                crate::session::Flow::Stop
            } else {
                crate::session::Flow::Continue
            })
        };
        session.watch(&address, JSON, stop).await?;
    }
}
