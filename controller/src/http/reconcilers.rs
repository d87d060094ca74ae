//! `/debug/reconcilers`: the state of the controllers as JSON, for administrators who look for what is stuck.
//!
//! Knows no controllers: whoever runs them says how to look.

use std::sync::OnceLock;

use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::http::body::Response;
use crate::http::status;

type Look = Box<dyn Fn() -> Value + Send + Sync>;

/// Shows the state of the controllers, once somebody runs them.
#[derive(Default)]
pub struct Reconcilers(OnceLock<Look>);

impl Reconcilers {
    /// Shows what `look` sees from now on; the first one stays.
    pub fn show(&self, look: impl Fn() -> Value + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(look));
    }

    /// The state at this moment; null before the controllers run.
    pub fn answer(&self) -> Response {
        let state = self.0.get().map_or(Value::Null, |look| look());
        let mut response = status::text(StatusCode::OK, format!("{state:#}\n"));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
