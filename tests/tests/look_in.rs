//! Files into and out of containers by real kubectl, and what it says where there is no command to run.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use edge_tests::kubectl::{Kubectl, with_each};
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
    let missing = kubectl.refused("cp web:/data/none none");
    assert!(missing.contains("/data/none"), "{missing}");
    assert!(!Path::new("none").exists());
    kubectl.refused("exec web -- test -e /data/none");
    let refused = kubectl.refused("exec web -- serve");
    assert!(refused.contains("serves HTTP; it has no command to run"), "{refused}");
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
