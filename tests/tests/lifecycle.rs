//! What happens to Pods that crash, take too much, never stop, and to a node that restarts.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use edge_tests::yaml::Pod;
use edge_tests::{Cluster, Options, Shape, api::Api, eventually, eventually_within, web};
use serde_json::Value;

fn container(cluster: &Cluster, pod: &str) -> Result<Value, String> {
    let pod = cluster.get(&["pod", pod])?;
    Ok(pod["status"]["containerStatuses"][0].clone())
}

#[test]
fn crash_loops_back_off_with_growing_delays() {
    let cluster = Cluster::start(Shape::Whole);
    cluster.apply(&Pod::new("crash", "crash").yaml());
    eventually("crash is in CrashLoopBackOff", || {
        let status = container(&cluster, "crash")?;
        let waiting = &status["state"]["waiting"];
        let text = status.to_string();
        (waiting["reason"] == "CrashLoopBackOff" && status["restartCount"].as_u64() >= Some(1))
            .then_some(())
            .ok_or(text)
    });
    let status = container(&cluster, "crash").unwrap();
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3, "{status}");
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error", "{status}");
    let delay = |wanted: &str| {
        eventually(&format!("the delay is {wanted}"), || {
            let message = container(&cluster, "crash")?["state"]["waiting"]["message"].to_string();
            if message.contains(&format!("back-off {wanted} restarting failed container")) {
                Ok(())
            } else {
                Err(message)
            }
        });
    };
    delay("10s");
    delay("20s");
    assert!(cluster.edgectl(&["get", "pods"]).ok().contains("CrashLoopBackOff"));
    assert!(cluster.edgectl(&["logs", "crash", "--previous"]).ok().contains("about to crash"));
    assert!(cluster.edgectl(&["describe", "pod", "crash"]).ok().contains("BackOff"));
}

#[test]
fn a_pod_begins_anew_in_its_place_when_a_rule_says_so() {
    let cluster = Cluster::start(Shape::Whole);
    cluster.edgectl(&["apply", "-f", "manifests/examples/restart-rules"]).ok();
    let all_restarted = || {
        let pod = cluster.get(&["pod", "restart-rules"])?;
        let status = &pod["status"];
        let all = ["initContainerStatuses", "containerStatuses"].map(|list| status[list].as_array());
        let counts: Vec<_> =
            all.into_iter().flatten().flatten().map(|one| one["restartCount"].as_u64()).collect();
        let again = counts.len() == 3 && counts.iter().all(|count| *count >= Some(1));
        if again { Ok(pod.clone()) } else { Err(status.to_string()) }
    };
    let pod = eventually("all its containers run again", all_restarted);
    let status = &pod["status"];
    let watch = &status["containerStatuses"][1];
    assert_eq!(watch["lastState"]["terminated"]["exitCode"], 88, "{watch}");
    let work = &status["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(
        (&work["exitCode"], &work["reason"]),
        (&137.into(), &"RestartingAllContainers".into()),
        "{work}"
    );
    let conditions = status["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one| one["type"] == "AllContainersRestarting"), "{status}");
    assert_eq!(status["phase"], "Running", "though it never restarts otherwise");
    assert!(cluster.edgectl(&["describe", "pod", "restart-rules"]).ok().contains("triggering pod restart"));
}

#[test]
fn who_takes_more_memory_than_allowed_is_oom_killed() {
    let cluster = Cluster::start(Shape::Whole);
    cluster.apply(
        &Pod::new("hog", "hog")
            .spec("restartPolicy: Never")
            .container("resources: {limits: {memory: 16Mi}}")
            .yaml(),
    );
    eventually("hog is OOMKilled", || {
        let status = container(&cluster, "hog")?;
        let ended = &status["state"]["terminated"];
        if ended["reason"] == "OOMKilled" && ended["exitCode"] == 137 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    assert_eq!(cluster.get(&["pod", "hog"]).unwrap()["status"]["phase"], "Failed");
}

#[test]
fn spinning_pods_neither_stall_the_node_nor_exceed_their_limit() {
    let cluster = Cluster::start(Shape::Whole);
    cluster.edgectl(&["apply", "-f", "manifests/quickstart"]).ok();
    cluster
        .edgectl(&[
            "wait",
            "--for=condition=available",
            "-n",
            "quickstart",
            "deployment/hello",
            "--timeout=60s",
        ])
        .ok();
    let spin = |limit: &str| {
        let pods: String = (0..8)
            .map(|index| {
                let pod = Pod::new(&format!("spin-{index}"), "spin").spec("terminationGracePeriodSeconds: 1");
                if limit.is_empty() {
                    pod.yaml()
                } else {
                    pod.container(&format!("resources: {{limits: {{cpu: {limit}}}}}")).yaml()
                }
            })
            .collect();
        cluster.apply(&pods);
        for index in 0..8 {
            cluster
                .edgectl(&["wait", "--for=condition=ready", &format!("pod/spin-{index}"), "--timeout=60s"])
                .ok();
        }
    };
    spin("");
    responsive(&cluster, "eight spinning Pods without limit");
    let start = Instant::now();
    cluster
        .edgectl(&[
            "delete", "pod", "spin-0", "spin-1", "spin-2", "spin-3", "spin-4", "spin-5", "spin-6", "spin-7",
        ])
        .ok();
    println!("eight spinning Pods ended after {:?}", start.elapsed());

    let idle = cpu_seconds(cluster.pid());
    std::thread::sleep(Duration::from_secs(3));
    let idle = (cpu_seconds(cluster.pid()) - idle) / 3.0;
    spin("100m");
    let before = cpu_seconds(cluster.pid());
    let window = Instant::now();
    // A measuring window, not a wait for something to happen.
    std::thread::sleep(Duration::from_secs(10));
    let used = cpu_seconds(cluster.pid()) - before - idle * window.elapsed().as_secs_f64();
    println!("eight Pods limited to 100m used {used:.2} s of CPU over 10 s");
    assert!(used / 8.0 <= 1.2, "each used {:.2} s of CPU over 10 s", used / 8.0);
    assert!(used / 8.0 >= 0.05, "a limit must not starve: each used {:.2} s over 10 s", used / 8.0);
    responsive(&cluster, "eight Pods limited to 100m");
}

/// The name of the only node.
/// 1,000 requests and 100 reads, each within five seconds; prints the 99th percentile.
fn responsive(cluster: &Cluster, under: &str) {
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let start = Instant::now();
        let answer = web::get(cluster.http(), "hello.localhost", "/").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(start.elapsed());
    }
    times.sort();
    assert!(times[999] < Duration::from_secs(5), "{under}: the slowest request took {:?}", times[999]);
    let (request, slowest) = (times[989], times[999]);
    let api = Api::of(cluster);
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(api.get("/api/v1/namespaces/default/pods").unwrap().0, 200);
            start.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[99] < Duration::from_secs(5), "{under}: the slowest read took {:?}", times[99]);
    println!("{under}: requests p99 {request:?}, slowest {slowest:?}; API reads p99 {:?}", times[98]);
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

#[test]
fn whoever_does_not_stop_is_ended_within_the_grace_period() {
    let hosts = tempfile::tempdir().unwrap();
    let fifo = hosts.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    let cluster =
        Cluster::with(Options::new(Shape::Whole).flag("--host-path-dir", hosts.path().to_str().unwrap()));
    let grace = 2;
    let with_grace = |pod: Pod| pod.spec(&format!("terminationGracePeriodSeconds: {grace}"));
    let reader = with_grace(Pod::new("reader", "ticker"))
        .spec(&format!("volumes: [{{name: host, hostPath: {{path: {}}}}}]", hosts.path().display()))
        .container("volumeMounts: [{name: host, mountPath: /host}]")
        .container("env: [{name: TICKER_FILE, value: /host/fifo}]");
    let waiter =
        with_grace(Pod::new("waiter", "slow-start")).container("env: [{name: START_MS, value: '100000000'}]");
    for pod in [with_grace(Pod::new("spinner", "spin")), reader, waiter] {
        cluster.apply(&pod.yaml());
    }
    for name in ["spinner", "reader", "waiter"] {
        eventually(&format!("{name} has begun"), || {
            let log = cluster.edgectl(&["logs", name]).checked()?;
            if log.is_empty() { Err("no output yet".to_owned()) } else { Ok(()) }
        });
    }
    for name in ["spinner", "reader", "waiter"] {
        let start = Instant::now();
        cluster.edgectl(&["delete", "pod", name, "--timeout=30s"]).ok();
        let took = start.elapsed();
        println!("{name} was gone after {took:?}");
        assert!(took < Duration::from_secs(grace + 1 + 2), "{name} took {took:?} (grace {grace} s)");
    }
    assert!(cluster.edgectl(&["get", "nodes"]).ok().contains("Ready"));
}

#[test]
fn a_node_with_a_hundred_pods_restarts_without_compiling() {
    let mut cluster = Cluster::start(Shape::Whole);
    cluster.apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: many}\nspec:\n  replicas: 100\n  selector: {matchLabels: {app: many}}\n  template:\n    metadata: {labels: {app: many}}\n    spec:\n      containers:\n      - {name: main, image: 'file:guests/dist/ticker.wasm'}\n",
    );
    let ready = |cluster: &Cluster| {
        eventually_within(Duration::from_secs(120), "100 Pods are Ready", || {
            let ready = cluster
                .edgectl(&["get", "deployment", "many", "-o", "jsonpath={.status.readyReplicas}"])
                .checked()?;
            if ready == "100" { Ok(()) } else { Err(ready) }
        });
    };
    ready(&cluster);
    let compiled = |cluster: &Cluster| cluster.node_metric("edged_compilations_total").unwrap();
    assert!(compiled(&cluster) >= 1.0);
    cluster.kill();
    let start = Instant::now();
    cluster.start_again();
    eventually("100 containers run again", || {
        let count = cluster.node_metric("edged_containers_running")?;
        if count == 100.0 { Ok(()) } else { Err(count.to_string()) }
    });
    ready(&cluster);
    println!("100 Pods are Ready again {:?} after exec; {}", start.elapsed(), cluster.ready_line());
    assert_eq!(compiled(&cluster), 0.0, "a restart must not compile");
}

#[test]
fn a_trap_leaves_a_backtrace_with_names() {
    let cluster = Cluster::start(Shape::Whole);
    cluster.apply(
        &Pod::new("trap", "crash")
            .spec("restartPolicy: Never")
            .container("env: [{name: MODE, value: trap}]")
            .yaml(),
    );
    let ended = eventually("it has trapped", || {
        let status = container(&cluster, "trap")?;
        let ended = status["state"]["terminated"].clone();
        if ended.is_object() { Ok(ended) } else { Err(status.to_string()) }
    });
    assert_eq!((ended["exitCode"].as_i64(), ended["reason"].as_str()), (Some(134), Some("Error")), "{ended}");
    let message = ended["message"].as_str().unwrap();
    assert!(message.contains("wasm trap") && message.contains("wasm backtrace"), "{message}");
    assert!(message.contains("!crash::main") || message.contains("abort"), "frames have names: {message}");
    assert!(message.len() <= 4096, "{} bytes", message.len());
    assert!(cluster.edgectl(&["logs", "trap"]).ok().contains("about to crash"));
}

#[test]
fn hooks_run_after_the_start_and_before_the_end() {
    let hosts = tempfile::tempdir().unwrap();
    // So that a split node may write there, too; only root can give it away.
    let _ = std::os::unix::fs::chown(hosts.path(), Some(65_534), Some(65_534));
    let cluster =
        Cluster::with(Options::new(Shape::Whole).flag("--host-path-dir", hosts.path().to_str().unwrap()));
    let ask = |path: &str| format!("httpGet: {{path: {path}, port: http}}");
    let hooks = format!("lifecycle: {{postStart: {{{}}}, preStop: {{{}}}}}", ask("/up"), ask("/down"));
    let web = |name: &str, hooks: &str| {
        Pod::new(name, "hello-http")
            .spec(&format!("volumes: [{{name: host, hostPath: {{path: {}}}}}]", hosts.path().display()))
            .container("ports: [{name: http, containerPort: 8080}]")
            .container("volumeMounts: [{name: host, mountPath: /data}]")
            .container(hooks)
            .yaml()
    };
    let asked = || std::fs::read(hosts.path().join("requests")).map_or(0, |requests| requests.len());
    cluster.apply(&web("web", &hooks));
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/web", "--timeout=60s"]).ok();
    assert_eq!(asked(), 1, "before it was ready");
    cluster.edgectl(&["delete", "pod", "web", "--timeout=60s"]).ok();
    assert_eq!(asked(), 2, "before it was gone");

    cluster.apply(&web("ill", "lifecycle: {postStart: {exec: {command: [test, -e, /data/none]}}}"));
    eventually("the failed hook is told", || {
        let events = cluster.get(&["events"])?;
        let told = |event: &Value| {
            event["reason"] == "FailedPostStartHook" && event["involvedObject"]["name"] == "ill"
        };
        if events["items"].as_array().unwrap().iter().any(told) { Ok(()) } else { Err(events.to_string()) }
    });
    eventually("it is restarted", || {
        let status = container(&cluster, "ill")?;
        if status["restartCount"].as_u64() >= Some(1) && status["ready"] == false {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

#[test]
fn a_host_that_goes_down_ends_its_pods_the_least_important_first() {
    let options = Options::new(Shape::Whole)
        .flag("--shutdown-grace-period", "10")
        .flag("--shutdown-grace-period-critical-pods", "4");
    let mut cluster = Cluster::with(options);
    // Were all to end at once, this one would be the last.
    let hook = "lifecycle: {preStop: {sleep: {seconds: 2}}}";
    cluster.apply(&Pod::new("low", "ticker").container(hook).yaml());
    cluster.apply(&Pod::new("high", "ticker").spec("priorityClassName: system-node-critical").yaml());
    for pod in ["low", "high"] {
        cluster.edgectl(&["wait", "--for=condition=ready", &format!("pod/{pod}"), "--timeout=60s"]).ok();
    }
    assert!(cluster.stop().success());
    cluster.start_again();
    let ended = |pod: &str| {
        let found = cluster.get(&["pod", pod]).unwrap();
        let status = &found["status"];
        assert_eq!(status["phase"], "Failed", "{status}");
        assert_eq!(status["reason"], "Terminated", "{status}");
        assert_eq!(
            status["message"], "Pod was terminated in response to imminent node shutdown.",
            "{status}"
        );
        let terminated = &status["containerStatuses"][0]["state"]["terminated"];
        terminated["finishedAt"].as_str().unwrap().to_owned()
    };
    assert!(ended("low") <= ended("high"));
    eventually("the node takes Pods again", || {
        let node = cluster.get(&["nodes"])?["items"][0]["status"]["conditions"].to_string();
        if node.contains("KubeletReady") { Ok(()) } else { Err(node) }
    });
}

#[test]
fn a_trap_leaves_a_core_dump_for_who_asks() {
    let cluster = Cluster::start(Shape::Whole);
    let trap = |name: &str| {
        Pod::new(name, "crash")
            .spec("restartPolicy: Never")
            .container("env: [{name: MODE, value: trap}]")
            .yaml()
    };
    let asked =
        trap("asked").replace("{name: asked}", "{name: asked, annotations: {edgectl.dev/core-dump: 'true'}}");
    cluster.apply(&asked);
    cluster.apply(&trap("silent"));
    for pod in ["asked", "silent"] {
        cluster
            .edgectl(&[
                "wait",
                "--for=jsonpath={.status.phase}=Failed",
                &format!("pod/{pod}"),
                "--timeout=60s",
            ])
            .ok();
    }
    let file = cluster.folder().join("dump");
    let file = file.to_str().unwrap();
    let said = cluster.edgectl(&["coredump", "asked", "-o", file]).ok();
    assert!(said.contains("bytes"), "{said}");
    let dump = std::fs::read(file).unwrap();
    assert!(dump.starts_with(b"\0asm"), "it is no module");
    let has = |name: &[u8]| dump.windows(name.len()).any(|window| window == name);
    for section in [&b"core"[..], b"coremodules", b"coreinstances", b"corestack"] {
        assert!(has(section), "no section {}", String::from_utf8_lossy(section));
    }
    assert!(has(b"about to crash"), "what was in its memory");
    let why = cluster.edgectl(&["coredump", "silent", "-o", file]).refused();
    assert!(why.contains("has left no core dump"), "{why}");
    let kept = cluster.data_dir().join("node/logs");
    let dumps = || {
        let pods = std::fs::read_dir(&kept).unwrap().map(|pod| pod.unwrap().path());
        pods.filter(|pod| pod.join("main/core").exists()).count()
    };
    assert_eq!(dumps(), 1);
    cluster.edgectl(&["delete", "pod", "asked", "--timeout=60s"]).ok();
    eventually("the dump goes with the Pod", || match dumps() {
        0 => Ok(()),
        some => Err(some.to_string()),
    });
}
