//! `/healthz`, `/livez`, `/readyz`: named checks, all or one.

use std::sync::Arc;

use http::StatusCode;
use parking_lot::RwLock;

use crate::http::body::Response;
use crate::http::query::Query;
use crate::http::status;

/// Answers whether something is well.
type Check = Arc<dyn Fn() -> bool + Send + Sync>;

/// The checks of this server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Checks(Arc<RwLock<Vec<Named>>>);

#[derive(Clone)]
struct Named {
    name: String,
    lively: bool,
    check: Check,
}

impl Checks {
    /// Adds a check without which the server is not ready.
    pub fn ready_when(&self, name: &str, check: impl Fn() -> bool + Send + Sync + 'static) {
        self.add(name, false, Arc::new(check));
    }

    /// Adds a check without which the server should be restarted.
    pub fn alive_when(&self, name: &str, check: impl Fn() -> bool + Send + Sync + 'static) {
        self.add(name, true, Arc::new(check));
    }

    /// Whether all checks pass.
    pub fn all_pass(&self) -> bool {
        let checks = self.0.read().clone();
        checks.iter().all(|named| (named.check)())
    }

    /// The answer of an endpoint, or of one of its checks.
    pub fn answer(&self, endpoint: &str, only: &str, query: &Query<'_>) -> Response {
        let all = self.0.read().clone();
        let counts = |named: &&Named| endpoint != "livez" || named.lively;
        let checks: Vec<&Named> = all.iter().filter(counts).collect();
        if !only.is_empty() {
            return match checks.iter().find(|named| named.name == only) {
                Some(named) if (named.check)() => status::text(StatusCode::OK, "ok"),
                Some(_) => {
                    let text = format!("internal server error: {endpoint} check {only:?} failed\n");
                    status::text(StatusCode::INTERNAL_SERVER_ERROR, text)
                }
                None => status::text(StatusCode::NOT_FOUND, "404 page not found\n"),
            };
        }
        report(endpoint, &checks, query)
    }

    fn add(&self, name: &str, lively: bool, check: Check) {
        self.0.write().push(Named { name: name.to_owned(), lively, check });
    }
}

fn report(endpoint: &str, checks: &[&Named], query: &Query<'_>) -> Response {
    let mut lines = String::new();
    let mut well = true;
    for named in checks {
        if query.all("exclude").any(|excluded| excluded == named.name) {
            lines.push_str(&format!("[+]{} excluded: ok\n", named.name));
        } else if (named.check)() {
            lines.push_str(&format!("[+]{} ok\n", named.name));
        } else {
            well = false;
            lines.push_str(&format!("[-]{} failed: reason withheld\n", named.name));
        }
    }
    match (well, query.truth("verbose")) {
        (true, false) => status::text(StatusCode::OK, "ok"),
        (true, true) => status::text(StatusCode::OK, format!("{lines}{endpoint} check passed\n")),
        (false, _) => {
            status::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{endpoint} check failed\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Checks;
    use crate::http::query::Query;

    #[test]
    fn checks_decide_and_are_told() {
        let checks = Checks::default();
        checks.alive_when("ping", || true);
        assert_eq!(checks.answer("readyz", "", &Query::parse(None)).status(), 200);
        checks.ready_when("store", || false);
        let ask = |endpoint, only, query| checks.answer(endpoint, only, &Query::parse(Some(query))).status();
        assert_eq!(ask("readyz", "", "verbose"), 500);
        assert_eq!(ask("livez", "", ""), 200);
        assert_eq!(ask("readyz", "", "exclude=store"), 200);
        assert_eq!(ask("readyz", "store", ""), 500);
        assert_eq!(ask("readyz", "ping", ""), 200);
        assert_eq!(ask("readyz", "nothing", ""), 404);
        assert!(!checks.all_pass());
    }
}
