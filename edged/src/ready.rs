//! The one line on standard output that says everything serves, and where.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

/// What the ready line tells; a part that does not run here is left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready<'a> {
    /// The API server.
    pub api: Option<SocketAddr>,
    /// The node's DNS, Ingress HTTP and Ingress HTTPS.
    pub node: Option<NodePorts>,
    /// The administrator's kubeconfig.
    pub kubeconfig: Option<&'a Path>,
}

/// Where a node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// DNS over UDP and TCP.
    pub dns: SocketAddr,
    /// Ingress over HTTP.
    pub http: SocketAddr,
    /// Ingress over HTTPS.
    pub https: SocketAddr,
}

impl NodePorts {
    /// Reads them from another process's ready line.
    pub fn read(line: &str) -> Option<NodePorts> {
        let told = |key: &str| {
            line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
        };
        line.strip_prefix("ready ")?;
        Some(NodePorts { dns: told("dns")?, http: told("http")?, https: told("https")? })
    }
}

impl Ready<'_> {
    /// Prints the line and tells systemd, when it listens at `notify`.
    pub fn announce(&self, started: Instant, notify: Option<&Path>) {
        let line = self.line(started.elapsed().as_millis());
        let mut out = std::io::stdout().lock();
        // A reader that has gone does not stop the daemon.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        if let Some(path) = notify
            && let Err(error) = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", path))
        {
            tracing::warn!(%error, "systemd cannot be told");
        }
    }

    fn line(&self, millis: u128) -> String {
        let mut line = "ready".to_owned();
        if let Some(api) = self.api {
            line.push_str(&format!(" api=https://{api}"));
        }
        if let Some(node) = self.node {
            line.push_str(&format!(" dns={} http={} https={}", node.dns, node.http, node.https));
        }
        if let Some(kubeconfig) = self.kubeconfig {
            line.push_str(&format!(" kubeconfig={}", kubeconfig.display()));
        }
        line.push_str(&format!(" in {millis} ms"));
        line
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::ready::{NodePorts, Ready};

    #[test]
    fn the_line_is_the_contracts() {
        let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let node = NodePorts { dns: at(1053), http: at(8080), https: at(8443) };
        let ready = Ready { api: Some(at(6443)), node: Some(node), kubeconfig: Some(Path::new("/abs/path")) };
        let line = ready.line(87);
        assert_eq!(
            line,
            "ready api=https://127.0.0.1:6443 dns=127.0.0.1:1053 http=127.0.0.1:8080 https=127.0.0.1:8443 kubeconfig=/abs/path in 87 ms"
        );
        assert_eq!(NodePorts::read(&line), Some(node));
        assert_eq!(NodePorts::read("error"), None);
    }
}
