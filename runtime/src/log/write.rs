//! Writing a run's log. The file is open while something is written, no longer: most containers are silent for most of
//! the time, and open files are what a node with thousands of them runs out of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::log::line::{self, Cutter, Stream};
use crate::log::{Audience, Limits, Progress, current, files, rotated};

/// Bytes that are collected before they are written, while more is waiting.
const BATCH: usize = 256 << 10;

/// The log of one run. Ends when both its inputs do.
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    limits: Limits,
    bell: Arc<watch::Sender<Progress>>,
    progress: Progress,
    /// Whether the current file is still to be made, after the one before was set aside.
    rotated: bool,
    healthy: bool,
    audience: Audience,
}

impl LogWriter {
    pub(super) fn begin(
        directory: PathBuf,
        limits: Limits,
        bell: Arc<watch::Sender<Progress>>,
    ) -> io::Result<LogWriter> {
        let progress = *bell.borrow();
        // There from the beginning, though empty, for whoever reads the directory.
        open(&directory.join(current(progress.run)), true)?;
        let audience = Audience::default();
        Ok(LogWriter { directory, limits, bell, progress, rotated: false, healthy: true, audience })
    }

    /// Who listens to the run.
    pub fn audience(&self) -> Audience {
        self.audience.clone()
    }

    /// Writes what the two streams bring until both have ended.
    pub async fn run(
        mut self,
        mut stdout: mpsc::Receiver<Box<Bytes>>,
        mut stderr: mpsc::Receiver<Box<Bytes>>,
    ) {
        let mut out = Ear::new(Stream::Stdout, &self.audience);
        let mut err = Ear::new(Stream::Stderr, &self.audience);
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            let mut batch = Vec::new();
            tokio::select! {
                chunk = stdout.recv(), if out_open => match chunk {
                    Some(chunk) => out.hear(&chunk, &mut batch),
                    None => out_open = false,
                },
                chunk = stderr.recv(), if err_open => match chunk {
                    Some(chunk) => err.hear(&chunk, &mut batch),
                    None => err_open = false,
                },
            }
            drain(&mut stdout, &mut out, &mut batch);
            drain(&mut stderr, &mut err, &mut batch);
            self = self.write(batch).await;
        }
        let mut batch = Vec::new();
        out.cutter.finish(&line::now(), &mut batch);
        err.cutter.finish(&line::now(), &mut batch);
        self = self.write(batch).await;
        self.audience.end();
        self.progress.closed = true;
        self.ring();
    }

    /// Disks may stall: not on the thread that runs everything else.
    async fn write(self, batch: Vec<u8>) -> LogWriter {
        if batch.is_empty() {
            return self;
        }
        let mut writer = self;
        tokio::task::spawn_blocking(move || {
            writer.append(&batch);
            writer
        })
        .await
        .expect("appending to a log does not panic")
    }

    fn append(&mut self, batch: &[u8]) {
        let result = self.try_append(batch);
        if let Err(error) = &result
            && self.healthy
        {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "a container's log cannot be written; lines are lost");
        }
        self.healthy = result.is_ok();
        self.progress.writes += 1;
        self.ring();
    }

    fn try_append(&mut self, batch: &[u8]) -> io::Result<()> {
        let path = self.directory.join(current(self.progress.run));
        let mut file = match open(&path, self.rotated) {
            // The Pod is gone, and its last words with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        self.rotated = false;
        let length = file.metadata()?.len();
        if length > 0 && length + batch.len() as u64 > self.limits.bytes {
            self.rotate(&path)?;
            file = open(&path, true)?;
            self.rotated = false;
        }
        file.write_all(batch)
    }

    fn rotate(&mut self, path: &Path) -> io::Result<()> {
        let Progress { run, file, .. } = self.progress;
        fs::rename(path, self.directory.join(rotated(run, file)))?;
        self.rotated = true;
        self.progress.file += 1;
        let old: Vec<_> =
            files(&self.directory)?.into_iter().filter(|found| found.0 == run && found.1.is_some()).collect();
        let surplus = (old.len() + 1).saturating_sub(self.limits.files.max(1) as usize);
        for (_, _, path) in old.into_iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// A newer run may have begun while this one wrote its last words; then its progress stands.
    fn ring(&self) {
        let mine = self.progress;
        self.bell.send_if_modified(|shown| {
            let newest = shown.run <= mine.run;
            if newest {
                *shown = mine;
            }
            newest
        });
    }
}

fn open(path: &Path, new: bool) -> io::Result<File> {
    OpenOptions::new().create(new).append(true).open(path)
}

/// Where one stream of a run goes: cut into lines, and to who listens.
struct Ear {
    stream: Stream,
    cutter: Cutter,
    audience: Audience,
}

impl Ear {
    fn new(stream: Stream, audience: &Audience) -> Ear {
        Ear { stream, cutter: Cutter::new(stream), audience: audience.clone() }
    }

    fn hear(&mut self, chunk: &Bytes, batch: &mut Vec<u8>) {
        self.audience.tell(self.stream, chunk);
        self.cutter.cut(chunk, &line::now(), batch);
    }
}

fn drain(queue: &mut mpsc::Receiver<Box<Bytes>>, ear: &mut Ear, batch: &mut Vec<u8>) {
    while batch.len() < BATCH {
        let Ok(chunk) = queue.try_recv() else { return };
        ear.hear(&chunk, batch);
    }
}
