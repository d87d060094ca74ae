//! Reading from somebody who serves another group, for the control plane's own needs.

use std::time::Duration;

use bytes::Bytes;
use edge_api::meta::text;
use http::{Request, header};
use http_body_util::Empty;
use serde_json::Value;

use crate::aggregate::{Aggregation, Remote};
use crate::identity::User;
use crate::outward;

/// How long somebody has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Aggregation {
    /// Who serves a group, in the first of these versions that somebody serves.
    pub fn who_serves(&self, group: &str, versions: &[&str]) -> Option<std::sync::Arc<Remote>> {
        versions.iter().find_map(|version| self.remote(group, version))
    }

    /// What somebody says at a path below his group's, asked as `user`. The error is his own or says why there is none.
    pub async fn read(&self, remote: &Remote, user: &User, path: &str) -> Result<Value, String> {
        if !remote.available {
            return Err("the server is currently unable to handle the request".to_owned());
        }
        let path = format!("{}/{path}", remote.root());
        let to = remote.destination(&self.0.registry, &path)?;
        let mut request = Request::get(&path)
            .header(header::ACCEPT, "application/json")
            .header("x-remote-user", user.name.as_str());
        for group in user.groups.iter() {
            request = request.header("x-remote-group", group.as_str());
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let answer = outward::whole(&to, self.trust(remote), request, PATIENCE).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.code.is_success() {
            return Ok(body);
        }
        Err(match text(&body, &["message"]) {
            "" => format!("the server answered {}", answer.code),
            message => message.to_owned(),
        })
    }
}
