//! One rule of a role: what it allows, and whether it covers another.

use serde::Deserialize;

use crate::registry::authorise::action::{Access, Action};

/// Stands for everything.
const ALL: &str = "*";

/// A rule as roles hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// The API groups.
    pub api_groups: Vec<Box<str>>,
    /// Resources, or resource and subresource such as `pods/log` or `*/scale`.
    pub resources: Vec<Box<str>>,
    /// The names it is limited to; none for all.
    pub resource_names: Vec<Box<str>>,
    /// Paths without objects; a final `*` stands for the rest.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<Box<str>>,
    /// The verbs.
    pub verbs: Vec<Box<str>>,
}

impl Rule {
    /// The rules of everything, as administrators of the cluster have them.
    pub fn everything() -> [Rule; 2] {
        let all = || vec![ALL.into()];
        [
            Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
            Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
        ]
    }

    /// Whether it allows the action.
    pub fn allows(&self, action: &Action<'_>) -> bool {
        match action {
            Action::Objects(access) => self.allows_access(access),
            Action::Path { verb, path } => {
                has(&self.verbs, verb) && self.non_resource_urls.iter().any(|url| reaches(url, path))
            }
        }
    }

    fn allows_access(&self, access: &Access<'_>) -> bool {
        has(&self.verbs, access.verb)
            && has(&self.api_groups, access.group)
            && self.resources.iter().any(|resource| names(resource, access))
            && (self.resource_names.is_empty() || holds(&self.resource_names, access.name))
    }

    /// Whether it allows all that `part` does, which is a [`Rule::parts`] of another.
    pub fn covers(&self, part: &Rule) -> bool {
        let all_of = |mine: &[Box<str>], theirs: &[Box<str>]| theirs.iter().all(|one| has(mine, one));
        let resource = |one: &str| {
            let below = one.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
            has(&self.resources, one) || below.is_some_and(|below| holds(&self.resources, &below))
        };
        let url = |one: &str| self.non_resource_urls.iter().any(|url| reaches(url, one));
        let unlimited = self.resource_names.is_empty();
        all_of(&self.verbs, &part.verbs)
            && all_of(&self.api_groups, &part.api_groups)
            && part.resources.iter().all(|one| resource(one))
            && part.non_resource_urls.iter().all(|one| url(one))
            && (unlimited
                || !part.resource_names.is_empty()
                    && part.resource_names.iter().all(|one| holds(&self.resource_names, one)))
    }

    /// How many parts it has.
    pub fn count_parts(&self) -> usize {
        let objects = self.api_groups.len().saturating_mul(self.resources.len());
        let named = objects.saturating_mul(self.resource_names.len().max(1));
        named.saturating_add(self.non_resource_urls.len()).saturating_mul(self.verbs.len())
    }

    /// The rule taken apart: one verb on one resource, with at most one name, or on one path.
    pub fn parts(&self) -> Vec<Rule> {
        let one = |text: &str| vec![Box::from(text)];
        let mut parts = Vec::with_capacity(self.count_parts());
        let names: Vec<Vec<Box<str>>> = match self.resource_names.as_slice() {
            [] => vec![Vec::new()],
            names => names.iter().map(|name| one(name)).collect(),
        };
        for verb in &self.verbs {
            let verbs = || one(verb);
            for (group, resource) in pairs(&self.api_groups, &self.resources) {
                parts.extend(names.iter().map(|names| Rule {
                    verbs: verbs(),
                    api_groups: one(group),
                    resources: one(resource),
                    resource_names: names.clone(),
                    ..Rule::default()
                }));
            }
            parts.extend(self.non_resource_urls.iter().map(|url| Rule {
                verbs: verbs(),
                non_resource_urls: one(url),
                ..Rule::default()
            }));
        }
        parts
    }
}

fn pairs<'a>(these: &'a [Box<str>], those: &'a [Box<str>]) -> impl Iterator<Item = (&'a str, &'a str)> {
    these.iter().flat_map(|one| those.iter().map(move |other| (&**one, &**other)))
}

/// As Go prints it, since clients show it to people.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown = fields.iter().filter(|(_, list)| !list.is_empty());
        let shown = shown.map(|(name, list)| format!("{name}:{}", quoted(list)));
        write!(f, "{{{}}}", shown.collect::<Vec<_>>().join(", "))
    }
}

/// A list of texts as Go prints it: `["a" "b"]`.
pub fn quoted(list: &[impl AsRef<str>]) -> String {
    let words: Vec<String> = list.iter().map(|word| format!("{:?}", word.as_ref())).collect();
    format!("[{}]", words.join(" "))
}

fn holds(list: &[Box<str>], text: &str) -> bool {
    list.iter().any(|one| **one == *text)
}

fn has(list: &[Box<str>], text: &str) -> bool {
    list.iter().any(|one| **one == *text || **one == *ALL)
}

/// Whether a rule's resource means the one that is asked for.
fn names(resource: &str, access: &Access<'_>) -> bool {
    resource == ALL
        || access.is_of(resource)
        || !access.subresource.is_empty() && resource.strip_prefix("*/") == Some(access.subresource)
}

/// Whether a rule's path means the one that is asked for.
fn reaches(url: &str, path: &str) -> bool {
    url == path || url.ends_with('*') && path.starts_with(url.trim_end_matches('*'))
}

#[cfg(test)]
mod tests {
    use super::{Access, Action, Rule};

    fn list(text: &str) -> Vec<Box<str>> {
        text.split_whitespace().map(|word| word.trim_matches('_').into()).collect()
    }

    /// Verbs, groups (`_` is core), resources, names.
    fn rule(verbs: &str, groups: &str, resources: &str, names: &str) -> Rule {
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            ..Rule::default()
        }
    }

    fn paths(verbs: &str, urls: &str) -> Rule {
        Rule { verbs: list(verbs), non_resource_urls: list(urls), ..Rule::default() }
    }

    #[test]
    fn rules_allow_what_they_name() {
        let cases = [
            (rule("get list", "_", "pods", ""), "get", "", "pods", "", "a", true),
            (rule("get list", "_", "pods", ""), "watch", "", "pods", "", "a", false),
            (rule("get", "_", "pods", ""), "get", "apps", "pods", "", "", false),
            (rule("get", "_", "pods", ""), "get", "", "pods", "log", "a", false),
            (rule("get", "_", "pods/log", ""), "get", "", "pods", "log", "a", true),
            (rule("get", "_", "pods/log", ""), "get", "", "pods", "", "a", false),
            (rule("get", "*", "*", ""), "get", "apps", "deployments", "scale", "a", true),
            (rule("get", "apps", "*/scale", ""), "get", "apps", "deployments", "scale", "a", true),
            (rule("get", "apps", "*/scale", ""), "get", "apps", "deployments", "", "a", false),
            (rule("get", "apps", "*/scale", ""), "get", "apps", "deployments", "status", "a", false),
            (rule("get", "_", "pods/*", ""), "get", "", "pods", "log", "a", false),
            (rule("*", "_", "secrets", "a b"), "delete", "", "secrets", "", "b", true),
            (rule("*", "_", "secrets", "a b"), "delete", "", "secrets", "", "c", false),
            (rule("*", "_", "secrets", "a b"), "list", "", "secrets", "", "", false),
            (paths("get", "*"), "get", "", "pods", "", "", false),
        ];
        for (rule, verb, group, resource, subresource, name, expected) in cases {
            let access = Access { verb, group, resource, subresource, namespace: "n", name };
            assert_eq!(rule.allows(&Action::Objects(access)), expected, "{rule} {access:?}");
        }
    }

    #[test]
    fn paths_are_whole_or_begin_with_what_is_before_the_star() {
        let cases = [
            (paths("get", "/healthz"), "get", "/healthz", true),
            (paths("get", "/healthz"), "get", "/healthz/ping", false),
            (paths("get", "/healthz/*"), "get", "/healthz/ping", true),
            (paths("get", "/healthz/*"), "get", "/healthz", false),
            (paths("get", "/apis*"), "get", "/apis/apps", true),
            (paths("*", "*"), "post", "/anything", true),
            (paths("get", "*"), "post", "/anything", false),
            (rule("*", "*", "*", ""), "get", "/anything", false),
        ];
        for (rule, verb, path, expected) in cases {
            assert_eq!(rule.allows(&Action::Path { verb, path }), expected, "{rule} {verb} {path}");
        }
    }

    #[test]
    fn a_rule_covers_the_parts_it_allows() {
        let cases = [
            (rule("get list", "_", "pods", ""), rule("list", "_", "pods", ""), true),
            (rule("get", "_", "pods", ""), rule("get", "_", "pods/log", ""), false),
            (rule("get", "_", "*/log", ""), rule("get", "_", "pods/log", ""), true),
            (rule("get", "_", "pods", "a"), rule("get", "_", "pods", "a"), true),
            (rule("get", "_", "pods", "a"), rule("get", "_", "pods", ""), false),
            (rule("get", "_", "pods", ""), rule("get", "_", "pods", "a"), true),
            (rule("*", "*", "*", ""), rule("*", "*", "*", ""), true),
            (rule("get", "*", "*", ""), rule("*", "_", "pods", ""), false),
            (paths("get", "/a/*"), paths("get", "/a/b"), true),
            (paths("get", "/a"), paths("get", "/a/*"), false),
            (rule("*", "*", "*", ""), paths("get", "/a"), false),
        ];
        for (held, wished, expected) in cases {
            assert_eq!(
                wished.parts().iter().all(|part| held.covers(part)),
                expected,
                "{held} covers {wished}"
            );
        }
    }

    #[test]
    fn a_rule_is_the_sum_of_its_parts() {
        let whole = rule("get list", "_ apps", "pods secrets jobs", "a b");
        assert_eq!((whole.parts().len(), whole.count_parts()), (24, 24));
        let part = whole.parts().get(1).map(ToString::to_string);
        let expected = "{APIGroups:[\"\"], Resources:[\"pods\"], ResourceNames:[\"b\"], Verbs:[\"get\"]}";
        assert_eq!(part.as_deref(), Some(expected));
        let urls = paths("get post", "/a /b");
        assert_eq!((urls.parts().len(), urls.count_parts()), (4, 4));
    }
}
