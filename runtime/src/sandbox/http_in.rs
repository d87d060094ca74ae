//! Handlers: a request in, an instance called, a response out.
//!
//! Without reuse every request gets a fresh instance; with it, instances that answered well wait
//! for the next request, one request at a time each. What is over the limit of concurrent
//! requests waits, and what is over the limit of waiting ones is refused unexecuted.
//!
//! The instance lives in a task on the guests' threads, owned by whoever owns the response: a
//! client that goes away takes the instance with it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::http::{Body, BodyError, Handler, HandlerError, Request, Response, SharedHandler};
use crate::sandbox::command;
use crate::sandbox::container::{Container, Exit};
use crate::sandbox::core_dump;
use crate::sandbox::host::Host;
use crate::sandbox::http_out::body_out;
use crate::sandbox::loaded::{Code, Ready};
use crate::sandbox::shared::Shared;

/// Idle instances kept for reuse.
const MOST_IDLE: usize = 64;
/// How long a guest goes on whose client left while the response was under way.
const GRACE: Duration = Duration::from_millis(500);

/// One container that serves.
pub(super) struct Server(Arc<Inner>);

struct Inner {
    engine: Arc<Shared>,
    code: Code,
    container: Arc<Container>,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    idle: Mutex<Vec<Instance>>,
}

struct Instance {
    store: Store<Host>,
    guest: Guest,
}

enum Guest {
    P2(Proxy),
    P3(Service),
}

type Head = oneshot::Sender<Result<http::Response<WasiBody>, HandlerError>>;

impl Server {
    /// A server that has no instance yet.
    pub(super) fn new(engine: Arc<Shared>, code: Code, container: Arc<Container>) -> Server {
        let slots = Arc::new(Semaphore::new(container.spec.http.max_concurrent.max(1)));
        let idle = Mutex::new(Vec::new());
        let waiting = AtomicUsize::new(0);
        Server(Arc::new(Inner { engine, code, container, slots, waiting, idle }))
    }

    /// The way in.
    pub(super) fn handler(&self) -> SharedHandler {
        Arc::new(Entrance(Arc::clone(&self.0)))
    }

    /// Waits until it has been killed and every instance is gone.
    pub(super) async fn ended(self) -> Exit {
        let inner = self.0;
        inner.container.killed.cancelled().await;
        let all = u32::try_from(inner.container.spec.http.max_concurrent.max(1)).unwrap_or(u32::MAX);
        // Closed semaphores do not happen here; either way nobody runs any more.
        let _ = inner.slots.acquire_many(all).await;
        inner.idle.lock().clear();
        Exit::killed()
    }
}

struct Entrance(Arc<Inner>);

impl Handler for Entrance {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, HandlerError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.call(request).await })
    }
}

impl Inner {
    async fn call(self: Arc<Self>, request: Request) -> Result<Response, HandlerError> {
        let slot = match self.slot().await {
            Ok(slot) => slot,
            Err(reason) => return Err(HandlerError::refused(reason, request)),
        };
        self.container.requests.fetch_add(1, Ordering::Relaxed);
        let limit = self.container.spec.http.request_timeout;
        let (sender, head) = oneshot::channel();
        let handle = self.engine.handle.clone();
        let mut task = Task(Some(handle.spawn(Arc::clone(&self).serve(request, sender, slot))));
        let result = match tokio::time::timeout(limit, head).await {
            Err(_) => Err(HandlerError::Timeout),
            Ok(Ok(head)) => head,
            // The guest ended without a head; its task knows why.
            Ok(Err(_)) => Err(task.failure().await),
        };
        match result {
            Ok(response) => Ok(response
                .map(|body| Body::new(Streamed { body, task, ended: false, trailing: limit, handle }))),
            Err(error) => {
                self.container.failed_requests.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The right to run one request.
    async fn slot(&self) -> Result<Slot, &'static str> {
        let killed = &self.container.killed;
        if killed.is_cancelled() {
            return Err("stopped");
        }
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot::new(slot, &self.container));
        }
        let _waiting = Waiting::enter(&self.waiting, self.container.spec.http.max_concurrent)
            .ok_or("too many requests wait")?;
        tokio::select! {
            biased;
            () = killed.cancelled() => Err("stopped"),
            slot = Arc::clone(&self.slots).acquire_owned() => match slot {
                Ok(slot) => Ok(Slot::new(slot, &self.container)),
                Err(_) => Err("stopped"),
            },
        }
    }

    /// One request from its beginning to the end of the guest's work for it.
    async fn serve(self: Arc<Self>, request: Request, head: Head, slot: Slot) -> Result<(), HandlerError> {
        let guest = self.engine.lanes.metered(Arc::clone(&self.container.cpu), {
            let inner = Arc::clone(&self);
            async move { inner.instance(request, head).await }
        });
        let (result, by_itself) = tokio::select! {
            biased;
            () = self.container.killed.cancelled() => {
                (Err(HandlerError::Failed("the container was stopped".into())), false)
            }
            result = guest => (result, true),
        };
        drop(slot);
        if let Err(HandlerError::Failed(message)) = &result
            && by_itself
        {
            let words = self.container.spec.stderr.say(format!("{message}\n"));
            // The client does not wait for a full log: the head has been dropped before.
            let _ = tokio::time::timeout(GRACE, words).await;
        }
        result
    }

    async fn instance(&self, request: Request, head: Head) -> Result<(), HandlerError> {
        let kept = self.idle.lock().pop();
        let mut instance = match kept {
            Some(instance) => instance,
            None => match self.instantiate().await {
                Ok(instance) => instance,
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "no instance for a request");
                    // Nobody waits for a request whose client has left.
                    let _ = head.send(Err(HandlerError::refused("no instance", request)));
                    return Ok(());
                }
            },
        };
        match instance.handle(request, head).await {
            Ok(()) => {
                self.keep(instance);
                Ok(())
            }
            Err(error) => {
                core_dump::keep(&self.container, &mut instance.store, &error).await;
                Err(HandlerError::Failed(self.explain(&instance, &error)))
            }
        }
    }

    fn keep(&self, instance: Instance) {
        let reuse = self.container.spec.http.reuse && !self.container.killed.is_cancelled();
        let mut idle = self.idle.lock();
        if reuse && idle.len() < MOST_IDLE {
            idle.push(instance);
        }
    }

    fn explain(&self, instance: &Instance, error: &wasmtime::Error) -> String {
        let what = command::describe(error);
        match instance.store.data().out_of_memory() {
            true => format!("out of memory: {what}"),
            false => what,
        }
    }

    async fn instantiate(&self) -> wasmtime::Result<Instance> {
        let mut places = self.engine.places(&self.code);
        loop {
            let (pool, ready) = places.next()?;
            let mut store = Host::store(&self.container, &pool.engine, &pool.room)?;
            let guest = match &*ready {
                Ready::Http(pre) => pre.instantiate_async(&mut store).await.map(Guest::P2),
                Ready::HttpP3(pre) => pre.instantiate_async(&mut store).await.map(Guest::P3),
                _ => wasmtime::bail!("a process is no handler"),
            };
            match guest {
                Ok(guest) => return Ok(Instance { store, guest }),
                Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                    pool.room.filled_up();
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Instance {
    async fn handle(&mut self, request: Request, head: Head) -> wasmtime::Result<()> {
        let request = request.map(body_out);
        match &self.guest {
            Guest::P2(proxy) => handle_p2(&mut self.store, proxy, request, head).await,
            Guest::P3(service) => handle_p3(&mut self.store, service, request, head).await,
        }
    }
}

async fn handle_p2(
    store: &mut Store<Host>,
    proxy: &Proxy,
    request: http::Request<WasiBody>,
    head: Head,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = store.data_mut().http().new_incoming_request(scheme, request)?;
    let out = store.data_mut().http().new_response_outparam_from_callback(move |response| {
        // A client that has left needs no head.
        let _ = head.send(response.map_err(refusal));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await
}

async fn handle_p3(
    store: &mut Store<Host>,
    service: &Service,
    request: http::Request<WasiBody>,
    head: Head,
) -> wasmtime::Result<()> {
    use wasmtime_wasi_http::p3;
    let (request, sent) = p3::Request::from_http(store.data_mut().http().hooks, request);
    let run = store.run_concurrent(async move |guest| {
        let response = match service.handle(guest, request).await? {
            Ok(response) => guest.with(|mut store| response.into_http(&mut store, sent))?,
            Err(code) => {
                // As above.
                let _ = head.send(Err(HandlerError::Failed(format!("the guest says {code:?}"))));
                return Ok(());
            }
        };
        // As above.
        let _ = head.send(Ok(response));
        poll_fn(|cx| guest.poll_no_interesting_tasks(cx)).await;
        Ok(())
    });
    run.await.flatten()
}

fn refusal(code: ErrorCode) -> HandlerError {
    HandlerError::Failed(format!("the guest says {code:?}"))
}

/// The right to work on one request.
struct Slot {
    container: Arc<Container>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    fn new(permit: OwnedSemaphorePermit, container: &Arc<Container>) -> Slot {
        container.active_requests.fetch_add(1, Ordering::Relaxed);
        Slot { container: Arc::clone(container), _permit: permit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.container.active_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place in the queue of waiting requests.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn enter(count: &AtomicUsize, most: usize) -> Option<Waiting<'_>> {
        let place = Waiting(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The guest's task; dropping it ends the guest.
struct Task(Option<JoinHandle<Result<(), HandlerError>>>);

impl Task {
    async fn failure(&mut self) -> HandlerError {
        let Some(task) = &mut self.0 else { return HandlerError::Failed("no task".into()) };
        match task.await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => HandlerError::Failed("the guest returned without a response".into()),
            Err(error) if error.is_cancelled() => HandlerError::Failed("the node stops".into()),
            Err(_) => {
                tracing::error!("the host panicked while it ran a guest");
                HandlerError::Failed("the host failed; see the node's log".into())
            }
        }
    }

    /// Lets the guest go on for at most `time`.
    fn linger(&mut self, time: Duration, handle: &tokio::runtime::Handle) {
        let Some(mut task) = self.0.take().filter(|task| !task.is_finished()) else { return };
        handle.spawn(async move {
            if tokio::time::timeout(time, &mut task).await.is_err() {
                task.abort();
            }
        });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A response's body, which keeps the guest that writes it.
struct Streamed {
    body: WasiBody,
    task: Task,
    ended: bool,
    /// How long the guest may go on after the end of the body.
    trailing: Duration,
    handle: tokio::runtime::Handle,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame.map_err(|error| BodyError::Producer(error.to_string()))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let ended = self.ended || http_body::Body::is_end_stream(&self.body);
        let time = if ended { self.trailing } else { GRACE };
        self.task.linger(time, &self.handle);
    }
}
