//! One life of the control plane's process: the real registry, mirrors, controllers and scheduler over the story's
//! store, moved one step at a time. Dropping it is its sudden death.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};

use edge_api::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::controllers::all_controllers;
use crate::identity::Pki;
use crate::mirror::{Settings, World};
use crate::reconcile::{
    Driver, Job, Note, Outcome, Recorder, RegistryWriter, Task, Write, WriteError, Writer, carry_out,
};
use crate::registry::{self, Registry};
use crate::simulation::clock;
use crate::simulation::cluster::{Cluster, poll};
use crate::simulation::rule::Author;
use crate::store::{Change, Cursor, Revision};

/// How many plans are carried out at the same time.
const PLANS: usize = 64;
/// How many keys are looked at in one step.
const KEYS: usize = 16;
/// How many Events may wait to be written.
const NOTES: usize = 64;

/// Keys and certificates, which are no part of any story.
static PKI: LazyLock<Arc<Pki>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a test has a directory for temporary files");
    let config = crate::identity::Config {
        data_dir: directory.path().to_owned(),
        names: Vec::new(),
        addresses: Vec::new(),
        cluster_domain: "cluster.local".to_owned(),
        service_address: [10, 43, 0, 1].into(),
    };
    Arc::new(Pki::open(&config, clock::present().as_seconds()).expect("an empty directory can be filled"))
});

/// Notes that a future wants to be polled.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A plan on its way.
struct Running {
    job: Job,
    account: &'static str,
    wake_at: Option<Timestamp>,
    /// Whether it writes anything.
    writes: bool,
    bell: Arc<Bell>,
    future: Pin<Box<dyn Future<Output = (Outcome, Vec<Note>)>>>,
}

/// The real writer, and what it was refused.
struct Scribe {
    writer: RegistryWriter,
    refused: Mutex<Vec<String>>,
}

impl Writer for Scribe {
    async fn write(&self, account: &'static str, write: &Write) -> Result<(), WriteError> {
        let result = self.writer.write(account, write).await;
        if let Err(WriteError::Refused(why)) = &result {
            self.refused.lock().push(format!("{account} {} {}: {why}", write.kind.kind, write.key));
        }
        result
    }

    fn head(&self) -> u64 {
        self.writer.head()
    }
}

/// Whoever writes Events.
struct Telling {
    notes: mpsc::Sender<(&'static str, Note)>,
    bell: Arc<Bell>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// What the process can do next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Follow,
    Plan,
    Proceed(usize),
    Tell,
    Commit,
}

/// See the module.
pub struct Process {
    /// Its API.
    pub registry: Registry,
    driver: Driver,
    scribe: Arc<Scribe>,
    cursor: Cursor,
    pulled: Revision,
    unseen: VecDeque<Arc<Change>>,
    running: Vec<Running>,
    telling: Option<Telling>,
    /// Whether there may be keys to plan.
    planning: bool,
}

impl Process {
    /// A process that begins; with Events or without, which cost much and change nothing.
    pub fn start(cluster: &mut Cluster, events: bool) -> Process {
        cluster.say(format_args!("the control plane starts"));
        let config =
            registry::Config { service_range: (Ipv4Addr::new(10, 43, 0, 0), 16), now: clock::present };
        let registry = Registry::new(cluster.store.clone(), PKI.clone(), config);
        let settings = Settings {
            pod_range: "10.42.0.0/16".to_owned(),
            authority: "PEM".to_owned(),
            service_address: "10.43.0.1".to_owned(),
            api_address: Some(([192, 0, 2, 1], 6443).into()),
            kinds: registry.interner(),
            ..Settings::default()
        };
        let mut driver = Driver::new(World::new(settings), all_controllers());
        let pulled = driver.list(&cluster.store, clock::present()).expect("the present can be read");
        let cursor = cluster.store.watch("/", pulled).expect("the present can be watched");
        let telling = events.then(|| {
            let (notes, inbox) = mpsc::channel(NOTES);
            let future = Box::pin(Recorder::new(registry.clone()).run(inbox));
            Telling { notes, bell: Arc::new(Bell(true.into())), future }
        });
        Process {
            scribe: Arc::new(Scribe {
                writer: RegistryWriter::new(registry.clone()),
                refused: Mutex::default(),
            }),
            registry,
            driver,
            cursor,
            pulled,
            unseen: VecDeque::new(),
            running: Vec::new(),
            telling,
            planning: true,
        }
    }

    /// History was lost: everything is listed again.
    pub fn relist(&mut self, cluster: &mut Cluster) {
        cluster.say(format_args!("the watch is lost"));
        self.unseen.clear();
        self.pulled = self.driver.list(&cluster.store, clock::present()).expect("the present can be read");
        self.cursor = cluster.store.watch("/", self.pulled).expect("the present can be watched");
        self.planning = true;
    }

    fn moves(&self, cluster: &Cluster) -> Vec<Move> {
        let mut moves = Vec::new();
        if !self.unseen.is_empty() || cluster.store.head() > self.pulled {
            moves.push(Move::Follow);
        }
        let due = self.driver.next_timer().is_some_and(|time| time <= clock::present());
        if (self.planning || due) && self.running.len() < PLANS {
            moves.push(Move::Plan);
        }
        let rung = |running: &Running| running.bell.0.load(Ordering::Relaxed);
        moves.extend((0..self.running.len()).filter(|at| rung(&self.running[*at])).map(Move::Proceed));
        if self.telling.as_ref().is_some_and(|telling| telling.bell.0.load(Ordering::Relaxed)) {
            moves.push(Move::Tell);
        }
        if cluster.waiting() > 0 {
            moves.push(Move::Commit);
        }
        moves
    }

    /// Whether there is anything to do now.
    pub fn is_busy(&self, cluster: &Cluster) -> bool {
        !self.moves(cluster).is_empty()
    }

    /// When there is something to do although nothing happens, by the control plane's clock.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.driver.next_timer()
    }

    /// Whether it knows everything and has nothing under way.
    pub fn is_quiet(&self, cluster: &Cluster) -> bool {
        self.running.is_empty() && self.driver.is_quiet() && !self.is_busy(cluster)
    }

    /// Does one thing, as chance has it; nothing if there is nothing to do.
    pub fn step(&mut self, cluster: &mut Cluster, rng: &mut fastrand::Rng) {
        let moves = self.moves(cluster);
        let Some(chosen) = rng.choice(&moves) else { return };
        match *chosen {
            Move::Follow => self.follow(cluster, rng),
            Move::Plan => self.plan(cluster),
            Move::Proceed(at) => self.proceed(at, cluster),
            Move::Tell => self.tell(cluster),
            Move::Commit => {
                for _ in 0..rng.usize(1..=4) {
                    cluster.commit();
                }
            }
        }
        for why in std::mem::take(&mut *self.scribe.refused.lock()) {
            cluster.fail("no write of a controller is refused", why);
        }
    }

    fn follow(&mut self, cluster: &Cluster, rng: &mut fastrand::Rng) {
        while cluster.store.head() > self.pulled {
            let next = {
                let mut next = std::pin::pin!(self.cursor.next());
                poll(next.as_mut())
            };
            match next {
                Poll::Ready(changes) => self.unseen.extend(changes.expect("nothing is forgotten")),
                Poll::Pending => break,
            }
            self.pulled = self.cursor.position();
        }
        self.pulled = self.pulled.max(cluster.store.head());
        let count = rng.usize(1..=16).min(self.unseen.len());
        let changes: Vec<Arc<Change>> = self.unseen.drain(..count).collect();
        self.driver.observe(&changes, clock::present());
        self.planning = true;
    }

    fn plan(&mut self, cluster: &mut Cluster) {
        let task = self.driver.plan(clock::present(), KEYS);
        for progress in self.driver.progress() {
            if let Some((key, why)) =
                progress.last_failure.as_ref().filter(|(_, why)| why.ends_with("panicked"))
            {
                cluster.fail("no controller panics", format!("{} {key}: {why}", progress.name));
            }
        }
        let Some(Task { job, account, plan }) = task else {
            self.planning = self.driver.has_ready();
            return;
        };
        let (scribe, wake_at, writes) = (self.scribe.clone(), plan.wake_at, !plan.stages.is_empty());
        let future = Box::pin(async move { carry_out(&*scribe, account, &plan).await });
        let bell = Arc::new(Bell(true.into()));
        self.running.push(Running { job, account, wake_at, writes, bell, future });
        self.proceed(self.running.len() - 1, cluster);
    }

    fn proceed(&mut self, at: usize, cluster: &mut Cluster) {
        let running = &mut self.running[at];
        running.bell.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(running.bell.clone());
        let polled = running.future.as_mut().poll(&mut Context::from_waker(&waker));
        cluster.mark(Author::Controller(running.account));
        let Poll::Ready((outcome, said)) = polled else { return };
        let Running { job, account, wake_at, writes, .. } = self.running.swap_remove(at);
        if let Outcome::Failed(failure) = &outcome {
            cluster.say(format_args!("{account} {} failed: {}", job.key, failure.message));
        }
        let barrier = if writes { self.scribe.head() } else { 0 };
        self.driver.finish(job, outcome, barrier, wake_at, clock::present());
        self.planning = true;
        if let Some(telling) = &self.telling {
            for note in said {
                let _ = telling.notes.try_send((account, note));
            }
        }
    }

    fn tell(&mut self, cluster: &mut Cluster) {
        let Some(telling) = &mut self.telling else { return };
        telling.bell.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(telling.bell.clone());
        let _ = telling.future.as_mut().poll(&mut Context::from_waker(&waker));
        cluster.mark(Author::Controller("recorder"));
    }
}
