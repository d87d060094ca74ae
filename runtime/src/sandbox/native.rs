//! The only unsafe code of the node: mapping compiled code, probing the address space, giving
//! memory back to the kernel. Each function states why it is sound.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

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

/// Gives freed heap memory back to the kernel. Takes milliseconds; call it off the hot path.
pub(super) fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: glibc documents `malloc_trim` as thread-safe; it has no preconditions.
        unsafe {
            malloc_trim(0);
        }
    }
}
