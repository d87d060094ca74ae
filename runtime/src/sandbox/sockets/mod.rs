//! `wasi:sockets` over the Pod network: the only sockets a guest ever gets.
//!
//! The resource types of the bindings are wasmtime-wasi's, whose own sockets stay unused: the
//! table holds ours under the same handles, see [`ours`]. Options that mean nothing to streams
//! without packets (hop limits, keep-alive, buffer sizes) are remembered and given back.

mod names;
mod options;
mod p2;
mod p3;
mod stream;
mod tcp;
mod udp;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use crate::net::PodNet;

/// The view that the host functions work on.
pub(super) struct SocketsView<'a> {
    pub(super) net: &'a PodNet,
    pub(super) table: &'a mut ResourceTable,
}

/// Names the view for the bindings.
pub(super) struct PodSockets;

impl HasData for PodSockets {
    type Data<'a> = SocketsView<'a>;
}

/// Adds the sockets and names of WASI 0.2.
pub(super) fn add_p2<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> SocketsView<'_>,
) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::sockets as wasi;
    let unstable = wasi::network::LinkOptions::default();
    wasi::network::add_to_linker::<T, PodSockets>(linker, &unstable, view)?;
    wasi::instance_network::add_to_linker::<T, PodSockets>(linker, view)?;
    wasi::tcp::add_to_linker::<T, PodSockets>(linker, view)?;
    wasi::tcp_create_socket::add_to_linker::<T, PodSockets>(linker, view)?;
    wasi::udp::add_to_linker::<T, PodSockets>(linker, view)?;
    wasi::udp_create_socket::add_to_linker::<T, PodSockets>(linker, view)?;
    wasi::ip_name_lookup::add_to_linker::<T, PodSockets>(linker, view)
}

/// Adds the sockets and names of WASI 0.3.
pub(super) fn add_p3<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> SocketsView<'_>,
) -> wasmtime::Result<()> {
    use wasmtime_wasi::p3::bindings::sockets as wasi;
    wasi::types::add_to_linker::<T, PodSockets>(linker, view)?;
    wasi::ip_name_lookup::add_to_linker::<T, PodSockets>(linker, view)
}

/// The handle under which the table knows our type; the table checks the type itself.
fn ours<Theirs: 'static, Ours: 'static>(handle: &Resource<Theirs>) -> Resource<Ours> {
    Resource::new_own(handle.rep())
}

/// The handle under which the guest knows our type.
fn theirs<Ours: 'static, Theirs: 'static>(handle: Resource<Ours>) -> Resource<Theirs> {
    Resource::new_own(handle.rep())
}
