//! Programs written with the official client libraries, as their users write them: Python, JavaScript.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use edge_tests::{Cluster, Options, Shape, root, tool};

/// A control plane whose address stays the same when it is started again.
fn control_plane() -> Cluster {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options::new(Shape::Whole).flag("--no-node", "true");
    Cluster::with(options.flag("--api-address", &address.to_string()))
}

/// A program that tells line by line what it has done.
struct Program {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Program {
    fn start(cluster: &Cluster, command: &mut Command) -> Program {
        cluster.prepare(command).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Program { input: child.stdin.take().unwrap(), child, lines }
    }

    /// Waits for a line.
    #[track_caller]
    fn told(&mut self, wanted: &str) {
        let mut others = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line == wanted || line.starts_with(&format!("{wanted} ")) => return,
                Ok(line) => others.push(line),
                Err(error) => panic!("it did not tell {wanted:?} but {others:?}: {error}"),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn labelled(name: &str, app: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\ndata: {{a: '{value}'}}\n"
    )
}

#[test]
fn the_python_client_creates_patches_and_watches_across_a_restart() {
    let Some(library) = tool::find("python-client") else { return };
    let mut cluster = control_plane();
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", library).env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(root().join("tests/clients/client.py")).arg(cluster.told("kubeconfig"));
    let mut program = Program::start(&cluster, &mut command);
    program.told("listed");
    cluster.apply(&labelled("seen", "py", "1"));
    program.told("ADDED seen");
    program.told("stopping at");
    assert!(cluster.stop().success());
    cluster.start_again();
    // What happens before the watch goes on is told as well.
    cluster.apply(&labelled("seen", "py", "2"));
    writeln!(program.input).unwrap();
    program.told("MODIFIED seen");
    cluster.edgectl(&["delete", "configmap", "seen"]).ok();
    program.told("DELETED seen");
    program.told("done");
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn the_javascript_informer_notices_everything_across_a_restart() {
    let Some(library) = tool::find("javascript-client") else { return };
    let mut cluster = control_plane();
    let script = std::fs::read_to_string(root().join("tests/clients/informer.mjs")).unwrap();
    // Modules are looked for beside the program.
    let beside = cluster.folder().join("program");
    std::fs::create_dir(&beside).unwrap();
    std::os::unix::fs::symlink(library.join("node_modules"), beside.join("node_modules")).unwrap();
    std::fs::write(beside.join("informer.mjs"), script).unwrap();
    cluster.apply(&labelled("first", "js", "1"));
    let mut command = Command::new("node");
    command.arg("--preserve-symlinks").arg(beside.join("informer.mjs")).arg(cluster.told("kubeconfig"));
    let mut program = Program::start(&cluster, &mut command);
    program.told("add first 1");
    program.told("alone");
    cluster.apply(&labelled("second", "js", "1"));
    program.told("add second 1");
    cluster.apply(&labelled("second", "other", "1"));
    program.told("delete second");
    assert!(cluster.stop().success());
    cluster.start_again();
    cluster.apply(&labelled("first", "js", "2"));
    program.told("update first 2");
    cluster.edgectl(&["delete", "configmap", "first"]).ok();
    program.told("delete first");
}
