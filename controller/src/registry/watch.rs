//! watch: a cursor over the store's history, seen through selectors.

use std::pin::Pin;
use std::time::Duration;

use edge_api::error::FieldError;
use edge_api::kind::Kind;
use edge_api::watch::Event;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::registry::read::{present, revision};
use crate::registry::select::Selection;
use crate::registry::{ApiError, Context, ListOptions, Object, Registry, Target, VersionMatch, WatchOptions};
use crate::store::{Change, Cursor, Revision, Stored};

/// How long a watcher that wants bookmarks waits for one at most.
const BOOKMARK: Duration = Duration::from_secs(60);

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// An object was added, modified or deleted, seen through the selectors.
    Object(Event, Object),
    /// Everything up to this revision was told; `initial` closes the present state at the beginning.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// Whether this is the end of the initial events.
        initial: bool,
    },
}

/// A running watch. Dropping it ends it.
pub struct Watch {
    registry: Registry,
    kind: &'static Kind,
    selection: Selection,
    cursor: Cursor,
    ready: Vec<WatchEvent>,
    /// Changes that wait to be seen in the version that was asked for: what was and what is.
    pending: Vec<[Option<Object>; 2]>,
    /// Rung when the kinds that are served change; only for a kind that may go.
    kinds: Option<tokio::sync::watch::Receiver<u64>>,
    bookmarks: Option<Instant>,
    told: Revision,
    end: Option<Instant>,
    /// Set to the next of both; kept between events, since setting one costs as much as an event.
    alarm: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl Registry {
    /// The changes of a collection.
    pub async fn watch(
        &self,
        cx: &Context,
        target: &Target<'_>,
        options: &WatchOptions,
    ) -> Result<Watch, ApiError> {
        let mut fields = options.field_selector.clone();
        if !target.name.is_empty() {
            fields = format!("metadata.name={}", target.name);
        }
        let selection = Selection::parse(target.kind, &options.label_selector, &fields)?;
        self.authorise(cx, "watch", target, selection.name())?;
        check_options(options)?;
        let asked = revision(&options.resource_version)?;
        let initial = options.send_initial_events.unwrap_or(asked == Revision::ZERO);
        let mut ready = Vec::new();
        let after = if initial {
            self.initial_events(target, &selection, options, &mut ready).await?
        } else if asked == Revision::ZERO {
            self.store().head()
        } else {
            asked
        };
        let head = self.store().head();
        if after.max(asked) > head {
            return Err(ApiError::too_large_version(asked, head));
        }
        let (now, prefix) = (Instant::now(), target.prefix());
        let cursor = match selection.word() {
            Some(word) => self.store().watch_for(word, &prefix, after)?,
            None => self.store().watch(&prefix, after)?,
        };
        Ok(Watch {
            registry: self.clone(),
            pending: Vec::new(),
            kinds: target.kind.custom.map(|_| self.definitions().changes()),
            kind: target.kind,
            selection,
            cursor,
            ready,
            bookmarks: options.bookmarks.then_some(now + BOOKMARK),
            told: after,
            end: options.timeout.map(|timeout| now + timeout),
            alarm: None,
            ended: false,
        })
    }

    async fn initial_events(
        &self,
        target: &Target<'_>,
        selection: &Selection,
        options: &WatchOptions,
        ready: &mut Vec<WatchEvent>,
    ) -> Result<Revision, ApiError> {
        let mut list = self.select(target, selection, &ListOptions::default())?;
        self.convert_list(target.kind, selection, &mut list).await?;
        ready.extend(list.items.into_iter().map(|object| WatchEvent::Object(Event::Added, object)));
        if options.send_initial_events == Some(true) && options.bookmarks {
            ready.push(WatchEvent::Bookmark { revision: list.revision, initial: true });
        }
        Ok(list.revision)
    }
}

impl Watch {
    /// The next events, at least one; waits when there are none; `None` when the watch's time is over. An error ends
    /// the watch; `Expired` means to list again. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Vec<WatchEvent>>, ApiError> {
        if !self.ready.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ready)));
        }
        while !self.ended {
            if !self.pending.is_empty() {
                let events = self.see().await?;
                self.pending.clear();
                if !events.is_empty() {
                    self.told = self.cursor.position();
                    return Ok(Some(events));
                }
            }
            self.set_alarm();
            tokio::select! {
                changes = self.cursor.next() => {
                    let both = changes?;
                    let both = both.iter().map(|change| self.both(change));
                    if self.kind.custom.is_some() {
                        self.pending = both.collect();
                        continue;
                    }
                    let events: Vec<WatchEvent> = both.filter_map(|both| self.tell(both)).collect();
                    if !events.is_empty() {
                        self.told = self.cursor.position();
                        return Ok(Some(events));
                    }
                }
                () = ring(&mut self.alarm) => {
                    if let Some(bookmark) = self.wake() {
                        return Ok(Some(vec![bookmark]));
                    }
                }
                () = gone(&mut self.kinds, self.kind) => self.ended = true,
            }
        }
        Ok(None)
    }

    fn set_alarm(&mut self) {
        let Some(wake) = self.bookmarks.into_iter().chain(self.end).min() else { return };
        match &mut self.alarm {
            None => self.alarm = Some(Box::pin(sleep_until(wake))),
            Some(alarm) if alarm.deadline() != wake => alarm.as_mut().reset(wake),
            Some(_) => {}
        }
    }

    /// A bookmark is due, or the end has come, before which a bookmark saves the next watch some reading.
    fn wake(&mut self) -> Option<WatchEvent> {
        let now = Instant::now();
        self.ended = self.end.is_some_and(|end| now >= end);
        let due = self.bookmarks.is_some_and(|due| now >= due);
        if due {
            self.bookmarks = Some(now + BOOKMARK);
        }
        if !(due || self.ended && self.bookmarks.is_some()) {
            return None;
        }
        let revision = self.cursor.catch_up();
        let news = revision > self.told;
        self.told = revision;
        news.then_some(WatchEvent::Bookmark { revision, initial: false })
    }

    /// What was and what is, both told at the revision of the change.
    fn both(&self, change: &Change) -> [Option<Object>; 2] {
        let before = change.before.as_ref().map(|stored| {
            // What its definition has added since then depends on when it was written.
            let object = present(self.kind, stored.clone());
            Object { revision: change.revision, ..object }
        });
        let after = change
            .after
            .as_ref()
            .map(|bytes| present(self.kind, Stored { revision: change.revision, value: bytes.clone() }));
        [before, after]
    }

    /// The changes that wait, in the version that was asked for.
    async fn see(&self) -> Result<Vec<WatchEvent>, ApiError> {
        let mut objects: Vec<Object> = self.pending.iter().flatten().flatten().cloned().collect();
        objects = self.registry.all_converted(self.kind, objects).await?;
        let mut objects = objects.into_iter();
        let mut events = Vec::with_capacity(self.pending.len());
        for [before, after] in &self.pending {
            // As many as went in, in their order.
            let before = before.as_ref().and_then(|_| objects.next());
            let after = after.as_ref().and_then(|_| objects.next());
            events.extend(self.tell([before, after]));
        }
        Ok(events)
    }

    /// A change as somebody sees it who knows only what the selection means.
    fn tell(&self, [before, after]: [Option<Object>; 2]) -> Option<WatchEvent> {
        let was = before.as_ref().is_some_and(|object| self.selection.matches(object));
        let is = after.as_ref().is_some_and(|object| self.selection.matches(object));
        match (was, is) {
            (false, true) => after.map(|object| WatchEvent::Object(Event::Added, object)),
            (true, true) => after.map(|object| WatchEvent::Object(Event::Modified, object)),
            (true, false) => before.map(|object| WatchEvent::Object(Event::Deleted, object)),
            (false, false) => None,
        }
    }
}

/// Waits until a kind is no more; for ever if it stays.
async fn gone(kinds: &mut Option<tokio::sync::watch::Receiver<u64>>, kind: &Kind) {
    let Some(kinds) = kinds else { return std::future::pending().await };
    while kind.version_of_definition().is_some() {
        if kinds.changed().await.is_err() {
            return;
        }
    }
}

/// Waits for an alarm; for ever if there is none.
async fn ring(alarm: &mut Option<Pin<Box<Sleep>>>) {
    match alarm {
        Some(alarm) => alarm.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Kubernetes' rules about which options go together.
fn check_options(options: &WatchOptions) -> Result<(), ApiError> {
    let why = match (options.send_initial_events, options.version_match) {
        (Some(_), VersionMatch::NotOlderThan) | (None, VersionMatch::Unset) => return Ok(()),
        (Some(_), _) => "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        (None, _) => "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
    };
    Err(ApiError::options("ListOptions", FieldError::forbidden("resourceVersionMatch", why)))
}
