//! Conditions of a status, changed as Kubernetes changes them: a time of transition moves only with `status`.

use edge_api::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::mirror::Condition;

/// Sets a condition. Nothing changes if status and reason are as before; then the message stays too.
pub fn set(
    all: &mut Vec<Condition>,
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let before = all.iter().position(|c| c.kind == kind);
    if before.is_some_and(|i| all[i].status == status && all[i].reason == reason) {
        return;
    }
    let same = before.filter(|i| all[*i].status == status);
    let transition = same.and_then(|i| all[i].last_transition_time).unwrap_or(now);
    all.retain(|c| c.kind != kind);
    all.push(Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Some(transition),
        last_update_time: Some(now),
    });
}

/// Takes a condition away.
pub fn unset(all: &mut Vec<Condition>, kind: &str) {
    all.retain(|c| c.kind != kind);
}

/// A condition by its type.
pub fn find<'a>(all: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    all.iter().find(|c| c.kind == kind)
}

/// Conditions as JSON; with or without the time of the last update, which only Deployments have.
pub fn to_json(all: &[Condition], with_update_time: bool) -> Value {
    let one = |condition: &Condition| {
        let mut map = Map::new();
        map.insert("type".to_owned(), json!(condition.kind));
        map.insert("status".to_owned(), json!(condition.status));
        if !condition.reason.is_empty() {
            map.insert("reason".to_owned(), json!(condition.reason));
        }
        if !condition.message.is_empty() {
            map.insert("message".to_owned(), json!(condition.message));
        }
        map.insert("lastTransitionTime".to_owned(), json!(condition.last_transition_time));
        if with_update_time {
            map.insert("lastUpdateTime".to_owned(), json!(condition.last_update_time));
        }
        Value::Object(map)
    };
    all.iter().map(one).collect()
}
