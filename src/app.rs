//! The composition root: settings become rooms, rooms become a running node.

mod changes;
mod errands;
mod explain;
mod gauges;
mod node;
mod reload;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

pub use reload::{Fingerprint, Reloader, Source};

use crate::admin::{self, Admin};
use crate::budget::Budget;
use crate::cache;
use crate::clock::Clock;
use crate::config::Settings;
use crate::limit::Limit;
use crate::redis::SetupError as RedisError;
use crate::server::{self, BindError, Bound, Listener, RunError};
use crate::shutdown::Shutdown;
use crate::store::Memory;
use crate::store::remote::Tier;
use crate::telemetry::Metrics;
use crate::telemetry::access_log::OpenError;
use crate::upstream::SetupError;
use errands::Runner;
use node::{Fixtures, Node};

/// How long admin requests may take to finish once the node has ended.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// Connections to the admin listener; the longest idle gives way.
const ADMIN_CONNECTIONS: usize = 256;

/// How long the end of a node may be held up by what waits to be written to Redis.
const FLUSH: Duration = Duration::from_secs(1);

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
    /// The tier behind memory cannot be set up; that Redis is not there is no reason.
    #[error(transparent)]
    Redis(#[from] RedisError),
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
    /// Starts a node that keeps these settings: everything is checked and bound before the first
    /// thread runs.
    ///
    /// # Errors
    /// [`StartError`] with the address, file or upstream at fault.
    pub fn start(settings: Settings, clock: Clock) -> Result<Running, StartError> {
        Self::start_with(settings, None, clock)
    }

    /// Starts a node that can be told to read its settings again, from `source`.
    ///
    /// # Errors
    /// As [`App::start`].
    pub fn start_from(
        source: Source,
        settings: Settings,
        clock: Clock,
    ) -> Result<Running, StartError> {
        Self::start_with(settings, Some(source), clock)
    }

    fn start_with(
        settings: Settings,
        source: Option<Source>,
        clock: Clock,
    ) -> Result<Running, StartError> {
        let shutdown = Shutdown::new();
        let metrics = Metrics::new(settings.server.threads);
        let background = shutdown.background().clone();
        let waiting = Limit::new(settings.proxy.limits.waiting());
        let memory = Memory::new(&settings.store);
        upkeep::start(&memory).map_err(StartError::Thread)?;
        let tier = match &settings.redis {
            Some(redis) => {
                let config = settings.tier.clone();
                Some(Tier::start(config, redis, memory.clone(), clock.clone())?)
            }
            None => None,
        };
        let cache = cache::Shared::new(memory, clock.clone(), background, waiting.clone());
        let cache = Arc::new(match tier {
            Some(tier) => cache.backed_by(tier),
            None => cache,
        });
        let (server_config, admin_config) = (settings.server.clone(), settings.admin.clone());
        let bound = Bound::bind(&server_config)?;
        let fixtures = Fixtures {
            control: bound.control().clone(),
            cores: settings.server.workers(),
            in_flight: Limit::new(settings.proxy.limits.max_in_flight),
            waiting,
            metrics: Arc::clone(&metrics),
            cache: Arc::clone(&cache),
            clock,
            shutdown: shutdown.clone(),
            token: admin::Token::new(settings.admin.token.clone()),
        };
        let node = Arc::new(Node::new(fixtures, settings)?);
        gauges::register(&metrics, &cache, &shutdown, node.state());
        let errands = Arc::default();
        gauges::errands(&metrics, &cache, &errands);

        let admin_bound = bind_admin(&admin_config)?;
        let addresses = bound.addresses().to_vec();
        let admin_address = admin_bound.as_ref().and_then(|(_, bound)| bound.addresses().first());
        let admin_address = admin_address.copied();
        let reloader = Reloader::start(&node, source).map_err(StartError::Thread)?;

        let mut threads = Vec::new();
        let admin_shutdown = Shutdown::new();
        if let Some((config, bound)) = admin_bound {
            let admin = Admin::new(
                node.token().clone(),
                Arc::clone(&cache),
                Arc::clone(&metrics),
                shutdown.clone(),
                Arc::new(reloader.clone()),
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
        let runner = Runner {
            node: Arc::clone(&node),
            cache: Arc::clone(&cache),
            counters: errands,
            shutdown: shutdown.clone(),
            ended: admin_shutdown.clone(),
        };
        threads.push(spawn("errands", move || runner.run())?);
        let (in_force, drain) = (node.in_force().clone(), shutdown.clone());
        let last = EndsAdmin(admin_shutdown);
        threads.push(spawn("server", move || {
            let make = move |core| in_force.live(core);
            let ended = server::run(&server_config, bound, make, &drain, &metrics);
            drop(last);
            ended
        })?);
        Ok(Running { addresses, admin_address, shutdown, cache, node, reloader, threads })
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

/// A node that runs. Dropping it leaves it running; end it with [`Running::shutdown`].
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    admin_address: Option<SocketAddr>,
    shutdown: Shutdown,
    cache: Arc<cache::Shared>,
    node: Arc<Node>,
    reloader: Reloader,
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

    /// The handle by which configuration and log files are read and opened again.
    #[must_use]
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
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
        if let Some(tier) = self.cache.tier().filter(|_| !self.shutdown.is_killed()) {
            tier.flush(FLUSH);
        }
        self.node.close_log();
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
