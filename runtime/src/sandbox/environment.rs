//! Arguments and environment of components, read from the container when a guest asks: an
//! instance for one request costs no copies of them.

use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::{p2, p3};

use crate::sandbox::container::ContainerSpec;

/// The view that the host functions work on.
pub(super) struct EnvironmentView<'a>(pub(super) &'a ContainerSpec);

struct Environment;

impl HasData for Environment {
    type Data<'a> = EnvironmentView<'a>;
}

/// Adds `wasi:cli/environment` 0.2.
pub(super) fn add_p2<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> EnvironmentView<'_>,
) -> wasmtime::Result<()> {
    p2::bindings::cli::environment::add_to_linker::<T, Environment>(linker, view)
}

/// Adds `wasi:cli/environment` 0.3.
pub(super) fn add_p3<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> EnvironmentView<'_>,
) -> wasmtime::Result<()> {
    p3::bindings::cli::environment::add_to_linker::<T, Environment>(linker, view)
}

impl p2::bindings::cli::environment::Host for EnvironmentView<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.0.env.to_vec())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.0.args.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl p3::bindings::cli::environment::Host for EnvironmentView<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.0.env.to_vec())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.0.args.clone())
    }

    fn get_initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}
