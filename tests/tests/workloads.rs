//! What people do with kubectl's oldest and newest version to workloads of every kind.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use edge_tests::kubectl::{Kubectl, VERSIONS, with_each, with_each_at_once};
use edge_tests::{Cluster, Shape, eventually, eventually_within, web};

const TOOLBOX: &str = "file:guests/dist/toolbox.wasm";

/// Waits until a command prints this.
fn prints(kubectl: &Kubectl<'_>, line: &str, wanted: &str) {
    eventually(&format!("{line} prints {wanted}"), || {
        let shown = kubectl.output(line).checked()?;
        if shown.trim() == wanted { Ok(()) } else { Err(shown) }
    });
}

/// A workload of Pods with one container; `spec` and `pod` are more lines of the two specs.
fn workload(kind: &str, name: &str, guest: &str, spec: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n{spec}  \
         template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      \
         - name: main\n        image: file:guests/dist/{guest}.wasm\n{pod}"
    )
}

#[test]
fn jobs_run_to_their_end() {
    let cluster = Cluster::start(Shape::Whole);
    let namespaces = std::cell::RefCell::new(Vec::new());
    with_each(&cluster, |kubectl| {
        namespaces.borrow_mut().push(kubectl.namespace.clone());
        kubectl.run(&format!("create cronjob tick --image={TOOLBOX} --schedule='* * * * *' -- echo tick"));
        kubectl.run("create job by-hand --from=cronjob/tick");
        kubectl.run("wait --for=condition=complete job/by-hand --timeout=60s");
        assert_eq!(kubectl.run("logs job/by-hand"), "tick\n");

        kubectl.run(&format!("create job once --image={TOOLBOX} -- echo done"));
        kubectl.run("wait --for=condition=complete job/once --timeout=60s");
        assert_eq!(kubectl.run("logs job/once"), "done\n");
        assert!(kubectl.run("get job once").contains("1/1"));
        assert!(kubectl.run("describe job once").contains("Completed"));

        let job = |name: &str, spec: &str, container: &str, code: u8| {
            format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n{spec}  template:\n    spec:\n      restartPolicy: Never\n      \
                 containers:\n      - name: main\n        image: {container}\n        env: [{{name: EXIT_CODE, value: '{code}'}}]\n"
            )
        };
        let indexed = job(
            "indexed",
            "  completions: 3\n  parallelism: 2\n  completionMode: Indexed\n",
            &format!("{TOOLBOX}\n        args: [env]"),
            0,
        );
        kubectl.run(&format!("apply -f {}", kubectl.file(&indexed)));
        kubectl.run("wait --for=condition=complete job/indexed --timeout=60s");
        assert_eq!(kubectl.run("get job indexed -o jsonpath={.status.completedIndexes}"), "0-2");
        let last = kubectl.run("logs -l batch.kubernetes.io/job-completion-index=2 --tail=-1");
        assert!(last.contains("JOB_COMPLETION_INDEX=2"), "{last}");

        let failing = job("failing", "  backoffLimit: 0\n", "file:guests/dist/crash.wasm", 7);
        kubectl.run(&format!("apply -f {}", kubectl.file(&failing)));
        kubectl.run("wait --for=condition=failed job/failing --timeout=60s");
        let why =
            kubectl.run("get job failing -o jsonpath={.status.conditions[?(@.type==\"Failed\")].reason}");
        assert_eq!(why, "BackoffLimitExceeded");
        let policy = "  backoffLimit: 6\n  podFailurePolicy:\n    rules:\n    - action: FailJob\n      \
                      onExitCodes: {operator: In, values: [7]}\n";
        let forgiven = job("policed", policy, "file:guests/dist/crash.wasm", 7);
        kubectl.run(&format!("apply -f {}", kubectl.file(&forgiven)));
        kubectl.run("wait --for=condition=failed job/policed --timeout=60s");
        let why =
            kubectl.run("get job policed -o jsonpath={.status.conditions[?(@.type==\"Failed\")].reason}");
        assert_eq!(why, "PodFailurePolicy");
        kubectl.run("delete job once --timeout=60s");
        prints(kubectl, "get pods -l batch.kubernetes.io/job-name=once -o name", "");
    });
    // By now the minute of the first may be over.
    for namespace in namespaces.take() {
        eventually_within(Duration::from_secs(90), "the clock has started a Job", || {
            let jobs = cluster.get(&["jobs", "-n", &namespace])?;
            let of_clock = |job: &&serde_json::Value| {
                let name = job["metadata"]["name"].as_str().unwrap();
                name.starts_with("tick-") && job["status"]["succeeded"] == 1
            };
            match jobs["items"].as_array().unwrap().iter().find(of_clock) {
                Some(_) => Ok(()),
                None => Err(jobs.to_string()),
            }
        });
    }
}

#[test]
fn sets_of_pods_keep_their_names_and_their_nodes() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        let ordered = workload("StatefulSet", "db", "hello-http", "  serviceName: db\n  replicas: 3\n", "");
        kubectl.run(&format!("apply -f {}", kubectl.file(&ordered)));
        assert!(kubectl.run("rollout status sts/db --timeout=60s").contains("complete"));
        let names = "get pods -l app=db -o jsonpath={.items[*].metadata.name}";
        assert_eq!(kubectl.run(names), "db-0 db-1 db-2");
        kubectl.replace(&["db-0"]);
        kubectl.run("rollout status sts/db --timeout=60s");
        kubectl.run("scale sts db --replicas=1");
        prints(kubectl, names, "db-0");
        kubectl.run("set env sts/db COLOUR=red");
        kubectl.run("rollout status sts/db --timeout=60s");
        assert!(kubectl.run("rollout history sts/db").contains('2'));
        kubectl.run("rollout undo sts/db");
        kubectl.run("rollout status sts/db --timeout=60s");
        prints(kubectl, "get pod db-0 -o jsonpath={.spec.containers[0].env}", "");

        let everywhere = workload("DaemonSet", "agent", "ticker", "", "");
        kubectl.run(&format!("apply -f {}", kubectl.file(&everywhere)));
        assert!(kubectl.run("rollout status ds/agent --timeout=60s").contains("successfully rolled out"));
        kubectl.run("rollout restart ds/agent");
        kubectl.run("rollout status ds/agent --timeout=60s");
        prints(
            kubectl,
            "get ds agent -o jsonpath={.status.updatedNumberScheduled}/{.status.numberReady}",
            "1/1",
        );
        kubectl.run("delete ds/agent sts/db --timeout=60s");
    });
}

#[test]
fn a_budget_holds_a_drain_up() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        let web = workload("Deployment", "web", "hello-http", "  replicas: 2\n", "");
        kubectl.run(&format!("apply -f {}", kubectl.file(&web)));
        kubectl.run("rollout status deploy/web --timeout=60s");
        kubectl.run("create pdb web --selector=app=web --min-available=2");
        prints(
            kubectl,
            "get pdb web -o jsonpath={.status.currentHealthy}/{.status.disruptionsAllowed}",
            "2/0",
        );
        let node = kubectl.run("get nodes -o jsonpath={.items[0].metadata.name}");
        let drain = format!("drain {node} --pod-selector=app=web --timeout=3s");
        let refused = kubectl.refused(&drain);
        assert!(refused.contains("would violate the pod's disruption budget"), "{refused}");
        assert_eq!(kubectl.run("get pods -l app=web -o name").lines().count(), 2);
        kubectl.run(r#"patch pdb web -p {"spec":{"minAvailable":0}}"#);
        prints(kubectl, "get pdb web -o jsonpath={.status.disruptionsAllowed}", "2");
        assert!(kubectl.run(&drain.replace("3s", "60s")).contains("drained"));
        kubectl.run(&format!("uncordon {node}"));
        kubectl.run("rollout status deploy/web --timeout=60s");
        kubectl.run("delete deploy/web pdb/web");
    });
}

#[test]
fn busy_pods_become_more() {
    with_each(&Cluster::start(Shape::Whole), |kubectl| {
        let resources = "        resources: {requests: {cpu: 50m}, limits: {cpu: 100m}}\n";
        let busy = workload("Deployment", "busy", "spin", "  replicas: 1\n", resources);
        kubectl.run(&format!("apply -f {}", kubectl.file(&busy)));
        kubectl.run("rollout status deploy/busy --timeout=60s");
        let cpu = if kubectl.name == "kubectl-1_32" { "--cpu-percent=50" } else { "--cpu=50%" };
        kubectl.run(&format!("autoscale deploy busy --min=1 --max=3 {cpu}"));
        prints(kubectl, "get deploy busy -o jsonpath={.status.readyReplicas}", "3");
        let shown = kubectl.run("describe hpa busy");
        for words in ["ScalingActive", "AbleToScale", "SuccessfulRescale"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(kubectl.run("get hpa busy").contains("/50%"));
        kubectl.run("delete hpa/busy deploy/busy --timeout=60s");
    });
}

/// A Service and an Ingress for `web`, and an autoscaler that follows its requests down to zero.
fn door(host: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{type: NodePort, selector: {{app: web}}, ports: \
         [{{port: 80, targetPort: 8080}}]}}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec:\n  \
         rules:\n  - host: {host}\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: \
         80}}}}}}}}]}}\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: web}}\nspec:\n  \
         scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}\n  minReplicas: 0\n  maxReplicas: 3\n  behavior: \
         {{scaleDown: {{stabilizationWindowSeconds: 5}}}}\n  metrics:\n  - type: Object\n    object:\n      describedObject: \
         {{apiVersion: v1, kind: Service, name: web}}\n      metric: {{name: http_requests_per_second}}\n      target: {{type: \
         AverageValue, averageValue: '15'}}\n"
    )
}

/// Asks `web` again and again, four at a time, until told to stop.
fn keep_asking(http: SocketAddr, host: &str, stop: &AtomicBool) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = web::get(http, host, "/").unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
    });
}

#[test]
fn requests_scale_a_service_from_zero_and_back_and_none_is_lost() {
    let cluster = Cluster::start(Shape::Whole);
    with_each_at_once(&cluster, |kubectl| {
        let host = format!("{}.localhost", kubectl.namespace);
        let ports = "        ports: [{containerPort: 8080}]\n";
        let web = workload("Deployment", "web", "hello-http", "  replicas: 1\n", ports);
        kubectl.run(&format!("apply -f {}", kubectl.file(&web)));
        kubectl.run("rollout status deploy/web --timeout=90s");
        kubectl.run(&format!("apply -f {}", kubectl.file(&door(&host))));
        let replicas = "get deploy web -o jsonpath={.spec.replicas}/{.status.replicas}";
        let asleep = || prints(kubectl, &replicas.replace("{.status.replicas}", ""), "0/");
        asleep();
        eventually("the autoscaler shows that it has scaled to zero", || {
            let shown = kubectl.output("get hpa web --no-headers").checked()?;
            let cells: Vec<&str> = shown.split_whitespace().take(7).collect();
            let wanted = ["web", "Deployment/web", "0/15", "(avg)", "0", "3", "0"];
            if cells == wanted { Ok(()) } else { Err(shown) }
        });
        let shown = kubectl.run("describe hpa web");
        for words in [
            "ScaledToZero    True",
            "\"http_requests_per_second\" on Service/web",
            "New size: 0; reason: All metrics below",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }

        // A call from another Pod brings it back.
        let caller = "apiVersion: v1\nkind: Pod\nmetadata: {name: caller}\nspec:\n  restartPolicy: Never\n  containers:\n  \
                      - {name: main, image: 'file:guests/dist/fetch.wasm', args: ['http://web/']}\n";
        kubectl.run(&format!("apply -f {}", kubectl.file(caller)));
        prints(kubectl, "get pod caller -o jsonpath={.status.phase}", "Succeeded");
        let log = kubectl.run("logs caller");
        assert!(log.contains("200 hello from web-"), "{log}");
        prints(
            kubectl,
            "get hpa web -o jsonpath={.status.conditions[?(@.type==\"ScaledToZero\")].reason}",
            "NotScaledToZero",
        );

        // Many requests a second make it three.
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| keep_asking(cluster.http(), &host, &stop));
            let grown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                prints(kubectl, "get deploy web -o jsonpath={.status.readyReplicas}", "3");
                let metrics = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}", kubectl.namespace);
                let of = |path: &str| kubectl.run(&format!("get --raw {metrics}/{path}"));
                let service = of("services/web/http_requests_per_second");
                let pods = of("pods/*/http_requests_per_second?labelSelector=app%3Dweb");
                assert!(
                    service.contains("\"windowSeconds\"") && !service.contains("\"value\":\"0\""),
                    "{service}"
                );
                assert_eq!(pods.matches("\"kind\":\"Pod\"").count(), 3, "{pods}");
            }));
            stop.store(true, Ordering::Relaxed);
            grown.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        asleep();
        prints(kubectl, "get pods -l app=web -o name", "");

        // A hundred at once find nobody there.
        let port = kubectl.run("get service web -o jsonpath={.spec.ports[0].nodePort}");
        let node_port: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..100)
                .map(|number| {
                    let (to, host) = (if number % 2 == 0 { cluster.http() } else { node_port }, &host);
                    scope.spawn(move || {
                        let id = format!("x-request-id: burst-{number}\r\n");
                        web::request_with(to, "POST", host, "/", &id, &format!("body {number}"))
                    })
                })
                .collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (number, answer) in answers.iter().enumerate() {
            let answer = answer.as_ref().unwrap();
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, format!("body {number}").as_str()),
                "{answer:?}"
            );
        }
        let log = eventually("all Pods have a log", || kubectl.output("logs -l app=web --tail=-1").checked());
        for number in 0..100 {
            assert_eq!(log.matches(&format!("POST id=burst-{number} ")).count(), 1, "{number}: {log}");
        }
        kubectl.run("delete hpa/web deploy/web ingress/web service/web --timeout=60s");
    });
}

/// edgectl follows, lists and takes back what other controllers roll out, too.
#[test]
fn sets_are_rolled_out_and_back() {
    let cluster = Cluster::start(Shape::Whole);
    let edgectl = |line: &str| cluster.edgectl(&line.split(' ').collect::<Vec<_>>());
    for (kind, spec, done) in [
        ("StatefulSet", "  replicas: 2\n", "partitioned roll out complete: 2 new pods have been updated..."),
        ("DaemonSet", "", "daemon set \"keeper\" successfully rolled out"),
    ] {
        let name = format!("{}/keeper", kind.to_lowercase());
        let with = |colour: &str| {
            let env = format!("        env: [{{name: COLOUR, value: {colour}}}]\n");
            workload(kind, "keeper", "echo-tcp", spec, &env)
        };
        let colour = || {
            let path = "jsonpath={.spec.template.spec.containers[0].env[0].value}";
            cluster.edgectl(&["get", &name, "-o", path]).ok()
        };
        let rolled_out = || {
            let told = edgectl(&format!("rollout status {name} --timeout 60s")).ok();
            assert_eq!(told.lines().last(), Some(done), "{told}");
            for version in VERSIONS {
                let Some(kubectl) = Kubectl::at(&cluster, version) else { continue };
                let same = kubectl.run(&format!("rollout status {name} -n default"));
                assert_eq!(same.lines().last(), Some(done), "{same}");
            }
        };
        cluster.apply(&with("red"));
        rolled_out();
        cluster.apply(&with("blue"));
        rolled_out();
        let history = edgectl(&format!("rollout history {name}")).ok();
        assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2'])).count(), 2, "{history}");
        let first = edgectl(&format!("rollout history {name} --revision 1")).ok();
        assert!(first.contains("value: red"), "{first}");
        assert!(edgectl(&format!("rollout undo {name}")).ok().contains("rolled back"));
        rolled_out();
        assert_eq!(colour(), "red");
        assert!(edgectl(&format!("rollout restart {name}")).ok().contains("restarted"));
        rolled_out();
        let refused = edgectl(&format!("rollout pause {name}")).refused();
        assert!(refused.contains("a Deployment was expected"), "{refused}");
    }
}
