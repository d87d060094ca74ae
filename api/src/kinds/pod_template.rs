//! PodTemplate: what Pods could be made of, kept by itself.

use crate::fill;
use crate::kind::{Column, Generation, Kind};
use crate::kinds::{pod, workload};
use crate::meta;
use crate::time::Timestamp;
use crate::validate::{At, Errors};
use serde_json::Value;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    schema: "io.k8s.api.core.v1.PodTemplate",
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Containers", "string", "Names of each container in the template."),
        Column::new("Images", "string", "Images referenced by each container in the template."),
        Column::new("Pod Labels", "string", "The labels for the pod template."),
    ],
    row,
    defaults: |template| {
        if fill::there(template, "template").is_some() {
            pod::default_template(template);
        }
    },
    checks,
    ..Kind::PLAIN
};

fn row(template: &Value, _: Timestamp) -> Vec<Value> {
    let labels = meta::map(template, &["template", "metadata", "labels"]).into_iter().flatten();
    let pairs: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    let labels = if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") };
    let [names, images] = workload::container_cells(template);
    vec![meta::name(template).into(), names, images, labels.into()]
}

fn checks(template: &At<'_>, errors: &mut Errors) {
    pod::validate_template(&template.get("template"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_filled_in_and_checked_like_any_other() {
        let mut template = json!({"metadata": {"name": "a", "namespace": "b"},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": "c", "image": "i:1"}]}}});
        KIND.default(&mut template);
        assert_eq!(template["template"]["spec"]["dnsPolicy"], "ClusterFirst");
        assert!(KIND.validate(&template).is_empty());
        assert_eq!(
            Value::from(row(&template, Timestamp::from_seconds(0))),
            json!(["a", "c", "i:1", "app=a"])
        );
        template["template"]["spec"]["containers"][0]["name"] = json!("");
        assert_eq!(
            KIND.validate(&template)[0].to_string(),
            "template.spec.containers[0].name: Required value"
        );
    }
}
