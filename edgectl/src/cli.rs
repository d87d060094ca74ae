//! The words of the command line, as kubectl spells them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A command and how to reach the server.
#[derive(Debug, Parser)]
#[command(name = "edgectl", version, about = "Kubernetes for WebAssembly on small edge hosts")]
pub struct CommandLine {
    /// How to reach the server.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the server and as whom.
#[derive(Debug, Args)]
pub struct Connection {
    /// Path to the kubeconfig file [default: $KUBECONFIG, ~/.kube/config, the local edged's]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace of this request
    #[arg(long, short = 'n', global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Act as this user
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Act as a member of this group; repeatable
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub as_groups: Vec<String>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create or update what the manifests describe
    Apply(Apply),
    /// Show objects
    Get(Get),
    /// Show objects in detail, with their events
    Describe(Describe),
    /// Delete objects
    Delete(Delete),
    /// Print the logs of a container
    Logs(Logs),
    /// Wait for a condition
    Wait(Wait),
    /// Say why a Pod has no node, and what would help
    Why(Why),
    /// Fetch what a container's guest had in its memory when it trapped last
    #[command(name = "coredump")]
    CoreDump(CoreDump),
    /// Set a new size
    Scale(Scale),
    /// Follow and change rollouts
    Rollout(Rollout),
    /// Describe the fields of a kind
    Explain(Explain),
    /// List the kinds the server knows
    ApiResources(ApiResources),
    /// List the group versions the server knows
    ApiVersions,
    /// Ask who one is and what one may do
    Auth(Auth),
    /// Print the versions of client and server
    Version(Version),
    /// Print a shell's completion script
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `edgectl apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// A manifest, a directory of manifests, or `-` for standard input
    #[arg(long = "filename", short = 'f', required = true, value_name = "FILE")]
    pub filenames: Vec<String>,
    /// Read directories with all below them
    #[arg(long, short = 'R')]
    pub recursive: bool,
    /// `none`, `server` or `client`
    #[arg(long, default_value = "none", value_name = "WHERE")]
    pub dry_run: DryRun,
    /// How to treat unknown fields: `strict`, `warn` or `ignore`
    #[arg(long, default_value = "strict", value_name = "HOW")]
    pub validate: String,
    /// `name`, `yaml` or `json`
    #[arg(long, short = 'o', value_name = "FORMAT")]
    pub output: Option<String>,
}

/// Whether a change is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DryRun {
    /// It is.
    None,
    /// The server says what it would do.
    Server,
    /// Nothing is sent.
    Client,
}

/// `edgectl get`.
#[derive(Debug, Args)]
pub struct Get {
    /// TYPE, TYPE NAME…, TYPE/NAME… or TYPE,TYPE
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    pub what: Vec<String>,
    /// `wide`, `yaml`, `json`, `name`, `jsonpath=…` or `custom-columns=…`
    #[arg(long, short = 'o', value_name = "FORMAT")]
    pub output: Option<String>,
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Only objects whose labels match
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only objects whose fields match
    #[arg(long, value_name = "SELECTOR")]
    pub field_selector: Option<String>,
    /// Go on showing what changes
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// Show no header
    #[arg(long)]
    pub no_headers: bool,
    /// Add a column of labels
    #[arg(long)]
    pub show_labels: bool,
    /// Succeed when a named object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// `edgectl describe`.
#[derive(Debug, Args)]
pub struct Describe {
    /// TYPE, TYPE NAME… or TYPE/NAME…
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    pub what: Vec<String>,
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Only objects whose labels match
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
}

/// `edgectl delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// TYPE NAME…, TYPE/NAME… or TYPE with -l or --all
    #[arg(value_name = "TYPE[/NAME]", required_unless_present = "filenames")]
    pub what: Vec<String>,
    /// What these manifests describe
    #[arg(long = "filename", short = 'f', value_name = "FILE", conflicts_with = "what")]
    pub filenames: Vec<String>,
    /// Read directories with all below them
    #[arg(long, short = 'R')]
    pub recursive: bool,
    /// All objects of the type
    #[arg(long)]
    pub all: bool,
    /// Only objects whose labels match
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Seconds the object is given to end
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u32>,
    /// At once, without waiting for the node
    #[arg(long)]
    pub force: bool,
    /// Return without waiting for the end
    #[arg(long, default_value = "true", num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub wait: bool,
    /// `background`, `foreground` or `orphan`
    #[arg(long, default_value = "background", value_name = "HOW")]
    pub cascade: String,
    /// Succeed when an object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// How long to wait, such as `30s`; 0 is for ever
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = duration)]
    pub timeout: std::time::Duration,
}

/// `edgectl logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    pub what: String,
    /// CONTAINER, when not given by -c
    #[arg(value_name = "CONTAINER")]
    pub container_word: Option<String>,
    /// Which container
    #[arg(long, short = 'c', value_name = "NAME")]
    pub container: Option<String>,
    /// Go on as the log grows
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// The log of the container before this one
    #[arg(long, short = 'p')]
    pub previous: bool,
    /// A time before every line
    #[arg(long)]
    pub timestamps: bool,
    /// Only this many lines from the end
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,
    /// Only what is newer, such as `5m`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<std::time::Duration>,
    /// Only this many bytes
    #[arg(long, value_name = "BYTES")]
    pub limit_bytes: Option<u64>,
}

/// `edgectl wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// TYPE/NAME… or TYPE NAME…
    #[arg(value_name = "TYPE[/NAME]", required = true)]
    pub what: Vec<String>,
    /// `condition=NAME[=VALUE]`, `delete`, `create` or `jsonpath={…}[=VALUE]`
    #[arg(long = "for", value_name = "CONDITION", required = true)]
    pub condition: String,
    /// How long, such as `30s`
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub timeout: std::time::Duration,
    /// All objects of the type
    #[arg(long)]
    pub all: bool,
    /// Only objects whose labels match
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
}

/// `edgectl scale`.
#[derive(Debug, Args)]
pub struct Scale {
    /// TYPE/NAME… or TYPE NAME…
    #[arg(value_name = "TYPE[/NAME]", required = true)]
    pub what: Vec<String>,
    /// The new size
    #[arg(long, value_name = "COUNT")]
    pub replicas: u32,
    /// Only if the size is this one now
    #[arg(long, value_name = "COUNT")]
    pub current_replicas: Option<u32>,
}

/// `edgectl rollout`.
#[derive(Debug, Args)]
pub struct Rollout {
    /// What to do with the rollout.
    #[command(subcommand)]
    pub verb: RolloutVerb,
}

/// What `edgectl rollout` can do.
#[derive(Debug, Subcommand)]
pub enum RolloutVerb {
    /// Follow a rollout to its end
    Status {
        /// TYPE/NAME or TYPE NAME
        #[arg(required = true)]
        what: Vec<String>,
        /// Return at once
        #[arg(long, short = 'w', default_value = "true", num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
        watch: bool,
        /// How long to follow; 0 is for ever
        #[arg(long, default_value = "0s", value_parser = duration)]
        timeout: std::time::Duration,
    },
    /// List the revisions
    History {
        /// TYPE/NAME or TYPE NAME
        #[arg(required = true)]
        what: Vec<String>,
        /// Show this revision's Pod template
        #[arg(long, default_value = "0")]
        revision: i64,
    },
    /// Go back to an earlier revision
    Undo {
        /// TYPE/NAME or TYPE NAME
        #[arg(required = true)]
        what: Vec<String>,
        /// Which one; 0 is the one before
        #[arg(long, default_value = "0")]
        to_revision: i64,
    },
    /// Replace every Pod, step by step
    Restart {
        /// TYPE/NAME or TYPE NAME
        #[arg(required = true)]
        what: Vec<String>,
    },
    /// Hold the rollout
    Pause {
        /// TYPE/NAME or TYPE NAME
        #[arg(required = true)]
        what: Vec<String>,
    },
    /// Go on with a held rollout
    Resume {
        /// TYPE/NAME or TYPE NAME
        #[arg(required = true)]
        what: Vec<String>,
    },
}

/// `edgectl explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// TYPE or TYPE.FIELD.FIELD
    #[arg(value_name = "TYPE[.FIELD…]")]
    pub what: String,
    /// Show the fields of the fields
    #[arg(long)]
    pub recursive: bool,
    /// Of this group version
    #[arg(long, value_name = "GROUP/VERSION")]
    pub api_version: Option<String>,
}

/// `edgectl api-resources`.
#[derive(Debug, Args)]
pub struct ApiResources {
    /// `wide` or `name`
    #[arg(long, short = 'o', value_name = "FORMAT")]
    pub output: Option<String>,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    pub api_group: Option<String>,
    /// Only namespaced ones, or only others
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub namespaced: Option<bool>,
    /// Only those that know all these verbs
    #[arg(long, value_delimiter = ',')]
    pub verbs: Vec<String>,
    /// Show no header
    #[arg(long)]
    pub no_headers: bool,
}

/// `edgectl auth`.
#[derive(Debug, Args)]
pub struct Auth {
    /// What to ask.
    #[command(subcommand)]
    pub verb: AuthVerb,
}

/// What `edgectl auth` can ask.
#[derive(Debug, Subcommand)]
pub enum AuthVerb {
    /// May I do this?
    CanI(CanI),
    /// Who am I?
    Whoami,
}

/// `edgectl auth can-i`.
#[derive(Debug, Args)]
pub struct CanI {
    /// VERB and TYPE, TYPE/NAME or a path
    #[arg(value_name = "VERB TYPE[/NAME]", required_unless_present = "list")]
    pub words: Vec<String>,
    /// Of this subresource, such as `log`
    #[arg(long, value_name = "NAME")]
    pub subresource: Option<String>,
    /// In all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Show everything one may do in the namespace
    #[arg(long, conflicts_with = "words")]
    pub list: bool,
    /// Answer by the exit code alone
    #[arg(long, short = 'q')]
    pub quiet: bool,
}

/// `edgectl coredump`
#[derive(Debug, Args)]
pub struct CoreDump {
    /// The Pod, as POD or pod/POD; its annotation edgectl.dev/core-dump: "true" is what asks for dumps
    #[arg(value_name = "POD")]
    pub pod: String,
    /// The container, if there are several
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// The file to write, `-` for standard output [default: POD.CONTAINER.core]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<String>,
}

/// `edgectl why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The Pod, as POD or pod/POD
    #[arg(value_name = "POD")]
    pub pod: String,
    /// `json`
    #[arg(long, short = 'o', value_name = "FORMAT")]
    pub output: Option<String>,
}

/// `edgectl version`.
#[derive(Debug, Args)]
pub struct Version {
    /// Only the client's
    #[arg(long)]
    pub client: bool,
}

/// Reads Go's way of writing a duration: `300ms`, `30s`, `5m`, `1h30m`, or plain seconds.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits =
            rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| bad_duration(text))?;
        let count: f64 = rest[..digits].parse().map_err(|_| bad_duration(text))?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += count
            * match &rest[..end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(bad_duration(text)),
            };
        rest = &rest[end..];
    }
    std::time::Duration::try_from_secs_f64(total).map_err(|_| bad_duration(text))
}

fn bad_duration(text: &str) -> String {
    format!("{text:?} is no duration; write one as 30s, 5m or 1h30m")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        crate::cli::CommandLine::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, want) in [("30s", 30_000), ("1h30m", 5_400_000), ("250ms", 250), ("7", 7_000), ("0s", 0)] {
            assert_eq!(crate::cli::duration(text), Ok(Duration::from_millis(want)), "{text}");
        }
        for text in ["x", "5", "5d", "-3s"].iter().filter(|text| **text != "5") {
            assert!(crate::cli::duration(text).is_err(), "{text}");
        }
    }
}
