//! How the rollouts of a workload protect themselves: what its annotations under `edgectl.dev/` mean and may say.
//!
//! The checks of kinds and the controllers both read them here, so that they agree. What the checks refuse means
//! nothing to the controllers. Nothing here knows what a rollout is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::cel;
use crate::error::FieldError;
use crate::name;
use crate::validate::{At, Errors};

/// What makes a Deployment go back to its last complete template: `progress-deadline`, `error-rate` or both, with
/// commas between.
pub const ROLLBACK_ON: &str = "edgectl.dev/rollback-on";
/// The share of requests that new Pods may fail, 0 to 1; 0.05 if absent.
pub const MAX_ERROR_RATE: &str = "edgectl.dev/max-error-rate";
/// The time over which that share is taken, such as `60s`, which is meant if absent.
pub const ERROR_WINDOW: &str = "edgectl.dev/error-window";
/// Which ConfigMaps and Secrets restart the Pods when they change: `configmap/NAME`, `secret/NAME` with commas
/// between, or `all` for those that the Pod template names.
pub const RESTART_ON_CHANGE: &str = "edgectl.dev/restart-on-change";

/// What the controllers note on a Deployment that asks: the hash of the template whose rollout was last complete …
pub const COMPLETE_TEMPLATE: &str = "edgectl.dev/complete-template";
/// … of the one that was rolled back …
pub const REFUSED_TEMPLATE: &str = "edgectl.dev/refused-template";
/// … and of the one that it was rolled back to. The next other template clears both.
pub const RESTORED_TEMPLATE: &str = "edgectl.dev/restored-template";
/// The condition of a Deployment that says that Pods of the present template fail too many requests.
pub const REQUEST_FAILURE: &str = "RequestFailure";
/// Its reason.
pub const ERROR_RATE_EXCEEDED: &str = "ErrorRateExceeded";
/// The digests of watched objects, as `configmap/NAME=DIGEST,…`: of those that Pods of the template have. In the
/// metadata of the workload as long as they have what was there when it was asked for.
pub const CONFIG_DIGEST: &str = "edgectl.dev/config-digest";

const PROGRESS_DEADLINE: &str = "progress-deadline";
const ERROR_RATE: &str = "error-rate";
const ALL: &str = "all";
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(3600);

type Annotations = BTreeMap<String, String>;

/// What makes a Deployment go back; nothing unless it asks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Guard {
    /// A rollout that makes no progress in time.
    pub progress_deadline: bool,
    /// New Pods that fail requests.
    pub error_rate: Option<ErrorRate>,
}

/// How many requests new Pods may fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRate {
    /// The share of them, 0 to 1.
    pub most: f64,
    /// The time over which it is taken.
    pub window: Duration,
}

impl Guard {
    /// What a Deployment with these annotations asks for.
    pub fn of(annotations: &Annotations) -> Guard {
        let text = |key: &str| annotations.get(key).map(String::as_str);
        let asks = |what: &str| text(ROLLBACK_ON).is_some_and(|list| parts(list).any(|part| part == what));
        let error_rate = asks(ERROR_RATE).then(|| ErrorRate {
            most: text(MAX_ERROR_RATE).and_then(share).unwrap_or(0.05),
            window: text(ERROR_WINDOW).and_then(window).unwrap_or(Duration::from_secs(60)),
        });
        Guard { progress_deadline: asks(PROGRESS_DEADLINE), error_rate }
    }

    /// Whether it asks for anything.
    pub fn is_set(&self) -> bool {
        self.progress_deadline || self.error_rate.is_some()
    }
}

/// A ConfigMap or Secret of the workload's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A ConfigMap by its name.
    ConfigMap(String),
    /// A Secret by its name.
    Secret(String),
}

impl Source {
    /// Reads `configmap/NAME` or `secret/NAME`.
    pub fn parse(text: &str) -> Option<Source> {
        match text.split_once('/')? {
            ("configmap", name) => Some(Source::ConfigMap(name.to_owned())),
            ("secret", name) => Some(Source::Secret(name.to_owned())),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Source::ConfigMap(name) | Source::Secret(name) => name,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::ConfigMap(name) => write!(f, "configmap/{name}"),
            Source::Secret(name) => write!(f, "secret/{name}"),
        }
    }
}

/// What restarts the Pods of a workload when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Everything that the Pod template names.
    pub template: bool,
    /// These.
    pub named: BTreeSet<Source>,
}

impl Watched {
    /// What a workload with these annotations asks for; none if it does not ask.
    pub fn of(annotations: &Annotations) -> Option<Watched> {
        let list = annotations.get(RESTART_ON_CHANGE)?;
        let template = parts(list).any(|part| part == ALL);
        Some(Watched { template, named: parts(list).filter_map(Source::parse).collect() })
    }
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
}

fn window(text: &str) -> Option<Duration> {
    let nanos = u64::try_from(cel::Duration::parse(text)?.0).ok()?;
    Some(Duration::from_nanos(nanos)).filter(|window| (SHORTEST..=LONGEST).contains(window))
}

/// Checks what a Deployment says about going back.
pub fn check_guard(object: &At<'_>, errors: &mut Errors) {
    if let Some(at) = annotation(object, ROLLBACK_ON) {
        for part in parts(at.text()).filter(|part| ![PROGRESS_DEADLINE, ERROR_RATE].contains(part)) {
            errors.push(FieldError::not_supported(&at.path, part, &[PROGRESS_DEADLINE, ERROR_RATE]));
        }
    }
    if let Some(at) = annotation(object, MAX_ERROR_RATE).filter(|at| share(at.text()).is_none()) {
        errors.push(FieldError::invalid(&at.path, at.text(), "must be a number between 0 and 1, inclusive"));
    }
    if let Some(at) = annotation(object, ERROR_WINDOW).filter(|at| window(at.text()).is_none()) {
        errors.push(FieldError::invalid(
            &at.path,
            at.text(),
            "must be a duration between 10s and 1h, inclusive",
        ));
    }
}

/// Checks what a workload says about restarts.
pub fn check_watched(object: &At<'_>, errors: &mut Errors) {
    let Some(at) = annotation(object, RESTART_ON_CHANGE) else { return };
    for part in parts(at.text()).filter(|part| *part != ALL) {
        match Source::parse(part) {
            None => {
                let supported = [ALL, "configmap/NAME", "secret/NAME"];
                errors.push(FieldError::not_supported(&at.path, part, &supported));
            }
            Some(source) => {
                if let Err(why) = name::dns1123_subdomain(source.name()) {
                    errors.push(FieldError::invalid(&at.path, part, &why));
                }
            }
        }
    }
}

fn annotation<'a>(object: &At<'a>, key: &str) -> Option<At<'a>> {
    let all = object.get("metadata").get("annotations");
    let value = all.value.get(key)?;
    Some(At::new(value, &format!("{}[{key}]", all.path)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotations(all: &[(&str, &str)]) -> Annotations {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_deployment_is_guarded_only_as_it_asks() {
        let rate = |most, seconds| Some(ErrorRate { most, window: Duration::from_secs(seconds) });
        let cases = [
            ("nothing", annotations(&[]), Guard::default()),
            ("a rate alone asks for nothing", annotations(&[(MAX_ERROR_RATE, "0.1")]), Guard::default()),
            (
                "the deadline",
                annotations(&[(ROLLBACK_ON, "progress-deadline")]),
                Guard { progress_deadline: true, error_rate: None },
            ),
            (
                "the error rate has defaults",
                annotations(&[(ROLLBACK_ON, "error-rate")]),
                Guard { progress_deadline: false, error_rate: rate(0.05, 60) },
            ),
            (
                "both, with figures",
                annotations(&[
                    (ROLLBACK_ON, "error-rate, progress-deadline"),
                    (MAX_ERROR_RATE, "0.5"),
                    (ERROR_WINDOW, "1m30s"),
                ]),
                Guard { progress_deadline: true, error_rate: rate(0.5, 90) },
            ),
        ];
        for (name, annotations, expected) in cases {
            assert_eq!(Guard::of(&annotations), expected, "{name}");
        }
    }

    #[test]
    fn a_workload_watches_what_it_names() {
        let read = |list: &str| Watched::of(&annotations(&[(RESTART_ON_CHANGE, list)]));
        let both = [Source::ConfigMap("a".to_owned()), Source::Secret("b".to_owned())];
        assert_eq!(Watched::of(&annotations(&[])), None);
        assert_eq!(read("all"), Some(Watched { template: true, named: BTreeSet::new() }));
        let named = both.clone().into();
        assert_eq!(read("secret/b, configmap/a"), Some(Watched { template: false, named }));
        assert_eq!(both.map(|source| source.to_string()), ["configmap/a", "secret/b"]);
    }

    #[test]
    fn what_is_no_wish_is_refused() {
        let cases = [
            (ROLLBACK_ON, "progress-deadline", None),
            (
                ROLLBACK_ON,
                "progress-deadline,luck",
                Some("Unsupported value: \"luck\": supported values: \"error-rate\", \"progress-deadline\""),
            ),
            (
                ROLLBACK_ON,
                "",
                Some("Unsupported value: \"\": supported values: \"error-rate\", \"progress-deadline\""),
            ),
            (MAX_ERROR_RATE, "0", None),
            (
                MAX_ERROR_RATE,
                "5%",
                Some("Invalid value: \"5%\": must be a number between 0 and 1, inclusive"),
            ),
            (
                MAX_ERROR_RATE,
                "NaN",
                Some("Invalid value: \"NaN\": must be a number between 0 and 1, inclusive"),
            ),
            (ERROR_WINDOW, "2m", None),
            (
                ERROR_WINDOW,
                "60",
                Some("Invalid value: \"60\": must be a duration between 10s and 1h, inclusive"),
            ),
            (
                ERROR_WINDOW,
                "1s",
                Some("Invalid value: \"1s\": must be a duration between 10s and 1h, inclusive"),
            ),
            (RESTART_ON_CHANGE, "all", None),
            (RESTART_ON_CHANGE, "configmap/a,secret/b.c", None),
            (
                RESTART_ON_CHANGE,
                "service/a",
                Some(
                    "Unsupported value: \"service/a\": supported values: \"all\", \"configmap/NAME\", \"secret/NAME\"",
                ),
            ),
        ];
        for (key, value, expected) in cases {
            let object = json!({"metadata": {"annotations": {key: value}}});
            let mut errors = Errors::new();
            check_guard(&At::root(&object), &mut errors);
            check_watched(&At::root(&object), &mut errors);
            let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let expected: Vec<String> =
                expected.iter().map(|why| format!("metadata.annotations[{key}]: {why}")).collect();
            assert_eq!(found, expected);
        }
        let object = json!({"metadata": {"annotations": {RESTART_ON_CHANGE: "secret/A_B"}}});
        let mut errors = Errors::new();
        check_watched(&At::root(&object), &mut errors);
        assert!(errors[0].to_string().contains("a lowercase RFC 1123 subdomain"), "{}", errors[0]);
    }
}
