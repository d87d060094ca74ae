//! What to do about an autoscaler, and what to say of it.

use edge_api::kinds::horizontal_pod_autoscaler::SCALED_TO_ZERO;
use edge_api::meta::{self, items, text};
use edge_api::time::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::reconcile::Tone;
use crate::reconcile::autoscaler::measure::{self, Load, Proposal, Silence, Tolerance};
use crate::reconcile::autoscaler::pace::{Memory, Range};
use crate::reconcile::autoscaler::sight::{Reading, Scale, Sight, Spec};

/// Why there are to be as many as the least.
const BELOW: &str = "Current number of replicas below Spec.MinReplicas";

/// Why there is to be one although no metric says so.
const WANTED: &str = "requests wait for a Pod";

/// What to tell people: tone, reason, message.
pub(super) type Said = (Tone, &'static str, String);

/// A change of the target's replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rescale {
    /// As many as there are.
    pub from: i64,
    /// As many as there are to be.
    pub to: i64,
    /// Why.
    pub reason: String,
}

/// What to do about an autoscaler.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    /// The change, if there is to be one.
    pub rescale: Option<Rescale>,
    /// What to tell people.
    pub said: Vec<Said>,
    /// Its status, before it is known what became of the change.
    pub status: Value,
}

/// Decides.
pub(super) fn decide(scaler: &Value, sight: &Sight, memory: &mut Memory, now: Timestamp) -> Decision {
    let spec = Spec::deserialize(&scaler["spec"]).unwrap_or_default();
    let conditions = items(scaler, &["status", "conditions"]).to_vec();
    let mut draft = Draft { conditions, said: Vec::new(), now };
    let scale = match &sight.scale {
        Ok(scale) => scale,
        Err(why) => {
            draft.say(Tone::Warning, "FailedGetScale", why.clone());
            let message = format!("the HPA controller was unable to get the target's current scale: {why}");
            draft.set("AbleToScale", "False", "FailedGetScale", message);
            let mut status = scaler.get("status").cloned().unwrap_or_else(|| json!({}));
            status["conditions"] = draft.conditions.into();
            return Decision { rescale: None, said: draft.said, status };
        }
    };
    let message = "the HPA controller was able to get the target's current scale".to_owned();
    draft.set("AbleToScale", "True", "SucceededGetScale", message);
    memory.begin(scale.replicas, now);
    let wish = draft.wish(scaler, &spec, scale, sight, memory);
    let desired = wish.replicas.unwrap_or(meta::number(scaler, &["status", "desiredReplicas"]).unwrap_or(0));
    let rescale = wish.replicas.filter(|to| *to != scale.replicas).map(|to| Rescale {
        from: scale.replicas,
        to,
        reason: wish.reason,
    });
    if scale.replicas > 0 && draft.is(SCALED_TO_ZERO) {
        // Somebody else has brought it back.
        draft.mark_zero(false);
    }
    let mut status = json!({
        "currentReplicas": scale.replicas, "desiredReplicas": desired, "currentMetrics": wish.metrics,
        "conditions": draft.conditions,
    });
    if let Some(last) = meta::at(scaler, &["status", "lastScaleTime"]) {
        status["lastScaleTime"] = last.clone();
    }
    Decision { rescale, said: draft.said, status }
}

impl Decision {
    /// Its status while a change to zero is made. Should the process end right after the change, it is known whose the
    /// zero is.
    pub(super) fn falling_asleep(&self, now: Timestamp) -> Option<Value> {
        self.rescale.as_ref().filter(|rescale| rescale.to == 0)?;
        let conditions = items(&self.status, &["conditions"]).to_vec();
        let mut draft = Draft { conditions, said: Vec::new(), now };
        draft.mark_zero(true);
        let mut status = self.status.clone();
        status["conditions"] = draft.conditions.into();
        Some(status)
    }

    /// Adds what became of the change.
    pub(super) fn settle(&mut self, outcome: &Result<(), String>, now: Timestamp) {
        let Some(Rescale { from, to, reason }) = &self.rescale else { return };
        let conditions = items(&self.status, &["conditions"]).to_vec();
        let mut draft = Draft { conditions, said: std::mem::take(&mut self.said), now };
        match outcome {
            Ok(()) => {
                let message = format!("the HPA controller was able to update the target scale to {to}");
                draft.set("AbleToScale", "True", "SucceededRescale", message);
                draft.say(Tone::Normal, "SuccessfulRescale", format!("New size: {to}; reason: {reason}"));
                self.status["lastScaleTime"] = json!(now);
                draft.mark_zero(*to == 0);
            }
            Err(why) => {
                let message = format!("the HPA controller was unable to update the target scale: {why}");
                draft.set("AbleToScale", "False", "FailedUpdateScale", message);
                let message = format!("New size: {to}; reason: {reason}; error: {why}");
                draft.say(Tone::Warning, "FailedRescale", message);
                self.status["desiredReplicas"] = (*from).into();
            }
        }
        self.said = draft.said;
        self.status["conditions"] = draft.conditions.into();
    }
}

/// How many replicas there are to be.
struct Wish {
    /// None if that is not known.
    replicas: Option<i64>,
    reason: String,
    metrics: Vec<Value>,
}

/// Conditions and Events as they come together.
struct Draft {
    conditions: Vec<Value>,
    said: Vec<Said>,
    now: Timestamp,
}

impl Draft {
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let found = self.conditions.iter().position(|condition| text(condition, &["type"]) == kind);
        let since = found
            .map(|at| &self.conditions[at])
            .filter(|condition| text(condition, &["status"]) == status)
            .and_then(|condition| condition.get("lastTransitionTime").cloned());
        let condition = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| json!(self.now)),
        });
        match found {
            Some(at) => self.conditions[at] = condition,
            None => self.conditions.push(condition),
        }
    }

    fn is(&self, kind: &str) -> bool {
        let mut found = self.conditions.iter().filter(|condition| text(condition, &["type"]) == kind);
        found.any(|condition| text(condition, &["status"]) == "True")
    }

    /// Says whose a target without replicas is.
    fn mark_zero(&mut self, ours: bool) {
        let (status, reason, message) = match ours {
            true => ("True", "ScaledToZero", "the HPA controller scaled the workload to zero"),
            false => ("False", "NotScaledToZero", "the HPA controller did not scale the workload to zero"),
        };
        self.set(SCALED_TO_ZERO, status, reason, message.to_owned());
    }

    fn say(&mut self, tone: Tone, reason: &'static str, message: String) {
        self.said.push((tone, reason, message));
    }

    fn wish(
        &mut self,
        scaler: &Value,
        spec: &Spec,
        scale: &Scale,
        sight: &Sight,
        memory: &mut Memory,
    ) -> Wish {
        let (now, least, most) = (scale.replicas, spec.min_replicas.unwrap_or(1), spec.max_replicas);
        let metrics = items(scaler, &["status", "currentMetrics"]).to_vec();
        let from_outside = |metric: &Value| matches!(text(metric, &["type"]), "Object" | "External");
        let asleep = now == 0 && self.is(SCALED_TO_ZERO);
        let comes_back = asleep && (least != 0 || spec.metrics.iter().any(from_outside));
        if now == 0 && !comes_back {
            let message = "scaling is disabled since the replica count of the target is zero".to_owned();
            self.set("ScalingActive", "False", "ScalingDisabled", message);
            return Wish { replicas: Some(0), reason: String::new(), metrics };
        }
        if now > most {
            let reason = "Current number of replicas above Spec.MaxReplicas".to_owned();
            return Wish { replicas: Some(most), reason, metrics };
        }
        if now < least && now > 0 {
            return Wish { replicas: Some(least), reason: BELOW.to_owned(), metrics };
        }
        let (asked, metrics) = self.measure(scaler, spec, scale, sight);
        let (wished, because) = match asked {
            Some((0, _)) if sight.wanted => (1, WANTED.to_owned()),
            Some((wished, metric)) => (wished, format!("{metric} above target")),
            None if sight.wanted => (now.max(1), WANTED.to_owned()),
            None if now < least => (least, BELOW.to_owned()),
            None => return Wish { replicas: None, reason: String::new(), metrics },
        };
        let reason = match wished.cmp(&now) {
            std::cmp::Ordering::Greater => because,
            std::cmp::Ordering::Less => "All metrics below target".to_owned(),
            std::cmp::Ordering::Equal => String::new(),
        };
        let range = Range { now, least, most };
        let paced = memory.pace(wished, range, spec.behavior.as_ref(), self.now);
        self.set("AbleToScale", "True", paced.able.0, paced.able.1.to_owned());
        let (limited, (why, message)) = paced.limited;
        self.set("ScalingLimited", if limited { "True" } else { "False" }, why, message.to_owned());
        if asleep && paced.replicas < least {
            return Wish { replicas: Some(least), reason: BELOW.to_owned(), metrics };
        }
        Wish { replicas: Some(paced.replicas), reason, metrics }
    }

    /// What all metrics together ask for, with the name of the one that asks for most, and how they are. Nothing if
    /// too little is known: with a metric missing there may be more replicas, not fewer.
    fn measure(
        &mut self,
        scaler: &Value,
        spec: &Spec,
        scale: &Scale,
        sight: &Sight,
    ) -> (Option<(i64, String)>, Vec<Value>) {
        if let Some((reason, message)) = unmeasurable(scale, sight, meta::namespace(scaler)) {
            self.say(Tone::Warning, reason, message.1);
            let reason = if reason == "SelectorRequired" { "InvalidSelector" } else { reason };
            self.set("ScalingActive", "False", reason, message.0);
            return (None, Vec::new());
        }
        let load = Load {
            replicas: scale.replicas,
            present: scale.present,
            pods: &sight.pods,
            samples: &sight.samples,
            tolerance: Tolerance::of(spec.behavior.as_ref()),
            namespace: meta::namespace(scaler),
            now: self.now,
        };
        let metrics = spec.metrics.iter().enumerate();
        let reading = |i| sight.readings.get(i).unwrap_or(&Reading::Usage);
        let answers: Vec<Result<Proposal, Silence>> =
            metrics.map(|(i, metric)| measure::propose(metric, reading(i), &load)).collect();
        let unknown = || json!({"type": ""});
        let metrics =
            answers.iter().map(|answer| answer.as_ref().map_or_else(|_| unknown(), |p| p.status.clone()));
        let metrics: Vec<Value> = metrics.collect();
        // The first of those that ask for most gives its name.
        let most = answers.iter().flatten().rev().max_by_key(|proposal| proposal.replicas);
        let silent: Vec<&Silence> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        for one in &silent {
            self.say(Tone::Warning, one.reason, one.message.clone());
        }
        let known = most.filter(|most| silent.is_empty() || most.replicas >= scale.replicas);
        if let Some(first) = silent.first() {
            let message = format!(
                "invalid metrics ({} invalid out of {}), first error is: {}",
                silent.len(),
                spec.metrics.len(),
                first.summary
            );
            self.say(Tone::Warning, "FailedComputeMetricsReplicas", message);
            if known.is_none() {
                let message = format!("the HPA was unable to compute the replica count: {}", first.message);
                self.set("ScalingActive", "False", first.reason, message);
            }
        }
        if let Some(most) = known {
            let message =
                format!("the HPA was able to successfully calculate a replica count from {}", most.name);
            self.set("ScalingActive", "True", "ValidMetricFound", message);
        }
        (known.map(|most| (most.replicas, most.name.clone())), metrics)
    }
}

/// Why the target's Pods cannot be told from others': the reason, and what the condition and the Event say.
fn unmeasurable(scale: &Scale, sight: &Sight, namespace: &str) -> Option<(&'static str, (String, String))> {
    if scale.selector.is_empty() {
        let said = "the HPA target's scale is missing a selector".to_owned();
        return Some(("SelectorRequired", (said, "selector is required".to_owned())));
    }
    if let Err(why) = edge_api::selector::LabelSelector::parse(&scale.selector) {
        let said = format!("couldn't convert selector into a corresponding internal selector object: {why}");
        return Some(("InvalidSelector", (said.clone(), said)));
    }
    if !sight.rivals.is_empty() {
        let names: Vec<String> = sight.rivals.iter().map(|name| format!("{namespace}/{name}")).collect();
        let said = format!(
            "pods by selector {} are controlled by multiple HPAs: [{}]",
            scale.selector,
            names.join(" ")
        );
        return Some(("AmbiguousSelector", (said.clone(), said)));
    }
    None
}
