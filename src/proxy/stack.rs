//! The order of the layers.

use std::sync::Arc;

use tower::ServiceBuilder;

use super::access::Guard;
use super::admit::Admit;
use super::answer::Answering;
use super::debug::Debugging;
use super::errand::{Errands, Running, Straight};
use super::look::{Look, Looking};
use super::normalize::Normalize;
use super::observe::{Observe, Observer};
use super::origin::{OriginService, Wire};
use super::purge::{PurgeAccess, Purging};
use super::rescue::Rescue;
use super::route::{Routes, Routing};
use super::tunnel::Tunnelling;
use super::{Config, ErrorPages};
use crate::cache::{self, Cache};
use crate::shutdown::Shutdown;
use crate::upstream::Origins;

/// What the layers of one core are made of. All of it is shared between cores but the observer's
/// counters and the origins' connections.
#[derive(Clone, Debug)]
pub struct Parts<W = Origins> {
    /// Settings.
    pub config: Arc<Config>,
    /// Counters and log.
    pub observer: Arc<Observer>,
    /// Error pages.
    pub pages: Arc<ErrorPages>,
    /// The cache.
    pub cache: Arc<cache::Shared>,
    /// The way to the origins.
    pub origin: OriginService<W>,
    /// Ends tunnels.
    pub shutdown: Shutdown,
}

/// The whole stack: a concrete type, so that a hit is a chain of plain calls.
pub type Proxy<W = Origins> =
    Observe<Debugging<Rescue<Admit<Normalize<Purging<Routing<Guard<Answering<Next<W>>>>>>>>>>;

/// What only those who are let in reach.
type Next<W> = Tunnelling<Cache<OriginService<W>>, W>;

/// Builds the stack. Outermost first:
#[must_use]
pub fn stack<W: Wire>(parts: &Parts<W>) -> Proxy<W> {
    let config = &parts.config;
    let trusted = Arc::from(config.trusted_proxies.as_slice());
    let limits = Arc::new(config.limits.clone());
    let access = Arc::new(PurgeAccess::new(&config.purge));
    let routes = Arc::new(Routes::new(&config.routes, &config.rules));
    let debug = Arc::from(config.debug.as_slice());
    let Parts { observer, pages, cache, origin, shutdown, .. } = parts;
    ServiceBuilder::new()
        // Sees every request and every answer, whoever gives it.
        .layer_fn(|inner| Observe::new(observer.clone(), inner))
        // Shows whom it may what all below have done; errors are shown too.
        .layer_fn(|inner| Debugging::new(Arc::clone(&debug), inner))
        // The only place where an error becomes a response; all below return errors.
        .layer_fn(|inner| Rescue::new(pages.clone(), inner))
        // Bounds work before any is done.
        .layer_fn(|inner| Admit::new(limits.clone(), inner))
        // One reading of host, path and hop-by-hop fields, before anybody acts on them.
        .layer_fn(|inner| Normalize::new(Arc::clone(&trusted), inner))
        // Of URLs and tags: it asks the rules what is keyed of a URL, and needs no upstream.
        .layer_fn(|inner| Purging::new(access.clone(), cache.clone(), routes.clone(), inner))
        // Decides once which settings apply; all below read only those.
        .layer_fn(|inner| Routing::new(routes.clone(), inner))
        // Before anything is answered, from wherever: who may not is told nothing else.
        .layer_fn(Guard::new)
        // What rules answer by themselves needs neither cache nor origin.
        .layer_fn(Answering::new)
        // What leaves HTTP never meets the cache.
        .layer_fn(|inner| Tunnelling::new(origin.clone(), shutdown.clone(), inner))
        // Answers from memory at once; forwards the rest, alone or with others.
        .layer_fn(|inner| Cache::new(cache.clone(), inner))
        // The one boxed future of a miss.
        .service(origin.clone())
}

/// What a request comes through to be looked at: the layers above that decide, without those that
/// count, purge, or reach an origin.
pub(super) type LookStack = Admit<Normalize<Routing<Guard<Answering<Looking>>>>>;

/// What errands come through.
pub(super) type ErrandStack = Admit<Normalize<Routing<Straight<Running>>>>;

/// What is done without a request, by the settings that one would have: see [`Errands`].
#[must_use]
pub fn errands(parts: &Parts) -> Errands {
    let config = &parts.config;
    let trusted: Arc<[_]> = Arc::from(config.trusted_proxies.as_slice());
    let limits = Arc::new(config.limits.clone());
    let routes = Arc::new(Routes::new(&config.routes, &config.rules));
    let cache = Cache::new(Arc::clone(&parts.cache), parts.origin.clone());
    let stack = ServiceBuilder::new()
        .layer_fn(|inner| Admit::new(limits.clone(), inner))
        .layer_fn(|inner| Normalize::new(Arc::clone(&trusted), inner))
        .layer_fn(|inner| Routing::new(routes.clone(), inner))
        .layer_fn(Straight)
        .service(Running(cache));
    Errands::new(stack)
}

/// The same layers over a look into the cache: what they would do with a request is found out, and
/// nothing is done.
#[must_use]
pub fn look(config: &Arc<Config>, cache: &Arc<cache::Shared>) -> Look {
    let trusted: Arc<[_]> = Arc::from(config.trusted_proxies.as_slice());
    let limits = Arc::new(config.limits.clone());
    let routes = Arc::new(Routes::new(&config.routes, &config.rules));
    let stack = ServiceBuilder::new()
        .layer_fn(|inner| Admit::new(limits.clone(), inner))
        .layer_fn(|inner| Normalize::new(Arc::clone(&trusted), inner))
        .layer_fn(|inner| Routing::new(routes.clone(), inner))
        .layer_fn(Guard::new)
        .layer_fn(Answering::new)
        .service(Looking::new(Arc::clone(config), Arc::clone(cache)));
    Look::new(trusted, stack)
}
