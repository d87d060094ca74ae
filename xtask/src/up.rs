//! `cargo xtask up`: from a fresh clone to a page in the browser.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::build;
use crate::run::{command, root, run, target_dir};

/// How to bring the node up.
#[derive(Args)]
pub struct Options {
    /// Build for release: smaller and faster to run, slower to build
    #[arg(long)]
    release: bool,
    /// Stop once the quickstart answers, instead of staying in the foreground
    #[arg(long)]
    once: bool,
    /// Passed on to `edged`, after `--`
    #[arg(last = true)]
    edged: Vec<String>,
}

/// Builds the guests and the binaries, starts a node, applies `manifests/quickstart` and stays
/// until Ctrl-C.
///
/// # Errors
/// When a step fails; the message says which.
pub fn up(options: &Options) -> Result<()> {
    build::guests()?;
    let binaries = if options.release { build::release()? } else { build::binaries()? };
    let node = Node::start(&binaries, &options.edged)?;
    node.edgectl(&binaries, &["apply", "-f", "manifests/quickstart"])?;
    node.edgectl(
        &binaries,
        &["wait", "--for=condition=available", "--timeout=120s", "-n", "quickstart", "deployment/hello"],
    )?;
    node.explain(&binaries);
    if options.once {
        return node.stop();
    }
    node.stay()
}

/// A running `edged` and what its ready line said.
struct Node {
    child: Child,
    ready: String,
}

impl Node {
    fn start(binaries: &Path, more: &[String]) -> Result<Node> {
        let state = target_dir().join("up");
        let mut child = Command::new(binaries.join("edged"))
            .arg("--data-dir")
            .arg(&state)
            .args(more)
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start edged")?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        if !ready.starts_with("ready ") {
            let status = child.wait()?;
            bail!("edged ended with {status} before it was ready; its log above says why");
        }
        print!("edged: {ready}");
        Ok(Node { child, ready })
    }

    /// The value of `key=` in the ready line.
    fn told(&self, key: &str) -> &str {
        let found = self.ready.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_default()
    }

    fn edgectl(&self, binaries: &Path, arguments: &[&str]) -> Result<()> {
        let program = binaries.join("edgectl");
        let mut edgectl = command(&program.to_string_lossy(), arguments);
        edgectl.env("KUBECONFIG", self.told("kubeconfig"));
        run(edgectl)
    }

    fn explain(&self, binaries: &Path) {
        println!();
        println!("The quickstart is up. Try:");
        println!("  curl -H 'Host: hello.localhost' http://{}/", self.told("http"));
        println!("  export KUBECONFIG={}", self.told("kubeconfig"));
        println!("  {}/edgectl get pods -A", binaries.display());
        let dns = self.told("dns");
        if let Some((address, port)) = dns.rsplit_once(':') {
            println!("  dig @{address} -p {port} hello.quickstart.svc.cluster.local");
        }
        println!("Ctrl-C stops it; its state stays in {}.", target_dir().join("up").display());
    }

    fn stop(mut self) -> Result<()> {
        run(command("kill", &["-TERM", &self.child.id().to_string()]))?;
        self.ended()
    }

    /// Ctrl-C reaches `edged` too, which drains; here it only must not end the wait for it.
    fn stay(mut self) -> Result<()> {
        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted)?;
        self.ended()
    }

    fn ended(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("edged ended with {status}");
        }
        Ok(())
    }
}
