//! `edgectl get`.

use serde_json::Value;

use crate::cli::Get;
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::{Flow, JSON, Session, TABLE, query};

/// A resource and the name of one of its objects, or all of them.
#[derive(Debug)]
pub struct Target<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// The name; none means all.
    pub name: Option<String>,
}

/// Reads `TYPE`, `TYPE,TYPE`, `TYPE NAME…`, `TYPE/NAME…` and categories.
pub async fn targets<'a>(session: &'a Session, words: &[String]) -> Result<Vec<Target<'a>>, Failure> {
    let mut targets = Vec::new();
    if words.iter().any(|word| word.contains('/')) {
        for word in words {
            let (kind, name) = word.split_once('/').ok_or_else(|| {
                Failure::say("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form")
            })?;
            targets.push(Target { resource: session.resource(kind).await?, name: Some(name.to_owned()) });
        }
        return Ok(targets);
    }
    let Some((kinds, names)) = words.split_first() else { return Ok(targets) };
    for kind in kinds.split(',') {
        let category = session.catalogue().await?.category(kind);
        let resources = if category.is_empty() { vec![session.resource(kind).await?] } else { category };
        for resource in resources {
            if names.is_empty() {
                targets.push(Target { resource, name: None });
            }
            targets.extend(names.iter().map(|name| Target { resource, name: Some(name.clone()) }));
        }
    }
    Ok(targets)
}

/// Shows objects.
pub async fn get(session: &Session, options: &Get) -> Result<(), Failure> {
    let format = Format::parse(options.output.as_deref())?;
    let targets = targets(session, &options.what).await?;
    if options.watch {
        let [target] = targets.as_slice() else {
            return Err(Failure::say("you may only specify a single resource type when watching"));
        };
        return watch(session, options, &format, target).await;
    }
    match &format {
        Format::Table { wide } => tables(session, options, *wide, &targets).await,
        format => objects(session, options, format, &targets).await,
    }
}

/// The path a target is read from.
fn path(session: &Session, options: &Get, target: &Target<'_>, more: &[(&str, Option<&str>)]) -> String {
    if let Some(name) = &target.name {
        return target.resource.object(&session.namespace, name);
    }
    let namespace = (!options.all_namespaces).then_some(session.namespace.as_str());
    let mut pairs = vec![
        ("labelSelector", options.selector.as_deref()),
        ("fieldSelector", options.field_selector.as_deref()),
    ];
    pairs.extend(more);
    format!("{}{}", target.resource.collection(namespace), query(&pairs))
}

async fn fetch(
    session: &Session,
    options: &Get,
    target: &Target<'_>,
    accept: &str,
) -> Result<Option<Value>, Failure> {
    if target.name.is_some() {
        return match session.get(&path(session, options, target, &[]), accept).await {
            Err(failure) if options.ignore_not_found && failure.has_reason("NotFound") => Ok(None),
            other => other.map(Some),
        };
    }
    let mut whole = session.get(&path(session, options, target, &[("limit", Some("500"))]), accept).await?;
    while let Some(token) =
        whole["metadata"]["continue"].as_str().filter(|token| !token.is_empty()).map(str::to_owned)
    {
        let more = [("limit", Some("500")), ("continue", Some(token.as_str()))];
        let mut page = session.get(&path(session, options, target, &more), accept).await?;
        whole["metadata"] = page["metadata"].take();
        for part in ["rows", "items"] {
            if let (Some(all), Some(more)) = (whole[part].as_array_mut(), page[part].as_array_mut()) {
                all.append(more);
            }
        }
    }
    Ok(Some(whole))
}

async fn tables(session: &Session, options: &Get, wide: bool, targets: &[Target<'_>]) -> Result<(), Failure> {
    let several = targets.iter().any(|target| target.resource.plural != targets[0].resource.plural);
    let mut shown: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    let mut failed = None;
    for target in targets {
        let table = match fetch(session, options, target, TABLE).await {
            Ok(Some(table)) => table,
            Ok(None) => continue,
            Err(failure) => {
                if targets.len() == 1 {
                    return Err(failure);
                }
                failed = Some(failure);
                continue;
            }
        };
        let prefix = several.then(|| format!("{}/", target.resource.qualified()));
        let view = View {
            wide,
            namespace: options.all_namespaces && target.resource.namespaced,
            labels: options.show_labels,
            prefix,
        };
        let rows = view.rows(&table);
        match shown.last_mut() {
            Some((plural, all)) if *plural == target.resource.plural => all.extend(rows),
            _ => {
                let mut all = if options.no_headers { Vec::new() } else { vec![view.header(&table)] };
                let header = all.len();
                all.extend(rows);
                if all.len() > header {
                    shown.push((target.resource.plural.clone(), all));
                }
            }
        }
    }
    let blocks: Vec<String> = shown.iter().map(|(_, rows)| output::columns(rows)).collect();
    output::print(&blocks.join("\n"))?;
    match failed {
        Some(failure) => Err(failure),
        None if shown.is_empty() && !options.ignore_not_found => {
            let place = if options.all_namespaces || !targets.iter().any(|target| target.resource.namespaced)
            {
                String::new()
            } else {
                format!(" in {} namespace", session.namespace)
            };
            eprintln!("No resources found{place}{}", if place.is_empty() { "" } else { "." });
            Ok(())
        }
        None => Ok(()),
    }
}

/// How a `Table` is shown.
struct View {
    wide: bool,
    namespace: bool,
    labels: bool,
    prefix: Option<String>,
}

impl View {
    fn visible(&self, table: &Value) -> Vec<usize> {
        let definitions = table["columnDefinitions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown = |definition: &Value| self.wide || definition["priority"].as_i64().unwrap_or(0) == 0;
        definitions
            .iter()
            .enumerate()
            .filter(|(_, definition)| shown(definition))
            .map(|(index, _)| index)
            .collect()
    }

    fn header(&self, table: &Value) -> Vec<String> {
        let mut cells = Vec::new();
        if self.namespace {
            cells.push("NAMESPACE".to_owned());
        }
        for index in self.visible(table) {
            cells.push(table["columnDefinitions"][index]["name"].as_str().unwrap_or_default().to_uppercase());
        }
        if self.labels {
            cells.push("LABELS".to_owned());
        }
        cells
    }

    fn rows(&self, table: &Value) -> Vec<Vec<String>> {
        let visible = self.visible(table);
        table["rows"].as_array().into_iter().flatten().map(|row| self.row(row, &visible)).collect()
    }

    fn row(&self, row: &Value, visible: &[usize]) -> Vec<String> {
        let metadata = &row["object"]["metadata"];
        let mut cells = Vec::new();
        if self.namespace {
            cells.push(metadata["namespace"].as_str().unwrap_or_default().to_owned());
        }
        for (place, index) in visible.iter().enumerate() {
            let cell = crate::jsonpath::plain(&row["cells"][*index]);
            match &self.prefix {
                Some(prefix) if place == 0 => cells.push(format!("{prefix}{cell}")),
                _ => cells.push(cell),
            }
        }
        if self.labels {
            cells.push(labels(&metadata["labels"]));
        }
        cells
    }
}

/// `a=1,b=2`, or `<none>`.
pub fn labels(labels: &Value) -> String {
    let Some(map) = labels.as_object().filter(|map| !map.is_empty()) else { return "<none>".to_owned() };
    let pairs: Vec<String> =
        map.iter().map(|(key, value)| format!("{key}={}", crate::jsonpath::plain(value))).collect();
    pairs.join(",")
}

async fn objects(
    session: &Session,
    options: &Get,
    format: &Format,
    targets: &[Target<'_>],
) -> Result<(), Failure> {
    let single = matches!(targets, [Target { name: Some(_), .. }]);
    let mut items = Vec::new();
    for target in targets {
        let Some(mut found) = fetch(session, options, target, JSON).await? else { continue };
        match found.get_mut("items").map(Value::take) {
            Some(Value::Array(list)) if target.name.is_none() => {
                items.extend(list.into_iter().map(|item| named(item, target.resource)));
            }
            _ => items.push(found),
        }
    }
    if single && items.is_empty() {
        return Ok(());
    }
    if let Format::Name = format {
        let catalogue = session.catalogue().await?;
        for item in &items {
            output::line(&name_of(catalogue.of_kind(text(item, "apiVersion"), text(item, "kind")), item))?;
        }
        return Ok(());
    }
    if let Format::Columns(columns) = format {
        let mut rows: Vec<Vec<String>> = Vec::new();
        if !options.no_headers {
            rows.push(columns.iter().map(|(header, _)| header.clone()).collect());
        }
        for item in &items {
            let cell = |template: &crate::jsonpath::Template| {
                let found: Vec<String> =
                    template.find(item).into_iter().map(crate::jsonpath::plain).collect();
                if found.is_empty() { "<none>".to_owned() } else { found.join(",") }
            };
            rows.push(columns.iter().map(|(_, template)| cell(template)).collect());
        }
        return output::print(&output::columns(&rows));
    }
    let whole = if single { items.remove(0) } else { output::list(items) };
    show(format, &whole)
}

/// Prints one object, or a list of them, in a format that has no columns.
pub fn show(format: &Format, object: &Value) -> Result<(), Failure> {
    match format {
        Format::Json => output::print(&output::json(object)?),
        Format::Yaml => output::print(&output::yaml(object)?),
        Format::JsonPath(template) => output::print(&template.render(object)),
        Format::Table { .. } | Format::Name | Format::Columns(_) => {
            output::line(text(&object["metadata"], "name"))
        }
    }
}

/// Items of a list do not say what they are; a list of several kinds must.
fn named(mut item: Value, resource: &Resource) -> Value {
    if item["kind"].is_null() {
        item["apiVersion"] = resource.api_version().into();
        item["kind"] = resource.kind.clone().into();
    }
    item
}

/// `type/name`, as `-o name` prints it.
pub fn name_of(resource: Option<&Resource>, object: &Value) -> String {
    let kind = resource.map_or_else(|| text(object, "kind").to_lowercase(), Resource::qualified);
    format!("{kind}/{}", text(&object["metadata"], "name"))
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

async fn watch(
    session: &Session,
    options: &Get,
    format: &Format,
    target: &Target<'_>,
) -> Result<(), Failure> {
    let table = matches!(format, Format::Table { .. });
    let accept = if table { TABLE } else { JSON };
    let by_name = target.name.as_ref().map(|name| format!("metadata.name={name}"));
    let all = Target { resource: target.resource, name: None };
    let Some(first) = fetch(session, options, target, accept).await? else { return Ok(()) };
    let view = View {
        wide: matches!(format, Format::Table { wide: true }),
        namespace: options.all_namespaces && target.resource.namespaced,
        labels: options.show_labels,
        prefix: None,
    };
    let mut widths = Widths::default();
    let mut version = text(&first["metadata"], "resourceVersion").to_owned();
    if table {
        if !options.no_headers {
            widths.print(&view.header(&first))?;
        }
        for row in view.rows(&first) {
            widths.print(&row)?;
        }
    } else {
        let items = first["items"].as_array().cloned().unwrap_or_else(|| vec![first.clone()]);
        for item in items {
            show(format, &named(item, target.resource))?;
        }
    }
    loop {
        let more = [
            ("watch", Some("true")),
            ("resourceVersion", Some(version.as_str())),
            ("fieldSelector", by_name.as_deref()),
        ];
        let address = path(session, options, &all, &more);
        let mut latest = version.clone();
        let visible = view.visible(&first);
        session
            .watch(&address, accept, |event| {
                let object = &event["object"];
                if let Some(seen) =
                    object["metadata"]["resourceVersion"].as_str().filter(|seen| !seen.is_empty())
                {
                    latest = seen.to_owned();
                }
                if event["type"] != "BOOKMARK" {
                    if table {
                        for row in object["rows"].as_array().into_iter().flatten() {
                            widths.print(&view.row(row, &visible))?;
                        }
                    } else {
                        show(format, object)?;
                    }
                }
                Ok(Flow::Continue)
            })
            .await?;
        version = latest;
    }
}

/// Column widths that only grow, since a watch cannot look ahead.
#[derive(Default)]
struct Widths(Vec<usize>);

impl Widths {
    fn print(&mut self, row: &[String]) -> Result<(), Failure> {
        let mut text = String::new();
        for (index, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            if self.0.len() <= index {
                self.0.push(0);
            }
            self.0[index] = self.0[index].max(width);
            text.push_str(cell);
            text.push_str(&" ".repeat(self.0[index] - width + 3));
        }
        output::line(text.trim_end())
    }
}
