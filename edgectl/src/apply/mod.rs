//! `edgectl apply`: what the manifests say becomes so, and what they no longer say goes.
//!
//! As kubectl's client-side apply: the manifest is kept in an annotation, and the patch is what the
//! manifest says plus the deletion of what the annotation says and the manifest does not. Server-side
//! apply is not done here.

mod threeway;

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Apply, DryRun};
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::get::name_of;
use crate::manifest::{self, Document};
use crate::output::{self, Format};
use crate::session::{JSON, Session, query};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MANAGER: &str = "kubectl-client-side-apply";

/// Applies every document; goes on after a failure and fails in the end.
pub async fn apply(session: &Session, options: &Apply) -> Result<(), Failure> {
    let format = options.output.as_deref().map(|text| Format::parse(Some(text))).transpose()?;
    let documents = manifest::read(&options.filenames, options.recursive)?;
    if documents.is_empty() {
        return Err(Failure::say("no objects passed to apply"));
    }
    let mut failures = Vec::new();
    for document in documents {
        match one(session, options, &document).await {
            Ok((object, resource, word)) => match &format {
                None => {
                    let dry = match options.dry_run {
                        DryRun::None => "",
                        DryRun::Server => " (server dry run)",
                        DryRun::Client => " (dry run)",
                    };
                    output::line(&format!("{} {word}{dry}", name_of(Some(resource), &object)))?;
                }
                Some(Format::Name) => output::line(&name_of(Some(resource), &object))?,
                Some(format) => crate::get::show(format, &object)?,
            },
            Err(failure) => failures.push(failure),
        }
    }
    let mut failures = failures.into_iter();
    let Some(last) = failures.next_back() else { return Ok(()) };
    failures.for_each(|failure| eprintln!("{failure}"));
    Err(last)
}

async fn one<'a>(
    session: &'a Session,
    options: &Apply,
    document: &Document,
) -> Result<(Value, &'a Resource, &'static str), Failure> {
    let (resource, namespace) = locate(session, document).await?;
    let wanted = annotated(document, resource, &namespace);
    if options.dry_run == DryRun::Client {
        return Ok((wanted, resource, "configured"));
    }
    let dry = (options.dry_run == DryRun::Server).then_some("All");
    let validation = match options.validate.as_str() {
        "strict" | "true" => "Strict",
        "warn" => "Warn",
        "ignore" | "false" => "Ignore",
        other => return Err(Failure::say(format!("--validate={other}: must be strict, warn or ignore"))),
    };
    let pairs =
        query(&[("fieldManager", Some(MANAGER)), ("fieldValidation", Some(validation)), ("dryRun", dry)]);
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let path = resource.object(&namespace, &name);
    let live = match session.get(&path, JSON).await {
        Ok(live) => live,
        Err(failure) if failure.has_reason("NotFound") => {
            let collection = format!("{}{pairs}", resource.collection(Some(&namespace)));
            let made = session.send(Method::POST, &collection, JSON, &wanted).await;
            return made
                .map(|object| (object, resource, "created"))
                .map_err(|failure| pointed(failure, document));
        }
        Err(failure) => return Err(failure),
    };
    let definition = edge_api::schema::by_kind(&resource.group, &resource.version, &resource.kind);
    let patch = threeway::patch(&last_applied(&live), &wanted, definition);
    let kind = if definition.is_some() {
        "application/strategic-merge-patch+json"
    } else {
        "application/merge-patch+json"
    };
    let changed = session.send(Method::PATCH, &format!("{path}{pairs}"), kind, &patch).await;
    let changed = changed.map_err(|failure| pointed(failure, document))?;
    let same = changed["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"];
    Ok((changed, resource, if same { "unchanged" } else { "configured" }))
}

/// The resource and namespace that a document means.
pub async fn locate<'a>(
    session: &'a Session,
    document: &Document,
) -> Result<(&'a Resource, String), Failure> {
    let object = &document.object;
    let (version, kind) =
        (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
    let resource = session.catalogue().await?.of_kind(version, kind).ok_or_else(|| {
        let place = document.place("kind");
        Failure::say(format!("{place}: no matches for kind \"{kind}\" in version \"{version}\"; `edgectl api-resources` lists what the server knows"))
    })?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&session.namespace).to_owned();
    Ok((resource, namespace))
}

/// The object with itself in the annotation that the next apply compares with.
fn annotated(document: &Document, resource: &Resource, namespace: &str) -> Value {
    let mut object = document.object.clone();
    if resource.namespaced {
        object["metadata"]["namespace"] = namespace.into();
    }
    if object["metadata"]["annotations"].is_null() {
        object["metadata"]["annotations"] = json!({});
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    let kept = format!("{object}\n");
    object["metadata"]["annotations"][LAST_APPLIED] = kept.into();
    object
}

fn last_applied(live: &Value) -> Value {
    let kept = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    kept.and_then(|kept| serde_json::from_str(kept).ok()).unwrap_or(Value::Null)
}

/// The server's complaint with the place in the manifest of every field it names.
fn pointed(failure: Failure, document: &Document) -> Failure {
    let Failure::Server(status) = &failure else { return failure };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut lines: Vec<String> = causes
        .filter(|cause| !cause.field.is_empty())
        .map(|cause| format!("{}: {}: {}", document.place(&cause.field), cause.field, cause.message))
        .collect();
    if lines.is_empty() {
        lines.extend(
            unknown_fields(&status.message)
                .map(|field| format!("{}: unknown field \"{field}\"", document.place(field))),
        );
    }
    let Some((last, others)) = lines.split_last() else { return failure.at(&document.place("kind")) };
    let mut text: String = others.iter().map(|line| format!("{line}\n")).collect();
    text.push_str(last);
    Failure::Other(anyhow::anyhow!("{failure}\n{text}"))
}

/// The fields that a `strict decoding error` names.
fn unknown_fields(message: &str) -> impl Iterator<Item = &str> {
    message.split("unknown field \"").skip(1).filter_map(|rest| rest.split('"').next())
}
