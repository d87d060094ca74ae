//! What must hold of every change and of every end, whatever goes wrong.
//!
//! A rule sees each change of the store when it is made, and knows who made it. What a controller does it did on a
//! state that may have passed since; so rules measure against everything that was true since the control plane last
//! knew all there was to know and had nothing under way: since it was *quiet*.

use std::sync::Arc;

use serde_json::Value;

use crate::mirror::{Delta, Detail, Object, Pod, World};

/// Who makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A controller of this name.
    Controller(&'static str),
    /// A node.
    Node(usize),
    /// Whoever uses the cluster.
    User,
    /// The same, by way of an eviction.
    Eviction,
}

/// One change, just made.
pub struct Step<'a> {
    /// Who made it.
    pub author: Author,
    /// What changed.
    pub delta: &'a Delta,
    /// What is there now.
    pub truth: &'a World,
}

/// A Pod's change.
#[derive(Clone, Copy)]
pub struct PodStep<'a> {
    /// The Pod before; none if it is new.
    pub before: Option<&'a Object<Pod>>,
    /// The Pod now; none if it is gone.
    pub after: Option<&'a Object<Pod>>,
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which.
    pub rule: &'static str,
    /// How.
    pub what: String,
}

/// A promise of Kubernetes.
pub trait Rule {
    /// The promise, as a sentence.
    fn promise(&self) -> &'static str;

    /// Judges a change.
    ///
    /// # Errors
    /// How the promise was broken.
    fn see(&mut self, step: &Step<'_>) -> Result<(), String>;

    /// The control plane knows `truth` and has nothing under way.
    fn quiet(&mut self, truth: &World) {
        let _ = truth;
    }

    /// Judges the end of a story in which nothing goes wrong any more.
    ///
    /// # Errors
    /// What is not yet as it was declared.
    fn settled(&self, truth: &World) -> Result<(), String> {
        let _ = truth;
        Ok(())
    }
}

impl<'a> Step<'a> {
    /// The change, if it is a Pod's.
    pub fn pod(&self) -> Option<PodStep<'a>> {
        match &self.delta.detail {
            Detail::Pod((before, after)) => {
                Some(PodStep { before: before.as_deref(), after: after.as_deref() })
            }
            _ => None,
        }
    }

    /// Whether this controller made the change.
    pub fn is_by(&self, controller: &str) -> bool {
        matches!(self.author, Author::Controller(name) if name == controller)
    }
}

impl<'a> PodStep<'a> {
    /// The Pod, as it is or was last.
    pub fn pod(&self) -> &'a Object<Pod> {
        self.after.or(self.before).expect("a change has a side")
    }

    /// Whether it is new.
    pub fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// Whether somebody has just told it to go, or taken it away.
    pub fn is_ended(&self) -> bool {
        let going = |pod: Option<&Object<Pod>>| pod.is_none_or(|pod| pod.meta.deleting());
        self.before.is_some() && !going(self.before) && going(self.after)
    }

    /// Whether it served and does no more.
    pub fn is_lost(&self) -> bool {
        self.before.is_some_and(serves) && !self.after.is_some_and(serves)
    }

    /// Whether it serves and did not.
    pub fn is_won(&self) -> bool {
        !self.before.is_some_and(serves) && self.after.is_some_and(serves)
    }
}

/// Whether a Pod counts: not ended, not on its way out.
pub fn is_active(pod: &Object<Pod>) -> bool {
    !pod.body.finished() && !pod.meta.deleting()
}

/// Whether a Pod counts and is ready.
pub fn serves(pod: &Object<Pod>) -> bool {
    is_active(pod) && pod.body.ready
}

/// The Pods managed by the owner with this uid.
pub fn owned<'a>(truth: &'a World, uid: &str) -> Vec<&'a Arc<Object<Pod>>> {
    truth.pods.owned_by(uid).collect()
}

/// How an amount of so many or so many percent is rounded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rounded {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// An amount, or its share of `total`.
pub fn amount(value: &Value, total: i64, rounded: Rounded) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    match (percent, rounded) {
        (Some(percent), Rounded::Up) => (percent * total + 99) / 100,
        (Some(percent), Rounded::Down) => percent * total / 100,
        (None, _) => value.as_i64().unwrap_or(0),
    }
}

/// Fails unless both are the same.
///
/// # Errors
/// What is what.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, wanted: T) -> Result<(), String> {
    if is == wanted { Ok(()) } else { Err(format!("{what} is {is:?}, not {wanted:?}")) }
}
