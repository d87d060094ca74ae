//! `edgectl auth`: who am I, and what may I do?

use http::Method;
use serde_json::{Value, json};

use crate::cli::{Auth, AuthVerb, CanI};
use crate::failure::Failure;
use crate::output;
use crate::session::{JSON, Session};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

/// Answers by asking the server.
pub async fn auth(session: &Session, options: &Auth) -> Result<(), Failure> {
    match &options.verb {
        AuthVerb::CanI(question) if question.list => list(session).await,
        AuthVerb::CanI(question) => can_i(session, question).await,
        AuthVerb::Whoami => whoami(session).await,
    }
}

async fn can_i(session: &Session, question: &CanI) -> Result<(), Failure> {
    let [verb, what] = question.words.as_slice() else {
        return Err(Failure::say(
            "you must specify two arguments: verb resource or verb resource/resourceName",
        ));
    };
    let spec = if what.starts_with('/') {
        json!({"nonResourceAttributes": {"verb": verb, "path": what}})
    } else {
        json!({"resourceAttributes": attributes(session, question, verb, what).await?})
    };
    let review = ask(session, "SelfSubjectAccessReview", spec).await?;
    let allowed = review["status"]["allowed"] == true;
    if !question.quiet {
        let reason = review["status"]["reason"].as_str().filter(|reason| !allowed && !reason.is_empty());
        let word = if allowed { "yes" } else { "no" };
        output::line(&reason.map_or_else(|| word.to_owned(), |reason| format!("{word} - {reason}")))?;
    }
    if allowed { Ok(()) } else { Err(Failure::No) }
}

/// What is asked about objects. A type that the server does not know is asked about as it is written.
async fn attributes(session: &Session, question: &CanI, verb: &str, what: &str) -> Result<Value, Failure> {
    let (word, name) = what.split_once('/').unwrap_or((what, ""));
    let found = session.catalogue().await?.find(word);
    let (group, plural) = match found {
        Some(resource) => (resource.group.as_str(), resource.plural.as_str()),
        None => word.split_once('.').map_or(("", word), |(plural, group)| (group, plural)),
    };
    if found.is_none() && word != "*" {
        eprintln!("Warning: the server doesn't have a resource type '{word}'");
    }
    let everywhere = question.all_namespaces || found.is_some_and(|resource| !resource.namespaced);
    Ok(json!({
        "verb": verb,
        "group": if word == "*" { "*" } else { group },
        "resource": plural,
        "subresource": question.subresource.as_deref().unwrap_or_default(),
        "name": name,
        "namespace": if everywhere { "" } else { &session.namespace },
    }))
}

async fn list(session: &Session) -> Result<(), Failure> {
    let review = ask(session, "SelfSubjectRulesReview", json!({"namespace": session.namespace})).await?;
    let status = &review["status"];
    let mut rows =
        vec![["Resources", "Non-Resource URLs", "Resource Names", "Verbs"].map(str::to_owned).to_vec()];
    for rule in rules(status, "resourceRules") {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                let resource = if group.is_empty() || resource == "*" && group != "*" {
                    resource.to_owned()
                } else {
                    format!("{resource}.{group}")
                };
                rows.push(vec![
                    resource,
                    "[]".to_owned(),
                    shown(rule, "resourceNames"),
                    shown(rule, "verbs"),
                ]);
            }
        }
    }
    for rule in rules(status, "nonResourceRules") {
        rows.push(vec![String::new(), shown(rule, "nonResourceURLs"), "[]".to_owned(), shown(rule, "verbs")]);
    }
    if status["incomplete"] == true {
        let why = status["evaluationError"].as_str().unwrap_or_default();
        eprintln!("warning: the list may be incomplete: {why}");
    }
    output::print(&output::columns(&rows))
}

async fn whoami(session: &Session) -> Result<(), Failure> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = session.send(Method::POST, path, JSON, &review).await?;
    let user = &answer["status"]["userInfo"];
    let mut rows = vec![vec!["ATTRIBUTE".to_owned(), "VALUE".to_owned()]];
    for (name, field) in [("Username", "username"), ("UID", "uid")] {
        if let Some(text) = user[field].as_str() {
            rows.push(vec![name.to_owned(), text.to_owned()]);
        }
    }
    if user["groups"].is_array() {
        rows.push(vec!["Groups".to_owned(), shown(user, "groups")]);
    }
    for (key, _) in user["extra"].as_object().into_iter().flatten() {
        rows.push(vec![format!("Extra: {key}"), shown(&user["extra"], key)]);
    }
    output::print(&output::columns(&rows))
}

async fn ask(session: &Session, kind: &str, spec: Value) -> Result<Value, Failure> {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    let path = format!("{REVIEWS}/{}s", kind.to_lowercase());
    session.send(Method::POST, &path, JSON, &review).await
}

fn rules<'a>(status: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    status[field].as_array().into_iter().flatten()
}

fn texts<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
    rules(rule, field).filter_map(Value::as_str).collect()
}

/// `[get list]`
fn shown(rule: &Value, field: &str) -> String {
    format!("[{}]", texts(rule, field).join(" "))
}
