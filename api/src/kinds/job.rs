//! Job: Pods that run to their end, so many times.

mod policies;

use crate::error::FieldError;
use crate::fill;
use crate::kind::{Column, Field, Generation, Kind, Subresource};
use crate::kinds::{pod, workload};
use crate::meta;
use crate::name;
use crate::time::{self, Timestamp};
use crate::validate::{self, At, Errors};
use serde_json::{Value, json};

/// The label with the Job's uid, by which a Job selects its Pods.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// The label with the Job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// The older names of these labels.
const LEGACY: [(&str, &str); 2] = [("controller-uid", CONTROLLER_UID), ("job-name", JOB_NAME)];

/// The most that an indexed Job may run at a time, and, with retries per index, in all.
const INDEXES_MAX: i64 = 100_000;

/// The table entry.
pub static KIND: Kind = Kind {
    group: "batch",
    version: "v1",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    schema: "io.k8s.api.batch.v1.Job",
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    columns: &[
        Column::NAME,
        Column::new("Status", "string", "Whether the job runs, is suspended or has ended."),
        Column::new("Completions", "string", "Pods that succeeded, of those that are needed."),
        Column::new("Duration", "string", "Time required to complete the job."),
        Column::AGE,
        Column::wide("Containers", "string", "Names of each container in the template."),
        Column::wide("Images", "string", "Images referenced by each container in the template."),
        Column::wide("Selector", "string", "Which pods are its own."),
    ],
    row,
    fields: &[Field { name: "status.successful", path: &["status", "succeeded"], absent: "0" }],
    defaults,
    create,
    warnings: workload::warnings,
    checks,
    update_checks,
    status_checks,
    ..Kind::PLAIN
};

fn is_true(job: &Value, type_: &str) -> bool {
    meta::condition(job, type_).is_some_and(|condition| meta::text(condition, &["status"]) == "True")
}

fn state(job: &Value) -> &'static str {
    let known = |type_: &&&str| is_true(job, type_);
    match ["Complete", "Failed"].iter().find(known) {
        Some(state) => state,
        None if meta::deletion_timestamp(job).is_some() => "Terminating",
        None => ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .iter()
            .find(known)
            .map_or("Running", |one| one),
    }
}

fn row(job: &Value, now: Timestamp) -> Vec<Value> {
    let number = |path: &[&str]| meta::number(job, path);
    let succeeded = number(&["status", "succeeded"]).unwrap_or(0);
    let parallelism = number(&["spec", "parallelism"]).unwrap_or(0);
    let completions = match number(&["spec", "completions"]) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let at = |field: &str| Timestamp::parse(meta::text(job, &["status", field])).ok();
    let duration = at("startTime").map_or_else(String::new, |start| {
        time::human_duration(at("completionTime").unwrap_or(now).since(start))
    });
    let mut row = vec![
        meta::name(job).into(),
        state(job).into(),
        completions.into(),
        duration.into(),
        time::age(meta::creation_timestamp(job), now).into(),
    ];
    row.extend(workload::wide_cells(&job["spec"]));
    row
}

fn defaults(job: &mut Value) {
    workload::labels_of_template(job);
    let Some(spec) = fill::object(job, "spec") else { return };
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        fill::absent(spec, "completions", 1);
    }
    fill::absent(spec, "parallelism", 1);
    let per_index = spec.get("backoffLimitPerIndex").is_some();
    fill::absent(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    fill::absent(spec, "completionMode", "NonIndexed");
    fill::absent(spec, "suspend", false);
    fill::absent(spec, "manualSelector", false);
    let failed = spec.get("podFailurePolicy").is_some();
    fill::absent(spec, "podReplacementPolicy", if failed { "Failed" } else { "TerminatingOrFailed" });
    default_template(spec);
}

/// Fills in what the spec of a Job gets where it is a CronJob's template, too.
pub(super) fn default_template(spec: &mut Value) {
    if let Some(policy) = fill::there(spec, "podFailurePolicy") {
        fill::each(policy, "rules", |rule| {
            fill::each(rule, "onPodConditions", |condition| fill::blank(condition, "status", "True"));
        });
    }
    pod::default_template(spec);
}

/// A Job selects its Pods by its own uid, unless its maker cares for that.
fn create(job: &mut Value) {
    fill::set(job, "status", json!({}));
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let (name, uid) = (meta::name(job).to_owned(), meta::uid(job).to_owned());
    let Some(spec) = fill::object(job, "spec") else { return };
    let Some(template) = fill::object(spec, "template") else { return };
    let labels = fill::object(template, "metadata").and_then(|metadata| fill::object(metadata, "labels"));
    let Some(labels) = labels else { return };
    for (key, value) in
        [("controller-uid", &uid), ("job-name", &name), (CONTROLLER_UID, &uid), (JOB_NAME, &name)]
    {
        fill::absent(labels, key, value.as_str());
    }
    let selector = fill::object(spec, "selector").and_then(|selector| fill::object(selector, "matchLabels"));
    if let Some(selector) = selector {
        fill::absent(selector, CONTROLLER_UID, uid);
    }
}

fn checks(job: &At<'_>, errors: &mut Errors) {
    let spec = job.get("spec");
    generated_selector(job, errors);
    spec_checks(&spec, errors);
    let selector = spec.get("selector");
    if selector.is_set() {
        validate::label_selector(&selector, errors);
        workload::labels_match(&spec, errors);
    } else {
        errors.push(FieldError::required(&selector.path, ""));
    }
    last_name(job, errors);
}

/// A selector that was not made by hand must be the one made here.
fn generated_selector(job: &At<'_>, errors: &mut Errors) {
    let spec = job.get("spec");
    let selector = spec.get("selector");
    if spec.get("manualSelector").truth() || !selector.is_set() {
        return;
    }
    let metadata = job.get("metadata");
    let (uid, name) = (metadata.get("uid"), metadata.get("name").text());
    validate::required(&uid, "", errors);
    let labels = spec.get("template").get("metadata").get("labels");
    for (legacy, key) in LEGACY {
        let expected = if key == JOB_NAME { name } else { uid.text() };
        let detail = format!("must be '{expected}'");
        for key in [legacy, key] {
            let path = format!("{}[{key}]", labels.path);
            match labels.value.get(key).and_then(Value::as_str) {
                None => errors.push(FieldError::required(path, &detail)),
                Some(value) if value != expected => {
                    errors.push(FieldError::invalid(path, labels.value, &detail));
                }
                Some(_) => {}
            }
        }
    }
    let selected = selector.get("matchLabels").value.get(CONTROLLER_UID).and_then(Value::as_str);
    let legacy = selector.get("matchLabels").value.get("controller-uid").and_then(Value::as_str);
    if selected.or(legacy) != Some(uid.text()) {
        errors.push(FieldError::invalid(&selector.path, selector.value, "`selector` not auto-generated"));
    }
}

/// The Pods of an indexed Job have host names made of its name and their index.
fn last_name(job: &At<'_>, errors: &mut Errors) {
    let (spec, name) = (job.get("spec"), job.get("metadata").get("name"));
    let Some(completions) = spec.get("completions").number().filter(|completions| *completions > 0) else {
        return;
    };
    if spec.get("completionMode").text() != "Indexed" {
        return;
    }
    let last = format!("{}-{}", name.text(), completions - 1);
    if let Err(why) = name::dns1123_label(&last) {
        let why = format!("will not able to create pod with invalid DNS label {last:?}: {why}");
        errors.push(FieldError::invalid(&name.path, name.text(), &why));
    }
}

/// Checks the spec of a Job but for its selector, also where it is a CronJob's template.
pub(super) fn spec_checks(spec: &At<'_>, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        validate::not_negative(&spec.get(field), errors);
    }
    managed_by(&spec.get("managedBy"), errors);
    indexed(spec, errors);
    let template = spec.get("template");
    pod::validate_template(&template, errors);
    ends(&template.get("spec").get("restartPolicy"), errors);
    policies::failure(spec, errors);
    policies::success(spec, errors);
    policies::replacement(spec, errors);
}

fn managed_by(by: &At<'_>, errors: &mut Errors) {
    if !by.is_set() {
        return;
    }
    if !by.text().contains('/') {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(&by.path, by.text(), why));
    } else if let Err(why) = name::label_key(by.text()) {
        errors.push(FieldError::invalid(&by.path, by.text(), &why));
    }
    if by.text().len() > name::LABEL_MAX {
        errors.push(FieldError::too_long(&by.path, name::LABEL_MAX));
    }
}

fn indexed(spec: &At<'_>, errors: &mut Errors) {
    let [mode, completions, parallelism, per_index, max_failed] =
        ["completionMode", "completions", "parallelism", "backoffLimitPerIndex", "maxFailedIndexes"]
            .map(|field| spec.get(field));
    validate::optional_one_of(&mode, &["NonIndexed", "Indexed"], errors);
    if mode.text() == "Indexed" {
        if !completions.is_set() {
            errors.push(FieldError::required(&completions.path, "when completion mode is Indexed"));
        }
        if let Some(number) = parallelism.number().filter(|number| *number > INDEXES_MAX) {
            let why = format!("must be less than or equal to {INDEXES_MAX} when completion mode is Indexed");
            errors.push(FieldError::invalid(&parallelism.path, number, &why));
        }
    } else if per_index.is_set() {
        let why = "requires indexed completion mode";
        errors.push(FieldError::invalid(&per_index.path, per_index.value, why));
    }
    if max_failed.is_set() && !per_index.is_set() {
        errors.push(FieldError::required(&per_index.path, "when maxFailedIndexes is specified"));
    }
    let (failed, all) = (max_failed.number(), completions.number());
    if failed.zip(all).is_some_and(|(failed, all)| failed > all) {
        let why = "must be less than or equal to completions";
        errors.push(FieldError::invalid(&max_failed.path, max_failed.value, why));
    }
    if per_index.is_set() && all.is_some_and(|all| all > INDEXES_MAX) {
        let why =
            format!("must be less than or equal to {INDEXES_MAX} when backoffLimitPerIndex is specified");
        errors.push(FieldError::invalid(&completions.path, completions.value, &why));
    }
}

/// The Pods of a Job come to an end.
fn ends(policy: &At<'_>, errors: &mut Errors) {
    match policy.text() {
        "OnFailure" | "Never" => {}
        "Always" | "" => {
            errors.push(FieldError::required(&policy.path, "valid values: \"OnFailure\", \"Never\""));
        }
        _ => errors.push(FieldError::not_supported(&policy.path, policy.value, &["OnFailure", "Never"])),
    }
}

/// What of a template may change while its Job is suspended and has not begun.
const DIRECTIVES: &[&[&str]] = &[
    &["metadata", "labels"],
    &["metadata", "annotations"],
    &["spec", "affinity", "nodeAffinity"],
    &["spec", "affinity"],
    &["spec", "nodeSelector"],
    &["spec", "tolerations"],
    &["spec", "schedulingGates"],
    &["spec", "containers"],
    &["spec", "initContainers"],
];

fn update_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let has_begun = old.get("status").get("startTime").is_set();
    let (new, old) = (new.get("spec"), old.get("spec"));
    completions(&new, &old, errors);
    validate::immutable(&new.get("selector"), &old.get("selector"), errors);
    let (template, before) = (new.get("template"), old.get("template"));
    let may_be_directed = old.get("suspend").truth() && !has_begun;
    if !(may_be_directed && directed(template.value, before.value)) {
        validate::immutable(&template, &before, errors);
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        validate::immutable(&new.get(field), &old.get(field), errors);
    }
}

/// Whether only directives for the scheduler and amounts of resources differ.
fn directed(new: &Value, old: &Value) -> bool {
    let bare = |template: &Value| {
        let mut template = template.clone();
        for list in ["containers", "initContainers"] {
            fill::each(&mut template["spec"], list, |container| fill::set(container, "resources", json!({})));
        }
        template
    };
    let same_containers = ["containers", "initContainers"]
        .iter()
        .all(|list| bare(new)["spec"].get(list) == bare(old)["spec"].get(list));
    let affinity = |template: &Value, kind: &str| meta::at(template, &["spec", "affinity", kind]).cloned();
    let same_affinity =
        ["podAffinity", "podAntiAffinity"].iter().all(|kind| affinity(new, kind) == affinity(old, kind));
    let both = new["spec"].is_object() && old["spec"].is_object();
    both && same_containers && same_affinity && same_but(new, old, DIRECTIVES)
}

/// Whether two templates are equal but for what is at some paths.
fn same_but(new: &Value, old: &Value, paths: &[&[&str]]) -> bool {
    let without = |template: &Value| {
        let mut template = template.clone();
        for path in paths {
            let (last, parents) = path.split_last().unwrap_or((&"", &[]));
            let parent = parents.iter().try_fold(&mut template, |here, field| here.get_mut(*field));
            if let Some(parent) = parent.and_then(Value::as_object_mut) {
                parent.remove(*last);
            }
        }
        template
    };
    without(new) == without(old)
}

/// The completions of an indexed Job follow its parallelism; others stay.
fn completions(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (now, before) = (new.get("completions"), old.get("completions"));
    if now.value == before.value {
        return;
    }
    let indexed = new.get("completionMode").text() == "Indexed";
    if !(indexed && now.is_set() && before.is_set()) {
        validate::immutable(&now, &before, errors);
        return;
    }
    let elastic = |completions: &At<'_>, spec: &At<'_>| completions.value == spec.get("parallelism").value;
    if !(elastic(&now, new) && elastic(&before, old)) {
        let why = "can only be modified in tandem with parallelism";
        errors.push(FieldError::invalid(&now.path, now.value, why));
    }
}

fn status_checks(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let (status, before) = (new.get("status"), old.get("status"));
    workload::counts(&status, &["active", "succeeded", "failed", "terminating", "ready"], errors);
    let is_true = |object: &At<'_>, type_: &str| is_true(object.value, type_);
    if is_true(new, "Complete") && is_true(new, "Failed") {
        let path = status.field("conditions");
        let why = "cannot set Complete=True and Failed=true conditions";
        errors.push(FieldError::invalid(path, status.get("conditions").value, why));
    }
    for type_ in ["Complete", "Failed"] {
        if is_true(old, type_) && !is_true(new, type_) {
            let conditions = status.get("conditions");
            let why = format!("cannot disable the terminal {type_}=True condition");
            errors.push(FieldError::invalid(&conditions.path, conditions.value, &why));
        }
    }
    let (start, end) = (status.get("startTime"), status.get("completionTime"));
    if end.is_set() && !is_true(new, "Complete") {
        let why = "cannot set completionTime when there is no Complete=True condition";
        errors.push(FieldError::invalid(&end.path, end.value, why));
    }
    let ended = before.get("completionTime");
    if ended.is_set() && ended.value != end.value {
        errors.push(FieldError::invalid(&end.path, end.value, "cannot be changed once it is set"));
    }
    let at = |field: &At<'_>| Timestamp::parse(field.text()).ok();
    if at(&start).zip(at(&end)).is_some_and(|(start, end)| end < start) {
        let why = "completionTime cannot be set before startTime";
        errors.push(FieldError::invalid(&end.path, end.value, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Target;

    pub(super) fn job() -> Value {
        let mut job = json!({
            "metadata": {"name": "pi", "namespace": "default", "uid": "u1"},
            "spec": {"template": {"spec": {"restartPolicy": "Never",
                "containers": [{"name": "pi", "image": "pi:1"}]}}},
        });
        KIND.default(&mut job);
        KIND.prepare_create(&mut job);
        KIND.default(&mut job);
        job
    }

    fn shown(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bare_job_gets_kubernetes_defaults_and_a_selector_of_its_own() {
        let job = job();
        let labels = json!({"controller-uid": "u1", "job-name": "pi", CONTROLLER_UID: "u1", JOB_NAME: "pi"});
        assert_eq!(job["spec"]["selector"], json!({"matchLabels": {CONTROLLER_UID: "u1"}}));
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
        assert_eq!(job["metadata"]["labels"], labels);
        for (field, value) in [
            ("completions", json!(1)),
            ("parallelism", json!(1)),
            ("backoffLimit", json!(6)),
            ("completionMode", json!("NonIndexed")),
            ("suspend", json!(false)),
            ("manualSelector", json!(false)),
            ("podReplacementPolicy", json!("TerminatingOrFailed")),
        ] {
            assert_eq!(job["spec"][field], value, "{field}");
        }
        assert_eq!(shown(&KIND.validate(&job)), Vec::<String>::new());
    }

    #[test]
    fn a_job_is_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &str)] = &[
            (
                |s| s["parallelism"] = json!(-1),
                "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                |s| s["template"]["spec"]["restartPolicy"] = json!("Always"),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                |s| s["completionMode"] = json!("X"),
                "spec.completionMode: Unsupported value: \"X\": supported values: \"Indexed\", \"NonIndexed\"",
            ),
            (
                |s| {
                    s["completionMode"] = json!("Indexed");
                    s["completions"] = Value::Null;
                },
                "spec.completions: Required value: when completion mode is Indexed",
            ),
            (
                |s| s["backoffLimitPerIndex"] = json!(1),
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ),
            (
                |s| s["maxFailedIndexes"] = json!(1),
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            ),
            (
                |s| s["managedBy"] = json!("me"),
                "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                |s| s["selector"] = json!({"matchLabels": {CONTROLLER_UID: "x"}}),
                "spec.selector: Invalid value: {\"matchLabels\":{\"batch.kubernetes.io/controller-uid\":\"x\"}}: `selector` not auto-generated",
            ),
        ];
        for (change, expected) in cases {
            let mut job = job();
            change(&mut job["spec"]);
            assert_eq!(shown(&KIND.validate(&job))[0], *expected);
        }
    }

    #[test]
    fn little_of_a_job_may_change() {
        type Change = fn(&mut Value);
        let mut old = job();
        old["spec"]["suspend"] = json!(true);
        let fine: &[Change] = &[
            |s| s["parallelism"] = json!(3),
            |s| s["suspend"] = json!(false),
            |s| s["template"]["spec"]["nodeSelector"] = json!({"a": "b"}),
            |s| s["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}}),
        ];
        for change in fine {
            let mut new = old.clone();
            change(&mut new["spec"]);
            assert_eq!(shown(&KIND.validate_update(&new, &old, Target::Main)), Vec::<String>::new());
        }
        let wrong: &[(Change, &str)] = &[
            (|s| s["completions"] = json!(2), "spec.completions: Invalid value: 2: field is immutable"),
            (
                |s| s["template"]["spec"]["containers"][0]["image"] = json!("x"),
                "spec.template: Invalid value: ",
            ),
            (
                |s| s["completionMode"] = json!("Indexed"),
                "spec.completionMode: Invalid value: \"Indexed\": field is immutable",
            ),
        ];
        for (change, expected) in wrong {
            let mut new = old.clone();
            change(&mut new["spec"]);
            let errors = shown(&KIND.validate_update(&new, &old, Target::Main));
            assert!(errors[0].starts_with(expected), "{errors:?}");
        }
        let mut begun = old.clone();
        begun["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
        let mut new = begun.clone();
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        assert_eq!(KIND.validate_update(&new, &begun, Target::Main).len(), 1);
    }

    #[test]
    fn an_elastic_indexed_job_changes_completions_with_parallelism() {
        let mut old = job();
        old["spec"]["completionMode"] = json!("Indexed");
        let mut new = old.clone();
        new["spec"]["completions"] = json!(3);
        let errors = shown(&KIND.validate_update(&new, &old, Target::Main));
        assert_eq!(
            errors,
            ["spec.completions: Invalid value: 3: can only be modified in tandem with parallelism"]
        );
        new["spec"]["parallelism"] = json!(3);
        assert!(KIND.validate_update(&new, &old, Target::Main).is_empty());
    }

    #[test]
    fn a_row_is_kubectl_s() {
        let now = Timestamp::from_seconds(100);
        let mut job = job();
        let cells = |job: &Value| Value::from(row(job, now)[..4].to_vec());
        assert_eq!(cells(&job), json!(["pi", "Running", "0/1", ""]));
        job["status"] = json!({"startTime": "1970-01-01T00:00:10Z", "succeeded": 1});
        assert_eq!(cells(&job), json!(["pi", "Running", "1/1", "90s"]));
        job["status"]["completionTime"] = json!("1970-01-01T00:00:15Z");
        job["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
        assert_eq!(cells(&job), json!(["pi", "Complete", "1/1", "5s"]));
        job["spec"] = json!({"parallelism": 3});
        assert_eq!(cells(&job), json!(["pi", "Complete", "1/1 of 3", "5s"]));
    }

    #[test]
    fn a_finished_job_stays_so() {
        let mut old = job();
        old["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}],
            "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:01Z"});
        let mut new = old.clone();
        new["status"] = json!({"conditions": []});
        let errors = shown(&KIND.validate_update(&new, &old, Target::Status));
        assert_eq!(
            errors[0],
            "status.conditions: Invalid value: []: cannot disable the terminal Complete=True condition"
        );
    }
}
