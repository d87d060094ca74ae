//! Programs written with the official client libraries, as their users write them: Python, JavaScript, Rust.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use edge_tests::{Cluster, Options, Shape, root, tool};
use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::{Controller, watcher};
use serde_json::{Value, json};

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

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rooms.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Room, plural: rooms, singular: room}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {beds: {type: integer, minimum: 0}}}
          status: {type: object, properties: {key: {type: string}}}
";

const FINALIZER: &str = "example.com/keys";

fn rooms() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Room"))
}

/// Gives every room a key, and takes it back when the room goes.
async fn keep(
    room: Arc<DynamicObject>,
    client: Arc<kube::Client>,
) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    let client = kube::Client::clone(&client);
    let api = Api::<DynamicObject>::default_namespaced_with(client.clone(), &rooms());
    finalizer(&api, FINALIZER, room, |event| async move {
        let keys: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(client.clone());
        let rooms = Api::<DynamicObject>::default_namespaced_with(client, &rooms());
        match event {
            Event::Apply(room) => {
                let name = room.metadata.name.clone().unwrap_or_default();
                let key = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": &name}, "data": {
                    "beds": room.data["spec"]["beds"].to_string(),
                }});
                keys.patch(&name, &PatchParams::apply("keeper"), &Patch::Apply(&key)).await?;
                let status = json!({"status": {"key": &name}});
                rooms.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
            }
            Event::Cleanup(room) => {
                let name = room.metadata.name.clone().unwrap_or_default();
                keys.delete(&name, &kube::api::DeleteParams::default()).await?;
            }
        }
        Ok(Action::await_change())
    })
    .await
}

#[test]
fn a_controller_of_kube_keeps_what_it_owns_until_it_has_cleaned_up() {
    let cluster = control_plane();
    cluster.apply(CRD);
    cluster.edgectl(&["wait", "--for=condition=established", "crd/rooms.example.com", "--timeout=30s"]).ok();
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.told("kubeconfig")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let api = Api::<DynamicObject>::default_namespaced_with(client.clone(), &rooms());
        let controller = Controller::new_with(api.clone(), watcher::Config::default(), rooms());
        let again = |_, _: &_, _| Action::requeue(Duration::from_millis(100));
        let told = |result: Result<_, _>| async move {
            if let Err(error) = result {
                eprintln!("the controller of rooms: {error:?}");
            }
        };
        let running = tokio::spawn(controller.run(keep, again, Arc::new(client.clone())).for_each(told));

        let mut room = DynamicObject::new("blue", &rooms()).data(json!({"spec": {"beds": 2}}));
        api.create(&PostParams::default(), &room).await.unwrap();
        let has = |key: &'static str| {
            move |room: Option<&DynamicObject>| {
                room.is_some_and(|room| room.data["status"]["key"] == json!(key))
            }
        };
        let kept = kube::runtime::wait::await_condition(api.clone(), "blue", has("blue"));
        tokio::time::timeout(Duration::from_secs(60), kept).await.expect("it is given a key").unwrap();
        room = api.get("blue").await.unwrap();
        assert_eq!(room.metadata.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
        let keys: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(client.clone());
        assert_eq!(keys.get("blue").await.unwrap().data.unwrap()["beds"], "2");

        let refused =
            api.patch("blue", &PatchParams::default(), &Patch::Merge(&json!({"spec": {"beds": -1}}))).await;
        assert!(refused.unwrap_err().to_string().contains("spec.beds"));
        api.patch("blue", &PatchParams::default(), &Patch::Merge(&json!({"spec": {"beds": 3}})))
            .await
            .unwrap();
        let more = |key: Option<&k8s_openapi::api::core::v1::ConfigMap>| {
            key.and_then(|key| key.data.as_ref()).is_some_and(|data| data["beds"] == "3")
        };
        let changed = kube::runtime::wait::await_condition(keys.clone(), "blue", more);
        tokio::time::timeout(Duration::from_secs(60), changed).await.expect("the key is changed").unwrap();

        let uid = api.get("blue").await.unwrap().metadata.uid.unwrap();
        api.delete("blue", &Default::default()).await.unwrap();
        let gone = kube::runtime::wait::await_condition(
            api.clone(),
            "blue",
            kube::runtime::wait::conditions::is_deleted(&uid),
        );
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the room goes").unwrap();
        assert!(keys.get_opt("blue").await.unwrap().is_none(), "the key went first");
        running.abort();
    });
    let left: Value = cluster.get(&["rooms"]).unwrap();
    assert_eq!(left["items"], json!([]));
}
