//! The split shape: the node as a child process under another user id.
//!
//! The control plane keeps the store, the keys and the Secrets; the child runs the guests and
//! reaches the API over a Unix socket that only its user can open. A guest that breaks out of its
//! sandbox finds itself as that user. The child ends with its parent; the parent starts it again
//! when it ends by itself, with growing delays, and goes on serving meanwhile.

use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::sync::watch;

use crate::config::{Host, Settings};
use crate::ready::NodePorts;

const SOCKET: &str = "api.sock";
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A child that lived this long starts again without delay.
const STEADY: Duration = Duration::from_secs(60);

/// The node process and what starts it again.
pub struct Child {
    arguments: Vec<String>,
    uid: Option<u32>,
    process: tokio::process::Child,
    stdout: Option<ChildStdout>,
    since: Instant,
    delay: Duration,
    ports: watch::Sender<Option<NodePorts>>,
}

impl Child {
    /// Makes the child's directory and gives the path of the socket in it.
    ///
    /// # Errors
    /// When a directory cannot be made or given away.
    pub fn prepare(data_dir: &Path, node_dir: &Path, uid: Option<u32>) -> Result<PathBuf> {
        let refused = |path: &Path| format!("cannot prepare {} for the node process", path.display());
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(node_dir).with_context(|| refused(node_dir))?;
        if let Some(uid) = uid {
            // The child may pass through, not list; every file of ours is 0600, every directory 0700.
            let open = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(data_dir, open).with_context(|| refused(data_dir))?;
            give(node_dir, uid).with_context(|| refused(node_dir))?;
        }
        Ok(node_dir.join(SOCKET))
    }

    /// Starts the child, with the socket made its own.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        settings: &Settings,
        host: &Host,
        node_dir: &Path,
        socket: &Path,
        api: SocketAddr,
    ) -> Result<Child> {
        let uid = host.is_root.then_some(settings.agent_uid);
        if let Some(uid) = uid {
            std::os::unix::fs::chown(socket, Some(uid), Some(uid))
                .with_context(|| format!("cannot give {} to user {uid}", socket.display()))?;
        }
        let arguments = arguments(settings, node_dir, socket, api);
        let (process, stdout) = spawn(&arguments, uid)?;
        let (ports, _) = watch::channel(None);
        Ok(Child {
            arguments,
            uid,
            process,
            stdout: Some(stdout),
            since: Instant::now(),
            delay: FIRST_DELAY,
            ports,
        })
    }

    /// Where the child serves, once it does.
    pub fn ports(&self) -> watch::Receiver<Option<NodePorts>> {
        self.ports.subscribe()
    }

    /// Keeps the child running. May be dropped at any await and called again.
    ///
    /// # Errors
    /// When the child ends before it was ever ready, or cannot be started again.
    pub async fn keep(&mut self) -> Result<()> {
        loop {
            if let Some(stdout) = &mut self.stdout {
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(ports) = NodePorts::read(&line) {
                        self.ports.send_replace(Some(ports));
                    }
                }
            }
            self.stdout = None;
            let status = self.process.wait().await.context("the node process is lost")?;
            if self.ports.borrow().is_none() {
                anyhow::bail!("the node process ended with {status} before it was ready; its log says why");
            }
            self.delay =
                if self.since.elapsed() > STEADY { FIRST_DELAY } else { (self.delay * 2).min(LONGEST_DELAY) };
            tracing::error!(%status, delay = ?self.delay, "the node process ended; starting it again");
            tokio::time::sleep(self.delay).await;
            let (process, stdout) = spawn(&self.arguments, self.uid)?;
            (self.process, self.stdout, self.since) = (process, Some(stdout), Instant::now());
        }
    }

    /// Tells the child to drain and waits; after `deadline` it is killed.
    pub async fn stop(mut self, deadline: Duration) {
        if let Some(id) =
            self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
            && let Err(error) = rustix::process::kill_process(id, Signal::TERM)
        {
            tracing::warn!(%error, "the node process cannot be told to stop");
        }
        if tokio::time::timeout(deadline, self.process.wait()).await.is_err() {
            tracing::warn!("the node process did not drain in time; killing it");
            let _ = self.process.kill().await;
        }
    }
}

/// Asks the kernel to stop this process when its parent ends.
///
/// # Errors
/// When the kernel cannot.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("cannot follow the parent process")
}

fn spawn(arguments: &[String], uid: Option<u32>) -> Result<(tokio::process::Child, ChildStdout)> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("edged").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C in a terminal is for the parent, which drains the child first.
    command.process_group(0);
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let mut process = command.spawn().context("cannot start the node process")?;
    let stdout = process.stdout.take().context("the node process has no output")?;
    Ok((process, stdout))
}

fn arguments(settings: &Settings, node_dir: &Path, socket: &Path, api: SocketAddr) -> Vec<String> {
    let mut arguments = vec!["agent".to_owned(), "--with-parent".to_owned()];
    let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    flag("--server", format!("unix:{}", socket.display()));
    flag("--kubernetes-address", api.to_string());
    flag("--data-dir", node_dir.display().to_string());
    flag("--node-name", settings.node_name.clone());
    if let Some(most) = settings.max_pods {
        flag("--max-pods", most.to_string());
    }
    flag("--dns-address", settings.dns_address.to_string());
    flag("--http-address", settings.http_address.to_string());
    flag("--https-address", settings.https_address.to_string());
    flag("--node-port-address", settings.node_port_address.to_string());
    flag("--pod-range", settings.pod_range.to_string());
    flag("--service-range", settings.service_range.to_string());
    flag("--cluster-domain", settings.cluster_domain.clone());
    flag("--image-dir", settings.image_dir.display().to_string());
    flag("--toolbox", settings.toolbox.clone());
    flag("--image-gc-threshold", settings.image_gc_threshold.to_string());
    flag("--shutdown-grace-period", settings.shutdown_grace_period.to_string());
    flag("--shutdown-grace-period-critical-pods", settings.shutdown_grace_period_critical_pods.to_string());
    flag("--wasi-p3", settings.wasi_p3.to_string());
    flag("--log", settings.log.clone());
    for dir in &settings.host_path_dirs {
        flag("--host-path-dir", dir.display().to_string());
    }
    for registry in &settings.insecure_registries {
        flag("--insecure-registry", registry.clone());
    }
    arguments
}

/// Gives a directory and all below it to a user; what is already theirs is left alone.
fn give(path: &Path, uid: u32) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.uid() != uid {
        std::os::unix::fs::lchown(path, Some(uid), Some(uid))?;
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), uid)?;
        }
    }
    Ok(())
}
