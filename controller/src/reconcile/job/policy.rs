//! What a Job says about a failed Pod, and when enough of its indexes have succeeded.

use serde_json::Value;

use crate::reconcile::job::indexes::Indexes;

/// What becomes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Count,
    /// It does not count.
    Ignore,
    /// The index has failed.
    FailIndex,
    /// The Job has failed, and why.
    FailJob(String),
}

/// What the first matching rule of `podFailurePolicy` says about a failed Pod.
pub fn judge(policy: &Value, pod: &Value) -> Verdict {
    let rules = policy["rules"].as_array().map_or(&[][..], Vec::as_slice);
    for (i, rule) in rules.iter().enumerate() {
        let Some(what) =
            exit_code(&rule["onExitCodes"], pod).or_else(|| condition(&rule["onPodConditions"], pod))
        else {
            continue;
        };
        let action = rule["action"].as_str().unwrap_or_default();
        return match action {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{what} matching {action} rule at index {i}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

fn place(pod: &Value) -> String {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

fn exit_code(rule: &Value, pod: &Value) -> Option<String> {
    let values = rule["values"].as_array()?;
    let wanted = rule["containerName"].as_str();
    let lists = ["containerStatuses", "initContainerStatuses"].map(|list| pod["status"][list].as_array());
    for status in lists.into_iter().flatten().flatten() {
        let name = status["name"].as_str().unwrap_or_default();
        let Some(code) = status["state"]["terminated"]["exitCode"].as_i64() else { continue };
        let is_in = values.iter().any(|value| value.as_i64() == Some(code));
        let matches = if rule["operator"] == "NotIn" { !is_in } else { is_in };
        if code != 0 && matches && wanted.is_none_or(|wanted| wanted == name) {
            return Some(format!("Container {name} for pod {} failed with exit code {code}", place(pod)));
        }
    }
    None
}

fn condition(patterns: &Value, pod: &Value) -> Option<String> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let pattern = patterns.as_array()?.iter().find(|pattern| {
        let status = pattern["status"].as_str().unwrap_or("True");
        conditions.iter().any(|one| one["type"] == pattern["type"] && one["status"] == status)
    })?;
    Some(format!("Pod {} has condition {}", place(pod), pattern["type"].as_str().unwrap_or_default()))
}

/// Which rule of `successPolicy` the indexes that have succeeded meet.
pub fn succeeds(policy: &Value, succeeded: &Indexes, completions: i64) -> Option<String> {
    let rules = policy["rules"].as_array()?;
    let met = |rule: &Value| {
        let (of, wanted) = match rule["succeededIndexes"].as_str() {
            Some(text) => {
                let among = Indexes::parse(text, completions);
                (succeeded.shared(&among), among.len())
            }
            None => (succeeded.len(), completions),
        };
        of >= rule["succeededCount"].as_i64().unwrap_or(wanted)
    };
    let at = rules.iter().position(met)?;
    Some(format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_matching_rule_decides() {
        let pod = |code: i64, disrupted: &str| {
            json!({"metadata": {"namespace": "n", "name": "p"}, "status": {
                "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": code}}}],
                "conditions": [{"type": "DisruptionTarget", "status": disrupted}]}})
        };
        let policy = json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"containerName": "other", "operator": "NotIn", "values": [7]}},
            {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}},
        ]});
        let why = "Container main for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        let cases = [
            (42, "True", Verdict::Ignore),
            (42, "False", Verdict::FailJob(why.to_owned())),
            (1, "False", Verdict::FailIndex),
            (2, "False", Verdict::Count),
            (9, "False", Verdict::Count),
            (0, "False", Verdict::Count),
        ];
        for (code, disrupted, expected) in cases {
            assert_eq!(judge(&policy, &pod(code, disrupted)), expected, "{code} {disrupted}");
        }
    }

    #[test]
    fn a_success_policy_asks_for_indexes_or_a_number_of_them() {
        let rules = |rules: Value| json!({ "rules": rules });
        let cases = [
            (rules(json!([{"succeededIndexes": "0,2"}])), "0,2", true),
            (rules(json!([{"succeededIndexes": "0,2"}])), "0,1,3", false),
            (rules(json!([{"succeededIndexes": "0-3", "succeededCount": 2}])), "1,3", true),
            (rules(json!([{"succeededCount": 2}])), "4", false),
            (rules(json!([{"succeededCount": 2}])), "3,4", true),
        ];
        for (policy, done, expected) in cases {
            assert_eq!(succeeds(&policy, &Indexes::parse(done, 5), 5).is_some(), expected, "{policy} {done}");
        }
    }
}
