//! The store of a story with everything that watches it: the truth, the rules, the trace.
//!
//! Nothing is written but by [`Cluster::commit`], one write at a time, and every write has an author.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::mirror::{Detail, Object, Pod, Settings, World};
use crate::simulation::clock::{self, Clock};
use crate::simulation::rule::{Author, Broken, PodStep, Rule, Step, is_active};
use crate::simulation::rules;
use crate::simulation::trace::Trace;
use crate::store::{Change, Hand, Key, Store, Stored, Verb};

/// What a node is told of a Pod.
#[derive(Clone, Debug)]
pub enum News {
    /// It is like this now.
    Is(Arc<Object<Pod>>),
    /// It is gone.
    Gone(Arc<Object<Pod>>),
}

impl News {
    /// The Pod, as it is or was last.
    pub fn pod(&self) -> &Arc<Object<Pod>> {
        match self {
            News::Is(pod) | News::Gone(pod) => pod,
        }
    }
}

/// See the module.
pub struct Cluster {
    /// The store, for whoever reads or asks for a write.
    pub store: Store,
    /// What is in the store, at this very moment.
    pub truth: World,
    /// What happened.
    pub trace: Trace,
    /// What time it is.
    pub clock: Clock,
    /// Changes of bound Pods that their nodes have not been told of.
    pub news: VecDeque<News>,
    /// When anything but a Lease changed last.
    pub changed: edge_api::time::Timestamp,
    /// How many changes there were, Leases apart.
    pub changes: u64,
    /// How many there were when the control plane was last quiet.
    quieted: u64,
    hand: Hand<Author>,
    rules: Vec<Box<dyn Rule>>,
    broken: Option<Broken>,
}

impl Cluster {
    /// A cluster of these objects.
    pub fn new(objects: Vec<(Key, Stored)>) -> Cluster {
        let clock = Clock::new();
        let mut truth = World::new(Settings::default());
        truth.now = clock::present();
        truth.reset(0, objects.iter().map(|(key, stored)| (key.text(), stored.revision.0, &stored.value)));
        let (store, hand) = Store::by_hand(objects);
        Cluster {
            store,
            truth,
            trace: Trace::new(),
            changed: clock.now(),
            clock,
            news: VecDeque::new(),
            changes: 0,
            quieted: 0,
            hand,
            rules: rules::all(),
            broken: None,
        }
    }

    /// Adds a line to the trace.
    pub fn say(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.say(self.clock.age(), what);
    }

    /// A promise was broken; only the first one counts.
    pub fn fail(&mut self, rule: &'static str, what: String) {
        self.say(format_args!("BROKEN: {rule}: {what}"));
        self.broken.get_or_insert(Broken { rule, what });
    }

    /// The first promise that was broken.
    ///
    /// # Errors
    /// That promise.
    pub fn verdict(&self) -> Result<(), Broken> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// The writes asked for since the last time are this author's.
    pub fn mark(&mut self, author: Author) {
        self.hand.mark(&author);
    }

    /// How many writes wait.
    pub fn waiting(&self) -> usize {
        self.hand.waiting()
    }

    /// Takes the oldest write that waits; false if none does.
    pub fn commit(&mut self) -> bool {
        let Some((author, change)) = self.hand.commit() else { return false };
        if let Some(change) = change {
            self.see(author, &change);
        }
        true
    }

    /// Loses the writes that wait.
    pub fn lose(&mut self) {
        self.hand.lose();
    }

    /// Carries out what somebody asks for, and with it whatever waits already.
    pub fn ask<F: Future>(&mut self, author: Author, request: F) -> F::Output {
        let mut request = pin!(request);
        loop {
            if let Poll::Ready(answer) = poll(request.as_mut()) {
                return answer;
            }
            self.mark(author);
            assert!(self.commit(), "a request waits for something that is no write");
            while self.commit() {}
        }
    }

    fn see(&mut self, author: Author, change: &Change) {
        self.truth.now = clock::present();
        let Some(delta) =
            self.truth.apply(change.key.text().clone(), change.revision.0, change.after.as_ref())
        else {
            return;
        };
        if matches!(delta.detail, Detail::Lease(_)) {
            return;
        }
        self.changes += 1;
        self.changed = self.clock.now();
        let step = Step { author, delta: &delta, truth: &self.truth };
        let verb = match change.verb {
            Verb::Create => "+",
            Verb::Update => "~",
            Verb::Delete => "-",
        };
        let (age, about) = (self.clock.age(), step.pod().map(describe).unwrap_or_else(|| summary(&delta)));
        let line = format_args!(
            "{} {verb} {} {} {about} by {author:?}",
            change.revision, delta.kind.kind, delta.key
        );
        self.trace.say(age, line);
        let mut found = Vec::new();
        for rule in &mut self.rules {
            if let Err(what) = rule.see(&step) {
                found.push((rule.promise(), what));
            }
        }
        if let Detail::Pod((before, after)) = &delta.detail {
            match (before, after) {
                (_, Some(pod)) if pod.body.node.is_some() => self.news.push_back(News::Is(pod.clone())),
                (Some(pod), None) if pod.body.node.is_some() => self.news.push_back(News::Gone(pod.clone())),
                _ => {}
            }
        }
        for (rule, what) in found {
            self.fail(rule, what);
        }
    }

    /// The control plane knows everything and has nothing under way.
    pub fn quiet(&mut self) {
        if std::mem::replace(&mut self.quieted, self.changes) == self.changes {
            return;
        }
        self.rules.iter_mut().for_each(|rule| rule.quiet(&self.truth));
    }

    /// What is not yet as it was declared.
    ///
    /// # Errors
    /// The first such thing, with the promise it is about.
    pub fn settled(&self) -> Result<(), Broken> {
        for rule in &self.rules {
            rule.settled(&self.truth).map_err(|what| Broken { rule: rule.promise(), what })?;
        }
        Ok(())
    }

    /// For how long nothing has changed.
    pub fn silence(&self) -> Duration {
        self.clock.now().since(self.changed)
    }
}

fn describe(change: PodStep<'_>) -> String {
    let pod = change.pod();
    let node = pod.body.node.as_deref().unwrap_or("nowhere");
    let ready = if pod.body.ready { " ready" } else { "" };
    let going = if is_active(pod) { "" } else { " going" };
    format!("{:?}{ready}{going} on {node}", pod.body.phase)
}

/// The numbers of a workload, where there are any.
fn summary(delta: &crate::mirror::Delta) -> String {
    match &delta.detail {
        Detail::Deployment((_, Some(one))) => {
            let paused = if one.body.paused { " paused" } else { "" };
            format!(
                "wants {}{paused}, generation {} seen {}",
                one.body.replicas, one.meta.generation, one.body.observed_generation
            )
        }
        Detail::ReplicaSet((_, Some(one))) => {
            let body = &one.body;
            format!(
                "wants {} has {} available {}, generation {} seen {}",
                body.replicas, body.current, body.available, one.meta.generation, body.observed_generation
            )
        }
        Detail::StatefulSet((_, Some(one))) => format!("wants {}: {}", one.body.replicas, one.body.status),
        Detail::DaemonSet((_, Some(one))) => format!("{}", one.body.status),
        Detail::Job((_, Some(one))) => format!("{}", one.body.status),
        Detail::Node((_, Some(one))) => {
            let ready = one.body.ready().map_or("", |ready| &ready.status);
            let taints: Vec<&str> = one.body.taints.iter().map(|taint| &*taint.key).collect();
            format!("ready {ready}, taints {taints:?}")
        }
        _ => String::new(),
    }
}

/// Polls a future that needs no waking.
pub fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
