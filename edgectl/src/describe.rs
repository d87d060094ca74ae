//! `edgectl describe`: one object for a person to read, and what happened to it.
//!
//! Metadata first, then spec and status as indented fields in the words of the API, then a table of
//! the things a reader of that kind looks for (a Pod's containers, a workload's Pods), then events.

use serde_json::Value;

use crate::cli::Describe;
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::jsonpath::plain;
use crate::session::{JSON, Session, query};
use crate::{get, output};

/// Describes every object named.
pub async fn describe(session: &Session, options: &Describe) -> Result<(), Failure> {
    let mut first = true;
    for target in get::targets(session, &options.what).await? {
        let objects = match &target.name {
            Some(name) => vec![session.get(&target.resource.object(&session.namespace, name), JSON).await?],
            None => {
                let namespace = (!options.all_namespaces).then_some(session.namespace.as_str());
                let pairs = query(&[("labelSelector", options.selector.as_deref())]);
                let mut list =
                    session.get(&format!("{}{pairs}", target.resource.collection(namespace)), JSON).await?;
                match list["items"].take() {
                    Value::Array(items) => items,
                    _ => Vec::new(),
                }
            }
        };
        for object in objects {
            if !std::mem::take(&mut first) {
                output::print("\n\n")?;
            }
            let mut text = body(target.resource, &object);
            text.push_str(&events(session, target.resource, &object).await?);
            output::print(&text)?;
        }
    }
    Ok(())
}

fn body(resource: &Resource, object: &Value) -> String {
    let mut page = Page::default();
    let metadata = &object["metadata"];
    page.field("Name", &plain(&metadata["name"]));
    if resource.namespaced {
        page.field("Namespace", &plain(&metadata["namespace"]));
    }
    page.map("Labels", &metadata["labels"]);
    page.map("Annotations", &metadata["annotations"]);
    if let Some(time) = metadata["deletionTimestamp"].as_str() {
        page.field("Terminating since", time);
    }
    page.field("Created", &plain(&metadata["creationTimestamp"]));
    if let Some(owner) = metadata["ownerReferences"]
        .as_array()
        .and_then(|owners| owners.iter().find(|owner| owner["controller"] == true))
    {
        page.field("Controlled By", &format!("{}/{}", plain(&owner["kind"]), plain(&owner["name"])));
    }
    match resource.kind.as_str() {
        "Pod" => pod(&mut page, object),
        "Deployment" | "ReplicaSet" => workload(&mut page, object),
        "Secret" => secret(&mut page, object),
        _ => {
            for (name, value) in object.as_object().into_iter().flatten() {
                if !["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                    page.tree(&title(name), value, 0);
                }
            }
        }
    }
    page.finish()
}

fn pod(page: &mut Page, pod: &Value) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    page.field("Service Account", &plain(&spec["serviceAccountName"]));
    page.field("Node", &format!("{}/{}", text(&spec["nodeName"], "<none>"), text(&status["hostIP"], "")));
    page.field("Start Time", text(&status["startTime"], "<unknown>"));
    page.field("Status", text(&status["phase"], "<unknown>"));
    for name in ["reason", "message"] {
        if let Some(value) = status[name].as_str() {
            page.field(&title(name), value);
        }
    }
    page.field("IP", text(&status["podIP"], ""));
    for (heading, specs, statuses) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ] {
        let containers = spec[specs].as_array().map(Vec::as_slice).unwrap_or_default();
        if containers.is_empty() {
            continue;
        }
        page.line(&format!("{heading}:"));
        for container in containers {
            let found = status[statuses]
                .as_array()
                .and_then(|all| all.iter().find(|one| one["name"] == container["name"]));
            self::container(page, container, found.unwrap_or(&Value::Null));
        }
    }
    conditions(page, status);
    page.tree("Volumes", &spec["volumes"], 0);
    page.map("Node-Selectors", &spec["nodeSelector"]);
}

fn container(page: &mut Page, spec: &Value, status: &Value) {
    page.line(&format!("  {}:", plain(&spec["name"])));
    for (name, value) in [
        ("Container ID", &status["containerID"]),
        ("Image", &spec["image"]),
        ("Image ID", &status["imageID"]),
    ] {
        page.indented(2, name, text(value, ""));
    }
    for (name, field) in [("State", "state"), ("Last State", "lastState")] {
        if let Some((state, details)) = status[field].as_object().and_then(|state| state.iter().next()) {
            page.indented(2, name, &title(state));
            for (name, value) in details.as_object().into_iter().flatten() {
                page.indented(3, &title(name), &plain(value));
            }
        } else if field == "state" {
            page.indented(2, name, "Waiting");
        }
    }
    page.indented(2, "Ready", if status["ready"] == true { "True" } else { "False" });
    page.indented(2, "Restart Count", &status["restartCount"].as_u64().unwrap_or(0).to_string());
    for name in [
        "command",
        "args",
        "ports",
        "resources",
        "env",
        "envFrom",
        "startupProbe",
        "readinessProbe",
        "livenessProbe",
        "volumeMounts",
    ] {
        page.tree(&title(name), &spec[name], 2);
    }
}

fn workload(page: &mut Page, object: &Value) {
    let (spec, status) = (&object["spec"], &object["status"]);
    page.field("Selector", &get::labels(&spec["selector"]["matchLabels"]));
    let count = |name: &str| status[name].as_u64().unwrap_or(0);
    page.field(
        "Replicas",
        &format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            spec["replicas"].as_u64().unwrap_or(1),
            count("updatedReplicas"),
            count("replicas"),
            count("availableReplicas"),
            count("unavailableReplicas")
        ),
    );
    page.tree("Strategy", &spec["strategy"], 0);
    page.line("Pod Template:");
    page.tree("Labels", &spec["template"]["metadata"]["labels"], 1);
    for container in spec["template"]["spec"]["containers"].as_array().into_iter().flatten() {
        page.line(&format!("  {}:", plain(&container["name"])));
        for (name, value) in container.as_object().into_iter().flatten().filter(|(name, _)| *name != "name") {
            page.tree(&title(name), value, 2);
        }
    }
    conditions(page, status);
}

fn secret(page: &mut Page, object: &Value) {
    page.field("Type", &plain(&object["type"]));
    page.line("Data:");
    for (name, value) in object["data"].as_object().into_iter().flatten() {
        // Only sizes: a secret's value has no place on a screen.
        let encoded = value.as_str().unwrap_or_default();
        let bytes = encoded.len() / 4 * 3 - encoded.bytes().rev().take_while(|byte| *byte == b'=').count();
        page.indented(1, name, &format!("{bytes} bytes"));
    }
}

fn conditions(page: &mut Page, status: &Value) {
    let Some(conditions) = status["conditions"].as_array().filter(|conditions| !conditions.is_empty()) else {
        return;
    };
    page.line("Conditions:");
    let mut rows = vec![["  Type", "Status", "Reason", "Message"].map(str::to_owned).to_vec()];
    for condition in conditions {
        let kind = format!("  {}", plain(&condition["type"]));
        rows.push(vec![
            kind,
            plain(&condition["status"]),
            text(&condition["reason"], "").to_owned(),
            text(&condition["message"], "").to_owned(),
        ]);
    }
    page.block(&output::columns(&rows));
}

async fn events(session: &Session, resource: &Resource, object: &Value) -> Result<String, Failure> {
    let metadata = &object["metadata"];
    let fields = format!(
        "involvedObject.name={},involvedObject.kind={},involvedObject.uid={}",
        plain(&metadata["name"]),
        resource.kind,
        plain(&metadata["uid"])
    );
    let place = metadata["namespace"].as_str().map_or_else(
        || "/api/v1/events".to_owned(),
        |namespace| format!("/api/v1/namespaces/{namespace}/events"),
    );
    let mut list =
        session.get(&format!("{place}{}", query(&[("fieldSelector", Some(&fields))])), JSON).await?;
    let Value::Array(mut events) = list["items"].take() else { return Ok("Events:  <none>\n".to_owned()) };
    if events.is_empty() {
        return Ok("Events:  <none>\n".to_owned());
    }
    events.sort_by_key(|event| text(&event["lastTimestamp"], text(&event["eventTime"], "")).to_owned());
    let mut rows =
        vec![["  Type", "Reason", "Count", "Last Seen", "From", "Message"].map(str::to_owned).to_vec()];
    for event in &events {
        rows.push(vec![
            format!("  {}", text(&event["type"], "Normal")),
            text(&event["reason"], "").to_owned(),
            event["count"].as_u64().unwrap_or(1).to_string(),
            text(&event["lastTimestamp"], text(&event["eventTime"], "")).to_owned(),
            text(&event["source"]["component"], text(&event["reportingComponent"], "")).to_owned(),
            text(&event["message"], "").trim().to_owned(),
        ]);
    }
    Ok(format!("Events:\n{}", output::columns(&rows)))
}

fn text<'a>(value: &'a Value, otherwise: &'a str) -> &'a str {
    value.as_str().unwrap_or(otherwise)
}

/// `restartCount` → `Restart Count`.
fn title(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.chars().enumerate() {
        if index == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && !out.ends_with(char::is_uppercase) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}

/// Lines of `Name:  value`, values of the outermost level aligned.
#[derive(Default)]
struct Page {
    lines: Vec<Line>,
}

enum Line {
    Field(String, String),
    Plain(String),
}

impl Page {
    fn field(&mut self, name: &str, value: &str) {
        self.lines.push(Line::Field(format!("{name}:"), value.to_owned()));
    }

    fn line(&mut self, text: &str) {
        self.lines.push(Line::Plain(format!("{text}\n")));
    }

    fn block(&mut self, text: &str) {
        self.lines.push(Line::Plain(text.to_owned()));
    }

    fn indented(&mut self, depth: usize, name: &str, value: &str) {
        self.line(format!("{}{name}:  {value}", "  ".repeat(depth)).trim_end());
    }

    fn map(&mut self, name: &str, map: &Value) {
        let mut pairs = map
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key != "kubectl.kubernetes.io/last-applied-configuration");
        let Some((key, value)) = pairs.next() else { return self.field(name, "<none>") };
        self.field(name, &format!("{key}={}", plain(value)));
        for (key, value) in pairs {
            self.lines.push(Line::Field(String::new(), format!("{key}={}", plain(value))));
        }
    }

    fn tree(&mut self, name: &str, value: &Value, depth: usize) {
        match value {
            Value::Null => {}
            Value::Object(map) if map.is_empty() => {}
            Value::Array(list) if list.is_empty() => {}
            Value::Object(map) => {
                self.line(&format!("{}{name}:", "  ".repeat(depth)));
                for (key, item) in map {
                    self.tree(key, item, depth + 1);
                }
            }
            Value::Array(list) => {
                self.line(&format!("{}{name}:", "  ".repeat(depth)));
                let pad = "  ".repeat(depth + 1);
                for item in list {
                    let shown = match item {
                        Value::Object(map) => map
                            .iter()
                            .map(|(key, value)| format!("{key}: {}", plain(value)))
                            .collect::<Vec<_>>()
                            .join(", "),
                        item => plain(item),
                    };
                    self.line(&format!("{pad}- {shown}"));
                }
            }
            value => self.indented(depth, name, &plain(value)),
        }
    }

    fn finish(self) -> String {
        let width = self
            .lines
            .iter()
            .map(|line| if let Line::Field(name, _) = line { name.len() } else { 0 })
            .max()
            .unwrap_or(0);
        let mut out = String::new();
        for line in self.lines {
            match line {
                Line::Field(name, value) => {
                    out.push_str(format!("{name:width$}  {value}").trim_end());
                    out.push('\n');
                }
                Line::Plain(text) => out.push_str(&text),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use crate::describe::title;

    #[test]
    fn field_names_become_titles() {
        assert_eq!(title("restartCount"), "Restart Count");
        assert_eq!(title("containerID"), "Container ID");
    }
}
