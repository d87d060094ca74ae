//! Which standard counts in a namespace, from its labels.

use std::fmt;

use edge_api::error::FieldError;

/// The prefix of the labels.
const PREFIX: &str = "pod-security.kubernetes.io";

/// A standard. In order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Everything is allowed.
    Privileged,
    /// Nothing that gives a Pod the host.
    Baseline,
    /// What is known to be good.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Level> {
        match text {
            "privileged" => Some(Level::Privileged),
            "baseline" => Some(Level::Baseline),
            "restricted" => Some(Level::Restricted),
            _ => None,
        }
    }
}

/// A standard as it was in a version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelVersion {
    /// The standard.
    pub level: Level,
    /// The minor version; none is the latest.
    pub version: Option<u32>,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// What counts in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// What is refused.
    pub enforce: LevelVersion,
    /// What the audit log is told of.
    pub audit: LevelVersion,
    /// What is warned of.
    pub warn: LevelVersion,
}

impl Policy {
    /// The policy of the labels that a function finds, and what is wrong with them. What cannot be read counts as the
    /// strictest when enforced and as nothing when warned of.
    pub(super) fn of<'a>(label: impl Fn(&str) -> Option<&'a str>) -> (Policy, Vec<FieldError>) {
        let mut errors = Vec::new();
        let mut mode = |mode: &str, fallback: Level| {
            let (level, broken) = read_level(label(&format!("{PREFIX}/{mode}")), mode, &mut errors);
            let version = read_version(label(&format!("{PREFIX}/{mode}-version")), mode, &mut errors);
            (if broken { Some(fallback) } else { level }, broken, version)
        };
        let (enforce, enforce_broken, enforce_version) = mode("enforce", Level::Restricted);
        let (audit, _, audit_version) = mode("audit", Level::Privileged);
        let (warn, _, warn_version) = mode("warn", Level::Privileged);
        let enforced = LevelVersion {
            level: enforce.unwrap_or(Level::Privileged),
            version: enforce_version.unwrap_or(None),
        };
        let wished = |level: Option<Level>, version: Option<Option<u32>>| LevelVersion {
            level: level.unwrap_or(Level::Privileged),
            version: version.unwrap_or(None),
        };
        let audit = wished(audit, audit_version);
        let mut warned = wished(warn, warn_version);
        // Who enforces something stricter than he warns of is warned of that too, of templates for example.
        if warn.is_none() && enforce.is_some() && !enforce_broken && enforced.level > warned.level {
            warned.level = enforced.level;
            if warn_version.is_none() {
                warned.version = enforced.version;
            }
        }
        (Policy { enforce: enforced, audit, warn: warned }, errors)
    }

    /// Whether everything is allowed and nobody is told of anything.
    pub(super) fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|one| one.level == Level::Privileged)
    }
}

/// The level, if there is a label, and whether that label cannot be read.
fn read_level(text: Option<&str>, mode: &str, errors: &mut Vec<FieldError>) -> (Option<Level>, bool) {
    let Some(text) = text else { return (None, false) };
    let level = Level::parse(text);
    if level.is_none() {
        errors.push(invalid(mode, text, "must be one of privileged, baseline, restricted"));
    }
    (level, level.is_none())
}

/// The version, if there is a label; one that cannot be read is the latest.
fn read_version(text: Option<&str>, mode: &str, errors: &mut Vec<FieldError>) -> Option<Option<u32>> {
    let text = text?;
    if text == "latest" {
        return Some(None);
    }
    let digits = text.strip_prefix("v1.").filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
    let minor = digits.filter(|digits| *digits == "0" || !digits.starts_with('0'));
    let Some(minor) = minor.and_then(|minor| minor.parse().ok()) else {
        errors.push(invalid(&format!("{mode}-version"), text, "must be \"latest\" or \"v1.x\""));
        return Some(None);
    };
    Some(Some(minor))
}

fn invalid(label: &str, value: &str, why: &str) -> FieldError {
    FieldError::invalid(format!("metadata.labels[{PREFIX}/{label}]"), value, why)
}

#[cfg(test)]
mod tests {
    use super::Policy;

    fn policy(labels: &[(&str, &'static str)]) -> String {
        let label = |key: &str| {
            let short = key.strip_prefix("pod-security.kubernetes.io/").unwrap_or_default();
            labels.iter().find(|(name, _)| *name == short).map(|(_, value)| *value)
        };
        let (policy, errors) = Policy::of(label);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("{} {} {}", policy.enforce, policy.warn, errors.join("; ")).trim_end().to_owned()
    }

    #[test]
    fn labels_say_what_counts() {
        for (labels, expected) in [
            (vec![], "privileged:latest privileged:latest"),
            (vec![("enforce", "baseline")], "baseline:latest baseline:latest"),
            (vec![("enforce", "baseline"), ("enforce-version", "v1.24")], "baseline:v1.24 baseline:v1.24"),
            (
                vec![("enforce", "baseline"), ("enforce-version", "v1.24"), ("warn-version", "v1.30")],
                "baseline:v1.24 baseline:v1.30",
            ),
            (vec![("enforce", "restricted"), ("warn", "baseline")], "restricted:latest baseline:latest"),
            (vec![("warn", "restricted")], "privileged:latest restricted:latest"),
            (
                vec![("enforce", "x"), ("warn-version", "1.24")],
                "restricted:latest privileged:latest metadata.labels[pod-security.kubernetes.io/enforce]: Invalid \
                 value: \"x\": must be one of privileged, baseline, restricted; \
                 metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.24\": must be \"latest\" \
                 or \"v1.x\"",
            ),
        ] {
            assert_eq!(policy(&labels), expected, "{labels:?}");
        }
    }
}
