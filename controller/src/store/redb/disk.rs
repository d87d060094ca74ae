//! One redb database: opened, read whole, written a transaction at a time, opened again after a
//! failure.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend};

use crate::store::engine::EngineError;
use crate::store::error::{OpenError, ReadError};
use crate::store::record::{Change, Key, Revision, Stored};
use crate::store::redb::format::{FORMAT, FORMAT_KEY, LOG, META, Meta, OBJECTS};
use crate::store::redb::{history, migrate};

/// What redb may keep in memory: the store's own memory answers the reads.
const CACHE: usize = 5 << 20;

/// A file smaller than this is not worth compacting.
const SMALL: u64 = 1 << 20;

/// Rows of the log that a transaction removes beyond those it adds.
const TRIM: usize = 32;

/// Where a database lies, and how it is opened.
pub(crate) enum Place {
    /// A file in a directory of its own.
    Directory(PathBuf),
    /// Anything else that redb can use, opened again after a failure: the tables, and the journal.
    #[cfg(test)]
    Backend(Open<Result<Database, DatabaseError>>, Open<Box<dyn StorageBackend>>),
}

/// What opens something, any number of times.
#[cfg(test)]
pub(crate) type Open<T> = Box<dyn Fn() -> T + Send + Sync>;

/// The content of a transaction.
pub(crate) struct Batch<'a> {
    /// Changes that are left out of the log.
    pub forgotten: &'a BTreeMap<Key, Arc<Change>>,
    /// Changes from before.
    pub unsaved: &'a [Arc<Change>],
    /// Changes of now.
    pub changes: &'a [Arc<Change>],
    /// Rows of the log up to this revision may go …
    pub due: Option<Revision>,
    /// … as long as so many bytes are left.
    pub retain: u64,
}

/// See the module. Readers of the log share it with the writer.
pub(crate) struct Disk {
    place: Arc<Place>,
    database: RwLock<Option<Database>>,
}

impl Place {
    fn directory(&self) -> Option<&Path> {
        match self {
            Place::Directory(directory) => Some(directory),
            #[cfg(test)]
            Place::Backend(..) => None,
        }
    }

    /// The file, or a name for messages.
    fn path(&self) -> PathBuf {
        match self {
            Place::Directory(directory) => directory.join("store.redb"),
            #[cfg(test)]
            Place::Backend(..) => PathBuf::from("store"),
        }
    }

    /// The journal's file, or a name for messages.
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.path().with_extension("journal")
    }

    /// The journal, if there is one.
    pub(crate) fn find_journal(&self) -> io::Result<Option<Box<dyn StorageBackend>>> {
        match self {
            Place::Directory(_) => {
                match OpenOptions::new().read(true).write(true).open(self.journal_path()) {
                    Ok(file) => Ok(Some(Box::new(FileBackend::new(file).map_err(io::Error::other)?))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
            #[cfg(test)]
            Place::Backend(_, journal) => Ok(Some(journal())),
        }
    }

    /// A new journal, whose name is as durable as what will be in it.
    pub(crate) fn make_journal(&self) -> io::Result<Box<dyn StorageBackend>> {
        match self {
            Place::Directory(directory) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(true).mode(0o600);
                let file = options.open(self.journal_path())?;
                File::open(directory)?.sync_all()?;
                Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
            }
            #[cfg(test)]
            Place::Backend(_, journal) => Ok(journal()),
        }
    }

    /// Takes the journal away. What comes back after a crash is old, and no news to anybody.
    pub(crate) fn remove_journal(&self) {
        if self.directory().is_some()
            && let Err(error) = fs::remove_file(self.journal_path())
        {
            tracing::warn!(%error, "the store's journal could not be removed");
        }
    }

    fn open(&self) -> Result<Database, DatabaseError> {
        match self {
            Place::Directory(_) => {
                let file = OpenOptions::new().read(true).write(true).open(self.path())?;
                builder().create_with_backend(FileBackend::new(file)?)
            }
            #[cfg(test)]
            Place::Backend(tables, _) => tables(),
        }
    }
}

/// How every database is opened.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

impl Disk {
    /// Opens a place: makes it when missing, migrates it when old, compacts it when mostly empty.
    pub(crate) fn open(place: Arc<Place>) -> Result<Disk, OpenError> {
        if let Some(directory) = place.directory() {
            prepare(directory, &place.path())?;
        }
        let database = guarded(&place, || open_current(&place))?;
        Ok(Disk { place, database: RwLock::new(Some(database)) })
    }

    /// Reads everything but the log.
    pub(crate) fn load(&self) -> Result<(Meta, Vec<(Key, Stored)>), OpenError> {
        let (mut meta, objects) = guarded(&self.place, || {
            let database = self.database.read();
            Ok(read_all(database.as_ref().ok_or(redb::Error::DatabaseClosed)?)?)
        })?;
        if self.place.directory().is_some() {
            self.compact(&mut meta, &objects)?;
        }
        Ok((meta, objects))
    }

    /// Writes the numbers alone.
    pub(crate) fn rewrite(&self, meta: &Meta) -> Result<(), OpenError> {
        guarded(&self.place, || {
            let database = self.database.read();
            Ok(write_meta(database.as_ref().ok_or(redb::Error::DatabaseClosed)?, meta)?)
        })
    }

    /// Commits a batch; fits the log's numbers in `meta` to it. After an error the database has to
    /// be opened again, and what it then holds tells whether the batch was kept.
    pub(crate) fn commit(&self, batch: &Batch<'_>, meta: &mut Meta) -> Result<(), EngineError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or(EngineError::Failed("not open".to_owned()))?;
        let committed = catch_unwind(AssertUnwindSafe(|| commit(database, batch, meta)));
        committed
            .map_err(|panic| EngineError::Failed(panic_text(&*panic)))?
            .map_err(|error| engine_error(&error))
    }

    /// Commits a batch while the store is being opened.
    pub(crate) fn replay(&self, batch: &Batch<'_>, meta: &mut Meta) -> Result<(), OpenError> {
        guarded(&self.place, || {
            let database = self.database.read();
            Ok(commit(database.as_ref().ok_or(redb::Error::DatabaseClosed)?, batch, meta)?)
        })
    }

    /// Opens the database again; answers the numbers it holds.
    pub(crate) fn reopen(&self) -> Result<Meta, EngineError> {
        let mut database = self.database.write();
        *database = None;
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let opened = self.place.open().map_err(redb::Error::from)?;
            let meta = read_meta(&opened)?;
            // Whatever the failed transaction left unsynced is settled before anyone relies on it.
            write_meta(&opened, &meta)?;
            Ok::<_, redb::Error>((opened, meta))
        }));
        let (opened, meta) = opened
            .map_err(|panic| EngineError::Failed(panic_text(&*panic)))?
            .map_err(|error| engine_error(&error))?;
        *database = Some(opened);
        Ok(meta)
    }

    /// Lets go of the file.
    pub(crate) fn close(&self) {
        *self.database.write() = None;
    }

    /// Gives room back when more than half of the file is unused.
    fn compact(&self, meta: &mut Meta, objects: &[(Key, Stored)]) -> Result<(), OpenError> {
        let size = |(key, stored): &(Key, Stored)| (key.as_str().len() + stored.value.len() + 16) as u64;
        let live = objects.iter().map(size).sum::<u64>() + meta.log_bytes;
        let length = file_length(&self.place.path());
        // A file may be over twice its data when just compacted: then it has to have changed since.
        let grown = length > meta.compacted + meta.compacted / 4;
        let shrunk = live < meta.compacted_live - meta.compacted_live / 4;
        if length < SMALL || length <= 2 * live || !(grown || shrunk) {
            return Ok(());
        }
        let mut slot = self.database.write();
        if let Some(database) = slot.as_mut()
            && let Err(error) = database.compact()
        {
            tracing::warn!(%error, "the store could not be compacted");
            *slot = None;
            *slot = Some(guarded(&self.place, || Ok(self.place.open()?))?);
            return Ok(());
        }
        meta.compacted = file_length(&self.place.path());
        meta.compacted_live = live;
        tracing::info!(from = length, to = meta.compacted, "the store was compacted");
        drop(slot);
        self.rewrite(meta)
    }

    /// Shows the changes of a prefix in `(after, upto]` that are in the tables, in order, until told to stop.
    pub(crate) fn visit(
        &self,
        prefix: &str,
        after: Revision,
        upto: Revision,
        visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| ReadError::Engine("not open".to_owned()))?;
        let visited = catch_unwind(AssertUnwindSafe(|| read_log(database, prefix, after, upto, visit)));
        let floor = visited
            .map_err(|panic| ReadError::Engine(panic_text(&*panic)))?
            .map_err(|error| ReadError::Engine(error.to_string()))?;
        match after < floor {
            true => Err(ReadError::Compacted { asked: after, floor }),
            false => Ok(()),
        }
    }
}

/// Shows the changes of a prefix, unless some are gone; answers the floor.
fn read_log(
    database: &Database,
    prefix: &str,
    after: Revision,
    upto: Revision,
    visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
) -> Result<Revision, redb::Error> {
    let transaction = database.begin_read()?;
    let floor = Meta::read(&transaction.open_table(META)?)?.floor;
    if after < floor || after >= upto {
        return Ok(floor);
    }
    for row in transaction.open_table(LOG)?.range(after.0 + 1..)? {
        let (last, row) = row?;
        let last = Revision(last.value());
        for line in history::unpack(last, row.value()) {
            let line = line.ok_or_else(|| redb::Error::Corrupted(format!("row {last} of the log")))?;
            let wanted = after < line.revision && line.revision <= upto && line.key.starts_with(prefix);
            if wanted && visit(line.change()).is_break() {
                return Ok(floor);
            }
        }
        if last >= upto {
            break;
        }
    }
    Ok(floor)
}

fn commit(database: &Database, batch: &Batch<'_>, meta: &mut Meta) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    // There are few of them, and a start after a crash is not to read the whole file.
    transaction.set_quick_repair(true);
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for (key, version) in newest(batch) {
            match version {
                Some((revision, value)) => drop(objects.insert(key, (revision.0, value))?),
                None => drop(objects.remove(key)?),
            }
        }
        let mut log = transaction.open_table(LOG)?;
        let mut rows = 0;
        let changes = batch.unsaved.iter().chain(batch.changes).map(|change| Ok(change.as_ref()));
        history::pack(changes, |last, row| {
            rows += 1;
            meta.log_bytes += row.len() as u64;
            log.insert(last.0, row).map(drop)
        })?;
        trim(&mut log, batch, 2 * rows + TRIM, meta)?;
        meta.write(&mut transaction.open_table(META)?)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The last version of each key of a batch, in the order of keys.
fn newest<'a>(batch: &'a Batch<'a>) -> BTreeMap<&'a str, Option<(Revision, &'a [u8])>> {
    let mut newest: BTreeMap<&str, &Change> = BTreeMap::new();
    for change in batch.unsaved.iter().chain(batch.changes).chain(batch.forgotten.values()) {
        let last = newest.entry(change.key.as_str()).or_insert(change);
        if last.revision < change.revision {
            *last = change;
        }
    }
    let version = |change: &'a Change| change.after.as_deref().map(|value| (change.revision, value));
    newest.into_iter().map(|(key, change)| (key, version(change))).collect()
}

/// Removes at most so many rows that may go.
fn trim(
    log: &mut redb::Table<'_, u64, &'static [u8]>,
    batch: &Batch<'_>,
    most: usize,
    meta: &mut Meta,
) -> Result<(), redb::Error> {
    let Some(due) = batch.due else { return Ok(()) };
    for _ in 0..most {
        let Some((last, bytes)) = log.first()?.map(|(last, row)| (last.value(), row.value().len() as u64))
        else {
            break;
        };
        let left = meta.log_bytes.saturating_sub(bytes);
        if left < batch.retain || last > due.0 {
            break;
        }
        log.remove(last)?;
        meta.floor = Revision(last);
        meta.log_bytes = left;
    }
    Ok(())
}

/// Opens a place and brings it into the present format.
fn open_current(place: &Place) -> Result<Database, Trouble> {
    let database = place.open()?;
    let database = match read_format(&database)? {
        Some(FORMAT) => return Ok(database),
        Some(found) if found > FORMAT => return Err(Trouble::Newer(found)),
        Some(found) => {
            drop(database);
            if let Some(directory) = place.directory() {
                keep_copy(place, directory, found)?;
            }
            let database = place.open()?;
            migrate::migrate(&database, found)?;
            database
        }
        None if is_new(&database)? => {
            create_tables(&database)?;
            database
        }
        None => return Err(Trouble::Redb(redb::Error::Corrupted("it names no format".to_owned()))),
    };
    Ok(database)
}

fn read_format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(table) => Ok(table.get(FORMAT_KEY)?.map(|number| number.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_new(database: &Database) -> Result<bool, redb::Error> {
    Ok(database.begin_read()?.list_tables()?.next().is_none())
}

fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(OBJECTS)?;
    transaction.open_table(LOG)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT)?;
        Meta::default().write(&mut meta)?;
    }
    transaction.commit()?;
    Ok(())
}

fn read_meta(database: &Database) -> Result<Meta, redb::Error> {
    Ok(Meta::read(&database.begin_read()?.open_table(META)?)?)
}

fn write_meta(database: &Database, meta: &Meta) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    meta.write(&mut transaction.open_table(META)?)?;
    transaction.commit()?;
    Ok(())
}

fn read_all(database: &Database) -> Result<(Meta, Vec<(Key, Stored)>), redb::Error> {
    let transaction = database.begin_read()?;
    let meta = Meta::read(&transaction.open_table(META)?)?;
    let mut objects = Vec::new();
    for row in transaction.open_table(OBJECTS)?.iter()? {
        let (key, row) = row?;
        let (revision, value) = row.value();
        let stored = Stored { revision: Revision(revision), value: Bytes::copy_from_slice(value) };
        objects.push((Key::from(key.value()), stored));
    }
    Ok((meta, objects))
}

/// Makes the directory, and in it the file: complete, or not at all.
fn prepare(directory: &Path, path: &Path) -> Result<(), OpenError> {
    let io = |source| io_error(directory, source);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(io)?;
    match fs::metadata(path) {
        Ok(found) if found.len() == 0 => {
            let detail = "the file is empty".to_owned();
            return Err(OpenError::Corrupt { path: path.to_owned(), detail });
        }
        Ok(_) => {
            return fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                .map_err(|source| io_error(path, source));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error(path, error)),
    }
    let part = directory.join("store.redb.part");
    let place = Place::Directory(directory.to_owned());
    guarded(&place, || {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        let database = builder().create_with_backend(FileBackend::new(file)?)?;
        create_tables(&database)?;
        drop(database);
        fs::rename(&part, path)?;
        File::open(directory)?.sync_all()?;
        Ok(())
    })
}

/// Keeps a copy of a store of an older format beside it, as `store.redb.format-N`, and of its journal.
fn keep_copy(place: &Place, directory: &Path, format: u64) -> io::Result<()> {
    let part = directory.join("store.copy.part");
    for original in [place.path(), place.journal_path()] {
        let copy = original.with_added_extension(format!("format-{format}"));
        match copy_by(&original, &part, &copy) {
            Ok(()) => {
                tracing::info!(copy = %copy.display(), format, "the store is of an older format; a copy was kept");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && original != place.path() => {}
            Err(error) => {
                let _ = fs::remove_file(&part);
                return Err(error);
            }
        }
    }
    File::open(directory)?.sync_all()
}

fn copy_by(original: &Path, part: &Path, copy: &Path) -> io::Result<()> {
    fs::copy(original, part)?;
    fs::set_permissions(part, fs::Permissions::from_mode(0o600))?;
    File::open(part)?.sync_all()?;
    fs::rename(part, copy)
}

fn file_length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// What opening stumbles over.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A format of the future.
    Newer(u64),
    /// The database.
    Redb(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Trouble {
        Trouble::Redb(error.into())
    }
}

/// Opens or reads, where a damaged file may make redb panic instead of failing.
fn guarded<T>(place: &Place, work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, OpenError> {
    let path = place.path();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Trouble::Newer(found))) => Err(OpenError::Newer { path, found, supported: FORMAT }),
        Ok(Err(Trouble::Redb(error))) => Err(open_error(path, error)),
        Err(panic) => Err(OpenError::Corrupt { path, detail: panic_text(&*panic) }),
    }
}

fn open_error(path: PathBuf, error: redb::Error) -> OpenError {
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::Locked { path },
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            OpenError::Corrupt { path, detail: source.to_string() }
        }
        redb::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            OpenError::Corrupt { path, detail: "it is shorter than it was".to_owned() }
        }
        redb::Error::Io(source) => io_error(&path, source),
        other => OpenError::Corrupt { path, detail: other.to_string() },
    }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    match is_full(&source) {
        true => OpenError::Full { path: path.to_owned() },
        false => OpenError::Io { path: path.to_owned(), source },
    }
}

/// What the writer is told of an error.
pub(crate) fn engine_error(error: &redb::Error) -> EngineError {
    match error {
        redb::Error::Io(source) if is_full(source) => EngineError::Full,
        other => EngineError::Failed(other.to_string()),
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unreadable").to_owned()
}
