//! The audit log: who asked what of the API, and what came of it. One line an event, in Kubernetes' form, at the level
//! `Metadata`: no body of a request or answer is ever in it, and no credential.
//!
//! A thread of its own writes the file; who asks waits for room in a bounded channel, so that nothing is lost while the
//! disk is slow. The file is set aside when it is full, and the oldest of those goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use edge_api::time::Timestamp;
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::http::route::Place;
use crate::identity::User;
use crate::registry::Annotations;

/// Events that may wait for the disk.
const WAITING: usize = 1024;
/// The size at which a file is set aside, in bytes.
const FULL: u64 = 32 << 20;
/// How many files that were set aside are kept.
const KEPT: u32 = 4;
/// The longest text of a client's that is taken over, in bytes.
const LONGEST: usize = 4096;

/// The log. Dropping it writes what waits.
pub struct Audit {
    events: Option<mpsc::Sender<Value>>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Opens the file, its own, mode 0600; what is in it stays.
    pub fn open(path: &Path) -> io::Result<Audit> {
        let mut log = Log::open(path.to_owned(), FULL)?;
        let (events, mut inbox) = mpsc::channel::<Value>(WAITING);
        let run = move || {
            while let Some(event) = inbox.blocking_recv() {
                log.append(&event);
            }
        };
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(run)?;
        Ok(Audit { events: Some(events), thread: Some(thread) })
    }

    /// Adds an event.
    pub async fn record(&self, event: Value) {
        if let Some(events) = &self.events
            && events.send(event).await.is_err()
        {
            tracing::error!("the audit log has ended");
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.events = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log's writer panicked");
        }
    }
}

/// An event that is not finished: what was asked, and by whom as soon as it is known.
pub struct Draft {
    event: Value,
    annotations: Annotations,
}

impl Draft {
    /// A request that has come.
    pub fn new(
        uri: &Uri,
        method: &str,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Draft {
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": uuid::Uuid::new_v4().to_string(),
            "stage": "ResponseComplete",
            "requestURI": short(uri.path_and_query().map_or("", |path| path.as_str())),
            "verb": method.to_ascii_lowercase(),
            "user": {},
            "requestReceivedTimestamp": now.micros(),
        });
        if let Some(address) = address {
            event["sourceIPs"] = json!([address.to_string()]);
        }
        if let Some(agent) = headers.get(header::USER_AGENT) {
            event["userAgent"] = short(&String::from_utf8_lossy(agent.as_bytes())).into();
        }
        Draft { event, annotations: Annotations::kept() }
    }

    /// Where more is said of the request.
    pub fn annotations(&self) -> Annotations {
        self.annotations.clone()
    }

    /// Who asks.
    pub fn by(&mut self, user: &User) {
        self.event["user"] = user.info();
    }

    /// As whom he asks.
    pub fn acting_as(&mut self, user: &User) {
        self.event["impersonatedUser"] = user.info();
    }

    /// What he asks for.
    pub fn about(&mut self, verb: &str, place: &Place<'_>) {
        let mut object = json!({"resource": place.kind.plural, "apiVersion": place.kind.version});
        for (field, text) in [
            ("apiGroup", place.kind.group),
            ("namespace", &place.namespace),
            ("name", &place.name),
            ("subresource", &place.subresource),
        ] {
            if !text.is_empty() {
                object[field] = short(text).into();
            }
        }
        self.event["verb"] = verb.into();
        self.event["objectRef"] = object;
        if verb == "watch" {
            self.event["stage"] = "ResponseStarted".into();
        }
    }

    /// The event with what came of it.
    pub fn answered(mut self, code: StatusCode, now: Timestamp) -> Value {
        self.event["responseStatus"] = json!({"metadata": {}, "code": code.as_u16()});
        self.event["stageTimestamp"] = now.micros().into();
        let annotations = self.annotations.take();
        if !annotations.is_empty() {
            self.event["annotations"] = json!(annotations);
        }
        self.event
    }
}

/// The beginning of a text.
fn short(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The file.
struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    full: u64,
    failing: bool,
}

impl Log {
    fn open(path: PathBuf, full: u64) -> io::Result<Log> {
        let file = open(&path)?;
        let size = file.metadata()?.len();
        Ok(Log { path, file, size, full, failing: false })
    }

    /// Adds a line. A failure is told once, until it is over.
    fn append(&mut self, event: &Value) {
        let written = self.try_append(event);
        match &written {
            Err(error) if !self.failing => {
                tracing::error!(path = %self.path.display(), error = error as &dyn std::error::Error, "cannot write the audit log");
            }
            _ => {}
        }
        self.failing = written.is_err();
    }

    fn try_append(&mut self, event: &Value) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.size > 0 && self.size + line.len() as u64 > self.full {
            self.set_aside()?;
        }
        self.file.write_all(&line)?;
        self.size += line.len() as u64;
        Ok(())
    }

    /// `audit.log` becomes `audit.log.1`, that `audit.log.2`, and so on.
    fn set_aside(&mut self) -> io::Result<()> {
        let place = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..KEPT).rev().filter(|number| place(*number).exists()) {
            std::fs::rename(place(number), place(number + 1))?;
        }
        std::fs::rename(&self.path, place(1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::{Audit, KEPT, Log};

    #[test]
    fn full_files_are_set_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut log = Log::open(path.clone(), 20).unwrap();
        for number in 0..20 {
            log.append(&json!({"number": number}));
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("audit.log"), "{\"number\":19}\n");
        assert_eq!(read("audit.log.1"), "{\"number\":18}\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), KEPT as usize + 1);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_waits_is_written_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        std::fs::write(&path, "before\n").unwrap();
        let audit = Audit::open(&path).unwrap();
        for number in 0..100 {
            audit.record(json!(number)).await;
        }
        drop(audit);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), text.lines().next_back()), (101, Some("99")));
    }
}
