//! `edgectl api-resources` and `edgectl api-versions`.

use std::collections::BTreeSet;

use crate::cli::ApiResources;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// Lists the kinds the server knows.
pub async fn api_resources(session: &Session, options: &ApiResources) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let (wide, name) = (options.output.as_deref() == Some("wide"), options.output.as_deref() == Some("name"));
    if let Some(other) = options.output.as_deref().filter(|_| !wide && !name) {
        return Err(Failure::say(format!("--output {other} is not available; wide and name are")));
    }
    for resource in &session.catalogue().await?.resources {
        let shown = options.api_group.as_ref().is_none_or(|group| *group == resource.group)
            && options.namespaced.is_none_or(|namespaced| namespaced == resource.namespaced)
            && options.verbs.iter().all(|verb| resource.verbs.contains(verb));
        if !shown {
            continue;
        }
        if name {
            let group =
                if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
            rows.push(vec![format!("{}{group}", resource.plural)]);
            continue;
        }
        let mut row = vec![
            resource.plural.clone(),
            resource.short_names.join(","),
            resource.api_version(),
            resource.namespaced.to_string(),
            resource.kind.clone(),
        ];
        if wide {
            row.extend([resource.verbs.join(","), resource.categories.join(",")]);
        }
        rows.push(row);
    }
    if !name && !options.no_headers {
        let mut header: Vec<String> =
            ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(str::to_owned).to_vec();
        if wide {
            header.extend(["VERBS", "CATEGORIES"].map(str::to_owned));
        }
        rows.insert(0, header);
    }
    output::print(&output::columns(&rows))
}

/// Lists the group versions the server knows.
pub async fn api_versions(session: &Session) -> Result<(), Failure> {
    let versions: BTreeSet<String> =
        session.catalogue().await?.resources.iter().map(|resource| resource.api_version()).collect();
    versions.iter().try_for_each(|version| output::line(version))
}
