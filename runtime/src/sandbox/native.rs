//! The only unsafe code of the node: mapping compiled code, probing the address space, telling
//! the allocator where to take memory, and giving it back to the kernel. Each function states why it is sound.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_uint};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Maps a compiled core module.
///
/// The caller vouches that `file` was written by our own compiler child and that its digest has
/// been checked; [`crate::code`] is the only source of such files, in a directory of mode 0700.
pub(super) fn map_module(engine: &Engine, file: &File) -> wasmtime::Result<Module> {
    // SAFETY: the file is the unmodified output of our compiler, see above. wasmtime itself
    // refuses files of another version, target or tunables.
    unsafe { Module::deserialize_file(engine, descriptor_path(file)) }
}

/// Maps a compiled component; the same conditions as [`map_module`].
pub(super) fn map_component(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    // SAFETY: as in `map_module`.
    unsafe { Component::deserialize_file(engine, descriptor_path(file)) }
}

/// The open file itself, not whatever has its name now.
pub(super) fn descriptor_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The largest power of two from 64 MiB to 64 TiB that the address space has room for; 0 if none.
pub(super) fn largest_reservation() -> u64 {
    (26..=46).rev().map(|bits| 1_u64 << bits).find(|bytes| can_reserve(*bytes)).unwrap_or(0)
}

fn can_reserve(bytes: u64) -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let Ok(length) = usize::try_from(bytes) else { return false };
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping without access that nothing else refers to, unmapped at once.
    unsafe {
        match mmap_anonymous(std::ptr::null_mut(), length, ProtFlags::empty(), flags) {
            Ok(address) => munmap(address, length).is_ok(),
            Err(_) => false,
        }
    }
}

/// Gives back what a start, or the end of many containers, leaves behind: freed heap memory, and the pages of this
/// program's code that it mapped. They stay in the page cache; what still runs is mapped again as it is touched. Takes
/// milliseconds; call it off the hot path.
pub fn give_back_memory() {
    trim_heap();
    forget_code();
}

fn forget_code() {
    for (start, length) in own_code() {
        // SAFETY: the range is a mapping of our own program that nobody writes to (no relocation reaches it; a debugger
        // would lose its breakpoints), private and backed by its file: a page that is dropped is read again from there,
        // whenever it is touched.
        let _ = unsafe { rustix::mm::madvise(start as *mut _, length, rustix::mm::Advice::LinuxDontNeed) };
    }
}

/// Where this program's code is mapped.
fn own_code() -> Vec<(usize, usize)> {
    let (Ok(program), Ok(maps)) = (std::env::current_exe(), std::fs::read_to_string("/proc/self/maps"))
    else {
        return Vec::new();
    };
    let name = format!(" {}", program.display());
    maps.lines().filter(|line| line.ends_with(&name)).filter_map(code).collect()
}

/// Start and length of a mapping that is executable and not writable, as a line of `/proc/self/maps` tells it.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    (rights == "r-xp").then(|| (start, end - start))
}

/// Empties the allocator's own stores: what this thread keeps for itself, and every page that holds nothing.
fn trim_heap() {
    for what in [c"thread.tcache.flush", c"arena.4096.purge"] {
        // SAFETY: jemalloc documents both as callable from any thread, without a value either way; 4096 is its
        // MALLCTL_ARENAS_ALL. An error (a jemalloc that knows neither) leaves all as it was.
        let _ = unsafe {
            tikv_jemalloc_sys::mallctl(
                what.as_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                0,
            )
        };
    }
}

/// From now on this thread takes its memory from where only threads do that called this, too. What is made for a moment
/// and what is kept share pages otherwise: the more is kept, the farther apart lies what is used next, and with a
/// hundred thousand objects that cost requests a twentieth of their time.
pub fn allocate_apart() {
    static APART: LazyLock<Option<c_uint>> = LazyLock::new(|| read_arena(c"arenas.create"));
    let Some(mut arena) = *APART else { return };
    // SAFETY: jemalloc documents a value of this type to be written, and reads it during the call alone. An error leaves
    // the thread where it was.
    let _ = unsafe {
        tikv_jemalloc_sys::mallctl(
            c"thread.arena".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut arena).cast(),
            size_of::<c_uint>(),
        )
    };
}

/// The arena that the allocator names when asked for this, which has to be one of its questions after an arena.
fn read_arena(what: &CStr) -> Option<c_uint> {
    let (mut arena, mut size): (c_uint, usize) = (0, size_of::<c_uint>());
    // SAFETY: jemalloc writes no more than `size` bytes, and fails for a question whose answer has another size.
    let failed = unsafe {
        tikv_jemalloc_sys::mallctl(
            what.as_ptr(),
            (&raw mut arena).cast(),
            &raw mut size,
            std::ptr::null_mut(),
            0,
        )
    };
    (failed == 0).then_some(arena)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn who_allocates_apart_does_so_together() {
        let apart = || {
            allocate_apart();
            read_arena(c"thread.arena")
        };
        let (one, other) = (std::thread::spawn(apart).join(), std::thread::spawn(apart).join());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.is_some() && one == other, "{one:?} {other:?}");
        assert_ne!(one, read_arena(c"thread.arena"));
    }

    #[test]
    fn code_that_was_given_back_goes_on() {
        assert!(!own_code().is_empty());
        give_back_memory();
        let line = "5f00-7f00 r-xp 00001000 fe:00 42    /usr/bin/edged";
        assert_eq!(code(line), Some((0x5f00, 0x2000)));
        for other in
            ["5f00-7f00 r--p 0 fe:00 42 /usr/bin/edged", "5f00-7f00 rw-p 0 fe:00 42 /usr/bin/edged", ""]
        {
            assert_eq!(code(other), None, "{other}");
        }
    }
}
