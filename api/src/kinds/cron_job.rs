//! CronJob: Jobs that are made when a schedule says so.

use crate::cron::{self, Schedule};
use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Generation, Kind, Subresource};
use crate::kinds::{job, workload};
use crate::meta;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// Names of Jobs add eleven characters to it.
const NAME_MAX: usize = 52;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "batch",
    version: "v1",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    schema: "io.k8s.api.batch.v1.CronJob",
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Schedule", "string", "The schedule in Cron format."),
        Column::new("Timezone", "string", "The time zone of the schedule."),
        Column::new("Suspend", "boolean", "Whether no further jobs are made."),
        Column::new("Active", "integer", "Jobs that are running."),
        Column::new("Last Schedule", "string", "Time since a job was last made."),
        Column::AGE,
        Column::wide("Containers", "string", "Names of each container in the template."),
        Column::wide("Images", "string", "Images referenced by each container in the template."),
        Column::wide("Selector", "string", "Which pods are its own."),
    ],
    row,
    defaults,
    create: |cron| fill::set(cron, "status", json!({})),
    warnings: |cron, warnings| workload::warnings(&cron.get("spec").get("jobTemplate"), warnings),
    checks,
    ..Kind::PLAIN
};

fn row(cron: &Value, now: Timestamp) -> Vec<Value> {
    let or_none = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
    let suspend = match meta::at(cron, &["spec", "suspend"]).and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let last = Timestamp::parse(meta::text(cron, &["status", "lastScheduleTime"])).ok();
    let mut row = vec![
        meta::name(cron).into(),
        meta::text(cron, &["spec", "schedule"]).into(),
        or_none(meta::text(cron, &["spec", "timeZone"]).to_owned()).into(),
        suspend.into(),
        meta::items(cron, &["status", "active"]).len().into(),
        or_none(last.map_or_else(String::new, |last| time::human_duration(now.since(last)))).into(),
        time::age(meta::creation_timestamp(cron), now).into(),
    ];
    row.extend(workload::wide_cells(&cron["spec"]["jobTemplate"]["spec"]));
    row
}

fn defaults(cron: &mut Value) {
    let Some(spec) = fill::object(cron, "spec") else { return };
    fill::blank(spec, "concurrencyPolicy", "Allow");
    fill::absent(spec, "suspend", false);
    fill::absent(spec, "successfulJobsHistoryLimit", 3);
    fill::absent(spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = fill::object(spec, "jobTemplate") {
        fill::object(template, "metadata");
        if let Some(spec) = fill::object(template, "spec") {
            // As in Kubernetes: what only a Job gets is filled in when the Job is made.
            job::default_template(spec);
        }
    }
}

fn checks(cron: &At<'_>, errors: &mut Errors) {
    let name = cron.get("metadata").get("name");
    if name.text().len() > NAME_MAX {
        let why = format!("must be no more than {NAME_MAX} characters");
        errors.push(FieldError::invalid(&name.path, name.text(), &why));
    }
    let spec = cron.get("spec");
    schedule(&spec.get("schedule"), errors);
    validate::not_negative(&spec.get("startingDeadlineSeconds"), errors);
    time_zone(&spec.get("timeZone"), errors);
    validate::one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"], errors);
    template(&spec.get("jobTemplate").get("spec"), errors);
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        validate::not_negative(&spec.get(field), errors);
    }
}

fn schedule(schedule: &At<'_>, errors: &mut Errors) {
    if !validate::required(schedule, "", errors) {
        return;
    }
    if schedule.text().contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid(&schedule.path, schedule.text(), why));
    } else if let Err(why) = Schedule::parse(schedule.text()) {
        errors.push(FieldError::invalid(&schedule.path, schedule.text(), &why.to_string()));
    }
}

fn time_zone(zone: &At<'_>, errors: &mut Errors) {
    if !zone.is_set() {
        return;
    }
    let name = zone.text();
    let why = if name.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if name.eq_ignore_ascii_case("Local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if cron::zone(name).is_none() {
        format!("unknown time zone {name}")
    } else {
        return;
    };
    errors.push(FieldError::invalid(&zone.path, name, &why));
}

fn template(spec: &At<'_>, errors: &mut Errors) {
    job::spec_checks(spec, errors);
    let (selector, manual) = (spec.get("selector"), spec.get("manualSelector"));
    if selector.is_set() {
        let why = "`selector` will be auto-generated";
        errors.push(FieldError::invalid(&selector.path, selector.value, why));
    }
    if manual.truth() {
        errors.push(FieldError::not_supported(&manual.path, manual.value, &["nil", "false"]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron() -> Value {
        let mut cron = json!({
            "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "c:1"}]}}}}},
        });
        KIND.default(&mut cron);
        cron
    }

    #[test]
    fn a_bare_cron_job_gets_kubernetes_defaults_and_columns() {
        let mut cron = cron();
        let spec = &cron["spec"];
        assert_eq!(spec["concurrencyPolicy"], "Allow");
        assert_eq!(
            (&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(spec["jobTemplate"]["spec"]["template"]["spec"]["dnsPolicy"], "ClusterFirst");
        assert_eq!(spec["jobTemplate"]["spec"].get("completions"), None);
        assert!(KIND.validate(&cron).is_empty());
        cron["status"] = json!({"lastScheduleTime": "1970-01-01T00:00:00Z", "active": [{"name": "hello-1"}]});
        let expected =
            json!(["hello", "*/5 * * * *", "<none>", "False", 1, "60s", "<unknown>", "c", "c:1", "<none>"]);
        assert_eq!(Value::from(row(&cron, Timestamp::from_seconds(60))), expected);
    }

    #[test]
    fn a_cron_job_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (|s| s["schedule"] = json!(""), "spec.schedule: Required value"),
            (
                |s| s["schedule"] = json!("x"),
                "spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x]",
            ),
            (
                |s| s["schedule"] = json!("TZ=UTC 0 0 * * *"),
                "spec.schedule: Invalid value: \"TZ=UTC 0 0 * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ),
            (
                |s| s["timeZone"] = json!("Mars/Base"),
                "spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base",
            ),
            (
                |s| s["timeZone"] = json!("local"),
                "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            ),
            (
                |s| s["concurrencyPolicy"] = json!("X"),
                "spec.concurrencyPolicy: Unsupported value: \"X\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ),
            (
                |s| s["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = json!("Always"),
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                |s| s["jobTemplate"]["spec"]["selector"] = json!({}),
                "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
            ),
        ];
        for (change, expected) in cases {
            let mut cron = cron();
            change(&mut cron["spec"]);
            let found: Vec<String> = KIND.validate(&cron).iter().map(ToString::to_string).collect();
            assert_eq!(found, [*expected]);
        }
        let mut long = cron();
        long["metadata"]["name"] = json!("a".repeat(53));
        assert!(KIND.validate(&long)[0].to_string().ends_with("must be no more than 52 characters"));
    }
}
