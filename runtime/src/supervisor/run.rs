//! Carrying out what the machine wants of one container: get its image, start it, wait for its end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use edge_api::kinds::pod::{Container, LifecycleHandler, Pod, VolumeMount};
use edge_api::quantity::Quantity;
use tokio::task::JoinHandle;

use crate::code::CodeError;
use crate::image::{Image, ImageError, Presence, PullPolicy};
use crate::log::LogKey;
use crate::net::PodNet;
use crate::sandbox::{Code, ContainerSpec, Exit, HttpOptions, Input, LoadError, Output, Preopen};
use crate::supervisor::context::{Active, Context};
use crate::supervisor::env::{self, Variables};
use crate::supervisor::life::Failure;
use crate::supervisor::machine::{Event, Hook, ImageFound, Started};
use crate::supervisor::message::{self, MessageFile};
use crate::supervisor::{crew, hook, probe};
use crate::volume::Mounts;

/// Chunks of output that wait for the disk before the guest does.
const CHUNKS: usize = 32;
/// The annotation by which a Pod asks for core dumps.
pub const CORE_DUMP: &str = "edgectl.dev/core-dump";
/// Where a component serves if its container names no port.
const DEFAULT_PORT: u16 = 8080;
/// How much of a log explains a failure.
const LAST_LINES: usize = 80;
/// And at most so many bytes.
const LAST_BYTES: usize = 2048;

/// Gets a container's image and says so. `again` is whether this Pod has run it before.
pub async fn fetch(context: Arc<Context>, index: usize, container: Container, again: bool) {
    let result = match image(&context, &container, again).await {
        Ok(image) => {
            let found = ImageFound { name: container.image.as_str().into(), id: image.id.clone() };
            context.images.lock()[index] = Some(image);
            Ok(found)
        }
        Err(error) => Err(Failure { reason: error.reason(), message: message(&container, &error) }),
    };
    context.send(Event::Image(index, result));
}

fn message(container: &Container, error: &ImageError) -> String {
    match error {
        ImageError::Reference(error) => {
            format!("Failed to apply default image tag {:?}: {error}", container.image)
        }
        error => error.to_string(),
    }
}

async fn image(context: &Context, container: &Container, again: bool) -> Result<Image, ImageError> {
    let name = &container.image;
    let images = &context.host.images;
    match images.find(name, PullPolicy::of(&container.image_pull_policy))? {
        Presence::Here(image) => {
            let message = format!("Container image {name:?} already present on machine");
            context.tell(Some(container), false, "Pulled", &message);
            Ok(*image)
        }
        Presence::Absent => {
            context.tell(Some(container), false, "Pulling", &format!("Pulling image {name:?}"));
            let begun = tokio::time::Instant::now();
            match images.fetch(name, &context.credentials()).await {
                Ok(image) => {
                    let (took, size) = (elapsed(begun.elapsed()), image.size);
                    let message = format!(
                        "Successfully pulled image {name:?} in {took} ({took} including waiting). Image size: {size} bytes."
                    );
                    context.tell(Some(container), false, "Pulled", &message);
                    Ok(image)
                }
                // What this very Pod ran before it may run again, whatever became of its source.
                Err(error) => match images.kept(name).filter(|_| again) {
                    Some(image) => Ok(image),
                    None => Err(error),
                },
            }
        }
    }
}

/// A time to the millisecond, as Kubernetes writes it: `7ms`, `1.234s`, `1m23.45s`.
fn elapsed(time: Duration) -> String {
    match u64::try_from(time.as_millis()).unwrap_or(u64::MAX) {
        0 => "0s".to_owned(),
        millis if millis < 60_000 => format!("{:?}", Duration::from_millis(millis)),
        millis => format!("{}m{}s", millis / 60_000, Duration::from_millis(millis % 60_000).as_secs_f64()),
    }
}

/// Starts a container's run, says so, waits for its end and says that too.
pub async fn start(context: Arc<Context>, index: usize, container: Arc<Container>, run: u32) {
    // In a box: a beginning is large and short, a run is long.
    let begun = match Box::pin(begin(&context, index, &container, run)).await {
        Ok(begun) => begun,
        Err(failure) => return context.send(Event::Started(index, Err(failure))),
    };
    let active = Arc::new(begun.active);
    context.active.lock()[index] = Some(active.clone());
    if !env::names(&container).is_empty() {
        // What has changed since its variables were read.
        configure(&context);
    }
    let enrolled =
        context.host.roster.enrol(context.name.clone(), container.name.clone(), active.running.meter());
    context.send(Event::Started(
        index,
        Ok(Started {
            id: format!("edgectl://{}", uuid::Uuid::new_v4().simple()),
            resources: container.resources.clone(),
            has_hook: post_start(&container).is_some(),
            has_startup: container.startup_probe.is_some(),
            has_readiness: container.readiness_probe.is_some(),
        }),
    ));
    let words = LastWords::new(&context, &container, run, begun.message);
    // Most have no company, and most of what a node keeps in memory are containers that run.
    let company =
        has_company(&container).then(|| Box::pin(beside(context.clone(), index, container.clone())));
    drop(container);
    let mut exit = match company {
        None => active.running.exited().await,
        Some(company) => tokio::select! {
            exit = active.running.exited() => exit,
            never = company => match never {},
        },
    };
    context.active.lock()[index] = None;
    drop(enrolled);
    drop(active);
    // The log is complete when the last handle on the container's output is gone.
    let _ = tokio::time::timeout(Duration::from_secs(1), begun.log).await;
    exit.message = words.of(&exit, &context);
    context.send(Event::Exited(index, exit));
}

/// Whether anything goes on beside a container's run.
fn has_company(container: &Container) -> bool {
    let probes = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
    post_start(container).is_some() || probes.iter().any(|probe| probe.is_some())
}

/// What goes on beside a run: its `postStart`, and when that is done its probes.
async fn beside(context: Arc<Context>, index: usize, container: Arc<Container>) -> Infallible {
    if let Some(handler) = post_start(&container) {
        let result = Box::pin(hook::run(&context, index, &container, handler)).await;
        let ended = if result.is_ok() { Hook::Done } else { Hook::Failed };
        context.send(Event::PostStart(index, ended));
        if ended == Hook::Failed {
            return std::future::pending().await;
        }
    }
    probe::all(&context, index, &container).await
}

fn post_start(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.post_start.as_ref()
}

/// Where the message of a run's end comes from.
struct LastWords {
    file: Option<MessageFile>,
    /// The run whose log's end serves for want of another message, if that is wanted.
    log: Option<(LogKey, u32)>,
}

impl LastWords {
    fn new(context: &Context, container: &Container, run: u32, file: Option<MessageFile>) -> LastWords {
        let wants_log = container.termination_message_policy == "FallbackToLogsOnError";
        LastWords { file, log: wants_log.then(|| (log_key(context, container), run)) }
    }

    /// What the container left, why it trapped, or else the end of its log.
    fn of(&self, exit: &Exit, context: &Context) -> String {
        let mut words = self.file.as_ref().map(MessageFile::read).unwrap_or_default();
        if !exit.message.is_empty() {
            if !words.is_empty() && !words.ends_with('\n') {
                words.push('\n');
            }
            words.push_str(&exit.message);
        }
        if let Some((key, run)) = &self.log
            && words.is_empty()
            && exit.code != 0
        {
            words = context.host.logs.last_words(key, *run, LAST_LINES, LAST_BYTES);
        }
        message::shortened(words)
    }
}

struct Begun {
    active: Active,
    message: Option<MessageFile>,
    log: JoinHandle<()>,
}

fn config(error: impl std::fmt::Display) -> Failure {
    Failure { reason: "CreateContainerConfigError", message: error.to_string() }
}

fn create(error: impl std::fmt::Display) -> Failure {
    Failure { reason: "CreateContainerError", message: error.to_string() }
}

/// What an instance of a container's module needs before it can be started.
pub struct Prepared {
    /// The module.
    pub code: Code,
    /// Directories that are held while it runs.
    pub holds: Vec<std::os::fd::OwnedFd>,
    /// Where it says why it ended, if it is a process.
    message: Option<MessageFile>,
    pod: Arc<Pod>,
    args: Vec<String>,
    variables: Variables,
    preopens: Vec<Preopen>,
    net: PodNet,
}

impl Prepared {
    /// What the container itself is started as.
    pub fn program(&self) -> &str {
        self.args.first().map(String::as_str).unwrap_or_default()
    }

    /// An instance with these arguments and streams.
    pub fn spec(
        &self,
        container: &Container,
        args: Vec<String>,
        stdin: Input,
        stdout: Output,
        stderr: Output,
    ) -> ContainerSpec {
        ContainerSpec {
            name: container.name.clone(),
            args,
            env: self.variables.clone().into_pairs(),
            preopens: self.preopens.clone(),
            stdin,
            stdout,
            stderr,
            net: self.net.clone(),
            memory_limit: memory_limit(container),
            cpu_limit: cpu_limit(container),
            http: http_options(&self.pod),
            core_dump: None,
        }
    }
}

/// Finds out what a container's instances get: code, arguments, variables (if they are not `known`), directories,
/// network.
pub async fn prepare(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    known: Option<Variables>,
) -> Result<Prepared, Failure> {
    let host = &context.host;
    let pod = context.pod.load_full();
    let image = context.images.lock()[index].clone().ok_or_else(|| create("the image is gone"))?;
    let net = context.net.get().cloned().ok_or_else(|| create("the Pod has no network"))?;
    let variables = match known {
        Some(variables) => variables,
        None => environment(context, &pod, container, &image)?,
    };
    let args = env::arguments(container, &image.run, &image.name, &variables);
    let expand = |mount: &VolumeMount| match mount.sub_path_expr.as_str() {
        "" => mount.sub_path.clone(),
        expression => variables.expand(expression),
    };
    let claims = context.claims.lock().clone();
    let Mounts { mut preopens, holds } = host
        .volumes
        .mounts(&context.name.uid, container, &pod.spec.volumes, &claims, expand)
        .map_err(config)?;
    let code = host.code.load(&host.engine, &image.path).await.map_err(|error| unloadable(&error))?;
    let message = match code.shape().is_http() {
        // A server ends only when it is killed, and its instances are many: one directory fewer for each.
        true => None,
        false => message_file(context, container, &mut preopens).map_err(create)?,
    };
    Ok(Prepared { code, holds, message, pod, args, variables, preopens, net })
}

fn message_file(
    context: &Context,
    container: &Container,
    preopens: &mut Vec<Preopen>,
) -> io::Result<Option<MessageFile>> {
    let own = context.host.volumes.messages(&context.name.uid).join(&container.name);
    let file = MessageFile::new(&container.termination_message_path, preopens, own);
    if let Some(file) = &file {
        file.make()?;
        preopens.extend(file.preopen());
    }
    Ok(file)
}

async fn begin(
    context: &Arc<Context>,
    index: usize,
    container: &Container,
    run: u32,
) -> Result<Begun, Failure> {
    let host = &context.host;
    let prepared = prepare(context, index, container, None).await?;
    if let Some(file) = &prepared.message {
        file.clear().map_err(create)?;
    }
    let writer = host.logs.writer(&log_key(context, container), run).map_err(create)?;
    let audience = writer.audience();
    let (mut stdin, feed) = match container.stdin {
        true => Some(Input::pipe()).unzip(),
        false => (None, None),
    };
    let (mut stdout, out) = Output::channel(CHUNKS);
    let (mut stderr, err) = Output::channel(CHUNKS);
    if container.tty {
        stdin = stdin.map(Input::on_terminal);
        stdout = stdout.on_terminal();
        stderr = stdout.clone();
    }
    let log = tokio::spawn(writer.run(out, err));
    let stdin = stdin.unwrap_or_default();
    let mut spec = prepared.spec(container, prepared.args.clone(), stdin, stdout, stderr);
    let wanted = prepared.pod.metadata.annotations.get(CORE_DUMP).is_some_and(|value| value == "true");
    spec.core_dump = wanted.then(|| host.logs.core_dump(&log_key(context, container)));
    let running = host
        .engine
        .start(&prepared.code, spec)
        .map_err(|error| Failure { reason: "RunContainerError", message: chain(&error) })?;
    let serving = match running.http() {
        Some(handler) => {
            let port = http_port(container);
            let serving = prepared.net.serve_http(port, handler).map_err(|error| Failure {
                reason: "RunContainerError",
                message: format!("cannot serve HTTP on port {port}: {error}"),
            })?;
            Some(serving)
        }
        None => None,
    };
    let serving = parking_lot::Mutex::new(serving);
    let let_go = AtomicBool::new(false);
    let (variables, holds) = (prepared.variables, prepared.holds);
    let active = Active { running, serving, feed, audience, let_go, variables, holds };
    Ok(Begun { active, message: prepared.message, log })
}

fn environment(
    context: &Context,
    pod: &Pod,
    container: &Container,
    image: &Image,
) -> Result<Variables, Failure> {
    let services = context.host.services.all();
    let links = pod.spec.enable_service_links != Some(false);
    let services = env::services(services.iter().map(AsRef::as_ref), &context.name.namespace, links);
    let objects = |source, name: &str| context.lookup(source, name);
    let mut variables =
        env::environment(container, &image.run, services, &context.facts(pod), &objects).map_err(config)?;
    if variables.get("HOSTNAME").is_none() {
        let domain = context.host.network.resolver().cluster_domain().to_owned();
        variables.set("HOSTNAME", hostname(pod, &domain).map_err(config)?);
    }
    Ok(variables)
}

/// Shows containers that run what their variables would be if they began now, by `wasi:config`. What is not there any
/// more they go on to see as it was.
pub fn configure(context: &Context) {
    let pod = context.pod.load_full();
    let all = context.active.lock().clone();
    for (index, active) in all.into_iter().enumerate() {
        let (Some(active), Some(container)) = (active, crew::at(&pod, index)) else { continue };
        let Some(image) = context.images.lock()[index].clone() else { continue };
        if let Ok(variables) = environment(context, &pod, &container, &image) {
            active.running.configure(variables.into_pairs());
        }
    }
}

/// What a Pod calls itself. Linux allows 64 characters.
fn hostname(pod: &Pod, domain: &str) -> Result<String, String> {
    let (spec, meta) = (&pod.spec, &pod.metadata);
    let own = if spec.hostname.is_empty() { &meta.name } else { &spec.hostname };
    let own = own.get(..63).unwrap_or(own).trim_end_matches(['-', '.']);
    if spec.set_hostname_as_fqdn != Some(true) || spec.subdomain.is_empty() {
        return Ok(own.to_owned());
    }
    let full = format!("{own}.{}.{}.svc.{domain}", spec.subdomain, meta.namespace);
    if full.len() <= 64 {
        return Ok(full);
    }
    Err(format!(
        "Failed to construct FQDN from Pod hostname and cluster domain, FQDN {full} is too long (64 characters is the \
         max, {} characters requested)",
        full.len()
    ))
}

fn unloadable(error: &CodeError) -> Failure {
    let reason = match error {
        CodeError::Load(LoadError::WasiVersionNotEnabled(_)) => "WasiVersionNotEnabled",
        _ => "CreateContainerError",
    };
    Failure { reason, message: chain(error) }
}

/// An error with all that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn memory_limit(container: &Container) -> Option<u64> {
    limit(container, "memory").map(Quantity::bytes).filter(|bytes| *bytes > 0)
}

/// In thousandths of a core.
fn cpu_limit(container: &Container) -> Option<u32> {
    let milli = limit(container, "cpu").map(Quantity::milli)?;
    u32::try_from(milli).ok().filter(|milli| *milli > 0)
}

fn limit<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    container.resources.limits.get(name)
}

/// The first TCP port that the container names.
pub fn http_port(container: &Container) -> u16 {
    let tcp = |protocol: &str| matches!(protocol, "" | "TCP");
    let port = container.ports.iter().find(|port| tcp(&port.protocol)).map(|port| port.container_port);
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT)
}

fn http_options(pod: &Pod) -> HttpOptions {
    let annotation = |name: &str| pod.metadata.annotations.get(&format!("edgectl.dev/{name}"));
    let reuse = annotation("http-reuse").is_some_and(|value| value == "true");
    let mut options = HttpOptions { reuse, ..HttpOptions::default() };
    if let Some(most) =
        annotation("http-concurrency").and_then(|value| value.parse().ok()).filter(|most| *most > 0)
    {
        options.max_concurrent = most;
    }
    if let Some(seconds) = annotation("http-timeout-seconds").and_then(|value| value.parse().ok()) {
        options.request_timeout = Duration::from_secs(seconds);
    }
    options
}

/// Which log is the container's.
pub fn log_key(context: &Context, container: &Container) -> LogKey {
    let name = &context.name;
    LogKey::new(&name.namespace, &name.name, &name.uid, &container.name)
}

/// Gives a container that runs the limits it is to have; or says why it cannot have them.
pub fn resize(context: &Context, index: usize, container: &Container) -> Result<(), String> {
    let active = context.active.lock()[index].clone().ok_or("the container does not run")?;
    let limit = memory_limit(container);
    if active.running.limit(limit, cpu_limit(container)) {
        return Ok(());
    }
    let used = active.running.usage().memory;
    Err(format!("cannot decrease memory limits: {used} bytes are in use, {} are allowed", limit.unwrap_or(0)))
}

/// Ends a container's run; answers whether there was one.
pub fn kill(context: &Context, index: usize) -> bool {
    let active = context.active.lock()[index].clone();
    if let Some(active) = &active {
        drop(active.serving.lock().take());
        active.running.kill();
    }
    active.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::hostname;

    #[test]
    fn a_pod_calls_itself_by_its_short_or_its_full_name() {
        let named = |name: &str, spec: Value| {
            let pod = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
            hostname(&serde_json::from_value(pod).expect("a Pod"), "cluster.local")
        };
        assert_eq!(named("web-0", json!({})).as_deref(), Ok("web-0"));
        assert_eq!(named("web-0", json!({"hostname": "db", "subdomain": "dbs"})).as_deref(), Ok("db"));
        let full = json!({"subdomain": "dbs", "setHostnameAsFQDN": true});
        assert_eq!(named("web-0", full.clone()).as_deref(), Ok("web-0.dbs.shop.svc.cluster.local"));
        assert!(
            named(&"x".repeat(40), full)
                .expect_err("too long")
                .contains("is too long (64 characters is the max, 67")
        );
        let long = format!("{}-rest", "x".repeat(62));
        assert_eq!(named(&long, json!({})), Ok("x".repeat(62)));
    }
}
