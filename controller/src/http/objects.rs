//! Objects over HTTP: method and path become a verb of the registry, its result an answer.

use edge_api::error::FieldError;
use edge_api::table::IncludeObject;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;

use crate::http::body::Response;
use crate::http::connection::Shared;
use crate::http::form::Form;
use crate::http::query::Query;
use crate::http::reply::Wish;
use crate::http::route::Place;
use crate::http::{content, figures, logs, reply, status, stream};
use crate::registry;
use crate::registry::{ApiError, Context, Deleted, List, ListOptions, Object, PatchKind, Patched};

/// Kinds that a finished delete shows; others are told of by a `Status`.
const SHOWN: &[&str] = &["Pod", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim"];
/// How long a watch lasts that says nothing: as long again at random, so that not all end at once.
const WATCH_SECONDS: u64 = 1800;

/// What a request asks of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// One object.
    Get,
    /// A collection.
    List,
    /// The changes of a collection.
    Watch,
    /// A new object.
    Create,
    /// A replacement.
    Update,
    /// A change.
    Patch,
    /// The end of an object.
    Delete,
    /// The end of a collection.
    DeleteCollection,
}

impl Verb {
    /// The verb of a method on a place.
    pub fn of(method: &Method, place: &Place<'_>, query: &Query<'_>) -> Option<Verb> {
        let named = !place.name.is_empty();
        match *method {
            Method::GET | Method::HEAD if place.watch || query.truth("watch") => Some(Verb::Watch),
            Method::GET | Method::HEAD if named => Some(Verb::Get),
            Method::GET | Method::HEAD => Some(Verb::List),
            Method::POST if !named || !place.subresource.is_empty() => Some(Verb::Create),
            Method::PUT if named => Some(Verb::Update),
            Method::PATCH if named => Some(Verb::Patch),
            Method::DELETE if named => Some(Verb::Delete),
            Method::DELETE => Some(Verb::DeleteCollection),
            _ => None,
        }
    }

    /// The kind of the options that a write takes as parameters.
    fn options(self) -> Option<&'static str> {
        match self {
            Verb::Get | Verb::List | Verb::Watch => None,
            Verb::Create => Some("CreateOptions"),
            Verb::Update => Some("UpdateOptions"),
            Verb::Patch => Some("PatchOptions"),
            Verb::Delete | Verb::DeleteCollection => Some("DeleteOptions"),
        }
    }

    /// The name, as in rules and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
}

/// One request about objects.
pub struct Call<'a> {
    /// The server.
    pub shared: &'a Shared,
    /// Who asks, and where the audit log is told more.
    pub cx: Context,
    /// What for.
    pub place: &'a Place<'a>,
    /// To do what.
    pub verb: Verb,
    /// With which parameters.
    pub query: &'a Query<'a>,
    /// With which headers.
    pub parts: &'a Parts,
}

impl Call<'_> {
    /// Answers the request.
    pub async fn answer(self, body: Incoming) -> Result<Response, ApiError> {
        let kind = self.place.kind;
        if self.place.subresource.is_empty() && !kind.verbs.contains(&self.verb.name()) {
            return Err(ApiError::not_supported(kind, self.verb.name()));
        }
        let mut cx = self.cx.clone();
        if let Some(options) = self.verb.options() {
            cx = Context {
                field_manager: self.manager(options)?,
                force: self.query.truth("force"),
                dry_run: self.query.dry_run(options)?,
                field_validation: self.query.field_validation(options)?,
                ..cx
            };
        }
        let warnings = cx.warnings.clone();
        registry::warn(&cx, kind);
        let mut response = match self.verb {
            Verb::Get => self.get(&cx).await?,
            Verb::List => {
                let options = self.query.list()?;
                reply::list(&self.wish()?, kind, self.list(&cx, &options).await?)?
            }
            Verb::Watch => self.watch(&cx).await?,
            Verb::Create => self.create(cx, body).await?,
            Verb::Update => {
                let (cx, object) = self.sent(cx, body).await?;
                let object = self.shared.registry.update(&cx, &self.place.target(), object).await?;
                self.object(StatusCode::OK, &object)?
            }
            Verb::Patch => self.patch(&cx, body).await?,
            Verb::Delete => self.delete(cx, body).await?,
            Verb::DeleteCollection => {
                let (options, dry_run) = self.delete_options(body).await?;
                let cx = Context { dry_run: cx.dry_run || dry_run, ..cx };
                let list = self.query.list()?;
                let target = self.place.target();
                let gone = self.shared.registry.delete_collection(&cx, &target, &list, &options).await?;
                reply::list(&self.wish()?, kind, gone)?
            }
        };
        for warning in warnings.take() {
            add_warning(&mut response, &warning);
        }
        Ok(response)
    }

    /// Who answers for the fields that are written: whom the parameter names, or the program that calls. Who applies
    /// has to say it.
    fn manager(&self, options: &str) -> Result<Option<String>, ApiError> {
        if let Some(given) = self.query.field_manager(options)? {
            return Ok(Some(given.to_owned()));
        }
        if content::media_type(&self.parts.headers) == content::APPLY {
            return Ok(None);
        }
        let agent = self.parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let program = agent.and_then(|agent| agent.split('/').next()).unwrap_or_default();
        let program: String = program.chars().filter(|c| !c.is_control()).take(128).collect();
        Ok(Some(program).filter(|program| !program.is_empty()))
    }

    async fn get(&self, cx: &Context) -> Result<Response, ApiError> {
        let target = self.place.target();
        if target.subresource == "log" {
            return logs::logs(&self.shared.registry, &self.shared.tunnels, cx, &target, self.query).await;
        }
        let shared = self.shared;
        shared.registry.reached(self.query.get("resourceVersion"))?;
        let object = match figures::answers(target.kind) {
            true => figures::get(&shared.registry, &shared.usage, cx, &target).await?,
            false => shared.registry.get(cx, &target).await?,
        };
        self.object(StatusCode::OK, &object)
    }

    async fn list(&self, cx: &Context, options: &ListOptions) -> Result<List, ApiError> {
        let (shared, target) = (self.shared, self.place.target());
        match figures::answers(target.kind) {
            true => figures::list(&shared.registry, &shared.usage, cx, &target, options).await,
            false => shared.registry.list(cx, &target, options).await,
        }
    }

    async fn watch(&self, cx: &Context) -> Result<Response, ApiError> {
        let mut options = self.query.watch()?;
        let seconds = || std::time::Duration::from_secs(WATCH_SECONDS + fastrand::u64(..WATCH_SECONDS));
        options.timeout = Some(options.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or_else(seconds));
        let watch = self.shared.registry.watch(cx, &self.place.target(), &options).await;
        let running = self.shared.metrics.begin_watch();
        let draining = self.shared.draining.clone();
        stream::watch(&self.shared.registry, self.wish()?, self.place.kind, watch, draining, running)
    }

    async fn create(&self, cx: Context, body: Incoming) -> Result<Response, ApiError> {
        let (cx, object) = self.sent(cx, body).await?;
        let target = self.place.target();
        let created = self.shared.registry.create(&cx, &target, object).await?;
        match target.subresource {
            "binding" | "eviction" => Ok(status::success(StatusCode::CREATED, &target, None)),
            _ => self.object(StatusCode::CREATED, &created),
        }
    }

    async fn patch(&self, cx: &Context, body: Incoming) -> Result<Response, ApiError> {
        let media = content::media_type(&self.parts.headers);
        let (kind, sent) = content::patch(media, &content::read(body).await?)?;
        if kind != PatchKind::Apply && !self.query.get("force").is_empty() {
            let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
            return Err(ApiError::options("PatchOptions", error));
        }
        let cx = Context { duplicates: sent.duplicates, ..cx.clone() };
        match self.shared.registry.patch(&cx, &self.place.target(), kind, &sent.object).await? {
            Patched::Changed(object) => self.object(StatusCode::OK, &object),
            Patched::Created(object) => self.object(StatusCode::CREATED, &object),
        }
    }

    async fn delete(&self, cx: Context, body: Incoming) -> Result<Response, ApiError> {
        let (options, dry_run) = self.delete_options(body).await?;
        let cx = Context { dry_run: cx.dry_run || dry_run, ..cx };
        let target = self.place.target();
        match self.shared.registry.delete(&cx, &target, &options).await? {
            Deleted::Gone(object) if !SHOWN.contains(&target.kind.kind) => {
                Ok(status::success(StatusCode::OK, &target, Some(&object)))
            }
            Deleted::Gone(object) | Deleted::Waiting(object) => self.object(StatusCode::OK, &object),
        }
    }

    async fn sent(&self, cx: Context, body: Incoming) -> Result<(Context, Value), ApiError> {
        let media = content::media_type(&self.parts.headers);
        let sent = content::object(media, &content::read(body).await?)?;
        Ok((Context { duplicates: sent.duplicates, ..cx }, sent.object))
    }

    async fn delete_options(
        &self,
        body: Incoming,
    ) -> Result<(crate::registry::DeleteOptions, bool), ApiError> {
        let media = content::media_type(&self.parts.headers);
        let (options, dry_run) = content::delete_options(media, &content::read(body).await?)?;
        Ok((self.query.delete(options)?, dry_run))
    }

    fn object(&self, code: StatusCode, object: &Object) -> Result<Response, ApiError> {
        let mut wish = self.wish()?;
        if matches!(&*self.place.subresource, "scale" | "token") {
            wish.form.view = crate::http::form::View::Whole;
        }
        reply::object(&wish, code, self.place.kind, object)
    }

    fn wish(&self) -> Result<Wish, ApiError> {
        let headers = &self.parts.headers;
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let include = self.query.get("includeObject");
        let include = IncludeObject::from_query(include)
            .ok_or_else(|| ApiError::bad_request(format!("unrecognized includeObject value: {include:?}")))?;
        Ok(Wish {
            form: Form::negotiate(text(header::ACCEPT))?,
            include,
            gzip: text(header::ACCEPT_ENCODING).is_some_and(|encodings| encodings.contains("gzip")),
            now: self.shared.registry.now(),
        })
    }
}

/// One `Warning` header, as RFC 7234 writes it.
fn add_warning(response: &mut Response, text: &str) {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(512).collect();
    let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
        response.headers_mut().append(header::WARNING, value);
    }
}
