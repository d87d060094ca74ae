//! All controllers: their table, and the tasks they run in.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Aggregation;
use crate::custom_metrics::CustomMetrics;
use crate::keeper;
use crate::mirror::{Settings, World};
use crate::reconcile::{self, Controller, Driver, Recorder, RegistryWriter, Status};
use crate::registry::Registry;
use crate::requests::Requests;
use crate::schedule;
use crate::usage::Usage;
use crate::wanted::Wanted;
use crate::{bootstrap, standing};

/// How many Events may wait to be written.
const NOTES: usize = 1024;

/// Every controller, in the order in which status lists them.
pub fn all_controllers() -> Vec<Controller> {
    let mut all = reconcile::CONTROLLERS.to_vec();
    all.extend([schedule::CONTROLLER, bootstrap::CONTROLLER, standing::CONTROLLER]);
    all
}

/// What controllers ask beside objects.
pub struct Outside {
    /// What Nodes and Pods use.
    pub usage: Usage,
    /// How objects are measured otherwise.
    pub custom_metrics: CustomMetrics,
    /// For whose targets requests wait.
    pub wanted: Wanted,
    /// Who serves other groups.
    pub aggregation: Aggregation,
    /// How many requests Pods have served, and how many of them failed.
    pub requests: Requests,
}

impl Outside {
    /// All of it by the registry's own tunnels.
    #[cfg(test)]
    pub fn of(registry: &Registry) -> Outside {
        let aggregation = Aggregation::new(registry.clone());
        Outside {
            usage: Usage::new(registry.clone(), registry.tunnels().clone()),
            custom_metrics: CustomMetrics::new(registry.clone(), aggregation.clone()),
            wanted: Wanted::default(),
            aggregation,
            requests: Requests::new(registry.tunnels().clone()),
        }
    }
}

/// The running controllers. Dropping them ends them, whatever they are doing: plans are made to be broken off.
///
/// The mirrors and the plans have a thread of their own: no request waits for a long plan, and what the mirrors keep is
/// made by nobody else (see [`Config::keeper`](crate::Config)). Carrying plans out is left to the runtime.
pub struct Controllers {
    tasks: JoinSet<()>,
    status: Arc<Mutex<Status>>,
    stop: CancellationToken,
    cut: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.cut.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the controllers panicked");
        }
    }
}

impl Controllers {
    /// Starts all controllers over a registry. Needs a runtime.
    pub fn start(
        registry: &Registry,
        outside: Outside,
        settings: Settings,
        now: fn() -> edge_api::time::Timestamp,
        keeper: fn(),
    ) -> Controllers {
        let status = Arc::new(Mutex::new(Status::default()));
        let stop = CancellationToken::new();
        let (notes, inbox) = mpsc::channel(NOTES);
        let mut tasks = JoinSet::new();
        tasks.spawn(Recorder::new(registry.clone()).run(inbox));
        let measures = reconcile::Measures {
            registry: registry.clone(),
            usage: outside.usage,
            custom_metrics: outside.custom_metrics,
            wanted: outside.wanted,
        };
        let (scaled, stopped) = (notes.clone(), stop.clone());
        tasks.spawn(async move {
            if let Err(error) = reconcile::autoscale(measures, scaled, stopped).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the autoscaler stopped");
            }
        });
        let stopped = stop.clone();
        tasks.spawn(async move {
            if let Err(error) = outside.aggregation.run(stopped).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "nobody asks who serves other groups"
                );
            }
        });
        let watching = reconcile::watch_errors(registry.clone(), outside.requests, stop.clone());
        tasks.spawn(async move {
            if let Err(error) = watching.await {
                tracing::error!(error = &error as &dyn std::error::Error, "error rates are watched no more");
            }
        });
        let settings = Settings { kinds: registry.interner(), ..settings };
        let driver = Driver::new(World::new(settings), all_controllers());
        let (store, writer) = (registry.store().clone(), Arc::new(RegistryWriter::new(registry.clone())));
        let (shared, stopped) = (status.clone(), stop.clone());
        let (ending, ended) = oneshot::channel::<()>();
        let (runtime, cut) = (tokio::runtime::Handle::current(), CancellationToken::new());
        let cutting = cut.clone();
        let run = move || {
            let _ending: oneshot::Sender<()> = ending;
            let running = reconcile::run(driver, store, writer, now, notes, shared, stopped);
            if let Some(Err(error)) = runtime.block_on(cutting.run_until_cancelled(running)) {
                tracing::error!(error = &error as &dyn std::error::Error, "controllers stopped");
            }
        };
        let thread = keeper::start("controllers", keeper, run);
        tasks.spawn(async move {
            // The thread holds the other end and never sends: an error is its end.
            let _ = ended.await;
        });
        Controllers { tasks, status, stop, cut, thread: Some(thread) }
    }

    /// What the controllers are doing, as data.
    pub fn status(&self) -> Arc<Mutex<Status>> {
        self.status.clone()
    }

    /// Resolves when a task has ended, which without [`Controllers::drain`] is a fault. Cancel safe.
    pub async fn stopped(&mut self) {
        self.tasks.join_next().await;
    }

    /// Makes no more plans, lets those under way finish and what they tell be written, until `deadline`.
    pub async fn drain(mut self, deadline: Duration) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            tracing::info!("plans under way are broken off");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{IpAddr, Ipv4Addr};
    use std::time::SystemTime;

    use edge_api::kinds;
    use edge_api::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::identity::Pki;
    use crate::registry::{Context, DeleteOptions, ListOptions, PatchKind, Target};
    use crate::store::Store;

    fn now() -> Timestamp {
        SystemTime::now().into()
    }

    struct Cluster {
        registry: Registry,
        controllers: Controllers,
        _directory: tempfile::TempDir,
    }

    fn cluster() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let service_address = IpAddr::from([10, 43, 0, 1]);
        let config = crate::identity::Config {
            data_dir: directory.path().to_owned(),
            names: Vec::new(),
            addresses: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            service_address,
        };
        let pki = Arc::new(Pki::open(&config, now().as_seconds()).unwrap());
        let service_range = (Ipv4Addr::new(10, 43, 0, 0), 16);
        let registry =
            Registry::new(Store::in_memory(), pki.clone(), crate::registry::Config { service_range, now });
        let controllers = Controllers::start(&registry, Outside::of(&registry), settings(&pki), now, || {});
        Cluster { registry, controllers, _directory: directory }
    }

    fn settings(pki: &Pki) -> Settings {
        Settings {
            pod_range: "10.42.0.0/16".to_owned(),
            authority: pki.authority_pem().to_owned(),
            front_proxy_authority: pki.front_proxy_authority_pem().to_owned(),
            service_address: "10.43.0.1".to_owned(),
            api_address: Some(([127, 0, 0, 1], 6443).into()),
            ..Settings::default()
        }
    }

    impl Cluster {
        fn cx(&self) -> Context {
            Context::new(crate::identity::User::admin("test"))
        }

        async fn create(&self, object: Value) -> Value {
            let text = |field: &str| object[field].as_str().unwrap().to_owned();
            let kind = kinds::by_kind(&text("apiVersion"), &text("kind")).unwrap();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            let target = Target::all(kind, &namespace);
            self.registry.create(&self.cx(), &target, object).await.unwrap().value()
        }

        async fn list(&self, kind: &'static edge_api::kind::Kind) -> Vec<Value> {
            let list = self
                .registry
                .list(&self.cx(), &Target::all(kind, ""), &ListOptions::default())
                .await
                .unwrap();
            list.items.iter().map(|object| object.value()).collect()
        }

        async fn get(&self, kind: &'static edge_api::kind::Kind, namespace: &str, name: &str) -> Value {
            let found = self.registry.get(&self.cx(), &Target::one(kind, namespace, name)).await;
            found.map_or(Value::Null, |object| object.value())
        }

        async fn patch(
            &self,
            kind: &'static edge_api::kind::Kind,
            name: &str,
            sub: &'static str,
            patch: Value,
        ) {
            let namespace = if kind.is_namespaced() { "default" } else { "" };
            let target = Target::one(kind, namespace, name).sub(sub);
            let _ = self.registry.patch(&self.cx(), &target, PatchKind::Merge, &patch).await;
        }

        /// Waits for a change of the store after which `holds`.
        async fn until<F: AsyncFn() -> bool>(&self, what: &str, holds: F) {
            let mut cursor = self.registry.store().watch("/", self.registry.store().head()).unwrap();
            let waiting = async {
                while !holds().await {
                    cursor.next().await.unwrap();
                }
            };
            if tokio::time::timeout(Duration::from_secs(20), waiting).await.is_err() {
                panic!("{what} did not happen: {:#?}", self.controllers.status.lock());
            }
        }

        /// A node that runs whatever it is given, at once.
        async fn live(&self) {
            let node = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"},
                "status": {
                    "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "50"},
                    "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}],
                },
            });
            self.create(node.clone()).await;
            self.patch(&kinds::node::KIND, "here", "status", json!({"status": node["status"]})).await;
            let mut cursor =
                self.registry.store().watch("/core/pods/", self.registry.store().head()).unwrap();
            loop {
                for pod in self.list(&kinds::pod::KIND).await {
                    self.tend(&pod).await;
                }
                cursor.next().await.unwrap();
            }
        }

        async fn tend(&self, pod: &Value) {
            let name = pod["metadata"]["name"].as_str().unwrap();
            if pod["spec"]["nodeName"].is_null() {
                return;
            }
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                let target = Target::one(&kinds::pod::KIND, "default", name);
                let _ = self.registry.delete(&self.cx(), &target, &options).await;
            } else if pod["status"]["phase"] != "Running" {
                let status = json!({"phase": "Running", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}],
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now()}]});
                self.patch(&kinds::pod::KIND, name, "status", json!({"status": status})).await;
            }
        }
    }

    fn deployment(image: &str, cpu: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}]},
                },
            },
        })
    }

    fn service() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        })
    }

    fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
        let all = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        all.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
    }

    #[tokio::test]
    async fn a_fresh_cluster_has_what_every_cluster_has() {
        let cluster = cluster();
        cluster
            .until("the beginning", async || {
                let accounts = cluster.list(&kinds::service_account::KIND).await.len();
                let maps = cluster.list(&kinds::config_map::KIND).await.len();
                let slice = cluster.get(&kinds::endpoint_slice::KIND, "default", "kubernetes").await;
                accounts == 4 && maps == 5 && !slice.is_null()
            })
            .await;
        let service = cluster.get(&kinds::service::KIND, "default", "kubernetes").await;
        assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
        cluster.controllers.drain(Duration::from_secs(5)).await;
    }

    #[tokio::test]
    async fn a_deployment_rolls_out_is_served_rolls_over_and_goes_with_all_it_owns() {
        let cluster = cluster();
        cluster
            .until("the namespace", async || {
                !cluster.get(&kinds::service_account::KIND, "default", "default").await.is_null()
            })
            .await;
        let story = async {
            cluster.create(service()).await;
            cluster.create(deployment("file:a.wasm", "100m")).await;
            let complete = async |revision: &str| {
                let web = cluster.get(&kinds::deployment::KIND, "default", "web").await;
                web["status"]["availableReplicas"] == 3
                    && web["status"]["replicas"] == 3
                    && condition(&web, "Progressing")["reason"] == "NewReplicaSetAvailable"
                    && web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == revision
            };
            cluster.until("the rollout", async || complete("1").await).await;
            let ready = async || {
                let slices = cluster.list(&kinds::endpoint_slice::KIND).await;
                let web =
                    slices.iter().find(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == "web");
                let all = web.and_then(|s| s["endpoints"].as_array().cloned()).unwrap_or_default();
                all.len() == 3 && all.iter().all(|endpoint| endpoint["conditions"]["ready"] == true)
            };
            cluster.until("the endpoints", ready).await;
            cluster
                .patch(
                    &kinds::deployment::KIND,
                    "web",
                    "",
                    json!({"spec": {"template": {"spec": {
                "containers": [{"name": "c", "image": "file:b.wasm"}]}}}}),
                )
                .await;
            cluster.until("the second rollout", async || complete("2").await).await;
            let pods = cluster.list(&kinds::pod::KIND).await;
            let staying = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
            assert!(staying.clone().count() == 3);
            assert!(staying.into_iter().all(|pod| pod["spec"]["containers"][0]["image"] == "file:b.wasm"));
            let scheduled = async || {
                let events = cluster.list(&kinds::event::KIND).await;
                let reasons = ["Scheduled", "SuccessfulCreate", "ScalingReplicaSet", "SuccessfulDelete"];
                reasons.iter().all(|reason| events.iter().any(|event| event["reason"] == *reason))
            };
            cluster.until("the events", scheduled).await;
            let target = Target::one(&kinds::deployment::KIND, "default", "web");
            cluster.registry.delete(&cluster.cx(), &target, &DeleteOptions::default()).await.unwrap();
            cluster
                .until("the end", async || {
                    let pods = cluster.list(&kinds::pod::KIND).await;
                    pods.is_empty() && cluster.list(&kinds::replica_set::KIND).await.is_empty()
                })
                .await;
        };
        tokio::select! {
            () = story => {}
            () = cluster.live() => {}
        }
    }

    #[tokio::test]
    async fn a_pod_without_room_says_why_and_gets_it_when_there_is_some() {
        let cluster = cluster();
        cluster
            .until("the namespace", async || {
                !cluster.get(&kinds::service_account::KIND, "default", "default").await.is_null()
            })
            .await;
        let story = async {
            cluster.create(deployment("file:a.wasm", "1500m")).await;
            let waiting = async || {
                let pods = cluster.list(&kinds::pod::KIND).await;
                let text = |pod: &Value| {
                    condition(pod, "PodScheduled")["message"].as_str().unwrap_or_default().to_owned()
                };
                pods.iter()
                    .filter(|pod| text(pod).starts_with("0/1 nodes are available: 1 Insufficient cpu. "))
                    .count()
                    == 2
            };
            cluster.until("the refusal", waiting).await;
            cluster
                .patch(&kinds::node::KIND, "here", "status", json!({"status": {"allocatable": {"cpu": "8"}}}))
                .await;
            cluster.until("the room", async || {
                cluster.get(&kinds::deployment::KIND, "default", "web").await["status"]["availableReplicas"] == 3
            }).await;
        };
        tokio::select! {
            () = story => {}
            () = cluster.live() => {}
        }
    }

    #[tokio::test]
    async fn a_namespace_goes_with_everything_in_it() {
        let cluster = cluster();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gone"}});
        cluster.create(namespace).await;
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "gone"}});
        cluster.create(map).await;
        let target = Target::one(&kinds::namespace::KIND, "", "gone");
        cluster.registry.delete(&cluster.cx(), &target, &DeleteOptions::default()).await.unwrap();
        cluster
            .until("the end", async || cluster.get(&kinds::namespace::KIND, "", "gone").await.is_null())
            .await;
        let maps = cluster.list(&kinds::config_map::KIND).await;
        assert!(maps.iter().all(|map| map["metadata"]["namespace"] != "gone"));
    }

    fn widgets() -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                    {"type": "object", "properties": {"spec": {"type": "object"}}}}}]},
        })
    }

    #[tokio::test]
    async fn custom_resources_are_owned_live_in_namespaces_and_go_with_their_definition() {
        let cluster = cluster();
        let definitions = &kinds::custom_resource_definition::KIND;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "custom"}});
        cluster.create(namespace).await;
        cluster.create(widgets()).await;
        let kind = async || cluster.registry.catalogue().by_kind("example.com/v1", "Widget");
        cluster.until("the definition", async || kind().await.is_some()).await;
        let widget = kind().await.unwrap();
        let make = async |name: &str, owners: Value| {
            let object = json!({"apiVersion": "example.com/v1", "kind": "Widget",
                "metadata": {"name": name, "ownerReferences": owners}});
            let target = Target::all(widget, "custom");
            cluster.registry.create(&cluster.cx(), &target, object).await.unwrap().value()
        };
        let delete = async |kind: &'static edge_api::kind::Kind, namespace: &str, name: &str| {
            let target = Target::one(kind, namespace, name);
            cluster.registry.delete(&cluster.cx(), &target, &DeleteOptions::default()).await.unwrap()
        };
        let owner = make("owner", json!([])).await;
        let reference = json!([{"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner",
            "uid": owner["metadata"]["uid"]}]);
        make("owned", reference.clone()).await;
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "owned", "namespace": "custom", "ownerReferences": reference}});
        cluster.create(map).await;
        make("free", json!([])).await;
        delete(widget, "custom", "owner").await;
        let gone = async |kind, name| cluster.get(kind, "custom", name).await.is_null();
        cluster
            .until("the garbage", async || {
                gone(widget, "owned").await && gone(&kinds::config_map::KIND, "owned").await
            })
            .await;
        assert!(!gone(widget, "free").await);
        delete(&kinds::namespace::KIND, "", "custom").await;
        cluster.until("the namespace", async || cluster.list(widget).await.is_empty()).await;
        let cluster_wide = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more"}});
        cluster.create(cluster_wide).await;
        let object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "last"}});
        cluster.registry.create(&cluster.cx(), &Target::all(widget, "more"), object).await.unwrap();
        delete(definitions, "", "widgets.example.com").await;
        cluster
            .until("the definition's end", async || {
                cluster.get(definitions, "", "widgets.example.com").await.is_null()
            })
            .await;
        assert!(kind().await.is_none());
        let keys = cluster.registry.store().range("/example.com/", &Default::default()).unwrap();
        assert!(keys.items.is_empty());
        let again = Registry::new(
            cluster.registry.store().clone(),
            cluster.registry.pki().clone(),
            crate::registry::Config { service_range: (Ipv4Addr::new(10, 43, 0, 0), 16), now },
        );
        assert!(again.catalogue().custom().next().is_none());
        cluster.create(widgets()).await;
        cluster.until("the definition", async || kind().await.is_some()).await;
        let restarted = Registry::new(
            cluster.registry.store().clone(),
            cluster.registry.pki().clone(),
            crate::registry::Config { service_range: (Ipv4Addr::new(10, 43, 0, 0), 16), now },
        );
        assert_eq!(restarted.catalogue().custom().count(), 1, "known before anything is served");
    }
}
