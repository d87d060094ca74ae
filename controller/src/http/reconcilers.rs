//! `/debug/reconcilers`: the state of the controllers as JSON, for administrators who look for what is stuck; and
//! `/debug/scheduler/why?namespace=&pod=`, why a Pod has no node.
//!
//! Knows no controllers: whoever runs them says how to look.

use std::sync::OnceLock;

use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::http::body::Response;
use crate::http::query::Query;
use crate::http::status;
use crate::registry::ApiError;

type Look = Box<dyn Fn() -> Value + Send + Sync>;
type Why = Box<dyn Fn(&str, &str) -> Result<Value, ApiError> + Send + Sync>;

/// Shows the state of the controllers, once somebody runs them.
#[derive(Default)]
pub struct Reconcilers {
    look: OnceLock<Look>,
    why: OnceLock<Why>,
}

impl Reconcilers {
    /// Shows what `look` sees from now on; the first one stays.
    pub fn show(&self, look: impl Fn() -> Value + Send + Sync + 'static) {
        let _ = self.look.set(Box::new(look));
    }

    /// Asks `why` from now on, with a namespace and a Pod's name; the first one stays.
    pub fn answer_why(&self, why: impl Fn(&str, &str) -> Result<Value, ApiError> + Send + Sync + 'static) {
        let _ = self.why.set(Box::new(why));
    }

    /// The state at this moment; null before the controllers run.
    pub fn answer(&self) -> Response {
        json(&self.look.get().map_or(Value::Null, |look| look()))
    }

    /// Why a Pod has no node; null before the controllers run.
    pub fn why(&self, query: &Query<'_>) -> Result<Response, ApiError> {
        let (namespace, pod) = (query.get("namespace"), query.get("pod"));
        if namespace.is_empty() || pod.is_empty() {
            return Err(ApiError::bad_request("namespace and pod are required"));
        }
        Ok(json(&self.why.get().map_or(Ok(Value::Null), |why| why(namespace, pod))?))
    }
}

fn json(state: &Value) -> Response {
    let mut response = status::text(StatusCode::OK, format!("{state:#}\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
