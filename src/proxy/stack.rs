//! The order of the layers.

use std::sync::Arc;

use tower::ServiceBuilder;

use super::access::Guard;
use super::admit::Admit;
use super::answer::Answering;
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
    Observe<Rescue<Admit<Normalize<Purging<Routing<Guard<Answering<Next<W>>>>>>>>>;

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
    let Parts { observer, pages, cache, origin, shutdown, .. } = parts;
    ServiceBuilder::new()
        // Sees every request and every answer, whoever gives it.
        .layer_fn(|inner| Observe::new(observer.clone(), inner))
        // The only place where an error becomes a response; all below return errors.
        .layer_fn(|inner| Rescue::new(pages.clone(), inner))
        // Bounds work before any is done.
        .layer_fn(|inner| Admit::new(limits.clone(), inner))
        // One reading of host, path and hop-by-hop fields, before anybody acts on them.
        .layer_fn(|inner| Normalize::new(Arc::clone(&trusted), inner))
        // Speaks of URLs and tags, not of routes: a purge needs no upstream.
        .layer_fn(|inner| Purging::new(access.clone(), cache.clone(), inner))
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
