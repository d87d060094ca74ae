//! `/metrics` of the node in Prometheus' text format: what was compiled, what runs and what that uses.
//!
//! Written at the moment it is asked for; nothing is sampled and no history is kept. The series of containers have
//! the names that dashboards for Kubernetes look for.

use std::fmt::Write as _;

use crate::supervisor::roster::Measured;

/// The media type of the text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the node as text.
pub fn text(compilations: u64, containers: &[Measured]) -> String {
    let mut out = String::with_capacity(512 + containers.len() * 512);
    head(&mut out, "edged_compilations_total", "counter", "Modules compiled since the process began.");
    let _ = writeln!(out, "edged_compilations_total {compilations}");
    head(&mut out, "edged_containers_running", "gauge", "Containers that run now.");
    let _ = writeln!(out, "edged_containers_running {}", containers.len());
    for series in SERIES {
        head(&mut out, series.name, series.kind, series.help);
        for measured in containers {
            let Measured { pod, container, .. } = measured;
            let _ = writeln!(
                out,
                "{}{{container=\"{container}\",namespace=\"{}\",pod=\"{}\"}} {}",
                series.name,
                pod.namespace,
                pod.name,
                (series.value)(measured),
            );
        }
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// Something that every container has. Names of Pods and containers need no escaping: they are DNS labels.
struct Series {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Measured) -> f64,
}

const SERIES: &[Series] = &[
    Series {
        name: "container_cpu_usage_seconds_total",
        kind: "counter",
        help: "CPU time of the container since its start.",
        value: |measured| measured.usage.cpu_time.as_secs_f64(),
    },
    Series {
        name: "container_memory_working_set_bytes",
        kind: "gauge",
        help: "Linear memory and tables of the container.",
        value: |measured| measured.usage.memory as f64,
    },
    Series {
        name: "edged_container_requests_total",
        kind: "counter",
        help: "HTTP requests taken by the container since its start.",
        value: |measured| measured.usage.requests as f64,
    },
    Series {
        name: "edged_container_failed_requests_total",
        kind: "counter",
        help: "HTTP requests of the container that ended without a response.",
        value: |measured| measured.usage.failed_requests as f64,
    },
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::PodName;
    use crate::sandbox::Usage;

    #[test]
    fn nothing_is_counted_too() {
        let text = text(0, &[]);
        assert!(text.lines().any(|line| line == "edged_compilations_total 0"), "{text}");
        assert!(text.lines().any(|line| line == "edged_containers_running 0"), "{text}");
    }

    #[test]
    fn containers_have_series() {
        let pod = PodName { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        let usage = Usage { cpu_time: Duration::from_millis(1500), memory: 65_536, ..Usage::default() };
        let text = text(3, &[Measured { pod, container: "c".into(), usage }]);
        for line in [
            "edged_compilations_total 3",
            "edged_containers_running 1",
            r#"container_cpu_usage_seconds_total{container="c",namespace="n",pod="p"} 1.5"#,
            r#"container_memory_working_set_bytes{container="c",namespace="n",pod="p"} 65536"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
