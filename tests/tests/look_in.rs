//! Files into and out of containers by real kubectl, and what it says where there is no command to run.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;

use edge_tests::kubectl::{Kubectl, beside_guests, short, with_each};
use edge_tests::yaml::Pod;
use edge_tests::{Cluster, Shape, eventually};

/// A Pod with an empty volume at `/data`.
fn with_data(name: &str, guest: &str) -> String {
    Pod::new(name, guest)
        .spec("volumes: [{name: data, emptyDir: {}}]")
        .container("volumeMounts: [{name: data, mountPath: /data}]")
        .yaml()
}

fn copies_go_both_ways(kubectl: &Kubectl<'_>) {
    let folder = kubectl.cluster.folder().join(kubectl.name);
    let sent = folder.join("sent");
    let long = "a-long-name-".repeat(10);
    std::fs::create_dir_all(sent.join("deep").join(&long)).unwrap();
    let binary: Vec<u8> =
        (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(sent.join("binary"), &binary).unwrap();
    std::fs::write(sent.join("empty"), "").unwrap();
    std::fs::write(sent.join("deep").join(&long).join("leaf"), "leaf\n").unwrap();
    let (sent, back) = (sent.to_str().unwrap(), folder.join("back"));

    for pod in ["web", "ticks"] {
        // A directory, and a file into a directory that is there.
        kubectl.run(&format!("cp {sent} {pod}:/data/copy"));
        kubectl.run(&format!("cp {sent}/binary {pod}:/data"));
        assert_eq!(kubectl.run(&format!("exec {pod} -- cat /data/copy/deep/{long}/leaf")), "leaf\n");
        assert_eq!(kubectl.run(&format!("exec {pod} -- ls /data")), "binary\ncopy\n");
        let back = back.join(pod);
        kubectl.run(&format!("cp {pod}:/data/copy {}", back.display()));
        assert!(std::fs::read(back.join("binary")).unwrap() == binary);
        assert_eq!(std::fs::read(back.join("empty")).unwrap(), b"");
        assert_eq!(std::fs::read(back.join("deep").join(&long).join("leaf")).unwrap(), b"leaf\n");
    }
    let missing = kubectl.output("cp web:/data/none none").refused();
    // What tar says of it kubectl prints or not, as it happens to hear of the end before.
    assert!(missing.contains("exit code 2"), "{missing}");
    assert!(!Path::new("none").exists());
    kubectl.refused("exec web -- test -e /data/none");
    let refused = kubectl.output("exec web -- serve").refused();
    // Not the node says so but the guest itself: a Rust program that serves HTTP is a command, too.
    assert!(refused.contains("HTTP server components should be run with"), "{refused}");
}

#[test]
fn files_are_copied_into_containers_and_out_of_them() {
    let cluster = Cluster::start(Shape::Whole);
    with_each(&cluster, |kubectl| {
        let file = kubectl.file(&[with_data("web", "hello-http"), with_data("ticks", "ticker")].concat());
        kubectl.run(&format!("apply -f {file}"));
        kubectl.run("wait --for=condition=ready pod/web pod/ticks --timeout=60s");
        eventually("the node is connected", || kubectl.output("logs ticks").checked());
        copies_go_both_ways(kubectl);
    });
}

#[test]
fn a_toolbox_looks_into_a_pod() {
    let cluster = beside_guests();
    with_each(&cluster, |kubectl| {
        kubectl.run(&format!("apply -f {}", kubectl.file(&short(&with_data("web", "hello-http")))));
        kubectl.run("wait --for=condition=ready pod/web --timeout=60s");
        kubectl.run("exec -c main web -- test -d /data");
        let debug = "debug web --quiet --image=file:toolbox.wasm --target=main";
        kubectl.run("cp Cargo.toml web:/data/left");
        kubectl.run(&format!("{debug} -c once -- ls /data"));
        eventually("it has looked", || {
            let said = kubectl.output("logs web -c once").checked()?;
            if said == "left\n" { Ok(()) } else { Err(said) }
        });
        let mut shell = kubectl.start(&format!("{debug} -c shell -i"));
        // kubectl leaves the input open for whoever attaches later (no `stdinOnce`), so the shell is told to end.
        shell.stdin.take().unwrap().write_all(b"echo one two\nls /data\nexit\n").unwrap();
        let answered = shell.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&answered.stdout);
        assert!(said.contains("one two\n") && said.contains("left\n"), "{answered:?}");
        let statuses =
            "get pod web -o jsonpath={.status.ephemeralContainerStatuses[*].state.terminated.exitCode}";
        eventually("both have ended", || match kubectl.run(statuses).as_str() {
            "0 0" => Ok(()),
            other => Err(other.to_owned()),
        });
        assert!(kubectl.run("get pod web").contains("1/1"), "the Pod is none the worse for it");
    });
}

#[test]
fn limits_of_a_running_container_are_changed() {
    let cluster = Cluster::start(Shape::Whole);
    with_each(&cluster, |kubectl| {
        let pod = Pod::new("ticks", "ticker")
            .container("resources: {limits: {cpu: 500m, memory: 32Mi}, requests: {cpu: 10m, memory: 16Mi}}");
        kubectl.run(&format!("apply -f {}", kubectl.file(&pod.yaml())));
        kubectl.run("wait --for=condition=ready pod/ticks --timeout=60s");
        let wish = |memory: &str, what: &str| {
            let resources = format!("{{{what}}}").replace("SIZE", memory);
            format!(
                "patch pod ticks --subresource resize -p \
                 {{\"spec\":{{\"containers\":[{{\"name\":\"main\",\"resources\":{resources}}}]}}}}"
            )
        };
        kubectl.run(&wish("64Mi", r#""limits":{"memory":"SIZE"}"#));
        let status = "get pod ticks -o jsonpath={.status.containerStatuses[0].resources.limits.memory},{.status.containerStatuses[0].restartCount}";
        eventually("the limit is in force", || match kubectl.run(status).as_str() {
            "64Mi,0" => Ok(()),
            other => Err(other.to_owned()),
        });
        let events = "get events --field-selector involvedObject.name=ticks -o jsonpath={.items[*].message}";
        for what in ["started", "completed"] {
            let wish = r#"{"containers":[{"name":"main","resources":{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"cpu":"10m","memory":"16Mi"}}}],"generation":2}"#;
            eventually("an Event tells of it", || match kubectl.run(events) {
                all if all.contains(&format!("Pod resize {what}: {wish}")) => Ok(()),
                other => Err(other),
            });
        }
        let conditions = "get pod ticks -o jsonpath={.status.conditions[*].type}";
        assert!(!kubectl.run(conditions).contains("Resize"));
        // Its first memory alone is larger.
        kubectl.run(&wish("64Ki", r#""requests":{"memory":"SIZE"},"limits":{"memory":"SIZE"}"#));
        let told =
            "get pod ticks -o jsonpath={.status.conditions[?(@.type==\"PodResizeInProgress\")].message}";
        eventually("it is told that it cannot be", || match kubectl.run(told) {
            said if said.contains("cannot decrease memory limits") => Ok(()),
            other => Err(other),
        });
        kubectl.run(&wish("64Mi", r#""limits":{"memory":"SIZE"}"#));
        eventually("and no more", || match kubectl.run(conditions) {
            all if all.contains("Resize") => Err(all),
            _ => Ok(()),
        });
    });
}
