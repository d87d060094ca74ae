//! The directories a component sees, opened when its guest first asks for them: most never do, and an instance for one
//! request opens none again.
//!
//! A descriptor is what a node with thousands of Pods runs out of first. Core modules are given theirs when they begin,
//! as WASI 0.1 has it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::OnceLock;

use rustix::fs::OFlags;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime::error::Context as _;
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::{FsPerms, OpenMode, p2, p3};

use crate::sandbox::container::{Container, Preopen};

/// A container's directories, shared by its instances.
#[derive(Default)]
pub(super) struct Directories(OnceLock<Vec<Dir>>);

impl Directories {
    /// In the order of the preopens. The first to ask opens them; whoever asks at the same time may open them, too.
    fn open(&self, preopens: &[Preopen]) -> wasmtime::Result<&[Dir]> {
        if let Some(open) = self.0.get() {
            return Ok(open);
        }
        let one = |preopen| open(preopen).with_context(|| format!("cannot open {}", preopen.guest));
        let open = preopens.iter().map(one).collect::<wasmtime::Result<_>>()?;
        Ok(self.0.get_or_init(|| open))
    }
}

impl Preopen {
    /// What a guest may do in it.
    pub(super) fn permissions(&self) -> FsPerms {
        if self.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite }
    }
}

fn open(preopen: &Preopen) -> io::Result<Dir> {
    let flags = (OFlags::DIRECTORY | OFlags::PATH).bits();
    let directory = OpenOptions::new().read(true).custom_flags(flags as i32).open(&preopen.host)?;
    let mode = if preopen.read_only { OpenMode::READ } else { OpenMode::READ | OpenMode::WRITE };
    Ok(Dir::new(directory, preopen.permissions(), mode, false))
}

/// The view that the host functions work on.
pub(super) struct DirectoriesView<'a> {
    pub(super) container: &'a Container,
    pub(super) table: &'a mut ResourceTable,
}

impl DirectoriesView<'_> {
    fn hand_out(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let preopens = &self.container.spec.preopens;
        let open = self.container.directories.open(preopens)?;
        let one = |(dir, preopen): (&Dir, &Preopen)| {
            Ok((self.table.push(Descriptor::Dir(dir.clone()))?, preopen.guest.clone()))
        };
        open.iter().zip(preopens).map(one).collect()
    }
}

struct Preopens;

impl HasData for Preopens {
    type Data<'a> = DirectoriesView<'a>;
}

/// Adds `wasi:filesystem/preopens` 0.2.
pub(super) fn add_p2<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> DirectoriesView<'_>,
) -> wasmtime::Result<()> {
    p2::bindings::filesystem::preopens::add_to_linker::<T, Preopens>(linker, view)
}

/// Adds `wasi:filesystem/preopens` 0.3.
pub(super) fn add_p3<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> DirectoriesView<'_>,
) -> wasmtime::Result<()> {
    p3::bindings::filesystem::preopens::add_to_linker::<T, Preopens>(linker, view)
}

impl p2::bindings::filesystem::preopens::Host for DirectoriesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.hand_out()
    }
}

impl p3::bindings::filesystem::preopens::Host for DirectoriesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.hand_out()
    }
}
