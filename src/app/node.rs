//! What lives as long as the process, and what of it a reload replaces.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StartError;
use crate::admin::{ConfigState, Token};
use crate::cache;
use crate::clock::Clock;
use crate::config::Settings;
use crate::limit::{ClientLimit, Limit};
use crate::proxy::{self, ErrorPages, Generation, InForce, Observer, OriginService, Parts, stack};
use crate::server::{self, BindError};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;
use crate::telemetry::access_log::AccessLog;
use crate::upstream::{self, Origins};

/// What lives as long as the process.
#[derive(Debug)]
pub(super) struct Fixtures {
    pub(super) cores: usize,
    pub(super) metrics: Arc<Metrics>,
    pub(super) cache: Arc<cache::Shared>,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) in_flight: Limit,
    pub(super) waiting: Limit,
    pub(super) token: Token,
    pub(super) control: server::Control,
}

/// A node: its fixtures, and what is in force.
#[derive(Debug)]
pub(super) struct Node {
    fixtures: Fixtures,
    in_force: InForce,
    state: Arc<Mutex<State>>,
}

/// What is in force, and how reloading went. The lock is for scrapes and reloads.
#[derive(Debug)]
pub(super) struct State {
    pub(super) current: Current,
    pub(super) config: ConfigState,
    /// Reloads that were taken, and that were refused.
    pub(super) taken: u64,
    pub(super) refused: u64,
    /// Lines that access logs of the past have dropped.
    dropped_before: u64,
}

/// What one reading of the settings has become.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) settings: Settings,
    pub(super) shared: Arc<upstream::Shared>,
    /// One for each core, and one for errands.
    pub(super) origins: Vec<Origins>,
    pages: Arc<ErrorPages>,
    log: AccessLog,
    per_client: Option<ClientLimit>,
}

/// What was prepared, to be put into force.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) current: Current,
    server: server::Prepared,
}

impl Node {
    /// What `settings` say, in force.
    ///
    /// # Errors
    /// A file or an upstream that cannot be used.
    pub(super) fn new(fixtures: Fixtures, settings: Settings) -> Result<Self, StartError> {
        let current = fixtures.prepare(settings, None)?;
        let config = ConfigState {
            generation: 1,
            loaded_at: fixtures.clock.now().as_secs(),
            last_reload_successful: true,
            needs_restart: Vec::new(),
        };
        let in_force = InForce::new(fixtures.generation(config.generation, &current));
        let state = State { current, config, taken: 0, refused: 0, dropped_before: 0 };
        Ok(Self { fixtures, in_force, state: Arc::new(Mutex::new(state)) })
    }

    pub(super) fn in_force(&self) -> &InForce {
        &self.in_force
    }

    pub(super) fn token(&self) -> &Token {
        &self.fixtures.token
    }

    /// For what outlives the node: gauges.
    pub(super) fn state(&self) -> &Arc<Mutex<State>> {
        &self.state
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What `settings` would be. Nothing is changed by it.
    ///
    /// # Errors
    /// A file or an upstream that cannot be used.
    pub(super) fn prepare(&self, settings: Settings) -> Result<Next, StartError> {
        let server = self.fixtures.control.prepare(&settings.server).map_err(BindError::Tls)?;
        let current = self.fixtures.prepare(settings, Some(&self.lock().current))?;
        Ok(Next { current, server })
    }

    /// Puts what was prepared into force; `needs_restart` is what it leaves out. Returns what it
    /// is counted as.
    pub(super) fn take(&self, next: Next, needs_restart: Vec<String>) -> u64 {
        let Next { current: next, server } = next;
        let mut state = self.lock();
        let number = state.config.generation + 1;
        let generation = self.fixtures.generation(number, &next);
        let limits = &next.settings.proxy.limits;
        self.fixtures.in_flight.resize(limits.max_in_flight);
        self.fixtures.waiting.resize(limits.waiting());
        if let (Some(limit), Some(most)) = (&next.per_client, limits.max_in_flight_per_client) {
            limit.resize(most);
        }
        self.fixtures.control.take(server);
        self.fixtures.token.replace(next.settings.admin.token.clone());
        self.in_force.replace(generation);
        if next.settings.telemetry.access != state.current.settings.telemetry.access {
            state.dropped_before += state.current.log.dropped();
        }
        state.current = next;
        state.config = ConfigState {
            generation: number,
            loaded_at: self.fixtures.clock.now().as_secs(),
            last_reload_successful: true,
            needs_restart,
        };
        state.taken += 1;
        number
    }

    /// Notes that a reload was refused.
    pub(super) fn refuse(&self) {
        let mut state = self.lock();
        state.refused += 1;
        state.config.last_reload_successful = false;
    }

    /// Opens the access log's file again.
    pub(super) fn reopen_log(&self) {
        self.lock().current.log.reopen();
    }

    /// Ends the access log.
    pub(super) fn close_log(&self) {
        let log = self.lock().current.log.clone();
        log.close();
    }
}

impl State {
    /// Access log lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped_before + self.current.log.dropped()
    }
}

/// A poisoned state is still whole: it is replaced in one piece.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fixtures {
    /// What settings become; what has not changed since `before` is taken over from there.
    fn prepare(&self, settings: Settings, before: Option<&Current>) -> Result<Current, StartError> {
        let proxy = &settings.proxy;
        let shared = match before {
            Some(before) => before.shared.renewed(&settings.upstreams),
            None => upstream::Shared::new(&settings.upstreams),
        }?;
        // One more than cores: for what is done without a request.
        let origins =
            (0..=self.cores).map(|core| match before.and_then(|before| before.origins.get(core)) {
                Some(before) => before.renewed(&shared),
                None => Origins::new(&shared),
            });
        let origins = origins.collect();
        let pages = ErrorPages::read(&proxy.error_pages, &proxy.name)
            .map_err(|(path, source)| StartError::ErrorPage { path, source })?;
        let per_client = proxy.limits.max_in_flight_per_client.map(|most| {
            let kept = before.and_then(|before| before.per_client.clone());
            kept.unwrap_or_else(|| ClientLimit::new(most))
        });
        let access = &settings.telemetry.access;
        let same_log = before.filter(|before| before.settings.telemetry.access == *access);
        let log = match same_log {
            Some(before) => before.log.clone(),
            None => AccessLog::open(access, self.cores)?,
        };
        let (shared, pages) = (Arc::new(shared), Arc::new(pages));
        Ok(Current { settings, shared, origins, pages, log, per_client })
    }

    /// The stacks that requests go through.
    fn generation(&self, number: u64, current: &Current) -> Generation {
        let config = Arc::new(current.settings.proxy.clone());
        let upstreams: Arc<[Arc<str>]> = current
            .settings
            .upstreams
            .iter()
            .map(|upstream| upstream.name.as_str().into())
            .collect();
        let parts = |core: usize, origins: &Origins| {
            let observer = Observer {
                metrics: self.metrics.core(core),
                log: current.log.core(core),
                clock: self.clock.clone(),
                name: config.name.clone(),
                upstreams: Arc::clone(&upstreams),
                trusted: config.trusted_proxies.as_slice().into(),
                in_flight: self.in_flight.clone(),
                per_client: current.per_client.clone(),
            };
            Parts {
                config: Arc::clone(&config),
                observer: Arc::new(observer),
                pages: Arc::clone(&current.pages),
                cache: Arc::clone(&self.cache),
                origin: OriginService::new(origins.clone(), Arc::clone(&config)),
                shutdown: self.shutdown.clone(),
            }
        };
        self.cache.refresh_at(config.purge.refresh_rate);
        let cores = current.origins.iter().take(self.cores).enumerate();
        let cores = cores.map(|(core, origins)| stack(&parts(core, origins)));
        // Invariant: there is one more than cores; its observer is not asked for anything.
        let errands = proxy::errands(&parts(0, &current.origins[self.cores]));
        let look = proxy::look(&config, &self.cache);
        Generation { number, cores: cores.collect(), look, errands }
    }
}
