//! `/statusz` and `/flagz`: since when this server runs and with which settings, as text for people.
//!
//! Knows no settings: whoever builds the server says what they are. Secrets are none of them.

use std::sync::OnceLock;

use edge_api::time::Timestamp;
use http::StatusCode;

use crate::http::body::Response;
use crate::http::discovery::GIT_VERSION;
use crate::http::status;

/// What both pages say before anything else.
const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility \
                       guarantees and is for debugging purposes only.";
/// What can be looked at beside objects.
const PATHS: &[&str] = &[
    "/debug/reconcilers",
    "/flagz",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/readyz",
    "/statusz",
    "/version",
];

/// What the pages show.
#[derive(Default)]
pub struct Zpages {
    started: OnceLock<Timestamp>,
    flags: OnceLock<Vec<(&'static str, String)>>,
}

impl Zpages {
    /// The pages of a server that starts now.
    pub fn starting(now: Timestamp) -> Zpages {
        Zpages { started: OnceLock::from(now), flags: OnceLock::new() }
    }

    /// Shows these settings from now on; the first ones stay.
    pub fn show(&self, flags: Vec<(&'static str, String)>) {
        let _ = self.flags.set(flags);
    }

    /// `/statusz`
    pub fn status(&self, now: Timestamp) -> Response {
        let started = self.started.get().copied().unwrap_or(now);
        let up = now.since(started).as_secs();
        let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
        let version = GIT_VERSION.trim_start_matches('v');
        let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
        let text = format!(
            "\nkube-apiserver statusz\n{WARNING}\n\nStarted: {}\nUp: {hours} hr {minutes:02} min {seconds:02} sec\n\
             Binary version: {version}\nEmulation version: {minor}\nPaths: {}\n",
            started.date(),
            PATHS.join(" ")
        );
        status::text(StatusCode::OK, text)
    }

    /// `/flagz`
    pub fn flags(&self) -> Response {
        let mut lines: Vec<String> =
            self.flags.get().into_iter().flatten().map(|(name, value)| format!("{name}={value}\n")).collect();
        lines.sort_unstable();
        status::text(StatusCode::OK, format!("\nkube-apiserver flags\n{WARNING}\n\n{}", lines.concat()))
    }
}
