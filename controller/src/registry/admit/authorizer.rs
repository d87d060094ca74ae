//! `authorizer` in expressions: whether who asks, or a ServiceAccount, may do something else.

use std::fmt;
use std::sync::Arc;

use edge_api::cel::{EvaluateError, Host, Value as Cel};

use crate::identity::User;
use crate::registry::admit::Request;
use crate::registry::{Access, Action, Registry};

/// A question on its way, or its answer.
#[derive(Clone)]
pub(super) struct Authorizer {
    registry: Registry,
    user: User,
    question: Question,
    own: Objects,
}

/// How far the question has come.
#[derive(Clone)]
enum Question {
    Nothing,
    Path(String),
    Group(String),
    Objects(Objects),
    Answered(Result<(bool, String), String>),
}

/// Which objects.
#[derive(Clone, Default)]
struct Objects {
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

impl Authorizer {
    /// Who asks, about nothing yet.
    pub(super) fn of(request: &Request<'_>) -> Authorizer {
        let target = &request.target;
        let own = Objects {
            group: target.kind.group.to_owned(),
            resource: target.kind.plural.to_owned(),
            subresource: target.subresource.to_owned(),
            namespace: target.namespace.to_owned(),
            name: target.name.to_owned(),
        };
        let (registry, user) = (request.registry.clone(), request.cx.user.clone());
        Authorizer { registry, user, question: Question::Nothing, own }
    }

    fn asking(&self, question: Question) -> Authorizer {
        Authorizer { question, ..self.clone() }
    }

    fn decide(&self, action: &Action<'_>) -> Authorizer {
        let decision = self.registry.decide(&self.user, action);
        let told = decision.map(|decision| (decision.is_allowed(), decision.reason(&self.user)));
        self.asking(Question::Answered(told.map_err(|error| error.message)))
    }

    fn check(&self, verb: &str) -> Option<Authorizer> {
        match &self.question {
            Question::Path(path) => Some(self.decide(&Action::Path { verb, path })),
            Question::Objects(of) => Some(self.decide(&Action::Objects(Access {
                verb,
                group: &of.group,
                resource: &of.resource,
                subresource: &of.subresource,
                namespace: &of.namespace,
                name: &of.name,
            }))),
            _ => None,
        }
    }

    fn more(&self, method: &str, words: &[&str]) -> Option<Authorizer> {
        let word = (*words.first()?).to_owned();
        match (&self.question, method, words.len()) {
            (Question::Nothing, "path", 1) => Some(self.asking(Question::Path(word))),
            (Question::Nothing, "group", 1) => Some(self.asking(Question::Group(word))),
            (Question::Nothing, "serviceAccount", 2) => {
                Some(Authorizer { user: User::service_account(&word, words[1], ""), ..self.clone() })
            }
            (Question::Group(group), "resource", 1) => Some(self.asking(Question::Objects(Objects {
                group: group.clone(),
                resource: word,
                ..Objects::default()
            }))),
            (Question::Objects(_) | Question::Path(_), "check", 1) => self.check(&word),
            (Question::Objects(objects), _, 1) => {
                let mut objects = objects.clone();
                match method {
                    "subresource" => objects.subresource = word,
                    "namespace" => objects.namespace = word,
                    "name" => objects.name = word,
                    // Nobody's rights here depend on selectors.
                    "fieldSelector" | "labelSelector" => {}
                    _ => return None,
                }
                Some(self.asking(Question::Objects(objects)))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("authorizer")
    }
}

impl<'a> Host<'a> for Authorizer {
    fn type_name(&self) -> &'static str {
        match self.question {
            Question::Nothing => "kubernetes.authorization.Authorizer",
            Question::Path(_) => "kubernetes.authorization.PathCheck",
            Question::Group(_) => "kubernetes.authorization.GroupCheck",
            Question::Objects(_) => "kubernetes.authorization.ResourceCheck",
            Question::Answered(_) => "kubernetes.authorization.Decision",
        }
    }

    fn field(&self, name: &str) -> Option<Result<Cel<'a>, EvaluateError>> {
        let own = matches!(self.question, Question::Nothing) && name == "requestResource";
        own.then(|| Ok(Cel::Host(Arc::new(self.asking(Question::Objects(self.own.clone()))))))
    }

    fn call(&self, method: &str, arguments: &[Cel<'a>]) -> Option<Result<Cel<'a>, EvaluateError>> {
        if let (Question::Answered(answer), true) = (&self.question, arguments.is_empty()) {
            let (allowed, reason) = answer.clone().unwrap_or_default();
            return Some(Ok(match method {
                "allowed" => Cel::Bool(allowed),
                "reason" => Cel::text(reason),
                "errored" => Cel::Bool(answer.is_err()),
                "error" => Cel::text(answer.clone().err().unwrap_or_default()),
                _ => return None,
            }));
        }
        let words = arguments.iter().map(|argument| match argument {
            Cel::Text(text) => Some(&**text),
            _ => None,
        });
        let words: Vec<&str> = words.collect::<Option<_>>()?;
        self.more(method, &words).map(|next| Ok(Cel::Host(Arc::new(next))))
    }
}
