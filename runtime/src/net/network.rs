//! Where an address leads: the one place that decides between Pod, Service, API server, outside
//! and nowhere.

use crate::dns::{PodNames, Resolver};
use crate::http::SharedHandler;
use crate::net::affinity::Affinities;
use crate::net::lobby::Lobby;
use crate::net::outside;
use crate::net::pipe::Pipe;
use crate::net::pod::{Pod, Tcp};
use crate::net::pod_net::PodNet;
use crate::net::stream::Stream;
use crate::net::tallied::Tallied;
use crate::net::upstream::Upstreams;
use crate::net::wait::{Patience, Wait, Waited};
use crate::net::{Attachment, Config, NetError, PodIdentity};
use crate::table::{Origin, Protocol, ServicePort, Tables, Tally};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// How long a connection that has waited for an endpoint waits for it to listen.
const WOKEN: Duration = Duration::from_secs(5);

/// The network of one node. Clones are the same network.
#[derive(Clone)]
pub struct Network(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) tables: Arc<Tables>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) upstreams: Upstreams,
    pub(crate) lobby: Lobby,
    pub(crate) tls: OnceLock<Arc<rustls::ClientConfig>>,
    affinities: Affinities,
    pods: RwLock<HashMap<IpAddr, Arc<Pod>>>,
    /// Counts what may make a refused connection succeed: a Pod, a listener, a handler came.
    arrivals: watch::Sender<u64>,
}

/// What a dialled address turned out to be.
pub enum Dialed {
    /// An HTTP handler of a local Pod: call it.
    Http(SharedHandler),
    /// A byte stream.
    Stream(Stream),
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dialed::Http(_) => "Http",
            Dialed::Stream(_) => "Stream",
        })
    }
}

/// Where an address that is no Service's leads.
pub(crate) enum Place {
    /// A Pod of this node.
    Pod(Arc<Pod>),
    /// A kernel socket.
    Outside,
}

impl Network {
    /// A network without Pods.
    pub fn new(config: Config, tables: Arc<Tables>) -> Self {
        let resolver = Arc::new(Resolver::new(config.names.clone(), tables.clone()));
        Network(Arc::new(Inner {
            lobby: Lobby::new(config.limits.waiting),
            config,
            tables,
            resolver,
            upstreams: Upstreams::default(),
            tls: OnceLock::new(),
            affinities: Affinities::default(),
            pods: RwLock::default(),
            arrivals: watch::Sender::new(0),
        }))
    }

    /// Gives a Pod its place. Fails with `AddressInUse` if the address is taken.
    /// [`PodNet::close`], or dropping the last clone, resets all its sockets and frees the
    /// address.
    pub fn attach(&self, identity: PodIdentity, ip: IpAddr) -> Result<PodNet, NetError> {
        self.attach_with(identity, ip, Attachment::default())
    }

    /// A Pod with `hostNetwork: true`: its sockets are the host's.
    pub fn attach_host(&self, identity: PodIdentity, ip: IpAddr) -> Result<PodNet, NetError> {
        self.attach_with(identity, ip, Attachment { host_network: true, names: None })
    }

    /// [`Network::attach`] for a Pod with wishes.
    pub fn attach_with(
        &self,
        identity: PodIdentity,
        ip: IpAddr,
        attachment: Attachment,
    ) -> Result<PodNet, NetError> {
        let names = attachment.names.unwrap_or_else(|| {
            PodNames::cluster_first(&identity.namespace, self.0.resolver.cluster_domain())
        });
        let limits = self.0.config.limits.clone();
        let pod = Arc::new(Pod::new(identity, ip, limits, attachment.host_network));
        if !attachment.host_network {
            match self.0.pods.write().entry(ip) {
                Entry::Occupied(_) => return Err(NetError::AddressInUse),
                Entry::Vacant(place) => {
                    place.insert(pod.clone());
                }
            }
        }
        Ok(PodNet::new(self.0.clone(), pod, names))
    }

    /// Opens what is behind a Pod's or Service's address, or an address outside, for a client
    /// that `from` names; the Pod sees that address as its peer.
    pub async fn dial(&self, to: SocketAddr, from: SocketAddr) -> Result<Dialed, NetError> {
        self.0.dial(to, from, Origin::Inside).await
    }

    /// Opens what is behind a Pod's address for the node itself, which only looks whether the Pod is well: that is no
    /// request that anybody counts.
    pub async fn look_in(&self, to: SocketAddr, from: SocketAddr) -> Result<Dialed, NetError> {
        let is_service = self.0.tables.load().virtual_port(to, Protocol::Tcp).is_some();
        if is_service { self.dial(to, from).await } else { self.0.dial_endpoint(to, from).await }
    }

    /// Opens an endpoint of a Service port for a client that `from` names. Endpoints that
    /// terminate come last; a refused connection goes on to the next. A connection to a Service that is scaled to
    /// zero waits.
    pub async fn dial_service(
        &self,
        port: &ServicePort,
        from: SocketAddr,
        origin: Origin,
    ) -> Result<Dialed, NetError> {
        self.0.dial_service(port, from, origin).await
    }

    /// Where requests wait for Services that are scaled to zero.
    pub fn lobby(&self) -> &Lobby {
        &self.0.lobby
    }

    /// How long a request for a Service port may wait for an endpoint, if it usually waits
    /// `patience`.
    pub fn patience(&self, port: Option<&ServicePort>, patience: Duration) -> Duration {
        let woken = port.is_some_and(|port| !port.wakers.is_empty());
        if woken { self.0.config.limits.hold.max(patience) } else { patience }
    }

    /// Every Pod of this node with the counters of its requests.
    pub fn pod_tallies(&self) -> Vec<(PodIdentity, Tally)> {
        self.0.pods.read().values().map(|pod| (pod.identity.clone(), pod.tally.clone())).collect()
    }

    /// Rings when a Pod, listener or handler has arrived.
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.0.arrivals()
    }

    /// What resolves the Pods' names; the DNS server answers by it too.
    pub fn resolver(&self) -> &Arc<Resolver> {
        &self.0.resolver
    }

    /// The tables the network routes by.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.0.tables
    }

    /// As whom the node itself talks to Pods.
    pub fn gateway(&self) -> IpAddr {
        self.0.config.gateway
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("pods", &self.0.pods.read().len()).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn pod_at(&self, ip: IpAddr) -> Option<Arc<Pod>> {
        self.pods.read().get(&ip).cloned()
    }

    pub(crate) fn detach(&self, pod: &Arc<Pod>) {
        let mut pods = self.pods.write();
        if pods.get(&pod.ip).is_some_and(|known| Arc::ptr_eq(known, pod)) {
            pods.remove(&pod.ip);
        }
        drop(pods);
        pod.close();
        self.upstreams.forget(pod.ip);
    }

    pub(crate) fn arrived(&self) {
        self.arrivals.send_modify(|count| *count += 1);
    }

    pub(crate) async fn dial(
        &self,
        to: SocketAddr,
        from: SocketAddr,
        origin: Origin,
    ) -> Result<Dialed, NetError> {
        let port = self.tables.load().virtual_port(to, Protocol::Tcp).cloned();
        match port {
            Some(port) => {
                let (dialed, endpoint) = self.dial_service_at(&port, from, origin).await?;
                let tallies = self.tally_at(endpoint).into_iter().chain([port.tally.clone()]);
                Ok(match counted(dialed, tallies.collect()) {
                    Dialed::Stream(stream) => Dialed::Stream(stream.seen_at(to)),
                    http => http,
                })
            }
            None => {
                let dialed = self.dial_endpoint(to, from).await?;
                Ok(counted(dialed, self.tally_at(to.ip()).into_iter().collect()))
            }
        }
    }

    /// Waiting for what has just refused, from now on.
    pub(crate) fn wait(&self, usual: Duration) -> Wait {
        let patience = Patience { usual, hold: self.config.limits.hold };
        Wait::new(self.lobby.clone(), self.tables.subscribe(), self.arrivals(), patience)
    }

    fn tally_at(&self, ip: IpAddr) -> Option<Tally> {
        self.pod_at(ip).map(|pod| pod.tally.clone())
    }

    /// A connection to a Service counts as a request, unless requests will be counted that come on it.
    pub(crate) async fn dial_service(
        &self,
        port: &ServicePort,
        from: SocketAddr,
        origin: Origin,
    ) -> Result<Dialed, NetError> {
        let (dialed, endpoint) = self.dial_service_at(port, from, origin).await?;
        if let Dialed::Stream(_) = dialed {
            port.tally.count();
            self.tally_at(endpoint).iter().for_each(Tally::count);
        }
        Ok(dialed)
    }

    /// Opens an endpoint, and says at which address that is.
    async fn dial_service_at(
        &self,
        port: &ServicePort,
        from: SocketAddr,
        origin: Origin,
    ) -> Result<(Dialed, IpAddr), NetError> {
        if &*port.service == "kubernetes.default"
            && let Some(api_server) = self.config.api_server
        {
            let stream = outside::connect(api_server, from, &self.config.limits).await?;
            return Ok((Dialed::Stream(stream), api_server.ip()));
        }
        let refused = match self.dial_once(port, from, origin).await {
            Err(error) if port.is_asleep() => error,
            done => return done,
        };
        let _present = port.tally.stay();
        let mut wait = self.wait(WOKEN);
        loop {
            let port = self.again(port).ok_or_else(|| refused.clone())?;
            match self.dial_once(&port, from, origin).await {
                Err(error) => match wait.again(&port).await {
                    Ok(()) => {}
                    Err(Waited::Asleep) => return Err(NetError::Timeout),
                    Err(Waited::InVain | Waited::Crowded) => return Err(error),
                },
                done => return done,
            }
        }
    }

    /// The port as it is now.
    fn again(&self, port: &ServicePort) -> Option<Arc<ServicePort>> {
        let table = self.tables.load();
        let mut ports = table.service(&port.service)?.ports.iter();
        ports.find(|one| one.number == port.number && one.protocol == port.protocol).cloned()
    }

    async fn dial_once(
        &self,
        port: &ServicePort,
        from: SocketAddr,
        origin: Origin,
    ) -> Result<(Dialed, IpAddr), NetError> {
        let mut last = NetError::ConnectionRefused;
        for endpoint in self.ordered(port, origin, from.ip()) {
            match self.dial_endpoint(endpoint, from).await {
                Ok(dialed) => {
                    self.affinities.keep(port, from.ip(), endpoint);
                    return Ok((dialed, endpoint.ip()));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The endpoints of a Service port in the order to try them: the one the client had, those
    /// in turn, those whose Pod drains.
    pub(crate) fn ordered<'a>(
        &'a self,
        port: &'a ServicePort,
        origin: Origin,
        client: IpAddr,
    ) -> impl Iterator<Item = SocketAddr> + 'a {
        let kept = self.affinities.get(port, client);
        let kept = kept.filter(|kept| port.has(*kept) && !self.drains(*kept));
        let all = port.candidates(origin);
        let draining = all.clone().filter(|endpoint| self.drains(*endpoint));
        kept.into_iter().chain(all.filter(|endpoint| !self.drains(*endpoint))).chain(draining)
    }

    fn drains(&self, endpoint: SocketAddr) -> bool {
        self.pods.read().get(&endpoint.ip()).is_some_and(|pod| pod.is_draining())
    }

    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    pub(crate) fn keep_affinity(&self, port: &ServicePort, client: IpAddr, endpoint: SocketAddr) {
        self.affinities.keep(port, client, endpoint);
    }

    pub(crate) async fn dial_endpoint(&self, to: SocketAddr, from: SocketAddr) -> Result<Dialed, NetError> {
        match self.place(to)? {
            Place::Pod(pod) => match pod.tcp_at(to) {
                Some(Tcp::Http(handler)) => Ok(Dialed::Http(handler)),
                Some(Tcp::Listening(_)) => Ok(Dialed::Stream(join(&pod, to, from).await?)),
                _ => Err(NetError::ConnectionRefused),
            },
            Place::Outside => Ok(Dialed::Stream(outside::connect(to, from, &self.config.limits).await?)),
        }
    }

    /// Where an address that is no Service's leads.
    pub(crate) fn place(&self, to: SocketAddr) -> Result<Place, NetError> {
        let ip = to.ip();
        if let Some(pod) = self.pod_at(ip) {
            return Ok(Place::Pod(pod));
        }
        if self.config.service_ranges.iter().any(|range| range.contains(ip)) {
            return Err(NetError::ConnectionRefused);
        }
        if self.config.pod_ranges.iter().any(|range| range.contains(ip)) {
            return Err(self.foreign_pod(ip));
        }
        outside::check(to, &self.config)?;
        Ok(Place::Outside)
    }

    fn foreign_pod(&self, ip: IpAddr) -> NetError {
        let table = self.tables.load();
        let pod = table.pod_at(ip);
        if pod.is_some_and(|pod| pod.local) {
            return NetError::ConnectionRefused;
        }
        match pod.map(|pod| &pod.node).or_else(|| table.node_of(ip)) {
            Some(node) => NetError::OtherNode { ip, node: node.to_string() },
            None => NetError::Unreachable("no Pod has this address"),
        }
    }

    /// The Pod a datagram goes to, or none for the outside.
    pub(crate) fn pod_or_outside(&self, to: SocketAddr) -> Result<Option<Arc<Pod>>, NetError> {
        match self.place(to)? {
            Place::Pod(pod) => Ok(Some(pod)),
            Place::Outside => Ok(None),
        }
    }

    /// The endpoint a datagram to a Service address goes to; none if it is no Service's. The
    /// endpoint used before stays as long as it is one.
    pub(crate) fn udp_endpoint(
        &self,
        to: SocketAddr,
        client: IpAddr,
        kept: Option<SocketAddr>,
    ) -> Result<Option<SocketAddr>, NetError> {
        let table = self.tables.load();
        let Some(port) = table.virtual_port(to, Protocol::Udp) else { return Ok(None) };
        if let Some(kept) = kept
            && port.has(kept)
        {
            return Ok(Some(kept));
        }
        let mut ordered = self.ordered(port, Origin::Inside, client);
        ordered.next().map(Some).ok_or(NetError::ConnectionRefused)
    }
}

/// What was opened, so that it counts: a stream as one request, a handler for each of its calls.
fn counted(dialed: Dialed, tallies: Vec<Tally>) -> Dialed {
    match dialed {
        Dialed::Http(handler) => Dialed::Http(Arc::new(Tallied::new(tallies, handler))),
        stream => {
            tallies.iter().for_each(Tally::count);
            stream
        }
    }
}

/// Joins a client to a Pod's listener by an in-memory stream.
pub(crate) async fn join(pod: &Arc<Pod>, to: SocketAddr, from: SocketAddr) -> Result<Stream, NetError> {
    let Some(Tcp::Listening(queue)) = pod.tcp_at(to) else {
        return Err(NetError::ConnectionRefused);
    };
    let slot = tokio::time::timeout(pod.limits.connect_timeout, queue.reserve());
    let slot = slot.await.map_err(|_| NetError::Timeout)?;
    let slot = slot.map_err(|_| NetError::ConnectionRefused)?;
    let work = pod.begin_work().ok_or(NetError::ConnectionRefused)?;
    let (near, far) = pair(pod, to, from);
    let far = pod.adopt(far).map_err(|_| NetError::ConnectionRefused)?;
    slot.send(Box::new(far.accounted(work)));
    Ok(near)
}

/// Two ends of a stream: the client's, then the Pod's.
pub(crate) fn pair(pod: &Pod, to: SocketAddr, from: SocketAddr) -> (Stream, Stream) {
    let capacity = pod.limits.stream_buffer;
    let (there, back) = (Pipe::new(capacity), Pipe::new(capacity));
    let near = Stream::memory(back.clone(), there.clone(), from, to);
    (near, Stream::memory(there, back, to, from))
}
