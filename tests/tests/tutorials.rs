//! What Kubernetes' tutorials let their readers do, step by step, with both versions of kubectl: the same happens here.
#![allow(clippy::unwrap_used)]

use edge_tests::kubectl::{Kubectl, Stop, beside_guests, with_each};
use edge_tests::{Cluster, Options, Shape, eventually};

fn control_plane() -> Cluster {
    Cluster::with(Options::new(Shape::Whole).flag("--no-node", "true"))
}

/// Waits until a command prints a piece of text.
#[track_caller]
fn shows(kubectl: &Kubectl<'_>, line: &str, piece: &str) {
    eventually(&format!("{line} shows {piece}"), || {
        let shown = kubectl.output(line).checked()?;
        if shown.contains(piece) { Ok(()) } else { Err(shown) }
    });
}

/// A workload whose Pods have one container; `spec` and `container` are more lines of theirs.
fn workload(kind: &str, name: &str, image: &str, spec: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n{spec}  \
         template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      \
         - name: main\n        image: file:{image}.wasm\n{container}"
    )
}

const PORTS: &str = "        ports: [{name: http, containerPort: 8080}]\n";

#[test]
fn a_stateless_application_is_run_updated_and_scaled() {
    with_each(&beside_guests(), |kubectl| {
        let replicas = |count: u8, image: &str| {
            kubectl.file(&workload("Deployment", "web", image, &format!("  replicas: {count}\n"), PORTS))
        };
        let (two, other, four) = (replicas(2, "hello-http"), replicas(2, "kv-http"), replicas(4, "kv-http"));
        let apart = |line: &str| kubectl.run(line).lines().count();
        kubectl.run(&format!("apply -f {two}"));
        kubectl.run("rollout status deployment/web --timeout=60s");
        let shown = kubectl.run("describe deployment web");
        for words in [
            "2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
            "Image:         file:hello-http.wasm",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let before = kubectl.run("get pods -l app=web -o name");
        assert_eq!(before.lines().count(), 2);
        kubectl.run(&format!("apply -f {other}"));
        kubectl.run("rollout status deployment/web --timeout=60s");
        let images = "get pods -l app=web --field-selector=status.phase=Running -o jsonpath={.items[*].spec.containers[0].image}";
        shows(kubectl, images, "file:kv-http.wasm file:kv-http.wasm");
        kubectl.run(&format!("wait --for=delete {} --timeout=60s", before.replace('\n', " ")));
        kubectl.run(&format!("apply -f {four}"));
        kubectl.run("rollout status deployment/web --timeout=60s");
        assert_eq!(apart("get pods -l app=web --field-selector=status.phase=Running -o name"), 4);

        // A Service in front of it: its address, its endpoints, and what Pods started later know of it.
        kubectl.run("expose deployment web --name=front --port=80 --target-port=http");
        let endpoints = "get endpointslices -l kubernetes.io/service-name=front -o jsonpath={.items[*].endpoints[*].addresses[0]}";
        eventually("all Pods are endpoints", || match kubectl.run(endpoints).split(' ').count() {
            4 => Ok(()),
            other => Err(other.to_string()),
        });
        let pod = kubectl.run("get pods -l app=web -o jsonpath={.items[0].metadata.name}");
        assert!(
            !kubectl.run(&format!("exec {pod} -- env")).contains("FRONT_SERVICE_HOST"),
            "it was there before"
        );
        kubectl.run("scale deployment web --replicas=0");
        shows(kubectl, "get deployment web", "0/0");
        kubectl.run("wait --for=delete pod -l app=web --timeout=60s");
        kubectl.run("scale deployment web --replicas=2");
        kubectl.run("rollout status deployment/web --timeout=60s");
        let pod = kubectl.run("get pods -l app=web -o jsonpath={.items[0].metadata.name}");
        let address = kubectl.run("get service front -o jsonpath={.spec.clusterIP}");
        let variables = kubectl.run(&format!("exec {pod} -- env"));
        assert!(variables.contains(&format!("FRONT_SERVICE_HOST={address}\n")), "{variables}");
        assert!(variables.contains("FRONT_SERVICE_PORT=80\n"), "{variables}");
        kubectl.run("delete deployment/web service/front --timeout=60s");
        assert_eq!(kubectl.run("get pods -l app=web -o name --field-selector=status.phase=Running"), "");
    });
}

#[test]
fn settings_change_under_running_pods() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        kubectl.run("create configmap sport --from-literal=sport=football");
        let container = "        env: [{name: SPORT, valueFrom: {configMapKeyRef: {name: sport, key: sport}}}]\n        \
                         volumeMounts: [{name: settings, mountPath: /etc/settings}]\n      volumes:\n      \
                         - {name: settings, configMap: {name: sport}}\n";
        let watcher = workload("Deployment", "watcher", "guests/dist/ticker", "  replicas: 1\n", container);
        kubectl.run(&format!("apply -f {}", kubectl.file(&watcher)));
        kubectl.run("rollout status deployment/watcher --timeout=60s");
        let file = "exec deployment/watcher -- cat /etc/settings/sport";
        assert_eq!(kubectl.run(file), "football");
        kubectl.run("patch configmap sport --type=merge -p {\"data\":{\"sport\":\"cricket\"}}");
        shows(kubectl, file, "cricket");
        // A variable is what it was when the container started.
        let logs = kubectl.run("logs deployment/watcher");
        assert!(logs.contains("env: SPORT=football\n"), "{logs}");
        kubectl.run("rollout restart deployment/watcher");
        kubectl.run("rollout status deployment/watcher --timeout=60s");
        eventually("the new Pod knows better", || {
            let newest = kubectl.run("get pods -l app=watcher --sort-by=.metadata.creationTimestamp -o name");
            let newest = newest.lines().last().unwrap_or_default().to_owned();
            let logs = kubectl.output(&format!("logs {newest}")).checked()?;
            if logs.contains("env: SPORT=cricket\n") { Ok(()) } else { Err(logs) }
        });
        kubectl.run("patch configmap sport --type=merge -p {\"immutable\":true}");
        let refused =
            kubectl.refused("patch configmap sport --type=merge -p {\"data\":{\"sport\":\"chess\"}}");
        assert!(refused.contains("data: Forbidden: field is immutable when `immutable` is set"), "{refused}");
        kubectl.run("delete deployment watcher --timeout=60s");
    });
}

#[test]
fn a_stateful_application_keeps_names_and_order() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        let spec = "  serviceName: web\n  replicas: 2\n";
        let web = workload("StatefulSet", "web", "guests/dist/hello-http", spec, PORTS);
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  clusterIP: None\n  selector: {app: web}\n  \
                       ports: [{name: http, port: 8080}]\n---\n";
        kubectl.run(&format!("apply -f {}", kubectl.file(&format!("{service}{web}"))));
        kubectl.run("rollout status statefulset/web --timeout=60s");
        let started = kubectl.run(
            "get pods -l app=web -o jsonpath={.items[*].metadata.labels.apps\\.kubernetes\\.io/pod-index}",
        );
        assert_eq!(started, "0 1");
        let field = |pod: &str, path: &str| kubectl.run(&format!("get pod {pod} -o jsonpath={{{path}}}"));
        assert_eq!(
            (field("web-1", ".spec.hostname"), field("web-1", ".spec.subdomain")),
            ("web-1".into(), "web".into())
        );
        let slices = "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].hostname}";
        eventually("both have a name", || {
            let names = kubectl.run(slices);
            if names.contains("web-0") && names.contains("web-1") { Ok(()) } else { Err(names) }
        });
        kubectl.replace(&["web-0", "web-1"]);
        kubectl.run("rollout status statefulset/web --timeout=60s");
        kubectl.run("wait --for=condition=Ready pod/web-0 pod/web-1 --timeout=60s");

        kubectl.run("scale statefulset web --replicas=4");
        kubectl.run("rollout status statefulset/web --timeout=60s");
        let made = |pod: &str| field(pod, ".metadata.creationTimestamp");
        assert!(made("web-2") <= made("web-3"), "one after the other");
        kubectl.run(r#"patch statefulset web -p {"spec":{"replicas":3}}"#);
        kubectl.run("wait --for=delete pod/web-3 --timeout=60s");

        // Only what is not below the partition is updated; then the rest.
        kubectl.run(r#"patch statefulset web -p {"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}}}}"#);
        kubectl.run("set env statefulset/web COLOUR=red");
        let colour = ".spec.containers[0].env[0].value";
        let waits = |pod: &str| format!("wait --for=jsonpath={{{colour}}}=red pod/{pod} --timeout=60s");
        shows(kubectl, &format!("get pod web-2 --ignore-not-found -o jsonpath={{{colour}}}"), "red");
        let told = kubectl.run("rollout status statefulset/web --timeout=60s");
        assert!(told.contains("partitioned roll out complete: 1 new pods have been updated"), "{told}");
        assert_eq!((field("web-0", colour), field("web-1", colour)), (String::new(), String::new()));
        kubectl.replace(&["web-0"]);
        kubectl.run("rollout status statefulset/web --timeout=60s");
        shows(kubectl, "get pod web-0", "Running");
        assert_eq!(field("web-0", colour), "", "below the partition Pods come back as they were");
        kubectl
            .run(r#"patch statefulset web -p {"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}"#);
        kubectl.run("rollout status statefulset/web --timeout=60s");
        for pod in ["web-0", "web-1", "web-2"] {
            kubectl.run(&waits(pod));
        }

        // Who is told to wait for its deletion is not touched before.
        kubectl.run(r#"patch statefulset web -p {"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#);
        kubectl.run("set env statefulset/web COLOUR=blue");
        shows(
            kubectl,
            "get statefulset web -o jsonpath={.status.observedGeneration}={.metadata.generation}",
            "=",
        );
        assert_eq!(field("web-1", colour), "red");
        kubectl.replace(&["web-1"]);
        shows(kubectl, &format!("get pod web-1 --ignore-not-found -o jsonpath={{{colour}}}"), "blue");
        assert_eq!(field("web-0", colour), "red");

        // Pods stay where only their set goes, and are its again when it comes back.
        let uid = field("web-0", ".metadata.uid");
        kubectl.run("delete statefulset web --cascade=orphan --timeout=60s");
        assert_eq!(field("web-0", ".metadata.ownerReferences"), "");
        kubectl.run("delete pod web-1 --timeout=60s");
        let calm = web.replace("  replicas: 2\n", "  replicas: 2\n  updateStrategy: {type: OnDelete}\n");
        kubectl.run(&format!("apply -f {}", kubectl.file(&calm)));
        kubectl.run("wait --for=jsonpath={.status.readyReplicas}=2 statefulset/web --timeout=60s");
        kubectl.run("wait --for=delete pod/web-2 --timeout=60s");
        assert_eq!(kubectl.run("get pods -l app=web -o jsonpath={.items[*].metadata.name}"), "web-0 web-1");
        eventually("the Pod has its owner again", || {
            let owner =
                kubectl.output("get pod web-0 -o jsonpath={.metadata.ownerReferences[0].name}").checked()?;
            if owner == "web" { Ok(()) } else { Err(owner) }
        });
        assert_eq!(field("web-0", ".metadata.uid"), uid, "and was not replaced");
        kubectl.run("delete statefulset web --timeout=60s");
        kubectl.run("wait --for=delete pod -l app=web --timeout=60s");

        // Nobody waits for anybody where that is said.
        let parallel = workload(
            "StatefulSet",
            "many",
            "guests/dist/hello-http",
            "  serviceName: many\n  replicas: 3\n  podManagementPolicy: Parallel\n",
            PORTS,
        );
        kubectl.run(&format!("apply -f {}", kubectl.file(&parallel)));
        kubectl.run("rollout status statefulset/many --timeout=60s");
        kubectl.run("delete statefulset many --timeout=60s");
    });
}

#[test]
fn jobs_are_held_back_expanded_and_cleaned_up() {
    with_each(&beside_guests(), |kubectl| {
        let job = |name: &str, spec: &str| {
            format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, labels: {{jobgroup: all}}}}\nspec:\n{spec}  template:\n    \
                 metadata: {{labels: {{jobgroup: all}}}}\n    spec:\n      restartPolicy: Never\n      containers:\n      \
                 - {{name: main, image: 'file:toolbox.wasm', args: [echo, 'item {name}']}}\n---\n"
            )
        };
        let expanded: String = ["apple", "banana", "cherry"].iter().map(|item| job(item, "")).collect();
        let made = kubectl.run(&format!("create -f {}", kubectl.file(&expanded)));
        assert_eq!(made, "job.batch/apple created\njob.batch/banana created\njob.batch/cherry created\n");
        kubectl.run("wait --for=condition=complete job -l jobgroup=all --timeout=60s");
        let logs = kubectl.run("logs -l jobgroup=all");
        for item in ["item apple", "item banana", "item cherry"] {
            assert!(logs.lines().any(|line| line == item), "{logs}");
        }
        assert_eq!(kubectl.run("delete job -l jobgroup=all --timeout=60s").lines().count(), 3);

        kubectl.run(&format!("create -f {}", kubectl.file(&job("held", "  suspend: true\n"))));
        kubectl.run("wait --for=condition=Suspended job/held --timeout=60s");
        assert!(kubectl.run("get job held").contains("Suspended"));
        assert_eq!(kubectl.run("get pods -l batch.kubernetes.io/job-name=held -o name"), "");
        kubectl.run(r#"patch job held -p {"spec":{"suspend":false}}"#);
        kubectl.run("wait --for=condition=complete job/held --timeout=60s");
        let events = kubectl.run("describe job held");
        for reason in ["Suspended", "Resumed", "SuccessfulCreate", "Completed"] {
            assert!(events.contains(reason), "{reason}: {events}");
        }
        kubectl.run(&format!("create -f {}", kubectl.file(&job("brief", "  ttlSecondsAfterFinished: 0\n"))));
        kubectl.run("wait --for=delete job/brief --timeout=60s");

        kubectl.run("create cronjob never --image=file:toolbox.wasm --schedule='@yearly' -- echo once");
        kubectl.run(r#"patch cronjob never -p {"spec":{"suspend":true}}"#);
        let shown = kubectl.run("get cronjob never");
        assert!(shown.contains("@yearly") && shown.contains("True") && shown.contains("<none>"), "{shown}");
        let refused =
            kubectl.refused("create cronjob wrong --image=file:toolbox.wasm --schedule='every day'");
        assert!(refused.contains("spec.schedule: Invalid value: \"every day\""), "{refused}");
    });
}

/// "Handling retriable and non-retriable pod failures with Pod failure policy".
#[test]
fn jobs_tell_failures_that_matter_from_others() {
    with_each(&beside_guests(), |kubectl| {
        let job = |name: &str, limit: u8, image: &str, rule: &str| {
            format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: {limit}\n  \
                 podFailurePolicy: {{rules: [{rule}]}}\n  template:\n    spec:\n      restartPolicy: Never\n      \
                 terminationGracePeriodSeconds: 1\n      containers: [{{name: main, image: 'file:{image}.wasm'}}]\n"
            )
        };
        // A disruption is not the Pod's fault: without a single retry to spare, another Pod takes its place.
        let ignore = "{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}";
        kubectl.run(&format!("create -f {}", kubectl.file(&job("disrupted", 0, "ticker", ignore))));
        let named = "-l batch.kubernetes.io/job-name=disrupted";
        shows(kubectl, "get job disrupted -o jsonpath={.status.ready}", "1");
        let before = kubectl.run(&format!("get pods {named} -o name"));
        let node = kubectl.run("get nodes -o jsonpath={.items[0].metadata.name}");
        let drained = kubectl.run(&format!(
            "drain {node} --pod-selector=batch.kubernetes.io/job-name=disrupted --timeout=60s"
        ));
        assert!(drained.contains("evicted"), "{drained}");
        shows(kubectl, &format!("get pods {named} --field-selector=status.phase=Pending -o name"), "pod/");
        kubectl.run(&format!("uncordon {node}"));
        shows(kubectl, "get job disrupted -o jsonpath={.status.ready}", "1");
        assert_eq!(kubectl.run("get job disrupted -o jsonpath={.status.failed}"), "");
        let after = kubectl.run(&format!("get pods {named} --field-selector=status.phase=Running -o name"));
        assert!(after.starts_with("pod/") && after != before, "{before} {after}");

        // What somebody else finds out about a Pod decides, too.
        let fail = "{action: FailJob, onPodConditions: [{type: ConfigIssue}]}";
        kubectl.run(&format!("create -f {}", kubectl.file(&job("misconfigured", 8, "non-existing", fail))));
        let named = "-l batch.kubernetes.io/job-name=misconfigured";
        shows(kubectl, &format!("get pods {named}"), "ImagePullBackOff");
        let pod = kubectl.run(&format!("get pods {named} -o jsonpath={{.items[0].metadata.name}}"));
        let condition = r#"{"status":{"conditions":[{"type":"ConfigIssue","status":"True","reason":"NonExistingImage"}]}}"#;
        kubectl.run(&format!("patch pod {pod} --subresource=status -p {condition}"));
        kubectl.run(&format!("delete pod {pod} --timeout=60s"));
        kubectl.run("wait --for=condition=failed job/misconfigured --timeout=60s");
        let told = kubectl
            .run("get job misconfigured -o jsonpath={.status.conditions[?(@.type==\"Failed\")].message}");
        let expected = "has condition ConfigIssue matching FailJob rule at index 0";
        assert!(told.ends_with(expected), "{told}");
        kubectl.run("delete job disrupted misconfigured --timeout=60s");
    });
}

#[test]
fn pods_go_where_they_are_wanted() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        let pod = |name: &str, more: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
                 - {{name: main, image: 'file:guests/dist/ticker.wasm'}}\n{more}"
            );
            kubectl.run(&format!("create -f {}", kubectl.file(&text)));
        };
        let node = kubectl.run("get nodes -o jsonpath={.items[0].metadata.name}");
        let disk = format!("disk-{}", kubectl.namespace);
        pod("choosy", &format!("  nodeSelector: {{{disk}: ssd}}\n"));
        shows(
            kubectl,
            "describe pod choosy",
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        );
        assert!(kubectl.run("get pod choosy").contains("Pending"));
        kubectl.run(&format!("label node {node} {disk}=ssd"));
        kubectl.run("wait --for=condition=Ready pod/choosy --timeout=60s");
        kubectl.run(&format!("label node {node} {disk}-"));
        assert!(kubectl.run("get pod choosy").contains("Running"), "labels count when it is scheduled");

        let greedy = "    resources: {requests: {cpu: 1k}}\n";
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: greedy}}\nspec:\n  containers:\n  - name: main\n    image: 'file:a.wasm'\n{greedy}"
        );
        kubectl.run(&format!("create -f {}", kubectl.file(&text)));
        shows(kubectl, "describe pod greedy", "0/1 nodes are available: 1 Insufficient cpu.");

        kubectl.run(&format!("taint node {node} example.com/only=some:NoSchedule"));
        pod("kept-out", "");
        shows(kubectl, "describe pod kept-out", "1 node(s) had untolerated taint {example.com/only: some}");
        pod("let-in", "  tolerations: [{key: example.com/only, operator: Exists}]\n");
        kubectl.run("wait --for=condition=Ready pod/let-in --timeout=60s");
        kubectl.run(&format!("taint node {node} example.com/only-"));
        kubectl.run("wait --for=condition=Ready pod/kept-out --timeout=60s");
        kubectl.run("delete pods --all --timeout=60s");
    });
}

/// What a namespace lets its Pods take: defaults, limits, quotas.
const BOUNDS: &[Stop<'_>] = &[
    ("apply -f {defaults}", 0, "limitrange/bounds created"),
    ("apply -f {plain}", 0, "pod/plain created"),
    (
        "get pod plain -o jsonpath={.spec.containers[0].resources}",
        0,
        "{\"limits\":{\"memory\":\"512Mi\"},\"requests\":{\"memory\":\"256Mi\"}}",
    ),
    ("apply -f {limited}", 0, "pod/limited created"),
    ("get pod limited -o jsonpath={.spec.containers[0].resources.requests.memory}", 0, "1Gi"),
    ("apply -f {requesting}", 0, "pod/requesting created"),
    ("get pod requesting -o jsonpath={.spec.containers[0].resources.limits.memory}", 0, "512Mi"),
    ("delete limitrange/bounds pod/plain pod/limited pod/requesting", 0, "deleted"),
    ("apply -f {constraints}", 0, "limitrange/bounds created"),
    (
        "apply -f {large}",
        1,
        "Error from server (Forbidden): error when creating \"{large}\": pods \"large\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 1536Mi",
    ),
    (
        "apply -f {small}",
        1,
        "pods \"small\" is forbidden: minimum memory usage per Container is 500Mi, but request is 100Mi",
    ),
    ("delete limitrange bounds", 0, "deleted"),
    ("create quota taken --hard=requests.memory=1Gi,limits.memory=2Gi", 0, "resourcequota/taken created"),
    ("wait --for=jsonpath={.status.hard.limits\\.memory}=2Gi quota/taken --timeout=60s", 0, "condition met"),
    (
        "apply -f {plain}",
        1,
        "pods \"plain\" is forbidden: failed quota: taken: must specify limits.memory for: main; requests.memory for: main",
    ),
    ("apply -f {first}", 0, "pod/first created"),
    (
        "apply -f {second}",
        1,
        "pods \"second\" is forbidden: exceeded quota: taken, requested: requests.memory=700Mi, used: requests.memory=600Mi, limited: requests.memory=1Gi",
    ),
    (
        "get quota taken -o jsonpath={.status.used}",
        0,
        "{\"limits.memory\":\"800Mi\",\"requests.memory\":\"600Mi\"}",
    ),
    ("describe quota taken", 0, "requests.memory  600Mi  1Gi"),
    ("delete quota taken", 0, "deleted"),
    ("delete pod first --now", 0, "deleted"),
    ("create quota few --hard=pods=2,count/configmaps=2", 0, "resourcequota/few created"),
    ("wait --for=jsonpath={.status.hard.pods}=2 quota/few --timeout=60s", 0, "condition met"),
    ("create configmap one", 0, "configmap/one created"),
    (
        "create configmap two",
        1,
        "error: failed to create configmap: configmaps \"two\" is forbidden: exceeded quota: few, requested: count/configmaps=1, used: count/configmaps=2, limited: count/configmaps=2",
    ),
    ("create deployment many --image=file:a.wasm --replicas=3", 0, "deployment.apps/many created"),
    ("wait --for=condition=ReplicaFailure deployment/many --timeout=60s", 0, "condition met"),
    (
        "get deployment many -o jsonpath={.status.conditions[?(@.type==\"ReplicaFailure\")].message}",
        0,
        "is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2",
    ),
    ("delete deployment many", 0, "deleted"),
];

#[test]
fn namespaces_bound_what_pods_take() {
    with_each(&control_plane(), |kubectl| {
        eventually("the namespace has its account and its ConfigMap", || {
            kubectl.output("get serviceaccount/default configmap/kube-root-ca.crt").checked()
        });
        let bounds = |limit: &str| {
            kubectl.file(&format!("apiVersion: v1\nkind: LimitRange\nmetadata: {{name: bounds}}\nspec:\n  limits:\n  - {{{limit}, type: Container}}\n"))
        };
        let pod = |name: &str, resources: &str| {
            kubectl.file(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: main, image: 'file:a.wasm', resources: {resources}}}\n"
            ))
        };
        let files = [
            ("defaults", bounds("default: {memory: 512Mi}, defaultRequest: {memory: 256Mi}")),
            ("constraints", bounds("max: {memory: 1Gi}, min: {memory: 500Mi}")),
            ("plain", pod("plain", "{}")),
            ("limited", pod("limited", "{limits: {memory: 1Gi}}")),
            ("requesting", pod("requesting", "{requests: {memory: 128Mi}}")),
            ("large", pod("large", "{limits: {memory: 1.5Gi}, requests: {memory: 800Mi}}")),
            ("small", pod("small", "{limits: {memory: 800Mi}, requests: {memory: 100Mi}}")),
            ("first", pod("first", "{limits: {memory: 800Mi}, requests: {memory: 600Mi}}")),
            ("second", pod("second", "{limits: {memory: 1Gi}, requests: {memory: 700Mi}}")),
        ];
        let names: Vec<(&str, &str)> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
        kubectl.tour(BOUNDS, &names);
    });
}

/// What administrators forbid: by a policy in CEL, by a standard for Pods, by roles.
const RULES: &[Stop<'_>] = &[
    ("label namespace {namespace} environment={namespace}", 0, "labeled"),
    (
        "apply -f {policy}",
        0,
        "validatingadmissionpolicy.admissionregistration.k8s.io/{namespace}.example.com created",
    ),
    (
        "wait --for=jsonpath={.status.observedGeneration}=1 validatingadmissionpolicy/{namespace}.example.com --timeout=60s",
        0,
        "condition met",
    ),
    ("get validatingadmissionpolicy {namespace}.example.com -o jsonpath={.status.typeChecking}", 0, "{}"),
    (
        "create deployment six --image=file:a.wasm --replicas=6",
        1,
        "error: failed to create deployment: deployments.apps \"six\" is forbidden: ValidatingAdmissionPolicy '{namespace}.example.com' with binding '{namespace}.example.com' denied request: failed expression: object.spec.replicas <= 5",
    ),
    ("create deployment five --image=file:a.wasm --replicas=5", 0, "deployment.apps/five created"),
    (
        "patch deployment five -p {\"spec\":{\"replicas\":7}}",
        1,
        "denied request: failed expression: object.spec.replicas <= 5",
    ),
    ("delete deployment five --timeout=60s", 0, "deleted"),
    ("run careless --image=file:a.wasm", 0, "pod/careless created"),
    (
        "label --dry-run=server --overwrite namespace {namespace} pod-security.kubernetes.io/enforce=restricted",
        0,
        "Warning: existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"restricted:latest\"",
    ),
    (
        "label namespace {namespace} pod-security.kubernetes.io/warn=restricted pod-security.kubernetes.io/enforce=baseline",
        0,
        "labeled",
    ),
    (
        "run warned --image=file:a.wasm",
        0,
        "Warning: would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"warned\" must set securityContext.allowPrivilegeEscalation=false)",
    ),
    (
        "apply -f {privileged}",
        1,
        "pods \"privileged\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true), privileged (container \"main\" must not set securityContext.privileged=true)",
    ),
    (
        "label namespace {namespace} --overwrite pod-security.kubernetes.io/enforce=nonsense",
        1,
        "pod-security.kubernetes.io/enforce]: Invalid value: \"nonsense\": must be one of privileged, baseline, restricted",
    ),
    ("create serviceaccount robot", 0, "serviceaccount/robot created"),
    ("create role pod-reader --verb=get,list --resource=pods --resource-name=careless", 0, "created"),
    ("create rolebinding robot-reads --role=pod-reader --serviceaccount={namespace}:robot", 0, "created"),
    ("auth can-i get pods/careless --as=system:serviceaccount:{namespace}:robot", 0, "yes"),
    ("auth can-i get pods/warned --as=system:serviceaccount:{namespace}:robot", 1, "no"),
    ("get pod careless --as=system:serviceaccount:{namespace}:robot -o name", 0, "pod/careless"),
    (
        "delete pod careless --as=system:serviceaccount:{namespace}:robot",
        1,
        "Error from server (Forbidden): pods \"careless\" is forbidden: User \"system:serviceaccount:{namespace}:robot\" cannot delete resource \"pods\" in API group \"\" in the namespace \"{namespace}\"",
    ),
    (
        "create role more --verb=* --resource=secrets --as=system:serviceaccount:{namespace}:robot",
        1,
        "cannot create resource \"roles\"",
    ),
    (
        "delete validatingadmissionpolicy,validatingadmissionpolicybinding {namespace}.example.com",
        0,
        "deleted",
    ),
];

#[test]
fn administrators_rules_are_kept() {
    with_each(&control_plane(), |kubectl| {
        eventually("the namespace has its account", || {
            kubectl.output("get serviceaccount default").checked()
        });
        let name = format!("{}.example.com", kubectl.namespace);
        let policy = kubectl.file(&format!(
            "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
             failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n    - {{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], \
             resources: [deployments]}}\n  validations: [{{expression: object.spec.replicas <= 5}}]\n---\n\
             apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {name}}}\nspec:\n  \
             policyName: {name}\n  validationActions: [Deny]\n  matchResources:\n    namespaceSelector: {{matchLabels: {{environment: {}}}}}\n",
            kubectl.namespace
        ));
        let privileged = kubectl.file(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: privileged}\nspec:\n  hostNetwork: true\n  containers:\n  \
             - {name: main, image: 'file:a.wasm', securityContext: {privileged: true}}\n",
        );
        kubectl.tour(RULES, &[("policy", &policy), ("privileged", &privileged)]);
    });
}
