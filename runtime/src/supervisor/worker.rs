//! One Pod's task: feeds its machine with what happens and carries out what it answers.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use edge_api::kinds::pod::{Pod, PodStatus, RESIZE_IN_PROGRESS, RESIZE_PENDING};
use edge_api::meta::Condition;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::log::pod_directory;
use crate::supervisor::context::{Context, Mail};
use crate::supervisor::host::Host;
use crate::supervisor::machine::{Effect, Event, Machine, PodRecord, Tale};
use crate::supervisor::status::{Addresses, status};
use crate::supervisor::{crew, drain, prepare, run};

/// What is kept of a Pod beside its volumes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    ip: Option<IpAddr>,
    #[serde(flatten)]
    record: PodRecord,
}

/// The status that the API has, or will have when it is told.
enum Reported {
    /// The Pod as the API has it says the same: kept once.
    Seen(Arc<Pod>),
    /// On its way there.
    Sent(Box<PodStatus>),
}

impl Deref for Reported {
    type Target = PodStatus;

    fn deref(&self) -> &PodStatus {
        match self {
            Reported::Seen(pod) => &pod.status,
            Reported::Sent(status) => status,
        }
    }
}

impl Reported {
    /// Takes the Pod as the API has it now.
    fn see(&mut self, pod: &Arc<Pod>) {
        if same(self, &pod.status, 0) {
            *self = Reported::Seen(pod.clone());
        }
    }
}

/// A Pod's task in the making.
pub struct Worker {
    context: Arc<Context>,
    machine: Machine,
    inbox: mpsc::UnboundedReceiver<Mail>,
    tasks: JoinSet<()>,
    starting: Vec<Option<AbortHandle>>,
    fetching: Vec<Option<AbortHandle>>,
    reported: Reported,
    /// Conditions of a resize that there were, which have to be taken back when that is done.
    retracts: Vec<&'static str>,
    /// Rings when other Pods have less than before.
    freed: watch::Receiver<u64>,
    /// Tells whether the record on disk is still right.
    kept: u64,
}

impl Worker {
    /// A worker for a Pod that is new here, or known from an earlier life of the node.
    pub fn new(
        host: Arc<Host>,
        pod: Arc<Pod>,
        inbox: mpsc::UnboundedReceiver<Mail>,
        mail: mpsc::UnboundedSender<Mail>,
    ) -> Worker {
        let bytes = fs::read(record_path(&host, &pod)).unwrap_or_default();
        let kept: Option<Kept> = serde_json::from_slice(&bytes).ok();
        let now = host.now();
        let context = Arc::new(Context::new(host, pod.clone(), mail));
        if let Some(ip) = kept.as_ref().and_then(|kept| kept.ip)
            && context.host.addresses.lock().keep(ip, &context.name.uid)
        {
            let _ = context.ip.set(ip);
        }
        let machine = Machine::new(pod.clone(), kept.map(|kept| kept.record), now);
        let count = machine.slots().len();
        let allocation = &context.host.allocation;
        if !machine.is_over() {
            allocation.hold(&context.name.uid, machine.allocated());
        }
        let context_freed = allocation.changes();
        Worker {
            context,
            machine,
            inbox,
            tasks: JoinSet::new(),
            starting: (0..count).map(|_| None).collect(),
            fetching: (0..count).map(|_| None).collect(),
            reported: Reported::Seen(pod),
            retracts: Vec::new(),
            freed: context_freed,
            kept: mark(&bytes),
        }
    }

    /// What the Pod's tasks share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Runs until the Pod is gone from this node.
    pub async fn run(mut self) {
        self.step(Event::Changed(self.machine.pod().clone()));
        while !self.machine.is_released() {
            let wake = self.machine.wake_at().map(|at| self.context.host.epoch + at);
            tokio::select! {
                mail = self.inbox.recv() => match mail {
                    None => return,
                    Some(Mail::Report(pod)) => {
                        self.reported = Reported::Seen(pod);
                        self.report();
                    }
                    Some(Mail::Event(event)) => {
                        if let Event::Changed(pod) = &*event {
                            self.context.see(pod.clone());
                            self.reported.see(pod);
                            self.starting.resize_with(crew::of(pod).count(), || None);
                            self.fetching.resize_with(crew::of(pod).count(), || None);
                        }
                        if let Event::Image(index, _) = &*event {
                            self.fetching[*index] = None;
                        }
                        self.step(*event);
                    }
                },
                () = until(wake) => self.step(Event::Tick),
                Ok(()) = self.freed.changed(), if self.machine.is_deferred() => self.step(Event::Freed),
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn step(&mut self, event: Event) {
        let effects = self.machine.step(event, self.context.host.now());
        if self.machine.is_over() {
            self.context.host.allocation.release(&self.context.name.uid);
        }
        // The status first: a deletion is sent together with the last one.
        self.report();
        for effect in effects {
            self.execute(effect);
        }
    }

    fn execute(&mut self, effect: Effect) {
        let context = self.context.clone();
        match effect {
            Effect::Prepare => drop(self.tasks.spawn(prepare::run(context))),
            Effect::Fetch(index) => {
                let again = self.machine.slots()[index].ran_wanted();
                let container = self.machine.container(index).into_owned();
                let fetching = self.tasks.spawn(run::fetch(context, index, container, again));
                // One that is still under way is for what began before the Pod began anew.
                if let Some(before) = self.fetching[index].replace(fetching) {
                    before.abort();
                }
            }
            Effect::Start(index) => {
                let number = self.machine.slots()[index].restarts;
                let container = Arc::new(self.machine.container(index).into_owned());
                self.starting[index] = Some(self.tasks.spawn(run::start(context, index, container, number)));
            }
            Effect::Kill(index) => {
                run::kill(&context, index);
            }
            Effect::Abort(index) => {
                if !run::kill(&context, index)
                    && let Some(starting) = self.starting[index].take()
                {
                    starting.abort();
                }
            }
            Effect::Stop { container, by } => drop(self.tasks.spawn(drain::stop(context, container, by))),
            Effect::Ask(wanted) => {
                self.freed.mark_unchanged();
                let priority = self.machine.pod().spec.priority.unwrap_or(0);
                let answer = context.host.allocation.ask(&context.name.uid, priority, wanted);
                context.send(Event::Granted(answer));
            }
            Effect::Resize(index) => {
                let container = self.machine.container(index).into_owned();
                let result = run::resize(&context, index, &container);
                context.send(Event::Resized(index, container.resources, result));
            }
            Effect::Drain { by, hooks } => drop(self.tasks.spawn(drain::run(context, by, hooks))),
            Effect::Tell(tale) => self.tell(&tale),
            Effect::Remember => self.remember(),
            Effect::Delete => context.host.statuses.delete(&context.name),
            Effect::Release => self.release(),
        }
    }

    fn tell(&self, tale: &Tale) {
        let container = tale.container.map(|index| self.machine.container(index));
        self.context.tell(container.as_deref(), tale.warning, tale.reason, &tale.message);
    }

    fn report(&mut self) {
        if self.machine.is_released() {
            return;
        }
        let addresses = Addresses { pod: self.context.ip.get().copied(), host: self.context.host.address };
        let mut status = status(&self.machine, addresses, &self.reported.conditions, self.context.host.now());
        // What others keep there is not ours.
        status.qos_class.clone_from(&self.reported.qos_class);
        let ours =
            |old: &Condition| is_resize(old) || status.conditions.iter().any(|mine| mine.type_ == old.type_);
        let foreign: Vec<_> = self.reported.conditions.iter().filter(|old| !ours(old)).cloned().collect();
        if !same(&status, &self.reported, foreign.len()) {
            let pod = &self.context.name;
            for type_ in RESIZES {
                let is_it = |condition: &Condition| condition.type_ == type_;
                if self.reported.conditions.iter().any(is_it) && !self.retracts.contains(&type_) {
                    self.retracts.push(type_);
                }
            }
            let there = |type_: &str| status.conditions.iter().any(|condition| condition.type_ == type_);
            let gone: Vec<&str> = self.retracts.iter().copied().filter(|type_| !there(type_)).collect();
            self.context.host.statuses.put(pod, &status, &gone);
            status.conditions.extend(foreign);
            self.reported = Reported::Sent(Box::new(status));
        }
    }

    fn remember(&mut self) {
        let kept = Kept { ip: self.context.ip.get().copied(), record: self.machine.record() };
        let bytes = serde_json::to_vec(&kept).expect("a record has only string keys");
        let mark = mark(&bytes);
        if mark == self.kept {
            return;
        }
        let path = record_path(&self.context.host, self.machine.pod());
        let part = path.with_extension("part");
        let directory = self.context.host.volumes.pod(&self.context.name.uid);
        let written = fs::create_dir_all(directory)
            .and_then(|()| fs::write(&part, &bytes))
            .and_then(|()| fs::rename(&part, path));
        match written {
            Ok(()) => self.kept = mark,
            Err(error) => {
                let name = &self.context.name;
                tracing::warn!(namespace = name.namespace, name = name.name, %error, "a Pod's record cannot be kept");
            }
        }
    }

    fn release(&mut self) {
        self.tasks.abort_all();
        let context = &self.context;
        if let Some(net) = context.net.get() {
            net.close();
        }
        let name = &context.name;
        context.host.addresses.lock().free(&name.uid);
        context.host.logs.remove(&pod_directory(&name.namespace, &name.name, &name.uid));
        if let Err(error) = context.host.volumes.remove(&name.uid) {
            tracing::warn!(namespace = name.namespace, name = name.name, %error, "a Pod's volumes cannot be removed");
        }
    }
}

fn mark(record: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(record);
    hasher.finish()
}

fn record_path(host: &Host, pod: &Pod) -> std::path::PathBuf {
    host.volumes.pod(&pod.metadata.uid).join("record.json")
}

/// The conditions that a Pod has only while it is resized.
const RESIZES: [&str; 2] = [RESIZE_PENDING, RESIZE_IN_PROGRESS];

fn is_resize(condition: &Condition) -> bool {
    RESIZES.contains(&condition.type_.as_str())
}

/// Whether a status says nothing new.
fn same(new: &PodStatus, old: &PodStatus, foreign: usize) -> bool {
    let conditions = new.conditions.len() + foreign == old.conditions.len()
        && new.conditions.iter().all(|condition| old.conditions.contains(condition));
    let plain = |status: &PodStatus| PodStatus { conditions: Vec::new(), ..status.clone() };
    conditions && plain(new) == plain(old)
}

async fn until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
