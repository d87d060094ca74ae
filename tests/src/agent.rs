//! A second process that joins a cluster as a node of its own.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use crate::Cluster;

/// An `edged agent`; dropped, it is killed.
pub struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    /// Starts one as the node `name` and waits until that is ready.
    #[track_caller]
    pub fn join(cluster: &Cluster, name: &str) -> Agent {
        let log = File::create(cluster.folder().join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(crate::binaries().join("edged"));
        command
            .args(["agent", "--server", &format!("https://{}", cluster.api()), "--token-file"])
            .arg(cluster.data_dir().join("agent-token"))
            .args(["--node-name", name, "--data-dir"])
            .arg(cluster.folder().join(name));
        for flag in ["--dns-address", "--http-address", "--https-address"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command.current_dir(crate::root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let agent = Agent(command.spawn().unwrap());
        let node = format!("node/{name}");
        cluster.edgectl(&["wait", "--for=create", &node, "--timeout=60s"]).ok();
        cluster.edgectl(&["wait", "--for=condition=ready", &node, "--timeout=60s"]).ok();
        agent
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}
