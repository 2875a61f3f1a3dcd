//! The composition root: settings become rooms, rooms become a running node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use crate::admin::{self, Admin};
use crate::budget::Budget;
use crate::cache;
use crate::clock::Clock;
use crate::config::Settings;
use crate::limit::{ClientLimit, Limit};
use crate::proxy::{self, ErrorPages, Observer, OriginService, stack};
use crate::server::{self, BindError, Bound, Listener, RunError};
use crate::shutdown::Shutdown;
use crate::store::{self, Memory};
use crate::telemetry::Metrics;
use crate::telemetry::access_log::{AccessLog, OpenError};
use crate::upstream::{self, Origins, SetupError};

/// How long admin requests may take to finish once the node has ended.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// Connections to the admin listener; the longest idle gives way.
const ADMIN_CONNECTIONS: usize = 256;

/// A node, started by [`App::start`].
#[derive(Debug)]
pub struct App;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on, or a certificate not be used.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin address cannot be listened on.
    #[error("admin listener: {0}")]
    Admin(#[source] BindError),
    /// An upstream cannot be set up.
    #[error(transparent)]
    Upstream(#[from] SetupError),
    /// The access log cannot be written.
    #[error(transparent)]
    AccessLog(#[from] OpenError),
    /// An error page cannot be read.
    #[error("error page {}: {source}", .path.display())]
    ErrorPage {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl App {
    /// Starts a node: everything is checked and bound before the first thread runs.
    ///
    /// # Errors
    /// [`StartError`] with the address, file or upstream at fault.
    pub fn start(settings: Settings, clock: Clock) -> Result<Running, StartError> {
        let shutdown = Shutdown::new();
        let metrics = Metrics::new(settings.server.threads);
        let shared_origins = Arc::new(upstream::Shared::new(&settings.upstreams)?);
        let proxy_config = Arc::new(settings.proxy);
        let pages = ErrorPages::read(&proxy_config.error_pages, &proxy_config.name)
            .map_err(|(path, source)| StartError::ErrorPage { path, source })?;
        let log = AccessLog::open(&settings.telemetry.access)?;
        let memory = Memory::new(&settings.store);
        let background = shutdown.background().clone();
        let waiting = Limit::new(proxy_config.limits.waiting());
        let in_flight = Limit::new(proxy_config.limits.max_in_flight);
        let cache = Arc::new(cache::Shared::new(memory, clock.clone(), background, waiting));
        let origins = Arc::new(Mutex::new(Vec::new()));
        register(&metrics, &cache, &shutdown, &log, &settings.upstreams, &origins);
        show_requests(&metrics, &cache, &settings.upstreams, &shared_origins);

        let bound = Bound::bind(&settings.server)?;
        let admin_bound = bind_admin(&settings.admin)?;
        let addresses = bound.addresses().to_vec();
        let admin_address = admin_bound.as_ref().and_then(|(_, bound)| bound.addresses().first());
        let admin_address = admin_address.copied();

        let node = Node {
            observers: Observers {
                metrics: Arc::clone(&metrics),
                log: log.clone(),
                clock,
                in_flight,
                per_client: proxy_config.limits.max_in_flight_per_client.map(ClientLimit::new),
            },
            proxy_config,
            pages: Arc::new(pages),
            cache: Arc::clone(&cache),
            upstreams: settings.upstreams,
            shared_origins,
            origins,
            shutdown: shutdown.clone(),
        };
        let mut threads = Vec::new();
        let admin_shutdown = Shutdown::new();
        if let Some((config, bound)) = admin_bound {
            let admin = Admin::new(
                &settings.admin,
                Arc::clone(&cache),
                Arc::clone(&metrics),
                shutdown.clone(),
            );
            // Its connections are nobody's traffic: they are counted apart, and not shown.
            let uncounted = Metrics::new(1);
            let (node, ending) = (shutdown.clone(), admin_shutdown.clone());
            threads.push(spawn("admin", move || {
                let make = move |_| admin.clone();
                let ended = server::run(&config, bound, make, &ending, &uncounted);
                // Half a node is no node.
                if ended.is_err() {
                    node.kill();
                }
                ended
            })?);
        }
        let (config, drain) = (settings.server, shutdown.clone());
        let last = EndsAdmin(admin_shutdown);
        threads.push(spawn("server", move || {
            let make = move |core| node.stack(core);
            let ended = server::run(&config, bound, make, &drain, &metrics);
            drop(last);
            ended
        })?);
        Ok(Running { addresses, admin_address, shutdown, cache, log, threads })
    }
}

/// Ends the admin listener, which stays to the last: that a node drains is asked there.
struct EndsAdmin(Shutdown);

impl Drop for EndsAdmin {
    fn drop(&mut self) {
        self.0.drain();
    }
}

fn spawn(
    name: &str,
    run: impl FnOnce() -> Result<(), RunError> + Send + 'static,
) -> Result<JoinHandle<Result<(), RunError>>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Thread)
}

/// A default admin address that is taken is only warned about: two nodes on one host must start.
fn bind_admin(config: &admin::Config) -> Result<Option<(server::Config, Bound)>, StartError> {
    let Some(address) = config.address else { return Ok(None) };
    let server = server::Config {
        threads: 1,
        listeners: vec![Listener::new(address)],
        grace: ADMIN_GRACE,
        // Apart from the clients': that they are too many is told here.
        limits: server::Limits { max_connections: ADMIN_CONNECTIONS, ..server::Limits::default() },
        ..server::Config::default()
    };
    match Bound::bind(&server) {
        Ok(bound) => Ok(Some((server, bound))),
        Err(error) if config.explicit => Err(StartError::Admin(error)),
        Err(error) => {
            tracing::warn!(%error, "no admin listener: choose one with --admin-listen");
            Ok(None)
        }
    }
}

/// What every core's stack is made of.
struct Node {
    observers: Observers,
    proxy_config: Arc<proxy::Config>,
    pages: Arc<ErrorPages>,
    cache: Arc<cache::Shared>,
    upstreams: Vec<upstream::Config>,
    shared_origins: Arc<upstream::Shared>,
    /// Every core's, for the gauges.
    origins: Arc<Mutex<Vec<Origins>>>,
    shutdown: Shutdown,
}

struct Observers {
    metrics: Arc<Metrics>,
    log: AccessLog,
    clock: Clock,
    in_flight: Limit,
    per_client: Option<ClientLimit>,
}

impl Node {
    fn stack(&self, core: usize) -> proxy::Proxy {
        let origins = Origins::new(&self.upstreams, &self.shared_origins);
        self.origins.lock().unwrap_or_else(PoisonError::into_inner).push(origins.clone());
        let observer = Observer {
            metrics: self.observers.metrics.core(core),
            log: self.observers.log.clone(),
            clock: self.observers.clock.clone(),
            name: self.proxy_config.name.clone(),
            upstreams: self
                .upstreams
                .iter()
                .map(|upstream| upstream.name.as_str().into())
                .collect(),
            trusted: self.proxy_config.trusted_proxies.as_slice().into(),
            in_flight: self.observers.in_flight.clone(),
            per_client: self.observers.per_client.clone(),
        };
        stack(&proxy::Parts {
            config: Arc::clone(&self.proxy_config),
            observer: Arc::new(observer),
            pages: Arc::clone(&self.pages),
            cache: Arc::clone(&self.cache),
            origin: OriginService::new(origins, Arc::clone(&self.proxy_config)),
            shutdown: self.shutdown.clone(),
        })
    }
}

/// The values that are asked for when metrics are scraped.
fn register(
    metrics: &Metrics,
    cache: &Arc<cache::Shared>,
    shutdown: &Shutdown,
    log: &AccessLog,
    upstreams: &[upstream::Config],
    origins: &Arc<Mutex<Vec<Origins>>>,
) {
    let budget = cache.memory().budget().clone();
    let limit = budget.limit() as f64;
    metrics.gauge("seawall_memory_limit_bytes", "Memory budget", move || limit);
    metrics.gauge("seawall_memory_used_bytes", "Memory charged to the budget", move || {
        budget.used() as f64
    });
    let shared = Arc::clone(cache);
    metrics.gauge("seawall_keys", "Keys stored", move || shared.memory().keys() as f64);
    let shared = Arc::clone(cache);
    metrics.counter("seawall_evictions", "Keys evicted for want of memory", move || {
        shared.memory().evictions()
    });
    for kind in store::Kind::ALL {
        let (shared, labels) = (Arc::clone(cache), vec![("kind", kind.word().to_owned())]);
        let read = move || shared.memory().purges(kind);
        metrics.counter_with("seawall_purges", "Purges, by what they cover", labels, read);
    }
    let shared = Arc::clone(cache);
    metrics
        .gauge("seawall_flights", "Fetches that others may join", move || shared.flights() as f64);
    let background = shutdown.background().clone();
    metrics.gauge(
        "seawall_background_tasks",
        "Fills, refreshes and tunnels under way",
        move || background.len() as f64,
    );
    let lines = log.clone();
    metrics
        .counter("seawall_access_log_dropped", "Access log lines dropped", move || lines.dropped());
    for (index, upstream) in upstreams.iter().enumerate() {
        let labels = vec![("upstream", upstream.name.clone())];
        let all = Arc::clone(origins);
        let sum = move |read: fn(&upstream::UpstreamStats) -> u64| {
            let cores = all.lock().unwrap_or_else(PoisonError::into_inner);
            let stats = cores.iter().filter_map(|core| core.stats().get(index).map(read));
            stats.sum::<u64>() as f64
        };
        let idle = sum.clone();
        metrics.gauge_with(
            "seawall_upstream_connections_open",
            "Open connections to the upstream",
            labels.clone(),
            move || sum(|stats| stats.open),
        );
        metrics.gauge_with(
            "seawall_upstream_connections_idle",
            "Idle connections to the upstream",
            labels,
            move || idle(|stats| stats.idle),
        );
    }
}

/// The requests that the limits are about.
fn show_requests(
    metrics: &Metrics,
    cache: &Arc<cache::Shared>,
    upstreams: &[upstream::Config],
    origins: &Arc<upstream::Shared>,
) {
    let shared = Arc::clone(cache);
    metrics.gauge(
        "seawall_requests_waiting",
        "Requests that wait for an origin's answer, their own or another's",
        move || shared.waiting() as f64,
    );
    for (index, upstream) in upstreams.iter().enumerate() {
        let (labels, shared) = (vec![("upstream", upstream.name.clone())], Arc::clone(origins));
        metrics.gauge_with(
            "seawall_upstream_requests",
            "Requests with the upstream, until their responses have been read",
            labels,
            move || shared.requests(index) as f64,
        );
    }
}

/// A node that runs. Dropping it leaves it running; end it with [`Running::shutdown`].
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    admin_address: Option<SocketAddr>,
    shutdown: Shutdown,
    cache: Arc<cache::Shared>,
    log: AccessLog,
    threads: Vec<JoinHandle<Result<(), RunError>>>,
}

impl Running {
    /// Where clients are listened to, in the order of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the admin API is, if it is on.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The handle by which the node is ended, and its background work seen.
    #[must_use]
    pub fn handle(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The access log, to have it reopened.
    #[must_use]
    pub fn access_log(&self) -> &AccessLog {
        &self.log
    }

    /// The memory budget: used and limit.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.cache.memory().budget().clone()
    }

    /// The cache, to look into it.
    #[must_use]
    pub fn cache(&self) -> &Arc<cache::Shared> {
        &self.cache
    }

    /// Drains, and returns when everything has ended.
    ///
    /// # Errors
    /// If a worker failed.
    pub fn shutdown(self) -> Result<(), RunError> {
        self.shutdown.drain();
        self.wait()
    }

    /// Ends at once.
    ///
    /// # Errors
    /// If a worker failed.
    pub fn kill(self) -> Result<(), RunError> {
        self.shutdown.kill();
        self.wait()
    }

    /// Blocks until the node has ended: a signal or [`Shutdown`] ends it.
    ///
    /// # Errors
    /// If a worker failed.
    pub fn wait(self) -> Result<(), RunError> {
        let mut result = Ok(());
        for thread in self.threads {
            result = result.and(thread.join().unwrap_or(Err(RunError::Panicked)));
        }
        self.log.close();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, CliOverrides, Sources, Toggled};
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    fn settings(origin: SocketAddr) -> Settings {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let overrides = CliOverrides {
            origin: config::origin(&format!("http://{origin}")).ok(),
            listen: vec![any_port],
            admin_listen: Some(Toggled::On(any_port)),
            access_log: Some(Toggled::Off),
            ..CliOverrides::default()
        };
        config::load(&Sources { file: None, overrides }).expect("good settings")
    }

    fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    }

    fn rest(mut stream: TcpStream) -> String {
        let mut read = String::new();
        stream.read_to_string(&mut read).expect("text");
        read
    }

    #[test]
    fn a_node_that_drains_says_so_until_it_has_ended() {
        let origin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let settings = settings(origin.local_addr().expect("bound"));
        let running = App::start(settings, Clock::System).expect("a start");
        let admin = running.admin_address().expect("asked for");
        assert!(rest(ask(admin, "/readyz")).starts_with("HTTP/1.1 200 "));

        let client = ask(running.addresses()[0], "/");
        let (mut fetch, _) = origin.accept().expect("a fetch");
        let mut head = [0; 4096];
        assert!(fetch.read(&mut head).expect("a request") > 0);
        running.handle().drain();
        assert!(rest(ask(admin, "/readyz")).starts_with("HTTP/1.1 503 "));
        assert!(rest(ask(admin, "/healthz")).starts_with("HTTP/1.1 200 "));

        fetch.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("sent");
        assert!(rest(client).ends_with("ok"));
        running.wait().expect("a good end");
        assert!(TcpStream::connect(admin).is_err());
    }
}
