//! `edgectl coredump`: what a container's guest had in its memory when it trapped last.
//!
//! The node keeps it beside the container's log, if the Pod's annotation asks for it, and is asked through the API
//! server. The file is in the WebAssembly tools' own form: a module of custom sections, the stack, and the memories.

use std::io::Write;

use futures::AsyncBufReadExt as _;
use serde_json::Value;

use crate::cli::CoreDump;
use crate::failure::Failure;
use crate::output;
use crate::session::{JSON, Session};

/// Fetches the dump and writes it to a file, or to standard output if that is `-`.
pub async fn core_dump(session: &Session, options: &CoreDump) -> Result<(), Failure> {
    let name = match options.pod.split_once('/') {
        Some(("pod" | "pods" | "po", name)) => name,
        Some(_) => return Err(Failure::say(format!("{:?} is no Pod", options.pod))),
        None => &options.pod,
    };
    let namespace = &session.namespace;
    let pod = session.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), JSON).await?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Failure::say(format!("pod {name:?} is on no node")));
    }
    let container = container(&pod, options.container.as_deref())?;
    let path = format!("/api/v1/nodes/{node}/proxy/coreDump/{namespace}/{name}/{container}");
    let mut stream = session.stream(&path).await?;
    let file = options.output.clone().unwrap_or_else(|| format!("{name}.{container}.core"));
    let mut out: Box<dyn Write> = match file.as_str() {
        "-" => Box::new(std::io::stdout()),
        path => Box::new(std::fs::File::create(path)?),
    };
    let mut bytes = 0;
    loop {
        let part = stream.fill_buf().await?;
        if part.is_empty() {
            break;
        }
        let length = part.len();
        out.write_all(part)?;
        bytes += length;
        stream.consume_unpin(length);
    }
    out.flush()?;
    match file.as_str() {
        "-" => Ok(()),
        path => output::print(&format!("{path}: {bytes} bytes\n")),
    }
}

/// Which container is meant: the one that is named, the Pod's default, or the only one.
fn container<'a>(pod: &'a Value, named: Option<&'a str>) -> Result<&'a str, Failure> {
    if let Some(name) = named {
        return Ok(name);
    }
    if let Some(name) = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str() {
        return Ok(name);
    }
    let all = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<&str> = all.iter().filter_map(|container| container["name"].as_str()).collect();
    match names[..] {
        [only] => Ok(only),
        _ => Err(Failure::say(format!("name a container with -c, one of: {}", names.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::container;

    #[test]
    fn the_only_container_needs_no_name() {
        let one = json!({"spec": {"containers": [{"name": "a"}]}});
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let mut default = two.clone();
        default["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] = json!("b");
        let found = |pod, named| container(pod, named).ok();
        assert_eq!(found(&one, None), Some("a"));
        assert_eq!(found(&two, None), None);
        assert_eq!(found(&two, Some("b")), Some("b"));
        assert_eq!(found(&default, None), Some("b"));
    }
}
