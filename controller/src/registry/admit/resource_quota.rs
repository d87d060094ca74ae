//! ResourceQuota: nothing that costs a namespace more than it may use.
//!
//! What is used stands in the status of each quota, and changes by compare and set: a write that costs something adds
//! it before it happens and takes it back when it does not happen, so that however many write at once never more is
//! used than allowed. What goes gives back what it cost. A quota whose status says nothing yet is counted from the
//! store. After a crash the quota controller counts again.

use edge_api::kind::Kind;
use edge_api::meta::{self, at};
use edge_api::pod_resources::{Amounts, add, amounts, subtract};
use edge_api::quota::{self, Objects};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::registry::admit::{Mutation, Operation, Plugin, Request, Validation};
use crate::registry::{ApiError, Object, Registry, encode};
use crate::store::{Condition, Durability, Key, Op, RangeOptions, Revision, Write, WriteError};

/// How often a status that others change meanwhile is tried again.
const ATTEMPTS: usize = 1000;

/// The table's entry.
pub(super) const PLUGIN: Plugin = Plugin {
    name: "ResourceQuota",
    concerns,
    mutate: Mutation::Never,
    validate: Validation::Later(validate),
};

/// New objects cost; of others, what can change; what goes is accounted for when it has gone.
fn concerns(request: &Request<'_>) -> bool {
    let kind = request.kind();
    let costs = match request.operation {
        Operation::Create => request.target.subresource.is_empty(),
        Operation::Update => quota::varies(kind.group, kind.plural),
        Operation::Delete | Operation::Connect => false,
    };
    costs && kind.is_namespaced()
}

/// A quota as it is in the store.
struct Quota {
    key: Key,
    revision: Revision,
    object: Value,
}

/// Something added to what a quota is used.
#[derive(Clone)]
struct Charge {
    quota: Key,
    amounts: Amounts,
}

/// What a write has been charged, until it is known whether it happens. Dropping it finds that out.
pub(super) struct Charges {
    registry: Registry,
    object: Key,
    uid: String,
    paid: Vec<Charge>,
    due: Vec<Charge>,
}

impl Charges {
    /// The write has happened: what it costs less is given back.
    pub(super) async fn keep(mut self) {
        self.paid.clear();
        for charge in std::mem::take(&mut self.due) {
            give_back(&self.registry, &charge).await;
        }
    }

    /// The write has not happened.
    pub(super) async fn refund(mut self) {
        for charge in std::mem::take(&mut self.paid) {
            give_back(&self.registry, &charge).await;
        }
    }
}

impl Drop for Charges {
    /// Nobody waits for the write any more, which may be under way.
    fn drop(&mut self) {
        let paid = std::mem::take(&mut self.paid);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if paid.is_empty() {
            return;
        }
        let (registry, object, uid) =
            (self.registry.clone(), self.object.clone(), std::mem::take(&mut self.uid));
        runtime.spawn(async move {
            // The store decides writes in order: when this one has been refused, the one in question is decided.
            let key = Key::of("core", "resourcequotas", "", "");
            let when = vec![(key.clone(), Condition::Exists)];
            let _ = registry
                .store()
                .write(Write { key, op: Op::Delete, when, durability: Durability::Volatile })
                .await;
            let found = registry.store().get(&object);
            let exists = found.is_some_and(|stored| {
                Object { revision: stored.revision, stored: stored.value }.header().uid == uid
            });
            if !exists {
                for charge in paid {
                    give_back(&registry, &charge).await;
                }
            }
        });
    }
}

fn validate<'a>(request: &'a Request<'a>, object: &'a Value) -> BoxFuture<'a, Result<(), ApiError>> {
    async move {
        let quotas = of_namespace(request.registry, request.target.namespace);
        if quotas.is_empty() {
            return Ok(());
        }
        // All of them are asked before any is charged.
        for quota in &quotas {
            quota.allow(request, object)?;
        }
        if request.cx.dry_run {
            return Ok(());
        }
        let mut charges = Charges {
            registry: request.registry.clone(),
            object: request.target.key(),
            uid: meta::uid(object).to_owned(),
            paid: Vec::new(),
            due: Vec::new(),
        };
        for quota in quotas {
            let charged = quota.charge(request, object, &mut charges).await;
            if let Err(error) = charged {
                charges.refund().await;
                return Err(error);
            }
        }
        request.charge(charges);
        Ok(())
    }
    .boxed()
}

/// The quotas of a namespace.
fn of_namespace(registry: &Registry, namespace: &str) -> Vec<Quota> {
    let prefix = format!("/core/resourcequotas/{namespace}/");
    let page = registry.store().range(&prefix, &RangeOptions::default());
    let items = page.map(|page| page.items).unwrap_or_default();
    items
        .into_iter()
        .filter_map(|(key, stored)| {
            let object = serde_json::from_slice(&stored.value).ok()?;
            Some(Quota { key, revision: stored.revision, object })
        })
        .collect()
}

impl Quota {
    fn load(registry: &Registry, key: &Key) -> Option<Quota> {
        let stored = registry.store().get(key)?;
        let object = serde_json::from_slice(&stored.value).ok()?;
        Some(Quota { key: key.clone(), revision: stored.revision, object })
    }

    /// What the request costs more and what it costs less than before.
    fn difference(&self, request: &Request<'_>, object: &Value) -> (Amounts, Amounts) {
        let Kind { group, plural, .. } = request.kind();
        let mut more = quota::cost(&self.object, group, plural, object);
        subtract(&mut more, &quota::cost(&self.object, group, plural, request.old));
        let mut less = Amounts::new();
        for (name, amount) in &more {
            if amount.is_negative() {
                less.insert(name.clone(), edge_api::quantity::Quantity::ZERO.sub(amount));
            }
        }
        more.retain(|_, amount| !amount.is_zero() && !amount.is_negative());
        (more, less)
    }

    /// Refuses what costs more than is left.
    fn allow(&self, request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
        let Kind { group, plural, .. } = request.kind();
        let name = meta::name(&self.object);
        if request.operation == Operation::Create
            && quota::selects(&self.object, group, plural, object)
            && let Some(what) = quota::unsaid(&self.object, group, plural, object)
        {
            return Err(request.forbidden(&format!("failed quota: {name}: must specify {what}")));
        }
        let (more, _) = self.difference(request, object);
        if more.is_empty() {
            return Ok(());
        }
        let hard = amounts(&self.object, &["spec", "hard"]);
        let used = self.used(request.registry);
        let mut then = used.clone();
        add(&mut then, &more);
        let over = |resource: &String| then.get(resource) > hard.get(resource);
        let exceeded: Vec<&String> = more.keys().filter(|resource| over(resource)).collect();
        if exceeded.is_empty() {
            return Ok(());
        }
        let told = |all: &Amounts| {
            let mut all = all.clone();
            all.retain(|resource, _| exceeded.contains(&resource));
            quota::printed(&all)
        };
        let (requested, used, limited) = (told(&more), told(&used), told(&hard));
        Err(request.forbidden(&format!(
            "exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"
        )))
    }

    /// What is used of it.
    fn used(&self, registry: &Registry) -> Amounts {
        let said = amounts(&self.object, &["status", "used"]);
        let hard = amounts(&self.object, &["spec", "hard"]);
        if hard.keys().all(|name| said.contains_key(name)) {
            return said.into_iter().filter(|(name, _)| hard.contains_key(name)).collect();
        }
        let namespace = meta::namespace(&self.object);
        quota::used(&self.object, |group, plural| stored(registry, group, plural, namespace))
    }

    /// Adds what the request costs, unless meanwhile there is less left.
    async fn charge(
        self,
        request: &Request<'_>,
        object: &Value,
        charges: &mut Charges,
    ) -> Result<(), ApiError> {
        let mut quota = self;
        let (more, less) = quota.difference(request, object);
        let key = quota.key.clone();
        if !less.is_empty() {
            charges.due.push(Charge { quota: key.clone(), amounts: less });
        }
        if more.is_empty() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            quota.allow(request, object)?;
            let mut used = quota.used(request.registry);
            add(&mut used, &more);
            match quota.set_used(request.registry, &used).await {
                Ok(_) => {
                    charges.paid.push(Charge { quota: key, amounts: more });
                    return Ok(());
                }
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(now) = Quota::load(request.registry, &key) else { return Ok(()) };
            quota = now;
        }
        let error = format!("status of quota {} keeps changing", meta::name(&quota.object));
        Err(ApiError::internal(error))
    }

    /// Says in the status what is used, if the quota is still as it was read.
    async fn set_used(&self, registry: &Registry, used: &Amounts) -> Result<Revision, WriteError> {
        let mut object = self.object.clone();
        let hard = at(&object, &["spec", "hard"]).cloned().unwrap_or_default();
        object["status"] = json!({"hard": hard, "used": used});
        let write = Write {
            key: self.key.clone(),
            op: Op::Put(encode(object)),
            when: vec![(self.key.clone(), Condition::At(self.revision))],
            durability: Durability::Durable,
        };
        registry.store().write(write).await
    }
}

/// The objects that a quota counts.
fn stored(registry: &Registry, group: &str, plural: &str, namespace: &str) -> Objects {
    let folder = if group.is_empty() { "core" } else { group };
    let page = registry.store().range(&format!("/{folder}/{plural}/{namespace}/"), &RangeOptions::default());
    let items = page.map(|page| page.items).unwrap_or_default();
    if !quota::varies(group, plural) {
        return Objects::Number(items.len());
    }
    Objects::All(items.iter().filter_map(|(_, stored)| serde_json::from_slice(&stored.value).ok()).collect())
}

/// Takes from what a quota is used, whatever happens to it meanwhile. A quota without a status is counted when needed.
async fn give_back(registry: &Registry, charge: &Charge) {
    for _ in 0..ATTEMPTS {
        let Some(quota) = Quota::load(registry, &charge.quota) else { return };
        let mut used = amounts(&quota.object, &["status", "used"]);
        let known: Amounts = charge
            .amounts
            .iter()
            .filter(|(name, _)| used.contains_key(*name))
            .map(|(n, a)| (n.clone(), *a))
            .collect();
        if known.is_empty() {
            return;
        }
        subtract(&mut used, &known);
        for amount in used.values_mut().filter(|amount| amount.is_negative()) {
            *amount = edge_api::quantity::Quantity::ZERO;
        }
        match quota.set_used(registry, &used).await {
            Err(WriteError::Conflict { .. }) => {}
            Ok(_) => return,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(quota = charge.quota.as_str(), error, "what a quota is used was not written");
                return;
            }
        }
    }
}

/// Gives back what an object cost that has gone.
pub(crate) async fn release(registry: &Registry, kind: &Kind, object: &Value) {
    if !kind.is_namespaced() {
        return;
    }
    for quota in of_namespace(registry, meta::namespace(object)) {
        let amounts = quota::cost(&quota.object, kind.group, kind.plural, object);
        if !amounts.is_empty() {
            give_back(registry, &Charge { quota: quota.key, amounts }).await;
        }
    }
}
