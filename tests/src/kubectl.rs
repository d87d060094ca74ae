//! The real kubectl of every pinned version, in a namespace of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::cluster::{Cluster, Options, Output, Shape};
use crate::{eventually, tool};

/// The versions that are driven: the oldest that is promised and the newest there is.
pub const VERSIONS: [&str; 2] = ["kubectl-1_32", "kubectl-1_37"];

/// A command line, its exit code, and a piece of what it prints.
pub type Stop<'a> = (&'a str, i32, &'a str);

/// One version of kubectl at one cluster.
pub struct Kubectl<'a> {
    pub cluster: &'a Cluster,
    pub name: &'static str,
    pub namespace: String,
    program: PathBuf,
}

/// A cluster whose images lie right in its directory: `kubectl run` and `debug` refuse names such as
/// `file:directory/name.wasm`.
pub fn beside_guests() -> Cluster {
    let guests = crate::root().join("guests/dist");
    let guests = guests.to_str().unwrap();
    let toolbox = "file:toolbox.wasm";
    Cluster::with(Options::new(Shape::Whole).flag("--image-dir", guests).flag("--toolbox", toolbox))
}

/// A manifest for such a cluster.
pub fn short(manifest: &str) -> String {
    manifest.replace("file:guests/dist/", "file:")
}

/// Tells a story with every version that is there.
pub fn with_each(cluster: &Cluster, story: impl Fn(&Kubectl<'_>)) {
    for kubectl in VERSIONS.iter().filter_map(|name| Kubectl::find(cluster, name)) {
        story(&kubectl);
    }
}

/// Tells a story that waits much with every version that is there at the same time.
pub fn with_each_at_once(cluster: &Cluster, story: impl Fn(&Kubectl<'_>) + Sync) {
    std::thread::scope(|scope| {
        for kubectl in VERSIONS.iter().filter_map(|name| Kubectl::find(cluster, name)) {
            let story = &story;
            scope.spawn(move || story(&kubectl));
        }
    });
}

impl<'a> Kubectl<'a> {
    /// One version, if it is there; its namespace may have to be made.
    pub fn at(cluster: &'a Cluster, name: &'static str) -> Option<Kubectl<'a>> {
        let program = tool::find(name)?;
        Some(Kubectl { cluster, name, namespace: name.replace('_', "-"), program })
    }

    /// One version, if it is there, with its namespace.
    fn find(cluster: &'a Cluster, name: &'static str) -> Option<Kubectl<'a>> {
        let kubectl = Kubectl::at(cluster, name)?;
        kubectl.run(&format!("create namespace {}", kubectl.namespace));
        Some(kubectl)
    }
}

impl Kubectl<'_> {
    /// What a command line prints; single quotes keep words together. Panics if it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        self.output(line).checked().unwrap_or_else(|text| panic!("{} {line}: {text}", self.name))
    }

    /// Deletes Pods of a StatefulSet and waits until others have their names. kubectl's own wait asks first whether
    /// the Pod is another, and then follows whatever has its name: the other, if that is made in between.
    #[track_caller]
    pub fn replace(&self, pods: &[&str]) {
        let uid =
            |pod: &&str| self.run(&format!("get pod {pod} --ignore-not-found -o jsonpath={{.metadata.uid}}"));
        let before: Vec<String> = pods.iter().map(uid).collect();
        self.run(&format!("delete pod {} --wait=false", pods.join(" ")));
        for (pod, before) in pods.iter().zip(before) {
            eventually(&format!("{pod} is another"), || {
                let now = uid(pod);
                if now.is_empty() || now == before { Err(now) } else { Ok(()) }
            });
        }
    }

    /// What a command line complains of that must fail as kubectl does: with exit code 1.
    #[track_caller]
    pub fn refused(&self, line: &str) -> String {
        let output = self.output(line);
        assert_eq!(output.status.code(), Some(1), "{} {line}: {output:?}", self.name);
        output.stderr
    }

    /// Runs command lines one after the other, each with the exit code it must end with and a piece of what it must
    /// print; `{NAME}` in a line stands for the path of a file, or for any other text.
    #[track_caller]
    pub fn tour(&self, stops: &[Stop<'_>], names: &[(&str, &str)]) {
        for (line, code, piece) in stops {
            let named = |text: &str| {
                names.iter().fold(text.replace("{namespace}", &self.namespace), |text, (name, value)| {
                    text.replace(&format!("{{{name}}}"), value)
                })
            };
            let (line, piece) = (named(line), named(piece));
            let output = self.output(&line);
            assert_eq!(output.status.code(), Some(*code), "{} {line}: {output:?}", self.name);
            let said = output.stdout.contains(&piece) || output.stderr.contains(&piece);
            assert!(said, "{} {line} does not print {piece:?}: {output:?}", self.name);
        }
    }

    /// What a command line prints and how it ends.
    pub fn output(&self, line: &str) -> Output {
        self.cluster.run(&mut self.command(line))
    }

    /// The same for a command that runs on; its output is piped.
    pub fn start(&self, line: &str) -> Child {
        let mut command = self.command(line);
        self.cluster.prepare(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs `edit` with a program in the place of an editor.
    pub fn edit(&self, line: &str, editor: &std::path::Path) -> Output {
        self.cluster.run(self.command(line).env("KUBE_EDITOR", editor))
    }

    /// Lets it read `text` from a file; gives the path.
    pub fn file(&self, text: &str) -> String {
        let path = self.cluster.folder().join(format!("{}.yaml", fastrand::u64(..)));
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--cache-dir").arg(self.cluster.folder().join("kubectl-cache").join(self.name));
        command.arg("--namespace").arg(&self.namespace).args(words(line));
        command.env("HOME", self.cluster.folder());
        command
    }
}

/// The words of a line; what is in single quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
