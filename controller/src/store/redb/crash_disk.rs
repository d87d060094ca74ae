//! A disk with two files, tables and journal, that can be stopped, filled, and that forgets what was not synced.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use parking_lot::Mutex;
use redb::StorageBackend;

use crate::store::redb::disk::{Place, builder};

/// The unit in which a disk writes or does not.
const SECTOR: usize = 512;

/// Which of the two files the tables are.
const TABLES: usize = 0;

/// A disk in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrashDisk(Arc<Mutex<State>>);

/// What a crash leaves of both files.
pub(crate) type Image = [Vec<u8>; 2];

#[derive(Debug, Default)]
struct Contents {
    /// What a reader sees.
    live: Vec<u8>,
    /// What a crash leaves for sure.
    synced: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Act>,
}

#[derive(Debug, Default)]
struct State {
    files: [Contents; 2],
    syncs: u64,
    writes: u64,
    /// The sync at which everything stops.
    freeze_at: Option<u64>,
    frozen: bool,
    /// How long both files together may become.
    room: Option<u64>,
    /// Syncs fail although everything reaches the disk.
    lying: bool,
    /// What the file of the tables alone refuses.
    tables: Trouble,
}

/// What a file that is out of order refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[default]
    Nothing,
    /// Writes.
    Writes,
    /// To say that a sync succeeded.
    Syncs,
}

#[derive(Debug)]
enum Act {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl CrashDisk {
    /// A disk with this content, all of it synced.
    pub(crate) fn of(image: Image) -> CrashDisk {
        let files = image.map(|bytes| Contents { live: bytes.clone(), synced: bytes, unsynced: Vec::new() });
        let state = State { files, ..State::default() };
        CrashDisk(Arc::new(Mutex::new(state)))
    }

    /// Lets the disk stop in the middle of the nth sync from now.
    pub(crate) fn freeze_at(&self, sync: u64) {
        let mut state = self.0.lock();
        state.freeze_at = Some(state.syncs + sync);
    }

    /// Lets the disk stop now.
    pub(crate) fn freeze(&self) {
        self.0.lock().frozen = true;
    }

    pub(crate) fn frozen(&self) -> bool {
        self.0.lock().frozen
    }

    /// How much was written and synced.
    pub(crate) fn activity(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.writes, state.syncs)
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.lock().files.iter().map(|file| file.live.len() as u64).sum()
    }

    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.0.lock().room = room;
    }

    pub(crate) fn set_lying(&self, lying: bool) {
        self.0.lock().lying = lying;
    }

    /// Lets the file of the tables, and not the journal, be out of order.
    pub(crate) fn set_tables(&self, trouble: Trouble) {
        self.0.lock().tables = trouble;
    }

    /// What is found after a crash: what was synced, and of the rest some sectors.
    pub(crate) fn crash_image(&self, rng: &mut Rng) -> Image {
        let state = self.0.lock();
        let odds = rng.f64();
        [0, 1].map(|file| state.files[file].crash_image(rng, odds))
    }

    /// The disk as a place for a store.
    pub(crate) fn place(&self) -> Place {
        let attach = |file| {
            let disk = self.clone();
            move || Attached { disk: disk.clone(), file, closed: AtomicBool::new(false) }
        };
        let (tables, journal) = (attach(TABLES), attach(1 - TABLES));
        let open = move || builder().create_with_backend(tables());
        Place::Backend(Box::new(open), Box::new(move || Box::new(journal())))
    }
}

impl Contents {
    fn crash_image(&self, rng: &mut Rng, odds: f64) -> Vec<u8> {
        let mut image = self.synced.clone();
        for act in &self.unsynced {
            match act {
                Act::Length(length) if rng.f64() < odds => image.resize(*length, 0),
                Act::Length(_) => {}
                Act::Write(at, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        if rng.f64() < odds {
                            let at = at + n * SECTOR;
                            if image.len() < at + sector.len() {
                                image.resize(at + sector.len(), 0);
                            }
                            image[at..at + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        image
    }
}

impl State {
    /// Whether a file may have this length.
    fn fits(&self, file: usize, length: usize) -> bool {
        let grown = length.saturating_sub(self.files[file].live.len());
        let all: usize = self.files.iter().map(|file| file.live.len()).sum();
        grown == 0 || self.room.is_none_or(|room| (all + grown) as u64 <= room)
    }
}

/// One use of a disk.
#[derive(Debug)]
struct Attached {
    disk: CrashDisk,
    file: usize,
    closed: AtomicBool,
}

impl Attached {
    fn state(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        assert!(!self.closed.load(Ordering::Relaxed), "used after close");
        let state = self.disk.0.lock();
        if state.frozen { Err(io::Error::other("the disk is gone")) } else { Ok(state) }
    }
}

impl StorageBackend for Attached {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.files[self.file].live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state()?;
        let at = offset as usize;
        let found =
            state.files[self.file].live.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        if !state.fits(self.file, len as usize) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.files[self.file];
        file.live.resize(len as usize, 0);
        file.unsynced.push(Act::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.syncs += 1;
        if state.freeze_at == Some(state.syncs) {
            state.frozen = true;
            return Err(io::Error::other("the disk is gone"));
        }
        let file = &mut state.files[self.file];
        file.synced = file.live.clone();
        file.unsynced.clear();
        let lying = state.lying || self.file == TABLES && state.tables == Trouble::Syncs;
        if lying { Err(io::Error::other("the sync failed")) } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        if self.file == TABLES && state.tables == Trouble::Writes {
            return Err(io::Error::other("a bad sector"));
        }
        state.writes += 1;
        let at = offset as usize;
        let end = at + data.len();
        if !state.fits(self.file, end) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.files[self.file];
        if file.live.len() < end {
            file.live.resize(end, 0);
        }
        file.live[at..end].copy_from_slice(data);
        file.unsynced.push(Act::Write(at, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }
}
