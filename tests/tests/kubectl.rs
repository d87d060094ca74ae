//! What people do with kubectl's oldest and newest version, against a control plane alone: outcome, words, exit code.
#![allow(clippy::unwrap_used)]

use std::io::BufRead as _;

use edge_tests::kubectl::{Kubectl, Stop, VERSIONS, with_each, with_each_at_once};
use edge_tests::{Cluster, Options, Shape, eventually};
use serde_json::Value;

fn control_plane() -> Cluster {
    Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"))
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: file:one.wasm
        ports: [{name: http, containerPort: 8080}]
";

fn settings(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {data}\n")
}

#[test]
fn discovery_schema_and_health_are_read() {
    with_each(&control_plane(), |kubectl| {
        assert!(kubectl.run("version").contains("Server Version: v1.37."));
        let versions = kubectl.run("api-versions");
        for version in ["v1", "apps/v1", "events.k8s.io/v1"] {
            assert!(versions.lines().any(|line| line == version), "{version}: {versions}");
        }
        let names = kubectl.run("api-resources --namespaced=true --verbs=list,watch -o name");
        assert!(names.lines().any(|line| line == "deployments.apps") && !names.contains("nodes"), "{names}");
        let wide = kubectl.run("api-resources -o wide");
        let pods = wide.lines().find(|line| line.starts_with("pods ")).unwrap();
        assert!(
            pods.contains(" po ") && pods.contains("deletecollection") && pods.ends_with("all"),
            "{pods}"
        );

        let field = kubectl.run("explain pods.spec.containers.image");
        assert!(field.contains("FIELD: image <string>") && field.contains("DESCRIPTION:"), "{field}");
        assert!(kubectl.run("explain deployment --recursive").contains("maxUnavailable\t<IntOrString>"));
        assert!(kubectl.refused("explain pods.spec.nothing").contains("field \"nothing\" does not exist"));

        assert_eq!(kubectl.run("get --raw /healthz"), "ok");
        let checks = kubectl.run("get --raw '/readyz?verbose'");
        assert!(
            checks.contains("[+]ping ok") && checks.trim_end().ends_with("readyz check passed"),
            "{checks}"
        );
        assert!(kubectl.run("get --raw '/readyz?verbose&exclude=ping'").contains("[+]ping excluded: ok"));
        assert_eq!(kubectl.run("get --raw /livez/ping"), "ok");
        assert!(kubectl.run("get --raw /metrics").contains("apiserver_request"));
        assert!(kubectl.run("get --raw /openapi/v2").starts_with("{\"swagger\":\"2.0\""));
        assert!(kubectl.run("get --raw /").contains("\"/apis/apps/v1\""));
        assert!(kubectl.refused("get --raw /nothing").contains("NotFound"));
        assert!(kubectl.run("cluster-info").contains("Kubernetes control plane"));
    });
}

#[test]
fn objects_are_shown_in_every_form() {
    with_each(&control_plane(), |kubectl| {
        for name in ["a", "b", "c", "d", "e"] {
            kubectl.run(&format!("create configmap {name} --from-literal=k={name}"));
        }
        kubectl.run("label configmap a b tier=front");
        let table = kubectl.run("get configmap a");
        let words = |line: usize| table.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(0), ["NAME", "DATA", "AGE"]);
        assert_eq!(words(1)[..2], ["a", "1"]);
        let names = |line: &str| -> Vec<String> {
            let listed = kubectl.run(&format!("get configmap -o name {line}"));
            let names = listed.lines().map(|name| name.trim_start_matches("configmap/").to_owned());
            names.filter(|name| name != "kube-root-ca.crt").collect()
        };
        assert_eq!(names("--chunk-size=2"), ["a", "b", "c", "d", "e"]);
        assert_eq!(names("-l tier=front"), ["a", "b"]);
        assert_eq!(names("-l 'tier notin (front)'"), ["c", "d", "e"]);
        assert_eq!(names("-l '!tier'"), ["c", "d", "e"]);
        assert_eq!(names("--field-selector metadata.name=c"), ["c"]);
        assert_eq!(names("-l tier --field-selector metadata.name!=a"), ["b"]);
        assert!(kubectl.run("get configmaps -A --chunk-size=2").contains("kube-system"));
        assert!(kubectl.run("get cm a --show-labels").contains("tier=front"));
        assert!(kubectl.run("get cm -L tier").contains("TIER"));
        assert!(kubectl.run("get cm a -o yaml").contains("\nkind: ConfigMap\n"));
        assert!(kubectl.run("get cm -o json").contains("\"kind\": \"List\""));
        assert_eq!(kubectl.run("get cm a -o jsonpath={.data.k}"), "a");
        assert_eq!(kubectl.run("get cm a -o custom-columns=N:.metadata.name --no-headers").trim(), "a");
        assert_eq!(kubectl.run("get cm b -o 'go-template={{.data.k}}'"), "b");
        assert!(kubectl.run("get cm --sort-by=.metadata.name -o name").starts_with("configmap/a\n"));
        assert!(kubectl.run("get ns,cm -o name").contains("namespace/default"));
        assert!(kubectl.run("describe configmap a").contains("tier=front"));

        let nothing = kubectl.output("get all");
        assert!(nothing.status.success() && nothing.stderr.contains("No resources found in"), "{nothing:?}");
        let missing = kubectl.refused("get configmap none");
        assert_eq!(missing.trim(), "Error from server (NotFound): configmaps \"none\" not found");
        assert!(kubectl.run("get configmap none --ignore-not-found").is_empty());
        let unknown = kubectl.refused("get gadgets");
        assert!(unknown.contains("the server doesn't have a resource type \"gadgets\""), "{unknown}");
        assert!(kubectl.refused("get cm -l 'a=b=c'").contains("BadRequest"));
        let field = kubectl.refused("get cm --field-selector spec.x=1");
        assert!(field.contains("\"spec.x\" is not a known field selector"), "{field}");

        let mut watch = kubectl.start("get configmap --watch --output-watch-events -o name");
        let mut lines = std::io::BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut told = |wanted: &str| lines.by_ref().any(|line| line.unwrap().contains(wanted));
        assert!(told("configmap/e"));
        kubectl.run("create configmap late --from-literal=k=1");
        assert!(told("configmap/late"));
        kubectl.run("delete configmap late");
        assert!(told("configmap/late"));
        watch.kill().unwrap();
        watch.wait().unwrap();
    });
}

#[test]
fn manifests_are_applied_compared_and_replaced() {
    with_each(&control_plane(), |kubectl| {
        let first = kubectl.file(&settings("{a: '1'}"));
        let second = kubectl.file(&settings("{a: '2', b: '2'}"));
        assert_eq!(kubectl.run(&format!("apply -f {first}")), "configmap/settings created\n");
        assert_eq!(kubectl.run(&format!("apply -f {first}")), "configmap/settings unchanged\n");
        let last = kubectl.run("apply view-last-applied configmap settings -o json");
        assert!(last.contains("\"a\": \"1\""), "{last}");

        let compared = kubectl.output(&format!("diff -f {second}"));
        assert_eq!(compared.status.code(), Some(1), "{compared:?}");
        assert!(compared.stdout.contains("+  b: \"2\""), "{compared:?}");
        let compared = kubectl.output(&format!("diff --server-side --force-conflicts -f {second}"));
        assert_eq!(compared.status.code(), Some(1), "{compared:?}");
        let dry = kubectl.run(&format!("apply --dry-run=server -f {second}"));
        assert_eq!(dry, "configmap/settings configured (server dry run)\n");
        assert_eq!(kubectl.run("get cm settings -o jsonpath={.data}"), "{\"a\":\"1\"}");
        assert_eq!(kubectl.run(&format!("apply -f {second}")), "configmap/settings configured\n");
        assert_eq!(kubectl.output(&format!("diff -f {second}")).status.code(), Some(0));
        kubectl.run(&format!("apply -f {first}"));
        assert_eq!(kubectl.run("get cm settings -o jsonpath={.data}"), "{\"a\":\"1\"}", "b was taken away");

        let unknown = kubectl.file(&settings("{a: '1'}\ndta: {}"));
        let strict = kubectl.refused(&format!("apply -f {unknown}"));
        assert!(strict.contains("strict decoding error: unknown field \"dta\""), "{strict}");
        let warned = kubectl.output(&format!("apply --validate=warn -f {unknown}"));
        assert!(warned.status.success(), "{warned:?}");
        assert!(warned.stderr.contains("unknown field \"dta\""), "{warned:?}");

        let list = kubectl.file(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: l1}\n\
             - apiVersion: v1\n  kind: Secret\n  metadata: {name: l2}\n  stringData: {a: b}\n",
        );
        let made = kubectl.run(&format!("create -f {list}"));
        assert_eq!(made, "configmap/l1 created\nsecret/l2 created\n");
        let again = kubectl.refused(&format!("create -f {list}"));
        assert!(again.contains("Error from server (AlreadyExists)"), "{again}");
        assert!(kubectl.run(&format!("delete -f {list}")).contains("secret \"l2\" deleted"));

        let generated = kubectl.file("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: gen-}\n");
        let name = kubectl.run(&format!("create -f {generated} -o name"));
        assert_eq!(name.trim().len(), "configmap/gen-".len() + 5, "{name}");

        kubectl.run(&format!("replace -f {second}"));
        assert_eq!(kubectl.run("get cm settings -o jsonpath={.data.b}"), "2");
        let stale =
            kubectl.file(&settings("{}").replace("name: settings", "name: settings, resourceVersion: '1'"));
        let conflict = kubectl.refused(&format!("replace -f {stale}"));
        assert!(conflict.contains("Error from server (Conflict)"), "{conflict}");
        assert!(conflict.contains("the object has been modified"), "{conflict}");
        assert!(kubectl.run(&format!("replace --force -f {first}")).contains("replaced"));

        let editor = kubectl.cluster.folder().join("editor");
        std::fs::write(&editor, "#!/bin/sh\nsed -i 's/a: \"1\"/a: \"edited\"/' \"$1\"\n").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
        let edited = kubectl.edit("edit configmap settings", &editor).ok();
        assert_eq!(edited, "configmap/settings edited\n");
        assert_eq!(kubectl.run("get cm settings -o jsonpath={.data.a}"), "edited");
    });
}

#[test]
fn server_side_apply_knows_who_owns_what() {
    with_each(&control_plane(), |kubectl| {
        let web = kubectl.file(DEPLOYMENT);
        let made = kubectl.run(&format!("apply --server-side -f {web}"));
        assert_eq!(made, "deployment.apps/web serverside-applied\n");
        let three = kubectl.file(&DEPLOYMENT.replace("replicas: 2", "replicas: 3"));
        let conflict = kubectl.refused(&format!("apply --server-side --field-manager=other -f {three}"));
        assert!(conflict.contains("Apply failed with 1 conflict"), "{conflict}");
        assert!(conflict.contains("conflict with \"kubectl\": .spec.replicas"), "{conflict}");
        kubectl.run(&format!("apply --server-side --force-conflicts --field-manager=other -f {three}"));
        assert_eq!(kubectl.run("get deploy web -o jsonpath={.spec.replicas}"), "3");
        let owners = kubectl
            .run("get deploy web --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}");
        assert!(owners.contains("other") && owners.contains("kubectl"), "{owners}");
        // From client-side apply over to server-side apply, and back.
        kubectl.run("delete deploy web");
        kubectl.run(&format!("apply -f {web}"));
        kubectl.run(&format!("apply --server-side -f {three}"));
        assert_eq!(kubectl.run("get deploy web -o jsonpath={.spec.replicas}"), "3");
    });
}

#[test]
fn generators_write_what_they_promise() {
    with_each(&control_plane(), |kubectl| {
        let literal = kubectl.file("from a file");
        for (line, told) in [
            ("create configmap c --from-literal=a=1", "configmap/c created"),
            ("create secret generic s --from-literal=a=1", "secret/s created"),
            (
                "create secret docker-registry d --docker-username=u --docker-password=p --docker-email=e",
                "secret/d created",
            ),
            ("create serviceaccount robot", "serviceaccount/robot created"),
            ("create deployment web --image=file:a.wasm --port=8080", "deployment.apps/web created"),
            ("create service clusterip one --tcp=80:8080", "service/one created"),
            ("create service nodeport two --tcp=80:8080", "service/two created"),
            ("create service externalname three --external-name=example.com", "service/three created"),
            ("create ingress way --rule=example.com/=one:80", "ingress.networking.k8s.io/way created"),
            ("run lone --image=file:a.wasm --labels=app=lone --port=80", "pod/lone created"),
            ("expose deployment web --port=80 --target-port=8080 --name=front", "service/front exposed"),
            ("expose pod lone --port=80", "service/lone exposed"),
            ("create job once --image=file:a.wasm", "job.batch/once created"),
            (
                "create cronjob often --image=file:a.wasm --schedule='*/5 * * * *'",
                "cronjob.batch/often created",
            ),
            ("create quota few --hard=configmaps=20", "resourcequota/few created"),
            (
                "create role reader --verb=get --resource=pods",
                "role.rbac.authorization.k8s.io/reader created",
            ),
            (
                "create rolebinding reads --role=reader --user=eve",
                "rolebinding.rbac.authorization.k8s.io/reads created",
            ),
            (
                "create poddisruptionbudget kept --selector=app=web --min-available=1",
                "poddisruptionbudget.policy/kept created",
            ),
            ("autoscale deployment web --max=3", "horizontalpodautoscaler.autoscaling/web autoscaled"),
        ] {
            assert_eq!(kubectl.run(line).trim(), told, "{line}");
        }
        let all = kubectl.run("get all");
        for name in
            ["pod/lone", "service/one", "deployment.apps/web", "cronjob.batch/often", "job.batch/once"]
        {
            assert!(all.contains(&format!("\n{name} ")) || all.starts_with(name), "{name}: {all}");
        }
        assert!(all.contains("horizontalpodautoscaler.autoscaling/web"), "{all}");
        kubectl.run(&format!("create configmap f --from-file=key={literal}"));
        assert_eq!(kubectl.run("get cm f -o jsonpath={.data.key}"), "from a file");
        assert_eq!(kubectl.run("get secret s -o jsonpath={.data.a}"), "MQ==");
        assert_eq!(kubectl.run("get secret d -o jsonpath={.type}"), "kubernetes.io/dockerconfigjson");
        assert_eq!(kubectl.run("get service front -o jsonpath={.spec.selector.app}"), "web");
        assert_eq!(
            kubectl.run("get deploy web -o jsonpath={.spec.template.spec.containers[0].name}"),
            "file"
        );
        let token = kubectl.run("create token robot --duration=10m");
        assert_eq!(token.trim().split('.').count(), 3, "a token has three parts");
        assert_eq!(kubectl.run("get hpa web -o jsonpath={.spec.maxReplicas}"), "3");
        let class = format!("create priorityclass {} --value=7", kubectl.namespace);
        assert!(kubectl.run(&class).contains("priorityclass.scheduling.k8s.io/"));
        let again = kubectl.refused("create configmap c");
        assert_eq!(again.trim(), "error: failed to create configmap: configmaps \"c\" already exists");
        let dry = kubectl.run("create configmap never --dry-run=server -o yaml");
        assert!(dry.contains("name: never") && dry.contains("uid: "), "{dry}");
        assert!(kubectl.refused("get configmap never").contains("NotFound"));
        let bad = kubectl.refused("run Bad_Name --image=file:a.wasm");
        assert!(bad.contains("metadata.name: Invalid value: \"Bad_Name\""), "{bad}");
    });
}

#[test]
fn people_learn_who_they_are_and_what_they_may() {
    with_each(&control_plane(), |kubectl| {
        assert!(kubectl.run("auth whoami").contains("Username"));
        assert_eq!(kubectl.run("auth can-i create pods"), "yes\n");
        assert!(kubectl.run("auth can-i --list").contains("*.*"));
        let no = kubectl.output("auth can-i get pods --as=eve");
        assert_eq!((no.status.code(), no.stdout.as_str()), (Some(1), "no\n"));
        kubectl.run("create role reader --verb=get,list --resource=pods");
        kubectl.run("create rolebinding reads --role=reader --user=eve");
        eventually("the binding counts", || match kubectl.output("auth can-i get pods --as=eve") {
            yes if yes.status.success() => Ok(()),
            no => Err(format!("{no:?}")),
        });
        kubectl.run("get pods --as=eve");
        let refused = kubectl.refused("delete pod any --as=eve");
        assert!(refused.contains("Error from server (Forbidden)"), "{refused}");
        assert!(
            refused.contains("User \"eve\" cannot delete resource \"pods\" in API group \"\""),
            "{refused}"
        );
    });
}

#[test]
fn objects_are_changed_in_every_way() {
    with_each(&control_plane(), |kubectl| {
        kubectl.run(&format!("create -f {}", kubectl.file(DEPLOYMENT)));
        let field = |path: &str| kubectl.run(&format!("get deploy web -o 'jsonpath={{{path}}}'"));
        assert_eq!(kubectl.run("label deploy web tier=front"), "deployment.apps/web labeled\n");
        assert_eq!(kubectl.run("label deploy web tier=front"), "deployment.apps/web not labeled\n");
        assert!(kubectl.refused("label deploy web tier=back").contains("already has a value (front)"));
        kubectl.run("label deploy web tier=back --overwrite");
        assert_eq!(kubectl.run("label deploy web tier-"), "deployment.apps/web unlabeled\n");
        kubectl.run("annotate deploy web note='several words'");
        assert_eq!(field(".metadata.annotations.note"), "several words");

        let image = ".spec.template.spec.containers[0].image";
        let strategic =
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"file:two.wasm"}]}}}}"#;
        kubectl.run(&format!("patch deploy web -p {strategic}"));
        assert_eq!(
            (field(image).as_str(), field(".spec.template.spec.containers[0].ports[0].name").as_str()),
            ("file:two.wasm", "http")
        );
        kubectl.run(r#"patch deploy web --type=merge -p {"spec":{"replicas":4}}"#);
        kubectl
            .run(r#"patch deploy web --type=json -p [{"op":"replace","path":"/spec/replicas","value":5}]"#);
        assert_eq!(field(".spec.replicas"), "5");
        assert!(kubectl.run("patch deploy web -p {}").contains("patched (no change)"));
        let refused = kubectl.refused(r#"patch deploy web --type=merge -p {"spec":{"replicas":-1}}"#);
        assert!(refused.contains("spec.replicas: Invalid value: -1"), "{refused}");
        let refused = kubectl
            .refused(r#"patch deploy web --type=merge -p {"spec":{"selector":{"matchLabels":{"a":"b"}}}}"#);
        assert!(refused.contains("field is immutable"), "{refused}");
        kubectl
            .run(r#"patch deploy web --subresource=status --type=merge -p {"status":{"collisionCount":7}}"#);
        assert_eq!(
            kubectl.run("get deploy web --subresource=status -o jsonpath={.status.collisionCount}"),
            "7"
        );

        assert_eq!(kubectl.run("scale deploy web --replicas=3"), "deployment.apps/web scaled\n");
        assert!(
            kubectl
                .refused("scale deploy web --replicas=1 --current-replicas=9")
                .contains("Expected replicas to be 9, was 3")
        );
        assert_eq!(kubectl.run("get deploy web --subresource=scale -o jsonpath={.spec.replicas}"), "3");
        kubectl.run("set image deploy web main=file:three.wasm");
        assert_eq!(field(image), "file:three.wasm");
        kubectl.run("set env deploy web COLOUR=red");
        assert!(kubectl.run("set env deploy web --list").contains("COLOUR=red"));
        kubectl.run("set resources deploy web --limits=memory=64Mi");
        kubectl.run("set serviceaccount deploy web default");
        kubectl.run("create service clusterip web --tcp=80:8080");
        kubectl.run("set selector service web app=other");
        assert_eq!(kubectl.run("get service web -o jsonpath={.spec.selector.app}"), "other");
        kubectl.run("rollout pause deploy web");
        assert!(kubectl.refused("rollout restart deploy web").contains("can't restart paused deployment"));
        kubectl.run("rollout resume deploy web");
        assert!(kubectl.run("rollout restart deploy web").contains("restarted"));
    });
}

#[test]
fn objects_end_as_they_are_told_to() {
    with_each(&control_plane(), |kubectl| {
        let web = kubectl.file(DEPLOYMENT);
        let replica_sets = |selector: &str| kubectl.run(&format!("get rs -o name {selector}"));
        let start = || {
            kubectl.run(&format!("create -f {web}"));
            eventually("the Deployment has its ReplicaSet", || match replica_sets("-l app=web") {
                names if names.is_empty() => Err("none yet".to_owned()),
                names => Ok(names),
            })
        };
        let gone = || {
            eventually("the ReplicaSet goes with its Deployment", || match replica_sets("-l app=web") {
                names if names.is_empty() => Ok(()),
                names => Err(names),
            });
        };
        start();
        assert!(kubectl.run("delete deploy web").starts_with("deployment.apps \"web\" deleted"));
        gone();
        start();
        kubectl.run("delete deploy web --cascade=foreground --timeout=60s");
        assert!(replica_sets("-l app=web").is_empty(), "what it owns goes first");
        start();
        kubectl.run("delete deploy web --cascade=orphan --timeout=60s");
        let left = replica_sets("-l app=web");
        assert_eq!(left.lines().count(), 1);
        assert_eq!(
            kubectl.run(&format!("get {} -o jsonpath={{.metadata.ownerReferences}}", left.trim())),
            ""
        );
        kubectl.run(&format!("delete {}", left.trim()));

        for name in ["a", "b", "c"] {
            kubectl.run(&format!("create configmap {name}"));
            kubectl
                .run(&format!("label configmap {name} kind={}", if name == "c" { "other" } else { "this" }));
        }
        assert_eq!(kubectl.run("delete cm -l kind=this").lines().count(), 2);
        assert!(kubectl.run("delete cm c --dry-run=server").contains("(server dry run)"));
        assert_eq!(kubectl.run("get cm c -o name"), "configmap/c\n");
        assert!(kubectl.run("delete cm c --now --wait=false").contains("deleted"));
        assert!(kubectl.refused("delete cm c").contains("NotFound"));
        assert!(kubectl.run("delete cm c --ignore-not-found").is_empty());
        kubectl.run("run lone --image=file:a.wasm");
        let forced = kubectl.output("delete pod lone --force --grace-period=0");
        assert!(forced.stdout.contains("force deleted") || forced.stdout.contains("deleted"), "{forced:?}");

        kubectl.run("create configmap held");
        kubectl.run(r#"patch cm held --type=merge -p {"metadata":{"finalizers":["example.com/hold"]}}"#);
        let waiting = kubectl.refused("delete cm held --timeout=1s");
        assert!(waiting.contains("timed out waiting for the condition"), "{waiting}");
        let mut wait = kubectl.start("wait --for=delete cm/held --timeout=60s");
        kubectl.run(r#"patch cm held --type=json -p [{"op":"remove","path":"/metadata/finalizers"}]"#);
        assert!(wait.wait().unwrap().success());
        kubectl.run("create configmap told --from-literal=state=new");
        let mut wait = kubectl.start("wait --for=jsonpath={.data.state}=done cm/told --timeout=60s");
        kubectl.run(r#"patch cm told --type=merge -p {"data":{"state":"done"}}"#);
        assert!(wait.wait().unwrap().success());
        let late = kubectl.refused("wait --for=jsonpath={.data.state}=never cm/told --timeout=1s");
        assert!(late.contains("timed out waiting for the condition on configmaps/told"), "{late}");
        kubectl.run(&format!("create namespace {}-more", kubectl.namespace));
        kubectl.run(&format!("create configmap inside -n {}-more", kubectl.namespace));
        kubectl.run(&format!("delete namespace {}-more --timeout=60s", kubectl.namespace));
        let gone = kubectl.refused(&format!("get ns {}-more", kubectl.namespace));
        assert!(gone.contains("NotFound"), "{gone}");
    });
}

/// An object that says which version it changes, an old one: kubectl looks again and tries again, five times, and gives
/// up with the server's word.
#[test]
fn an_apply_in_conflict_is_tried_again() {
    let audit = tempfile::tempdir().unwrap();
    let log = audit.path().join("audit.log");
    let options = Options::new(Shape::Whole).flag("--no-node", "true");
    let cluster = Cluster::with(options.flag("--audit-log", log.to_str().unwrap()));
    with_each_at_once(&cluster, |kubectl| {
        let plain = settings("{a: one}");
        kubectl.run(&format!("apply -f {}", kubectl.file(&plain)));
        let old = plain.replace("metadata: {", "metadata: {resourceVersion: '1', ").replace("one", "two");
        let said = kubectl.refused(&format!("apply -f {}", kubectl.file(&old)));
        assert!(said.contains("the object has been modified; please apply your changes"), "{said}");
        let requests = || {
            let text = std::fs::read_to_string(&log).unwrap();
            let events: Vec<Value> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let of = |verb: &str, code: u16| {
                let about = |event: &&Value| {
                    event["verb"] == verb
                        && event["responseStatus"]["code"] == code
                        && event["objectRef"]["namespace"] == kubectl.namespace.as_str()
                        && event["objectRef"]["resource"] == "configmaps"
                };
                events.iter().filter(about).count()
            };
            [of("patch", 409), of("get", 200)]
        };
        eventually("each try is in the audit log", || {
            let seen = requests();
            if seen == [6, 6] { Ok(()) } else { Err(format!("{seen:?} conflicts and reads")) }
        });
    });
}

/// The rest of a list that is from before a restart: events are not kept as they were then.
#[test]
fn a_page_of_the_past_is_refused() {
    let event = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Event\nmetadata: {{name: {name}, namespace: default}}\nreason: Test\n\
             involvedObject: {{kind: Namespace, name: default, namespace: default}}\n"
        )
    };
    for name in VERSIONS {
        let mut cluster = control_plane();
        let Some(kubectl) = Kubectl::at(&cluster, name) else { continue };
        let files = ["first", "second"].map(|name| kubectl.file(&event(name)));
        kubectl.run(&format!("create -n default -f {} -f {}", files[0], files[1]));
        let page = kubectl.run("get --raw /api/v1/namespaces/default/events?limit=1");
        let page: Value = serde_json::from_str(&page).unwrap();
        let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
        kubectl.run("delete event first -n default");
        cluster.kill();
        cluster.start_again();
        let line = format!("get --raw /api/v1/namespaces/default/events?limit=1&continue={token}");
        let said = Kubectl::at(&cluster, name).unwrap().refused(&line);
        assert!(said.contains("The provided continue parameter is too old"), "{said}");
    }
}

const ROOMS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rooms.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Room, plural: rooms, singular: room, shortNames: [rm]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Beds, type: integer, jsonPath: .spec.beds}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {beds: {type: integer, description: How many sleep there.}}}
";

/// Looking: what the cluster can do, and what is in it. A Pod stays `Pending`, as there is no node.
const LOOKING: &[Stop<'_>] = &[
    ("version", 0, "Server Version: v1.37."),
    ("version -o json", 0, "\"serverVersion\": {"),
    ("api-versions", 0, "\napps/v1\n"),
    ("api-resources --api-group=apps -o name", 0, "deployments.apps\n"),
    ("api-resources --categories=all -o name", 0, "horizontalpodautoscalers.autoscaling\n"),
    ("cluster-info", 0, "Kubernetes control plane"),
    ("get --raw /healthz", 0, "ok"),
    (
        "get --raw /healthzz",
        1,
        "Error from server (NotFound): the server could not find the requested resource",
    ),
    ("explain pods.spec", 0, "nodeName\t<string>"),
    ("explain pods.spec.nothing", 1, "error: field \"nothing\" does not exist"),
    ("explain nothings", 1, "the server doesn't have a resource type \"nothings\""),
    ("get pods", 0, "No resources found in {namespace} namespace."),
    ("get all", 0, "No resources found in {namespace} namespace."),
    ("top pod", 0, "No resources found in {namespace} namespace."),
    ("run lone --image=file:a.wasm --labels=app=lone", 0, "pod/lone created"),
    ("run lone --image=file:a.wasm", 1, "Error from server (AlreadyExists): pods \"lone\" already exists"),
    ("get pods", 0, "NAME   READY   STATUS    RESTARTS   AGE\nlone   0/1     Pending   0 "),
    ("get pod/lone -o yaml", 0, "\n  phase: Pending\n"),
    ("get pod/lone -o json", 0, "\"kind\": \"Pod\""),
    ("get pods -A --chunk-size=1", 0, "lone "),
    ("get pods --field-selector=status.phase=Pending,spec.nodeName= -o name", 0, "pod/lone\n"),
    ("get pods --field-selector=status.phase!=Pending", 0, "No resources found in {namespace} namespace."),
    ("get pods --field-selector=spec.nodename=a", 1, "field label not supported: spec.nodename"),
    ("get pods -l app=lone,app!=other -o name", 0, "pod/lone\n"),
    ("get pods -l app=", 0, "No resources found"),
    ("get pod none", 1, "Error from server (NotFound): pods \"none\" not found"),
    ("get nothings", 1, "error: the server doesn't have a resource type \"nothings\""),
    ("describe pod lone", 0, "\nStatus:           Pending\n"),
    ("describe pod none", 1, "Error from server (NotFound): pods \"none\" not found"),
    ("events --for pod/none", 0, "No events found in {namespace} namespace."),
    (
        "get events --field-selector involvedObject.name=none",
        0,
        "No resources found in {namespace} namespace.",
    ),
    ("logs none", 1, "pods \"none\" not found"),
    ("exec lone -- ls", 1, "pod lone does not have a host assigned"),
    ("exec none -- ls", 1, "Error from server (NotFound): pods \"none\" not found"),
    ("attach none", 1, "Error from server (NotFound): pods \"none\" not found"),
    ("cp none:/a b", 1, "Error from server (NotFound): pods \"none\" not found"),
    ("port-forward pod/lone :80", 1, "pod is not running. Current status=Pending"),
    ("port-forward pod/none :80", 1, "Error from server (NotFound): pods \"none\" not found"),
    ("debug none --image=file:a.wasm", 1, "Error from server (NotFound): pods \"none\" not found"),
    ("debug lone --image=file:a.wasm -c looks --attach=false", 0, ""),
    ("get pod lone -o jsonpath={.spec.ephemeralContainers[0].name}", 0, "looks"),
    ("top node none", 1, "\"none\" not found"),
    ("top pod none", 1, "\"none\" not found"),
    ("top pod", 1, "error: metrics not available yet"),
    ("cordon none", 1, "Error from server (NotFound): nodes \"none\" not found"),
    ("uncordon none", 1, "Error from server (NotFound): nodes \"none\" not found"),
    ("drain none", 1, "Error from server (NotFound): nodes \"none\" not found"),
    ("auth whoami", 0, "system:masters"),
    ("auth can-i create deployments.apps", 0, "yes\n"),
    ("auth can-i create deployments.apps --as=eve", 1, "no\n"),
    ("auth can-i --list --as=eve", 0, "[/healthz]"),
    (
        "get pods --as=eve",
        1,
        "Error from server (Forbidden): pods is forbidden: User \"eve\" cannot list resource \"pods\"",
    ),
];

/// Writing manifests: applied by the client and by the server, compared, replaced.
const MANIFESTS: &[Stop<'_>] = &[
    ("apply -f {web}", 0, "deployment.apps/web created\n"),
    ("apply -f {web}", 0, "deployment.apps/web unchanged\n"),
    ("apply view-last-applied deploy/web", 0, "image: file:one.wasm"),
    ("diff -f {web}", 0, ""),
    ("diff -f {three}", 1, "\n+  replicas: 3\n"),
    ("diff --server-side --force-conflicts -f {three}", 1, "\n+  replicas: 3\n"),
    ("diff -f {other}", 2, "field is immutable"),
    ("apply --dry-run=server -f {three}", 0, "deployment.apps/web configured (server dry run)\n"),
    ("get deploy web -o jsonpath={.spec.replicas}", 0, "2"),
    ("apply -f {three}", 0, "deployment.apps/web configured\n"),
    ("get deploy web -o jsonpath={.spec.replicas}", 0, "3"),
    ("apply -f {other}", 1, "The Deployment \"web\" is invalid: spec.selector: Invalid value"),
    ("apply -f {unknown}", 1, "strict decoding error: unknown field \"spec.replcas\""),
    ("apply -f {none}", 1, "error: the path \"{none}\" does not exist"),
    (
        "apply --server-side -f {five} --field-manager=other",
        1,
        "error: Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1",
    ),
    (
        "apply --server-side -f {five} --field-manager=other --force-conflicts",
        0,
        "deployment.apps/web serverside-applied\n",
    ),
    ("apply --server-side -f {five} --field-manager=other", 0, "deployment.apps/web serverside-applied\n"),
    (
        "create -f {web}",
        1,
        "Error from server (AlreadyExists): error when creating \"{web}\": deployments.apps \"web\" already exists",
    ),
    ("replace -f {web}", 0, "deployment.apps/web replaced\n"),
    (
        "replace -f {stale}",
        1,
        "Error from server (Conflict): error when replacing \"{stale}\": Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again",
    ),
    (
        "apply -f {rooms}",
        0,
        "customresourcedefinition.apiextensions.k8s.io/rooms.{namespace}.example.com created\n",
    ),
    ("wait --for=condition=Established crd/rooms.{namespace}.example.com --timeout=60s", 0, "condition met"),
    ("apply -f {room}", 0, "room.{namespace}.example.com/blue created\n"),
    ("apply -f {room}", 0, "room.{namespace}.example.com/blue unchanged\n"),
    ("apply -f {larger}", 0, "room.{namespace}.example.com/blue configured\n"),
    ("get rm", 0, "NAME   BEDS\nblue   3\n"),
    ("explain room.spec.beds", 0, "How many sleep there."),
    (
        "patch room blue --type=merge -p {\"spec\":{\"beds\":4}}",
        0,
        "room.{namespace}.example.com/blue patched\n",
    ),
    (
        "patch room blue -p {\"spec\":{\"beds\":5}}",
        1,
        "error: application/strategic-merge-patch+json is not supported by {namespace}.example.com/v1, Kind=Room: the body of the request was in an unknown format",
    ),
    (
        "apply -f {wrong}",
        1,
        "spec.beds: Invalid value: \"string\": spec.beds in body must be of type integer: \"string\"",
    ),
    ("delete -f {rooms} --timeout=60s", 0, "deleted"),
    ("get rooms.{namespace}.example.com", 1, "the server doesn't have a resource type \"rooms\""),
    ("delete -f {web}", 0, "deployment.apps \"web\" deleted"),
    (
        "delete -f {web}",
        1,
        "Error from server (NotFound): error when deleting \"{web}\": deployments.apps \"web\" not found",
    ),
];

/// Making and changing objects without a manifest.
const CHANGES: &[Stop<'_>] = &[
    ("create deployment web --image=file:a.wasm", 0, "deployment.apps/web created\n"),
    (
        "create deployment web --image=file:a.wasm",
        1,
        "error: failed to create deployment: deployments.apps \"web\" already exists",
    ),
    ("create job once --image=file:a.wasm", 0, "job.batch/once created\n"),
    ("create token default", 0, "."),
    ("create token none", 1, "error: failed to create token: serviceaccounts \"none\" not found"),
    ("expose deployment web --port=80", 0, "service/web exposed\n"),
    (
        "expose deployment web --port=80",
        1,
        "Error from server (AlreadyExists): services \"web\" already exists",
    ),
    (
        "expose deployment none --port=80",
        1,
        "Error from server (NotFound): deployments.apps \"none\" not found",
    ),
    ("autoscale deployment web --max=3", 0, "horizontalpodautoscaler.autoscaling/web autoscaled\n"),
    (
        "autoscale deployment web --max=3",
        1,
        // The newest says something else of it.
        "autoscaling",
    ),
    (
        "autoscale deployment web --name=x --min=4 --max=3",
        1,
        "--max=MAXPODS must be larger or equal to --min=MINPODS",
    ),
    ("describe deployment web", 0, "StrategyType:           RollingUpdate"),
    ("describe deployment none", 1, "Error from server (NotFound): deployments.apps \"none\" not found"),
    ("scale deployment web --replicas=3", 0, "deployment.apps/web scaled\n"),
    ("scale deployment web --replicas=1 --current-replicas=9", 1, "error: Expected replicas to be 9, was 3"),
    ("scale deployment none --replicas=1", 1, "deployments.apps \"none\" not found"),
    ("set image deployment/web file=file:b.wasm", 0, "deployment.apps/web image updated\n"),
    ("set image deployment/web none=file:b.wasm", 1, "error: unable to find container named \"none\""),
    ("rollout status deployment/web --timeout=1s", 1, "error: timed out waiting for the condition"),
    ("rollout status deployment/web --watch=false", 0, "Waiting for deployment"),
    (
        "rollout status deployment/none",
        1,
        "Error from server (NotFound): deployments.apps \"none\" not found",
    ),
    (
        "wait --for=jsonpath={.metadata.annotations.deployment\\.kubernetes\\.io/revision}=2 deployment/web",
        0,
        "condition met",
    ),
    (
        "rollout history deployment/web",
        0,
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n",
    ),
    ("rollout history deployment/web --revision=9", 1, "error: unable to find the specified revision"),
    (
        "rollout undo deployment/web --to-revision=9",
        1,
        "error: unable to find specified revision 9 in history",
    ),
    ("rollout undo deployment/web", 0, "deployment.apps/web rolled back\n"),
    (
        "wait --for=jsonpath={.metadata.annotations.deployment\\.kubernetes\\.io/revision}=3 deployment/web",
        0,
        "condition met",
    ),
    (
        "rollout undo deployment/web --to-revision=3",
        0,
        "skipped rollback (current template already matches revision 3)",
    ),
    ("rollout pause deployment/web", 0, "deployment.apps/web paused\n"),
    ("rollout pause deployment/web", 1, "error: deployments.apps \"web\" is already paused"),
    (
        "rollout restart deployment/web",
        1,
        "error: deployments.apps \"web\" can't restart paused deployment (run rollout resume first)",
    ),
    (
        "rollout undo deployment/web",
        1,
        "error: you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
    ),
    ("rollout resume deployment/web", 0, "deployment.apps/web resumed\n"),
    ("rollout resume deployment/web", 1, "error: deployments.apps \"web\" is not paused"),
    ("rollout restart deployment/web", 0, "deployment.apps/web restarted\n"),
    ("label deployment web tier=front", 0, "deployment.apps/web labeled\n"),
    (
        "label deployment web tier=back",
        1,
        "error: 'tier' already has a value (front), and --overwrite is false",
    ),
    (
        "label deployment web tier=x --overwrite --resource-version=1",
        1,
        "Error from server (Conflict): Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified",
    ),
    ("label deployment web 'tier=not good' --overwrite", 1, "error: invalid label value: \"tier=not good\""),
    ("annotate deployment web note=one", 0, "deployment.apps/web annotated\n"),
    (
        "annotate deployment web note=two",
        1,
        "error: --overwrite is false but found the following declared annotation(s): 'note' already has a value (one)",
    ),
    ("patch deployment web -p {\"spec\":{\"replicas\":1}}", 0, "deployment.apps/web patched\n"),
    ("patch deployment web -p {\"spec\":{\"replicas\":1}}", 0, "deployment.apps/web patched (no change)\n"),
    (
        "patch deployment web --type=merge -p {\"spec\":{\"replicas\":-1}}",
        1,
        "The Deployment \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        "patch deployment web --type=json -p [{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":9}]",
        1,
        "The request is invalid: the server rejected our request due to an error in our request: testing value /spec/replicas failed",
    ),
    (
        "patch deployment web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":2}]",
        0,
        "deployment.apps/web patched\n",
    ),
    (
        "patch deployment web --subresource=status --type=merge -p {\"status\":{\"collisionCount\":7}}",
        0,
        "deployment.apps/web patched\n",
    ),
    ("patch deployment web -p {", 1, "Error from server (BadRequest): "),
    ("patch deployment none -p {}", 1, "Error from server (NotFound): deployments.apps \"none\" not found"),
    (
        "wait --for=condition=Available deployment/web --timeout=1s",
        1,
        "error: timed out waiting for the condition on deployments/web",
    ),
    (
        "wait --for=condition=Available deployment/none --timeout=1s",
        1,
        "Error from server (NotFound): deployments.apps \"none\" not found",
    ),
    (
        "wait --for=jsonpath={.spec.replicas}=2 deployment/web --timeout=60s",
        0,
        "deployment.apps/web condition met\n",
    ),
    ("wait --for=create deployment/none --timeout=1s", 1, "error: timed out waiting for the condition\n"),
    ("wait --for=delete deployment/none --timeout=60s", 0, ""),
    ("delete deployment web --cascade=foreground --timeout=60s", 0, "deployment.apps \"web\" deleted"),
    ("delete deployment web", 1, "Error from server (NotFound): deployments.apps \"web\" not found"),
    ("delete deployment web --ignore-not-found", 0, ""),
    ("delete pods -l app=none", 0, "No resources found"),
    ("delete job once --cascade=orphan --timeout=60s", 0, "job.batch \"once\" deleted"),
    ("delete pods --all --force --grace-period=0 --timeout=60s", 0, "force deleted"),
    ("get pods", 0, "No resources found in {namespace} namespace."),
];

#[test]
fn commands_end_as_kubectl_promises() {
    with_each(&control_plane(), |kubectl| {
        eventually("the namespace has its account", || {
            kubectl.output("get serviceaccount default").checked()
        });
        let group = format!("{}.example.com", kubectl.namespace);
        let room = |beds: &str| {
            kubectl.file(&format!(
                "apiVersion: {group}/v1\nkind: Room\nmetadata: {{name: blue}}\nspec: {{beds: {beds}}}\n"
            ))
        };
        let replicas = |count: &str| kubectl.file(&DEPLOYMENT.replace("replicas: 2", count));
        let files = [
            ("web", replicas("replicas: 2")),
            ("three", replicas("replicas: 3")),
            ("five", replicas("replicas: 5")),
            ("unknown", replicas("replcas: 3")),
            ("other", kubectl.file(&DEPLOYMENT.replace("app: web}", "app: other}"))),
            ("stale", kubectl.file(&DEPLOYMENT.replace("name: web,", "name: web, resourceVersion: '1',"))),
            ("none", "no-such-file.yaml".to_owned()),
            ("rooms", kubectl.file(&ROOMS.replace("GROUP", &group))),
            ("room", room("2")),
            ("larger", room("3")),
            ("wrong", room("many")),
        ];
        let names: Vec<(&str, &str)> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
        kubectl.tour(LOOKING, &names);
        kubectl.tour(MANIFESTS, &names);
        kubectl.tour(CHANGES, &names);
    });
}
