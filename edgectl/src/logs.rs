//! `edgectl logs`.

use std::io::Write as _;

use futures::AsyncBufReadExt as _;

use crate::cli::Logs;
use crate::failure::Failure;
use crate::session::{JSON, Session, query};

/// Prints a container's log, as it comes.
pub async fn logs(session: &Session, options: &Logs) -> Result<(), Failure> {
    let pod = pod(session, &options.what).await?;
    let container = options.container.as_deref().or(options.container_word.as_deref());
    let since = options.since.map(|since| since.as_secs().max(1).to_string());
    let (tail, limit) = (
        options.tail.filter(|tail| *tail >= 0).map(|tail| tail.to_string()),
        options.limit_bytes.map(|limit| limit.to_string()),
    );
    let flag = |set: bool| set.then_some("true");
    let pairs = query(&[
        ("container", container),
        ("follow", flag(options.follow)),
        ("previous", flag(options.previous)),
        ("timestamps", flag(options.timestamps)),
        ("tailLines", tail.as_deref()),
        ("sinceSeconds", since.as_deref()),
        ("limitBytes", limit.as_deref()),
    ]);
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/log{pairs}", session.namespace);
    let mut stream = session.stream(&path).await?;
    let mut out = std::io::stdout();
    loop {
        let part = stream.fill_buf().await?;
        if part.is_empty() {
            return Ok(());
        }
        let length = part.len();
        out.write_all(part)?;
        out.flush()?;
        stream.consume_unpin(length);
    }
}

/// The Pod itself, or a Pod of the workload that was named.
async fn pod(session: &Session, what: &str) -> Result<String, Failure> {
    let Some((kind, name)) = what.split_once('/') else { return Ok(what.to_owned()) };
    let resource = session.resource(kind).await?;
    if resource.kind == "Pod" {
        return Ok(name.to_owned());
    }
    let owner = session.get(&resource.object(&session.namespace, name), JSON).await?;
    let labels = owner["spec"]["selector"].get("matchLabels").unwrap_or(&owner["spec"]["selector"]);
    let selector = crate::get::labels(labels);
    let path = format!(
        "/api/v1/namespaces/{}/pods{}",
        session.namespace,
        query(&[("labelSelector", Some(&selector))])
    );
    let pods = session.get(&path, JSON).await?;
    let names: Vec<&str> = pods["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .collect();
    let Some(first) = names.first() else {
        return Err(Failure::say(format!("no pods found for {what}")));
    };
    if names.len() > 1 {
        eprintln!("Found {} pods, using pod/{first}", names.len());
    }
    Ok((*first).to_owned())
}
