//! `edgectl why`: why a Pod has no node, and what would help.
//!
//! The server answers, by the plugins that decide; here the answer is put in words. A server that is not edged has no
//! such answer and says that it does not know the path.

use serde_json::Value;

use crate::cli::Why;
use crate::failure::Failure;
use crate::output;
use crate::session::{JSON, Session, query};

/// Asks, and prints the answer.
pub async fn why(session: &Session, options: &Why) -> Result<(), Failure> {
    let pod = match options.pod.split_once('/') {
        Some(("pod" | "pods" | "po", name)) => name,
        Some(_) => return Err(Failure::say(format!("{:?} is no Pod", options.pod))),
        None => &options.pod,
    };
    let pairs = query(&[("namespace", Some(&session.namespace)), ("pod", Some(pod))]);
    let answer = session.get(&format!("/debug/scheduler/why{pairs}"), JSON).await?;
    match options.output.as_deref() {
        None => output::print(&told(&answer)),
        Some("json") => output::print(&output::json(&answer)?),
        Some(other) => Err(Failure::say(format!("the output format {other:?} is not known; use json"))),
    }
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The answer in words: what is the case, then a line for each group of nodes and one for what would help.
fn told(answer: &Value) -> String {
    let text = |field: &str| answer[field].as_str().unwrap_or_default();
    let mut out = format!("Pod {}/{}: {}\n", text("namespace"), text("pod"), text("message"));
    if let Some(reason) = answer["bar"]["reason"].as_str() {
        let plugin = answer["bar"]["plugin"].as_str().unwrap_or_default();
        out.push_str(&format!("\nno node may take it: {reason} ({plugin})\n"));
    }
    for group in answer["refusals"].as_array().into_iter().flatten() {
        let names = words(&group["nodes"]);
        let count = group["count"].as_u64().unwrap_or(0);
        let shown = names.len() as u64;
        let more = if count > shown { format!(" and {} more", count - shown) } else { String::new() };
        let nodes = if count == 1 { "node" } else { "nodes" };
        let plugin = group["plugin"].as_str().unwrap_or_default();
        let reasons = words(&group["reasons"]).join(", ");
        out.push_str(&format!("\n{count} {nodes}: {reasons} ({plugin})\n  {}{more}\n", names.join(", ")));
        let help = words(&group["help"]);
        if !help.is_empty() {
            let nearest = group["nearest"].as_str().unwrap_or_default();
            let place = if count == 1 { String::new() } else { format!(" (nearest: {nearest})") };
            out.push_str(&format!("  would help: {}{place}\n", help.join("; ")));
        }
    }
    let fits = words(&answer["fits"]);
    if !fits.is_empty() {
        out.push_str(&format!("\nfits on: {}\n", fits.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::why::told;

    #[test]
    fn groups_of_nodes_are_told_with_what_would_help() {
        let answer = json!({
            "namespace": "default", "pod": "web", "nodes": 13,
            "message": "0/13 nodes are available: 12 Insufficient cpu, 1 node(s) had untolerated taint {k: v}.",
            "fits": [],
            "refusals": [
                {"plugin": "NodeResourcesFit", "reasons": ["Insufficient cpu"], "count": 12, "nodes": ["a", "b"],
                    "help": ["200m more cpu"], "nearest": "b"},
                {"plugin": "TaintToleration", "reasons": ["node(s) had untolerated taint {k: v}"], "count": 1,
                    "nodes": ["c"], "help": ["toleration for k=v:NoSchedule"], "nearest": "c"},
            ],
        });
        let expected = "\
Pod default/web: 0/13 nodes are available: 12 Insufficient cpu, 1 node(s) had untolerated taint {k: v}.

12 nodes: Insufficient cpu (NodeResourcesFit)
  a, b and 10 more
  would help: 200m more cpu (nearest: b)

1 node: node(s) had untolerated taint {k: v} (TaintToleration)
  c
  would help: toleration for k=v:NoSchedule
";
        assert_eq!(told(&answer), expected);
    }

    #[test]
    fn what_bars_a_pod_and_where_it_fits_is_told() {
        let gated = json!({"namespace": "n", "pod": "p", "message": "m", "refusals": [], "fits": [],
            "bar": {"plugin": "SchedulingGates", "reason": "gates"}});
        assert_eq!(told(&gated), "Pod n/p: m\n\nno node may take it: gates (SchedulingGates)\n");
        let fits = json!({"namespace": "n", "pod": "p", "message": "m", "fits": ["a", "b"]});
        assert_eq!(told(&fits), "Pod n/p: m\n\nfits on: a, b\n");
    }
}
