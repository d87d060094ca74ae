//! What a kind is: its identity, and the pure functions that make its objects right.
//!
//! A [`Kind`] is a value in the table of `kinds`. Routes, discovery, help, storage keys and
//! columns all derive from it. It holds functions, not state; it never does I/O.

use crate::custom::{Custom, Version};
use crate::error::{self, FieldError};
use crate::fill;
use crate::meta;
use crate::name::NameRule;
use crate::schema::{self, Problem};
use crate::time::Timestamp;
use crate::validate::{self, At, Errors};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// A part of an object with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// `/status`: what is, beside what is wished.
    Status,
    /// `/scale`: the number of replicas, for every kind alike.
    Scale,
    /// `/binding` of a Pod: which node it runs on.
    Binding,
    /// `/eviction` of a Pod: a deletion that budgets may refuse.
    Eviction,
    /// `/log` of a Pod.
    Log,
    /// `/exec` of a Pod.
    Exec,
    /// `/attach` of a Pod.
    Attach,
    /// `/portforward` of a Pod.
    PortForward,
    /// `/proxy` of a Pod, Service or Node.
    Proxy,
    /// `/ephemeralcontainers` of a Pod.
    EphemeralContainers,
    /// `/resize` of a Pod: its resources.
    Resize,
    /// `/token` of a ServiceAccount.
    Token,
    /// `/finalize` of a Namespace.
    Finalize,
    /// `/approval` of a CertificateSigningRequest: the answer to it.
    Approval,
}

impl Subresource {
    const ALL: [Subresource; 14] = [
        Subresource::Status,
        Subresource::Scale,
        Subresource::Binding,
        Subresource::Eviction,
        Subresource::Log,
        Subresource::Exec,
        Subresource::Attach,
        Subresource::PortForward,
        Subresource::Proxy,
        Subresource::EphemeralContainers,
        Subresource::Resize,
        Subresource::Token,
        Subresource::Finalize,
        Subresource::Approval,
    ];

    /// The last part of its path.
    pub fn name(self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::Log => "log",
            Subresource::Exec => "exec",
            Subresource::Attach => "attach",
            Subresource::PortForward => "portforward",
            Subresource::Proxy => "proxy",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
            Subresource::Token => "token",
            Subresource::Finalize => "finalize",
            Subresource::Approval => "approval",
        }
    }

    /// The subresource of a path's last part.
    pub fn from_name(name: &str) -> Option<Subresource> {
        Subresource::ALL.into_iter().find(|sub| sub.name() == name)
    }

    /// The verbs discovery lists.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Subresource::Status
            | Subresource::Scale
            | Subresource::EphemeralContainers
            | Subresource::Resize
            | Subresource::Approval => &["get", "patch", "update"],
            Subresource::Binding | Subresource::Eviction | Subresource::Token => &["create"],
            Subresource::Log => &["get"],
            Subresource::Exec | Subresource::Attach | Subresource::PortForward => &["create", "get"],
            Subresource::Proxy => &["create", "delete", "get", "patch", "update"],
            Subresource::Finalize => &["update"],
        }
    }

    /// Group, version and kind of its body under a kind.
    pub fn gvk(self, kind: &Kind) -> (&'static str, &'static str, &'static str) {
        match self {
            Subresource::Scale => ("autoscaling", "v1", "Scale"),
            Subresource::Binding => ("", "v1", "Binding"),
            Subresource::Eviction => ("policy", "v1", "Eviction"),
            Subresource::Token => ("authentication.k8s.io", "v1", "TokenRequest"),
            Subresource::Exec => ("", "v1", "PodExecOptions"),
            Subresource::Attach => ("", "v1", "PodAttachOptions"),
            Subresource::PortForward => ("", "v1", "PodPortForwardOptions"),
            Subresource::Proxy => match kind.kind {
                "Node" => ("", "v1", "NodeProxyOptions"),
                "Service" => ("", "v1", "ServiceProxyOptions"),
                _ => ("", "v1", "PodProxyOptions"),
            },
            Subresource::Status
            | Subresource::Log
            | Subresource::EphemeralContainers
            | Subresource::Resize
            | Subresource::Finalize
            | Subresource::Approval => (kind.group, kind.version, kind.kind),
        }
    }
}

/// A column of a kind's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `number` or `date`.
    pub type_: &'static str,
    /// `name` for the name's column, otherwise empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only when wide.
    pub priority: u8,
    /// One sentence.
    pub description: &'static str,
}

impl Column {
    /// The `Name` column every table begins with.
    pub const NAME: Column = Column {
        name: "Name",
        type_: "string",
        format: "name",
        priority: 0,
        description: "Name must be unique within a namespace.",
    };

    /// The `Age` column.
    pub const AGE: Column = Column::new("Age", "string", "Time since the object was created.");

    /// A column that is always shown.
    pub const fn new(name: &'static str, type_: &'static str, description: &'static str) -> Column {
        Column { name, type_, format: "", priority: 0, description }
    }

    /// A column that is shown when wide.
    pub const fn wide(name: &'static str, type_: &'static str, description: &'static str) -> Column {
        Column { name, type_, format: "", priority: 1, description }
    }
}

/// A field that selectors may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in selectors, such as `spec.nodeName`.
    pub name: &'static str,
    /// Where it is in the object.
    pub path: &'static [&'static str],
    /// What its absence counts as.
    pub absent: &'static str,
}

impl Field {
    /// What every kind's selectors may use.
    pub const METADATA: [Field; 2] = [
        Field::new("metadata.name", &["metadata", "name"]),
        Field::new("metadata.namespace", &["metadata", "namespace"]),
    ];

    /// A text that is empty when absent.
    pub const fn new(name: &'static str, path: &'static [&'static str]) -> Field {
        Field { name, path, absent: "" }
    }

    /// Its value in an object, as text.
    pub fn value(self, object: &Value) -> Cow<'_, str> {
        match meta::at(object, self.path) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(Value::Bool(truth)) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Some(Value::Number(number)) => Cow::Owned(number.to_string()),
            _ => Cow::Borrowed(self.absent),
        }
    }
}

/// Which changes count into `metadata.generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has no generation.
    None,
    /// Everything outside metadata and status.
    Spec,
    /// Everything outside metadata and status, and annotations.
    SpecAndAnnotations,
}

/// What becomes of the status a new object comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusOnCreate {
    /// It is emptied.
    Emptied,
    /// It is kept: who creates it knows it (Node).
    Kept,
}

/// Which part of an object a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The object without its status.
    Main,
    /// The status alone.
    Status,
    /// What keeps a Namespace (`spec.finalizers`), which no other write changes.
    Finalize,
    /// The answer to a request: the conditions of its status.
    Approval,
    /// What only this subresource changes, as the kind's [`Part`] says.
    Part(Subresource),
}

/// A part of the specification that changes through a subresource of its own.
#[derive(Clone, Copy)]
pub struct Part {
    /// The subresource.
    pub subresource: Subresource,
    /// Takes over into an object what the subresource changes of one that was sent (second).
    pub take: fn(&mut Value, &Value),
    /// Checks a changed object (first) against the old one (second).
    pub checks: fn(&At<'_>, &At<'_>, &mut Errors),
}

/// Whether an acknowledged write must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// It must.
    Durable,
    /// It may be lost: it will be written again soon, or is only a courtesy.
    Volatile,
}

/// A write, as the rule about volatility sees it.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The object before; null when it is created.
    pub old: &'a Value,
    /// The object after.
    pub new: &'a Value,
    /// Who writes, such as `system:node:edge-1`.
    pub user: &'a str,
}

/// Where `/scale` finds its numbers in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Path of the wished number.
    pub replicas: &'static [&'static str],
    /// Path of the number that is.
    pub status_replicas: &'static [&'static str],
    /// Path of the selector.
    pub selector: &'static [&'static str],
}

/// A kind whose objects are stored as another kind's.
///
/// Objects are handled in this kind's shape, with this kind's defaults, checks and fields; only
/// what is stored has the other's.
#[derive(Clone, Copy)]
pub struct Alias {
    /// The kind they are stored as.
    pub of: &'static Kind,
    /// From this kind's shape to the stored one.
    pub store: fn(&mut Value),
    /// From the stored shape to this kind's.
    pub load: fn(&mut Value),
}

/// One kind of object.
#[derive(Clone, Copy)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Such as `Pod`.
    pub kind: &'static str,
    /// Such as `pods`: the resource.
    pub plural: &'static str,
    /// Such as `pod`.
    pub singular: &'static str,
    /// Such as `po`.
    pub short_names: &'static [&'static str],
    /// Such as `all`.
    pub categories: &'static [&'static str],
    /// Namespaced or not.
    pub scope: Scope,
    /// Name of its schema, such as `io.k8s.api.core.v1.Pod`.
    pub schema: &'static str,
    /// The verbs discovery lists.
    pub verbs: &'static [&'static str],
    /// Its subresources.
    pub subresources: &'static [Subresource],
    /// The rule its names follow.
    pub name_rule: NameRule,
    /// What counts into its generation.
    pub generation: Generation,
    /// Whether a new object may bring its status.
    pub status_on_create: StatusOnCreate,
    /// The columns of its table, the first of which is the name.
    pub columns: &'static [Column],
    /// The cells of a row, one for each column.
    pub row: fn(&Value, Timestamp) -> Vec<Value>,
    /// Fields that selectors may use, beside `metadata.name` and `metadata.namespace`.
    pub fields: &'static [Field],
    /// Fills in what Kubernetes fills in.
    pub defaults: fn(&mut Value),
    /// Sets what only the server may set on creation, after the status was emptied.
    pub create: fn(&mut Value),
    /// Keeps from the old object (second) what a write may not change.
    pub update: fn(&mut Value, &Value),
    /// Checks an object beside its metadata.
    pub checks: fn(&At<'_>, &mut Errors),
    /// Checks what only a new object may not say.
    pub create_checks: fn(&At<'_>, &mut Errors),
    /// Says what is allowed and most likely a mistake.
    pub warnings: fn(&At<'_>, &mut Vec<String>),
    /// Checks a changed object (first) against the old one (second). Binding a Pod to its node
    /// is no change in this sense: it has its own subresource and its own rule.
    pub update_checks: fn(&At<'_>, &At<'_>, &mut Errors),
    /// Checks a changed status (first) against the old one (second).
    pub status_checks: fn(&At<'_>, &At<'_>, &mut Errors),
    /// What changes through a subresource of its own.
    pub parts: &'static [Part],
    /// Whether a write may be lost.
    pub volatility: fn(Written<'_>) -> Volatility,
    /// Where `/scale` reads and writes.
    pub scale: Option<ScalePaths>,
    /// The kind it is stored as, if not itself.
    pub alias: Option<Alias>,
    /// Where a kind of custom resources finds what its definition says; the methods below ask it.
    pub custom: Option<&'static Custom>,
}

/// The verbs of an ordinary kind.
pub const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn plain_row(object: &Value, now: Timestamp) -> Vec<Value> {
    // As kube-apiserver for kinds without a printer: the time itself, which kubectl turns to an age.
    let _ = now;
    vec![meta::name(object).into(), meta::text(object, &["metadata", "creationTimestamp"]).into()]
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        (self.group, self.version, self.kind) == (other.group, other.version, other.kind)
    }
}

impl Eq for Kind {}

impl std::hash::Hash for Kind {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.group, self.version, self.kind).hash(state);
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.qualified())
    }
}

impl Kind {
    /// A kind that does nothing of its own; the base of every entry.
    pub const PLAIN: Kind = Kind {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        schema: "",
        verbs: ALL_VERBS,
        subresources: &[],
        name_rule: NameRule::Subdomain,
        generation: Generation::None,
        status_on_create: StatusOnCreate::Emptied,
        columns: &[Column::NAME, Column::new("Created At", "date", "When the object was created.")],
        row: plain_row,
        fields: &[],
        defaults: |_| {},
        create: |_| {},
        update: |_, _| {},
        checks: |_, _| {},
        create_checks: |_, _| {},
        warnings: |_, _| {},
        update_checks: |_, _, _| {},
        status_checks: |_, _, _| {},
        parts: &[],
        volatility: |_| Volatility::Durable,
        scale: None,
        alias: None,
        custom: None,
    };

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        meta::join_api_version(self.group, self.version)
    }

    /// `/core/pods`, `/apps/deployments`: where its objects are stored; `/<namespace or
    /// empty>/<name>` follows. An alias is stored where its original is.
    pub fn key_prefix(&self) -> String {
        let (group, plural) = self.stored_as();
        format!("/{group}/{plural}")
    }

    /// Where one of its objects is stored; the namespace is empty for cluster-scoped kinds.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        let (group, plural) = self.stored_as();
        format!("/{group}/{plural}/{namespace}/{name}")
    }

    fn stored_as(&self) -> (&'static str, &'static str) {
        let kind = self.alias.map_or(self, |alias| alias.of);
        (if kind.group.is_empty() { "core" } else { kind.group }, kind.plural)
    }

    /// `pods`, `deployments.apps`: the resource as messages name it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Pod`, `Deployment.apps`: the kind as messages name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Whether its objects are kept; others are answered and forgotten.
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"get")
    }

    /// Whether its objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// What its definition says of it; none for a built-in kind.
    pub fn version_of_definition(&self) -> Option<Arc<Version>> {
        self.custom.and_then(Custom::version)
    }

    /// Its subresources.
    pub fn subresources(&self) -> Vec<Subresource> {
        match self.version_of_definition() {
            Some(version) => {
                let status = version.has_status.then_some(Subresource::Status);
                let scale = version.scale.as_ref().map(|_| Subresource::Scale);
                status.into_iter().chain(scale).collect()
            }
            None => self.subresources.to_vec(),
        }
    }

    /// Whether it has a subresource.
    pub fn has(&self, subresource: Subresource) -> bool {
        match self.custom {
            Some(_) => self.subresources().contains(&subresource),
            None => self.subresources.contains(&subresource),
        }
    }

    /// Its short names.
    pub fn short_names(&self) -> Vec<String> {
        let named = || self.short_names.iter().map(|name| (*name).to_owned()).collect();
        self.version_of_definition().map_or_else(named, |version| version.short_names.clone())
    }

    /// Its categories.
    pub fn categories(&self) -> Vec<String> {
        let named = || self.categories.iter().map(|name| (*name).to_owned()).collect();
        self.version_of_definition().map_or_else(named, |version| version.categories.clone())
    }

    /// The singular name of its resource.
    pub fn singular(&self) -> String {
        self.version_of_definition()
            .map_or_else(|| self.singular.to_owned(), |version| version.singular.clone())
    }

    /// The kind of a list of it.
    pub fn list_kind(&self) -> String {
        let plain = || format!("{}List", self.kind);
        self.version_of_definition().map_or_else(plain, |version| version.list_kind.clone())
    }

    /// The name of its schema; that of a custom kind is made from its group.
    pub fn schema_name(&self) -> String {
        if self.custom.is_none() {
            return self.schema.to_owned();
        }
        let mut parts: Vec<&str> = self.group.split('.').rev().collect();
        parts.extend([self.version, self.kind]);
        parts.join(".")
    }

    /// Brings an object that was sent into the form of its type: what is unknown is gone, what has a canonical form has
    /// it. The answer is what was wrong.
    pub fn conform(&self, object: &mut Value) -> Vec<Problem> {
        if self.custom.is_some() {
            return self.version_of_definition().map(|version| version.conform(object)).unwrap_or_default();
        }
        let problems = schema::check(self.schema, object);
        if !problems.iter().any(Problem::fatal) {
            schema::prune(self.schema, object);
        }
        problems
    }

    /// The headings of its table.
    pub fn headings(&self) -> Vec<Value> {
        let column = |column: &Column| {
            serde_json::json!({
                "name": column.name,
                "type": column.type_,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        };
        match self.version_of_definition() {
            Some(version) => [column(&Column::NAME)].into_iter().chain(version.headings()).collect(),
            None => self.columns.iter().map(column).collect(),
        }
    }

    /// The cells of an object's row, one for each heading.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match self.version_of_definition() {
            Some(version) => {
                [meta::name(object).into()].into_iter().chain(version.cells(object, now)).collect()
            }
            None => (self.row)(object, now),
        }
    }

    /// The sentence of an `Invalid` reply.
    pub fn invalid(&self, name: &str, errors: &[FieldError]) -> String {
        error::invalid(&self.qualified(), name, errors)
    }

    /// Fills in what Kubernetes fills in, and removes nulls, which count as absent. Idempotent.
    pub fn default(&self, object: &mut Value) {
        if self.custom.is_some() {
            if let Some(metadata) = object.get_mut("metadata") {
                fill::prune_nulls(metadata);
            }
            if let Some(version) = self.version_of_definition() {
                version.default(object);
            }
            return;
        }
        fill::prune_nulls(object);
        (self.defaults)(object);
    }

    /// Makes a new object start as its kind starts: no status of the caller's, generation 1.
    pub fn prepare_create(&self, object: &mut Value) {
        if self.has(Subresource::Status)
            && self.status_on_create == StatusOnCreate::Emptied
            && let Some(object) = object.as_object_mut()
        {
            object.remove("status");
        }
        match self.generation {
            Generation::None => drop(meta::unset(object, "generation")),
            Generation::Spec | Generation::SpecAndAnnotations => meta::set(object, "generation", 1),
        }
        (self.create)(object);
    }

    /// Keeps what this write may not change: the status on a write of the object, everything but
    /// the status on a write of the status. Counts the generation up when the spec changed.
    pub fn prepare_update(&self, new: &mut Value, old: &Value, target: Target) {
        match target {
            Target::Main => {
                if self.has(Subresource::Status) {
                    copy_field(new, old, "status");
                }
                self.keep_generation(new, old);
                (self.update)(new, old);
            }
            Target::Status => keep_all_but_status(new, old),
            Target::Part(subresource) => {
                let sent = std::mem::replace(new, old.clone());
                for field in ["managedFields", "resourceVersion"] {
                    match meta::at(&sent, &["metadata", field]) {
                        Some(value) => meta::set(new, field, value.clone()),
                        None => drop(meta::unset(new, field)),
                    }
                }
                if let Some(part) = self.part(subresource) {
                    (part.take)(new, &sent);
                }
                self.keep_generation(new, old);
            }
            Target::Finalize => copy_field(new, old, "status"),
            Target::Approval => {
                let conditions = meta::at(new, &["status", "conditions"]).cloned();
                keep_all_but_status(new, old);
                copy_field(new, old, "status");
                let status = meta::object_mut(new, "status");
                match conditions {
                    Some(conditions) => drop(status.insert("conditions".to_owned(), conditions)),
                    None => drop(status.remove("conditions")),
                }
            }
        }
    }

    fn part(&self, subresource: Subresource) -> Option<&Part> {
        self.parts.iter().find(|part| part.subresource == subresource)
    }

    fn keep_generation(&self, new: &mut Value, old: &Value) {
        if self.generation == Generation::None {
            meta::unset(new, "generation");
            return;
        }
        let annotations = ["metadata", "annotations"];
        let noted = self.generation == Generation::SpecAndAnnotations
            && meta::map(new, &annotations).filter(|m| !m.is_empty())
                != meta::map(old, &annotations).filter(|m| !m.is_empty());
        let generation = meta::generation(old);
        // A status that has no writes of its own counts as specification.
        let in_spec = self.custom.is_some() && !self.has(Subresource::Status);
        let changed = noted || !same_spec(new, old) || in_spec && new.get("status") != old.get("status");
        meta::set(new, "generation", if changed { generation + 1 } else { generation });
    }

    /// Everything wrong with a new object.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let root = At::root(object);
        validate::object_meta(&root, self.name_rule, self.is_namespaced(), &mut errors);
        (self.checks)(&root, &mut errors);
        (self.create_checks)(&root, &mut errors);
        if let Some(version) = self.version_of_definition() {
            errors.extend(version.validate(object, None));
        }
        errors
    }

    /// What is to be said to whoever writes this object: new, or changed in what it wishes.
    pub fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none_or(|old| old["metadata"]["generation"] != object["metadata"]["generation"]) {
            (self.warnings)(&At::root(object), &mut warnings);
        }
        warnings
    }

    /// Everything wrong with a changed object: the object itself, but for what was wrong with it before, and the
    /// change. Rules that have become stricter let go of what they find.
    pub fn validate_update(&self, new: &Value, old: &Value, target: Target) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if let Some(version) = self.version_of_definition() {
            validate::object_meta_update(&At::root(new), &At::root(old), &mut errors);
            errors.extend(version.validate(new, Some(old)));
            return errors;
        }
        let (new, old) = (At::root(new), At::root(old));
        validate::object_meta_update(&new, &old, &mut errors);
        match target {
            Target::Main => {
                self.check_again(&new, &old, &mut errors);
                (self.update_checks)(&new, &old, &mut errors);
            }
            Target::Part(subresource) => {
                self.check_again(&new, &old, &mut errors);
                if let Some(part) = self.part(subresource) {
                    (part.checks)(&new, &old, &mut errors);
                }
            }
            Target::Finalize => self.check_again(&new, &old, &mut errors),
            Target::Status | Target::Approval => (self.status_checks)(&new, &old, &mut errors),
        }
        errors
    }

    fn check_again(&self, new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
        let (mut found, mut before) = (Errors::new(), Errors::new());
        (self.checks)(new, &mut found);
        if !found.is_empty() {
            (self.checks)(old, &mut before);
        }
        errors.extend(found.into_iter().filter(|error| !before.contains(error)));
    }

    /// Whether a write may be lost in a power cut.
    pub fn volatility(&self, written: Written<'_>) -> Volatility {
        (self.volatility)(written)
    }
}

fn copy_field(new: &mut Value, old: &Value, field: &str) {
    let Some(object) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => drop(object.insert(field.to_owned(), value.clone())),
        None => drop(object.remove(field)),
    }
}

/// A status write changes the status, and of the metadata only what Kubernetes lets it.
fn keep_all_but_status(new: &mut Value, old: &Value) {
    const CHANGEABLE: &[&str] = &["annotations", "managedFields", "resourceVersion"];
    if let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) {
        keep_all_but(&["status", "metadata"], new, old);
    }
    if let Some(old) = old.get("metadata").and_then(Value::as_object) {
        keep_all_but(CHANGEABLE, meta::object_mut(new, "metadata"), old);
    }
}

/// Takes all other fields of an object over from another. Mostly they are equal: then nothing is copied.
fn keep_all_but(fields: &[&str], new: &mut Map<String, Value>, old: &Map<String, Value>) {
    new.retain(|name, _| fields.contains(&name.as_str()) || old.contains_key(name));
    for (name, value) in old.iter().filter(|(name, _)| !fields.contains(&name.as_str())) {
        if new.get(name) != Some(value) {
            new.insert(name.clone(), value.clone());
        }
    }
}

/// Whether everything but `metadata`, `status` and the type is equal.
fn same_spec(a: &Value, b: &Value) -> bool {
    meta::equal_but(a, b, &[&["metadata"], &["status"], &["apiVersion"], &["kind"]])
}
