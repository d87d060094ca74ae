//! Makes the default roles and bindings what they have to be, once, at the start: creates what is missing and adds what
//! lacks. What somebody added stays, and what somebody has taken out of Kubernetes' hands (`autoupdate: "false"`) stays
//! as it is.

use edge_api::meta;
use futures::StreamExt as _;
use serde_json::Value;

use crate::bootstrap::policy::{self, AUTOUPDATE, Wanted};
use crate::registry::{ApiError, Context, DeleteOptions, Registry, Target};

/// The account that writes them.
const ACCOUNT: &str = "bootstrap-controller";
/// How many are written together: all in few commits, and never all in memory.
const AT_A_TIME: usize = 32;
/// Namespaces with roles of their own.
const NAMESPACES: [&str; 2] = ["kube-system", "kube-public"];

/// What is done to one object.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create,
    Update(Value),
    /// A binding that gives another role cannot be changed.
    Replace,
}

/// Brings all of them about. The administrators' binding comes last of those that need no namespace.
pub async fn settle(registry: &Registry) {
    let mut bindings = policy::cluster_role_bindings();
    let last = bindings.pop();
    put(registry, policy::cluster_roles().into_iter().chain(bindings)).await;
    put(registry, last).await;
    for namespace in NAMESPACES {
        if wait_for_namespace(registry, namespace).await {
            put(registry, policy::of_namespace(namespace)).await;
        }
    }
}

async fn put(registry: &Registry, defaults: impl IntoIterator<Item = Wanted>) {
    let cx = Context::controller(ACCOUNT);
    let writes = defaults.into_iter().map(|Wanted { kind, object }| {
        let cx = &cx;
        async move {
            let (namespace, name) = (meta::namespace(&object).to_owned(), meta::name(&object).to_owned());
            let target = Target::one(kind, &namespace, &name);
            if let Err(error) = write(registry, cx, &target, object).await {
                tracing::warn!(kind = kind.kind, namespace, name, %error, "a default role is not as it should be");
            }
        }
    });
    futures::stream::iter(writes).buffer_unordered(AT_A_TIME).collect::<()>().await;
}

async fn write(
    registry: &Registry,
    cx: &Context,
    target: &Target<'_>,
    wished: Value,
) -> Result<(), ApiError> {
    let found = match registry.current(target) {
        Ok(found) => Some(found.value()),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let all = Target { name: "", ..*target };
    match step(found, &wished) {
        Step::Nothing => Ok(()),
        Step::Create => registry.create(cx, &all, wished).await.map(drop),
        Step::Update(object) => registry.update(cx, target, object).await.map(drop),
        Step::Replace => {
            registry.delete(cx, target, &DeleteOptions::default()).await?;
            registry.create(cx, &all, wished).await.map(drop)
        }
    }
}

fn step(found: Option<Value>, wished: &Value) -> Step {
    let Some(mut object) = found else { return Step::Create };
    if meta::annotation(&object, AUTOUPDATE) == Some("false") {
        return Step::Nothing;
    }
    if object.get("roleRef") != wished.get("roleRef") {
        return Step::Replace;
    }
    let before = object.clone();
    for field in ["labels", "annotations"] {
        let missing = meta::map(wished, &["metadata", field]).into_iter().flatten();
        for (key, value) in missing {
            object["metadata"][field][key] = value.clone();
        }
    }
    if let Some(aggregation) = wished.get("aggregationRule") {
        object["aggregationRule"] = aggregation.clone();
    }
    for field in ["rules", "subjects"] {
        for item in meta::items(wished, &[field]) {
            if !meta::items(&object, &[field]).contains(item) {
                match object.get_mut(field).and_then(Value::as_array_mut) {
                    Some(list) => list.push(item.clone()),
                    None => object[field] = Value::from(vec![item.clone()]),
                }
            }
        }
    }
    if object == before { Step::Nothing } else { Step::Update(object) }
}

/// Whether the namespace is there; waits for it until the store is closed.
async fn wait_for_namespace(registry: &Registry, name: &str) -> bool {
    let (store, key) = (registry.store(), Target::one(&edge_api::kinds::namespace::KIND, "", name).key());
    let Ok(mut cursor) = store.watch("/core/namespaces/", store.head()) else { return false };
    while store.get(&key).is_none() {
        if cursor.next().await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Step, step};
    use crate::bootstrap::policy;

    #[test]
    fn what_lacks_is_added_and_what_was_added_stays() {
        let wished = policy::cluster_roles().remove(0).object;
        assert_eq!(step(None, &wished), Step::Create);
        assert_eq!(step(Some(wished.clone()), &wished), Step::Nothing);
        let mut changed = wished.clone();
        let own = json!({"apiGroups": ["a"], "resources": ["b"], "verbs": ["c"]});
        changed["rules"] = json!([own, wished["rules"][1]]);
        let mut expected = wished.clone();
        expected["rules"] = json!([own, wished["rules"][1], wished["rules"][0]]);
        assert_eq!(step(Some(changed.clone()), &wished), Step::Update(expected));
        changed["metadata"]["annotations"][policy::AUTOUPDATE] = json!("false");
        assert_eq!(step(Some(changed), &wished), Step::Nothing);
    }

    #[test]
    fn a_binding_to_another_role_is_replaced() {
        let wished = policy::cluster_role_bindings().remove(0).object;
        let mut other = wished.clone();
        other["roleRef"]["name"] = json!("view");
        assert_eq!(step(Some(other), &wished), Step::Replace);
        let mut less = wished.clone();
        less["subjects"] = json!([]);
        assert_eq!(step(Some(less), &wished), Step::Update(wished));
    }
}
