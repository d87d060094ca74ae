//! Reading a log back: a tail, a part, or following it while it grows.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::log::line::Line;
use crate::log::{LogFile, Progress, current, files, rotated};

/// Bytes read at once.
const BLOCK: usize = 64 << 10;

/// Which part of a log, and how to show it.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Go on while the container runs.
    pub follow: bool,
    /// The run before the current one.
    pub previous: bool,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Only lines from this moment on.
    pub since: Option<jiff::Timestamp>,
    /// Put its time before each line.
    pub timestamps: bool,
    /// Stop after so many bytes.
    pub limit: Option<u64>,
}

/// A log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The container has never run.
    #[error("the container has not been started")]
    NotStarted,
    /// The container has no earlier run.
    #[error("the container has not run before")]
    NoPrevious,
    /// The files.
    #[error("the log cannot be read")]
    Io(#[from] io::Error),
}

/// A log being read. [`LogReader::next`] gives what to show, piece by piece.
pub struct LogReader {
    directory: PathBuf,
    run: u32,
    /// Files before the current one that are still to be read.
    queue: Vec<PathBuf>,
    file: Option<tokio::fs::File>,
    /// The number of the file being read, if it is the current one.
    number: Option<u64>,
    bell: Option<watch::Receiver<Progress>>,
    rest: Vec<u8>,
    line_open: bool,
    options: ReadOptions,
    left: u64,
}

impl LogReader {
    pub(super) async fn open(
        directory: PathBuf,
        bell: Option<Arc<watch::Sender<Progress>>>,
        options: ReadOptions,
    ) -> Result<LogReader, ReadError> {
        let bell = bell.map(|bell| bell.subscribe());
        let (shown, all) = listing(&directory, bell.as_ref());
        let newest = shown.map(|shown| shown.run).or(all.last().map(|(run, _, _)| *run));
        let newest = newest.ok_or(ReadError::NotStarted)?;
        let run = if options.previous {
            let earlier = all.iter().map(|(run, _, _)| *run).filter(|run| *run < newest).max();
            earlier.ok_or(ReadError::NoPrevious)?
        } else {
            newest
        };
        let mine: Vec<_> =
            all.into_iter().filter(|(found, _, _)| *found == run).map(|(_, _, path)| path).collect();
        let (skip, offset) = match options.tail {
            Some(lines) => {
                let paths = mine.clone();
                let seek = move || tail(&paths, lines);
                tokio::task::spawn_blocking(seek).await.map_err(io::Error::other)??
            }
            None => (0, 0),
        };
        let mut queue: Vec<_> = mine.into_iter().skip(skip).collect();
        queue.reverse();
        let live = shown.filter(|shown| shown.run == run);
        let mut reader = LogReader {
            directory,
            run,
            queue,
            file: None,
            number: live.map(|live| live.file),
            bell: bell.filter(|_| live.is_some()),
            rest: Vec::new(),
            line_open: false,
            left: options.limit.unwrap_or(u64::MAX),
            options,
        };
        if reader.advance().await? && offset > 0 {
            use tokio::io::AsyncSeekExt;
            let file = reader.file.as_mut().expect("advance says that there is one");
            file.seek(SeekFrom::Start(offset)).await?;
        }
        Ok(reader)
    }

    /// What to show next; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut block = vec![0; BLOCK];
        while self.left > 0 {
            let count = match &mut self.file {
                Some(file) => file.read(&mut block).await?,
                None => 0,
            };
            if count > 0 {
                let shown = self.show(&block[..count]);
                if !shown.is_empty() {
                    return Ok(Some(shown));
                }
                continue;
            }
            if !self.queue.is_empty() {
                self.advance().await?;
            } else if !self.await_more().await? {
                return Ok(None);
            } else {
                let shown = self.show(&[]);
                if !shown.is_empty() {
                    return Ok(Some(shown));
                }
            }
        }
        Ok(None)
    }

    /// Opens the next file of those that were there at the start.
    async fn advance(&mut self) -> io::Result<bool> {
        while let Some(path) = self.queue.pop() {
            // It may have been rotated away meanwhile.
            if let Ok(file) = tokio::fs::File::open(path).await {
                self.file = Some(file);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// At the end of the current file: waits for more of it or for the next. `false` when nothing will come.
    async fn await_more(&mut self) -> io::Result<bool> {
        let (Some(bell), Some(number), true) = (&mut self.bell, self.number, self.options.follow) else {
            return Ok(false);
        };
        let shown = *bell.borrow_and_update();
        if shown.run == self.run && shown.file > number {
            let next = number + 1;
            self.number = Some(next);
            // What was written to the old file before it was rotated has been read: the bell rings after writing.
            if let Some(file) = self.numbered(next).await {
                self.drain_then_switch(file).await?;
            }
            return Ok(true);
        }
        if shown.run != self.run || shown.closed {
            let more = self.rest_of_file().await?;
            self.bell = None;
            return Ok(more);
        }
        Ok(bell.changed().await.is_ok())
    }

    /// Opens a file of this run by its number. The writer may rotate at any moment, before the bell tells: a file is
    /// the current one only if it has no other name once the current one is open.
    async fn numbered(&self, number: u64) -> Option<tokio::fs::File> {
        let named = self.directory.join(rotated(self.run, number));
        if let Ok(file) = tokio::fs::File::open(&named).await {
            return Some(file);
        }
        let newest = tokio::fs::File::open(self.directory.join(current(self.run))).await;
        match tokio::fs::File::open(&named).await {
            Ok(file) => Some(file),
            Err(_) => newest.ok(),
        }
    }

    async fn drain_then_switch(&mut self, next: tokio::fs::File) -> io::Result<()> {
        self.rest_of_file().await?;
        self.file = Some(next);
        Ok(())
    }

    /// Reads on from the current file into `rest`; whether there was anything.
    async fn rest_of_file(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let before = self.rest.len();
        file.read_to_end(&mut self.rest).await?;
        Ok(self.rest.len() > before)
    }

    /// Turns stored lines into shown text.
    fn show(&mut self, block: &[u8]) -> Bytes {
        self.rest.extend_from_slice(block);
        let stored = std::mem::take(&mut self.rest);
        let mut out = Vec::with_capacity(stored.len());
        let mut from = 0;
        while let Some(length) = stored[from..].iter().position(|byte| *byte == b'\n') {
            if let Some(line) = Line::parse(&stored[from..from + length]) {
                self.show_line(&line, &mut out);
            }
            from += length + 1;
        }
        self.rest = stored[from..].to_vec();
        out.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= out.len() as u64;
        out.into()
    }

    fn show_line(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        if let Some(since) = self.options.since
            && line.time.parse::<jiff::Timestamp>().is_ok_and(|time| time < since)
        {
            return;
        }
        if self.options.timestamps && !self.line_open {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        self.line_open = line.partial;
        if !line.partial {
            out.push(b'\n');
        }
    }
}

/// The progress and the files that belong to it, although the log may be rotated meanwhile.
fn listing(directory: &Path, bell: Option<&watch::Receiver<Progress>>) -> (Option<Progress>, Vec<LogFile>) {
    loop {
        let shown = bell.map(|bell| *bell.borrow());
        let all = files(directory).unwrap_or_default();
        let after = bell.map(|bell| *bell.borrow());
        if shown.map(|shown| (shown.run, shown.file)) == after.map(|after| (after.run, after.file)) {
            return (shown, all);
        }
    }
}

/// Which file (counted from the oldest) and offset the last `lines` lines begin at.
fn tail(paths: &[PathBuf], lines: u64) -> io::Result<(usize, u64)> {
    let mut left = lines;
    for (index, path) in paths.iter().enumerate().rev() {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if left == 0 {
            return Ok((index, length));
        }
        let mut end = length;
        let mut block = vec![0; BLOCK];
        while end > 0 {
            let start = end.saturating_sub(BLOCK as u64);
            let size = usize::try_from(end - start).expect("at most a block");
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut block[..size])?;
            for (at, byte) in block[..size].iter().enumerate().rev() {
                let at = start + at as u64;
                if *byte == b'\n' && at + 1 < length {
                    left -= 1;
                    if left == 0 {
                        return Ok((index, at + 1));
                    }
                }
            }
            end = start;
        }
        // The file's first line has no line end before it.
        if length > 0 {
            left -= 1;
            if left == 0 {
                return Ok((index, 0));
            }
        }
    }
    Ok((0, 0))
}

pub(super) fn last_words(path: &Path, lines: usize, bytes: usize) -> String {
    let begin = tail(&[path.to_owned()], lines as u64).map_or(0, |(_, offset)| offset);
    let mut stored = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(begin))?;
        file.take(BLOCK as u64 * 4).read_to_end(&mut stored)
    });
    if read.is_err() {
        return String::new();
    }
    let mut text = Vec::new();
    for line in stored.split(|byte| *byte == b'\n').filter_map(Line::parse) {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let from = text.len().saturating_sub(bytes);
    String::from_utf8_lossy(&text[from..]).into_owned()
}
