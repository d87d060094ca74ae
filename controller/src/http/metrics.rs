//! `/metrics`: what the server counts about itself, and what others register with it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::http::body::Response;
use crate::http::status;

/// Upper bounds of the latencies, in seconds.
const BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// What a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Labels {
    /// Such as `create`.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// Such as `pods`; empty for paths without objects.
    pub resource: &'static str,
    /// The status code of the answer.
    pub code: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

/// The metrics of this server. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<Labels, Counter>,
    durations: Family<Verb, Histogram>,
    running: Gauge,
}

/// Counts something as running until it is dropped.
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BOUNDS)) as fn() -> Histogram);
        let running = Gauge::default();
        registry.register("apiserver_request", "Requests by verb, resource and code.", requests.clone());
        registry.register("apiserver_request_duration_seconds", "Time to answer.", durations.clone());
        registry.register("apiserver_longrunning_requests", "Watches under way.", running.clone());
        Metrics { registry: Arc::new(Mutex::new(registry)), requests, durations, running }
    }
}

impl Metrics {
    /// Lets another part of the process add its metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// Counts an answered request.
    pub fn answered(&self, labels: Labels, took: Duration) {
        self.requests.get_or_create(&labels).inc();
        if labels.verb != "watch" {
            self.durations.get_or_create(&Verb { verb: labels.verb }).observe(took.as_secs_f64());
        }
    }

    /// Counts a watch until the answer is dropped.
    pub fn begin_watch(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// All of it as text.
    pub fn answer(&self) -> Response {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry.lock()).is_err() {
            return status::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n");
        }
        let mut response = status::text(StatusCode::OK, text);
        let media = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        response
    }
}
