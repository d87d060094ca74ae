//! The few threads that make what is kept; see [`Config::keeper`](crate::Config).

use std::thread::{Builder, JoinHandle};

/// Starts one, which calls `keeper` first.
///
/// # Panics
/// When the host has no room for a thread: they are started with the process.
pub fn start(name: &str, keeper: fn(), run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let run = move || {
        keeper();
        run();
    };
    let started = Builder::new().name(name.to_owned()).spawn(run);
    started.expect("a process that is starting can start a thread")
}
