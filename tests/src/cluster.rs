//! A running `edged` and the commands that drive it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::Api;

/// One process, or control plane and node apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    Split,
}

/// What a cluster is started with, beside its ports and its directory.
#[derive(Clone, Debug)]
pub struct Options {
    pub shape: Shape,
    /// More flags of `edged`.
    pub flags: Vec<String>,
    /// Run as this user; only root can.
    pub uid: Option<u32>,
}

impl Options {
    /// `EDGE_SHAPE=split` makes every cluster split: so stories are told again in the other shape.
    pub fn new(shape: Shape) -> Options {
        let split = std::env::var_os("EDGE_SHAPE").is_some_and(|shape| shape == "split");
        Options { shape: if split { Shape::Split } else { shape }, flags: Vec::new(), uid: None }
    }

    pub fn flag(mut self, flag: &str, value: &str) -> Options {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }
}

/// A running `edged`; dropped, it is killed.
pub struct Cluster {
    child: Child,
    ready: String,
    options: Options,
    folder: TempDir,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// What it printed, if it succeeded.
    pub fn checked(self) -> Result<String, String> {
        if self.status.success() {
            Ok(self.stdout)
        } else {
            Err(format!("{}\n{}{}", self.status, self.stdout, self.stderr))
        }
    }

    /// What it printed; panics if it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        self.checked().unwrap_or_else(|text| panic!("a command failed: {text}"))
    }

    /// What it complained of; panics if it succeeded.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.status.success(), "a command succeeded that must not: {}", self.stdout);
        self.stderr
    }
}

impl Cluster {
    /// Starts one and waits for its ready line.
    pub fn start(shape: Shape) -> Cluster {
        Cluster::with(Options::new(shape))
    }

    pub fn with(options: Options) -> Cluster {
        let folder = tempfile::Builder::new().prefix("edge-").tempdir().unwrap();
        // Another user must be able to pass through.
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let (child, ready) = spawn(&options, folder.path()).unwrap_or_else(|error| panic!("{error}"));
        Cluster { child, ready, options, folder }
    }

    /// Starts one that is expected to refuse; gives what it logged.
    pub fn refused(options: &Options, folder: &Path) -> String {
        match spawn(options, folder) {
            Ok((mut child, ready)) => {
                let _ = child.kill();
                panic!("edged started although it must not: {ready}")
            }
            Err(log) => log,
        }
    }

    /// The value of `key=` in the ready line.
    #[track_caller]
    pub fn told(&self, key: &str) -> &str {
        let found = self.ready.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {key}= in {:?}", self.ready))
    }

    pub fn ready_line(&self) -> &str {
        &self.ready
    }

    pub fn http(&self) -> SocketAddr {
        self.told("http").parse().unwrap()
    }

    pub fn dns(&self) -> SocketAddr {
        self.told("dns").parse().unwrap()
    }

    pub fn api(&self) -> SocketAddr {
        self.told("api").trim_start_matches("https://").parse().unwrap()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A directory beside the data directory, for a story's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn edgectl(&self, arguments: &[&str]) -> Output {
        self.run(Command::new(crate::binaries().join("edgectl")).args(arguments))
    }

    pub fn kubectl(&self, kubectl: &Path, arguments: &[&str]) -> Output {
        let cache = self.folder.path().join("kubectl-cache");
        self.run(Command::new(kubectl).arg("--cache-dir").arg(cache).args(arguments))
    }

    /// Runs a client's command with this cluster's kubeconfig, from the project's root.
    pub fn run(&self, command: &mut Command) -> Output {
        let output = self
            .prepare(command)
            .output()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same environment for a command that runs on.
    pub fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("KUBECONFIG", self.told("kubeconfig")).current_dir(crate::root())
    }

    /// An object as JSON, if there is one.
    pub fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut words = vec!["get", "-o", "json"];
        words.extend(arguments);
        let text = self.edgectl(&words).checked()?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// What the first node's `/metrics` says of something without labels.
    pub fn node_metric(&self, name: &str) -> Result<f64, String> {
        let api = Api::of(self);
        let nodes = api.list("/api/v1/nodes").map_err(|error| error.to_string())?;
        let node = nodes["items"][0]["metadata"]["name"].as_str().ok_or("no node")?.to_owned();
        let answer = api.get(&format!("/api/v1/nodes/{node}/proxy/metrics"));
        let (_, metrics) = answer.map_err(|error| error.to_string())?;
        let text = metrics.as_str().ok_or_else(|| metrics.to_string())?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {name} in {text}"))
    }

    /// Applies YAML text.
    #[track_caller]
    pub fn apply(&self, yaml: &str) -> String {
        self.try_apply(yaml).ok()
    }

    pub fn try_apply(&self, yaml: &str) -> Output {
        let file = self.folder.path().join(format!("apply-{}.yaml", fastrand::u64(..)));
        std::fs::write(&file, yaml).unwrap();
        self.edgectl(&["apply", "-f", file.to_str().unwrap()])
    }

    /// What `edged` logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGTERM; gives the exit status.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// SIGKILL, without warning. In the split shape the node goes with its parent.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same directory, on new ports unless `edged` was given some.
    pub fn start_again(&mut self) {
        let (child, ready) =
            spawn(&self.options, self.folder.path()).unwrap_or_else(|error| panic!("{error}"));
        (self.child, self.ready) = (child, ready);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("── the end of edged's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn spawn(options: &Options, folder: &Path) -> Result<(Child, String), String> {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let before = log.metadata().unwrap().len();
    let mut command = Command::new(crate::binaries().join("edged"));
    command.arg("--data-dir").arg(folder.join("data"));
    if !options.flags.iter().any(|given| given == "--image-dir") {
        command.arg("--image-dir").arg(crate::root());
    }
    for flag in ["--api-address", "--dns-address", "--http-address", "--https-address"] {
        if !options.flags.iter().any(|given| given == flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    command.args(["--split", if options.shape == Shape::Split { "on" } else { "off" }]).args(&options.flags);
    command.current_dir(crate::root()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.env("HOME", folder);
    if let Some(uid) = options.uid {
        command.uid(uid).gid(uid);
    }
    let mut child = command.spawn().map_err(|error| format!("cannot start edged: {error}"))?;
    let stdout = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                // Nobody listens any more, but the pipe stays open: edged may go on printing.
                continue;
            }
        }
    });
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(line) if line.starts_with("ready ") => Ok((child, line)),
        other => {
            let _ = child.kill();
            let status = child.wait();
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            let fresh = log.get(usize::try_from(before).unwrap()..).unwrap_or_default();
            Err(format!("edged was not ready: {other:?}, {status:?}\n{fresh}"))
        }
    }
}
