//! The Pod network and DNS: names, Services, localhost, and what is out of reach.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::Command;

use edge_tests::yaml::{Pod, service};
use edge_tests::{Cluster, Options, Shape, eventually, tool, web};

/// Runs a Pod of `fetch` to its end and gives its phase and log.
fn fetch(cluster: &Cluster, name: &str, urls: &[&str]) -> (String, String) {
    cluster.apply(&Pod::new(name, "fetch").args(urls).spec("restartPolicy: Never").yaml());
    let phase = eventually(&format!("{name} ends"), || {
        let phase = cluster.edgectl(&["get", "pod", name, "-o", "jsonpath={.status.phase}"]).checked()?;
        if ["Succeeded", "Failed"].contains(&phase.as_str()) { Ok(phase) } else { Err(phase) }
    });
    (phase, cluster.edgectl(&["logs", name]).ok())
}

fn hello(cluster: &Cluster) {
    cluster.apply(
        &(Pod::new("hello", "hello-http")
            .label("app: hello")
            .container("ports: [{containerPort: 8080}]")
            .yaml()
            + &service("hello", "")),
    );
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/hello", "--timeout=60s"]).ok();
}

#[test]
fn an_ordinary_user_beside_a_busy_port_has_services_on_their_own_ports() {
    // Whoever holds it already serves the purpose as well.
    let _busy = TcpListener::bind("0.0.0.0:8080");
    let uid = rustix::process::geteuid().is_root().then_some(65_534);
    let cluster = Cluster::with(Options { uid, ..Options::new(Shape::Whole) });
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
    eventually("the quickstart answers", || {
        let answer = web::get(cluster.http(), "hello.localhost", "/")?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    hello(&cluster);
    let (phase, log) = fetch(&cluster, "caller", &["http://hello"]);
    assert_eq!(phase, "Succeeded", "{log}");
    assert!(log.contains("200 hello from hello"), "{log}");
}

#[test]
fn the_hosts_own_ports_are_out_of_reach() {
    let cluster = Cluster::start(Shape::Whole);
    let port = cluster.api().port();
    for (index, address) in ["127.0.0.1", "0.0.0.0"].iter().enumerate() {
        let (phase, log) = fetch(&cluster, &format!("tcp-{index}"), &[&format!("tcp://{address}:{port}/x")]);
        assert_eq!(phase, "Failed", "{address}: {log}");
        // The specification of wasi:sockets calls a connect to no address invalid.
        let refused = ["refused", "invalid input"].iter().any(|word| log.to_lowercase().contains(word));
        assert!(refused, "{address}: {log}");
    }
    for (index, host) in ["127.0.0.1", "[::1]", "0.0.0.0", "localhost"].iter().enumerate() {
        let (phase, log) =
            fetch(&cluster, &format!("http-{index}"), &[&format!("http://{host}:{port}/readyz")]);
        assert_eq!(phase, "Failed", "{host}: {log}");
        assert!(log.to_lowercase().contains("refused"), "{host}: {log}");
    }
}

#[test]
fn two_containers_of_a_pod_meet_on_localhost_and_others_do_not_see_it() {
    let cluster = Cluster::start(Shape::Whole);
    let pair = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: echo, image: 'file:guests/dist/echo-tcp.wasm', args: ['4000']}}\n  - name: caller\n    image: file:guests/dist/fetch.wasm\n    args: ['tcp://127.0.0.1:4000/{name}-speaks']\n    env: [{{name: INTERVAL_MS, value: '200'}}]\n---\n"
        )
    };
    // The same port in two Pods: no conflict, and each hears itself.
    cluster.apply(&(pair("one") + &pair("two")));
    for name in ["one", "two"] {
        eventually(&format!("{name} hears itself on localhost"), || {
            let log = cluster.edgectl(&["logs", name, "-c", "caller"]).checked()?;
            if log.contains(&format!("4000/{name}-speaks {name}-speaks")) { Ok(()) } else { Err(log) }
        });
    }
}

#[test]
fn guests_find_services_by_short_and_full_name_over_http_and_sockets() {
    let cluster = Cluster::start(Shape::Whole);
    hello(&cluster);
    cluster.apply(
        &(Pod::new("echo", "echo-tcp").args(&["7000"]).label("app: echo").yaml()
            + "apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec: {selector: {app: echo}, ports: [{port: 7, targetPort: 7000}]}\n"),
    );
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/echo", "--timeout=60s"]).ok();
    let names = ["hello", "hello.default", "hello.default.svc", "hello.default.svc.cluster.local"];
    let urls: Vec<String> = names.iter().map(|name| format!("http://{name}/")).collect();
    let mut urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    urls.extend(["tcp://echo:7/over-sockets", "tcp://echo.default.svc.cluster.local:7/full"]);
    let (phase, log) = fetch(&cluster, "caller", &urls);
    assert_eq!(phase, "Succeeded", "{log}");
    assert_eq!(log.matches("200 hello from hello").count(), 4, "{log}");
    assert!(log.contains("over-sockets over-sockets") && log.contains("/full full"), "{log}");
    let (phase, log) = fetch(&cluster, "nobody", &["http://nobody.default/"]);
    assert_eq!(phase, "Failed", "{log}");
}

#[test]
fn guests_reach_the_api_server_with_their_token() {
    let cluster = Cluster::start(Shape::Whole);
    let (phase, log) = fetch(&cluster, "caller", &["name:kubernetes.default"]);
    assert_eq!(phase, "Succeeded", "{log}");
    assert!(log.contains("10.43.0.1"), "{log}");
    cluster.apply(&Pod::new("environment", "ticker").yaml());
    eventually("the ticker shows its environment", || {
        let log = cluster.edgectl(&["logs", "environment"]).checked()?;
        let wanted = ["KUBERNETES_SERVICE_HOST=10.43.0.1", "KUBERNETES_SERVICE_PORT=443"];
        if wanted.iter().all(|variable| log.contains(variable)) { Ok(()) } else { Err(log) }
    });
    cluster.apply(
        &Pod::new("token", "ticker")
            .container(
                "env: [{name: TICKER_FILE, value: /var/run/secrets/kubernetes.io/serviceaccount/namespace}]",
            )
            .yaml(),
    );
    eventually("the token's directory is mounted", || {
        let log = cluster.edgectl(&["logs", "token"]).checked()?;
        if log.contains("tick 1 default") { Ok(()) } else { Err(log) }
    });
}

#[test]
fn dig_gets_the_records_of_the_specification() {
    let Some(dig) = tool::find("dig") else { return };
    let cluster = Cluster::start(Shape::Whole);
    hello(&cluster);
    cluster.apply(
        &(service("lonely", "clusterIP: None").replace("app: lonely", "app: hello")
            + "apiVersion: v1\nkind: Service\nmetadata: {name: elsewhere}\nspec: {type: ExternalName, externalName: example.com}\n"),
    );
    let server = cluster.dns();
    let ask = |more: &[&str]| {
        let output = Command::new(&dig)
            .args([
                &format!("@{}", server.ip()),
                "-p",
                &server.port().to_string(),
                "+short",
                "+tries=1",
                "+time=5",
            ])
            .args(more)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let field = |what: &[&str], path: &str| {
        let mut words = vec!["get"];
        words.extend(what);
        let path = format!("jsonpath={path}");
        words.extend(["-o", &path]);
        cluster.edgectl(&words).ok()
    };
    let cluster_ip = field(&["service", "hello"], "{.spec.clusterIP}");
    let pod_ip = field(&["pod", "hello"], "{.status.podIP}");
    eventually("the records are served", || {
        let got = ask(&["lonely.default.svc.cluster.local", "A"]);
        if got == pod_ip { Ok(()) } else { Err(got) }
    });
    let dashed = pod_ip.replace('.', "-");
    let reverse = |ip: &str| ip.split('.').rev().collect::<Vec<_>>().join(".") + ".in-addr.arpa";
    for transport in ["+notcp", "+tcp"] {
        let table = [
            (vec!["hello.default.svc.cluster.local", "A"], cluster_ip.clone()),
            (
                vec!["_http._tcp.hello.default.svc.cluster.local", "SRV"],
                "0 100 80 hello.default.svc.cluster.local.".to_owned(),
            ),
            (vec![&*reverse(&cluster_ip), "PTR"], "hello.default.svc.cluster.local.".to_owned()),
            (vec!["lonely.default.svc.cluster.local", "A"], pod_ip.clone()),
            (vec!["elsewhere.default.svc.cluster.local", "CNAME"], "example.com.".to_owned()),
            (vec!["dns-version.cluster.local", "TXT"], "\"1.1.0\"".to_owned()),
            (vec![&*format!("{dashed}.default.pod.cluster.local"), "A"], pod_ip.clone()),
            (vec!["nobody.default.svc.cluster.local", "A"], String::new()),
        ]
        .map(|(question, want)| {
            (question.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>(), want)
        });
        for (question, want) in table {
            let mut words: Vec<&str> = question.iter().map(String::as_str).collect();
            words.push(transport);
            assert_eq!(ask(&words), want, "{question:?} {transport}");
        }
        let headless = ask(&["_http._tcp.lonely.default.svc.cluster.local", "SRV", transport]);
        assert!(headless.ends_with(".lonely.default.svc.cluster.local."), "{headless}");
        let endpoint = headless.split(' ').next_back().unwrap().to_owned();
        assert_eq!(ask(&[&endpoint, "A", transport]), pod_ip, "{endpoint}");
        assert_eq!(ask(&[&reverse(&pod_ip), "PTR", transport]), endpoint);
    }
}

#[test]
fn the_hosts_ports_lead_to_pods_in_one_process() {
    the_hosts_ports_lead_to_pods(Shape::Whole, "127.0.53.1");
}

#[test]
fn the_hosts_ports_lead_to_pods_split() {
    the_hosts_ports_lead_to_pods(Shape::Split, "127.0.53.2");
}

/// An address of its own, so that no port of another story is in the way.
fn the_hosts_ports_lead_to_pods(shape: Shape, address: &str) {
    let cluster = Cluster::with(Options::new(shape).flag("--node-port-address", address));
    let pod = |name: &str, more: &str| {
        Pod::new(name, "hello-http")
            .label("app: hello")
            .container(&format!("ports: [{{name: web, containerPort: 8080{more}}}]"))
            .yaml()
    };
    let sticky = "type: NodePort\n  sessionAffinity: ClientIP";
    cluster.apply(
        &(pod("one", ", hostPort: 7080")
            + &pod("two", "")
            + &service("any", "type: NodePort").replace("app: any", "app: hello")
            + &service("sticky", sticky).replace("app: sticky", "app: hello")),
    );
    cluster.edgectl(&["wait", "--for=condition=ready", "pod/one", "pod/two", "--timeout=60s"]).ok();
    let port = |service: &str| -> u16 {
        let path = "jsonpath={.spec.ports[0].nodePort}";
        cluster.edgectl(&["get", "service", service, "-o", path]).ok().parse().unwrap()
    };
    let who = |port: u16| {
        let answer = web::get(format!("{address}:{port}").parse().unwrap(), "any.example", "/")?;
        let known =
            ["one", "two"].into_iter().find(|name| answer.body.contains(&format!("hello from {name}")));
        known.ok_or_else(|| format!("{answer:?}"))
    };
    assert_eq!(eventually("the hostPort answers", || who(7080)), "one");
    let any = port("any");
    for wanted in ["one", "two"] {
        eventually(&format!("the NodePort leads to {wanted}"), || match who(any) {
            Ok(name) if name == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    let sticky = port("sticky");
    let first = eventually("the sticky NodePort answers", || who(sticky));
    for _ in 0..20 {
        assert_eq!(who(sticky), Ok(first), "one client stays with one Pod");
    }
    cluster.edgectl(&["delete", "pod", first, "--timeout=60s"]).ok();
    let other = if first == "one" { "two" } else { "one" };
    eventually("who has lost his Pod gets the other", || match who(sticky) {
        Ok(name) if name == other => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    cluster.edgectl(&["delete", "service", "any", "sticky"]).ok();
    eventually("the NodePorts are closed", || match std::net::TcpStream::connect((address, any)) {
        Ok(_) => Err("it still listens".to_owned()),
        Err(_) => Ok(()),
    });
}
