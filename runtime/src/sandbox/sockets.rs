//! placeholder
use wasmtime::component::Linker;
use crate::sandbox::host::Host;
pub(super) fn add_p2(_: &mut Linker<Host>) -> wasmtime::Result<()> { Ok(()) }
pub(super) fn add_p3(_: &mut Linker<Host>) -> wasmtime::Result<()> { Ok(()) }
