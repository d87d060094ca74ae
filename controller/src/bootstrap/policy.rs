//! The roles and bindings that every cluster has, as Kubernetes names them.
//!
//! One text to be read: a line without indentation is a role, the lines below it are its rules: verbs, groups,
//! resources, and names if there are any. It becomes objects once, at the start, and is forgotten.

use edge_api::kind::Kind;
use edge_api::kinds::{cluster_role, cluster_role_binding, role, role_binding};
use serde_json::{Value, json};

/// Marks what is kept up to date; somebody who wants to change it says `false`.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// The beginning of the labels by which a role becomes part of another.
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";
/// The group of roles.
const GROUP: &str = "rbac.authorization.k8s.io";

/// Words that stand for several.
const WORDS: &[(&str, &[&str])] = &[
    ("read", &["get", "list", "watch"]),
    ("write", &["create", "delete", "deletecollection", "patch", "update"]),
    ("note", &["create", "patch", "update"]),
    ("core", &[""]),
];

/// `<name> [of <role it is made from the parts of>] [to <role it is a part of>]`. In the second column `path` makes a
/// rule about paths.
const CLUSTER_ROLES: &str = "
cluster-admin
 *            *                 *
 *            path              *
admin of admin
edit of edit to admin
view of view to edit
system:aggregate-to-admin to admin
 create       authorization.k8s.io localsubjectaccessreviews
 read,write   rbac.authorization.k8s.io rolebindings,roles
system:aggregate-to-edit to edit
 read         core              pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
 impersonate  core              serviceaccounts
 write        core              pods,pods/attach,pods/exec,pods/portforward,pods/proxy
 create       core              pods/eviction
 write        core              configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
 create       core              serviceaccounts/token
 write        apps              daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
 write        autoscaling       horizontalpodautoscalers
 write        batch             cronjobs,jobs
 write        extensions        daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale
 write        policy            poddisruptionbudgets
 write        networking.k8s.io ingresses,networkpolicies
 read,write   coordination.k8s.io leases
 write        resource.k8s.io   resourceclaims,resourceclaimtemplates
system:aggregate-to-view to view
 read         core              configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status
 read         core              bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status
 read         core              namespaces
 read         discovery.k8s.io  endpointslices
 read         apps              controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
 read         autoscaling       horizontalpodautoscalers,horizontalpodautoscalers/status
 read         batch             cronjobs,cronjobs/status,jobs,jobs/status
 read         extensions        daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale
 read         policy            poddisruptionbudgets,poddisruptionbudgets/status
 read         networking.k8s.io ingresses,ingresses/status,networkpolicies
 read         resource.k8s.io   resourceclaims,resourceclaims/status,resourceclaimtemplates
system:auth-delegator
 create       authentication.k8s.io tokenreviews
 create       authorization.k8s.io subjectaccessreviews
system:basic-user
 create       authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews
 create       authentication.k8s.io selfsubjectreviews
system:certificates.k8s.io:certificatesigningrequests:nodeclient
 create       certificates.k8s.io certificatesigningrequests/nodeclient
system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
 create       certificates.k8s.io certificatesigningrequests/selfnodeclient
system:certificates.k8s.io:kube-apiserver-client-approver
 approve      certificates.k8s.io signers kubernetes.io/kube-apiserver-client
system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
 approve      certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
system:certificates.k8s.io:kubelet-serving-approver
 approve      certificates.k8s.io signers kubernetes.io/kubelet-serving
system:certificates.k8s.io:legacy-unknown-approver
 approve      certificates.k8s.io signers kubernetes.io/legacy-unknown
system:discovery
 get          path              /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/
system:kube-aggregator
 read         core              endpoints,services
system:kube-controller-manager
 note         core,events.k8s.io events
 create       coordination.k8s.io leases
 get,update   coordination.k8s.io leases kube-controller-manager
 create       core              secrets,serviceaccounts
 delete       core              secrets
 get          core              configmaps,namespaces,secrets,serviceaccounts
 update       core              secrets,serviceaccounts
 create       authentication.k8s.io tokenreviews
 create       authorization.k8s.io subjectaccessreviews
 list,watch   *                 *
 create       core              serviceaccounts/token
system:kube-dns
 list,watch   core              endpoints,services
system:kube-scheduler
 note         core,events.k8s.io events
 create       coordination.k8s.io leases
 read,update  coordination.k8s.io leases kube-scheduler
 read,write   coordination.k8s.io leasecandidates
 read         core              nodes
 delete,read  core              pods
 create       core              bindings,pods/binding
 patch,update core              pods/status
 read         core              replicationcontrollers,services
 read         apps,extensions   replicasets
 read         apps              statefulsets
 read         policy            poddisruptionbudgets
 read         core              persistentvolumeclaims,persistentvolumes
 create       authentication.k8s.io tokenreviews
 create       authorization.k8s.io subjectaccessreviews
 read         storage.k8s.io    csinodes
 read         storage.k8s.io    volumeattachments
 read         core              namespaces
 read         storage.k8s.io    csidrivers
 read         storage.k8s.io    csistoragecapacities
 read         resource.k8s.io   deviceclasses
 patch,read,update resource.k8s.io resourceclaims
 patch,read,update resource.k8s.io resourceclaims/status
 patch,read,update core         pods/finalizers
 read         resource.k8s.io   resourceslices
system:kubelet-api-admin
 read         core              nodes
 proxy        core              nodes
 *            core              nodes/log,nodes/metrics,nodes/proxy,nodes/stats
 *            core              nodes/configz,nodes/healthz,nodes/pods
system:monitoring
 get          path              /flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz
system:node
 create       authentication.k8s.io tokenreviews
 create       authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews
 read         core              services
 create,read  core              nodes
 patch,update core              nodes/status
 patch,update core              nodes
 note         core              events
 read         core              pods
 create,delete core             pods
 patch,update core              pods/status
 create       core              pods/eviction
 read         core              configmaps,secrets
 get          core              persistentvolumeclaims,persistentvolumes
 get          core              endpoints
 create,read  certificates.k8s.io certificatesigningrequests
 delete,get,note coordination.k8s.io leases
 get          storage.k8s.io    volumeattachments
 create       core              serviceaccounts/token
 get,patch,update core          persistentvolumeclaims/status
 read         storage.k8s.io    csidrivers
 delete,get,note storage.k8s.io csinodes
 read         node.k8s.io       runtimeclasses
 get          resource.k8s.io   resourceclaims
 deletecollection resource.k8s.io resourceslices
 get          core              serviceaccounts
system:node-bootstrapper
 create,read  certificates.k8s.io certificatesigningrequests
system:node-problem-detector
 get          core              nodes
 patch        core              nodes/status
 note         core,events.k8s.io events
system:node-proxier
 list,watch   core              endpoints,services
 read         core              nodes
 note         core,events.k8s.io events
 list,watch   networking.k8s.io servicecidrs
 list,watch   discovery.k8s.io  endpointslices
system:persistent-volume-provisioner
 create,delete,read core        persistentvolumes
 read,update  core              persistentvolumeclaims
 read         storage.k8s.io    storageclasses
 watch        core              events
 note         core,events.k8s.io events
system:public-info-viewer
 get          path              /healthz,/livez,/readyz,/version,/version/
system:service-account-issuer-discovery
 get          path              /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/
system:volume-scheduler
 patch,read,update core         persistentvolumes
 read         storage.k8s.io    storageclasses
 patch,read,update core         persistentvolumeclaims
";

/// The roles of controllers, without `system:controller:`; each is bound to the account of its name in kube-system. All
/// but those of whom it says `silent` may write Events.
const CONTROLLERS: &str = "
attachdetach-controller
 list,watch   core              persistentvolumeclaims,persistentvolumes
 read         core              nodes
 patch,update core              nodes/status
 list,watch   core              pods
 read         storage.k8s.io    csidrivers
 read         storage.k8s.io    csinodes
 create,delete,patch,read storage.k8s.io volumeattachments
certificate-controller
 delete,read  certificates.k8s.io certificatesigningrequests
 update       certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status
 approve      certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
 sign         certificates.k8s.io signers kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown
 create       authorization.k8s.io subjectaccessreviews
clusterrole-aggregation-controller silent
 escalate,patch,read,update rbac.authorization.k8s.io clusterroles
cronjob-controller
 read,update  batch             cronjobs
 delete,note,read batch         jobs
 update       batch             cronjobs/status
 update       batch             cronjobs/finalizers
 delete,list  core              pods
daemon-set-controller
 read         apps,extensions   daemonsets
 update       apps,extensions   daemonsets/status
 update       apps,extensions   daemonsets/finalizers
 list,watch   core              nodes
 create,delete,list,patch,watch core pods
 create       core              pods/binding
 delete,note,read apps          controllerrevisions
deployment-controller
 read,update  apps,extensions   deployments
 update       apps,extensions   deployments/status
 update       apps,extensions   deployments/finalizers
 delete,note,read apps,extensions replicasets
 read,update  core              pods
disruption-controller
 read         apps,extensions   deployments
 read         apps,extensions   replicasets
 read         core              replicationcontrollers
 read         policy            poddisruptionbudgets
 read         apps              statefulsets
 update       policy            poddisruptionbudgets/status
 patch,update core              pods/status
 get          *                 */scale
endpoint-controller
 read         core              pods,services
 create,delete,get,list,update core endpoints
 create       core              endpoints/restricted
endpointslice-controller
 read         core              nodes,pods,services
 update       core              services/finalizers
 create,delete,get,list,update discovery.k8s.io endpointslices
endpointslicemirroring-controller
 read         core              endpoints,services
 update       core              services/finalizers
 update       core              endpoints/finalizers
 create,delete,get,list,update discovery.k8s.io endpointslices
ephemeral-volume-controller
 read         core              pods
 update       core              pods/finalizers
 create,read  core              persistentvolumeclaims
expand-controller
 patch,read,update core         persistentvolumes
 patch,update core              persistentvolumeclaims/status
 read         core              persistentvolumeclaims
generic-garbage-collector
 delete,patch,read,update *     *
horizontal-pod-autoscaler
 read         autoscaling       horizontalpodautoscalers
 update       autoscaling       horizontalpodautoscalers/status
 get,update   *                 */scale
 list         core              pods
 list         metrics.k8s.io    pods
 get,list     custom.metrics.k8s.io *
 get,list     external.metrics.k8s.io *
job-controller
 patch,read,update batch        jobs
 update       batch             jobs/status
 update       batch             jobs/finalizers
 create,delete,list,patch,watch core pods
legacy-service-account-token-cleaner silent
 get          core              configmaps kube-apiserver-legacy-service-account-token-tracking
 delete,patch core              secrets
namespace-controller silent
 delete,read  core              namespaces
 update       core              namespaces/finalize,namespaces/status
 delete,deletecollection,get,list * *
node-controller
 delete,get,list,patch,update core nodes
 patch,update core              nodes/status
 patch,update core              pods/status
 delete,get,list core           pods
persistent-volume-binder
 create,delete,read,update core persistentvolumes
 update       core              persistentvolumes/status
 read,update  core              persistentvolumeclaims
 update       core              persistentvolumeclaims/status
 create,delete,read core        pods
 read         storage.k8s.io    storageclasses
 create,delete,get core         endpoints,services
 get,list     core              secrets
 get,list     core              nodes
 watch        core              events
pod-garbage-collector silent
 delete,list,watch core         pods
 get,list     core              nodes
 patch        core              pods/status
pv-protection-controller
 read,update  core              persistentvolumes
pvc-protection-controller
 read,update  core              persistentvolumeclaims
 read         core              pods
replicaset-controller
 read,update  apps,extensions   replicasets
 update       apps,extensions   replicasets/status
 update       apps,extensions   replicasets/finalizers
 create,delete,list,patch,watch core pods
replication-controller
 read,update  core              replicationcontrollers
 update       core              replicationcontrollers/status
 update       core              replicationcontrollers/finalizers
 create,delete,list,patch,watch core pods
resourcequota-controller
 list,watch   *                 *
 update       core              resourcequotas/status
root-ca-cert-publisher
 create,update core             configmaps
route-controller
 list,watch   core              nodes
 patch        core              nodes/status
service-account-controller
 create       core              serviceaccounts
service-controller
 read         core              services
 patch,update core              services/status
 list,watch   core              nodes
statefulset-controller
 list,watch   core              pods
 read         apps              statefulsets
 update       apps              statefulsets/status
 update       apps              statefulsets/finalizers
 create,delete,get,patch,update core pods
 delete,note,read apps          controllerrevisions
 create,get   core              persistentvolumeclaims
ttl-after-finished-controller
 delete,read  batch             jobs
ttl-controller
 list,patch,update,watch core   nodes
";

/// Roles of kube-system, then of kube-public.
const ROLES: [(&str, &str); 2] = [
    (
        "kube-system",
        "
extension-apiserver-authentication-reader
 read         core              configmaps extension-apiserver-authentication
system::leader-locking-kube-controller-manager
 create,read,update coordination.k8s.io leases
 create,read,update coordination.k8s.io leasecandidates
system::leader-locking-kube-scheduler
 create,read,update coordination.k8s.io leases
 create,read,update coordination.k8s.io leasecandidates
system:controller:bootstrap-signer
 read         core              secrets
system:controller:cloud-provider
 create,read  core              configmaps
system:controller:token-cleaner
 delete,read  core              secrets
 note         core,events.k8s.io events
",
    ),
    (
        "kube-public",
        "
system:controller:bootstrap-signer
 read         core              configmaps
 update       core              configmaps cluster-info
 note         core,events.k8s.io events
",
    ),
];

/// Role and whom it is bound to: `g:` a group, `u:` a user, otherwise an account of kube-system.
const CLUSTER_BINDINGS: &[(&str, &[&str])] = &[
    ("cluster-admin", &["g:system:masters"]),
    ("system:basic-user", &["g:system:authenticated"]),
    ("system:discovery", &["g:system:authenticated"]),
    ("system:kube-controller-manager", &["u:system:kube-controller-manager"]),
    ("system:kube-dns", &["kube-dns"]),
    ("system:kube-scheduler", &["u:system:kube-scheduler"]),
    ("system:monitoring", &["g:system:monitoring"]),
    ("system:node", &[]),
    ("system:node-proxier", &["u:system:kube-proxy"]),
    ("system:public-info-viewer", &["g:system:authenticated", "g:system:unauthenticated"]),
    ("system:service-account-issuer-discovery", &["g:system:serviceaccounts"]),
    ("system:volume-scheduler", &["u:system:kube-scheduler"]),
];

/// Namespace, binding, role, and whom it is bound to.
const BINDINGS: &[(&str, &str, &str, &[&str])] = &[
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &["u:system:kube-controller-manager", "u:system:kube-scheduler"],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        &["u:system:kube-controller-manager", "kube-controller-manager", "leader-election-controller"],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        &["u:system:kube-scheduler", "kube-scheduler"],
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &["bootstrap-signer"],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        &["cloud-provider"],
    ),
    ("kube-system", "system:controller:token-cleaner", "system:controller:token-cleaner", &["token-cleaner"]),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &["bootstrap-signer"],
    ),
];

/// An object that every cluster has.
pub struct Wanted {
    /// Its kind.
    pub kind: &'static Kind,
    /// The whole object.
    pub object: Value,
}

/// The ClusterRoles.
pub fn cluster_roles() -> Vec<Wanted> {
    let controllers = roles(CONTROLLERS).map(|(head, mut rules)| {
        let (name, silent) = match head.split_once(' ') {
            Some((name, _)) => (name, true),
            None => (head, false),
        };
        if !silent {
            rules.push(rule(" note core,events.k8s.io events"));
        }
        cluster_role(&format!("system:controller:{name}"), rules)
    });
    roles(CLUSTER_ROLES).map(|(head, rules)| cluster_role(head, rules)).chain(controllers).collect()
}

/// The ClusterRoleBindings; that of administrators is the last.
pub fn cluster_role_bindings() -> Vec<Wanted> {
    let to_role = |name: &str, subjects: &[&str]| {
        let (kind, role) = (&cluster_role_binding::KIND, &cluster_role::KIND);
        Wanted { kind, object: binding(kind, "", name, (role, name), subjects) }
    };
    let controllers = roles(CONTROLLERS).map(|(head, _)| {
        let name = head.split(' ').next().unwrap_or(head);
        to_role(&format!("system:controller:{name}"), &[name])
    });
    controllers.chain(CLUSTER_BINDINGS.iter().rev().map(|(role, to)| to_role(role, to))).collect()
}

/// The Roles and RoleBindings of a namespace.
pub fn of_namespace(namespace: &str) -> Vec<Wanted> {
    let texts = ROLES.iter().filter(|(of, _)| *of == namespace);
    let roles = texts.flat_map(|(_, text)| roles(text)).map(|(name, rules)| {
        let mut object = object(&role::KIND, namespace, name);
        object["rules"] = rules.into();
        Wanted { kind: &role::KIND, object }
    });
    let bindings = BINDINGS.iter().filter(|(of, ..)| *of == namespace).map(|(_, name, to, subjects)| {
        let object = binding(&role_binding::KIND, namespace, name, (&role::KIND, to), subjects);
        Wanted { kind: &role_binding::KIND, object }
    });
    roles.chain(bindings).collect()
}

/// The first line of every role in a text, and its rules.
fn roles(text: &str) -> impl Iterator<Item = (&str, Vec<Value>)> {
    let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
    std::iter::from_fn(move || {
        let head = lines.next()?;
        let mut rules = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            rules.push(rule(line));
        }
        Some((head, rules))
    })
}

fn rule(line: &str) -> Value {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let column = |i: usize| words(columns.get(i).copied().unwrap_or_default());
    if columns.get(1) == Some(&"path") {
        return json!({"nonResourceURLs": column(2), "verbs": column(0)});
    }
    let mut rule = json!({"apiGroups": column(1), "resources": column(2), "verbs": column(0)});
    if columns.len() > 3 {
        rule["resourceNames"] = column(3).into();
    }
    rule
}

/// The words of a column, sorted, as Kubernetes has them.
fn words(column: &str) -> Vec<&str> {
    let meaning = |word| WORDS.iter().find(|(short, _)| *short == word).map(|(_, all)| *all);
    let mut words: Vec<&str> = Vec::new();
    for word in column.split(',') {
        match meaning(word) {
            Some(all) => words.extend(all),
            None => words.push(word),
        }
    }
    words.sort_unstable();
    words.dedup();
    words
}

fn cluster_role(head: &str, rules: Vec<Value>) -> Wanted {
    let mut parts = head.split(' ');
    let mut object = object(&cluster_role::KIND, "", parts.next().unwrap_or_default());
    while let (Some(word), Some(role)) = (parts.next(), parts.next()) {
        let label = format!("{AGGREGATE}{role}");
        if word == "to" {
            object["metadata"]["labels"][&label] = "true".into();
        } else {
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        }
    }
    if !rules.is_empty() {
        object["rules"] = rules.into();
    }
    Wanted { kind: &cluster_role::KIND, object }
}

fn binding(kind: &Kind, namespace: &str, name: &str, role: (&Kind, &str), subjects: &[&str]) -> Value {
    let mut object = object(kind, namespace, name);
    object["roleRef"] = json!({"apiGroup": GROUP, "kind": role.0.kind, "name": role.1});
    let subject = |text: &&str| match text.split_once(':') {
        Some(("g", name)) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        Some(("u", name)) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        _ => json!({"kind": "ServiceAccount", "name": text, "namespace": "kube-system"}),
    };
    if !subjects.is_empty() {
        object["subjects"] = subjects.iter().map(subject).collect();
    }
    object
}

fn object(kind: &Kind, namespace: &str, name: &str) -> Value {
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "annotations": {AUTOUPDATE: "true"},
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        },
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

#[cfg(test)]
mod tests {
    use edge_api::meta;
    use serde_json::json;

    use super::{Wanted, cluster_role_bindings, cluster_roles, of_namespace};

    fn all() -> Vec<Wanted> {
        let mut all = cluster_roles();
        all.extend(cluster_role_bindings());
        all.extend(of_namespace("kube-system"));
        all.extend(of_namespace("kube-public"));
        all
    }

    #[test]
    fn every_default_is_a_good_object() {
        let mut seen = std::collections::BTreeSet::new();
        for Wanted { kind, mut object } in all() {
            let written = object.clone();
            kind.default(&mut object);
            assert_eq!(object, written, "nothing is left to fill in");
            assert_eq!(kind.validate(&object), [], "{object}");
            let place = (kind.kind, meta::namespace(&object).to_owned(), meta::name(&object).to_owned());
            assert!(seen.insert(place), "{object} is there once");
        }
        for Wanted { object, .. } in all().iter().filter(|wanted| wanted.kind.kind.ends_with("Binding")) {
            let role = &object["roleRef"];
            let (kind, name) = (meta::text(role, &["kind"]), meta::text(role, &["name"]));
            let namespace = if kind == "Role" { meta::namespace(object) } else { "" };
            let place = all().into_iter().any(|other| {
                other.kind.kind == kind
                    && (meta::namespace(&other.object), meta::name(&other.object)) == (namespace, name)
            });
            assert!(place, "the role of {object}");
        }
    }

    #[test]
    fn lines_become_rules() {
        let roles = cluster_roles();
        let of =
            |name: &str| roles.iter().find(|role| meta::name(&role.object) == name).map(|role| &role.object);
        assert_eq!(
            of("cluster-admin").map(|role| &role["rules"]),
            Some(&json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]))
        );
        assert_eq!(
            of("system:controller:service-account-controller").map(|role| &role["rules"]),
            Some(&json!([
                {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["create"]},
                {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
            ]))
        );
        assert_eq!(
            of("edit").map(|role| (&role["metadata"]["labels"], &role["aggregationRule"])),
            Some((
                &json!({
                    "kubernetes.io/bootstrapping": "rbac-defaults",
                    "rbac.authorization.k8s.io/aggregate-to-admin": "true",
                }),
                &json!({"clusterRoleSelectors": [
                    {"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}},
                ]}),
            ))
        );
    }
}
