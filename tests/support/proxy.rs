//! The proxy under test, in this process, on a clock that the test moves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seawall::app::{App, Fingerprint, Running, Source, StartError};
use seawall::budget::Budget;
use seawall::clock::{Clock, ManualClock};
use seawall::config::{self, CliOverrides, Settings, Sources, Toggled};
use seawall::{admin, cache, proxy, server, store, telemetry, upstream};
use tokio::task::JoinHandle;

use super::client::{Client, Request, Response, get, request};
use super::message::Fault;
use super::origin::Origin;
use super::{eventually, within};

/// A running proxy; dropped, it ends at once.
pub struct Proxy {
    running: Option<Running>,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where the admin API is.
    pub admin: SocketAddr,
    clock: ManualClock,
}

/// Short ways to what tests change.
pub trait SettingsExt {
    /// The cache settings of the only route.
    fn cache(&mut self) -> &mut cache::Config;
    /// The only upstream.
    fn upstream(&mut self) -> &mut upstream::Config;
}

impl SettingsExt for Settings {
    fn cache(&mut self) -> &mut cache::Config {
        &mut Arc::make_mut(&mut self.proxy.routes[0]).cache
    }

    fn upstream(&mut self) -> &mut upstream::Config {
        &mut self.upstreams[0]
    }
}

impl Proxy {
    /// In front of `origin`, with default settings.
    pub async fn start(origin: &Origin) -> Self {
        Self::with(origin, |_| ()).await
    }

    /// In front of `origin`, with settings that `tune` changed.
    pub async fn with(origin: &Origin, tune: impl FnOnce(&mut Settings)) -> Self {
        // Tests with hundreds of connections have both their ends in this process.
        let _ = rlimit::increase_nofile_limit(16 * 1024);
        let mut settings = settings(origin);
        tune(&mut settings);
        Self::run(origin, |clock| App::start(settings, clock)).await
    }

    /// In front of `origin`, with the rules, `[purge]` and `[debug]` of this part of a configuration file.
    pub async fn ruled(origin: &Origin, text: &str) -> Self {
        let file = format!("[upstream.origin]\nurl = \"http://{}\"\n{text}", origin.address);
        let read = config::parse(&file, &CliOverrides::default());
        let read = read.unwrap_or_else(|faults| panic!("{faults}"));
        Self::with(origin, |settings| {
            settings.proxy.rules = read.proxy.rules;
            settings.proxy.purge = read.proxy.purge;
            settings.proxy.trusted_proxies = read.proxy.trusted_proxies;
            settings.proxy.debug = read.proxy.debug;
            settings.written = read.written;
        })
        .await
    }

    /// With the settings of a file, which it can be told to read again. Two threads, any port.
    pub async fn from_file(origin: &Origin, file: &Path) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let overrides = CliOverrides {
            listen: vec![any_port],
            admin_listen: Some(Toggled::On(any_port)),
            access_log: Some(Toggled::Off),
            threads: Some(2),
            ..CliOverrides::default()
        };
        let sources = Sources { file: Some(file.to_owned()), overrides };
        let before = Fingerprint::of(&sources);
        let settings = config::load(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        let source = Source::new(sources, before, |_| (), |_| ());
        Self::run(origin, |clock| App::start_from(source, settings, clock)).await
    }

    async fn run<F>(origin: &Origin, start: F) -> Self
    where
        F: FnOnce(Clock) -> Result<Running, StartError> + Send + 'static,
    {
        let clock = Clock::Manual(origin.clock.clone());
        let started = tokio::task::spawn_blocking(move || start(clock));
        let running = within("the start", started).await.expect("no panic").expect("a start");
        Self {
            address: running.addresses()[0],
            admin: running.admin_address().expect("the settings ask for it"),
            running: Some(running),
            clock: origin.clock.clone(),
        }
    }

    /// Moves the time of the proxy and its origin.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// A new client connection.
    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// The response to `GET target`, on a connection of its own.
    pub async fn get(&self, target: &str) -> Response {
        self.send(&get(target)).await
    }

    /// The response to `request`, on a connection of its own.
    pub async fn send(&self, request: &Request) -> Response {
        self.client().await.exchange(request).await
    }

    /// Starts `count` requests, each on a connection of its own; all of them are sent on return.
    /// A connection that is cut before a head is a response that is not complete.
    pub async fn start_all(&self, count: usize, request: &Request) -> Vec<JoinHandle<Response>> {
        let mut tasks = Vec::with_capacity(count);
        for _ in 0..count {
            let mut client = self.client().await;
            client.send(request.bytes()).await;
            let method = request.method.clone();
            tasks.push(tokio::spawn(async move {
                match client.try_begin(&method).await {
                    Ok(response) => client.finish(response).await,
                    Err(Fault::Cut) => Response::default(),
                    Err(fault) => panic!("not a response: {fault:?}"),
                }
            }));
        }
        tasks
    }

    /// The responses to `count` requests at once.
    pub async fn at_once(&self, count: usize, request: &Request) -> Vec<Response> {
        all(self.start_all(count, request).await).await
    }

    /// A request to the admin API.
    pub async fn ask_admin(&self, request: &Request) -> Response {
        let request = request.clone().with("Host", "localhost");
        Client::connect(self.admin).await.exchange(&request).await
    }

    /// Purges by the admin API.
    pub async fn purge(&self, kind: &str, value: &str, mode: &str) {
        let value = if kind == "all" { String::new() } else { format!(r#","value":"{value}""#) };
        let body = format!(r#"{{"kind":"{kind}"{value},"mode":"{mode}"}}"#);
        let purge = request("POST", "/purge").with("Content-Type", "application/json").body(body);
        let response = self.ask_admin(&purge).await;
        assert!((200..300).contains(&response.status), "{}", response.text());
    }

    /// Where it listens, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.running.as_ref().expect("it runs").addresses()
    }

    pub fn cache(&self) -> &cache::Shared {
        self.running.as_ref().expect("it runs").cache()
    }

    /// Fetches under way that others may join.
    pub fn flights(&self) -> usize {
        self.running.as_ref().expect("it runs").cache().flights()
    }

    pub fn budget(&self) -> Budget {
        self.running.as_ref().expect("it runs").budget()
    }

    /// Waits until nothing but stored responses is charged: with all of them purged, nothing.
    pub async fn settled(&self) {
        self.purge("all", "", "hard").await;
        let running = self.running.as_ref().expect("it runs");
        eventually("the charges to be released", || {
            // The map drops what was removed some time later, when it is used.
            running.cache().memory().settle();
            running.budget().used() == 0
        })
        .await;
    }

    /// Drains in the background; done when the last thread has ended.
    pub fn shutdown(&mut self) -> JoinHandle<()> {
        let running = self.running.take().expect("it runs");
        tokio::task::spawn_blocking(move || running.shutdown().expect("a good end"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // Its error would be one of a thread that the test has already made fail.
            let _ = running.kill();
        }
    }
}

/// What all of these tasks return.
pub async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

/// Whether this is the process for `test` alone. Where it is not, one is run, and must succeed:
/// what a test says of the whole process, other tests may not blur.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "SEAWALL_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let itself = std::env::current_exe().expect("a path");
    let run = std::process::Command::new(itself).args([test, "--exact"]).env(ALONE, "1").output();
    let output = run.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    false
}

/// This process's resident memory in bytes.
pub fn rss() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a page count") * 4096
}

fn settings(origin: &Origin) -> Settings {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let route = proxy::Route {
        name: "test".to_owned(),
        host: None,
        path: "/".to_owned(),
        upstream: 0,
        cache: cache::Config::default(),
    };
    Settings {
        server: server::Config {
            // More than one, so that what is shared between threads is.
            threads: 2,
            listeners: vec![server::Listener::new(any_port)],
            ..server::Config::default()
        },
        upstreams: vec![upstream::Config::new("origin", false, "127.0.0.1", origin.address.port())],
        proxy: proxy::Config {
            trusted_proxies: Vec::new(),
            limits: proxy::Limits::default(),
            routes: vec![Arc::new(route)],
            rules: Arc::default(),
            purge: proxy::Purge::default(),
            debug: Vec::new(),
            error_pages: std::collections::BTreeMap::new(),
            name: "seawall".to_owned(),
        },
        store: store::Config { memory: 64 * 1024 * 1024, ..store::Config::default() },
        redis: None,
        tier: store::remote::Config::default(),
        admin: admin::Config { address: Some(any_port), explicit: true, token: None },
        tests: Vec::new(),
        telemetry: telemetry::Config {
            access: telemetry::AccessLog { format: None, path: None },
            ..telemetry::Config::default()
        },
        watch: None,
        written: config::Written::default(),
    }
}
