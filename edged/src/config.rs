//! What the operator wrote, and what it means.
//!
//! Every setting exists once, as a field of [`Written`]: the same field is a flag, a key of the
//! TOML file and a line of `--print-config`. Flags override the file, the file overrides the
//! defaults. [`Written::mean`] turns that into [`Settings`], where every value has its own type,
//! every path is absolute and every default is taken. Unknown keys are errors that point at
//! their line. The environment is read here, for the default paths, and nowhere below.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use edge_runtime::table::Range;
use serde::{Deserialize, Serialize};

/// The command line of `edged`.
#[derive(Debug, Parser)]
#[command(
    name = "edged",
    version,
    about = "A Kubernetes control plane and a WebAssembly node in one process",
    args_conflicts_with_subcommands = true
)]
pub struct CommandLine {
    /// What to run; `server` when absent.
    #[command(subcommand)]
    pub role: Option<Role>,
    /// The settings of `server` when no subcommand is named.
    #[command(flatten)]
    pub server: ServerCommand,
}

/// The two roles one binary can play.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Serve the Kubernetes API, run the controllers and, unless told otherwise, a node
    Server(Box<ServerCommand>),
    /// Run a node of another server
    Agent(Box<AgentCommand>),
}

/// Flags of `edged server`.
#[derive(Debug, Default, Args)]
pub struct ServerCommand {
    /// Settings that flags and the configuration file share.
    #[command(flatten)]
    pub written: Written,
    /// Read settings from this TOML file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings in force as TOML and exit
    #[arg(long)]
    pub print_config: bool,
}

/// Flags of `edged agent`.
#[derive(Debug, Args)]
pub struct AgentCommand {
    /// The server's URL, `https://HOST:PORT` or `unix:PATH`
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// The token from the server's `agent-token` file
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where the guests' Service `kubernetes` leads, when `--server` is no address
    #[arg(long, value_name = "ADDRESS", hide = true)]
    pub kubernetes_address: Option<SocketAddr>,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    pub with_parent: bool,
    /// Settings that flags and the configuration file share.
    #[command(flatten)]
    pub written: Written,
    /// Read settings from this TOML file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings in force as TOML and exit
    #[arg(long)]
    pub print_config: bool,
}

/// Whether the control plane and the node share a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Split when running as root, one process otherwise.
    #[default]
    Auto,
    /// The node is a child process under another user id.
    On,
    /// One process.
    Off,
}

/// Which nodes the scheduler fills first, in the words of kube-scheduler's scoring strategies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum SchedulerScoring {
    /// The fullest that fits, so that others stay free or can be turned off.
    #[default]
    #[value(name = "MostAllocated")]
    MostAllocated,
    /// The emptiest, so that load is even.
    #[value(name = "LeastAllocated")]
    LeastAllocated,
}

/// Settings as written: every one optional, each both a flag and a key of the file.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Written {
    /// All state lives below this directory [default: /var/lib/edged for root, else ~/.local/state/edged]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the Kubernetes API listens (port 0 takes a free one) [default: 127.0.0.1:6443]
    #[arg(long, value_name = "ADDRESS")]
    pub api_address: Option<SocketAddr>,
    /// Where DNS answers, UDP and TCP [default: 127.0.0.1:1053]
    #[arg(long, value_name = "ADDRESS")]
    pub dns_address: Option<SocketAddr>,
    /// Where Ingress answers HTTP [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub http_address: Option<SocketAddr>,
    /// Where Ingress answers HTTPS [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS")]
    pub https_address: Option<SocketAddr>,
    /// The address NodePort and hostPort listeners bind [default: 0.0.0.0, as in Kubernetes]
    #[arg(long, value_name = "IP")]
    pub node_port_address: Option<IpAddr>,
    /// The addresses of Pods, of which each node gets a part; the same on every host of a cluster, never changed
    /// [default: 10.42.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub pod_range: Option<Range>,
    /// The addresses of Services; the same on every host of a cluster, never changed [default: 10.43.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub service_range: Option<Range>,
    /// The domain under which Services have names; the same on every host of a cluster [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<String>,
    /// Write an administrator's kubeconfig here, mode 0600 [default: DATA_DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Keep an audit log of the API in this file, set aside at 32 MiB [default: none]
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// `file:` and `oci-layout:` images live below this directory [default: the working directory]
    #[arg(long, value_name = "DIR")]
    pub image_dir: Option<PathBuf>,
    /// The image whose `tar`, `cat`, `ls` … look into containers [default: file:guests/dist/toolbox.wasm]
    #[arg(long, value_name = "IMAGE")]
    pub toolbox: Option<String>,
    /// `hostPath` volumes may lie below this directory; repeatable [default: none]
    #[arg(long = "host-path-dir", value_name = "DIR")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_path_dirs: Vec<PathBuf>,
    /// A registry `host[:port]` to speak plain HTTP with; repeatable [default: none]
    #[arg(long = "insecure-registry", value_name = "HOST")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub insecure_registries: Vec<String>,
    /// Images and compiled code that no Pod uses are removed above this share of the disk, in percent [default: 85]
    #[arg(long, value_name = "PERCENT")]
    pub image_gc_threshold: Option<u8>,
    /// When told to stop, end Pods for good, the least important first, in so many seconds; 0 lets them go on after
    /// the next start [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub shutdown_grace_period: Option<u32>,
    /// The part of these seconds that is kept for critical Pods [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub shutdown_grace_period_critical_pods: Option<u32>,
    /// Apply the manifests in this directory at start and when it changes
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Run the control plane alone
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub no_node: Option<bool>,
    /// Run the node as a child process under another user id [default: auto]
    #[arg(long, value_name = "WHEN")]
    pub split: Option<Split>,
    /// The numeric user id of the split node process [default: 65534]
    #[arg(long, value_name = "UID")]
    pub agent_uid: Option<u32>,
    /// The name of the Node object [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The most Pods this node is given [default: as many as its limits of open files and memory maps allow, at most
    /// 11000]
    #[arg(long, value_name = "NUMBER")]
    pub max_pods: Option<u32>,
    /// Which nodes the scheduler fills first, the fullest that fits or the emptiest [default: MostAllocated]
    #[arg(long, value_name = "STRATEGY")]
    pub scheduler_scoring: Option<SchedulerScoring>,
    /// Accept WASI 0.3 components, which the engine calls experimental
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub wasi_p3: Option<bool>,
    /// What to log, as tracing directives: `info`, `edge_controller=debug` … [default: info]
    #[arg(long, value_name = "DIRECTIVES")]
    pub log: Option<String>,
}

/// Settings as meant: nothing optional that has a default, every path absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// All state lives below this directory.
    pub data_dir: PathBuf,
    /// Where the API listens.
    pub api_address: SocketAddr,
    /// Where DNS answers.
    pub dns_address: SocketAddr,
    /// Where Ingress answers HTTP.
    pub http_address: SocketAddr,
    /// Where Ingress answers HTTPS.
    pub https_address: SocketAddr,
    /// The address of NodePort and hostPort listeners.
    pub node_port_address: IpAddr,
    /// The addresses of Pods.
    pub pod_range: Range,
    /// The addresses of Services.
    pub service_range: Range,
    /// The domain under which Services have names.
    pub cluster_domain: String,
    /// Where the administrator's kubeconfig is written.
    pub kubeconfig: PathBuf,
    /// The audit log of the API, if it is kept.
    pub audit_log: Option<PathBuf>,
    /// The root of `file:` and `oci-layout:` images.
    pub image_dir: PathBuf,
    /// The image of the toolbox.
    pub toolbox: String,
    /// The roots of `hostPath` volumes.
    pub host_path_dirs: Vec<PathBuf>,
    /// Registries that are spoken to in plain HTTP.
    pub insecure_registries: Vec<String>,
    /// The share of the disk, in percent, above which unused images go.
    pub image_gc_threshold: u8,
    /// In how many seconds Pods end when this process is told to stop; 0 if they do not.
    pub shutdown_grace_period: u32,
    /// The part of them for critical Pods.
    pub shutdown_grace_period_critical_pods: u32,
    /// A directory of manifests to keep applied.
    pub manifests: Option<PathBuf>,
    /// Whether this process runs the control plane alone.
    pub no_node: bool,
    /// Whether the node is a process of its own.
    pub split: Split,
    /// The user id of that process.
    pub agent_uid: u32,
    /// The name of the Node object.
    pub node_name: String,
    /// The most Pods this node is given, if that is told.
    pub max_pods: Option<u32>,
    /// Which nodes the scheduler fills first.
    pub scheduler_scoring: SchedulerScoring,
    /// Whether WASI 0.3 components may run.
    pub wasi_p3: bool,
    /// Tracing directives.
    pub log: String,
}

impl Written {
    /// Reads `file`, when there is one, and lays these flags over it.
    ///
    /// # Errors
    /// When the file cannot be read, or holds a key or value that is not known; the message
    /// names the line.
    pub fn over(self, file: Option<&Path>) -> Result<Written> {
        let Some(path) = file else { return Ok(self) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read configuration file {}", path.display()))?;
        let base: Written =
            toml::from_str(&text).with_context(|| format!("in configuration file {}", path.display()))?;
        Ok(Written {
            data_dir: self.data_dir.or(base.data_dir),
            api_address: self.api_address.or(base.api_address),
            dns_address: self.dns_address.or(base.dns_address),
            http_address: self.http_address.or(base.http_address),
            https_address: self.https_address.or(base.https_address),
            node_port_address: self.node_port_address.or(base.node_port_address),
            pod_range: self.pod_range.or(base.pod_range),
            service_range: self.service_range.or(base.service_range),
            cluster_domain: self.cluster_domain.or(base.cluster_domain),
            kubeconfig: self.kubeconfig.or(base.kubeconfig),
            audit_log: self.audit_log.or(base.audit_log),
            image_dir: self.image_dir.or(base.image_dir),
            toolbox: self.toolbox.or(base.toolbox),
            host_path_dirs: either(self.host_path_dirs, base.host_path_dirs),
            insecure_registries: either(self.insecure_registries, base.insecure_registries),
            image_gc_threshold: self.image_gc_threshold.or(base.image_gc_threshold),
            shutdown_grace_period: self.shutdown_grace_period.or(base.shutdown_grace_period),
            shutdown_grace_period_critical_pods: self
                .shutdown_grace_period_critical_pods
                .or(base.shutdown_grace_period_critical_pods),
            manifests: self.manifests.or(base.manifests),
            no_node: self.no_node.or(base.no_node),
            split: self.split.or(base.split),
            agent_uid: self.agent_uid.or(base.agent_uid),
            node_name: self.node_name.or(base.node_name),
            max_pods: self.max_pods.or(base.max_pods),
            scheduler_scoring: self.scheduler_scoring.or(base.scheduler_scoring),
            wasi_p3: self.wasi_p3.or(base.wasi_p3),
            log: self.log.or(base.log),
        })
    }

    /// Takes every default and makes every path absolute.
    ///
    /// # Errors
    /// When a value cannot be meant: a node name that is no DNS subdomain, a percentage above
    /// 100, no directory for state.
    pub fn mean(self, host: &Host) -> Result<Settings> {
        let data_dir = host.absolute(match self.data_dir {
            Some(dir) => dir,
            None => host.default_data_dir()?,
        });
        let node_name = self.node_name.unwrap_or_else(|| host.node_name());
        if let Err(reason) = edge_api::name::dns1123_subdomain(&node_name) {
            bail!("--node-name {node_name:?}: {reason}");
        }
        let image_gc_threshold = self.image_gc_threshold.unwrap_or(85);
        if !(1..=100).contains(&image_gc_threshold) {
            bail!("--image-gc-threshold {image_gc_threshold}: must be between 1 and 100 percent");
        }
        let pod_range = self.pod_range.unwrap_or_else(|| ipv4([10, 42, 0, 0], 16));
        let service_range = self.service_range.unwrap_or_else(|| ipv4([10, 43, 0, 0], 16));
        for (flag, range) in [("--pod-range", pod_range), ("--service-range", service_range)] {
            if !range.base().is_ipv4() || !(8..=28).contains(&range.prefix()) {
                bail!("{flag} {range}: must be of IPv4 addresses, with a prefix length between 8 and 28");
            }
        }
        if pod_range.overlaps(service_range) {
            bail!("--pod-range {pod_range} and --service-range {service_range}: must not overlap");
        }
        let cluster_domain = self.cluster_domain.unwrap_or_else(|| "cluster.local".to_owned());
        if let Err(reason) = edge_api::name::dns1123_subdomain(&cluster_domain) {
            bail!("--cluster-domain {cluster_domain:?}: {reason}");
        }
        if self.max_pods == Some(0) {
            bail!("--max-pods 0: must be at least 1; a server without a node is told by --no-node");
        }
        let shutdown_grace_period = self.shutdown_grace_period.unwrap_or(0);
        let shutdown_grace_period_critical_pods = self.shutdown_grace_period_critical_pods.unwrap_or(0);
        if shutdown_grace_period_critical_pods > shutdown_grace_period {
            bail!(
                "--shutdown-grace-period-critical-pods {shutdown_grace_period_critical_pods}: must be no more than \
                 --shutdown-grace-period, which is {shutdown_grace_period}"
            );
        }
        Ok(Settings {
            pod_range,
            service_range,
            cluster_domain,
            shutdown_grace_period,
            shutdown_grace_period_critical_pods,
            api_address: self.api_address.unwrap_or_else(|| loopback(6443)),
            dns_address: self.dns_address.unwrap_or_else(|| loopback(1053)),
            http_address: self.http_address.unwrap_or_else(|| loopback(8080)),
            https_address: self.https_address.unwrap_or_else(|| loopback(8443)),
            node_port_address: self.node_port_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            kubeconfig: host.absolute(self.kubeconfig.unwrap_or_else(|| data_dir.join("kubeconfig"))),
            audit_log: self.audit_log.map(|file| host.absolute(file)),
            image_dir: host.absolute(self.image_dir.unwrap_or_else(|| host.working_dir.clone())),
            toolbox: self.toolbox.unwrap_or_else(|| "file:guests/dist/toolbox.wasm".to_owned()),
            host_path_dirs: self.host_path_dirs.into_iter().map(|dir| host.absolute(dir)).collect(),
            insecure_registries: self.insecure_registries,
            image_gc_threshold,
            manifests: self.manifests.map(|dir| host.absolute(dir)),
            no_node: self.no_node.unwrap_or(false),
            split: self.split.unwrap_or_default(),
            agent_uid: self.agent_uid.unwrap_or(65_534),
            node_name,
            max_pods: self.max_pods,
            scheduler_scoring: self.scheduler_scoring.unwrap_or_default(),
            wasi_p3: self.wasi_p3.unwrap_or(false),
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            data_dir,
        })
    }
}

impl Settings {
    /// The settings in force, as a TOML file that would bring them about.
    ///
    /// # Errors
    /// When a path is not UTF-8, which TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        let written = Written {
            data_dir: Some(self.data_dir.clone()),
            api_address: Some(self.api_address),
            dns_address: Some(self.dns_address),
            http_address: Some(self.http_address),
            https_address: Some(self.https_address),
            node_port_address: Some(self.node_port_address),
            pod_range: Some(self.pod_range),
            service_range: Some(self.service_range),
            cluster_domain: Some(self.cluster_domain.clone()),
            kubeconfig: Some(self.kubeconfig.clone()),
            audit_log: self.audit_log.clone(),
            image_dir: Some(self.image_dir.clone()),
            toolbox: Some(self.toolbox.clone()),
            host_path_dirs: self.host_path_dirs.clone(),
            insecure_registries: self.insecure_registries.clone(),
            image_gc_threshold: Some(self.image_gc_threshold),
            shutdown_grace_period: Some(self.shutdown_grace_period),
            shutdown_grace_period_critical_pods: Some(self.shutdown_grace_period_critical_pods),
            manifests: self.manifests.clone(),
            no_node: Some(self.no_node),
            split: Some(self.split),
            agent_uid: Some(self.agent_uid),
            node_name: Some(self.node_name.clone()),
            max_pods: self.max_pods,
            scheduler_scoring: Some(self.scheduler_scoring),
            wasi_p3: Some(self.wasi_p3),
            log: Some(self.log.clone()),
        };
        toml::to_string(&written).context("cannot write the settings as TOML")
    }

    /// Whether the node runs as a process of its own on this host.
    pub fn splits(&self, host: &Host) -> bool {
        match self.split {
            Split::On => true,
            Split::Off => false,
            Split::Auto => host.is_root,
        }
    }
}

/// What the defaults depend on, read once.
#[derive(Clone, Debug)]
pub struct Host {
    /// Whether this process runs as root.
    pub is_root: bool,
    /// The kernel's name of this host.
    pub host_name: String,
    /// The directory relative paths start from.
    pub working_dir: PathBuf,
    /// `$XDG_STATE_HOME`, when set and absolute.
    pub state_home: Option<PathBuf>,
    /// `$HOME`, when set.
    pub home: Option<PathBuf>,
    /// `$NOTIFY_SOCKET`, where systemd waits to hear that this process is ready.
    pub notify_socket: Option<PathBuf>,
}

impl Host {
    /// Reads the host's facts.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub fn read() -> Result<Host> {
        let from_env = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Ok(Host {
            is_root: rustix::process::geteuid().is_root(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            working_dir: std::env::current_dir().context("the working directory is gone")?,
            state_home: from_env("XDG_STATE_HOME"),
            home: from_env("HOME"),
            notify_socket: from_env("NOTIFY_SOCKET"),
        })
    }

    fn absolute(&self, path: PathBuf) -> PathBuf {
        self.working_dir.join(path)
    }

    fn default_data_dir(&self) -> Result<PathBuf> {
        if self.is_root {
            return Ok(PathBuf::from("/var/lib/edged"));
        }
        if let Some(dir) = &self.state_home {
            return Ok(dir.join("edged"));
        }
        match &self.home {
            Some(home) => Ok(home.join(".local/state/edged")),
            None => bail!("no directory for state: set --data-dir, XDG_STATE_HOME or HOME"),
        }
    }

    /// The host name made a DNS subdomain: lower case, other characters as dashes.
    fn node_name(&self) -> String {
        let mapped: String = self
            .host_name
            .to_ascii_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let name = mapped.trim_matches(['-', '.']);
        if edge_api::name::dns1123_subdomain(name).is_ok() { name.to_owned() } else { "node".to_owned() }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn ipv4(base: [u8; 4], prefix: u8) -> Range {
    Range::new(IpAddr::from(base), prefix).expect("the prefix is no longer than an address")
}

fn either<T>(over: Vec<T>, base: Vec<T>) -> Vec<T> {
    if over.is_empty() { base } else { over }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn host() -> Host {
        Host {
            is_root: false,
            host_name: "Shop_Box-7.local".to_owned(),
            working_dir: PathBuf::from("/srv/app"),
            state_home: None,
            home: Some(PathBuf::from("/home/ada")),
            notify_socket: None,
        }
    }

    #[test]
    fn defaults_follow_the_contract() {
        let settings = Written::default().mean(&host()).unwrap();
        assert_eq!(settings.data_dir, Path::new("/home/ada/.local/state/edged"));
        assert_eq!(settings.kubeconfig, Path::new("/home/ada/.local/state/edged/kubeconfig"));
        assert_eq!(settings.api_address.to_string(), "127.0.0.1:6443");
        assert_eq!(settings.dns_address.to_string(), "127.0.0.1:1053");
        assert_eq!(settings.http_address.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.https_address.to_string(), "127.0.0.1:8443");
        assert_eq!(settings.image_dir, Path::new("/srv/app"));
        assert_eq!(settings.node_name, "shop-box-7.local");
        assert!(!settings.splits(&host()));
        assert!(settings.splits(&Host { is_root: true, ..host() }));
    }

    #[test]
    fn root_keeps_state_under_var_lib() {
        let settings = Written::default().mean(&Host { is_root: true, ..host() }).unwrap();
        assert_eq!(settings.data_dir, Path::new("/var/lib/edged"));
    }

    #[test]
    fn flags_override_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edged.toml");
        std::fs::write(&file, "api-address = \"127.0.0.1:7000\"\nlog = \"debug\"\n").unwrap();
        let flags = Written { log: Some("warn".to_owned()), ..Written::default() };
        let settings = flags.over(Some(&file)).unwrap().mean(&host()).unwrap();
        assert_eq!(settings.api_address.port(), 7000);
        assert_eq!(settings.log, "warn");
    }

    #[test]
    fn an_unknown_key_points_at_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edged.toml");
        std::fs::write(&file, "log = \"info\"\napi-adress = \"127.0.0.1:1\"\n").unwrap();
        let error = format!("{:#}", Written::default().over(Some(&file)).unwrap_err());
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("api-adress"), "{error}");
    }

    #[test]
    fn the_scheduler_packs_or_spreads_and_knows_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edged.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Written::default().over(Some(&file))
        };
        assert_eq!(
            read("").unwrap().mean(&host()).unwrap().scheduler_scoring,
            SchedulerScoring::MostAllocated
        );
        let spread = read("scheduler-scoring = \"LeastAllocated\"\n").unwrap().mean(&host()).unwrap();
        assert_eq!(spread.scheduler_scoring, SchedulerScoring::LeastAllocated);
        let error = format!("{:#}", read("scheduler-scoring = \"Random\"\n").unwrap_err());
        assert!(error.contains("MostAllocated") && error.contains("LeastAllocated"), "{error}");
        let line = CommandLine::try_parse_from(["edged", "--scheduler-scoring", "LeastAllocated"]).unwrap();
        assert_eq!(line.server.written.scheduler_scoring, Some(SchedulerScoring::LeastAllocated));
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let settings = Written { wasi_p3: Some(true), ..Written::default() }.mean(&host()).unwrap();
        let again: Written = toml::from_str(&settings.to_toml().unwrap()).unwrap();
        assert_eq!(again.mean(&host()).unwrap(), settings);
    }

    #[test]
    fn critical_pods_have_a_part_of_the_time_there_is() {
        let mean = |total, critical| {
            let written = Written {
                shutdown_grace_period: total,
                shutdown_grace_period_critical_pods: critical,
                ..Written::default()
            };
            written.mean(&host()).map_err(|error| error.to_string())
        };
        assert_eq!(mean(None, None).unwrap().shutdown_grace_period, 0);
        assert_eq!(mean(Some(30), Some(10)).unwrap().shutdown_grace_period_critical_pods, 10);
        assert!(mean(Some(5), Some(10)).unwrap_err().contains("must be no more than"));
    }

    #[test]
    fn a_node_name_that_is_no_dns_name_is_refused() {
        let written = Written { node_name: Some("Shop_Box".to_owned()), ..Written::default() };
        let error = written.mean(&host()).unwrap_err().to_string();
        assert!(error.contains("Shop_Box") && error.contains("lower"), "{error}");
    }

    #[test]
    fn ranges_are_apart_and_of_ipv4() {
        let mean = |flags: &[&str]| {
            let line =
                CommandLine::try_parse_from(["edged"].iter().chain(flags)).map_err(|e| e.to_string())?;
            line.server.written.mean(&host()).map_err(|e| e.to_string())
        };
        let settings = mean(&["--pod-range", "10.64.3.0/12"]).unwrap();
        assert_eq!(settings.pod_range.to_string(), "10.64.0.0/12");
        assert_eq!(settings.service_range.to_string(), "10.43.0.0/16");
        for (flags, word) in [
            (&["--pod-range", "10.42.0.0/15"][..], "must not overlap"),
            (&["--service-range", "10.0.0.0/8"], "must not overlap"),
            (&["--pod-range", "fd42::/48"], "must be of IPv4"),
            (&["--pod-range", "10.42.0.0/29"], "between 8 and 28"),
            (&["--pod-range", "10.42.0.0"], "is not an address range such as"),
            (&["--cluster-domain", "Shop"], "--cluster-domain"),
        ] {
            let error = mean(flags).unwrap_err();
            assert!(error.contains(word), "{flags:?}: {error}");
        }
    }

    #[test]
    fn a_node_has_room_for_a_pod() {
        let mean = |most| Written { max_pods: Some(most), ..Written::default() }.mean(&host());
        assert_eq!(mean(110).unwrap().max_pods, Some(110));
        assert!(mean(0).unwrap_err().to_string().contains("--max-pods 0: must be at least 1"));
    }

    #[test]
    fn a_bare_command_line_is_the_server() {
        let line =
            CommandLine::try_parse_from(["edged", "--no-node", "--api-address", "127.0.0.1:0"]).unwrap();
        assert!(line.role.is_none());
        assert_eq!(line.server.written.no_node, Some(true));
        let line = CommandLine::try_parse_from([
            "edged",
            "agent",
            "--server",
            "https://127.0.0.1:6443",
            "--token",
            "x",
        ])
        .unwrap();
        assert!(matches!(line.role, Some(Role::Agent(_))));
    }
}
