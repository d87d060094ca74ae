//! Secrets with the token of a ServiceAccount go with the account.

use edge_api::kinds;

use crate::mirror::{Delta, Detail, Meta, Name, World};
use crate::reconcile::Controller;
use crate::reconcile::plan::{Plan, Write};

/// Whose token it is.
const ACCOUNT: &str = "kubernetes.io/service-account.name";
/// Which incarnation of the account; there once the Secret has its token.
const UID: &str = "kubernetes.io/service-account.uid";

/// The table's entry. Its keys are ServiceAccounts.
pub const CONTROLLER: Controller = Controller { name: "tokens-controller", begins: &[], wakes, reconcile };

fn wakes(delta: &Delta, _: &World, wake: &mut dyn FnMut(Name)) {
    match (&delta.detail, &delta.after) {
        (Detail::ServiceAccount((Some(_), _)), _) => wake(delta.key.clone()),
        (Detail::Secret(_), Some(meta)) => {
            if let (Some(account), true) = (meta.annotations.get(ACCOUNT), meta.annotations.contains_key(UID))
            {
                wake(Name::new(&delta.key.namespace, account));
            }
        }
        _ => {}
    }
}

fn reconcile(key: &Name, world: &World) -> Plan {
    let account = world.service_accounts.at(key);
    let outlived = |meta: &Meta| {
        let uid = meta.annotations.get(UID);
        meta.annotations.get(ACCOUNT).is_some_and(|name| **name == *key.name)
            && uid.is_some_and(|uid| account.is_none_or(|account| *account.meta.uid != **uid))
    };
    let secrets = world.secrets.in_namespace(&key.namespace);
    let doomed = secrets.filter(|secret| !secret.meta.deleting() && outlived(&secret.meta));
    let mut plan = Plan::nothing();
    plan.together(doomed.map(|secret| Write::delete(&kinds::secret::KIND, &secret.meta)).collect());
    plan
}

#[cfg(test)]
mod tests {
    use edge_api::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::reconcile::ledger::Ledger;

    #[test]
    fn a_token_goes_with_the_account_that_it_was_made_for() {
        let account = |uid: &str| {
            json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "a", "namespace": "n", "uid": uid}})
        };
        let secret = |name: &str, annotations: Value| {
            json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": "n", "annotations": annotations}})
        };
        let secrets = [
            secret("token", json!({ACCOUNT: "a", UID: "1"})),
            secret("unfilled", json!({ACCOUNT: "a"})),
            secret("other", json!({ACCOUNT: "b", UID: "1"})),
            secret("plain", json!({})),
        ];
        let gone = |accounts: &[Value]| -> Vec<String> {
            let all = [accounts, &secrets].concat();
            let world = Ledger::with(Timestamp::from_seconds(0), &all).world();
            let plan = reconcile(&Name::new("n", "a"), &world);
            plan.writes().map(|write| write.key.name.to_string()).collect()
        };
        assert!(gone(&[account("1")]).is_empty());
        assert_eq!(gone(&[account("2")]), ["token"]);
        assert_eq!(gone(&[]), ["token"]);
    }
}
