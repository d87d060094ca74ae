//! The life of one container: one enum whose variants own their data.

use std::sync::Arc;
use std::time::Duration;

use edge_api::compact::is_blank;
use edge_api::kinds::pod::{ContainerStateTerminated, ResourceRequirements};
use edge_api::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The first delay before a restart; the very first restart has none.
const FIRST_DELAY: Duration = Duration::from_secs(10);
/// The longest delay before a restart.
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// A run this long makes the next restart immediate again.
const LONG_RUN: Duration = Duration::from_secs(600);
/// Delays between attempts to get an image or to create a container.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A moment, by both clocks: one for delays, one for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the node's process began.
    pub mono: Duration,
    /// The wall clock, in whole seconds as statuses tell them.
    pub wall: Timestamp,
}

/// What a container is in its Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next begins.
    Init,
    /// An init container that goes on beside the others.
    Sidecar,
    /// Runs beside the others.
    Main,
    /// Was put into the running Pod by somebody who looks at it: begins at once, never again, and counts for nothing.
    Ephemeral,
}

/// Why something about a container did not work, in Kubernetes' terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Such as `ErrImagePull` or `CreateContainerConfigError`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// It is not its turn.
    Idle,
    /// Its image is being found or fetched, with what went wrong before, if that is the same image.
    Fetching(Option<Failure>),
    /// Its image could not be had.
    NoImage {
        /// The last attempt.
        failure: Failure,
        /// When the next one is due.
        retry: Duration,
    },
    /// It is being created.
    Starting,
    /// It could not be created.
    NotCreated {
        /// The last attempt.
        failure: Failure,
        /// When the next one is due.
        retry: Duration,
    },
    /// It runs; its `postStart` is not done yet.
    Opening(Run),
    /// It runs.
    Running(Run),
    /// It was told to end and has not yet.
    Stopping(Run),
    /// It ended and waits to be restarted.
    Waiting {
        /// When.
        until: Duration,
        /// The whole delay, for the message.
        delay: Duration,
    },
    /// It ended for good.
    Ended(Box<ContainerStateTerminated>),
}

/// One run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `edgectl://…`
    pub id: String,
    /// When it began, by the wall clock.
    pub since: Timestamp,
    /// When it began, by the other one.
    pub began: Duration,
    /// It has passed its startup probe, if it has one.
    pub started: bool,
    /// It may be sent requests.
    pub ready: bool,
}

/// A container's place in the Pod: its life and what outlives each run.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// What it is in the Pod.
    pub role: Role,
    /// Where it stands.
    pub life: Life,
    /// Restarts so far; also the number of the run.
    pub restarts: u32,
    /// How many of them there had been when the Pod last began anew.
    pub restarts_before: u32,
    /// How the run before ended.
    pub last: Option<Box<ContainerStateTerminated>>,
    /// The image that was looked for last, as it was named.
    pub wanted: Arc<str>,
    /// The image that it runs, or ran last.
    pub image: Arc<str>,
    /// The image that was found, for the status.
    pub image_id: String,
    /// The resources in force since it was started or resized.
    pub resources: ResourceRequirements,
    /// Why it did not get the resources it is to have now.
    pub not_resized: Option<String>,
    /// Its run ends only to begin again as it is to be now.
    pub renewed: bool,
    /// Whether a run is under way or was when the node stopped.
    pub begun: bool,
    /// Whether it has ever run.
    pub ran: bool,
    /// The delay of the next restart; `None` before the first.
    pub delay: Option<Duration>,
    /// The delay of the next attempt to get the image or create the container.
    pub retry: Duration,
}

/// What is remembered of a slot over restarts of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SlotRecord {
    /// Its name.
    pub name: String,
    /// Restarts so far.
    pub restarts: u32,
    /// How many of them there had been when the Pod last began anew.
    #[serde(skip_serializing_if = "is_blank")]
    pub restarts_before: u32,
    /// Whether a run was under way.
    pub begun: bool,
    /// Whether it has ever run.
    pub ran: bool,
    /// Which image ran last; empty in records of older versions.
    pub image: Arc<str>,
    /// How the run before ended.
    pub last: Option<Box<ContainerStateTerminated>>,
    /// How it ended for good.
    pub ended: Option<Box<ContainerStateTerminated>>,
}

impl Slot {
    /// A container that has never run.
    pub fn new(name: &str, role: Role) -> Slot {
        Slot {
            name: name.to_owned(),
            role,
            life: Life::Idle,
            restarts: 0,
            restarts_before: 0,
            last: None,
            wanted: Arc::default(),
            image: Arc::default(),
            image_id: String::new(),
            resources: ResourceRequirements::default(),
            not_resized: None,
            renewed: false,
            begun: false,
            ran: false,
            delay: None,
            retry: FIRST_RETRY,
        }
    }

    /// What to remember.
    pub fn record(&self) -> SlotRecord {
        let ended = match &self.life {
            Life::Ended(ended) => Some(ended.clone()),
            _ => None,
        };
        SlotRecord {
            name: self.name.clone(),
            // It counts with the next run, which begins with the node if it does so first.
            restarts: self.restarts + u32::from(matches!(self.life, Life::Waiting { .. })),
            restarts_before: self.restarts_before,
            begun: self.begun,
            ran: self.ran,
            image: self.image.clone(),
            last: self.last.clone(),
            ended,
        }
    }

    /// Whether it runs (being stopped is running).
    pub fn is_alive(&self) -> bool {
        matches!(self.life, Life::Starting | Life::Opening(_) | Life::Running(_) | Life::Stopping(_))
    }

    /// Whether it has run the image that is looked for now.
    pub fn ran_wanted(&self) -> bool {
        // Records of older versions do not name it.
        self.ran && (self.image.is_empty() || self.image == self.wanted)
    }

    /// Whether it may be sent requests.
    pub fn is_ready(&self) -> bool {
        matches!(&self.life, Life::Running(run) if run.ready)
    }

    /// Whether it has started, by its startup probe if it has one.
    pub fn is_started(&self) -> bool {
        matches!(&self.life, Life::Running(run) if run.started)
    }

    /// Whether its Pod is initialized as far as it goes.
    pub fn has_initialized(&self) -> bool {
        match self.role {
            Role::Init => self.ended().is_some_and(|ended| ended.exit_code == 0),
            Role::Sidecar => self.lets_others_begin() || self.ended().is_some(),
            Role::Main | Role::Ephemeral => true,
        }
    }

    /// Whether those behind it need not wait for it, as a sidecar: it has started, now or before it had to again.
    pub fn lets_others_begin(&self) -> bool {
        self.is_started() || self.restarts > self.restarts_before
    }

    /// How it ended for good, if it did.
    pub fn ended(&self) -> Option<&ContainerStateTerminated> {
        match &self.life {
            Life::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Puts it on the waiting list after a run of `ran`.
    pub fn wait(&mut self, now: Now, ran: Duration, ended: Box<ContainerStateTerminated>) {
        if ran >= LONG_RUN {
            self.delay = None;
        }
        let delay = self.delay.unwrap_or(Duration::ZERO);
        self.delay = Some(self.delay.map_or(FIRST_DELAY, |delay| (delay * 2).min(LONGEST_DELAY)));
        self.last = Some(ended);
        self.life = Life::Waiting { until: now.mono + delay, delay };
    }

    /// When the next attempt after a failed one is due.
    pub fn next_retry(&mut self, now: Now) -> Duration {
        let delay = self.retry;
        // One second, then ten, then doubling like Kubernetes'.
        self.retry = if delay < FIRST_DELAY { FIRST_DELAY } else { (delay * 2).min(LONGEST_DELAY) };
        now.mono + delay
    }

    /// Whether what failed has failed again: the wait that follows is called a back-off.
    pub fn backs_off(&self) -> bool {
        self.retry > FIRST_DELAY
    }

    /// An attempt succeeded.
    pub fn forget_retries(&mut self) {
        self.retry = FIRST_RETRY;
    }

    /// When something is due without an event.
    pub fn wake_at(&self) -> Option<Duration> {
        match self.life {
            Life::Waiting { until, .. } => Some(until),
            Life::NoImage { retry, .. } | Life::NotCreated { retry, .. } => Some(retry),
            _ => None,
        }
    }
}
