//! What a Job says about failures, success and replacements, checked.

use crate::error::FieldError;
use crate::name;
use crate::validate::{self, At, Errors};
use serde_json::Value;

const RULES_MAX: usize = 20;
const VALUES_MAX: usize = 255;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];

/// `podFailurePolicy`, and what asks for Pods that are not run again in place.
pub(super) fn failure(spec: &At<'_>, errors: &mut Errors) {
    let (policy, per_index) = (spec.get("podFailurePolicy"), spec.get("backoffLimitPerIndex"));
    let restart = spec.get("template").get("spec").get("restartPolicy");
    for (field, what) in [(&policy, "podFailurePolicy"), (&per_index, "backoffLimitPerIndex")] {
        if field.is_set() && restart.text() == "OnFailure" {
            let why = format!("only \"Never\" is supported when {what} is specified");
            errors.push(FieldError::invalid(&restart.path, restart.text(), &why));
        }
    }
    let rules = policy.get("rules");
    validate::at_most(&rules, RULES_MAX, errors);
    for rule in rules.items() {
        failure_rule(spec, &rule, errors);
    }
}

fn failure_rule(spec: &At<'_>, rule: &At<'_>, errors: &mut Errors) {
    let action = rule.get("action");
    match action.text() {
        "" => {
            errors.push(FieldError::required(
                &action.path,
                "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
            ));
        }
        "FailIndex" if !spec.get("backoffLimitPerIndex").is_set() => {
            let why = "requires the backoffLimitPerIndex to be set";
            errors.push(FieldError::invalid(&action.path, action.value, why));
        }
        known if ACTIONS.contains(&known) => {}
        _ => errors.push(FieldError::not_supported(&action.path, action.value, ACTIONS)),
    }
    let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
    match (codes.is_set(), !conditions.is_empty()) {
        (true, true) => {
            let why = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.push(FieldError::invalid(&rule.path, "<omitted>", why));
        }
        (false, false) => {
            let why = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.push(FieldError::invalid(&rule.path, "<omitted>", why));
        }
        _ => {}
    }
    if codes.is_set() {
        exit_codes(spec, &codes, errors);
    }
    validate::at_most(&conditions, RULES_MAX, errors);
    for condition in conditions.items() {
        validate::follows(&condition.get("type"), name::label_key, errors);
        validate::one_of(&condition.get("status"), &["False", "True", "Unknown"], errors);
    }
}

fn exit_codes(spec: &At<'_>, codes: &At<'_>, errors: &mut Errors) {
    let operator = codes.get("operator");
    match operator.text() {
        "" => errors.push(FieldError::required(&operator.path, "valid values: [\"In\" \"NotIn\"]")),
        "In" | "NotIn" => {}
        _ => errors.push(FieldError::not_supported(&operator.path, operator.value, &["In", "NotIn"])),
    }
    let container = codes.get("containerName");
    let pod = spec.get("template").get("spec");
    let lists = [pod.get("containers"), pod.get("initContainers")];
    let is_known =
        lists.iter().any(|list| list.items().any(|one| one.get("name").text() == container.text()));
    if container.is_set() && !is_known {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(&container.path, container.value, why));
    }
    exit_values(&codes.get("values"), operator.text() == "In", errors);
}

fn exit_values(values: &At<'_>, positive: bool, errors: &mut Errors) {
    if values.is_empty() {
        errors.push(FieldError::invalid(&values.path, values.value, "at least one value is required"));
    }
    validate::at_most(values, VALUES_MAX, errors);
    let numbers: Vec<i64> = values.value.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    for (i, number) in numbers.iter().enumerate() {
        let path = format!("{}[{i}]", values.path);
        if positive && *number == 0 {
            errors.push(FieldError::invalid(path, 0, "must not be 0 for the In operator"));
        } else if numbers[..i].contains(number) {
            errors.push(FieldError::duplicate(path, *number));
        }
    }
    if !numbers.is_sorted() {
        errors.push(FieldError::invalid(&values.path, values.value, "must be ordered"));
    }
}

/// `successPolicy`
pub(super) fn success(spec: &At<'_>, errors: &mut Errors) {
    let policy = spec.get("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.get("completionMode").text() != "Indexed" {
        let why = "requires indexed completion mode";
        errors.push(FieldError::invalid(&policy.path, policy.value, why));
        return;
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&rules.path, detail));
    }
    validate::at_most(&rules, RULES_MAX, errors);
    let completions = spec.get("completions").number().unwrap_or(0);
    for rule in rules.items() {
        success_rule(&rule, completions, errors);
    }
}

fn success_rule(rule: &At<'_>, completions: i64, errors: &mut Errors) {
    let (indexes, count) = (rule.get("succeededIndexes"), rule.get("succeededCount"));
    if !indexes.is_set() && !count.is_set() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(&rule.path, detail));
    }
    let mut most = completions;
    if indexes.is_set() {
        match total(indexes.text(), completions) {
            Ok(total) => most = total,
            Err(why) => errors.push(FieldError::invalid(&indexes.path, indexes.text(), &why)),
        }
    }
    validate::not_negative(&count, errors);
    let Some(number) = count.number().filter(|number| *number > 0) else { return };
    if number > completions {
        let why =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(FieldError::invalid(&count.path, number, &why));
    } else if number > most {
        let why = format!(
            "must be less than or equal to {most} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(FieldError::invalid(&count.path, number, &why));
    }
}

/// How many indexes a text such as `1,3-5` holds, all below `completions` and in order.
fn total(text: &str, completions: i64) -> Result<i64, String> {
    let (mut sum, mut last) = (0, -1);
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let number = text.parse::<i64>().ok().filter(|_| text.bytes().all(|c| c.is_ascii_digit()));
            let number =
                number.ok_or_else(|| format!("cannot convert string to integer for index: {text:?}"))?;
            if number >= completions {
                return Err(format!("too large index: {text:?}"));
            }
            Ok(number)
        };
        let (low, high) = (number(low)?, number(high)?);
        if low <= last {
            return Err(format!("non-increasing order, previous: {last}, current: {low}"));
        }
        if part.contains('-') && high <= low {
            return Err(format!("non-increasing order, previous: {low}, current: {high}"));
        }
        sum += high - low + 1;
        last = high;
    }
    Ok(sum)
}

/// `podReplacementPolicy`
pub(super) fn replacement(spec: &At<'_>, errors: &mut Errors) {
    let policy = spec.get("podReplacementPolicy");
    if spec.get("podFailurePolicy").is_set() {
        validate::optional_one_of(&policy, &["Failed"], errors);
    } else {
        validate::optional_one_of(&policy, &["Failed", "TerminatingOrFailed"], errors);
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::job::{KIND, tests::job};
    use serde_json::{Value, json};

    #[test]
    fn policies_are_checked() {
        type Change = fn(&mut Value);
        let cases: &[(Change, &[&str])] = &[
            (
                |s| {
                    s["podFailurePolicy"] = json!({"rules": [{"action": "FailJob",
                        "onExitCodes": {"operator": "In", "values": [1, 42]}}, {"action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]});
                    s["podReplacementPolicy"] = json!("Failed");
                },
                &[],
            ),
            (
                |s| {
                    s["podFailurePolicy"] = json!({"rules": [{"action": "FailIndex",
                        "onExitCodes": {"containerName": "x", "operator": "In", "values": [3, 0, 3]}}]});
                    s["podReplacementPolicy"] = json!("Failed");
                },
                &[
                    "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
                    "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
                ],
            ),
            (
                |s| {
                    s["podFailurePolicy"] = json!({"rules": [{"action": "Ignore"}]});
                    s["template"]["spec"]["restartPolicy"] = json!("OnFailure");
                },
                &[
                    "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
                    "spec.podFailurePolicy.rules[0]: Invalid value: \"<omitted>\": specifying one of OnExitCodes and OnPodConditions is required",
                    "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"",
                ],
            ),
            (
                |s| s["successPolicy"] = json!({}),
                &["spec.successPolicy: Invalid value: {}: requires indexed completion mode"],
            ),
            (
                |s| {
                    s["completionMode"] = json!("Indexed");
                    s["completions"] = json!(5);
                    s["successPolicy"] =
                        json!({"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 3}]});
                },
                &[],
            ),
            (
                |s| {
                    s["completionMode"] = json!("Indexed");
                    s["completions"] = json!(5);
                    s["successPolicy"] = json!({"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 4}, {},
                        {"succeededIndexes": "3,1"}, {"succeededIndexes": "9"}]});
                },
                &[
                    "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)",
                    "spec.successPolicy.rules[1]: Required value: at least one of succeededCount or succeededIndexes must be specified",
                    "spec.successPolicy.rules[2].succeededIndexes: Invalid value: \"3,1\": non-increasing order, previous: 3, current: 1",
                    "spec.successPolicy.rules[3].succeededIndexes: Invalid value: \"9\": too large index: \"9\"",
                ],
            ),
        ];
        for (change, expected) in cases {
            let mut job = job();
            change(&mut job["spec"]);
            let found: Vec<String> = KIND.validate(&job).iter().map(ToString::to_string).collect();
            assert_eq!(found, *expected);
        }
    }
}
