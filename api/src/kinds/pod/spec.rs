//! The typed specification of a Pod: every field that control plane or node reads.

use crate::compact::object;
use crate::int_or_string::IntOrString;
use crate::meta::{LabelSelector, ObjectMeta};
use crate::quantity::Quantity;
use std::collections::BTreeMap;

/// Amounts by the name of a resource (`cpu`, `memory`, `pods` …).
pub type Resources = BTreeMap<String, Quantity>;

object! {
    /// What a controller makes Pods of.
    struct PodTemplateSpec {
        /// Labels and annotations of the Pods.
        metadata: ObjectMeta,
        /// Their specification.
        spec: PodSpec,
    }

    /// What is wished of a Pod.
    struct PodSpec {
        /// Containers that run one after another before the others, and sidecars.
        init_containers: Vec<Container>,
        /// Containers that run side by side.
        containers: Vec<Container>,
        /// Containers that somebody has put into the running Pod to look at it.
        ephemeral_containers: Vec<EphemeralContainer>,
        /// Directories the containers may mount.
        volumes: Vec<Volume>,
        /// `Always`, `OnFailure` or `Never`.
        restart_policy: String,
        /// Seconds from the wish to end to the end.
        termination_grace_period_seconds: Option<i64>,
        /// Seconds the Pod may be active.
        active_deadline_seconds: Option<i64>,
        /// `ClusterFirst`, `ClusterFirstWithHostNet`, `Default` or `None`.
        dns_policy: String,
        /// Further DNS settings.
        dns_config: Option<Box<PodDnsConfig>>,
        /// Labels a node must have.
        node_selector: BTreeMap<String, String>,
        /// Who the Pod is.
        service_account_name: String,
        /// The older name of `service_account_name`.
        service_account: String,
        /// Whether a token is mounted.
        automount_service_account_token: Option<bool>,
        /// The node it is bound to; empty while it is not.
        node_name: String,
        /// Whether it uses the host's network.
        host_network: bool,
        /// Whether it sees the host's processes.
        #[serde(rename = "hostPID")]
        host_pid: bool,
        /// Whether it shares the host's memory segments.
        #[serde(rename = "hostIPC")]
        host_ipc: bool,
        /// Whether its containers see each other's processes.
        share_process_namespace: Option<bool>,
        /// Security settings of all its containers.
        security_context: Option<Box<PodSecurityContext>>,
        /// Secrets with credentials of registries.
        image_pull_secrets: Vec<LocalObjectReference>,
        /// Its host name, if not its own name.
        hostname: String,
        /// The headless Service its host name is under.
        subdomain: String,
        /// Wishes about nodes and neighbours.
        affinity: Option<Box<Affinity>>,
        /// The scheduler that binds it.
        scheduler_name: String,
        /// Taints it bears.
        tolerations: Vec<Toleration>,
        /// Further entries of `/etc/hosts`.
        host_aliases: Vec<HostAlias>,
        /// The name of its priority.
        priority_class_name: String,
        /// Its priority.
        priority: Option<i32>,
        /// Conditions that must be true before it is ready.
        readiness_gates: Vec<PodReadinessGate>,
        /// The name of its runtime class.
        runtime_class_name: Option<String>,
        /// Whether it gets the variables of Services.
        enable_service_links: Option<bool>,
        /// `PreemptLowerPriority` or `Never`.
        preemption_policy: Option<String>,
        /// What the runtime adds to its requests.
        overhead: Resources,
        /// How its like are spread.
        topology_spread_constraints: Vec<TopologySpreadConstraint>,
        /// Whether its host name is its full domain name.
        #[serde(rename = "setHostnameAsFQDN")]
        set_hostname_as_fqdn: Option<bool>,
        /// What holds it back from being scheduled.
        scheduling_gates: Vec<PodSchedulingGate>,
        /// Resources of the Pod as a whole.
        resources: Option<Box<ResourceRequirements>>,
    }

    /// One container.
    struct Container {
        /// Its name, unique in the Pod.
        name: String,
        /// Its image.
        image: String,
        /// The entry point, instead of the image's.
        command: Vec<String>,
        /// Arguments, instead of the image's.
        args: Vec<String>,
        /// Its working directory.
        working_dir: String,
        /// Ports it serves.
        ports: Vec<ContainerPort>,
        /// Sources of many variables.
        env_from: Vec<EnvFromSource>,
        /// Variables.
        env: Vec<EnvVar>,
        /// What it needs and may use.
        resources: ResourceRequirements,
        /// What becomes of the container when a resource changes.
        resize_policy: Vec<ContainerResizePolicy>,
        /// Its own, instead of the Pod's. `Always` makes an init container a sidecar.
        restart_policy: Option<String>,
        /// What follows its end with certain codes; the first that matches counts, before any policy.
        restart_policy_rules: Vec<ContainerRestartRule>,
        /// Volumes it sees.
        volume_mounts: Vec<VolumeMount>,
        /// When it must be restarted.
        liveness_probe: Option<Box<Probe>>,
        /// When it may be sent requests.
        readiness_probe: Option<Box<Probe>>,
        /// When it has started.
        startup_probe: Option<Box<Probe>>,
        /// What is done after its start and before its end.
        lifecycle: Option<Box<Lifecycle>>,
        /// Where it leaves its last words.
        termination_message_path: String,
        /// `File` or `FallbackToLogsOnError`.
        termination_message_policy: String,
        /// `Always`, `IfNotPresent` or `Never`.
        image_pull_policy: String,
        /// Security settings.
        security_context: Option<Box<SecurityContext>>,
        /// Whether its input stays open.
        stdin: bool,
        /// Whether its input closes after the first client.
        stdin_once: bool,
        /// Whether it has a terminal.
        tty: bool,
    }

    /// A container that was put into a running Pod. It has no ports, probes, hooks or resources, and never restarts.
    struct EphemeralContainer {
        /// Its name, unique among all containers of the Pod.
        name: String,
        /// Its image.
        image: String,
        /// The entry point, instead of the image's.
        command: Vec<String>,
        /// Arguments, instead of the image's.
        args: Vec<String>,
        /// Its working directory.
        working_dir: String,
        /// Sources of many variables.
        env_from: Vec<EnvFromSource>,
        /// Variables.
        env: Vec<EnvVar>,
        /// Volumes it sees.
        volume_mounts: Vec<VolumeMount>,
        /// Where it leaves its last words.
        termination_message_path: String,
        /// `File` or `FallbackToLogsOnError`.
        termination_message_policy: String,
        /// `Always`, `IfNotPresent` or `Never`.
        image_pull_policy: String,
        /// Security settings.
        security_context: Option<Box<SecurityContext>>,
        /// Whether its input stays open.
        stdin: bool,
        /// Whether its input closes after the first client.
        stdin_once: bool,
        /// Whether it has a terminal.
        tty: bool,
        /// The container it looks at; its processes are seen, where there are any.
        target_container_name: String,
    }

    /// What becomes of a container when one of its resources changes.
    struct ContainerResizePolicy {
        /// `cpu` or `memory`.
        resource_name: String,
        /// `NotRequired` (also without a policy) or `RestartContainer`.
        restart_policy: String,
    }

    /// What follows a container's end with certain codes.
    struct ContainerRestartRule {
        /// `Restart` or `RestartAllContainers`.
        action: String,
        /// With which.
        exit_codes: Option<ContainerRestartRuleOnExitCodes>,
    }

    /// Some exit codes.
    struct ContainerRestartRuleOnExitCodes {
        /// `In` or `NotIn`.
        operator: String,
        /// These.
        values: Vec<i32>,
    }

    /// A port a container serves.
    struct ContainerPort {
        /// Its name.
        name: String,
        /// A port of the host that leads to it.
        host_port: i32,
        /// The port.
        container_port: i32,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: String,
        /// The host's address.
        #[serde(rename = "hostIP")]
        host_ip: String,
    }

    /// Variables from all keys of an object.
    struct EnvFromSource {
        /// Put before each key.
        prefix: String,
        /// From a ConfigMap.
        config_map_ref: Option<ObjectSource>,
        /// From a Secret.
        secret_ref: Option<ObjectSource>,
    }

    /// An object that must or may be there.
    struct ObjectSource {
        /// Its name.
        name: String,
        /// Whether it may be absent.
        optional: Option<bool>,
    }

    /// One variable.
    struct EnvVar {
        /// Its name.
        name: String,
        /// Its value; `$(OTHER)` refers to earlier ones.
        value: String,
        /// Where the value comes from instead.
        value_from: Option<Box<EnvVarSource>>,
    }

    /// Where a variable's value comes from.
    struct EnvVarSource {
        /// A field of the Pod.
        field_ref: Option<ObjectFieldSelector>,
        /// A resource of a container.
        resource_field_ref: Option<ResourceFieldSelector>,
        /// A key of a ConfigMap.
        config_map_key_ref: Option<KeySelector>,
        /// A key of a Secret.
        secret_key_ref: Option<KeySelector>,
    }

    /// A field of the Pod.
    struct ObjectFieldSelector {
        /// The version the path is written for.
        api_version: String,
        /// Such as `metadata.name` or `metadata.labels['app']`.
        field_path: String,
    }

    /// A resource of a container.
    struct ResourceFieldSelector {
        /// The container; in a variable, its own if empty.
        container_name: String,
        /// Such as `limits.memory`.
        resource: String,
        /// The unit; `1` if absent.
        divisor: Option<Quantity>,
    }

    /// A key of a ConfigMap or Secret.
    struct KeySelector {
        /// The object's name.
        name: String,
        /// The key.
        key: String,
        /// Whether object or key may be absent.
        optional: Option<bool>,
    }

    /// What a container needs and may use.
    struct ResourceRequirements {
        /// The most it may use.
        limits: Resources,
        /// What it is sure to get.
        requests: Resources,
    }

    /// A volume a container sees.
    struct VolumeMount {
        /// The volume.
        name: String,
        /// Whether the container may only read.
        read_only: bool,
        /// `Disabled`, `IfPossible` or `Enabled`.
        recursive_read_only: Option<String>,
        /// Where.
        mount_path: String,
        /// A part of the volume.
        sub_path: String,
        /// A part of the volume, with `$(VARIABLES)`.
        sub_path_expr: String,
        /// How mounts propagate.
        mount_propagation: Option<String>,
    }

    /// A question asked again and again.
    struct Probe {
        /// Ask by running a command.
        exec: Option<ExecAction>,
        /// Ask by HTTP.
        http_get: Option<HttpGetAction>,
        /// Ask by connecting.
        tcp_socket: Option<TcpSocketAction>,
        /// Ask by gRPC.
        grpc: Option<GrpcAction>,
        /// Seconds before the first question.
        initial_delay_seconds: i32,
        /// Seconds an answer may take.
        timeout_seconds: i32,
        /// Seconds between questions.
        period_seconds: i32,
        /// Good answers in a row that make it good.
        success_threshold: i32,
        /// Bad answers in a row that make it bad.
        failure_threshold: i32,
        /// Grace when this probe ends the container.
        termination_grace_period_seconds: Option<i64>,
    }

    /// Running a command.
    struct ExecAction {
        /// The command and its arguments.
        command: Vec<String>,
    }

    /// Asking by HTTP.
    struct HttpGetAction {
        /// The path.
        path: String,
        /// Number or name of the port.
        port: IntOrString,
        /// The host, if not the Pod.
        host: String,
        /// `HTTP` or `HTTPS`.
        scheme: String,
        /// Headers.
        http_headers: Vec<HttpHeader>,
    }

    /// A header.
    struct HttpHeader {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    }

    /// Connecting.
    struct TcpSocketAction {
        /// Number or name of the port.
        port: IntOrString,
        /// The host, if not the Pod.
        host: String,
    }

    /// Asking by gRPC.
    struct GrpcAction {
        /// The port.
        port: i32,
        /// The service asked about.
        service: Option<String>,
    }

    /// What is done after the start and before the end of a container.
    struct Lifecycle {
        /// After the start.
        post_start: Option<LifecycleHandler>,
        /// Before the end.
        pre_stop: Option<LifecycleHandler>,
        /// The signal that ends it.
        stop_signal: Option<String>,
    }

    /// One thing to do.
    struct LifecycleHandler {
        /// Run a command.
        exec: Option<ExecAction>,
        /// Send a request.
        http_get: Option<HttpGetAction>,
        /// Connect; never carried out, as in Kubernetes.
        tcp_socket: Option<TcpSocketAction>,
        /// Wait.
        sleep: Option<SleepAction>,
    }

    /// Waiting.
    struct SleepAction {
        /// So many seconds.
        seconds: i64,
    }

    /// Security settings of a container.
    struct SecurityContext {
        /// Whether it is as good as the host.
        privileged: Option<bool>,
        /// The user it runs as.
        run_as_user: Option<i64>,
        /// The group it runs as.
        run_as_group: Option<i64>,
        /// Whether it must not run as root.
        run_as_non_root: Option<bool>,
        /// Whether its own files are read-only.
        read_only_root_filesystem: Option<bool>,
        /// Whether it may gain privileges.
        allow_privilege_escalation: Option<bool>,
    }

    /// Security settings of a Pod.
    struct PodSecurityContext {
        /// The user its containers run as.
        run_as_user: Option<i64>,
        /// The group its containers run as.
        run_as_group: Option<i64>,
        /// Whether they must not run as root.
        run_as_non_root: Option<bool>,
        /// The group its volumes belong to.
        fs_group: Option<i64>,
        /// Further groups.
        supplemental_groups: Vec<i64>,
    }

    /// A reference by name in the same namespace.
    struct LocalObjectReference {
        /// The name.
        name: String,
    }

    /// Further DNS settings.
    struct PodDnsConfig {
        /// Addresses of servers.
        nameservers: Vec<String>,
        /// Domains names are tried under.
        searches: Vec<String>,
        /// Options such as `ndots`.
        options: Vec<PodDnsConfigOption>,
    }

    /// A DNS option.
    struct PodDnsConfigOption {
        /// Its name.
        name: String,
        /// Its value.
        value: Option<String>,
    }

    /// Names of an address.
    struct HostAlias {
        /// The address.
        ip: String,
        /// The names.
        hostnames: Vec<String>,
    }

    /// A condition that must be true before a Pod is ready.
    struct PodReadinessGate {
        /// The condition's type.
        condition_type: String,
    }

    /// What holds a Pod back from being scheduled.
    struct PodSchedulingGate {
        /// Its name.
        name: String,
    }

    /// A taint a Pod bears.
    struct Toleration {
        /// The taint's key; empty with `Exists` for every key.
        key: String,
        /// `Equal` (also if empty), `Exists`, `Lt` or `Gt`.
        operator: String,
        /// The taint's value.
        value: String,
        /// The taint's effect; empty for every one.
        effect: String,
        /// How long `NoExecute` is borne; for ever if absent.
        toleration_seconds: Option<i64>,
    }

    /// Wishes about nodes and neighbours.
    struct Affinity {
        /// About nodes.
        node_affinity: Option<NodeAffinity>,
        /// Near which Pods.
        pod_affinity: Option<PodAffinity>,
        /// Away from which Pods.
        pod_anti_affinity: Option<PodAffinity>,
    }

    /// Wishes about nodes.
    struct NodeAffinity {
        /// What a node must be.
        required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
        /// What a node should be.
        preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
    }

    /// Any of some terms.
    struct NodeSelector {
        /// The terms.
        node_selector_terms: Vec<NodeSelectorTerm>,
    }

    /// All of some requirements. An empty term matches no node.
    struct NodeSelectorTerm {
        /// Of labels.
        match_expressions: Vec<NodeSelectorRequirement>,
        /// Of fields (`metadata.name`).
        match_fields: Vec<NodeSelectorRequirement>,
    }

    /// One requirement of a node.
    struct NodeSelectorRequirement {
        /// The label or field.
        key: String,
        /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`.
        operator: String,
        /// Its values.
        values: Vec<String>,
    }

    /// A weighted wish about nodes.
    struct PreferredSchedulingTerm {
        /// 1 to 100.
        weight: i32,
        /// The wish.
        preference: NodeSelectorTerm,
    }

    /// Wishes about neighbours.
    struct PodAffinity {
        /// What must be.
        required_during_scheduling_ignored_during_execution: Vec<PodAffinityTerm>,
        /// What should be.
        preferred_during_scheduling_ignored_during_execution: Vec<WeightedPodAffinityTerm>,
    }

    /// A weighted wish about neighbours.
    struct WeightedPodAffinityTerm {
        /// 1 to 100.
        weight: i32,
        /// The wish.
        pod_affinity_term: PodAffinityTerm,
    }

    /// Some Pods and a domain of nodes.
    struct PodAffinityTerm {
        /// Which Pods; none if absent.
        label_selector: Option<LabelSelector>,
        /// In which namespaces; the Pod's own if both are absent.
        namespaces: Vec<String>,
        /// In namespaces with which labels.
        namespace_selector: Option<LabelSelector>,
        /// The label whose value is the domain.
        topology_key: String,
    }

    /// How like Pods are spread.
    struct TopologySpreadConstraint {
        /// The most one domain may be ahead.
        max_skew: i32,
        /// The label whose value is the domain.
        topology_key: String,
        /// `DoNotSchedule` or `ScheduleAnyway`.
        when_unsatisfiable: String,
        /// Which Pods count.
        label_selector: Option<LabelSelector>,
        /// The fewest domains.
        min_domains: Option<i32>,
    }

    /// A directory containers may mount. Exactly one source is set.
    struct Volume {
        /// Its name, unique in the Pod.
        name: String,
        /// Keys of a ConfigMap.
        config_map: Option<Box<ConfigMapVolumeSource>>,
        /// Keys of a Secret.
        secret: Option<Box<SecretVolumeSource>>,
        /// A directory that lives as long as the Pod.
        empty_dir: Option<EmptyDirVolumeSource>,
        /// A path of the host.
        host_path: Option<HostPathVolumeSource>,
        /// Several sources in one.
        projected: Option<Box<ProjectedVolumeSource>>,
        /// Fields of the Pod.
        #[serde(rename = "downwardAPI")]
        downward_api: Option<Box<DownwardApiVolumeSource>>,
        /// A claim.
        persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
        /// A claim that lives as long as the Pod and is named after it and the volume.
        ephemeral: Option<EphemeralVolumeSource>,
        /// Content of an OCI image.
        image: Option<ImageVolumeSource>,
    }

    /// Keys of a ConfigMap as files.
    struct ConfigMapVolumeSource {
        /// The ConfigMap.
        name: String,
        /// Which keys; all if empty.
        items: Vec<KeyToPath>,
        /// Mode of the files.
        default_mode: Option<i32>,
        /// Whether it may be absent.
        optional: Option<bool>,
    }

    /// Keys of a Secret as files.
    struct SecretVolumeSource {
        /// The Secret.
        secret_name: String,
        /// Which keys; all if empty.
        items: Vec<KeyToPath>,
        /// Mode of the files.
        default_mode: Option<i32>,
        /// Whether it may be absent.
        optional: Option<bool>,
    }

    /// A key and its file.
    struct KeyToPath {
        /// The key.
        key: String,
        /// The file, relative.
        path: String,
        /// Its mode.
        mode: Option<i32>,
    }

    /// A directory that lives as long as the Pod.
    struct EmptyDirVolumeSource {
        /// Empty or `Memory`.
        medium: String,
        /// The most it may hold.
        size_limit: Option<Quantity>,
    }

    /// A path of the host.
    struct HostPathVolumeSource {
        /// The path.
        path: String,
        /// What must be there (`Directory`, `FileOrCreate` …); empty asks nothing.
        #[serde(rename = "type")]
        type_: Option<String>,
    }

    /// Several sources in one directory.
    struct ProjectedVolumeSource {
        /// The sources.
        sources: Vec<VolumeProjection>,
        /// Mode of the files.
        default_mode: Option<i32>,
    }

    /// One source of a projected volume.
    struct VolumeProjection {
        /// Keys of a ConfigMap.
        config_map: Option<ObjectProjection>,
        /// Keys of a Secret.
        secret: Option<ObjectProjection>,
        /// Fields of the Pod.
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardApiProjection>,
        /// A token.
        service_account_token: Option<ServiceAccountTokenProjection>,
    }

    /// Keys of a ConfigMap or Secret.
    struct ObjectProjection {
        /// The object.
        name: String,
        /// Which keys; all if empty.
        items: Vec<KeyToPath>,
        /// Whether it may be absent.
        optional: Option<bool>,
    }

    /// Fields of the Pod as files.
    struct DownwardApiProjection {
        /// The files.
        items: Vec<DownwardApiVolumeFile>,
    }

    /// Fields of the Pod as files.
    struct DownwardApiVolumeSource {
        /// The files.
        items: Vec<DownwardApiVolumeFile>,
        /// Mode of the files.
        default_mode: Option<i32>,
    }

    /// One field as a file.
    struct DownwardApiVolumeFile {
        /// The file, relative.
        path: String,
        /// The field.
        field_ref: Option<ObjectFieldSelector>,
        /// The resource.
        resource_field_ref: Option<ResourceFieldSelector>,
        /// Its mode.
        mode: Option<i32>,
    }

    /// A token of the Pod's ServiceAccount.
    struct ServiceAccountTokenProjection {
        /// Who may be shown it; the API server if empty.
        audience: String,
        /// How long it holds.
        expiration_seconds: Option<i64>,
        /// The file, relative.
        path: String,
    }

    /// A claim on a volume.
    struct PersistentVolumeClaimVolumeSource {
        /// The claim.
        claim_name: String,
        /// Whether it may only be read.
        read_only: bool,
    }

    /// A claim that is made for the Pod. What it asks for is read by who makes it.
    struct EphemeralVolumeSource {
    }

    /// Content of an OCI image.
    struct ImageVolumeSource {
        /// The image.
        reference: String,
        /// When it is pulled.
        pull_policy: String,
    }
}

impl PodSpec {
    /// Every container: init containers first, then the others.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// The names of all containers, also of those that were put into the running Pod.
    pub fn container_names(&self) -> impl Iterator<Item = &str> {
        let ephemeral = self.ephemeral_containers.iter().map(|container| container.name.as_str());
        self.all_containers().map(|container| container.name.as_str()).chain(ephemeral)
    }
}

impl Volume {
    /// The claim that it is of, in a Pod of this name, and whether it may only be read.
    pub fn claim(&self, pod: &str) -> Option<(String, bool)> {
        match (&self.persistent_volume_claim, &self.ephemeral) {
            (Some(source), _) => Some((source.claim_name.clone(), source.read_only)),
            (None, Some(_)) => Some((format!("{pod}-{}", self.name), false)),
            (None, None) => None,
        }
    }
}

impl ContainerRestartRule {
    /// Whether it is about an end with this code.
    pub fn matches(&self, code: i32) -> bool {
        self.exit_codes.as_ref().is_some_and(|codes| match codes.operator.as_str() {
            "In" => codes.values.contains(&code),
            "NotIn" => !codes.values.contains(&code),
            _ => false,
        })
    }
}

impl Container {
    /// Whether an init container runs beside the others instead of before them.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}
